//! Two nodes on one database and one bus, beside one of them alone.
//!
//! Both nodes run all the time. For sends the lanes are: all callers at the first node, or half of
//! them at each. For fan-out every socket is at the first node, and the messages go in there or at
//! the second: what the way over the bus adds is the difference. The lanes take turns.

use std::sync::Arc;

use anyhow::{Result, ensure};
use clap::Args;
use tokio::runtime::{Builder, Runtime};

use crate::Place;
use crate::audience::Ear;
use crate::cpu::Whose;
use crate::engine::Choice;
use crate::http::Connection;
use crate::lane::{self, Mouth, Outcome, Pace};
use crate::load::{self, Sample, Window};
use crate::population::Plan;
use crate::sender::{Source, ToServer, Turns};
use crate::server::{Binary, Remote, Server};
use crate::session::Door;
use crate::table::{self, ms, us};
use crate::world::{Seat, Size, World};

const CALLERS: [usize; 3] = [16, 64, 256];
const CHANNELS: usize = 1_000;
/// Members of the channels whose sockets listen, and messages a second.
const AUDIENCES: [(usize, u32); 3] = [(1, 50), (100, 50), (1_000, 20)];
/// How often the lanes take turns in each row.
const ROUNDS: u32 = 4;
const SMOKE_CALLERS: [usize; 1] = [4];
const SMOKE_AUDIENCES: [(usize, u32); 1] = [(10, 50)];
const SMOKE_SECONDS: f64 = 0.4;
/// The name of the bus's processes.
const BUS: &str = "nats-server";

const SEND_HEADS: [&str; 14] = [
    "channels",
    "callers",
    "one node/s",
    "two nodes/s",
    "two:one",
    "one p50 ms",
    "p99",
    "two p50 ms",
    "p99",
    "one CPU us",
    "two CPU us",
    "database CPU us",
    "bus CPU us",
    "client CPU us",
];

const HEAR_HEADS: [&str; 10] = [
    "members",
    "messages/s",
    "same node p50 ms",
    "p99",
    "across p50 ms",
    "p99",
    "added p50",
    "p99",
    "deliveries",
    "lost",
];

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// An empty database, which the nodes share.
    #[arg(long)]
    database_url: String,
    /// The bus between the nodes.
    #[arg(long)]
    nats_url: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    binary: Binary,
    /// Measured seconds of each lane in each row.
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// A few seconds in all, to see that the bench itself works.
    #[arg(long)]
    smoke: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    crate::raise_limits();
    let mut options = options.clone();
    if options.smoke {
        options.seconds = SMOKE_SECONDS;
    }
    let choice = Choice::postgres(&options.database_url);
    let folder = options.place.folder()?;
    let (callers, audiences) = if options.smoke {
        (SMOKE_CALLERS.as_slice(), SMOKE_AUDIENCES.as_slice())
    } else {
        (CALLERS.as_slice(), AUDIENCES.as_slice())
    };
    let wide = Builder::new_multi_thread().enable_all().build()?;
    let fill = |(members, _): &(usize, u32)| {
        let plan = Plan { users: *members, channels: 1, channels_of_each: 1 };
        wide.block_on(plan.fill(&choice, folder.path()))
    };
    let populations = audiences.iter().map(fill).collect::<Result<Vec<_>>>()?;
    drop(wide);
    let mut flags = choice.flags(folder.path());
    flags.extend(["--nats-url".to_owned(), options.nats_url.clone()]);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let cluster = Cluster {
        nodes: [Server::start(&options.binary, &flags)?, Server::start(&options.binary, &flags)?],
        window: Window::of_seconds(options.seconds / f64::from(ROUNDS)),
        runtime,
    };
    cluster.sends(callers, if options.smoke { SMOKE_CALLERS[0] } else { CHANNELS })?;
    println!(
        "Fan-out to sockets at the first node, from a send there and from one at the second:\n"
    );
    let mut rows = Vec::new();
    for (population, (_, per_second)) in populations.into_iter().zip(audiences) {
        let seat =
            Seat { channel: population.channels[0].clone(), sender: population.users[0].clone() };
        rows.push(cluster.hears(&population.users, &seat, *per_second)?);
    }
    table::print(&HEAR_HEADS, &rows);
    Ok(())
}

struct Cluster {
    nodes: [Server; 2],
    window: Window,
    runtime: Runtime,
}

impl Cluster {
    /// Measures sends into one channel and into many.
    fn sends(&self, callers: &[usize], channels: usize) -> Result<()> {
        let senders = callers.iter().copied().max().unwrap_or(1);
        let size = Size { senders, channels, guests: 0 };
        let world = self.runtime.block_on(async {
            World::make(&mut Remote::open(&self.nodes[0]).await?, size).await
        })?;
        println!("Durable sends at one node and at two:\n");
        let mut rows = Vec::new();
        for (channels, seats) in [(1, &world.together), (world.apart.len(), &world.apart)] {
            for callers in callers {
                let [mut one, mut two] = <[Sample; 2]>::default();
                for _ in 0..ROUNDS {
                    one.join(self.send(&self.nodes[..1], seats, *callers)?);
                    two.join(self.send(&self.nodes, seats, *callers)?);
                }
                rows.push(send_cells([channels, *callers], &one, &two));
            }
        }
        table::print(&SEND_HEADS, &rows);
        Ok(())
    }

    fn send(&self, nodes: &[Server], seats: &[Seat], callers: usize) -> Result<Sample> {
        let processes: [Whose; 5] = [
            Whose::Own,
            self.nodes[0].process(),
            self.nodes[1].process(),
            Whose::Named("postgres"),
            Whose::Named(BUS),
        ];
        self.runtime.block_on(async {
            let mut senders = Vec::new();
            for place in 0..callers {
                let seats = Turns::share(seats, place, callers);
                let node = &nodes[place % nodes.len()];
                let source = Source::Sends(seats);
                senders.push(ToServer::open(node.client(), source, callers).await?);
            }
            load::run(senders, self.window, &processes).await
        })
    }

    /// Measures how long a message takes to sockets at the node where it is sent and at the other.
    fn hears(&self, users: &[String], seat: &Seat, per_second: u32) -> Result<Vec<String>> {
        let client = Arc::new(self.nodes[0].client());
        let door = Door { client, tls: None };
        let mut ears = self.runtime.block_on(async {
            door.open_all(users).await?.into_iter().map(Ear::new).collect::<Result<Vec<_>>>()
        })?;
        let [mut same, mut across] = <[Vec<Outcome>; 2]>::default();
        for _ in 0..ROUNDS {
            for (node, outcomes) in self.nodes.iter().zip([&mut same, &mut across]) {
                let (kept, outcome) = self.hear(node, ears, seat, per_second)?;
                ears = kept;
                outcomes.push(outcome);
            }
        }
        Ok(hear_cells([users.len(), per_second as usize], &same, &across))
    }

    fn hear(
        &self,
        node: &Server,
        ears: Vec<Ear>,
        seat: &Seat,
        per_second: u32,
    ) -> Result<(Vec<Ear>, Outcome)> {
        self.runtime.block_on(async {
            let mouth = Mouth::Api {
                client: Arc::new(node.client()),
                connection: Connection::open(node.address).await?,
                seat: seat.clone(),
            };
            let pace = Pace::Rate(per_second);
            let ran = lane::run(ears, vec![mouth], pace, self.window, node.process()).await?;
            let (ears, _, outcome) = ran;
            let wrong = outcome.heard.wrong + outcome.heard.closed;
            let lost = outcome.lost;
            ensure!(lost == 0 && wrong == 0, "{lost} deliveries lost, {wrong} wrong or cut off");
            Ok((ears, outcome))
        })
    }
}

fn send_cells(numbers: [usize; 2], one: &Sample, two: &Sample) -> Vec<String> {
    let servers = |sample: &Sample| us(sample.cpu_each(1) + sample.cpu_each(2));
    let share = two.per_second() / one.per_second() * 100.0;
    let mut cells: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    cells.extend([one, two].map(|sample| format!("{:.0}", sample.per_second())));
    cells.push(format!("{share:.0} %"));
    for sample in [one, two] {
        cells.extend([ms(sample.quantile(0.5)), ms(sample.quantile(0.99))]);
    }
    cells.extend([servers(one), servers(two)]);
    cells.extend([us(two.cpu_each(3)), us(two.cpu_each(4)), us(two.cpu_each(0))]);
    cells
}

fn hear_cells(numbers: [usize; 2], same: &[Outcome], across: &[Outcome]) -> Vec<String> {
    let [same_p50, across_p50] = [same, across].map(|outcomes| lane::quantile(outcomes, 0.5));
    let [same_p99, across_p99] = [same, across].map(|outcomes| lane::quantile(outcomes, 0.99));
    let added = |across: std::time::Duration, same: std::time::Duration| {
        format!("{:.2}", (across.as_secs_f64() - same.as_secs_f64()) * 1e3)
    };
    let all = || same.iter().chain(across);
    let mut cells: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    cells.extend([same_p50, same_p99, across_p50, across_p99].map(ms));
    cells.extend([added(across_p50, same_p50), added(across_p99, same_p99)]);
    cells.push(all().map(|outcome| outcome.heard.measured).sum::<u64>().to_string());
    cells.push(all().map(|outcome| outcome.lost).sum::<u64>().to_string());
    cells
}

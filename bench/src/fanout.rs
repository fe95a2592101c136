//! Fan-out: one channel, many members, each with a socket that hears every message.
//!
//! Two lanes take turns within each row: the release server, to which messages are sent through the
//! API, signed and durable, and the bare program of `bare.rs`, which writes the same frames to as
//! many sockets. The clients of both are the same.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use tokio::runtime::{Builder, Runtime};

use crate::Place;
use crate::audience::Ear;
use crate::bare::Bare;
use crate::engine::Choice;
use crate::frame;
use crate::http::Connection;
use crate::lane::{self, Mouth, Outcome, Pace};
use crate::load::Window;
use crate::population::{Plan, Population};
use crate::server::{Binary, Server};
use crate::session::Door;
use crate::table::{self, ms};
use crate::world::Seat;

/// Members, pace, and the most CPU time that a delivery may cost the server, in microseconds.
const ROWS: [(usize, Pace, f64); 5] = [
    (1_000, Pace::Window(1), 5.0),
    (1_000, Pace::Window(8), 1.6),
    (1_000, Pace::Window(64), 0.8),
    (1_000, Pace::Rate(20), 8.0),
    (5_000, Pace::Window(8), 2.8),
];
const SMOKE_ROWS: [(usize, Pace, f64); 2] =
    [(20, Pace::Window(4), f64::INFINITY), (20, Pace::Rate(50), f64::INFINITY)];
const SMOKE_SECONDS: f64 = 0.4;
/// A fixed rate makes few deliveries, and its CPU time is counted in ticks.
const RATE_SECONDS_FACTOR: f64 = 2.0;

const HEADS: [&str; 14] = [
    "members",
    "messages",
    "server/s",
    "bare/s",
    "server CPU us",
    "budget",
    "bare CPU us",
    "server:bare",
    "p50 ms",
    "p99",
    "bare p50 ms",
    "p99",
    "client CPU us",
    "lost",
];

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    binary: Binary,
    /// Measured seconds of each round of a lane.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How often the lanes take turns in each row; the best round counts.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Only rows of so many members.
    #[arg(long)]
    members: Option<usize>,
    /// Only rows of so many messages on their way.
    #[arg(long)]
    window: Option<usize>,
    /// Only rows of so many messages a second.
    #[arg(long)]
    rate: Option<u32>,
    /// A second in all, to see that the bench itself works.
    #[arg(long)]
    smoke: bool,
}

impl Options {
    fn rows(&self) -> Vec<(usize, Pace, f64)> {
        let rows = if self.smoke { SMOKE_ROWS.to_vec() } else { ROWS.to_vec() };
        let is_wanted = |(members, pace, _): &(usize, Pace, f64)| {
            let is_paced = match pace {
                Pace::Window(window) => {
                    self.rate.is_none() && self.window.is_none_or(|it| it == *window)
                }
                Pace::Rate(rate) => self.window.is_none() && self.rate.is_none_or(|it| it == *rate),
            };
            is_paced && self.members.is_none_or(|it| it == *members)
        };
        rows.into_iter().filter(is_wanted).collect()
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut options = options.clone();
    if options.smoke {
        (options.seconds, options.rounds) = (SMOKE_SECONDS, 1);
    }
    crate::raise_limits();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let rows = options.rows();
    let mut cells = Vec::new();
    let mut bytes = 0;
    for same in rows.chunk_by(|one, other| one.0 == other.0) {
        let mut stage = Stage::build(&options, &runtime, same[0].0)?;
        bytes = stage.frame_bytes;
        for (_, pace, budget_us) in same {
            cells.push(runtime.block_on(stage.row(&options, *pace, *budget_us))?);
        }
    }
    println!(
        "Fan-out of messages, frames of {bytes} bytes, the best of {} rounds:\n",
        options.rounds
    );
    table::print(&HEADS, &cells);
    Ok(())
}

/// One side of a row: sockets and senders.
struct Side {
    ears: Vec<Ear>,
    mouths: Vec<Mouth>,
}

/// Both servers with their sockets.
struct Stage {
    server: Server,
    bare: Bare,
    served: Side,
    bared: Side,
    frame_bytes: usize,
    /// The data folder, which goes with the stage.
    _folder: tempfile::TempDir,
}

impl Stage {
    fn build(options: &Options, runtime: &Runtime, members: usize) -> Result<Stage> {
        let folder = options.place.folder()?;
        let plan = Plan { users: members, channels: 1, channels_of_each: 1 };
        let wide = Builder::new_multi_thread().enable_all().build()?;
        let population = wide.block_on(plan.fill(&Choice::sqlite(), folder.path()))?;
        drop(wide);
        let server = Server::start(&options.binary, &Choice::sqlite().flags(folder.path()))?;
        let bare = Bare::start()?;
        let senders = options.rows().iter().map(|(_, pace, _)| senders(*pace)).max().unwrap_or(1);
        runtime.block_on(async {
            let client = Arc::new(server.client());
            let door = Door { client: client.clone(), tls: None };
            let mut mouths = Vec::new();
            for place in 0..senders {
                mouths.push(Mouth::Api {
                    client: client.clone(),
                    connection: Connection::open(server.address).await?,
                    seat: seat(&population, place),
                });
            }
            let example = example(&door, &population, &mut mouths[0]).await?;
            let (mark, _) = frame::find(&example).context("the frame has no mark")?;
            let served = Side { ears: ears(&door, &population).await?, mouths };
            let mut mouths = Vec::new();
            for _ in 0..senders {
                let stream = bare.publisher().await?;
                mouths.push(Mouth::Bare { stream, frame: example.clone(), mark });
            }
            let bared = Side { ears: ears(&bare.door(), &population).await?, mouths };
            let frame_bytes = example.len();
            Ok(Stage { server, bare, served, bared, frame_bytes, _folder: folder })
        })
    }

    /// Measures both lanes.
    async fn row(&mut self, options: &Options, pace: Pace, budget_us: f64) -> Result<Vec<String>> {
        let factor = if matches!(pace, Pace::Rate(_)) { RATE_SECONDS_FACTOR } else { 1.0 };
        let window = Window::of_seconds(options.seconds * factor);
        let members = self.served.ears.len();
        let (mut served, mut bared) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            bared.push(self.bared.run(pace, window, self.bare.process()).await?);
            served.push(self.served.run(pace, window, self.server.process()).await?);
        }
        let lost: u64 = served.iter().chain(&bared).map(|it| it.lost).sum();
        let wrong: u64 =
            served.iter().chain(&bared).map(|it| it.heard.wrong + it.heard.closed).sum();
        ensure!(lost == 0 && wrong == 0, "{lost} deliveries lost, {wrong} wrong or cut off");
        let (served, bared) = (best(served, pace)?, best(bared, pace)?);
        let messages = match pace {
            Pace::Window(count) => format!("{count} on their way"),
            Pace::Rate(per_second) => format!("{per_second}/s"),
        };
        Ok(vec![
            members.to_string(),
            messages,
            format!("{:.0}", served.per_second()),
            format!("{:.0}", bared.per_second()),
            format!("{:.2}", served.cpu_us(0)),
            format!("{budget_us:.1}"),
            format!("{:.2}", bared.cpu_us(0)),
            format!("{:.1}", served.cpu_us(0) / bared.cpu_us(0)),
            ms(served.heard.latencies.quantile(0.5)),
            ms(served.heard.latencies.quantile(0.99)),
            ms(bared.heard.latencies.quantile(0.5)),
            ms(bared.heard.latencies.quantile(0.99)),
            format!("{:.2}", served.cpu_us(1)),
            lost.to_string(),
        ])
    }
}

impl Side {
    async fn run(
        &mut self,
        pace: Pace,
        window: Window,
        process: crate::cpu::Whose,
    ) -> Result<Outcome> {
        let (ears, mouths) = (std::mem::take(&mut self.ears), std::mem::take(&mut self.mouths));
        let (ears, mouths, outcome) = lane::run(ears, mouths, pace, window, process).await?;
        (self.ears, self.mouths) = (ears, mouths);
        Ok(outcome)
    }
}

/// Returns the round with the most deliveries; at a fixed rate, the one of the least CPU time.
fn best(rounds: Vec<Outcome>, pace: Pace) -> Result<Outcome> {
    let worth = |outcome: &Outcome| match pace {
        Pace::Window(_) => outcome.per_second(),
        Pace::Rate(_) => -outcome.cpu_us(0),
    };
    rounds.into_iter().max_by(|one, other| worth(one).total_cmp(&worth(other))).context("no round")
}

fn senders(pace: Pace) -> usize {
    match pace {
        Pace::Window(count) => count,
        Pace::Rate(_) => 1,
    }
}

fn seat(population: &Population, place: usize) -> Seat {
    let sender = population.users[place % population.users.len()].clone();
    Seat { channel: population.channels[0].clone(), sender }
}

async fn ears(door: &Door, population: &Population) -> Result<Vec<Ear>> {
    door.open_all(&population.users).await?.into_iter().map(Ear::new).collect()
}

/// Returns a frame of the server as it arrives, header included.
async fn example(door: &Door, population: &Population, mouth: &mut Mouth) -> Result<Vec<u8>> {
    let mut session = door.open(&population.users[0], "example").await?;
    mouth.say(0).await?;
    let mut heard = std::mem::take(&mut session.leftover);
    loop {
        if let Some((frame::TEXT, start, end)) = frame::header(&heard)
            && end <= heard.len()
        {
            ensure!(start < end, "an empty frame");
            heard.truncate(end);
            return Ok(heard);
        }
        let mut buffer = [0; 4_096];
        let count = session.line.read(&mut buffer).await?;
        ensure!(count > 0, "the server closed the connection");
        heard.extend_from_slice(&buffer[..count]);
    }
}

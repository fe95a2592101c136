//! Far more callers than the server takes on: what is refused is refused at once, and what is
//! admitted keeps its pace.
//!
//! Three rows in one run: as many callers as requests may be answered at one time, and ten times as
//! many, of whom the refused rest as they are told, or do not. Whoever is admitted asks again at once.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;
use store::{Clock as _, SystemClock};
use tokio::runtime::Builder;

use crate::Setting;
use crate::http::{Client, Connection};
use crate::load::{self, Caller, Window};
use crate::sender::Turns;
use crate::server::{Remote, Server};
use crate::table::{self, ms};
use crate::world::{self, Seat, Size, World};

/// How many times the load that is admitted.
const TIMES: usize = 10;
/// What a refusal says in `retry-after`. SDKs rest for a little more or less, so that they do not all
/// come back together.
const REST_MS: u64 = 1_000;
const REST_SPREAD_MS: u64 = 250;

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    setting: Setting,
    /// Requests that the server answers at one time.
    #[arg(long, default_value_t = 128)]
    requests: usize,
    /// Measured seconds of each row.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = options.setting.place.folder()?;
    let mut flags = options.setting.choice.flags(folder.path());
    flags.extend(["--max-requests".to_owned(), options.requests.to_string()]);
    let server = Server::start(&options.setting.binary, &flags)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    println!(
        "Sends to a server that answers {} requests at one time, engine {}:\n",
        options.requests,
        options.setting.choice.name()
    );
    let rows = runtime.block_on(async {
        let size = Size { senders: options.requests, channels: 0, guests: 0 };
        let world = World::make(&mut Remote::open(&server).await?, size).await?;
        let mut rows = Vec::new();
        for (times, rests) in [(1, true), (TIMES, true), (TIMES, false)] {
            let callers = Callers { count: times * options.requests, rests };
            rows.push(measure(options, &server, &world, callers).await?);
        }
        Ok::<_, anyhow::Error>(rows)
    })?;
    let heads = [
        "callers",
        "refused ones",
        "sent/s",
        "sent p50 ms",
        "p99",
        "refused/s",
        "refused p50 ms",
        "p99",
        "server MiB",
    ];
    table::print(&heads, &rows);
    Ok(())
}

#[derive(Clone, Copy)]
struct Callers {
    count: usize,
    /// Whether they rest when they are refused.
    rests: bool,
}

async fn measure(
    options: &Options,
    server: &Server,
    world: &World,
    callers: Callers,
) -> Result<Vec<String>> {
    let Callers { count, rests } = callers;
    let told = Arc::new(Mutex::new(Told::default()));
    let mut all = Vec::new();
    for place in 0..count {
        let seats = Turns::share(&world.together, place % world.together.len(), count);
        let connection = Connection::open(server.address).await?;
        let spread = place as u64 * 2 * REST_SPREAD_MS / count as u64;
        let rest = rests.then(|| Duration::from_millis(REST_MS - REST_SPREAD_MS + spread));
        let (client, told) = (server.client(), told.clone());
        all.push(Pressing { client, connection, seats, told, rest });
    }
    let window = Window::of_seconds(options.seconds);
    let begin = Instant::now();
    load::run(all, window, &[]).await?;
    let took = begin.elapsed().as_secs_f64();
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let Told { sent, refused } = &mut *told;
    ensure!(!sent.is_empty(), "nothing was admitted");
    let resting = match (count > options.requests, rests) {
        (false, _) => "",
        (true, true) => "rest",
        (true, false) => "do not rest",
    };
    let mut cells = vec![count.to_string(), resting.to_owned()];
    for times in [sent, refused] {
        times.sort_unstable();
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied();
        cells.push(format!("{:.0}", times.len() as f64 / took));
        cells.extend([0.5, 0.99].map(|share| ms(at(share).unwrap_or_default())));
    }
    cells.push(server.memory_mib().to_string());
    Ok(cells)
}

/// How long answers took.
#[derive(Default)]
struct Told {
    sent: Vec<Duration>,
    refused: Vec<Duration>,
}

/// Sends without pause as long as it is admitted.
struct Pressing {
    client: Client,
    connection: Connection,
    seats: Turns<Seat>,
    told: Arc<Mutex<Told>>,
    /// Before it asks again when it was refused.
    rest: Option<Duration>,
}

impl Pressing {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caller for Pressing {
    async fn once(&mut self) -> Result<ControlFlow<()>> {
        let request = self.client.signed(&world::send(self.seats.take()), SystemClock.now_ms());
        let begin = Instant::now();
        let answer = self.connection.call(&request).await?;
        let took = begin.elapsed();
        match answer.status {
            201 => self.told().sent.push(took),
            503 => {
                self.told().refused.push(took);
                if let Some(rest) = self.rest {
                    tokio::time::sleep(rest).await;
                }
            }
            status => bail!("a send was answered {status}"),
        }
        Ok(ControlFlow::Continue(()))
    }
}

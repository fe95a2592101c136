//! A connect storm: everybody opens a session at once, and again after the server was killed under
//! load.
//!
//! Each client is a task that connects, listens, and comes back by itself when its socket ends, with
//! the growing random delay of the official JavaScript client. Invariant: whatever a server that
//! runs answers but the session is counted as refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use store::{Entropy as _, SystemEntropy};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::Place;
use crate::bare::Bare;
use crate::engine::Choice;
use crate::http::Connection;
use crate::idle::{PLAN, SMOKE_PLAN};
use crate::lane::Mouth;
use crate::server::{Binary, Server};
use crate::session::Door;
use crate::table;
use crate::world::Seat;

/// How long a wave may take.
const WAVE_MAX: Duration = Duration::from_secs(60);
/// Messages a second that are sent before, while and after the server is killed.
const LOAD_PER_SECOND: u64 = 20;
/// How long the load runs before the kill.
const LOAD_BEFORE: Duration = Duration::from_secs(1);
/// The delays of clients: a random part of a step that doubles up to a limit.
const STEP_MS: u64 = 1_000;
const STEP_MS_MAX: u64 = 5_000;
const BUFFER_BYTES: usize = 2_048;

const HEADS: [&str; 7] = [
    "storm",
    "connections",
    "all 101 s",
    "budget",
    "all SESSION_ESTABLISHED s",
    "budget",
    "refused",
];

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    binary: Binary,
    /// Few connections, to see that the bench itself works.
    #[arg(long)]
    smoke: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    crate::raise_limits();
    let plan = if options.smoke { SMOKE_PLAN } else { PLAN };
    let folder = options.place.folder()?;
    let wide = Builder::new_multi_thread().enable_all().build()?;
    let population = wide.block_on(plan.fill(&Choice::sqlite(), folder.path()))?;
    drop(wide);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let bare = Bare::start()?;
    let users = &population.users;
    let mut rows = Vec::new();
    runtime.block_on(async {
        let crowd = Crowd::start(&bare.door(), users);
        rows.push(cells("bare", &crowd.all(0).await?, ["-", "-"]));
        anyhow::Ok(())
    })?;
    drop(bare);
    let mut server = Server::start(&options.binary, &Choice::sqlite().flags(folder.path()))?;
    let door = Door { client: Arc::new(server.client()), tls: None };
    let seat = Seat { channel: population.channels[0].clone(), sender: users[0].clone() };
    let (down, sent) = runtime.block_on(async {
        let sent = Arc::new(AtomicUsize::new(0));
        let crowd = Crowd::start(&door, users);
        rows.push(cells("server", &crowd.all(0).await?, ["4.0", "10.0"]));
        let load = tokio::spawn(load(door.clone(), seat, sent.clone()));
        tokio::time::sleep(LOAD_BEFORE).await;
        crowd.again();
        let killed = Instant::now();
        server.kill()?;
        server.revive()?;
        let down = killed.elapsed();
        let wave = crowd.all(1).await?;
        rows.push(cells("server, killed under load and started again", &wave, ["-", "all back"]));
        tokio::time::sleep(LOAD_BEFORE).await;
        load.abort();
        anyhow::Ok((down, sent.load(Ordering::Relaxed)))
    })?;
    println!(
        "Connect storm, users in {} channels each; of the last row from the kill on, with {:.2} s until \
         the server was ready again and {sent} messages sent before and after:\n",
        plan.channels_of_each,
        down.as_secs_f64()
    );
    table::print(&HEADS, &rows);
    Ok(())
}

fn cells(name: &str, wave: &Wave, budgets: [&str; 2]) -> Vec<String> {
    vec![
        name.to_owned(),
        wave.count.to_string(),
        format!("{:.2}", wave.upgraded.as_secs_f64()),
        budgets[0].to_owned(),
        format!("{:.2}", wave.established.as_secs_f64()),
        budgets[1].to_owned(),
        wave.refused.to_string(),
    ]
}

/// What one wave showed.
struct Wave {
    count: usize,
    upgraded: Duration,
    established: Duration,
    refused: usize,
}

/// How far each wave is.
#[derive(Default)]
struct Progress {
    begun: [std::sync::OnceLock<Instant>; 2],
    upgraded: [AtomicUsize; 2],
    established: [AtomicUsize; 2],
    refused: AtomicUsize,
    /// When the last of all was upgraded.
    upgraded_at: [std::sync::OnceLock<Instant>; 2],
}

struct Shared {
    progress: Progress,
    count: usize,
    /// The waves that are complete.
    complete: watch::Sender<usize>,
    is_second: AtomicBool,
}

impl Shared {
    fn wave(&self) -> usize {
        usize::from(self.is_second.load(Ordering::Relaxed))
    }

    fn upgraded(&self, wave: usize) {
        if self.progress.upgraded[wave].fetch_add(1, Ordering::Relaxed) + 1 == self.count {
            let _ = self.progress.upgraded_at[wave].set(Instant::now());
        }
    }

    fn established(&self, wave: usize) {
        if self.progress.established[wave].fetch_add(1, Ordering::Relaxed) + 1 == self.count {
            self.complete.send_replace(wave + 1);
        }
    }
}

/// All clients.
struct Crowd {
    shared: Arc<Shared>,
    _clients: JoinSet<()>,
}

impl Crowd {
    /// Lets everybody connect.
    fn start(door: &Door, users: &[String]) -> Crowd {
        let shared = Arc::new(Shared {
            progress: Progress::default(),
            count: users.len(),
            complete: watch::Sender::new(0),
            is_second: AtomicBool::new(false),
        });
        let _ = shared.progress.begun[0].set(Instant::now());
        let mut clients = JoinSet::new();
        for (place, user) in users.iter().enumerate() {
            clients.spawn(client(door.clone(), user.clone(), place, shared.clone()));
        }
        Crowd { shared, _clients: clients }
    }

    /// Says that everybody will be cut off now.
    fn again(&self) {
        let _ = self.shared.progress.begun[1].set(Instant::now());
        self.shared.is_second.store(true, Ordering::Relaxed);
    }

    /// Waits until everybody is there.
    async fn all(&self, wave: usize) -> Result<Wave> {
        let progress = &self.shared.progress;
        let mut complete = self.shared.complete.subscribe();
        let waited = timeout(WAVE_MAX, complete.wait_for(|complete| *complete > wave)).await;
        let established = Instant::now();
        let count = progress.established[wave].load(Ordering::Relaxed);
        let refused = progress.refused.load(Ordering::Relaxed);
        ensure!(
            waited.is_ok() && refused == 0,
            "of {} clients {count} are there, {refused} times one was refused",
            self.shared.count
        );
        let begun = *progress.begun[wave].get().context("the wave has not begun")?;
        let upgraded = progress.upgraded_at[wave].get().context("not all were upgraded")?;
        Ok(Wave { count, upgraded: *upgraded - begun, established: established - begun, refused })
    }
}

/// Connects, listens, and comes back, for ever.
async fn client(door: Door, user: String, place: usize, shared: Arc<Shared>) {
    let name = format!("s{place}");
    let mut attempt = 0;
    loop {
        let wave = shared.wave();
        let opened = door.open_noting(&user, &name, || shared.upgraded(wave)).await;
        match opened {
            Ok(mut session) => {
                shared.established(wave);
                attempt = 0;
                drop(std::mem::take(&mut session.leftover));
                let mut buffer = [0; BUFFER_BYTES];
                while matches!(session.line.read(&mut buffer).await, Ok(1..)) {}
            }
            // A server that is down cuts off and refuses at the lowest level.
            Err(error) if shared.wave() == 1 && error.is::<std::io::Error>() => {}
            Err(_) => {
                shared.progress.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(delay(attempt)).await;
        attempt += 1;
    }
}

fn delay(attempt: u32) -> Duration {
    let step_ms = STEP_MS.saturating_mul(1 << attempt.min(8)).min(STEP_MS_MAX);
    let mut random = [0; 2];
    SystemEntropy.fill(&mut random);
    Duration::from_millis(step_ms * u64::from(u16::from_be_bytes(random)) / u64::from(u16::MAX))
}

/// Sends messages until it is aborted; while the server is down they fail and are not counted.
async fn load(door: Door, seat: Seat, sent: Arc<AtomicUsize>) {
    let mut ticks = interval(Duration::from_millis(1_000 / LOAD_PER_SECOND));
    let mut mouth = None;
    for number in 0_u32.. {
        ticks.tick().await;
        if mouth.is_none() {
            let connection = Connection::open(door.client.address).await.ok();
            let (client, seat) = (door.client.clone(), seat.clone());
            mouth = connection.map(|connection| Mouth::Api { client, connection, seat });
        }
        let Some(speaking) = &mut mouth else { continue };
        if speaking.say(number).await.is_ok() {
            sent.fetch_add(1, Ordering::Relaxed);
        } else {
            mouth = None;
        }
    }
}

//! One run of fan-out: messages go in at one end, everybody hears them at the other.
//!
//! Invariant: rate, latency and CPU time are those of the same window, which begins when the lane
//! is warm; the run ends when every message was heard by everybody, or when that takes too long,
//! and what is missing then is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use store::{Clock as _, SystemClock};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::audience::{Audience, Ear, Heard, MESSAGES_MAX, Talk};
use crate::cpu::Whose;
use crate::frame::{self, Spread};
use crate::http::{Client, Connection};
use crate::load::Window;
use crate::world::{self, Seat};

/// How long a message may take to be heard by everybody.
const HEARD_MAX: Duration = Duration::from_secs(10);
/// Behind the mark, so that a frame has the size of a usual one.
const WORDS: &str = " The bell rings once an hour.";

/// How messages follow each other.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// So many are on their way, and a new one goes in when everybody has heard one.
    Window(usize),
    /// So many a second, whatever becomes of them.
    Rate(u32),
}

/// Who sends.
pub(crate) enum Mouth {
    /// Through the API of a server: signed and durable.
    Api { client: Arc<Client>, connection: Connection, seat: Seat },
    /// To the bare program, which gets the frame as it is to arrive.
    Bare { stream: TcpStream, frame: Vec<u8>, mark: usize },
}

impl Mouth {
    /// Sends a message; on return the server has acknowledged it.
    pub(crate) async fn say(&mut self, number: u32) -> Result<()> {
        match self {
            Mouth::Api { client, connection, seat } => {
                let content = frame::mark(number) + WORDS;
                let request = client.signed(&world::message(seat, &content), SystemClock.now_ms());
                let answer = connection.call(&request).await?;
                if answer.status != 201 {
                    let text = String::from_utf8_lossy(&answer.body);
                    bail!("a send was answered {} {text}", answer.status);
                }
            }
            Mouth::Bare { stream, frame, mark } => {
                let text = frame::mark(number);
                frame[*mark..*mark + text.len()].copy_from_slice(text.as_bytes());
                stream.write_all(frame).await?;
            }
        }
        Ok(())
    }
}

/// What one run showed.
pub(crate) struct Outcome {
    pub(crate) heard: Heard,
    pub(crate) took: Duration,
    /// CPU time within the window, of the process that writes and of this one.
    pub(crate) cpu: [Duration; 2],
    pub(crate) lost: u64,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.heard.measured as f64 / self.took.as_secs_f64()
    }

    /// Returns the CPU time of a delivery, in microseconds.
    pub(crate) fn cpu_us(&self, place: usize) -> f64 {
        self.cpu[place].as_secs_f64() * 1e6 / self.heard.measured.max(1) as f64
    }
}

/// Returns the latency that this share of the deliveries of several runs did not pass.
pub(crate) fn quantile(outcomes: &[Outcome], share: f64) -> Duration {
    let mut all = Spread::new();
    outcomes.iter().for_each(|outcome| all.join(&outcome.heard.latencies));
    all.quantile(share)
}

/// What the senders share.
#[derive(Clone)]
struct Senders {
    talk: Arc<Talk>,
    next: Arc<AtomicU32>,
    is_over: Arc<AtomicBool>,
}

impl Senders {
    /// Returns the number of the next message, unless the run is over.
    fn next(&self) -> Option<u32> {
        if self.is_over.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        ((number as usize) < MESSAGES_MAX).then_some(number)
    }

    async fn window(self, mut mouth: Mouth) -> Result<Mouth> {
        while let Some(number) = self.next() {
            let heard = self.talk.sending(number);
            mouth.say(number).await?;
            if timeout(HEARD_MAX, heard).await.is_err() {
                break;
            }
        }
        Ok(mouth)
    }

    async fn rate(self, mut mouth: Mouth, per_second: u32) -> Result<Mouth> {
        let mut ticks = interval(Duration::from_secs(1) / per_second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut last = None;
        loop {
            ticks.tick().await;
            let Some(number) = self.next() else { break };
            last = Some(self.talk.sending(number));
            mouth.say(number).await?;
        }
        if let Some(last) = last {
            let _ = timeout(HEARD_MAX, last).await;
        }
        Ok(mouth)
    }
}

/// Runs a lane, and gives sockets and senders back. `process` is the one that writes.
pub(crate) async fn run(
    ears: Vec<Ear>,
    mouths: Vec<Mouth>,
    pace: Pace,
    window: Window,
    process: Whose,
) -> Result<(Vec<Ear>, Vec<Mouth>, Outcome)> {
    let talk = Talk::new();
    let member_count = ears.len() as u64;
    let audience = Audience::listen(ears, talk.clone())?;
    let senders = Senders { talk: talk.clone(), next: Arc::default(), is_over: Arc::default() };
    let (mut idle, mut running) = (Vec::new(), JoinSet::new());
    for mouth in mouths {
        match pace {
            Pace::Window(count) if running.len() < count => {
                running.spawn(senders.clone().window(mouth));
            }
            Pace::Rate(per_second) if running.is_empty() => {
                running.spawn(senders.clone().rate(mouth, per_second));
            }
            Pace::Window(_) | Pace::Rate(_) => idle.push(mouth),
        }
    }
    tokio::time::sleep(window.warm).await;
    let (began, before) = (Instant::now(), [process.used(), Whose::Own.used()]);
    talk.begin();
    tokio::time::sleep(window.measured).await;
    talk.end();
    let (took, after) = (began.elapsed(), [process.used(), Whose::Own.used()]);
    senders.is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = running.join_next().await {
        idle.push(ended??);
    }
    talk.over();
    let (ears, heard) = audience.join()?;
    let sent = u64::from(senders.next.load(Ordering::Relaxed)).min(MESSAGES_MAX as u64);
    let lost = (sent * member_count).saturating_sub(heard.all);
    let cpu = [after[0].saturating_sub(before[0]), after[1].saturating_sub(before[1])];
    Ok((ears, idle, Outcome { heard, took, cpu, lost }))
}

//! Runs callers side by side for a bounded time and measures what they did in the middle of it.
//!
//! Each caller waits for an answer before it goes on. Invariant: rate, latency and CPU time are
//! those of the same window, which begins when all callers have warmed up and ends early when none
//! has anything left to do.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::cpu::Whose;

/// Units that one caller does at most.
const UNITS_MAX: usize = 1 << 20;

/// Does one unit of work after another.
pub(crate) trait Caller: Send + 'static {
    /// Does a unit, or breaks off because there is none left.
    fn once(&mut self) -> impl Future<Output = Result<ControlFlow<()>>> + Send;
}

/// How long a run takes.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) warm: Duration,
    pub(crate) measured: Duration,
}

impl Window {
    pub(crate) fn of_seconds(measured_s: f64) -> Window {
        let measured = Duration::from_secs_f64(measured_s);
        Window { warm: measured / 4, measured }
    }
}

/// What was measured, in one window or in several.
#[derive(Default)]
pub(crate) struct Sample {
    /// Sorted.
    latencies: Vec<Duration>,
    took: Duration,
    /// CPU time within the window, of each process that was asked for.
    cpu: Vec<Duration>,
}

impl Sample {
    /// Joins what another window measured.
    pub(crate) fn join(&mut self, other: Sample) {
        self.latencies.extend(other.latencies);
        self.latencies.sort_unstable();
        self.took += other.took;
        self.cpu.resize(self.cpu.len().max(other.cpu.len()), Duration::ZERO);
        self.cpu.iter_mut().zip(other.cpu).for_each(|(cpu, other)| *cpu += other);
    }

    pub(crate) fn count(&self) -> usize {
        self.latencies.len()
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.count() as f64 / self.took.as_secs_f64()
    }

    /// Returns the latency that this share of the units did not pass.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let place = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(place.min(self.count().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// Returns the CPU time per unit of the process at this place.
    pub(crate) fn cpu_each(&self, place: usize) -> Duration {
        let count = u32::try_from(self.count().max(1)).unwrap_or(u32::MAX);
        self.cpu.get(place).copied().unwrap_or_default() / count
    }
}

/// Runs the callers through a window.
pub(crate) async fn run<C: Caller>(
    callers: Vec<C>,
    window: Window,
    processes: &[Whose],
) -> Result<Sample> {
    let stop = Arc::new(AtomicBool::new(false));
    let begin = Instant::now() + window.warm;
    let end = begin + window.measured;
    let mut tasks = JoinSet::new();
    for caller in callers {
        tasks.spawn(repeat(caller, (begin, end), stop.clone()));
    }
    let mut ended = pin!(gather(tasks));
    let used = || processes.iter().map(|process| process.used()).collect::<Vec<_>>();
    if let Ok(ended) = timeout_at(begin.into(), &mut ended).await {
        // Nothing was left for the window.
        return ended.map(|_| Sample::default());
    }
    let (began, before) = (Instant::now(), used());
    let early = timeout_at(end.into(), &mut ended).await;
    let (took, after) = (began.elapsed(), used());
    stop.store(true, Ordering::Relaxed);
    let mut latencies = match early {
        Ok(latencies) => latencies?,
        Err(_) => ended.await?,
    };
    latencies.sort_unstable();
    let cpu = after.iter().zip(&before).map(|(after, before)| after.saturating_sub(*before));
    Ok(Sample { latencies, took, cpu: cpu.collect() })
}

async fn gather(mut tasks: JoinSet<Result<Vec<Duration>>>) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        latencies.append(&mut ended.context("a caller ended before its time")??);
    }
    Ok(latencies)
}

async fn repeat<C: Caller>(
    mut caller: C,
    (begin, end): (Instant, Instant),
    stop: Arc<AtomicBool>,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    for _ in 0..UNITS_MAX {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let start = Instant::now();
        if caller.once().await?.is_break() {
            break;
        }
        let answered = Instant::now();
        if (begin..end).contains(&answered) {
            latencies.push(answered - start);
        }
    }
    Ok(latencies)
}

//! What a node counts of the bus, for `/metrics`, and where its own groups are.
//!
//! Invariant: told only by a node that has a bus; read without a lock that anybody waits for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use links::nats::State;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::ConstGauge;
use store::GroupNumber;
use store::postgres::LANE_COUNT;
use tokio::sync::watch;
use tokio::time::Instant;

/// See the head of this file.
pub(crate) struct Figures {
    nats: Arc<State>,
    connected: watch::Receiver<bool>,
    /// Whether NATS has answered the last time that it was asked.
    has_answered: AtomicBool,
    round_trip_us: AtomicU64,
    /// The last group of each own lane; those that were told, and those that were read.
    last: [AtomicU64; LANE_COUNT],
    pub(super) told: Counter,
    pub(super) untold: Counter,
    pub(super) heard: Counter,
    pub(super) repaired_groups: Counter,
    pub(super) repaired_homes: Counter,
    pub(super) lost: Counter,
    held: AtomicUsize,
    live: AtomicUsize,
    begun: Instant,
    /// What is certain, as time since the beginning.
    certain_ms: AtomicU64,
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Figures {
    pub(super) fn new(nats: Arc<State>, connected: watch::Receiver<bool>) -> Self {
        Self {
            nats,
            connected,
            has_answered: AtomicBool::new(false),
            round_trip_us: AtomicU64::new(0),
            last: Default::default(),
            told: Counter::default(),
            untold: Counter::default(),
            heard: Counter::default(),
            repaired_groups: Counter::default(),
            repaired_homes: Counter::default(),
            lost: Counter::default(),
            held: AtomicUsize::new(0),
            live: AtomicUsize::new(1),
            begun: Instant::now(),
            certain_ms: AtomicU64::new(0),
        }
    }

    /// Notes an own group.
    pub(super) fn committed(&self, group: GroupNumber) {
        if let Some(last) = self.last.get(usize::from(group.lane)) {
            last.fetch_max(group.number, Ordering::Relaxed);
        }
    }

    /// Tells whether the relay was told of an own group.
    pub(super) fn has_committed(&self, group: GroupNumber) -> bool {
        let last = self.last.get(usize::from(group.lane));
        last.is_some_and(|last| last.load(Ordering::Relaxed) >= group.number)
    }

    /// Returns the last own group of each lane.
    pub(super) fn last_groups(&self) -> Vec<GroupNumber> {
        let number = |last: &AtomicU64| last.load(Ordering::Relaxed);
        (0..)
            .zip(&self.last)
            .map(|(lane, last)| GroupNumber { lane, number: number(last) })
            .collect()
    }

    /// Notes how long NATS took to answer, if it did.
    pub(super) fn pinged(&self, took: Option<Duration>) {
        self.has_answered.store(took.is_some(), Ordering::Relaxed);
        if let Some(took) = took {
            let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.round_trip_us.store(us, Ordering::Relaxed);
        }
    }

    /// Notes how many commits wait for others before them.
    pub(crate) fn holds(&self, count: usize) {
        self.held.store(count, Ordering::Relaxed);
    }

    /// Notes that all sockets were closed because too much would have had to wait.
    pub(crate) fn overflowed(&self) {
        self.lost.inc();
    }

    /// Notes the moment up to which everything was told.
    pub(super) fn certain(&self, at: Instant) {
        let since = at.saturating_duration_since(self.begun).as_millis();
        self.certain_ms.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn certain_age(&self) -> Duration {
        let certain = Duration::from_millis(self.certain_ms.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(certain)
    }

    /// Notes how many nodes have a lease, this one among them.
    pub(super) fn lives(&self, count: usize) {
        self.live.store(count, Ordering::Relaxed);
    }

    fn is_up(&self) -> bool {
        *self.connected.borrow() && self.has_answered.load(Ordering::Relaxed)
    }
}

/// Tells the figures of a bus.
#[derive(Debug)]
pub(crate) struct Shown(pub(crate) Arc<Figures>);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let it = &self.0;
        let mut tell = |name, help, metric: &dyn Metric| metric.tell(&mut encoder, name, help);
        let is_up = ConstGauge::new(i64::from(it.is_up()));
        tell("bus_up", "Whether NATS is there and answers", &is_up)?;
        let seconds = Duration::from_micros(it.round_trip_us.load(Ordering::Relaxed)).as_secs_f64();
        let help = "How long NATS took for the last answer";
        tell("bus_round_trip_seconds", help, &ConstGauge::new(seconds))?;
        let live = i64::try_from(it.live.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let help = "Nodes of the store that are alive, this one among them";
        tell("bus_nodes_live", help, &ConstGauge::new(live))?;
        let help = "Commits that wait for others before them";
        let held = i64::try_from(it.held.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        tell("bus_held_commits", help, &ConstGauge::new(held))?;
        let help = "For how long something may have been committed that was not told yet";
        tell("bus_certain_age_seconds", help, &ConstGauge::new(it.certain_age().as_secs_f64()))?;
        tell("bus_groups_told", "Groups that NATS took", &of(&it.told))?;
        let help = "Groups that NATS did not take, which other nodes read";
        tell("bus_groups_untold", help, &of(&it.untold))?;
        tell("bus_messages_heard", "Messages of other nodes", &of(&it.heard))?;
        let help = "How often messages were dropped because this node was slow";
        tell("bus_dropped", help, &ConstCounter::new(it.nats.dropped()))?;
        let help = "Groups of other nodes that were read from the database";
        tell("gap_repaired_groups", help, &of(&it.repaired_groups))?;
        let help = "Homes of which missing events were read from the database";
        tell("gap_repaired_homes", help, &of(&it.repaired_homes))?;
        let help = "How often all sockets were closed because something was missed for too long";
        tell("gap_losses", help, &of(&it.lost))
    }
}

fn of(counter: &Counter) -> ConstCounter<u64> {
    ConstCounter::new(counter.get())
}

/// What a collector can tell of.
trait Metric {
    fn tell(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result;
}

impl<T: EncodeMetric> Metric for T {
    fn tell(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result {
        self.encode(encoder.encode_descriptor(name, help, None, self.metric_type())?)
    }
}

//! What `/metrics` tells.
//!
//! Invariant: the number of series is bounded by the model: labels are operation names and
//! statuses, never anything that a client chooses.

mod backlog;
mod store;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use chat::Chat;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use backlog::BacklogFigures;

use crate::bus::{Figures, Shown};
pub(crate) use store::StoreFigures;

/// Upper bounds of the duration buckets, in seconds: a read takes 0.1 ms, a commit a sync.
const DURATION_BUCKETS_S: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    operation: &'static str,
    status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

/// The figures of this process.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    durations: Family<Operation, Histogram>,
    sockets_open: Gauge,
    sockets_refused: Counter,
    slow_closes: Counter,
    job_steps: Counter,
    backlog: BacklogFigures,
    events: Counter,
    frames: Counter<u64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let durations: fn() -> Histogram = || Histogram::new(DURATION_BUCKETS_S);
        let mut metrics = Self {
            registry: Registry::with_prefix("campanile"),
            requests: Family::default(),
            durations: Family::new_with_constructor(durations),
            sockets_open: Gauge::default(),
            sockets_refused: Counter::default(),
            slow_closes: Counter::default(),
            job_steps: Counter::default(),
            backlog: BacklogFigures::default(),
            events: Counter::default(),
            frames: Counter::default(),
        };
        metrics.register();
        metrics
    }

    /// Adds what the store counts by itself.
    pub(crate) fn with_store(mut self, figures: StoreFigures) -> Self {
        self.registry.register_collector(Box::new(figures));
        self
    }

    /// Adds what is counted of the bus to other nodes.
    pub(crate) fn with_bus(mut self, figures: Arc<Figures>) -> Self {
        self.registry.register_collector(Box::new(Shown(figures)));
        self
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let requests = self.requests.clone();
        registry.register("requests", "Requests answered, by operation and status", requests);
        let help = "Time from the head of a request to its answer";
        let durations = self.durations.clone();
        registry.register_with_unit("request_duration", help, Unit::Seconds, durations);
        registry.register("sockets_open", "Sockets served now", self.sockets_open.clone());
        let refused = self.sockets_refused.clone();
        registry.register("sockets_refused", "Sockets refused with 4401", refused);
        let slow = self.slow_closes.clone();
        registry.register("slow_closes", "Sockets closed for taking events too slowly", slow);
        let events = self.events.clone();
        let help = "Batches of background work: purges and sweeps";
        registry.register("job_steps", help, self.job_steps.clone());
        self.backlog.register(registry);
        registry.register("events_relayed", "Events that reached a local socket", events);
        registry.register("frames", "Event frames handed to sockets", self.frames.clone());
    }

    pub(crate) fn answered(&self, operation: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&Answered { operation, status: status.into() }).inc();
        self.durations.get_or_create(&Operation { operation }).observe(took.as_secs_f64());
    }

    pub(crate) fn socket_opened(&self) {
        self.sockets_open.inc();
    }

    pub(crate) fn socket_closed(&self) {
        self.sockets_open.dec();
    }

    pub(crate) fn socket_refused(&self) {
        self.sockets_refused.inc();
    }

    pub(crate) fn slow_closed(&self) {
        self.slow_closes.inc();
    }

    pub(crate) fn step_done(&self) {
        self.job_steps.inc();
    }

    /// Reads how much background work is due, unless that was read just now.
    pub(crate) async fn look_at_backlog(&self, chat: &Chat) {
        self.backlog.look(chat).await;
    }

    pub(crate) fn events_relayed(&self, event_count: usize, frame_count: usize) {
        self.events.inc_by(event_count as u64);
        self.frames.inc_by(frame_count as u64);
    }

    /// Returns everything in the text format.
    pub(crate) fn to_text(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("a String takes what is written to it");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_in_the_text_format() {
        let metrics = Metrics::new();
        metrics.answered("none", 404, Duration::from_millis(3));
        metrics.socket_opened();
        metrics.step_done();
        metrics.events_relayed(1, 3);
        let text = metrics.to_text();
        for line in [
            r#"campanile_requests_total{operation="none",status="404"} 1"#,
            r#"campanile_request_duration_seconds_bucket{le="0.005",operation="none"} 1"#,
            "campanile_sockets_open 1",
            "campanile_events_relayed_total 1",
            "campanile_frames_total 3",
            "campanile_slow_closes_total 0",
            "campanile_job_steps_total 1",
        ] {
            assert!(text.contains(line), "{line} is missing from:\n{text}");
        }
    }
}

//! What an engine tells of its work, for the operator's figures.
//!
//! Invariant: counting costs a committer two clock readings and three additions a group, and a
//! reader of the figures holds nobody up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The figures of an engine at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Batches that wait for a committer.
    pub waiting: u64,
    /// Groups that were committed.
    pub groups: u64,
    /// Batches in them.
    pub batches: u64,
    /// Time that the groups took, from their beginning to the end of the sync.
    pub commit_time: Duration,
    /// Groups of events that wait in the sink for its reader.
    pub sink_waiting: u64,
    /// Bytes of the write-ahead log, where the engine has a file of its own.
    pub log_bytes: Option<u64>,
}

/// What the committers of an engine count together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    groups: AtomicU64,
    batches: AtomicU64,
    commit_us: AtomicU64,
}

impl Tally {
    /// Counts a group that was committed.
    pub(crate) fn note(&self, batch_count: usize, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.batches.fetch_add(u64::try_from(batch_count).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.commit_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Returns what was counted; the other figures are the engine's.
    pub(crate) fn figures(&self) -> Figures {
        Figures {
            groups: self.groups.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            commit_time: Duration::from_micros(self.commit_us.load(Ordering::Relaxed)),
            ..Figures::default()
        }
    }
}

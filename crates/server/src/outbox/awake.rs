//! How many sockets were woken for frames and have not looked for them yet.
//!
//! Whoever wakes sockets can wait here until they have: what he hands them then finds all of them
//! asleep, and costs each one wake and one write. Invariant: a socket that is counted is taken off
//! the count once, when it looks or ends, so that the count always comes back to none.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Awake {
    count: AtomicUsize,
    /// Told when the count comes back to none.
    none: Notify,
}

impl Awake {
    pub(super) fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.none.notify_one();
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until no socket is awake. One task may wait at a time.
    pub(crate) async fn none(&self) {
        while self.count() > 0 {
            self.none.notified().await;
        }
    }
}

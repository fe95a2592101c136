//! When events leave that others may still join.
//!
//! A message for a thousand sockets keeps a machine busy for milliseconds, and a write costs the
//! same for one frame as for ten. So what is committed while sockets are still on their way to the
//! last frames waits for them, and then leaves in one write for each; after a wave of several events
//! the next one is given a moment for others to join it. Invariants: an event that comes alone, when
//! all sockets are asleep, leaves at once; none waits longer than `HELD_MS_MAX`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::outbox::Awake;

/// How long an event waits at most, whatever the sockets do.
pub(crate) const HELD_MS_MAX: u64 = 50;
/// How long the first event of a wave waits for others.
pub(crate) const JOINED_MS_MAX: u64 = 1;
/// Sockets of a wave that takes longer than such a wait.
const SOCKETS_MIN: usize = 256;

/// See the head of this file.
#[derive(Default)]
pub(super) struct Wave {
    awake: Arc<Awake>,
    /// Since when the oldest event waits, if any does.
    held_since: Option<Instant>,
    /// Whether others are likely to join the next event.
    is_joined: bool,
}

impl Wave {
    /// Returns what counts the sockets that are awake.
    pub(super) fn awake(&self) -> Arc<Awake> {
        Arc::clone(&self.awake)
    }

    /// Notes that an event waits.
    pub(super) fn hold(&mut self) {
        self.held_since.get_or_insert_with(Instant::now);
    }

    /// Notes that so many events have left.
    pub(super) fn left(&mut self, event_count: usize) {
        self.held_since = None;
        self.is_joined = event_count > 1 && self.awake.count() >= SOCKETS_MIN;
    }

    /// Tells whether what waits is to leave now.
    pub(super) fn is_due(&self) -> bool {
        let Some(since) = self.held_since else { return false };
        let held = since.elapsed();
        let is_ready = self.awake.count() == 0 && held >= self.patience();
        is_ready || held >= Duration::from_millis(HELD_MS_MAX)
    }

    /// Waits until what waits is to leave; for ever when nothing does.
    pub(super) async fn due(&self) {
        let Some(since) = self.held_since else { return std::future::pending().await };
        let ready = async {
            self.awake.none().await;
            sleep_until(since + self.patience()).await;
        };
        tokio::select! {
            () = ready => {}
            () = sleep_until(since + Duration::from_millis(HELD_MS_MAX)) => {}
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(if self.is_joined { JOINED_MS_MAX } else { 0 })
    }
}

#[cfg(test)]
mod tests;

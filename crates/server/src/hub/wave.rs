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
pub(crate) const HELD_MS_MAX: u64 = 200;
/// The first event of a wave waits for others for a part of the time that the writes take: a
/// millisecond for so many sockets that are woken,
const SOCKETS_PER_MS: usize = 500;
/// and no longer than this.
const JOINED_MS_MAX: usize = 8;
/// Sockets of the least wave that waits: it takes longer than the wait.
const SOCKETS_MIN: usize = 256;

/// See the head of this file.
#[derive(Default)]
pub(super) struct Wave {
    awake: Arc<Awake>,
    /// Since when the oldest event waits, if any does.
    held_since: Option<Instant>,
    /// How long the next event waits for others that are likely to join it.
    patience: Duration,
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
        let sockets = if event_count > 1 { self.awake.count() } else { 0 };
        self.patience = patience(sockets);
    }

    /// Tells whether what waits is to leave now.
    pub(super) fn is_due(&self) -> bool {
        let Some(since) = self.held_since else { return false };
        let held = since.elapsed();
        let is_ready = self.awake.count() == 0 && held >= self.patience;
        is_ready || held >= Duration::from_millis(HELD_MS_MAX)
    }

    /// Waits until what waits is to leave; for ever when nothing does.
    pub(super) async fn due(&self) {
        let Some(since) = self.held_since else { return std::future::pending().await };
        let ready = async {
            self.awake.none().await;
            sleep_until(since + self.patience).await;
        };
        tokio::select! {
            () = ready => {}
            () = sleep_until(since + Duration::from_millis(HELD_MS_MAX)) => {}
        }
    }
}

/// Returns how long an event waits for others after a wave of several to so many sockets.
fn patience(sockets: usize) -> Duration {
    let ms = if sockets < SOCKETS_MIN { 0 } else { sockets.div_ceil(SOCKETS_PER_MS) };
    Duration::from_millis(ms.min(JOINED_MS_MAX) as u64)
}

#[cfg(test)]
mod tests;

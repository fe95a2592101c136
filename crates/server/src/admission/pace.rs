//! How often those are refused who ask again at once.
//!
//! Reading and refusing a request costs a good part of what serving it costs. Invariant: connections
//! that do not rest as `retry-after` tells them get 10,000 refusals a second, or where they are more
//! one a second each, so that the pace of those who are admitted is kept. Nothing that is admitted
//! waits, and the first refusal on a connection does not; the next one is told at its turn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The time between two turns: 10,000 a second. Hardly longer than a round trip, so that a client that
/// is alone waits for a tick of the timer at most.
const TURN_US: u64 = 100;
/// The longest wait: what `retry-after` says.
const WAIT_US_MAX: u64 = 1_000_000;

/// The turns of all connections; times are microseconds since its making.
pub(super) struct Pace {
    origin: Instant,
    last_us: AtomicU64,
}

/// When the next refusal of a connection may be told; zero for at once.
#[derive(Default)]
pub(crate) struct Turn(AtomicU64);

impl Pace {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), last_us: AtomicU64::new(0) }
    }

    /// Waits for the turn of a connection that is refused, and gives it the next one.
    pub(super) async fn rest(&self, turn: &Turn) {
        let at = self.origin + Duration::from_micros(turn.0.load(Ordering::Relaxed));
        // The timer would round a turn that has come up to its next tick.
        if at > Instant::now() {
            sleep_until(at).await;
        }
        turn.0.store(self.next_us(), Ordering::Relaxed);
    }

    fn next_us(&self) -> u64 {
        let now_us = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        let after = |last_us: u64| (last_us.max(now_us) + TURN_US).min(now_us + WAIT_US_MAX);
        let next = |last_us| Some(after(last_us));
        let (Ok(last_us) | Err(last_us)) =
            self.last_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        after(last_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Refuses a request of each of many connections, which have not been refused before.
    async fn refuse(pace: &Pace, count: usize) -> Vec<Turn> {
        let begin = Instant::now();
        let turns: Vec<_> = (0..count).map(|_| Turn::default()).collect();
        for turn in &turns {
            pace.rest(turn).await;
        }
        assert_eq!(begin.elapsed(), Duration::ZERO, "a first refusal is told at once");
        turns
    }

    async fn wait(pace: &Pace, turn: &Turn) -> Duration {
        let begin = Instant::now();
        pace.rest(turn).await;
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_refusals_are_told_a_second() {
        let pace = Pace::new();
        let turns = refuse(&pace, 5_000).await;
        let (early, last) = (wait(&pace, &turns[49]).await, wait(&pace, &turns[4_999]).await);
        assert!((5..=6).contains(&early.as_millis()), "{early:?}");
        assert!((500..=501).contains(&(early + last).as_millis()), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_was_told_has_the_turn_behind_all_others() {
        let pace = Pace::new();
        let turns = refuse(&pace, 1_000).await;
        let early = wait(&pace, &turns[0]).await;
        let again = early + wait(&pace, &turns[0]).await;
        assert!((100..=101).contains(&again.as_millis()), "{again:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_refusal_is_held_for_longer_than_retry_after_says() {
        let pace = Pace::new();
        let turns = refuse(&pace, 50_000).await;
        assert_eq!(wait(&pace, &turns[49_999]).await, Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_rests_as_he_was_told_does_not_wait() {
        let pace = Pace::new();
        let turns = refuse(&pace, 5_000).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(wait(&pace, &turns[4_999]).await, Duration::ZERO);
    }
}

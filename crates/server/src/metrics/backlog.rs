//! How much background work is due, read when somebody asks.
//!
//! Invariants: however many ask, the store is read once in a while and one read at a time; a store
//! that does not answer holds nobody up and leaves the figures as they were.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use chat::Chat;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long a reading is good for.
const READING_LIFE: Duration = Duration::from_secs(2);
/// How long a reading may take.
const READ_MS_MAX: u64 = 500;

/// The figures and when they were read.
#[derive(Default)]
pub(super) struct BacklogFigures {
    due: Gauge,
    lag_s: Gauge<f64, AtomicU64>,
    read_at: Mutex<Option<Instant>>,
}

impl BacklogFigures {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Jobs of the background work that are due, counted as far as a thousand";
        registry.register("jobs_due", help, self.due.clone());
        let help = "For how long the first of them has been due";
        registry.register_with_unit("job_lag", help, Unit::Seconds, self.lag_s.clone());
    }

    /// Reads the figures, unless they are fresh or somebody else is reading them.
    pub(super) async fn look(&self, chat: &Chat) {
        let Ok(mut read_at) = self.read_at.try_lock() else { return };
        if read_at.is_some_and(|at| at.elapsed() < READING_LIFE) {
            return;
        }
        *read_at = Some(Instant::now());
        let read = timeout(Duration::from_millis(READ_MS_MAX), chat.backlog()).await;
        if let Ok(Ok(backlog)) = read {
            self.due.set(i64::try_from(backlog.due_count).unwrap_or(i64::MAX));
            self.lag_s.set(Duration::from_millis(backlog.lag_ms).as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test(start_paused = true)]
    async fn the_store_is_read_once_in_a_while_however_many_ask() {
        let (chat, clock) = testing::chat_with_a_job().await;
        let figures = BacklogFigures::default();
        figures.look(&chat).await;
        assert_eq!((figures.due.get(), figures.lag_s.get()), (1, 0.0));
        clock.advance(1_500);
        figures.look(&chat).await;
        assert_eq!((figures.due.get(), figures.lag_s.get()), (1, 0.0));
        tokio::time::advance(READING_LIFE).await;
        figures.look(&chat).await;
        assert_eq!((figures.due.get(), figures.lag_s.get()), (1, 1.5));
        chat.run_job_step().await.unwrap();
        tokio::time::advance(READING_LIFE).await;
        figures.look(&chat).await;
        assert_eq!((figures.due.get(), figures.lag_s.get()), (0, 0.0));
    }
}

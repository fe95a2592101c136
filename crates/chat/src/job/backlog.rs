//! How much of the background work is due: what an operator watches.
//!
//! Invariant: it reads a bounded number of keys and changes nothing.

use store::{Direction, Parts};

use super::due;
use crate::Chat;
use crate::error::Result;
use crate::limits::BACKLOG_ROWS_MAX;

/// The jobs that are due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many there are, counted as far as a thousand.
    pub due_count: usize,
    /// For how long the first of them has been due.
    pub lag_ms: u64,
}

impl Chat {
    /// Returns what is due now.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn backlog(&self) -> std::result::Result<Backlog, wire::Error> {
        Ok(self.due_jobs().await?)
    }

    async fn due_jobs(&self) -> Result<Backlog> {
        let now_ms = self.nobodys_cx(String::new()).now_ms;
        let jobs = self.0.store.view();
        let jobs = jobs.keys(&due(now_ms), BACKLOG_ROWS_MAX, Direction::Forward).await?;
        let first_ms = jobs.first().and_then(|job| Parts::new(&job.key).u64());
        let now_ms = u64::try_from(now_ms).unwrap_or(0);
        let lag_ms = first_ms.map_or(0, |first_ms| now_ms.saturating_sub(first_ms));
        Ok(Backlog { due_count: jobs.len(), lag_ms })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::job::Step;
    use crate::testing::{World, label};

    #[tokio::test]
    async fn backlog_counts_what_is_due_and_tells_the_age_of_the_oldest() {
        let mut world = World::new().await;
        let alice = world.create_user("alice").await;
        assert_eq!(world.chat.backlog().await.expect("is read"), Backlog::default());
        for _ in 0..2 {
            let channel = world.create_channel(&alice, json!({})).await;
            let path = format!("/channels/{}", label(&channel));
            world.delete(&path, &alice).await.expect("is deleted");
            world.clock.advance(1_000);
        }
        let due = Backlog { due_count: 2, lag_ms: 2_000 };
        assert_eq!(world.chat.backlog().await.expect("is read"), due);
        while world.chat.run_job_step().await.expect("the step is done") != Step::Idle {}
        assert_eq!(world.chat.backlog().await.expect("is read"), Backlog::default());
    }
}

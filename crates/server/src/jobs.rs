//! The task that does what is due: purges of what was deleted, sweeps of what is out of time.
//!
//! Invariants: it knows no rule, only when to ask for the next step; steps follow each other with
//! a pause, so that background work never competes with requests; it ends with the drain, between
//! two steps and before the engine closes.

use std::sync::Arc;
use std::time::Duration;

use chat::{Chat, Step};

use crate::drain::{Drain, Guard};
use crate::metrics::Metrics;

/// How long it waits when nothing was due.
const TICK_MS: u64 = 1_000;
/// How long it waits between steps: at most a hundred of each kind in a second.
const PAUSE_MS: u64 = 10;

/// Runs until the drain; the drain waits for `guard`.
pub(crate) async fn run(chat: Chat, metrics: Arc<Metrics>, mut drain: Drain, guard: Guard) {
    while !drain.is_started() {
        // One of each, so that neither kind of work can hold up the other.
        let job = has_more(chat.run_job_step().await, &metrics);
        let sweep = has_more(chat.run_sweep_step().await, &metrics);
        let wait_ms = if job || sweep { PAUSE_MS } else { TICK_MS };
        tokio::select! {
            () = drain.started() => {}
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
        }
    }
    drop(guard);
}

/// Does everything that is due, one step after the other. What fails is left for later, like the
/// rest of what is due then.
pub(crate) async fn run_until_idle(chat: &Chat, metrics: &Metrics) -> Result<(), wire::Error> {
    loop {
        let steps = [chat.run_job_step().await?, chat.run_sweep_step().await?];
        for _ in steps.iter().filter(|step| **step == Step::Worked) {
            metrics.step_done();
        }
        if steps == [Step::Idle; 2] {
            return Ok(());
        }
        // Steps in memory never wait; others are to have their turn.
        tokio::task::yield_now().await;
    }
}

/// Tells whether another step may be due at once. A failure waits like an end of work.
fn has_more(step: Result<Step, wire::Error>, metrics: &Metrics) -> bool {
    match step {
        Ok(Step::Worked) => {
            metrics.step_done();
            true
        }
        Ok(Step::Overtaken) => true,
        Ok(Step::Idle) => false,
        Err(error) => {
            let chain = crate::logging::chain(&error);
            tracing::error!(error = %chain, "a step of the background work failed");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Tasks;
    use crate::testing::chat_with_a_job;

    #[tokio::test]
    async fn everything_due_is_done_before_the_answer() {
        let ((chat, _), metrics) = (chat_with_a_job().await, Metrics::new());
        run_until_idle(&chat, &metrics).await.unwrap();
        assert_eq!(chat.run_job_step().await.unwrap(), Step::Idle);
        assert!(metrics.to_text().contains("campanile_job_steps_total 1"));
        run_until_idle(&chat, &metrics).await.unwrap();
        assert!(metrics.to_text().contains("campanile_job_steps_total 1"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_is_done_and_the_drain_waits_for_the_end() {
        let (chat, _) = chat_with_a_job().await;
        let (metrics, tasks) = (Arc::new(Metrics::new()), Tasks::new());
        let (trigger, drain) = Drain::new();
        let runner = tokio::spawn(run(chat.clone(), metrics.clone(), drain, tasks.guard()));
        while !metrics.to_text().contains("campanile_job_steps_total 1") {
            tokio::task::yield_now().await;
        }
        assert_eq!(chat.run_job_step().await.unwrap(), Step::Idle);
        assert!(!runner.is_finished());
        trigger.start();
        tasks.finished().await;
    }
}

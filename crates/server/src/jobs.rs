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
    use store::{MockClock, SeededEntropy};

    use super::*;
    use crate::drain::Tasks;

    /// The rules over an empty store, and a job of one step: a deleted app instance.
    async fn chat_with_a_job() -> Chat {
        let clock = Arc::new(MockClock::new(1_625_097_600_000));
        let entropy = Arc::new(SeededEntropy::new(1));
        let engine = store::memory::open(store::Options {
            tables: chat::tables(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            sink: None,
        });
        let (region, account) = ("us-east-1".to_owned(), "000000000000".to_owned());
        let options =
            chat::Options { region, account, clock, entropy, quotas: chat::Quotas::default() };
        let chat = Chat::open(engine, options).await.unwrap();
        let call = |method: &str, path: &str, body: &'static str| chat::Call {
            route: wire::route::route(method, path, None).unwrap(),
            raw_query: None,
            body: body.into(),
            bearer: None,
            endpoint: String::new(),
            request_id: String::new(),
        };
        let body = r#"{"Name":"app","ClientRequestToken":"token"}"#;
        let made = chat.call(call("POST", "/app-instances", body)).await.unwrap();
        let made = String::from_utf8(made.body).unwrap();
        let id = &made[made.rfind('/').unwrap() + 1..made.rfind('"').unwrap()];
        let arn = format!("arn%3Aaws%3Achime%3Aus-east-1%3A000000000000%3Aapp-instance%2F{id}");
        let path = format!("/app-instances/{arn}");
        chat.call(call("DELETE", &path, "")).await.unwrap();
        chat
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_is_done_and_the_drain_waits_for_the_end() {
        let (chat, metrics, tasks) =
            (chat_with_a_job().await, Arc::new(Metrics::new()), Tasks::new());
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

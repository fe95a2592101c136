//! The rules over an empty store in memory, for the tests of what stands on them.

use std::sync::Arc;

use chat::Chat;
use store::{MockClock, SeededEntropy};

/// Opens the rules; the clock is theirs.
pub(crate) async fn chat() -> (Chat, Arc<MockClock>) {
    let clock = Arc::new(MockClock::new(1_625_097_600_000));
    let entropy = Arc::new(SeededEntropy::new(1));
    let engine = store::memory::open(store::Options {
        tables: chat::tables(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        sink: None,
    });
    let (region, account) = ("us-east-1".to_owned(), "000000000000".to_owned());
    let quotas = chat::Quotas::default();
    let resume_window_ms = chat::RESUME_WINDOW_MS;
    let options =
        chat::Options { region, account, clock: clock.clone(), entropy, quotas, resume_window_ms };
    (Chat::open(engine, options).await.unwrap(), clock)
}

/// Opens the rules with a job of one step: a deleted app instance.
pub(crate) async fn chat_with_a_job() -> (Chat, Arc<MockClock>) {
    let (chat, clock) = chat().await;
    let call = |method: &str, path: &str, body: &'static str| chat::Call {
        scope: chat::Scope::Root,
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
    chat.call(call("DELETE", &format!("/app-instances/{arn}"), "")).await.unwrap();
    (chat, clock)
}

use std::sync::Arc;

use store::{SeededEntropy, SystemClock};

use super::*;
use crate::drain::Tasks;

async fn chat() -> Chat {
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SeededEntropy::new(1)));
    let engine = store::memory::open(store::Options {
        tables: chat::tables(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        sink: None,
    });
    let (region, account) = ("us-east-1".to_owned(), "000000000000".to_owned());
    let quotas = chat::Quotas::default();
    let resume_window_ms = chat::RESUME_WINDOW_MS;
    let options = chat::Options { region, account, clock, entropy, quotas, resume_window_ms };
    Chat::open(engine, options).await.expect("the store opens")
}

fn list() -> Request {
    Request::List { after: None }
}

async fn asked(folder: &Path, request: Request) -> Option<Reply> {
    ask(folder, &request).await.expect("somebody answers")
}

#[tokio::test]
async fn the_server_answers_until_the_drain_and_leaves_no_socket() {
    let folder = tempfile::tempdir().unwrap();
    assert!(asked(folder.path(), list()).await.is_none());
    let control = Control::bind(folder.path()).unwrap();
    let ((trigger, drain), tasks) = (Drain::new(), Tasks::new());
    let running = tokio::spawn(control.run(chat().await, drain, tasks.guard()));
    for _ in 0..3 {
        let reply = asked(folder.path(), list()).await;
        assert!(matches!(reply, Some(Reply::Listed(keys)) if keys.is_empty()));
    }
    let owner = Owner::User("nonsense".to_owned());
    let reply = asked(folder.path(), Request::Create { owner, expires_ms: None }).await;
    assert!(matches!(reply, Some(Reply::Refused(_))));
    trigger.start();
    running.await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(asked(folder.path(), list()).await.is_none());
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::bind(folder.path()).unwrap();
    let ((trigger, drain), tasks) = (Drain::new(), Tasks::new());
    let running = tokio::spawn(control.run(chat().await, drain, tasks.guard()));
    for garbage in ["\n", "{}\n", "[1,2\n", "{\"destroy\":{}}\n"] {
        let stream = unix::UnixStream::connect_addr(&address(folder.path()).unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut stream = UnixStream::from_std(stream).unwrap();
        stream.write_all(garbage.as_bytes()).await.unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.unwrap();
        assert!(matches!(serde_json::from_str(&line), Ok(Reply::Refused(_))), "{line}");
    }
    let reply = asked(folder.path(), list()).await;
    assert!(matches!(reply, Some(Reply::Listed(_))));
    trigger.start();
    running.await.unwrap();
}

//! What a database must be to be opened, and what is found in it then.

use store::codec;
use store::engine::{Batch, Put};
use store::postgres::{self, Config, OpenError};
use store::{Key, Uid};

use crate::faults::options;
use crate::server::{Server, connect};

async fn refusal(url: &str) -> OpenError {
    postgres::open(&Config::new(url), options(None)).await.err().expect("is refused")
}

#[tokio::test]
async fn reopened_store_holds_everything_and_continues_its_homes() {
    let server = Server::shared();
    let config = Config::new(server.schema().await);
    let engine = postgres::open(&config, options(None)).await.expect("opens");
    let first = engine.commit(Batch::new("test", Uid::NIL)).await.expect("nothing is checked");
    let before = engine.get(&[Key::home(Uid::NIL)]).await.expect("reads");
    engine.close().await;
    let engine = postgres::open(&config, options(None)).await.expect("opens again");
    assert_eq!(engine.get(&[Key::home(Uid::NIL)]).await.expect("reads"), before);
    let second = engine.commit(Batch::new("test", Uid::NIL)).await.expect("nothing is checked");
    assert!(second > first && second.seq == first.seq + 1);
}

#[tokio::test]
async fn nodes_that_start_together_make_the_tables_once() {
    let server = Server::shared();
    let config = Config::new(server.schema().await);
    let mut nodes = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let config = config.clone();
        nodes.spawn(async move { postgres::open(&config, options(None)).await.map(drop) });
    }
    for opened in nodes.join_all().await {
        opened.expect("whoever comes second finds the tables");
    }
}

#[tokio::test]
async fn newer_format_and_foreign_tables_are_refused() {
    let server = Server::shared();
    let url = server.schema().await;
    postgres::open(&Config::new(&url), options(None)).await.expect("opens").close().await;
    server.execute(&url, "UPDATE store_format SET number = number + 1").await;
    let refused = refusal(&url).await;
    assert!(
        matches!(refused, OpenError::Newer { found, known } if found == known + 1),
        "{refused}"
    );

    let url = server.schema().await;
    server.execute(&url, "CREATE TABLE note (theirs int)").await;
    let refused = refusal(&url).await;
    assert!(matches!(refused, OpenError::Foreign), "{refused}");
}

#[tokio::test]
async fn server_that_does_not_sync_is_refused() {
    let server = Server::start();
    let url = server.schema().await;
    server.execute(&url, "ALTER SYSTEM SET fsync = off").await;
    server.halt();
    server.start_again();
    let refused = refusal(&url).await;
    assert!(
        matches!(&refused, OpenError::Refused(reason) if reason.contains("fsync")),
        "{refused}"
    );
}

#[tokio::test]
async fn commits_are_synced_though_the_role_says_otherwise() {
    let server = Server::start();
    let url = server.schema().await;
    server.execute(&url, "ALTER ROLE campanile SET synchronous_commit = off").await;
    let engine = postgres::open(&Config::new(&url), options(None)).await.expect("opens");
    let client = connect(&url).await;
    for _ in 0..10 {
        engine.commit(Batch::new("test", Uid::NIL)).await.expect("nothing is checked");
        // All that was written when the commit was acknowledged is on disk.
        let row = client
            .query_one("SELECT pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()", &[])
            .await
            .expect("the server runs");
        assert!(row.get::<_, bool>(0));
    }
}

#[tokio::test]
async fn views_show_the_members_of_records() {
    let server = Server::shared();
    let url = server.schema().await;
    let engine = postgres::open(&Config::new(&url), options(None)).await.expect("opens");
    let mut batch = Batch::new("test", Uid::NIL);
    let value = serde_json::json!({ "text": "it's \u{0}", "hidden": "a \u{0} too" });
    let [table] = options(None).tables[..] else { panic!("there is one table") };
    batch.puts.push(Put { key: Key::new(table).u8(0xab), value: codec::encode(&value) });
    engine.commit(batch).await.expect("nothing is checked");
    let row = connect(&url).await.query_one("SELECT * FROM note_view", &[]).await;
    let row = row.expect("one row");
    assert_eq!(
        (row.len(), row.get::<_, &str>(0), row.get::<_, &str>(1)),
        (2, "AB", "it's \u{fffd}")
    );
}

#[tokio::test]
async fn unreachable_database_and_strange_urls_are_told_apart() {
    let refused = refusal("postgres://nobody@127.0.0.1:9/none").await;
    assert!(matches!(refused, OpenError::Unreachable(_)), "{refused}");
    let refused = refusal("postgres://x?nonsense=1").await;
    assert!(matches!(refused, OpenError::Url(_)), "{refused}");
}

//! The embedded engine: the contract, and what only a folder on disk can do wrong.

use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;

use super::*;
use crate::clock::SystemClock;
use crate::codec;
use crate::conformance;
use crate::engine::Put;
use crate::entropy::SystemEntropy;
use crate::table::{Kind, Table};

static NOTE: Table = Table { name: "note", kind: Kind::Record, columns: &["text", "size"] };
const ROOM: Uid = Uid([1; 16]);

fn options() -> Options {
    Options {
        tables: vec![&NOTE],
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        sink: None,
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

async fn put(engine: &dyn Engine, id: u8, value: &[u8]) -> Stamp {
    let mut batch = Batch::new("test", ROOM);
    batch.puts.push(Put { key: Key::new(&NOTE).u8(id), value: value.to_vec() });
    engine.commit(batch).await.expect("nothing is checked")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_keeps_the_contract() {
    let dir = folder();
    let number = AtomicU32::new(0);
    conformance::suite(async |options| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        open(&dir.path().join(number.to_string()), options).expect("opens")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_orders_races() {
    let dir = folder();
    let number = AtomicU32::new(0);
    conformance::races(async |[options, _]| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let engine = open(&dir.path().join(number.to_string()), options).expect("opens");
        [Arc::clone(&engine), engine]
    })
    .await;
}

#[tokio::test]
async fn reopened_store_holds_everything_and_continues_its_homes() {
    let dir = folder();
    let engine = open(dir.path(), options()).expect("opens");
    let first = put(engine.as_ref(), 1, b"one").await;
    let keys = [Key::new(&NOTE).u8(1), Key::home(ROOM)];
    let before = engine.get(&keys).await.expect("reads");
    engine.close().await;

    let engine = open(dir.path(), options()).expect("opens again");
    assert_eq!(engine.get(&keys).await.expect("reads"), before);
    let second = put(engine.as_ref(), 2, b"two").await;
    assert!(second > first && second.seq == first.seq + 1);
}

#[tokio::test]
async fn rows_outlive_a_store_that_was_never_closed() {
    let dir = folder();
    let engine = open(dir.path(), options()).expect("opens");
    put(engine.as_ref(), 1, b"one").await;
    // A copy of the files of a running store is what a crash leaves behind.
    let copy = folder();
    for file in [DATABASE_FILE, &format!("{DATABASE_FILE}-wal")] {
        std::fs::copy(dir.path().join(file), copy.path().join(file)).expect("is there");
    }
    let copied = open(copy.path(), options()).expect("opens");
    let found = copied.get(&[Key::new(&NOTE).u8(1)]).await.expect("reads");
    assert_eq!(found[0].as_ref().map(|row| &row.value[..]), Some(&b"one"[..]));
}

#[tokio::test]
async fn folder_belongs_to_one_store_at_a_time() {
    let dir = folder();
    let engine = open(dir.path(), options()).expect("opens");
    let refused = open(dir.path(), options()).err().expect("is refused");
    assert!(matches!(&refused, OpenError::Locked(path) if path == dir.path()));
    assert!(refused.to_string().contains("in use by another process"));
    put(engine.as_ref(), 1, b"still works").await;
    engine.close().await;
    open(dir.path(), options()).expect("is free again");
}

#[tokio::test]
async fn newer_format_is_refused_and_left_alone() {
    let dir = folder();
    open(dir.path(), options()).expect("opens").close().await;
    let database = Connection::open(dir.path().join(DATABASE_FILE)).expect("opens");
    database.pragma_update(None, "user_version", schema::FORMAT + 1).expect("is written");
    let refused = open(dir.path(), options()).err().expect("is refused");
    assert!(
        matches!(refused, OpenError::Newer { found, known, .. } if found == known + 1),
        "{refused}"
    );
    let version: i64 =
        database.pragma_query_value(None, "user_version", |row| row.get(0)).expect("reads");
    assert_eq!(version, schema::FORMAT + 1);
    assert!(dir.path().join(LOCK_FILE).exists(), "it was there before");
}

fn files(dir: &tempfile::TempDir) -> Vec<std::ffi::OsString> {
    let files = std::fs::read_dir(dir.path()).expect("is there");
    files.map(|file| file.expect("is there").file_name()).collect()
}

#[test]
fn databases_of_other_programs_are_refused_and_their_folders_left_as_they_were() {
    let dir = folder();
    let database = Connection::open(dir.path().join(DATABASE_FILE)).expect("opens");
    database.execute_batch("CREATE TABLE theirs (x)").expect("is written");
    let refused = open(dir.path(), options()).err().expect("is refused");
    assert!(matches!(refused, OpenError::Foreign(_)), "{refused}");
    assert_eq!(files(&dir), [DATABASE_FILE]);

    let dir = folder();
    std::fs::write(dir.path().join(DATABASE_FILE), [b'x'; 4_096]).expect("is written");
    let refused = open(dir.path(), options()).err().expect("is refused");
    assert!(matches!(refused, OpenError::Database { .. }), "{refused}");
    assert_eq!(files(&dir), [DATABASE_FILE]);
}

#[test]
fn lock_whose_file_was_taken_away_keeps_nobody_out_and_is_not_trusted() {
    let dir = folder();
    let path = dir.path().join(LOCK_FILE);
    let lock = lock_folder(dir.path()).expect("is free");
    assert!(is_at(&lock, &path));
    std::fs::remove_file(&path).expect("is there");
    assert!(!is_at(&lock, &path));
    let next = lock_folder(dir.path()).expect("is free");
    assert!(is_at(&next, &path) && !is_at(&lock, &path));
}

#[test]
fn folder_that_cannot_be_made_is_refused() {
    let dir = folder();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").expect("is written");
    let refused = open(&file.join("folder"), options()).err().expect("is refused");
    assert!(matches!(refused, OpenError::Folder { .. }), "{refused}");
}

#[tokio::test]
async fn views_show_the_members_of_records() {
    let dir = folder();
    let engine = open(dir.path(), options()).expect("opens");
    let value = serde_json::json!({ "text": "it's", "size": 3, "hidden": true });
    put(engine.as_ref(), 0xab, &codec::encode(&value)).await;
    let database = Connection::open(dir.path().join(DATABASE_FILE)).expect("opens");
    let shown: (String, String, i64) = database
        .query_row("SELECT * FROM note_view", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .expect("one row of three columns");
    assert_eq!(shown, ("AB".into(), "it's".into(), 3));
}

#[tokio::test]
async fn tables_that_a_release_adds_are_made_when_it_opens_the_store() {
    static LATER: Table = Table { name: "later", kind: Kind::Index, columns: &[] };
    let dir = folder();
    let engine = open(dir.path(), options()).expect("opens");
    put(engine.as_ref(), 1, b"old").await;
    engine.close().await;
    let engine =
        open(dir.path(), Options { tables: vec![&NOTE, &LATER], ..options() }).expect("opens");
    let keys = [Key::new(&LATER).u8(1), Key::new(&NOTE).u8(1)];
    let found = engine.get(&keys).await.expect("reads");
    assert!(found[0].is_none() && found[1].is_some());
}

#[cfg(unix)]
#[test]
fn folder_is_made_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = folder();
    let made = dir.path().join("a/b");
    open(&made, options()).expect("opens");
    let mode = std::fs::metadata(&made).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

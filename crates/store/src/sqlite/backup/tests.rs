//! A copy that is made while commits go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::clock::SystemClock;
use crate::engine::{Batch, Options, Put};
use crate::entropy::SystemEntropy;
use crate::id::Uid;
use crate::key::{Direction, Key, Range};
use crate::sqlite::open;
use crate::table::{Kind, Table};

static NOTE: Table = Table { name: "note", kind: Kind::Record, columns: &[] };
const ROOM: Uid = Uid([1; 16]);

fn options() -> Options {
    Options {
        tables: vec![&NOTE],
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        sink: None,
    }
}

fn batch() -> Batch {
    let mut batch = Batch::new("test", ROOM);
    batch.puts.push(Put { key: Key::new(&NOTE).stamped(), value: vec![7; 500] });
    batch
}

async fn count(dir: &Path) -> u64 {
    let engine = open(dir, options()).expect("opens");
    let all = [Range::prefix(Key::new(&NOTE))];
    let rows = engine.scan(&all, usize::MAX, Direction::Forward, true).await.expect("reads");
    let home = engine.get(&[Key::home(ROOM)]).await.expect("reads").remove(0).expect("is there");
    engine.close().await;
    let rows = u64::try_from(rows[0].len()).expect("is small");
    assert_eq!(rows, home.home().seq, "the copy is one snapshot");
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_of_a_store_that_is_written_is_one_snapshot_of_what_was_acknowledged() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let here = dir.path().join("here");
    let engine = open(&here, options()).expect("opens");
    for _ in 0..200 {
        engine.commit(batch()).await.expect("nothing is checked");
    }
    let over = Arc::new(AtomicBool::new(false));
    let (writer, until) = (Arc::clone(&engine), Arc::clone(&over));
    let (first, begun) = tokio::sync::oneshot::channel();
    let writing = tokio::spawn(async move {
        let mut first = Some(first);
        while !until.load(Ordering::Relaxed) {
            writer.commit(batch()).await.expect("nothing is checked");
            first.take().map(|first| first.send(()));
        }
    });
    begun.await.expect("writes");
    let copy = dir.path().join("there").join(DATABASE_FILE);
    std::fs::create_dir(dir.path().join("there")).expect("is made");
    let copied = tokio::task::spawn_blocking({
        let (here, copy) = (here.clone(), copy.clone());
        move || backup(&here, &copy, |done, all| assert!(done <= all))
    });
    copied.await.expect("no panic").expect("is copied");
    over.store(true, Ordering::Relaxed);
    writing.await.expect("no panic");
    engine.close().await;
    let copied = count(&dir.path().join("there")).await;
    assert!(copied > 200 && copied <= count(&here).await, "{copied}");
}

#[tokio::test]
async fn a_backup_takes_no_other_files_place_and_leaves_no_part() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let here = dir.path().join("here");
    let to = dir.path().join("copy.db");
    let refused = backup(&here, &to, |_, _| {}).expect_err("is refused");
    assert!(matches!(refused, BackupError::NoStore(_)), "{refused}");
    open(&here, options()).expect("opens").close().await;
    let refused = backup(&here, &dir.path().join("none/copy.db"), |_, _| {});
    assert!(matches!(refused, Err(BackupError::Write { .. })), "{refused:?}");
    std::fs::write(dir.path().join("copy.db.part"), b"of one that was killed").expect("is written");
    backup(&here, &to, |_, _| {}).expect("is copied");
    assert!(!dir.path().join("copy.db.part").exists());
    let refused = backup(&here, &to, |_, _| {}).expect_err("is refused");
    assert!(matches!(refused, BackupError::Exists(_)), "{refused}");
    let theirs = dir.path().join("theirs");
    std::fs::create_dir(&theirs).expect("is made");
    let database = Connection::open(theirs.join(DATABASE_FILE)).expect("opens");
    database.execute_batch("CREATE TABLE theirs (x)").expect("is written");
    let refused = backup(&theirs, &dir.path().join("other.db"), |_, _| {}).expect_err("is refused");
    assert!(matches!(refused, BackupError::Foreign(_)), "{refused}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_backup_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a temporary folder");
    open(dir.path(), options()).expect("opens").close().await;
    let to = dir.path().join("copy.db");
    backup(dir.path(), &to, |_, _| {}).expect("is copied");
    assert_eq!(std::fs::metadata(&to).expect("is there").permissions().mode() & 0o777, 0o600);
}

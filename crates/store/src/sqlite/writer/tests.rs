//! The writer when the disk fails it.

use std::sync::mpsc;

use rusqlite::ffi;

use super::*;
use crate::clock::MockClock;
use crate::engine::Put;
use crate::entropy::SeededEntropy;
use crate::key::Key;
use crate::sqlite::queue::Job;
use crate::table::SETTING;

struct Fixture {
    _dir: tempfile::TempDir,
    writer: Writer,
    fatal: mpsc::Receiver<String>,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let options = Options {
        tables: vec![],
        clock: Arc::new(MockClock::new(1_000)),
        entropy: Arc::new(SeededEntropy::new(1)),
        sink: None,
    };
    let schema = Arc::new(Schema::new(options.all_tables()));
    let (tell, fatal) = mpsc::channel();
    let writer = Writer {
        tally: Arc::default(),
        database: schema.open_writer(&dir.path().join("test.db")).expect("opens"),
        schema,
        queue: Arc::new(Queue::new()),
        publisher: Arc::new(Publisher::new(None)),
        options,
        fatal: Box::new(move |reason| tell.send(reason.to_owned()).expect("the test listens")),
        lock: File::create(dir.path().join("lock")).expect("is made"),
        done: watch::channel(()).0,
    };
    Fixture { _dir: dir, writer, fatal }
}

fn failure(code: i32) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}

fn put(name: &str, value_bytes: usize) -> Batch {
    let mut batch = Batch::new("test", Uid::NIL);
    batch.puts.push(Put { key: Key::new(&SETTING).text(name), value: vec![7; value_bytes] });
    batch
}

fn count(writer: &Writer) -> i64 {
    let sql = "SELECT count(*) FROM setting";
    writer.database.query_row(sql, [], |row| row.get(0)).expect("reads")
}

#[test]
fn full_disk_undoes_the_group_and_the_next_one_commits() {
    let Fixture { writer, fatal, .. } = fixture();
    let pages: i64 = writer
        .database
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .expect("is readable");
    writer.database.pragma_update(None, "max_page_count", pages + 4).expect("is settable");
    let (answer, outcome) = oneshot::channel();
    let refused = writer.commit(vec![put("small", 1), put("large", 1 << 20)]);
    assert!(matches!(refused, Err(Broken::Undone(_))), "{refused:?}");
    assert!(writer.conclude(refused, vec![answer]).is_continue());
    let outcome = outcome.blocking_recv().expect("is answered");
    assert!(matches!(outcome, Err(Failure::Unavailable(_))), "{outcome:?}");
    assert_eq!(count(&writer), 0);

    let judged = writer.commit(vec![put("small", 1)]).expect("there is room for this one");
    assert_eq!(judged.answers[0].as_ref().map(|stamp| stamp.seq).ok(), Some(1));
    assert_eq!(count(&writer), 1);
    assert!(fatal.try_recv().is_err());
}

#[test]
fn commit_with_an_open_outcome_ends_the_process_and_acknowledges_nothing() {
    let Fixture { writer, fatal, .. } = fixture();
    let (answer, outcome) = oneshot::channel();
    let open = writer.broken_commit(failure(ffi::SQLITE_IOERR_FSYNC));
    assert!(writer.conclude(Err(open), vec![answer]).is_break());
    let reason = fatal.try_recv().expect("the operator is told");
    assert!(reason.contains("while committing"), "{reason}");
    let outcome = outcome.blocking_recv().expect("is answered");
    assert!(matches!(outcome, Err(Failure::Unknown(_))), "{outcome:?}");
}

#[test]
fn only_orderly_refusals_of_a_commit_count_as_undone() {
    let Fixture { writer, .. } = fixture();
    for code in [ffi::SQLITE_FULL, ffi::SQLITE_BUSY, ffi::SQLITE_LOCKED, ffi::SQLITE_NOMEM] {
        assert!(matches!(writer.broken_commit(failure(code)), Broken::Undone(_)), "{code}");
    }
    let others = [ffi::SQLITE_IOERR, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_CORRUPT];
    for code in others.into_iter().chain([ffi::SQLITE_IOERR_FSYNC]) {
        assert!(matches!(writer.broken_commit(failure(code)), Broken::Open(_)), "{code}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn failed_write_counts_as_undone_where_no_other_file_can_grow_either() {
    let Fixture { mut writer, .. } = fixture();
    // A file in which there is never any space.
    writer.lock = File::options().write(true).open("/dev/full").expect("Linux has it");
    let write = writer.broken_commit(failure(ffi::SQLITE_IOERR_WRITE));
    let Broken::Undone(cause) = write else { panic!("{write:?}") };
    assert!(cause.to_string().contains("disk is full"), "{cause}");
    for code in [ffi::SQLITE_IOERR, ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_CORRUPT] {
        assert!(matches!(writer.broken_commit(failure(code)), Broken::Open(_)), "{code}");
    }
}

#[test]
fn look_for_space_leaves_no_trace() {
    let file = tempfile::tempfile().expect("a temporary file");
    for _ in 0..2 {
        grow(&file).expect("there is space");
        assert_eq!(file.metadata().expect("is there").len(), 0);
    }
}

#[test]
fn transaction_that_was_left_open_is_undone_before_the_next_group() {
    let Fixture { writer, .. } = fixture();
    writer
        .database
        .execute_batch("BEGIN; INSERT INTO setting (k, ver, v) VALUES (x'00', x'00', x'00')")
        .expect("is written");
    writer.commit(vec![put("name", 1)]).expect("nothing is checked");
    assert_eq!(count(&writer), 1);
}

#[tokio::test]
async fn callers_learn_that_the_writer_died() {
    let Fixture { writer, .. } = fixture();
    let (answer, outcome) = oneshot::channel();
    let job = Job { batch: put("name", 1), answer };
    writer.queue.submit(job).await.expect("the queue is open");
    drop(Abandon(Arc::clone(&writer.queue)));
    assert!(outcome.await.is_err(), "no answer will come");
    assert!(writer.queue.is_closed());
    assert!(writer.queue.take().is_none());
}

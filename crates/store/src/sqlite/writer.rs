//! The writer: one thread that commits groups of batches.
//!
//! It takes one batch, then whatever else waits, up to the caps; one transaction, one fsync; then
//! the events, then the answers. No timer: under load the groups grow by themselves. Invariants:
//! no answer and no event leaves before its group is durable; events leave in commit order. When
//! the disk refuses a commit in a way that leaves its outcome open, the process ends: after a
//! failed fsync the system may have dropped the pages, and no later success would mean anything.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, ffi, params};
use tokio::sync::{oneshot, watch};

use crate::engine::{Batch, Committed, Failure, HomeRow, Options, Unavailable};
use crate::figures::Tally;
use crate::group::{self, CounterWrite, Judged, Loaded, Needs, RowWrite, Source, WriteSet};
use crate::id::{Stamp, Uid};
use crate::publish::Publisher;
use crate::queue::Queue;
use crate::sqlite::reader::{self, execute};
use crate::sqlite::schema::Schema;
use crate::table::HOME;

/// What a file must be able to grow by, or the disk counts as full: no less than any file system
/// gives out at once.
const SPACE_PROBE_BYTES: usize = 64 << 10;

/// Is told why nothing may be acknowledged any more; in production it ends the process.
pub(super) type Fatal = Box<dyn Fn(&str) + Send>;

/// Ends the process with one line for the operator.
pub(super) fn end_process(reason: &str) {
    eprintln!("fatal: {reason}; the process ends so that nothing unwritten is acknowledged");
    std::process::abort();
}

/// Everything that the thread owns.
pub(super) struct Writer {
    pub(super) database: Connection,
    pub(super) schema: Arc<Schema>,
    pub(super) queue: Arc<Queue>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) options: Options,
    pub(super) tally: Arc<Tally>,
    pub(super) fatal: Fatal,
    pub(super) lock: File,
    pub(super) done: watch::Sender<()>,
}

/// A group that was not committed.
#[derive(Debug)]
enum Broken {
    /// Nothing of it is written.
    Undone(Unavailable),
    /// It may be written or not.
    Open(rusqlite::Error),
}

/// Closes the queue however the thread ends, so that no caller waits for an answer in vain.
struct Abandon(Arc<Queue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

type Answer = oneshot::Sender<Result<Stamp, Failure>>;

impl Writer {
    /// Commits groups until the queue is closed and empty.
    pub(super) fn run(self) {
        let _abandon = Abandon(Arc::clone(&self.queue));
        while let Some(jobs) = self.queue.take() {
            let jobs = jobs.into_iter().map(|job| (job.batch, job.answer));
            let (group, answers): (Vec<Batch>, Vec<Answer>) = jobs.unzip();
            let (batch_count, begun) = (group.len(), Instant::now());
            let outcome = self.commit(group);
            if outcome.is_ok() {
                self.tally.note(batch_count, begun.elapsed());
            }
            if self.conclude(outcome, answers).is_break() {
                break;
            }
        }
        self.publisher.close();
        // The folder is free for another process only when the database is closed.
        drop(self.database);
        drop(self.lock);
        drop(self.done);
    }

    /// Tells the sink, then the callers, what became of a group.
    fn conclude(&self, outcome: Result<Judged, Broken>, answers: Vec<Answer>) -> ControlFlow<()> {
        match outcome {
            Ok(judged) => {
                self.tell(judged.committed);
                for (answer, outcome) in answers.into_iter().zip(judged.answers) {
                    reply(answer, outcome);
                }
                ControlFlow::Continue(())
            }
            Err(Broken::Undone(cause)) => {
                for answer in answers {
                    reply(answer, Err(Failure::Unavailable(cause.clone())));
                }
                ControlFlow::Continue(())
            }
            Err(Broken::Open(cause)) => {
                (self.fatal)(&format!("the database failed while committing: {cause}"));
                let failure = Unavailable::caused("the database failed while committing", cause);
                for answer in answers {
                    reply(answer, Err(Failure::Unknown(failure.clone())));
                }
                ControlFlow::Break(())
            }
        }
    }

    fn tell(&self, committed: Vec<Committed>) {
        let sink = if committed.is_empty() { None } else { self.publisher.sink() };
        if let Some(sink) = sink {
            // A reader that is gone cannot be told; what must not be lost is an event row.
            sink.blocking_send(committed).unwrap_or_default();
        }
    }

    /// Runs a group's transaction.
    fn commit(&self, group: Vec<Batch>) -> Result<Judged, Broken> {
        self.roll_back().map_err(undone)?;
        execute(&self.database, "BEGIN IMMEDIATE").map_err(undone)?;
        let outcome = match self.judge_and_write(group) {
            Ok(judged) if judged.has_writes() => match execute(&self.database, "COMMIT") {
                Ok(()) => return Ok(judged),
                Err(cause) => Err(self.broken_commit(cause)),
            },
            Ok(refused) => Ok(refused),
            Err(cause) => Err(undone(cause)),
        };
        // A rollback that fails is tried again before the next group, and refuses that.
        self.roll_back().unwrap_or_default();
        outcome
    }

    /// Ends the transaction, if there is one.
    fn roll_back(&self) -> rusqlite::Result<()> {
        if self.database.is_autocommit() { Ok(()) } else { execute(&self.database, "ROLLBACK") }
    }

    /// Tells what a failed COMMIT means: a disk that is full, or a file that is held or short of
    /// memory, undoes the group in an orderly way; with any other cause nobody can know.
    fn broken_commit(&self, cause: rusqlite::Error) -> Broken {
        match cause.sqlite_error_code() {
            Some(
                ErrorCode::DiskFull
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory,
            ) => undone(cause),
            _ => self.used_up_quota(&cause).unwrap_or(Broken::Open(cause)),
        }
    }

    /// Recognizes a quota that is used up, which SQLite calls a failed write and not a full disk:
    /// it was a write that failed, not a sync; it is rolled back; and another file cannot grow
    /// either, for want of space.
    fn used_up_quota(&self, cause: &rusqlite::Error) -> Option<Broken> {
        let code = cause.sqlite_error()?.extended_code;
        if code != ffi::SQLITE_IOERR_WRITE || self.roll_back().is_err() {
            return None;
        }
        let refusal = grow(&self.lock).err()?;
        let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        kinds.contains(&refusal.kind()).then(|| {
            let text = "the database cannot be written: the disk is full or its quota used up";
            Broken::Undone(Unavailable::caused(text, refusal))
        })
    }

    fn judge_and_write(&self, group: Vec<Batch>) -> rusqlite::Result<Judged> {
        let loaded = self.load(&group::needs(&group))?;
        let source = Source {
            clock: self.options.clock.as_ref(),
            entropy: self.options.entropy.as_ref(),
            marks: &self.publisher.marks,
        };
        let judged = group::judge(group, loaded, &source);
        self.write(&judged.writes)?;
        Ok(judged)
    }

    fn load(&self, needs: &Needs) -> rusqlite::Result<Loaded> {
        let mut loaded = Loaded::default();
        let homes = &self.schema.sql(&HOME)?.judge;
        for uid in &needs.homes {
            if let Some(row) = self.one(homes, &uid.0, reader::home)? {
                loaded.homes.insert(*uid, row);
            }
        }
        // Keys come sorted by table: the statement of each is looked up once.
        let mut keys = needs.versions.iter().peekable();
        while let Some(first) = keys.peek().copied() {
            let judge = &self.schema.sql(first.table())?.judge;
            let mut judge = self.database.prepare_cached(judge)?;
            while let Some(key) = keys.next_if(|key| key.is_of_table(first)) {
                let found = judge.query_row([key.bytes()], |row| reader::version(row, 0));
                if let Some(ver) = found.optional()? {
                    loaded.versions.insert(key.clone(), ver);
                }
            }
        }
        for key in &needs.counters {
            let sql = &self.schema.sql(key.table())?.judge;
            if let Some(sum) = self.one(sql, key.bytes(), |row| row.get(0))? {
                loaded.counters.insert(key.clone(), sum);
            }
        }
        Ok(loaded)
    }

    fn one<T>(
        &self,
        sql: &str,
        key: &[u8],
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.database.prepare_cached(sql)?.query_row([key], read).optional()
    }

    fn write(&self, writes: &WriteSet) -> rusqlite::Result<()> {
        let homes = self.schema.sql(&HOME)?;
        for (uid, row) in &writes.homes {
            match row {
                Some(row) => self.write_home(&homes.put, *uid, row)?,
                None => self.delete(&homes.delete, &uid.0)?,
            }
        }
        let mut rows = writes.rows.iter().peekable();
        while let Some((first, _)) = rows.peek().copied() {
            let sql = self.schema.sql(first.table())?;
            let mut put = self.database.prepare_cached(&sql.put)?;
            while let Some((key, write)) = rows.next_if(|(key, _)| key.is_of_table(first)) {
                match write {
                    RowWrite::Delete => self.delete(&sql.delete, key.bytes())?,
                    RowWrite::Put { value, ver } => {
                        put.execute(params![key.bytes(), &ver.0.to_be_bytes()[..], value])?;
                    }
                }
            }
        }
        for (key, CounterWrite { cleared, delta }) in &writes.counters {
            let sql = self.schema.sql(key.table())?;
            if *cleared {
                self.delete(&sql.delete, key.bytes())?;
            }
            if let Some(delta) = delta {
                self.database.prepare_cached(&sql.put)?.execute(params![key.bytes(), delta])?;
            }
        }
        Ok(())
    }

    fn write_home(&self, sql: &str, uid: Uid, row: &HomeRow) -> rusqlite::Result<()> {
        // Stamps keep to 48 bits, so the greatest number is never met.
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.database.prepare_cached(sql)?.execute(params![
            &uid.0[..],
            signed(row.seq),
            signed(row.last_ms),
            row.last_message_ms.map(signed),
            signed(row.last_event_seq),
        ])?;
        Ok(())
    }

    fn delete(&self, sql: &str, key: &[u8]) -> rusqlite::Result<()> {
        self.database.prepare_cached(sql)?.execute([key]).map(drop)
    }
}

/// Answers a caller; one that went away is no concern of the group.
fn reply(answer: Answer, outcome: Result<Stamp, Failure>) {
    answer.send(outcome).unwrap_or_default();
}

fn undone(cause: rusqlite::Error) -> Broken {
    Broken::Undone(Unavailable::caused("the database cannot be written", cause))
}

/// Lets an empty file grow and shrink again.
fn grow(mut file: &File) -> io::Result<()> {
    file.rewind()?;
    let grown = file.write_all(&[0; SPACE_PROBE_BYTES]);
    grown.and(file.set_len(0))
}

#[cfg(test)]
mod tests;

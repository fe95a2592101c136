//! The contract between the store and its engines.
//!
//! A batch is data: all of it happens or none of it. Invariants that every engine keeps and
//! `conformance` checks: one call of `get` or `scan` sees one snapshot; what was acknowledged is
//! read by every later call; within a home, commits, stamps and the events in the sink have one
//! order; an acknowledgement follows the durable write.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::codec;
use crate::entropy::Entropy;
use crate::figures::Figures;
use crate::id::{Stamp, Uid, Version};
use crate::key::{Key, KeyBytes, Parts};
use crate::range::{Direction, Range};
use crate::table::{Kind, Record, Table};

/// The most rows, checks and events that one batch may name.
pub const BATCH_ROWS_MAX: usize = 8_192;

/// A future that an engine returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Takes the committed events, one message per group, in commit order. A full sink holds the
/// committer, so whoever reads it never waits for a commit of its own.
pub type Sink = mpsc::Sender<Vec<Committed>>;

/// Keeps rows: reads snapshots and commits batches.
pub trait Engine: Send + Sync {
    /// Returns the rows of `keys`, in their order, as of one snapshot.
    fn get<'a>(&'a self, keys: &'a [Key])
    -> BoxFuture<'a, Result<Vec<Option<Entry>>, Unavailable>>;

    /// Returns at most `limit` rows of each range, as of one snapshot; with `keys_only` the values
    /// are empty.
    fn scan<'a>(
        &'a self,
        ranges: &'a [Range],
        limit: usize,
        direction: Direction,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Vec<Vec<Entry>>, Unavailable>>;

    /// Commits a batch and returns the stamp that it was given. A dropped future leaves the batch
    /// committed or not, never in part.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Stamp, Failure>>;

    /// Sends events that no row keeps; their stamp has the sequence number 0.
    fn publish(&self, home: Uid, events: Vec<Event>) -> BoxFuture<'_, Result<Stamp, Failure>>;

    /// Tells what the engine has done and what waits.
    fn figures(&self) -> Figures {
        Figures::default()
    }

    /// Refuses further work, finishes what was accepted and lets go of the database and the sink.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What an engine is opened with.
#[derive(Clone)]
pub struct Options {
    /// The caller's tables; the engine adds its own.
    pub tables: Vec<&'static Table>,
    /// Gives the time of stamps.
    pub clock: Arc<dyn Clock>,
    /// Gives the random bits of versions.
    pub entropy: Arc<dyn Entropy>,
    /// Takes the events.
    pub sink: Option<Sink>,
}

impl Options {
    /// Returns the caller's tables and the engine's own.
    pub fn all_tables(&self) -> Vec<&'static Table> {
        crate::table::with_builtin(&self.tables)
    }
}

/// A row as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key's bytes.
    pub key: KeyBytes,
    /// The value; of a counter its sum, of a home its row, in a form that `count` and `home` read.
    pub value: Bytes,
    /// The writing of the row; zero for counters.
    pub ver: Version,
}

impl Entry {
    /// Returns the row of a counter.
    pub fn of_sum(key: KeyBytes, sum: i64) -> Entry {
        let value = Bytes::copy_from_slice(&sum.to_be_bytes());
        Entry { key, value, ver: Version::default() }
    }

    /// Returns the row of a home.
    pub fn of_home(key: KeyBytes, row: HomeRow) -> Entry {
        let value = Bytes::copy_from_slice(&row.to_bytes());
        Entry { key, value, ver: row.version() }
    }

    /// Returns a counter's sum.
    pub fn count(&self) -> i64 {
        count_of(&self.value)
    }

    /// Returns a home's row.
    pub fn home(&self) -> HomeRow {
        HomeRow::from_bytes(&self.value).unwrap_or_default()
    }

    /// Decodes a record.
    pub fn decode<R: Record>(&self) -> Result<R, Unavailable> {
        let mut record: R = codec::decode(&self.value)
            .map_err(|cause| Unavailable::caused("a stored value cannot be read", cause))?;
        record.located(&self.key, self.ver);
        Ok(record)
    }
}

/// Reads the form in which an `Entry` holds a counter's sum.
pub(crate) fn count_of(value: &[u8]) -> i64 {
    value.try_into().map_or(0, i64::from_be_bytes)
}

/// A home's last numbers and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HomeRow {
    /// Sequence number of the last commit.
    pub seq: u64,
    /// Time of the last commit.
    pub last_ms: u64,
    /// Time of the last commit that marked a message.
    pub last_message_ms: Option<u64>,
    /// Sequence number of the last commit that had events; 0 = none yet.
    pub last_event_seq: u64,
}

impl HomeRow {
    pub(crate) fn version(&self) -> Version {
        Version::new(Stamp { ms: self.last_ms, seq: self.seq }, 0)
    }

    /// Returns the form that an `Entry` holds. No message yet reads as the greatest number.
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let message = self.last_message_ms.unwrap_or(u64::MAX);
        let mut bytes = [0; 32];
        let fields = [self.seq, self.last_ms, message, self.last_event_seq];
        for (room, field) in bytes.chunks_mut(8).zip(fields) {
            room.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<HomeRow> {
        let mut parts = Parts::new(bytes);
        Some(HomeRow {
            seq: parts.u64()?,
            last_ms: parts.u64()?,
            last_message_ms: parts.u64().map(|ms| (ms < u64::MAX).then_some(ms))?,
            last_event_seq: parts.u64()?,
        })
    }
}

/// Who is told of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// The members of a home.
    Members(Uid),
    /// The moderators of a home.
    Moderators(Uid),
    /// Exactly these users.
    Users(Vec<Uid>),
    /// Only the server itself.
    Internal,
}

/// Something that happened, for the sink.
#[derive(Debug, Clone)]
pub struct Event {
    /// Who is told.
    pub audience: Audience,
    /// What is told; the reader of the sink knows its type.
    pub body: Arc<dyn Any + Send + Sync>,
    /// What the `event` row holds; none = the event is not durable and has no row.
    pub reference: Option<Vec<u8>>,
}

/// Requires a row to be as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The row.
    pub key: Key,
    /// The version it must have; none = it must be absent.
    pub expect: Option<Version>,
}

/// Adds to a counter; a missing counter is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// The counter.
    pub key: Key,
    /// What to add.
    pub delta: i64,
    /// The bound that a growing sum must not pass.
    pub max: Option<i64>,
}

/// A sum that must not have fallen below what was read; what a batch adds itself counts. It never
/// meets adds that let the sum grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    /// The counter; a missing one is 0.
    pub key: Key,
    /// The least sum that the batch may leave.
    pub min: i64,
}

/// Creates or replaces a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The row; the one place where a key may wait for its stamp.
    pub key: Key,
    /// Its new value.
    pub value: Vec<u8>,
}

/// Which batches the committer takes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Work that somebody waits for.
    #[default]
    Normal,
    /// Background work; waits behind the other.
    Low,
}

/// Changes that happen together or not at all. Deletes come before puts and adds.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Names the kind of change, for counts and errors.
    pub name: &'static str,
    /// The home that gives order and time.
    pub home: Uid,
    /// Further homes whose rows this batch decides about, such as the parent in which a name is
    /// taken. They give no stamp; an engine with several writers keeps them still meanwhile.
    pub holds: Vec<Uid>,
    /// Whether the home remembers this batch as its last message.
    pub marks_message: bool,
    /// What must hold.
    pub checks: Vec<Check>,
    /// Sums that must be as great as they were; one that is not is a conflict.
    pub floors: Vec<Floor>,
    /// Sums that change.
    pub adds: Vec<Add>,
    /// Rows that are written.
    pub puts: Vec<Put>,
    /// Rows that go; missing ones are no error.
    pub deletes: Vec<Key>,
    /// What is told when the batch is durable.
    pub events: Vec<Event>,
    /// Which batches go first.
    pub priority: Priority,
}

impl Batch {
    /// Creates an empty batch.
    pub fn new(name: &'static str, home: Uid) -> Batch {
        Batch {
            name,
            home,
            holds: Vec::new(),
            marks_message: false,
            checks: Vec::new(),
            floors: Vec::new(),
            adds: Vec::new(),
            puts: Vec::new(),
            deletes: Vec::new(),
            events: Vec::new(),
            priority: Priority::Normal,
        }
    }

    /// Returns the bytes of keys and values that the batch writes.
    pub(crate) fn weight_bytes(&self) -> usize {
        let puts = self.puts.iter().map(|put| put.key.bytes().len() + put.value.len());
        let references = self.events.iter().filter_map(|event| event.reference.as_ref());
        puts.chain(references.map(Vec::len)).sum()
    }

    /// Finds what no engine could carry out. Each case is a defect of the caller, not of a request.
    pub(crate) fn defect(&self, is_known: impl Fn(&Table) -> bool) -> Option<&'static str> {
        let rows = self.checks.len() + self.floors.len() + self.adds.len() + self.puts.len();
        if rows + self.deletes.len() + self.events.len() > BATCH_ROWS_MAX {
            return Some("batch of too many rows");
        }
        let puts = self.puts.iter().map(|put| &put.key);
        let fixed = self.checks.iter().map(|check| &check.key);
        let fixed = fixed.chain(self.floors.iter().map(|floor| &floor.key));
        let fixed = fixed.chain(self.adds.iter().map(|add| &add.key)).chain(&self.deletes);
        if fixed.clone().any(Key::is_stamped) {
            return Some("only a put may wait for its stamp");
        }
        if !puts.clone().chain(fixed).all(|key| is_known(key.table())) {
            return Some("batch names an unknown table");
        }
        let kinds_fit =
            puts.clone().all(|key| matches!(key.table().kind, Kind::Record | Kind::Index))
                && self.adds.iter().all(|add| add.key.table().kind == Kind::Counter)
                && self.floors.iter().all(|floor| floor.key.table().kind == Kind::Counter)
                && self.checks.iter().all(|check| check.key.table().kind != Kind::Counter);
        (!kinds_fit).then_some("batch uses a table against its kind")
    }
}

/// The events of one committed batch, or of one publish.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The home.
    pub home: Uid,
    /// Sequence number of the home's batch before this one that had events: a reader that has not
    /// seen it has missed something. 0 for the first, and for what was published.
    pub prev_seq: u64,
    /// The batch's place in its home.
    pub stamp: Stamp,
    /// The events, never none.
    pub events: Vec<Event>,
    /// The group that wrote them, where other nodes are told of it.
    pub group: Option<GroupNumber>,
}

/// Names a group of commits of a node that shares its store. The groups of a lane are numbered from
/// 1 without a gap, so that who hears of one knows what it has missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupNumber {
    /// The committer lane.
    pub lane: u8,
    /// The place of the group among those of its lane.
    pub number: u64,
}

/// Why a commit did not happen, or may not have.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// A checked row is not as it was read.
    #[error("a row of {} changed meanwhile", .0.table().name)]
    Conflict(Key),
    /// A sum would pass its bound.
    #[error("a sum of {} reached its bound", .0.table().name)]
    Bound(Key),
    /// Nothing was written.
    #[error("the store is unavailable")]
    Unavailable(#[from] Unavailable),
    /// The batch may have been written or not.
    #[error("the outcome of a commit is unknown")]
    Unknown(#[source] Unavailable),
}

/// Says that the store cannot answer now; never caused by what was asked.
#[derive(Debug, Clone)]
pub struct Unavailable {
    text: Cow<'static, str>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Unavailable {
    /// Creates the error from a text for operators.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Unavailable {
        Unavailable { text: text.into(), cause: None }
    }

    /// Creates the error from a text for operators and its cause.
    pub fn caused(
        text: impl Into<Cow<'static, str>>,
        cause: impl Error + Send + Sync + 'static,
    ) -> Unavailable {
        Unavailable { text: text.into(), cause: Some(Arc::new(cause)) }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Unavailable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause = self.cause.as_deref()?;
        Some(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static NOTE: Table = Table { name: "note", kind: Kind::Record, columns: &[] };
    static TALLY: Table = Table { name: "tally", kind: Kind::Counter, columns: &[] };

    fn defect(change: impl FnOnce(&mut Batch)) -> Option<&'static str> {
        let mut batch = Batch::new("test", Uid::NIL);
        change(&mut batch);
        batch.defect(|table| table.name != "strange")
    }

    #[test]
    fn home_row_survives_its_byte_form() {
        let row = HomeRow { seq: 4, last_ms: 5, last_message_ms: None, last_event_seq: 3 };
        for row in [row, HomeRow { last_message_ms: Some(0), ..row }] {
            assert_eq!(HomeRow::from_bytes(&row.to_bytes()), Some(row));
        }
        assert_eq!(HomeRow::from_bytes(b"short"), None);
    }

    #[test]
    fn batches_that_fit_their_tables_have_no_defect() {
        assert_eq!(
            defect(|batch| {
                batch.puts.push(Put { key: Key::new(&NOTE).stamped(), value: vec![] });
                batch.adds.push(Add { key: Key::new(&TALLY), delta: 1, max: None });
                batch.deletes.push(Key::new(&TALLY));
                batch.deletes.push(Key::home(Uid::NIL));
            }),
            None
        );
    }

    #[test]
    fn batches_against_their_tables_are_defects() {
        static STRANGE: Table = Table { name: "strange", kind: Kind::Record, columns: &[] };
        let put = |key: Key| defect(|batch| batch.puts.push(Put { key, value: vec![] }));
        assert!(put(Key::new(&STRANGE)).is_some());
        assert!(put(Key::new(&TALLY)).is_some());
        assert!(put(Key::home(Uid::NIL)).is_some());
        assert!(defect(|batch| batch.deletes.push(Key::new(&NOTE).stamped())).is_some());
        let check = Check { key: Key::new(&TALLY), expect: None };
        assert!(defect(|batch| batch.checks.push(check)).is_some());
        let add = Add { key: Key::new(&NOTE), delta: 1, max: None };
        assert!(defect(|batch| batch.adds.push(add)).is_some());
        let rows = vec![Key::new(&NOTE); BATCH_ROWS_MAX + 1];
        assert!(defect(|batch| batch.deletes = rows).is_some());
    }

    #[test]
    fn unavailable_shows_its_text_and_chains_its_cause() {
        let error = Unavailable::caused("disk", std::io::Error::other("full"));
        assert_eq!(error.to_string(), "disk");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("full"));
    }
}

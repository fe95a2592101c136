//! Tables, and the records that live in them.
//!
//! A table is a name and a kind; the engines make the tables that they are opened with, and the
//! three of their own below. Invariant: only `Counter` rows are added to, only `Record` and
//! `Index` rows are put, and only the engine writes homes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::id::{Stamp, Uid, Version};
use crate::key::Key;

/// What the rows of a table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Values in the record format, with a version.
    Record,
    /// Small values that follow from records, with the version of the batch that put them.
    Index,
    /// Sums that change by adding and have no version.
    Counter,
    /// The rows of the homes, which only the engine writes.
    Home,
}

/// A table of the store.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Names the table, in lower case with underscores.
    pub name: &'static str,
    /// What its rows are.
    pub kind: Kind,
    /// The JSON members that the read-only SQL view `<name>_view` shows as columns; records only.
    pub columns: &'static [&'static str],
}

/// Every home's last sequence number and times; the key is the home's uid.
pub static HOME: Table = Table { name: "home", kind: Kind::Home, columns: &[] };

/// References of durable events, by `event_key`; they leave by time.
pub static EVENT: Table = Table { name: "event", kind: Kind::Index, columns: &[] };

/// Values that all nodes share, made once; see `Store::setting`.
pub static SETTING: Table = Table { name: "setting", kind: Kind::Record, columns: &[] };

/// The tables that every engine makes for itself.
pub static BUILTIN: [&Table; 3] = [&HOME, &EVENT, &SETTING];

/// Returns the tables that a store with these tables of its caller has.
pub fn with_builtin(tables: &[&'static Table]) -> Vec<&'static Table> {
    BUILTIN.iter().chain(tables).copied().collect()
}

/// Length of the time buckets that event rows begin with.
pub const EVENT_BUCKET_MS: u64 = 5 * 60 * 1000;

/// Returns the time bucket of a moment.
pub fn event_bucket(ms: u64) -> u32 {
    u32::try_from(ms / EVENT_BUCKET_MS).unwrap_or(u32::MAX)
}

/// Returns the key of an event row: time bucket, home, stamp, place in the batch.
pub fn event_key(home: Uid, stamp: Stamp, index: u16) -> Key {
    Key::new(&EVENT).u32(event_bucket(stamp.ms)).uid(home).stamp(stamp).u16(index)
}

/// A row that follows from a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Where the row stands.
    pub key: Key,
    /// What it holds.
    pub value: Vec<u8>,
}

/// A typed row: its table, its key and the index rows that follow from it.
pub trait Record: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The table of the records.
    const TABLE: &'static Table;

    /// Returns the key, which must follow from the record alone.
    fn key(&self) -> Key;

    /// Lists the index rows that stand for this record; keys are distinct.
    fn indexes(&self, _out: &mut Vec<Index>) {}

    /// Takes over members that the value does not hold, after each decoding: a stamp in the key,
    /// the row's version. A row that this transaction put has the version zero.
    fn located(&mut self, _key: &[u8], _ver: Version) {}
}

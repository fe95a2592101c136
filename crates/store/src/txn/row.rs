//! A row in a transaction: what was read of it, and what becomes of it.
//!
//! Invariant: whoever reads the row again sees it as the transaction leaves it.

use bytes::Bytes;

use crate::cache::Known;
use crate::engine::{Entry, Unavailable};
use crate::id::Version;
use crate::key::{Key, KeyBytes};
use crate::table::Record;
use crate::view::decode;

/// A row that the transaction has read.
pub(super) struct Row {
    pub(super) seen: Option<Known>,
    pub(super) checked: bool,
    pub(super) change: Change,
}

/// What the transaction does to a row.
pub(super) enum Change {
    Keep,
    Put(Vec<u8>),
    Delete,
}

impl Row {
    /// Tells whether the row is there as the transaction leaves it.
    pub(super) fn is_there(&self) -> bool {
        match &self.change {
            Change::Keep => self.seen.is_some(),
            Change::Delete => false,
            Change::Put(_) => true,
        }
    }

    /// Returns what `of` takes from the record as the transaction leaves it.
    pub(super) fn decode_of<R: Record, T>(
        &self,
        key: &Key,
        of: impl FnOnce(&R) -> T,
    ) -> Result<Option<T>, Unavailable> {
        match (&self.change, &self.seen) {
            (Change::Keep, Some(known)) => known.decode_of(of).map(Some),
            _ => Ok(decode(self.current(key).as_ref())?.as_ref().map(of)),
        }
    }

    /// Returns the row as the transaction leaves it.
    pub(super) fn current(&self, key: &Key) -> Option<Entry> {
        match &self.change {
            Change::Keep => self.seen.as_ref().map(|known| known.entry().clone()),
            Change::Delete => None,
            Change::Put(value) => Some(Entry {
                key: KeyBytes::from(key.bytes()),
                value: Bytes::copy_from_slice(value),
                ver: Version::default(),
            }),
        }
    }
}

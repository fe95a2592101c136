//! Reads without checks.
//!
//! Each call sees one snapshot and all that was acknowledged before it; two calls may see two
//! snapshots. Invariant: a view never changes anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::{Engine, Entry, HomeRow, Unavailable};
use crate::id::Uid;
use crate::key::Key;
use crate::range::{Direction, Range};
use crate::table::Record;

/// Reads without checks; each call sees one snapshot.
#[derive(Clone)]
pub struct View {
    engine: Arc<dyn Engine>,
    /// Set by lists that a transaction's handler reads.
    listed: Option<Arc<AtomicBool>>,
}

impl View {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> View {
        View { engine, listed: None }
    }

    /// Creates the view of a transaction, which is told when a list was read.
    pub(crate) fn noting_lists(engine: Arc<dyn Engine>, listed: Arc<AtomicBool>) -> View {
        View { engine, listed: Some(listed) }
    }

    /// Returns a record.
    pub async fn get<R: Record>(&self, key: &Key) -> Result<Option<R>, Unavailable> {
        decode(self.entry(key).await?.as_ref())
    }

    /// Returns records of one kind, in the order of their keys.
    pub async fn get_many<R: Record>(&self, keys: &[Key]) -> Result<Vec<Option<R>>, Unavailable> {
        self.entries(keys).await?.iter().map(|entry| decode(entry.as_ref())).collect()
    }

    /// Returns a row.
    pub async fn entry(&self, key: &Key) -> Result<Option<Entry>, Unavailable> {
        Ok(self.entries(std::slice::from_ref(key)).await?.pop().flatten())
    }

    /// Returns rows, in the order of their keys.
    pub async fn entries(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, Unavailable> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.engine.get(keys).await
    }

    /// Returns a counter's sum.
    pub async fn count(&self, key: &Key) -> Result<i64, Unavailable> {
        Ok(self.entry(key).await?.map_or(0, |entry| entry.count()))
    }

    /// Returns a home's row; none before its first commit.
    pub async fn home(&self, home: Uid) -> Result<Option<HomeRow>, Unavailable> {
        Ok(self.entry(&Key::home(home)).await?.map(|entry| entry.home()))
    }

    /// Returns at most `limit` rows of a range.
    pub async fn list(
        &self,
        range: &Range,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Entry>, Unavailable> {
        let mut lists = self.lists(std::slice::from_ref(range), limit, direction).await?;
        Ok(lists.pop().unwrap_or_default())
    }

    /// Returns at most `limit` rows of each range.
    pub async fn lists(
        &self,
        ranges: &[Range],
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Vec<Entry>>, Unavailable> {
        self.note_list();
        self.engine.scan(ranges, limit, direction, false).await
    }

    /// Returns at most `limit` rows of a range, without their values.
    pub async fn keys(
        &self,
        range: &Range,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Entry>, Unavailable> {
        self.note_list();
        let ranges = std::slice::from_ref(range);
        let mut lists = self.engine.scan(ranges, limit, direction, true).await?;
        Ok(lists.pop().unwrap_or_default())
    }

    fn note_list(&self) {
        if let Some(listed) = &self.listed {
            listed.store(true, Ordering::Relaxed);
        }
    }
}

/// Decodes a row that may be missing.
pub(crate) fn decode<R: Record>(entry: Option<&Entry>) -> Result<Option<R>, Unavailable> {
    entry.map(Entry::decode).transpose()
}

//! An engine that counts its calls, rows and bytes, so that a test can hold what an operation costs, and
//! that lets commits fail as it is told, or loses their outcome.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use store::{
    Batch, BoxFuture, Direction, Engine, Entry, Event, Failure, Key, Range, Stamp, Uid, Unavailable,
};

/// Calls since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) gets: u32,
    pub(crate) scans: u32,
    pub(crate) commits: u32,
}

/// See the head of this file.
pub(crate) struct Counting {
    pub(crate) engine: Arc<dyn Engine>,
    gets: AtomicU32,
    scans: AtomicU32,
    commits: AtomicU32,
    rows: AtomicUsize,
    bytes: AtomicUsize,
    failures: Mutex<VecDeque<Failure>>,
    losses: AtomicU32,
}

impl Counting {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Self {
        let none = AtomicU32::default;
        Self {
            engine,
            gets: none(),
            scans: none(),
            commits: none(),
            rows: AtomicUsize::default(),
            bytes: AtomicUsize::default(),
            failures: Mutex::default(),
            losses: none(),
        }
    }

    /// Lets the next commits fail, so many as are given; nothing of them is written.
    pub(crate) fn fail(&self, failures: impl IntoIterator<Item = Failure>) {
        self.failures.lock().expect("no test panics in here").extend(failures);
    }

    /// Lets the outcome of the next commit be lost: it is written, and its caller does not learn it.
    pub(crate) fn lose_outcome(&self) {
        self.losses.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets outcomes be told again.
    pub(crate) fn tell_outcomes(&self) {
        self.losses.store(0, Ordering::Relaxed);
    }

    /// Returns the rows since the last look: those that were asked for by key, found in ranges,
    /// checked and changed.
    pub(crate) fn take_rows(&self) -> usize {
        self.rows.swap(0, Ordering::Relaxed)
    }

    /// Returns the bytes since the last look: of the keys and values that were read and put.
    pub(crate) fn take_bytes(&self) -> usize {
        self.bytes.swap(0, Ordering::Relaxed)
    }

    fn note_bytes<'a>(&self, found: impl IntoIterator<Item = &'a Entry>) {
        let bytes = found.into_iter().map(|row| row.key.len() + row.value.len()).sum();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the calls since the last look.
    pub(crate) fn take(&self) -> Calls {
        let take = |count: &AtomicU32| count.swap(0, Ordering::Relaxed);
        Calls { gets: take(&self.gets), scans: take(&self.scans), commits: take(&self.commits) }
    }
}

impl Engine for Counting {
    fn get<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Option<Entry>>, Unavailable>> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(keys.len(), Ordering::Relaxed);
        Box::pin(async move {
            let found = self.engine.get(keys).await?;
            self.note_bytes(found.iter().flatten());
            Ok(found)
        })
    }

    fn scan<'a>(
        &'a self,
        ranges: &'a [Range],
        limit: usize,
        direction: Direction,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Vec<Vec<Entry>>, Unavailable>> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let found = self.engine.scan(ranges, limit, direction, keys_only).await?;
            let row_count: usize = found.iter().map(Vec::len).sum();
            self.rows.fetch_add(ranges.len() + row_count, Ordering::Relaxed);
            self.note_bytes(found.iter().flatten());
            Ok(found)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Stamp, Failure>> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        let changes = batch.adds.len() + batch.puts.len() + batch.deletes.len();
        self.rows.fetch_add(batch.checks.len() + changes, Ordering::Relaxed);
        let bytes = batch.puts.iter().map(|put| put.key.bytes().len() + put.value.len()).sum();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let failure = self.failures.lock().expect("no test panics in here").pop_front();
        let is_lost = |left: u32| left.checked_sub(1);
        if self.losses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_lost).is_ok() {
            return Box::pin(async move {
                self.engine.commit(batch).await?;
                Err(Failure::Unknown(Unavailable::new("the connection broke")))
            });
        }
        match failure {
            Some(failure) => Box::pin(std::future::ready(Err(failure))),
            None => self.engine.commit(batch),
        }
    }

    fn publish(&self, home: Uid, events: Vec<Event>) -> BoxFuture<'_, Result<Stamp, Failure>> {
        self.engine.publish(home, events)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.engine.close()
    }
}

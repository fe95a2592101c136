//! What callers use: `Store` and the optimistic `Txn`; `view` holds the read-only `View`.
//!
//! A transaction reads rows, buffers changes and commits them as one batch that checks every row
//! it got. Invariants: a rule decides on checked points, never on a list; index rows follow from
//! the record's old and new value; a transaction without writes commits nothing. A handler may run
//! again after a conflict, so it has no effect but through its transaction.

mod row;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cache::{Cache, Known};
use crate::codec;
use crate::engine::{
    Add, Batch, Check, Engine, Entry, Event, Failure, Floor, Priority, Put, Unavailable,
};
use crate::id::{Stamp, Uid};
use crate::key::Key;
use crate::table::{Index, Kind, Record, SETTING};
pub use crate::view::View;

use row::{Change, Row};

/// How often `Store::setting` tries before it gives up; one conflict is the rule when two nodes
/// start at once.
const SETTING_TRIES_MAX: usize = 4;

/// A handle of the store; clones share one engine.
#[derive(Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
    cache: Arc<Cache>,
}

impl Store {
    /// Wraps an engine.
    pub fn new(engine: Arc<dyn Engine>) -> Store {
        Store { engine, cache: Arc::default() }
    }

    /// Returns the engine.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// Returns a reader.
    pub fn view(&self) -> View {
        View::new(Arc::clone(&self.engine))
    }

    /// Begins a transaction.
    pub fn begin(&self) -> Txn {
        self.begin_with(None, Guess::Never)
    }

    /// Begins a transaction that may take rows as they were seen lately, and rows that are expected
    /// to be absent for absent. What it decides on a guess counts only once it has committed:
    /// whoever sees `Txn::has_guessed` and no commit asks again with [`Store::begin_fresh`].
    pub fn begin_guessing(&self) -> Txn {
        self.begin_with(Some(Arc::clone(&self.cache)), Guess::Allowed)
    }

    /// Begins a transaction that reads afresh and tells later ones what it saw.
    pub fn begin_fresh(&self) -> Txn {
        self.begin_with(Some(Arc::clone(&self.cache)), Guess::Never)
    }

    fn begin_with(&self, cache: Option<Arc<Cache>>, guess: Guess) -> Txn {
        Txn {
            engine: Arc::clone(&self.engine),
            cache,
            guess,
            home: None,
            holds: Vec::new(),
            marks_message: false,
            priority: Priority::Normal,
            rows: BTreeMap::new(),
            raw: BTreeMap::new(),
            appends: Vec::new(),
            floors: Vec::new(),
            adds: Vec::new(),
            events: Vec::new(),
            listed: Arc::default(),
        }
    }

    /// Returns the setting `name`, made by `make` if no node has made it before.
    pub async fn setting(
        &self,
        name: &str,
        make: impl FnOnce() -> Vec<u8> + Send,
    ) -> Result<Vec<u8>, Unavailable> {
        let key = Key::new(&SETTING).text(name);
        let mut make = Some(make);
        let mut made = None;
        for _ in 0..SETTING_TRIES_MAX {
            let found = self.engine.get(std::slice::from_ref(&key)).await?;
            if let Some(entry) = found.into_iter().next().flatten() {
                return Ok(entry.value.into());
            }
            if let Some(make) = make.take() {
                made = Some(make());
            }
            let value = made.clone().unwrap_or_default();
            let mut batch = Batch::new("setting", Uid::NIL);
            batch.checks.push(Check { key: key.clone(), expect: None });
            batch.puts.push(Put { key: key.clone(), value: value.clone() });
            match self.engine.commit(batch).await {
                Ok(_) => return Ok(value),
                // Another node was first, or we were and did not hear of it: the row tells.
                Err(Failure::Conflict(_) | Failure::Unknown(_)) => {}
                Err(Failure::Unavailable(cause)) => return Err(cause),
                Err(cause @ Failure::Bound(_)) => {
                    return Err(Unavailable::caused("a setting cannot be stored", cause));
                }
            }
        }
        Err(Unavailable::new("a setting can be neither read nor made"))
    }
}

/// Whether a transaction may guess, and whether it has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guess {
    Never,
    Allowed,
    Made,
}

/// A transaction: reads that become checks, and changes that commit together.
pub struct Txn {
    engine: Arc<dyn Engine>,
    cache: Option<Arc<Cache>>,
    guess: Guess,
    home: Option<Uid>,
    holds: Vec<Uid>,
    marks_message: bool,
    priority: Priority,
    rows: BTreeMap<Key, Row>,
    /// Rows that are written without having been read; none = deleted.
    raw: BTreeMap<Key, Option<Vec<u8>>>,
    appends: Vec<Put>,
    floors: Vec<Floor>,
    adds: Vec<Add>,
    events: Vec<Event>,
    listed: Arc<AtomicBool>,
}

impl Txn {
    /// Fetches the rows that are not known yet, in one call of the engine; later gets make none.
    pub async fn load(&mut self, keys: &[Key]) -> Result<(), Unavailable> {
        let mut missing: Vec<Key> = Vec::new();
        for key in keys {
            debug_assert!(!key.is_stamped(), "a row whose stamp is still to come cannot be read");
            if !self.rows.contains_key(key) && !missing.contains(key) {
                missing.push(key.clone());
            }
        }
        if !missing.is_empty() {
            self.guess_rows(&mut missing);
        }
        if missing.is_empty() {
            return Ok(());
        }
        let found = self.engine.get(&missing).await?.into_iter().map(|entry| entry.map(Known::new));
        let read: Vec<(Key, Option<Known>)> = missing.into_iter().zip(found).collect();
        if let Some(cache) = &self.cache {
            cache.note(&read);
        }
        for (key, seen) in read {
            self.rows.insert(key, Row { seen, checked: false, change: Change::Keep });
        }
        Ok(())
    }

    /// Fetches `keys` as `load` does, and `absent` with them. A transaction that may guess takes the
    /// latter for absent: its commit finds out.
    pub async fn load_new(&mut self, keys: &[Key], absent: &[Key]) -> Result<(), Unavailable> {
        if self.guess == Guess::Never {
            return self.load(&[keys, absent].concat()).await;
        }
        self.load(keys).await?;
        self.guess = Guess::Made;
        for key in absent {
            let row = || Row { seen: None, checked: false, change: Change::Keep };
            self.rows.entry(key.clone()).or_insert_with(row);
        }
        Ok(())
    }

    /// Tells whether anything that was read may be out of date.
    pub fn has_guessed(&self) -> bool {
        self.guess == Guess::Made
    }

    /// Takes what is known of rows, if that is allowed, and leaves the others to be fetched.
    fn guess_rows(&mut self, missing: &mut Vec<Key>) {
        let Some(cache) = self.cache.as_ref().filter(|_| self.guess != Guess::Never) else {
            return;
        };
        let known = cache.get(missing);
        let mut known = known.into_iter();
        let (rows, guess) = (&mut self.rows, &mut self.guess);
        missing.retain(|key| {
            let Some(seen) = known.next().flatten() else { return true };
            let row = Row { seen: Some(seen), checked: false, change: Change::Keep };
            rows.insert(key.clone(), row);
            *guess = Guess::Made;
            false
        });
    }

    /// Returns a record, the transaction's own put included; the commit checks what was read.
    pub async fn get<R: Record>(&mut self, key: &Key) -> Result<Option<R>, Unavailable> {
        self.get_of(key, R::clone).await
    }

    /// Returns what `of` takes from a record, which is not copied for it; the commit checks the
    /// record.
    pub async fn get_of<R: Record, T>(
        &mut self,
        key: &Key,
        of: impl FnOnce(&R) -> T,
    ) -> Result<Option<T>, Unavailable> {
        let row = self.row(key).await?;
        row.checked = true;
        row.decode_of(key, of)
    }

    /// Returns a row; the commit checks it. The transaction's own put has the version zero.
    pub async fn get_entry(&mut self, key: &Key) -> Result<Option<Entry>, Unavailable> {
        let row = self.row(key).await?;
        row.checked = true;
        Ok(row.current(key))
    }

    /// Tells whether a row exists; the commit checks the row.
    pub async fn exists(&mut self, key: &Key) -> Result<bool, Unavailable> {
        let row = self.row(key).await?;
        row.checked = true;
        Ok(row.is_there())
    }

    /// Returns a record that the commit does not check.
    pub async fn peek<R: Record>(&mut self, key: &Key) -> Result<Option<R>, Unavailable> {
        self.row(key).await?.decode_of(key, R::clone)
    }

    /// Returns a row that the commit does not check.
    pub async fn peek_entry(&mut self, key: &Key) -> Result<Option<Entry>, Unavailable> {
        Ok(self.row(key).await?.current(key))
    }

    /// Returns a counter's sum as it was read, without a check and without the adds to come. If the
    /// transaction's own adds then pass a bound after all, that is a conflict: it may run again.
    pub async fn peek_count(&mut self, key: &Key) -> Result<i64, Unavailable> {
        debug_assert_eq!(key.table().kind, Kind::Counter, "only counters have a sum");
        Ok(self.peek_entry(key).await?.map_or(0, |entry| entry.count()))
    }

    async fn row(&mut self, key: &Key) -> Result<&mut Row, Unavailable> {
        if !self.rows.contains_key(key) {
            self.load(std::slice::from_ref(key)).await?;
        }
        self.rows.get_mut(key).ok_or_else(|| Unavailable::new("the engine returned too few rows"))
    }

    /// Creates or replaces a record whose key was got, and the index rows that follow from it.
    pub fn put<R: Record>(&mut self, record: &R) {
        let key = record.key();
        let mut new = Vec::new();
        record.indexes(&mut new);
        self.change(&key, record_indexes::<R>, new, Change::Put(codec::encode(record)));
    }

    /// Deletes a record that was got, and its index rows.
    pub fn delete<R: Record>(&mut self, record: &R) {
        self.change(&record.key(), record_indexes::<R>, Vec::new(), Change::Delete);
    }

    /// Creates a record whose key holds the batch's stamp: it is new by construction.
    pub fn append<R: Record>(&mut self, record: &R) {
        let key = record.key();
        debug_assert!(key.is_stamped(), "an appended record's key reserves the stamp");
        let mut indexes = Vec::new();
        record.indexes(&mut indexes);
        self.appends.push(Put { key, value: codec::encode(record) });
        self.appends.extend(indexes.into_iter().map(|Index { key, value }| Put { key, value }));
    }

    /// Writes a row without a check and without index rows.
    pub fn put_raw(&mut self, key: Key, value: Vec<u8>) {
        if key.is_stamped() {
            self.appends.push(Put { key, value });
        } else {
            self.raw.insert(key, Some(value));
        }
    }

    /// Deletes a row of any table without a check and without index rows.
    pub fn delete_raw(&mut self, key: Key) {
        self.raw.insert(key, None);
    }

    /// Adds to a counter; with a bound, the commit fails rather than pass it.
    pub fn add(&mut self, key: Key, delta: i64, max: Option<i64>) {
        self.adds.push(Add { key, delta, max });
    }

    /// Makes the commit a conflict if it left less than `min` in a counter, which was peeked at.
    pub fn require_count(&mut self, key: Key, min: i64) {
        self.floors.push(Floor { key, min });
    }

    /// Tells an event when the transaction is durable.
    pub fn emit(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Names the home that the commit belongs to.
    pub fn set_home(&mut self, home: Uid) {
        self.home = Some(home);
    }

    /// Names another home that the commit keeps still, besides its own.
    pub fn hold(&mut self, home: Uid) {
        self.holds.push(home);
    }

    /// Makes this commit the home's last message.
    pub fn mark_message(&mut self) {
        self.marks_message = true;
    }

    /// Sets which commits go first; background work is low.
    pub fn set_priority(&mut self, priority: Priority) {
        self.priority = priority;
    }

    /// Returns a reader for handlers that write nothing: lists must not decide what is written.
    pub fn view(&self) -> View {
        View::noting_lists(Arc::clone(&self.engine), Arc::clone(&self.listed))
    }

    /// Returns a reader for lists that say where to look: what is decided on a row that they name is
    /// decided on the row, which the transaction gets.
    pub fn hints(&self) -> View {
        View::new(Arc::clone(&self.engine))
    }

    /// Tells whether the commit will write anything.
    pub fn has_writes(&self) -> bool {
        let is_change = |row: &Row| !matches!(row.change, Change::Keep);
        !(self.raw.is_empty()
            && self.appends.is_empty()
            && self.adds.is_empty()
            && self.events.is_empty())
            || self.rows.values().any(is_change)
    }

    /// Commits the changes, if any, and returns their stamp.
    pub async fn commit(self, name: &'static str) -> Result<Option<Stamp>, Failure> {
        if !self.has_writes() {
            return Ok(None);
        }
        debug_assert!(!self.listed.load(Ordering::Relaxed), "{name} writes what a list decided");
        debug_assert!(self.home.is_some(), "{name} writes without a home");
        let Some(home) = self.home else {
            return Err(Failure::Unavailable(Unavailable::new("a transaction names no home")));
        };
        let engine = Arc::clone(&self.engine);
        let is_counter = |key: &&Key| key.table().kind == Kind::Counter;
        let peeked: Vec<Key> = self.rows.keys().filter(is_counter).cloned().collect();
        let batch = self.into_batch(name, home);
        match engine.commit(batch).await {
            // The transaction knew the counter and left room: it has grown since.
            Err(Failure::Bound(key)) if peeked.contains(&key) => Err(Failure::Conflict(key)),
            answer => answer.map(Some),
        }
    }

    fn into_batch(self, name: &'static str, home: Uid) -> Batch {
        let mut batch = Batch::new(name, home);
        batch.holds = self.holds;
        batch.marks_message = self.marks_message;
        batch.priority = self.priority;
        for (key, row) in self.rows {
            match row.change {
                Change::Keep => {}
                Change::Put(value) => batch.puts.push(Put { key: key.clone(), value }),
                Change::Delete => batch.deletes.push(key.clone()),
            }
            if row.checked {
                let expect = row.seen.map(|known| known.entry().ver);
                batch.checks.push(Check { key, expect });
            }
        }
        for (key, value) in self.raw {
            match value {
                Some(value) => batch.puts.push(Put { key, value }),
                None => batch.deletes.push(key),
            }
        }
        batch.puts.extend(self.appends);
        batch.floors = self.floors;
        batch.adds = self.adds;
        batch.events = self.events;
        batch
    }

    /// Changes a record's row and the index rows that differ between its old and new value.
    fn change(
        &mut self,
        key: &Key,
        indexes_of: fn(&Entry) -> Vec<Index>,
        new: Vec<Index>,
        change: Change,
    ) {
        debug_assert!(!key.is_stamped(), "a record whose stamp is still to come is appended");
        debug_assert!(self.rows.contains_key(key), "{key:?} is written without having been got");
        // Whoever writes a row unread is refused at commit if the row exists: index rows of an
        // unknown old value would stay behind.
        let unread = || Row { seen: None, checked: true, change: Change::Keep };
        let row = self.rows.entry(key.clone()).or_insert_with(unread);
        row.checked = true;
        let old = row.current(key).as_ref().map(indexes_of).unwrap_or_default();
        row.change = change;
        for index in &old {
            if new.iter().all(|new| new.key != index.key) {
                self.raw.insert(index.key.clone(), None);
            }
        }
        for index in new {
            if !old.contains(&index) {
                self.raw.insert(index.key, Some(index.value));
            }
        }
    }
}

/// Lists the index rows of a stored record. A value that cannot be read has none to remove: the
/// transaction that got it has already been refused.
fn record_indexes<R: Record>(entry: &Entry) -> Vec<Index> {
    let mut indexes = Vec::new();
    if let Ok(record) = entry.decode::<R>() {
        record.indexes(&mut indexes);
    }
    indexes
}

#[cfg(test)]
mod tests;

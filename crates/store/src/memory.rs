//! The engine that keeps everything in memory: for tests, `dev` and `:memory:`.
//!
//! One lock guards all tables: readers share it, a commit takes it alone, so each call sees one
//! snapshot. Invariant: the place in the sink is reserved before the lock is taken and nothing
//! waits under it, so that the sink's order is the commits' order and no commit can be torn by a
//! caller that goes away.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use crate::engine::{
    Batch, BoxFuture, Committed, Engine, Entry, Event, Failure, HomeRow, Options, Unavailable,
    count_of,
};
use crate::figures::Figures;
use crate::group::{self, CounterWrite, Loaded, Needs, RowWrite, Source, WriteSet};
use crate::hash::HashMap;
use crate::id::{Stamp, Uid, Version};
use crate::key::{Key, KeyBytes};
use crate::publish::{self, Publisher};
use crate::range::{Direction, Range, Span};
use crate::table::Table;

/// Opens an empty store in memory.
pub fn open(options: Options) -> Arc<dyn Engine> {
    let tables = options.all_tables().iter().map(|table| (table.name, Rows::new())).collect();
    Arc::new(Memory {
        state: RwLock::new(State { tables, closed: false }),
        publisher: Publisher::new(options.sink.clone()),
        options: Options { sink: None, ..options },
    })
}

struct Memory {
    options: Options,
    publisher: Publisher,
    state: RwLock<State>,
}

type Rows = BTreeMap<KeyBytes, Cell>;

/// A row: counters and homes too, in the form of an `Entry`.
struct Cell {
    value: Bytes,
    ver: Version,
}

struct State {
    tables: HashMap<&'static str, Rows>,
    closed: bool,
}

impl Engine for Memory {
    fn get<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Option<Entry>>, Unavailable>> {
        Box::pin(async move {
            let state = self.read()?;
            keys.iter().map(|key| state.entry(key)).collect()
        })
    }

    fn scan<'a>(
        &'a self,
        ranges: &'a [Range],
        limit: usize,
        direction: Direction,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Vec<Vec<Entry>>, Unavailable>> {
        Box::pin(async move {
            let state = self.read()?;
            ranges.iter().map(|range| state.list(range, limit, direction, keys_only)).collect()
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Stamp, Failure>> {
        Box::pin(async move {
            let sink = self.publisher.sink();
            let place = match &sink {
                // A reader that is gone cannot be told; what must not be lost is an event row.
                Some(sink) => sink.reserve().await.ok(),
                None => None,
            };
            let mut state = self.write()?;
            if let Some(defect) = batch.defect(|table| state.tables.contains_key(table.name)) {
                return Err(Failure::Unavailable(Unavailable::new(defect)));
            }
            let (answer, committed) = self.apply(&mut state, batch);
            publish::send_group(place, committed);
            answer
        })
    }

    fn publish(&self, home: Uid, events: Vec<Event>) -> BoxFuture<'_, Result<Stamp, Failure>> {
        Box::pin(async move {
            drop(self.read()?);
            self.publisher.publish(self.options.clock.as_ref(), home, events).await
        })
    }

    fn figures(&self) -> Figures {
        Figures { sink_waiting: self.publisher.waiting(), ..Figures::default() }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.state.write().unwrap_or_else(PoisonError::into_inner).closed = true;
            self.publisher.close();
        })
    }
}

impl Memory {
    fn read(&self) -> Result<RwLockReadGuard<'_, State>, Unavailable> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.closed { Err(closed()) } else { Ok(state) }
    }

    fn write(&self) -> Result<RwLockWriteGuard<'_, State>, Unavailable> {
        let state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.closed { Err(closed()) } else { Ok(state) }
    }

    /// Judges a batch as a group of one and writes it.
    fn apply(&self, state: &mut State, batch: Batch) -> Judgement {
        let group = vec![batch];
        let loaded = state.load(&group::needs(&group));
        let source = Source {
            clock: self.options.clock.as_ref(),
            entropy: self.options.entropy.as_ref(),
            marks: &self.publisher.marks,
        };
        let mut judged = group::judge(group, loaded, &source);
        state.write(judged.writes);
        let lost = || Err(Failure::Unavailable(Unavailable::new("a batch was not judged")));
        (judged.answers.pop().unwrap_or_else(lost), judged.committed)
    }
}

type Judgement = (Result<Stamp, Failure>, Vec<Committed>);

impl State {
    fn rows(&self, table: &Table) -> Result<&Rows, Unavailable> {
        let unknown = || Unavailable::new(format!("unknown table {}", table.name));
        self.tables.get(table.name).ok_or_else(unknown)
    }

    fn cell(&self, key: &Key) -> Option<&Cell> {
        self.tables.get(key.table().name)?.get(key.bytes())
    }

    fn entry(&self, key: &Key) -> Result<Option<Entry>, Unavailable> {
        let found = self.rows(key.table())?.get_key_value(key.bytes());
        Ok(found.map(|(key, cell)| cell.entry(key, false)))
    }

    fn list(
        &self,
        range: &Range,
        limit: usize,
        direction: Direction,
        keys_only: bool,
    ) -> Result<Vec<Entry>, Unavailable> {
        let rows = self.rows(range.table())?;
        let Some(Span { low, high }) = range.span(direction) else { return Ok(Vec::new()) };
        let high = high.map_or(Bound::Unbounded, Bound::Excluded);
        let found = rows.range((Bound::Included(low), high));
        let entry = |(key, cell): (&KeyBytes, &Cell)| cell.entry(key, keys_only);
        Ok(match direction {
            Direction::Forward => found.take(limit).map(entry).collect(),
            Direction::Backward => found.rev().take(limit).map(entry).collect(),
        })
    }

    fn load(&self, needs: &Needs) -> Loaded {
        let key_home = |uid: &Uid| {
            let row = HomeRow::from_bytes(&self.cell(&Key::home(*uid))?.value)?;
            Some((*uid, row))
        };
        let key_ver = |key: &Key| Some((key.clone(), self.cell(key)?.ver));
        let key_count = |key: &Key| Some((key.clone(), count_of(&self.cell(key)?.value)));
        Loaded {
            homes: needs.homes.iter().filter_map(key_home).collect(),
            versions: needs.versions.iter().filter_map(key_ver).collect(),
            counters: needs.counters.iter().filter_map(key_count).collect(),
        }
    }

    fn write(&mut self, writes: WriteSet) {
        for (home, row) in writes.homes {
            let cell = row.map(|row| Cell {
                value: Bytes::copy_from_slice(&row.to_bytes()),
                ver: row.version(),
            });
            self.set(Key::home(home), cell);
        }
        for (key, write) in writes.rows {
            let cell = match write {
                RowWrite::Delete => None,
                RowWrite::Put { value, ver } => Some(Cell { value: Bytes::from(value), ver }),
            };
            self.set(key, cell);
        }
        for (key, CounterWrite { cleared, delta }) in writes.counters {
            let stored = self.cell(&key).filter(|_| !cleared);
            let before = stored.map(|cell| count_of(&cell.value));
            let sum = match delta {
                Some(delta) => Some(before.unwrap_or(0).saturating_add(delta)),
                None => before,
            };
            let cell = sum.map(|sum| Cell {
                value: Bytes::copy_from_slice(&sum.to_be_bytes()),
                ver: Version::default(),
            });
            self.set(key, cell);
        }
    }

    fn set(&mut self, key: Key, cell: Option<Cell>) {
        let Some(rows) = self.tables.get_mut(key.table().name) else { return };
        match cell {
            Some(cell) => drop(rows.insert(key.into_bytes(), cell)),
            None => drop(rows.remove(key.bytes())),
        }
    }
}

impl Cell {
    fn entry(&self, key: &KeyBytes, keys_only: bool) -> Entry {
        let value = if keys_only { Bytes::new() } else { self.value.clone() };
        Entry { key: key.clone(), value, ver: self.ver }
    }
}

fn closed() -> Unavailable {
    Unavailable::new("the store is closed")
}

#[cfg(test)]
mod tests {
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn memory_keeps_the_contract() {
        crate::conformance::suite(async |options| super::open(options)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn memory_orders_races() {
        crate::conformance::races(async |[options, _]| {
            let engine = super::open(options);
            [engine.clone(), engine]
        })
        .await;
    }
}

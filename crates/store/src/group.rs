//! The judgement that all engines share: which batches of a group commit, and what they write.
//!
//! Pure: an engine loads what `needs` names, calls `judge` and applies the `WriteSet`. Batches are
//! judged in order against an overlay of the group: checks and bounds come first, so that a
//! failing batch leaves no trace and its neighbours commit; a passing one is seen by those after
//! it. Invariant: nothing here assumes that this group is the only writer, so the engine must
//! hold the rows of `needs.homes` from load to commit.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Clock;
use crate::engine::{Add, Batch, Check, Committed, Failure, HomeRow};
use crate::entropy::Entropy;
use crate::hash::HashMap;
use crate::id::{Stamp, Uid, Version};
use crate::key::{Key, Parts};
use crate::publish::Marks;
use crate::table::{Kind, event_key};

/// The rows that a judgement depends on; sorted, so that engines lock them in one order.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    pub(crate) homes: BTreeSet<Uid>,
    /// Records and index rows whose version is checked.
    pub(crate) versions: BTreeSet<Key>,
    /// Counters with a bound or a floor.
    pub(crate) counters: BTreeSet<Key>,
}

/// What the engine found of the `Needs`; a missing entry is a missing row.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) homes: HashMap<Uid, HomeRow>,
    pub(crate) versions: HashMap<Key, Version>,
    pub(crate) counters: HashMap<Key, i64>,
}

/// What a group writes, by table and key. Clearing and deleting come before adding and putting.
#[derive(Debug, Default)]
pub(crate) struct WriteSet {
    pub(crate) homes: BTreeMap<Uid, Option<HomeRow>>,
    pub(crate) rows: BTreeMap<Key, RowWrite>,
    pub(crate) counters: BTreeMap<Key, CounterWrite>,
}

/// What becomes of a record or index row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RowWrite {
    Put { value: Vec<u8>, ver: Version },
    Delete,
}

/// What becomes of a counter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CounterWrite {
    /// The row is deleted first.
    pub(crate) cleared: bool,
    /// Then this is added.
    pub(crate) delta: Option<i64>,
}

/// The outcome of a group.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) writes: WriteSet,
    /// The events, in order.
    pub(crate) committed: Vec<Committed>,
    /// One answer per batch, in the order of the group; true once the writes are durable.
    pub(crate) answers: Vec<Result<Stamp, Failure>>,
}

impl Judged {
    /// Tells whether any batch passed.
    pub(crate) fn has_writes(&self) -> bool {
        self.answers.iter().any(Result::is_ok)
    }
}

/// Where a judgement takes time and randomness from.
pub(crate) struct Source<'a> {
    pub(crate) clock: &'a dyn Clock,
    pub(crate) entropy: &'a dyn Entropy,
    pub(crate) marks: &'a Marks,
}

/// Lists what must be loaded to judge the group.
pub(crate) fn needs(group: &[Batch]) -> Needs {
    let mut needs = Needs::default();
    for batch in group {
        needs.homes.insert(batch.home);
        needs.homes.extend(&batch.holds);
        for Check { key, .. } in &batch.checks {
            match home_of(key) {
                Some(home) => drop(needs.homes.insert(home)),
                None => drop(needs.versions.insert(key.clone())),
            }
        }
        // A home that goes is held too, so that homes are locked in their order alone.
        needs.homes.extend(batch.deletes.iter().filter_map(home_of));
        let bounded = batch.adds.iter().filter(|add| add.max.is_some());
        needs.counters.extend(bounded.map(|add| add.key.clone()));
        needs.counters.extend(batch.floors.iter().map(|floor| floor.key.clone()));
    }
    needs
}

/// Judges the batches of a group in their order.
pub(crate) fn judge(group: Vec<Batch>, loaded: Loaded, source: &Source<'_>) -> Judged {
    let now_ms = source.clock.now_ms();
    let mut random = vec![0; group.len() * 4];
    source.entropy.fill(&mut random);
    let mut overlay = Overlay { loaded, judged: Judged::default() };
    for (batch, bits) in group.into_iter().zip(random.as_chunks::<4>().0) {
        let answer = overlay.refuse(&batch).map_or_else(
            || {
                let random = u32::from_be_bytes(*bits);
                Ok(overlay.accept(batch, now_ms, random, source.marks))
            },
            Err,
        );
        overlay.judged.answers.push(answer);
    }
    overlay.judged
}

/// What was loaded, under what the group has written so far.
struct Overlay {
    loaded: Loaded,
    judged: Judged,
}

impl Overlay {
    /// Finds why a batch must not commit.
    fn refuse(&self, batch: &Batch) -> Option<Failure> {
        let changed = batch.checks.iter().find(|check| self.version(&check.key) != check.expect);
        if let Some(Check { key, .. }) = changed {
            return Some(Failure::Conflict(key.clone()));
        }
        let mut floors = batch.floors.iter();
        if let Some(fallen) = floors.find(|floor| self.sum_after(batch, &floor.key) < floor.min) {
            return Some(Failure::Conflict(fallen.key.clone()));
        }
        let passes_bound = |add: &&Add| {
            // A falling sum never fails, so that a bound that was lowered can be reached again.
            add.delta > 0 && add.max.is_some_and(|max| self.sum_after(batch, &add.key) > max)
        };
        let full = batch.adds.iter().find(passes_bound)?;
        Some(Failure::Bound(full.key.clone()))
    }

    fn home(&self, home: Uid) -> Option<HomeRow> {
        let written = self.judged.writes.homes.get(&home).copied();
        written.unwrap_or_else(|| self.loaded.homes.get(&home).copied())
    }

    fn version(&self, key: &Key) -> Option<Version> {
        if let Some(home) = home_of(key) {
            return self.home(home).map(|row| row.version());
        }
        match self.judged.writes.rows.get(key) {
            Some(RowWrite::Put { ver, .. }) => Some(*ver),
            Some(RowWrite::Delete) => None,
            None => self.loaded.versions.get(key).copied(),
        }
    }

    /// Returns the sum that a batch would leave in a counter.
    fn sum_after(&self, batch: &Batch, key: &Key) -> i64 {
        let written = self.judged.writes.counters.get(key);
        let stored = self.loaded.counters.get(key).copied().unwrap_or(0);
        let before = match written {
            _ if batch.deletes.contains(key) => 0,
            None => stored,
            Some(CounterWrite { cleared: true, delta }) => delta.unwrap_or(0),
            Some(CounterWrite { cleared: false, delta }) => {
                stored.saturating_add(delta.unwrap_or(0))
            }
        };
        let adds = batch.adds.iter().filter(|add| add.key == *key);
        adds.fold(before, |sum, add| sum.saturating_add(add.delta))
    }

    /// Gives a batch its stamp and joins its effects to the group's.
    fn accept(&mut self, batch: Batch, now_ms: u64, random: u32, marks: &Marks) -> Stamp {
        let last = self.home(batch.home).unwrap_or_default();
        let ms = marks.commit_ms(batch.home, last.last_ms, now_ms);
        let stamp = Stamp { ms, seq: last.seq + 1 };
        let ver = Version::new(stamp, random);
        let row = HomeRow {
            seq: stamp.seq,
            last_ms: ms,
            last_message_ms: if batch.marks_message { Some(ms) } else { last.last_message_ms },
            last_event_seq: if batch.events.is_empty() { last.last_event_seq } else { stamp.seq },
        };
        let writes = &mut self.judged.writes;
        writes.homes.insert(batch.home, Some(row));
        for key in batch.deletes {
            writes.delete(key);
        }
        for put in batch.puts {
            let write = RowWrite::Put { value: put.value, ver };
            writes.rows.insert(put.key.with_stamp(stamp), write);
        }
        for Add { key, delta, .. } in batch.adds {
            let sum = writes.counters.entry(key).or_default();
            sum.delta = Some(sum.delta.unwrap_or(0).saturating_add(delta));
        }
        for (event, index) in batch.events.iter().zip(0..) {
            if let Some(reference) = &event.reference {
                let write = RowWrite::Put { value: reference.clone(), ver };
                writes.rows.insert(event_key(batch.home, stamp, index), write);
            }
        }
        if !batch.events.is_empty() {
            self.judged.committed.push(Committed {
                home: batch.home,
                prev_seq: last.last_event_seq,
                stamp,
                events: batch.events,
                group: None,
            });
        }
        stamp
    }
}

impl WriteSet {
    fn delete(&mut self, key: Key) {
        if let Some(home) = home_of(&key) {
            self.homes.insert(home, None);
        } else if key.table().kind == Kind::Counter {
            self.counters.insert(key, CounterWrite { cleared: true, delta: None });
        } else {
            self.rows.insert(key, RowWrite::Delete);
        }
    }
}

/// Returns the home whose own row a key names.
fn home_of(key: &Key) -> Option<Uid> {
    if key.table().kind == Kind::Home { Parts::new(key.bytes()).uid() } else { None }
}

#[cfg(test)]
mod tests;

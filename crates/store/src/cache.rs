//! Rows that transactions have seen lately, for those that may guess.
//!
//! Invariants: bounded in bytes; only rows that existed are kept, never that one was absent; a row
//! from here may be out of date, so it leads to nothing but a commit that checks its version.

use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::engine::{Entry, Unavailable};
use crate::hash::HashMap;
use crate::key::Key;
use crate::table::Record;

/// Most bytes of keys, values and records. A send reads four small records, two of them the sender's
/// own, so this serves some ten thousand senders.
pub(crate) const BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a row takes beside its value and the texts of its record: two copies of its key, its place
/// in the table, the record itself.
const ROW_BYTES: usize = 768;

/// A row as it was seen. Copies share it: every sender reads the rows of his channel, and each count
/// of references is written by all threads.
#[derive(Clone, Debug)]
pub(crate) struct Known(Arc<Seen>);

#[derive(Debug)]
struct Seen {
    entry: Entry,
    /// The entry's record, from its first decoding on.
    record: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Known {
    pub(crate) fn new(entry: Entry) -> Known {
        Known(Arc::new(Seen { entry, record: OnceLock::new() }))
    }

    pub(crate) fn entry(&self) -> &Entry {
        &self.0.entry
    }

    /// Returns what `of` takes from the record, which is decoded once.
    pub(crate) fn decode_of<R: Record, T>(
        &self,
        of: impl FnOnce(&R) -> T,
    ) -> Result<T, Unavailable> {
        let Seen { entry, record: known } = &*self.0;
        if let Some(record) = known.get().and_then(|record| record.downcast_ref::<R>()) {
            return Ok(of(record));
        }
        let record: R = entry.decode()?;
        let taken = of(&record);
        // Whoever was first may keep his.
        known.set(Box::new(record)).unwrap_or_default();
        Ok(taken)
    }
}

/// Two generations: what was used since the last turn, and what was used before it. A row that
/// nobody asks for between two turns is gone.
#[derive(Default)]
struct Generations {
    young: HashMap<Key, Known>,
    young_bytes: usize,
    old: HashMap<Key, Known>,
}

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Cache {
    rows: Mutex<Generations>,
}

impl Cache {
    /// Returns what is known of each key.
    pub(crate) fn get(&self, keys: &[Key]) -> Vec<Option<Known>> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|key| rows.get(key)).collect()
    }

    /// Takes note of rows as they were read just now; one that is absent is forgotten.
    pub(crate) fn note(&self, read: &[(Key, Option<Known>)]) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, known) in read {
            rows.forget(key);
            if let Some(known) = known {
                rows.insert(key.clone(), known.clone());
            }
        }
    }
}

impl Generations {
    fn get(&mut self, key: &Key) -> Option<Known> {
        if let Some(known) = self.young.get(key) {
            return Some(known.clone());
        }
        let known = self.old.remove(key)?;
        self.insert(key.clone(), known.clone());
        Some(known)
    }

    fn insert(&mut self, key: Key, known: Known) {
        self.young_bytes += bytes(&known);
        self.young.insert(key, known);
        if self.young_bytes > BYTES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }

    fn forget(&mut self, key: &Key) {
        self.old.remove(key);
        if let Some(known) = self.young.remove(key) {
            self.young_bytes -= bytes(&known);
        }
    }
}

fn bytes(known: &Known) -> usize {
    // Once as it is stored, once in the record.
    ROW_BYTES + 2 * known.entry().value.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::id::Version;
    use crate::key::KeyBytes;
    use crate::table::{Kind, Table};

    static NOTE: Table = Table { name: "note", kind: Kind::Record, columns: &[] };

    fn row(number: u64, value_bytes: usize) -> (Key, Option<Known>) {
        let key = Key::new(&NOTE).u64(number);
        let entry = Entry {
            key: KeyBytes::from(key.bytes()),
            value: Bytes::from(vec![0; value_bytes]),
            ver: Version::default(),
        };
        (key, Some(Known::new(entry)))
    }

    fn entries(cache: &Cache, keys: &[Key]) -> Vec<Option<Entry>> {
        cache.get(keys).into_iter().map(|known| known.map(|known| known.entry().clone())).collect()
    }

    #[test]
    fn row_is_known_until_it_is_read_as_absent() {
        let cache = Cache::default();
        let (key, known) = row(1, 10);
        let keys = [key.clone()];
        assert_eq!(entries(&cache, &keys), [None]);
        cache.note(&[(key.clone(), known.clone())]);
        assert_eq!(entries(&cache, &keys), [known.map(|known| known.entry().clone())]);
        cache.note(&[(key, None)]);
        assert_eq!(entries(&cache, &keys), [None]);
    }

    #[test]
    fn cache_keeps_what_is_used_and_stays_within_its_bytes() {
        let cache = Cache::default();
        let used = row(0, 1_000);
        cache.note(std::slice::from_ref(&used));
        for number in 1..100_000 {
            cache.note(&[row(number, 1_000)]);
            assert!(cache.get(std::slice::from_ref(&used.0))[0].is_some());
        }
        let rows = cache.rows.lock().unwrap();
        let held: usize = rows.young.values().chain(rows.old.values()).map(bytes).sum();
        assert!(held <= BYTES_MAX + ROW_BYTES + 2_000, "{held}");
        assert!(rows.old.len() > 1_000);
    }
}

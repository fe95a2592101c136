//! Rows that transactions have seen lately, for those that may guess.
//!
//! Invariants: bounded in bytes; only rows that existed are kept, never that one was absent; a row
//! from here may be out of date, so it leads to nothing but a commit that checks its version.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::engine::Entry;
use crate::key::Key;

/// Most bytes of keys and values. A send reads four small records, so this serves some ten
/// thousand senders.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a row takes beside its value: two copies of its key, and its place in the table.
const ROW_BYTES: usize = 256;

/// Two generations: what was used since the last turn, and what was used before it. A row that
/// nobody asks for between two turns is gone.
#[derive(Default)]
struct Generations {
    young: HashMap<Key, Entry>,
    young_bytes: usize,
    old: HashMap<Key, Entry>,
}

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Cache {
    rows: Mutex<Generations>,
}

impl Cache {
    /// Returns what is known of each key.
    pub(crate) fn get(&self, keys: &[Key]) -> Vec<Option<Entry>> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|key| rows.get(key)).collect()
    }

    /// Takes note of rows as they were read just now; one that is absent is forgotten.
    pub(crate) fn note(&self, read: &[(Key, Option<Entry>)]) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, entry) in read {
            rows.forget(key);
            if let Some(entry) = entry {
                rows.insert(key.clone(), entry.clone());
            }
        }
    }
}

impl Generations {
    fn get(&mut self, key: &Key) -> Option<Entry> {
        if let Some(entry) = self.young.get(key) {
            return Some(entry.clone());
        }
        let entry = self.old.remove(key)?;
        self.insert(key.clone(), entry.clone());
        Some(entry)
    }

    fn insert(&mut self, key: Key, entry: Entry) {
        self.young_bytes += bytes(&entry);
        self.young.insert(key, entry);
        if self.young_bytes > BYTES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }

    fn forget(&mut self, key: &Key) {
        self.old.remove(key);
        if let Some(entry) = self.young.remove(key) {
            self.young_bytes -= bytes(&entry);
        }
    }
}

fn bytes(entry: &Entry) -> usize {
    ROW_BYTES + entry.value.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::id::Version;
    use crate::key::KeyBytes;
    use crate::table::{Kind, Table};

    static NOTE: Table = Table { name: "note", kind: Kind::Record, columns: &[] };

    fn row(number: u64, value_bytes: usize) -> (Key, Option<Entry>) {
        let key = Key::new(&NOTE).u64(number);
        let entry = Entry {
            key: KeyBytes::from(key.bytes()),
            value: Bytes::from(vec![0; value_bytes]),
            ver: Version::default(),
        };
        (key, Some(entry))
    }

    #[test]
    fn row_is_known_until_it_is_read_as_absent() {
        let cache = Cache::default();
        let (key, entry) = row(1, 10);
        let keys = [key.clone()];
        assert_eq!(cache.get(&keys), [None]);
        cache.note(&[(key.clone(), entry.clone())]);
        assert_eq!(cache.get(&keys), [entry]);
        cache.note(&[(key, None)]);
        assert_eq!(cache.get(&keys), [None]);
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
        assert!(held <= BYTES_MAX + ROW_BYTES + 1_000, "{held}");
        assert!(rows.old.len() > 1_000);
    }
}

//! The rows that a history makes, by table, until they fill a page.
//!
//! Invariants: index rows and counters follow from the records, as they do when a request makes
//! them; counters and homes are told once, when they are complete.

use std::collections::{BTreeMap, HashMap, HashSet};

use store::moving::Page;
use store::table::{HOME, SETTING};
use store::{Entropy, Entry, HomeRow, Index, Key, KeyBytes, Stamp, Table, Uid, Version, codec};

use super::Place;
use crate::check::Proof;
use crate::limits::RESOURCE_COUNT;
use crate::{MESSAGE_ID_KEY, PAGE_TOKEN_KEY, REGION_ACCOUNT, SECRET_BYTES};

/// Rows and bytes of a page.
const PAGE_ROWS: usize = 2_048;
const PAGE_BYTES: usize = 1 << 20;

#[derive(Default)]
struct Waiting {
    rows: Vec<Entry>,
    bytes: usize,
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct Rows {
    waiting: BTreeMap<&'static str, (Option<&'static Table>, Waiting)>,
    counts: HashMap<Key, i64>,
    bans: HashSet<(Uid, Uid)>,
    homes: Vec<(Uid, HomeRow)>,
}

impl Rows {
    /// Adds the settings that a store has from its first start.
    pub(super) fn settings(&mut self, place: &Place) {
        let made_for = format!("{}/{}", place.region, place.account).into_bytes();
        let secret = || {
            let mut secret = vec![0; SECRET_BYTES];
            place.entropy.fill(&mut secret);
            secret
        };
        let settings =
            [(REGION_ACCOUNT, made_for), (PAGE_TOKEN_KEY, secret()), (MESSAGE_ID_KEY, secret())];
        for (name, value) in settings {
            let ver = version(Stamp::default(), &*place.entropy);
            self.add(&SETTING, &Key::new(&SETTING).text(name), value, ver);
        }
    }

    /// Adds a record with its index rows, and counts it.
    pub(super) fn put<R: Proof>(&mut self, record: &R, stamp: Stamp, entropy: &dyn Entropy) {
        let ver = version(stamp, entropy);
        self.add(R::TABLE, &record.key(), codec::encode(record), ver);
        let mut indexes = Vec::new();
        record.indexes(&mut indexes);
        for Index { key, value } in indexes {
            self.add(key.table(), &key, value, ver);
        }
        for counter in record.counted() {
            *self.counts.entry(counter).or_default() += 1;
        }
    }

    fn add(&mut self, table: &'static Table, key: &Key, value: Vec<u8>, ver: Version) {
        let key = KeyBytes::from(key.bytes());
        self.entry(table, Entry { key, value: value.into(), ver });
    }

    fn entry(&mut self, table: &'static Table, row: Entry) {
        let (of, waiting) = self.waiting.entry(table.name).or_default();
        *of = Some(table);
        waiting.bytes += row.key.len() + row.value.len();
        waiting.rows.push(row);
    }

    pub(super) fn ban(&mut self, channel: Uid, user: Uid) {
        self.bans.insert((channel, user));
    }

    pub(super) fn is_banned(&self, channel: Uid, user: Uid) -> bool {
        self.bans.contains(&(channel, user))
    }

    pub(super) fn home(&mut self, uid: Uid, row: HomeRow) {
        self.homes.push((uid, row));
    }

    /// Adds the homes and the counters, which are complete.
    pub(super) fn close(&mut self) {
        for (uid, row) in std::mem::take(&mut self.homes) {
            self.entry(&HOME, Entry::of_home(KeyBytes::from(&uid.0[..]), row));
        }
        for (key, sum) in std::mem::take(&mut self.counts) {
            self.entry(&RESOURCE_COUNT, Entry::of_sum(KeyBytes::from(key.bytes()), sum));
        }
    }

    /// Returns a page that is full.
    pub(super) fn full(&mut self) -> Option<Page> {
        let is_full =
            |waiting: &Waiting| waiting.rows.len() >= PAGE_ROWS || waiting.bytes >= PAGE_BYTES;
        let mut full = self.waiting.values_mut().filter(|(_, waiting)| is_full(waiting));
        full.next().and_then(page)
    }

    /// Returns a page of what is left.
    pub(super) fn rest(&mut self) -> Option<Page> {
        let mut rest = self.waiting.values_mut().filter(|(_, waiting)| !waiting.rows.is_empty());
        rest.next().and_then(page)
    }
}

fn page((table, waiting): &mut (Option<&'static Table>, Waiting)) -> Option<Page> {
    let Waiting { mut rows, .. } = std::mem::take(waiting);
    // Rows that stand side by side are written side by side.
    rows.sort_unstable_by(|left, right| left.key.cmp(&right.key));
    table.map(|table| Page { table, rows })
}

fn version(stamp: Stamp, entropy: &dyn Entropy) -> Version {
    let mut bits = [0; 4];
    entropy.fill(&mut bits);
    Version::new(stamp, u32::from_be_bytes(bits))
}

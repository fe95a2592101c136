//! Random work compared with a plain map: every engine must give the very same answers.
//!
//! `batches` draws a sequence of batches from a seed and commits it on all engines side by side.
//! A failure prints the seed and the shortest sequence found that still fails, each step of which
//! is data, so that it can be made a test of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Fixture, NOTE, NOTE_BY_TAG, START_MS, TALLY, event, note, tally};
use crate::clock::{Clock as _, MockClock};
use crate::engine::{Add, Batch, Check, Engine, Entry, Failure, HomeRow, Put};
use crate::entropy::SeededEntropy;
use crate::id::{Stamp, Uid, Version};
use crate::key::{Key, Parts};
use crate::publish::next_ms;
use crate::range::{Direction, Range};
use crate::table::{EVENT, HOME, Index, Kind, Record, Table, event_key};
use crate::txn::{Store, Txn};

const SEEDS: [u64; 3] = [101, 102, 103];
const STEPS: usize = 150;
const TXN_STEPS: usize = 200;
/// Few keys, so that batches meet each other's rows.
const IDS: u64 = 6;
/// Their last bytes differ: these homes do not share a mark.
const HOMES: [Uid; 3] = [Uid([11; 16]), Uid([12; 16]), Uid([13; 16])];

/// Replays that may be spent on shortening a sequence that fails.
const SHRINK_REPLAYS_MAX: usize = 200;

struct Dice(SeededEntropy);

impl Dice {
    fn below(&self, top: u64) -> u64 {
        self.0.next_u64() % top
    }

    fn id(&self) -> u32 {
        u32::try_from(self.below(IDS)).expect("few ids")
    }

    fn one_in(&self, chance: u64) -> bool {
        self.below(chance) == 0
    }
}

/// What the clock does before a batch: mostly nothing or a little, at times back or far.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Stay,
    Set(u64),
    Advance(u64),
}

impl Turn {
    fn draw(dice: &Dice) -> Turn {
        match dice.below(12) {
            0 => Turn::Set(START_MS + dice.below(10_000)),
            1 => Turn::Advance(400_000),
            2..6 => Turn::Advance(dice.below(3)),
            _ => Turn::Stay,
        }
    }

    fn apply(self, clock: &MockClock) {
        match self {
            Turn::Stay => {}
            Turn::Set(now_ms) => clock.set(now_ms),
            Turn::Advance(by_ms) => clock.advance(by_ms),
        }
    }
}

/// Whether a check names what is stored when its turn comes.
#[derive(Debug, Clone, Copy)]
enum Expect {
    Stored,
    Wrong,
}

/// One batch of a sequence; it depends on nothing that a run decides, so any part of a sequence
/// is a sequence.
#[derive(Debug, Clone)]
struct Step {
    turn: Turn,
    /// What its checks expect.
    checks: Vec<(Key, Expect)>,
    /// The rest of it.
    batch: Batch,
}

impl Step {
    fn draw(dice: &Dice, number: usize) -> Step {
        let turn = Turn::draw(dice);
        let home = HOMES[usize::from(dice.0.next_u64().to_le_bytes()[0] % 3)];
        let mut batch = Batch::new("model", home);
        batch.marks_message = dice.one_in(3);
        if dice.one_in(3) {
            batch.holds = HOMES[..2].to_vec();
        }
        let draw_check = |_| {
            let expect = if dice.one_in(5) { Expect::Wrong } else { Expect::Stored };
            (note(dice.id()), expect)
        };
        let checks = (0..dice.below(3)).map(draw_check).collect();
        for _ in 0..dice.below(3) {
            let key = match dice.below(4) {
                0 => Key::new(&NOTE_BY_TAG).u32(dice.id()).stamped(),
                1 => Key::new(&NOTE_BY_TAG).u32(dice.id()),
                _ => note(dice.id()),
            };
            batch.puts.push(Put { key, value: format!("{number}").into_bytes() });
        }
        for _ in 0..dice.below(3) {
            let delta = i64::try_from(dice.below(7)).expect("below seven") - 2;
            let max = dice.one_in(2).then_some(8);
            batch.adds.push(Add { key: tally(dice.id()), delta, max });
        }
        for _ in 0..dice.below(2) {
            let deletes = [note(dice.id()), tally(dice.id()), Key::new(&NOTE_BY_TAG).u32(1)];
            let one = usize::from(dice.0.next_u64().to_le_bytes()[0] % 3);
            batch.deletes.push(deletes[one].clone());
        }
        for _ in 0..dice.below(3) {
            batch.events.push(event(&format!("event {number}")));
        }
        Step { turn, checks, batch }
    }
}

/// The oracle: what an engine should hold.
#[derive(Default)]
struct Model {
    homes: BTreeMap<Uid, HomeRow>,
    rows: BTreeMap<Key, (Vec<u8>, Stamp)>,
    /// As the engine drew them; the model only compares.
    versions: BTreeMap<Key, Version>,
    sums: BTreeMap<Key, i64>,
}

impl Model {
    fn batch(&self, step: &Step) -> Batch {
        let check = |(key, expect): &(Key, Expect)| {
            let stored = self.versions.get(key).copied();
            let expect = match expect {
                Expect::Stored => stored,
                Expect::Wrong => stored.map_or(Some(Version(1)), |_| None),
            };
            Check { key: key.clone(), expect }
        };
        Batch { checks: step.checks.iter().map(check).collect(), ..step.batch.clone() }
    }

    /// Returns what the engine must answer, and does to the model what it must do.
    fn commit(&mut self, batch: &Batch, now_ms: u64) -> Result<Stamp, Failure> {
        for Check { key, expect } in &batch.checks {
            if self.versions.get(key) != expect.as_ref() {
                return Err(Failure::Conflict(key.clone()));
            }
        }
        let mut sums = self.sums.clone();
        sums.retain(|key, _| !batch.deletes.contains(key));
        for Add { key, delta, .. } in &batch.adds {
            *sums.entry(key.clone()).or_default() += delta;
        }
        for Add { key, delta, max } in &batch.adds {
            if *delta > 0 && max.is_some_and(|max| sums[key] > max) {
                return Err(Failure::Bound(key.clone()));
            }
        }
        self.sums = sums;
        let home = self.homes.entry(batch.home).or_default();
        let stamp = Stamp { ms: next_ms(home.last_ms, now_ms), seq: home.seq + 1 };
        home.seq = stamp.seq;
        home.last_ms = stamp.ms;
        if batch.marks_message {
            home.last_message_ms = Some(stamp.ms);
        }
        if !batch.events.is_empty() {
            home.last_event_seq = stamp.seq;
        }
        self.rows.retain(|key, _| !batch.deletes.contains(key));
        for Put { key, value } in &batch.puts {
            self.rows.insert(key.clone().with_stamp(stamp), (value.clone(), stamp));
        }
        for (event, place) in batch.events.iter().zip(0..) {
            let reference = event.reference.clone().unwrap_or_default();
            self.rows.insert(event_key(batch.home, stamp, place), (reference, stamp));
        }
        Ok(stamp)
    }

    /// Compares every row, and learns the versions.
    async fn compare(&mut self, engine: &dyn Engine) -> Result<(), String> {
        let tables: [&'static Table; 3] = [&NOTE, &NOTE_BY_TAG, &EVENT];
        let mut found = BTreeMap::new();
        self.versions.clear();
        for table in tables {
            for row in all(engine, table).await {
                let key = Key::new(table).raw(&row.key);
                self.versions.insert(key.clone(), row.ver);
                found.insert(key, (row.value.to_vec(), row.ver.stamp()));
            }
        }
        same("rows", &found, &self.rows)?;
        let sums = all(engine, &TALLY).await;
        let sums: BTreeMap<Key, i64> =
            sums.iter().map(|row| (Key::new(&TALLY).raw(&row.key), row.count())).collect();
        same("sums", &sums, &self.sums)?;
        let homes = all(engine, &HOME).await;
        let uid = |row: &Entry| Parts::new(&row.key).uid().expect("homes are keyed by uid");
        let homes: BTreeMap<Uid, HomeRow> =
            homes.iter().map(|row| (uid(row), row.home())).collect();
        same("homes", &homes, &self.homes)
    }
}

fn same<T: PartialEq + fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} are {found:?} and should be {expected:?}"))
}

/// The engines of one run, by name, and their clock.
pub(super) struct Engines {
    pub(super) clock: Arc<MockClock>,
    pub(super) named: Vec<(&'static str, Arc<dyn Engine>)>,
}

/// Commits a sequence on all engines and tells where one of them left the model.
async fn replay(engines: &Engines, steps: &[Step]) -> Result<(), String> {
    let mut models: Vec<Model> = engines.named.iter().map(|_| Model::default()).collect();
    for (place, step) in steps.iter().enumerate() {
        step.turn.apply(&engines.clock);
        for ((name, engine), model) in engines.named.iter().zip(&mut models) {
            let at = |text| format!("{name}, step {place}: {text}");
            let batch = model.batch(step);
            let expected = model.commit(&batch, engines.clock.now_ms());
            let answer = engine.commit(batch).await;
            // Failures compare by their form: they hold errors, which do not compare.
            same("answers", &format!("{answer:?}"), &format!("{expected:?}")).map_err(at)?;
            model.compare(engine.as_ref()).await.map_err(at)?;
        }
    }
    Ok(())
}

/// Leaves out what a sequence can lose and still fail: halves, then ever smaller parts.
async fn shrink(make: &impl AsyncFn() -> Engines, mut steps: Vec<Step>) -> Vec<Step> {
    let mut replays = 0;
    let mut part = steps.len().div_ceil(2);
    while part > 0 && replays < SHRINK_REPLAYS_MAX {
        let mut from = 0;
        while from < steps.len() && replays < SHRINK_REPLAYS_MAX {
            let mut shorter = steps.clone();
            shorter.drain(from..steps.len().min(from + part));
            replays += 1;
            if replay(&make().await, &shorter).await.is_err() {
                steps = shorter;
            } else {
                from += part;
            }
        }
        part /= 2;
    }
    steps
}

/// Compares engines with the model, and so with each other, on the sequences of all seeds.
/// Returns the first failure, shortened.
pub(super) async fn batches(make: impl AsyncFn() -> Engines) -> Result<(), String> {
    for seed in SEEDS {
        let dice = Dice(SeededEntropy::new(seed));
        let steps: Vec<Step> = (0..STEPS).map(|number| Step::draw(&dice, number)).collect();
        if let Err(text) = replay(&make().await, &steps).await {
            let steps = shrink(&make, steps).await;
            let last = replay(&make().await, &steps).await.err().unwrap_or_default();
            let count = steps.len();
            return Err(format!(
                "seed {seed}: {text}\nshortened to {count} steps: {last}\n{steps:#?}"
            ));
        }
    }
    Ok(())
}

async fn all(engine: &dyn Engine, table: &'static Table) -> Vec<Entry> {
    let range = [Range::prefix(Key::new(table))];
    let mut found =
        engine.scan(&range, usize::MAX, Direction::Forward, false).await.expect("reads");
    found.pop().expect("one range")
}

/// A record with two index rows, one of which changes with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    id: u32,
    tag: u8,
    text: String,
}

impl Record for Note {
    const TABLE: &'static Table = &NOTE;

    fn key(&self) -> Key {
        note(self.id)
    }

    fn indexes(&self, out: &mut Vec<Index>) {
        let by_tag = Key::new(&NOTE_BY_TAG).u8(self.tag).u32(self.id);
        out.push(Index { key: by_tag, value: Vec::new() });
        let by_text = Key::new(&NOTE_BY_TAG).u8(u8::MAX).u32(self.id);
        out.push(Index { key: by_text, value: self.text.clone().into_bytes() });
    }
}

/// Changes some notes in a transaction and in the map.
async fn change(txn: &mut Txn, notes: &mut BTreeMap<u32, Note>, dice: &Dice, at: &str) {
    for _ in 0..1 + dice.below(4) {
        let id = dice.id();
        let found: Option<Note> = txn.get(&note(id)).await.expect("reads");
        assert_eq!(found.as_ref(), notes.get(&id), "{at}");
        let tag = u8::try_from(dice.below(3)).expect("below three");
        match found {
            Some(old) if dice.one_in(3) => {
                txn.delete(&old);
                txn.add(tally(0), -1, None);
                notes.remove(&id);
            }
            found => {
                let new = Note { id, tag, text: format!("text {}", dice.below(3)) };
                txn.put(&new);
                txn.add(tally(0), i64::from(found.is_none()), None);
                notes.insert(id, new);
            }
        }
    }
}

pub(super) async fn random_transactions_keep_records_and_indexes_together(fixture: Fixture) {
    let store = Store::new(fixture.engine.clone());
    let mut notes = BTreeMap::new();
    let dice = Dice(SeededEntropy::new(SEEDS[0]));
    for step in 0..TXN_STEPS {
        let at = format!("seed {}, step {step}", SEEDS[0]);
        let mut after = notes.clone();
        let mut txn = store.begin();
        txn.set_home(HOMES[0]);
        change(&mut txn, &mut after, &dice, &at).await;
        if dice.one_in(4) {
            // Another writer is faster, so the transaction may only conflict or not depend on it.
            let mut other = store.begin();
            other.set_home(HOMES[1]);
            change(&mut other, &mut notes, &dice, &at).await;
            other.commit("other").await.expect("nobody interferes");
            let late = txn.commit("late").await;
            match late {
                Err(Failure::Conflict(key)) => assert_eq!(key.table().kind, Kind::Record, "{at}"),
                // They touched different notes: start again from what is stored.
                Ok(_) => notes = stored(&store, &at).await,
                Err(other) => panic!("{at}: {other:?}"),
            }
        } else {
            txn.commit("change").await.expect("nobody interferes");
            notes = after;
        }
        assert_eq!(stored(&store, &at).await, notes, "{at}");
    }
}

/// Reads all notes and checks that the index rows and the counter say the same.
async fn stored(store: &Store, at: &str) -> BTreeMap<u32, Note> {
    let engine = store.engine().as_ref();
    let mut notes = BTreeMap::new();
    let mut expected = BTreeSet::new();
    for row in all(engine, &NOTE).await {
        let note: Note = row.decode().expect("is a note");
        assert_eq!(Parts::new(&row.key).u32(), Some(note.id), "{at}");
        let mut indexes = Vec::new();
        note.indexes(&mut indexes);
        expected.extend(indexes.into_iter().map(|index| (index.key.bytes().to_vec(), index.value)));
        notes.insert(note.id, note);
    }
    let indexes = all(engine, &NOTE_BY_TAG).await;
    let indexes = indexes.into_iter().map(|row| (row.key.to_vec(), row.value.to_vec()));
    assert_eq!(indexes.collect::<BTreeSet<_>>(), expected, "{at}");
    let count = i64::try_from(notes.len()).expect("few notes");
    assert_eq!(store.view().count(&tally(0)).await.expect("reads"), count, "{at}");
    notes
}

#[cfg(test)]
mod tests;

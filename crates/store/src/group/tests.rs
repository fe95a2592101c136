//! The judgement without an engine: what is loaded, and the writes that come out.

use std::sync::Arc;

use super::*;
use crate::clock::MockClock;
use crate::engine::{Audience, Event, Put};
use crate::entropy::SeededEntropy;
use crate::table::{Table, event_bucket};

static NOTE: Table = Table { name: "note", kind: Kind::Record, columns: &[] };
static TALLY: Table = Table { name: "tally", kind: Kind::Counter, columns: &[] };
const ROOM: Uid = Uid([1; 16]);
const HALL: Uid = Uid([2; 16]);
const NOW_MS: u64 = 1_700_000_000_000;

fn note(id: u8) -> Key {
    Key::new(&NOTE).u8(id)
}

fn tally() -> Key {
    Key::new(&TALLY)
}

fn batch(home: Uid, change: impl FnOnce(&mut Batch)) -> Batch {
    let mut batch = Batch::new("test", home);
    change(&mut batch);
    batch
}

fn put(batch: &mut Batch, key: Key, value: &str) {
    batch.puts.push(Put { key, value: value.into() });
}

fn run(group: Vec<Batch>, loaded: Loaded) -> Judged {
    let source = Source {
        clock: &MockClock::new(NOW_MS),
        entropy: &SeededEntropy::new(1),
        marks: &Marks::new(),
    };
    judge(group, loaded, &source)
}

fn event(reference: Option<&str>) -> Event {
    let reference = reference.map(|text| text.as_bytes().to_vec());
    Event { audience: Audience::Internal, body: Arc::new(()), reference }
}

#[test]
fn needs_are_the_homes_the_checked_rows_and_the_bounded_counters() {
    let first = batch(ROOM, |batch| {
        batch.checks.push(Check { key: note(1), expect: None });
        batch.checks.push(Check { key: Key::home(HALL), expect: None });
        batch.adds.push(Add { key: tally(), delta: 1, max: None });
        put(batch, note(2), "put");
        batch.deletes.push(note(3));
    });
    let second = batch(ROOM, |batch| {
        batch.checks.push(Check { key: note(1), expect: Some(Version(1)) });
    });
    let mut found = needs(&[first.clone(), second]);
    assert_eq!(found.homes, BTreeSet::from([ROOM, HALL]));
    assert_eq!(found.versions, BTreeSet::from([note(1)]));
    assert_eq!(found.counters, BTreeSet::new());
    let mut bounded = first;
    bounded.adds[0].max = Some(1);
    found = needs(&[bounded]);
    assert_eq!(found.counters, BTreeSet::from([tally()]));
}

#[test]
fn last_write_of_a_row_wins_and_a_refused_one_leaves_no_trace() {
    let group = vec![
        batch(ROOM, |batch| put(batch, note(1), "first")),
        batch(ROOM, |batch| {
            put(batch, note(1), "refused");
            put(batch, note(2), "refused");
            batch.checks.push(Check { key: note(1), expect: None });
        }),
        batch(ROOM, |batch| batch.deletes.push(note(3))),
    ];
    let judged = run(group, Loaded::default());
    assert!(matches!(&judged.answers[1], Err(Failure::Conflict(key)) if *key == note(1)));
    let written: Vec<&Key> = judged.writes.rows.keys().collect();
    assert_eq!(written, [&note(1), &note(3)]);
    assert!(matches!(
        &judged.writes.rows[&note(1)],
        RowWrite::Put { value, ver } if value == b"first" && ver.stamp().seq == 1
    ));
    assert_eq!(judged.writes.rows[&note(3)], RowWrite::Delete);
    assert_eq!(judged.writes.homes[&ROOM].map(|row| row.seq), Some(2));
}

#[test]
fn group_of_refused_batches_writes_nothing() {
    let refuse = |batch: &mut Batch| {
        batch.checks.push(Check { key: note(1), expect: Some(Version(1)) });
    };
    let judged = run(vec![batch(ROOM, refuse), batch(HALL, refuse)], Loaded::default());
    assert!(!judged.has_writes());
    assert!(judged.writes.homes.is_empty() && judged.committed.is_empty());
}

#[test]
fn homes_continue_from_what_was_loaded_and_keep_apart() {
    let row = HomeRow { seq: 7, last_ms: NOW_MS, last_message_ms: Some(3), last_event_seq: 5 };
    let homes = [(ROOM, row)].into_iter().collect();
    let loaded = Loaded { homes, ..Loaded::default() };
    let told = |batch: &mut Batch| batch.events.push(event(None));
    let judged = run(vec![batch(ROOM, told), batch(HALL, told), batch(ROOM, told)], loaded);
    let stamps: Vec<Stamp> =
        judged.answers.iter().map(|answer| *answer.as_ref().expect("nothing is checked")).collect();
    assert_eq!(
        stamps,
        [
            Stamp { ms: NOW_MS + 1, seq: 8 },
            Stamp { ms: NOW_MS, seq: 1 },
            Stamp { ms: NOW_MS + 2, seq: 9 }
        ]
    );
    let chain: Vec<(Uid, u64)> =
        judged.committed.iter().map(|committed| (committed.home, committed.prev_seq)).collect();
    assert_eq!(chain, [(ROOM, 5), (HALL, 0), (ROOM, 8)]);
    assert_eq!(judged.writes.homes[&ROOM].and_then(|row| row.last_message_ms), Some(3));
}

#[test]
fn only_durable_events_have_rows_and_they_keep_their_place() {
    let told = batch(ROOM, |batch| {
        batch.events = vec![event(None), event(Some("kept"))];
    });
    let judged = run(vec![told], Loaded::default());
    let stamp = judged.committed[0].stamp;
    let key = Key::new(&crate::table::EVENT);
    let key = key.u32(event_bucket(NOW_MS)).uid(ROOM).stamp(stamp).u16(1);
    assert_eq!(judged.writes.rows.keys().collect::<Vec<_>>(), [&key]);
    assert_eq!(judged.committed[0].events.len(), 2);
}

#[test]
fn sums_join_the_adds_of_the_group_and_clearing_comes_first() {
    let add =
        |delta, max| move |batch: &mut Batch| batch.adds.push(Add { key: tally(), delta, max });
    let clear = |batch: &mut Batch| batch.deletes.push(tally());
    let loaded = || Loaded { counters: [(tally(), 8)].into_iter().collect(), ..Loaded::default() };
    let judged = run(vec![batch(ROOM, add(1, None)), batch(HALL, add(1, Some(10)))], loaded());
    assert_eq!(judged.writes.counters[&tally()], CounterWrite { cleared: false, delta: Some(2) });

    let group = vec![batch(ROOM, add(5, None)), batch(ROOM, clear), batch(ROOM, add(3, Some(3)))];
    let judged = run(group, loaded());
    assert_eq!(judged.writes.counters[&tally()], CounterWrite { cleared: true, delta: Some(3) });

    let judged = run(vec![batch(ROOM, clear)], loaded());
    assert_eq!(judged.writes.counters[&tally()], CounterWrite { cleared: true, delta: None });
}

#[test]
fn sums_at_the_end_of_their_range_do_not_overflow() {
    let add = |delta| {
        batch(ROOM, |batch| batch.adds.push(Add { key: tally(), delta, max: Some(i64::MAX) }))
    };
    let judged = run(vec![add(i64::MAX), add(i64::MAX)], Loaded::default());
    assert!(judged.answers.iter().all(Result::is_ok));
    assert_eq!(judged.writes.counters[&tally()].delta, Some(i64::MAX));
}

#[test]
fn versions_differ_even_when_a_home_is_given_the_same_stamp_again() {
    let entropy = SeededEntropy::new(1);
    let written = || {
        // Another node, or a home whose row was deleted: nothing remembers the first stamp.
        let (clock, marks) = (MockClock::new(NOW_MS), Marks::new());
        let source = Source { clock: &clock, entropy: &entropy, marks: &marks };
        let group = vec![batch(ROOM, |batch| put(batch, note(1), "same"))];
        match judge(group, Loaded::default(), &source).writes.rows.remove(&note(1)) {
            Some(RowWrite::Put { ver, .. }) => ver,
            other => panic!("a row was put: {other:?}"),
        }
    };
    let (first, second) = (written(), written());
    assert_eq!(first.stamp(), second.stamp());
    assert_ne!(first, second);
}

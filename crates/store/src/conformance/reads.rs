//! Rules of reads: snapshots, freshness, and ranges.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{Fixture, HALL, NOTE, NOTE_BY_TAG, ROOM, START_MS, event, note, puts, tally};
use crate::engine::{Add, Batch, BoxFuture, Engine, Entry, Failure};
use crate::entropy::SeededEntropy;
use crate::id::Uid;
use crate::key::Key;
use crate::range::{Direction, Range};

pub(super) async fn rows_come_in_the_order_of_their_keys_asked(fixture: Fixture) {
    let mut batch = puts(ROOM, &[(&note(1), "one"), (&note(2), "two")]);
    batch.adds.push(Add { key: tally(1), delta: -4, max: None });
    fixture.engine.commit(batch).await.expect("nothing is checked");
    let keys = [note(2), note(9), tally(1), note(1), Key::home(ROOM), note(2), Key::home(HALL)];
    let found = fixture.engine.get(&keys).await.expect("reads");
    let present: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(present, [true, false, true, true, true, true, false]);
    for (key, entry) in keys.iter().zip(&found) {
        assert!(entry.as_ref().is_none_or(|entry| entry.key[..] == *key.bytes()), "{key:?}");
    }
    let entry = |place: usize| found[place].as_ref().expect("is present");
    assert_eq!(entry(0).value, "two");
    assert_eq!(entry(2).count(), -4);
    assert_eq!(entry(4).home().last_ms, START_MS);
    assert_eq!(fixture.engine.get(&[]).await.expect("reads"), []);
}

/// How many readers run beside the writer, and how many batches the writer commits.
const READER_COUNT: usize = 4;
const WRITE_COUNT: u32 = 100;

/// Commits `batch(0..)` in turn while readers call `read` all the time.
async fn read_beside_a_writer(
    fixture: &Fixture,
    batch: impl Fn(u32) -> Batch,
    read: fn(Arc<dyn Engine>) -> BoxFuture<'static, ()>,
) {
    let done = Arc::new(AtomicBool::new(false));
    let begin = Arc::new(Barrier::new(READER_COUNT + 1));
    let mut readers = JoinSet::new();
    for _ in 0..READER_COUNT {
        let (engine, done) = (Arc::clone(&fixture.engine), Arc::clone(&done));
        let begin = Arc::clone(&begin);
        readers.spawn(async move {
            begin.wait().await;
            while !done.load(Ordering::Relaxed) {
                read(Arc::clone(&engine)).await;
                tokio::task::yield_now().await;
            }
            read(engine).await;
        });
    }
    begin.wait().await;
    for round in 0..WRITE_COUNT {
        fixture.engine.commit(batch(round)).await.expect("nothing is checked");
        tokio::task::yield_now().await;
    }
    done.store(true, Ordering::Relaxed);
    readers.join_all().await;
}

pub(super) async fn get_sees_one_snapshot(fixture: Fixture) {
    let batch = |round: u32| {
        let round = round.to_string();
        let twin = Key::new(&NOTE_BY_TAG).u32(1);
        let mut batch = puts(ROOM, &[(&note(1), &round), (&twin, &round)]);
        batch.adds.push(Add { key: tally(1), delta: 1, max: None });
        batch
    };
    read_beside_a_writer(&fixture, batch, |engine| {
        Box::pin(async move {
            let keys = [note(1), tally(1), Key::new(&NOTE_BY_TAG).u32(1), Key::home(ROOM)];
            let found = engine.get(&keys).await.expect("reads");
            let [Some(left), Some(sum), Some(right), Some(home)] = &found[..] else {
                assert_eq!(found, [const { None }; 4], "all rows of a batch or none");
                return;
            };
            assert_eq!((&left.value, left.ver), (&right.value, right.ver));
            assert_eq!(sum.count().to_string(), home.home().seq.to_string());
            assert_eq!(left.ver.stamp().seq, home.home().seq);
        })
    })
    .await;
}

pub(super) async fn scan_sees_whole_batches(fixture: Fixture) {
    let batch = |round: u32| {
        let twin = Key::new(&NOTE_BY_TAG).u32(round);
        let mut batch = puts(ROOM, &[(&note(round), "left"), (&twin, "right")]);
        if round >= 10 {
            batch.deletes = vec![note(round - 10), Key::new(&NOTE_BY_TAG).u32(round - 10)];
        }
        batch
    };
    read_beside_a_writer(&fixture, batch, |engine| {
        Box::pin(async move {
            let ranges = [Range::prefix(Key::new(&NOTE)), Range::prefix(Key::new(&NOTE_BY_TAG))];
            let found = engine.scan(&ranges, 100, Direction::Backward, false).await;
            let found = found.expect("reads");
            let keys = |rows: &[Entry]| -> Vec<Vec<u8>> {
                rows.iter().map(|row| row.key.to_vec()).collect()
            };
            assert_eq!(keys(&found[0]), keys(&found[1]));
            assert!(found[0].len() <= 10, "a batch deletes as it puts");
        })
    })
    .await;
}

pub(super) async fn acknowledged_rows_are_read_at_once(fixture: Fixture) {
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let engine = Arc::clone(&fixture.engine);
        tasks.spawn(async move {
            for round in 0..10 {
                let value = format!("{task}/{round}");
                let home = Uid([u8::try_from(task).expect("few tasks"); 16]);
                let batch = puts(home, &[(&note(task), &value)]);
                let stamp = engine.commit(batch).await.expect("nothing is checked");
                let seen = super::entry(engine.as_ref(), &note(task)).await.expect("was put");
                assert_eq!((&seen.value[..], seen.ver.stamp()), (value.as_bytes(), stamp));
                let range = [Range::prefix(note(task))];
                let list = engine.scan(&range, 2, Direction::Forward, false).await.expect("reads");
                assert_eq!(list, [[seen]]);
            }
        });
    }
    tasks.join_all().await;
}

/// Draws a key from few short ones, so that ranges meet their borders often.
fn draw_key(random: &SeededEntropy) -> Key {
    const BYTES: [u8; 4] = [0, 1, 0x80, 0xff];
    let mut key = Key::new(&NOTE);
    for _ in 0..random.next_u64() % 4 {
        key = key.u8(BYTES[usize::from(random.next_u64().to_le_bytes()[0] % 4)]);
    }
    key
}

/// Draws a range and the same as a test on keys.
fn draw_range(random: &SeededEntropy) -> (Range, impl Fn(&[u8], Direction) -> bool + use<>) {
    let prefix = draw_key(random);
    let draw = || random.next_u64().is_multiple_of(3).then(|| draw_key(random));
    let (from, to, before, after) = (draw(), draw(), draw(), draw());
    let mut range = Range::prefix(prefix.clone());
    if let Some(from) = &from {
        range = range.from(from.clone());
    }
    if let Some(to) = &to {
        range = range.to(to.clone());
    }
    if let Some(before) = &before {
        range = range.before(before.clone());
    }
    if let Some(after) = &after {
        range = range.after(after.bytes());
    }
    let holds = move |key: &[u8], direction| {
        key.starts_with(prefix.bytes())
            && from.as_ref().is_none_or(|from| key >= from.bytes())
            && to.as_ref().is_none_or(|to| key <= to.bytes() || key.starts_with(to.bytes()))
            && before.as_ref().is_none_or(|before| key < before.bytes())
            && after.as_ref().is_none_or(|after| match direction {
                Direction::Forward => key > after.bytes(),
                Direction::Backward => key < after.bytes(),
            })
    };
    (range, holds)
}

pub(super) async fn scans_return_what_a_sorted_map_returns(fixture: Fixture) {
    let random = SeededEntropy::new(21);
    let mut rows = BTreeMap::new();
    for place in 0..60 {
        rows.insert(draw_key(&random), place.to_string());
    }
    let list: Vec<(&Key, &str)> = rows.iter().map(|(key, value)| (key, value.as_str())).collect();
    fixture.put(ROOM, &list).await;
    for round in 0..300 {
        let drawn: Vec<_> = (0..=random.next_u64() % 3).map(|_| draw_range(&random)).collect();
        let ranges: Vec<Range> = drawn.iter().map(|(range, _)| range.clone()).collect();
        let limit = usize::from(random.next_u64().to_le_bytes()[0] % 12);
        for direction in [Direction::Forward, Direction::Backward] {
            for keys_only in [false, true] {
                let found = fixture.engine.scan(&ranges, limit, direction, keys_only).await;
                let found = found.expect("reads");
                assert_eq!(found.len(), ranges.len());
                for (found, (range, holds)) in found.iter().zip(&drawn) {
                    let inside = rows.iter().filter(|(key, _)| holds(key.bytes(), direction));
                    let mut expected: Vec<(&[u8], &str)> = inside
                        .map(|(key, value)| (key.bytes(), if keys_only { "" } else { value }))
                        .collect();
                    if direction == Direction::Backward {
                        expected.reverse();
                    }
                    expected.truncate(limit);
                    let found: Vec<(&[u8], &str)> = found
                        .iter()
                        .map(|row| (&row.key[..], str::from_utf8(&row.value).expect("is text")))
                        .collect();
                    assert_eq!(found, expected, "seed 21, round {round}: {range:?}");
                }
            }
        }
    }
}

pub(super) async fn closed_engine_refuses_work(mut fixture: Fixture) {
    fixture.put(ROOM, &[(&note(1), "row")]).await;
    fixture.engine.close().await;
    let commit = fixture.engine.commit(puts(ROOM, &[(&note(1), "late")])).await;
    assert!(matches!(commit, Err(Failure::Unavailable(_))), "{commit:?}");
    assert!(fixture.engine.get(&[note(1)]).await.is_err());
    let range = [Range::prefix(note(1))];
    assert!(fixture.engine.scan(&range, 1, Direction::Forward, false).await.is_err());
    assert!(fixture.engine.publish(ROOM, vec![event("late")]).await.is_err());
    fixture.engine.close().await;
    assert!(fixture.events.recv().await.is_none(), "the sink is let go of");
}

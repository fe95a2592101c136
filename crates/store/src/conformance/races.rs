//! Races that one order must explain, driven through two instances on one store.
//!
//! Each rule lets both instances act at once and then shows that what is stored came about in
//! some order of whole batches. What a batch decides about beside its own home, it holds.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Barrier, mpsc};
use tokio::task::JoinSet;

use super::{HALL, NOTE, NOTE_BY_TAG, ROOM, count, entry, note, puts, tally};
use crate::clock::MockClock;
use crate::engine::{Add, Batch, Check, Committed, Engine, Failure, Put};
use crate::id::{Stamp, Uid};
use crate::key::{Key, Parts};
use crate::range::{Direction, Range};

/// Two instances on one store, in a state that nobody has used.
pub(super) struct Pair {
    pub(super) left: Arc<dyn Engine>,
    pub(super) right: Arc<dyn Engine>,
    pub(super) clock: Arc<MockClock>,
    /// Kept, so that there is a reader.
    pub(super) _events: [mpsc::Receiver<Vec<Committed>>; 2],
}

const ROUNDS: u32 = 12;
/// Tries of one writer against another before a rule gives up.
const TRIES_MAX: usize = 1_000;

impl Pair {
    fn sides(&self) -> [&Arc<dyn Engine>; 2] {
        [&self.left, &self.right]
    }

    async fn put(&self, home: Uid, rows: &[(&Key, &str)]) -> Stamp {
        self.left.commit(puts(home, rows)).await.expect("nothing is checked")
    }
}

fn expecting(mut batch: Batch, check: Check) -> Batch {
    batch.checks.push(check);
    batch
}

/// Checks a row as it is now.
async fn as_stored(engine: &dyn Engine, key: &Key) -> Check {
    Check { key: key.clone(), expect: entry(engine, key).await.map(|row| row.ver) }
}

async fn rows_below(engine: &dyn Engine, prefix: &Key) -> usize {
    let range = [Range::prefix(prefix.clone())];
    let found = engine.scan(&range, usize::MAX, Direction::Forward, true).await;
    found.expect("reads")[0].len()
}

/// Writes `put` again and again until its check fails, while the other side deletes what it
/// checks, and shows that nothing was written after the delete.
async fn delete_ends_puts(pair: &Pair, record: Key, put: Batch, delete: Batch, below: Key) {
    let put = expecting(put, as_stored(pair.left.as_ref(), &record).await);
    let begin = Arc::new(Barrier::new(3));
    let is_deleted = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for side in pair.sides() {
        let (engine, begin, put) = (Arc::clone(side), Arc::clone(&begin), put.clone());
        let is_deleted = Arc::clone(&is_deleted);
        writers.spawn(async move {
            begin.wait().await;
            loop {
                let is_late = is_deleted.load(Ordering::SeqCst);
                match engine.commit(put.clone()).await {
                    Ok(_) => assert!(!is_late, "the record was gone before this commit began"),
                    Err(failure) => return failure,
                }
                // An engine that never waits would keep the other side from its turn.
                tokio::task::yield_now().await;
            }
        });
    }
    begin.wait().await;
    pair.right.commit(delete).await.expect("nothing is checked");
    is_deleted.store(true, Ordering::SeqCst);
    let at_delete = rows_below(pair.right.as_ref(), &below).await;
    for failure in writers.join_all().await {
        assert!(matches!(&failure, Failure::Conflict(key) if *key == record), "{failure:?}");
    }
    assert_eq!(rows_below(pair.left.as_ref(), &below).await, at_delete, "nothing came later");
}

pub(super) async fn removed_member_sends_nothing_more(pair: Pair) {
    for round in 0..ROUNDS {
        let membership = note(round);
        pair.put(ROOM, &[(&membership, "member")]).await;
        let below = Key::new(&NOTE_BY_TAG).u32(round);
        let send = puts(ROOM, &[(&below.clone().stamped(), "message")]);
        let mut remove = Batch::new("remove", ROOM);
        remove.deletes.push(membership.clone());
        delete_ends_puts(&pair, membership, send, remove, below).await;
    }
}

pub(super) async fn deleted_parent_gets_nothing_below_it(pair: Pair) {
    for round in 0..ROUNDS {
        let user = note(round);
        pair.put(HALL, &[(&user, "user")]).await;
        let below = Key::new(&NOTE_BY_TAG).u32(round);
        // The user belongs to another home, which the batch holds.
        let mut join = puts(ROOM, &[(&below.clone().stamped(), "membership")]);
        join.holds.push(HALL);
        let mut delete = Batch::new("delete", HALL);
        delete.deletes.push(user.clone());
        delete_ends_puts(&pair, user, join, delete, below).await;
    }
}

pub(super) async fn banned_user_is_never_a_member(pair: Pair) {
    for round in 0..ROUNDS {
        let (ban, membership) = (note(2 * round), note(2 * round + 1));
        let begin = Barrier::new(2);
        let join = async {
            begin.wait().await;
            let join = puts(ROOM, &[(&membership, "member")]);
            pair.left.commit(expecting(join, Check { key: ban.clone(), expect: None })).await
        };
        let forbid = async {
            begin.wait().await;
            for _ in 0..TRIES_MAX {
                let check = as_stored(pair.right.as_ref(), &membership).await;
                let mut forbid = expecting(puts(ROOM, &[(&ban, "banned")]), check);
                forbid.deletes.push(membership.clone());
                match pair.right.commit(forbid).await {
                    Ok(stamp) => return stamp,
                    Err(Failure::Conflict(_)) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            panic!("a membership that changes once cannot conflict for ever");
        };
        let (joined, banned) = tokio::join!(join, forbid);
        assert_eq!(entry(pair.left.as_ref(), &membership).await, None, "round {round}");
        assert!(entry(pair.left.as_ref(), &ban).await.is_some());
        match joined {
            Ok(joined) => assert!(joined.seq < banned.seq),
            Err(failure) => assert!(matches!(failure, Failure::Conflict(key) if key == ban)),
        }
    }
}

pub(super) async fn name_is_taken_once(pair: Pair) {
    for round in 0..ROUNDS {
        let name = note(round);
        let begin = Arc::new(Barrier::new(8));
        let mut tasks = JoinSet::new();
        for task in 0..8_u8 {
            let engine = Arc::clone(pair.sides()[usize::from(task % 2)]);
            let (begin, name) = (Arc::clone(&begin), name.clone());
            tasks.spawn(async move {
                // Each new channel is a home of its own; the name belongs to the hall.
                let home = Uid([100 + task; 16]);
                let mut create = puts(home, &[(&name, &task.to_string())]);
                create.checks.push(Check { key: name.clone(), expect: None });
                create.holds.push(HALL);
                begin.wait().await;
                (task, engine.commit(create).await)
            });
        }
        let mut winner = None;
        for (task, answer) in tasks.join_all().await {
            match answer {
                Ok(_) => assert_eq!(winner.replace(task), None, "round {round}"),
                Err(failure) => assert!(matches!(failure, Failure::Conflict(_)), "{failure:?}"),
            }
        }
        let stored = entry(pair.left.as_ref(), &name).await.expect("one of them took it");
        assert_eq!(Some(stored.value), winner.map(|task| task.to_string().into()));
    }
}

fn add(home: Uid, adds: &[(u32, i64, Option<i64>)]) -> Batch {
    let mut batch = Batch::new("add", home);
    let add = |(id, delta, max): &(u32, i64, Option<i64>)| Add {
        key: tally(*id),
        delta: *delta,
        max: *max,
    };
    batch.adds = adds.iter().map(add).collect();
    batch
}

/// Commits from both sides at once, each from a home of its own, and counts what passed.
async fn passed(pair: &Pair, task_count: u8, batch: impl Fn(Uid, u8) -> Batch) -> usize {
    let mut tasks = JoinSet::new();
    for task in 0..task_count {
        let engine = Arc::clone(pair.sides()[usize::from(task % 2)]);
        let batch = batch(Uid([task; 16]), task);
        tasks.spawn(async move { engine.commit(batch).await });
    }
    let answers = tasks.join_all().await;
    let bound = |answer: &&_| matches!(answer, Err(Failure::Bound(_)));
    let passed = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(passed + answers.iter().filter(bound).count(), usize::from(task_count));
    passed
}

pub(super) async fn quota_is_used_up_exactly(pair: Pair) {
    pair.left.commit(add(ROOM, &[(1, 9_950, None)])).await.expect("unbounded");
    let join = |home, _| add(home, &[(1, 1, Some(10_000))]);
    assert_eq!(passed(&pair, 200, join).await, 50);
    assert_eq!(count(pair.right.as_ref(), &tally(1)).await, 10_000);
}

pub(super) async fn quota_of_a_missing_counter_is_used_up_exactly(pair: Pair) {
    for round in 10..10 + ROUNDS {
        let join = |home, _| add(home, &[(round, 1, Some(7))]);
        assert_eq!(passed(&pair, 24, join).await, 7, "round {round}");
        assert_eq!(count(pair.right.as_ref(), &tally(round)).await, 7);
    }
}

pub(super) async fn counters_in_any_order_never_deadlock(pair: Pair) {
    let both = |home, task: u8| match task % 4 {
        0 => add(home, &[(1, 1, None), (2, 1, Some(1_000))]),
        1 => add(home, &[(2, 1, None), (1, 1, Some(1_000))]),
        2 => add(home, &[(2, 1, None), (1, 1, None)]),
        _ => add(home, &[(1, 1, Some(1_000)), (2, 1, Some(1_000))]),
    };
    assert_eq!(passed(&pair, 160, both).await, 160);
    for id in [1, 2] {
        assert_eq!(count(pair.left.as_ref(), &tally(id)).await, 160);
    }
}

pub(super) async fn homes_held_in_any_order_never_deadlock(pair: Pair) {
    let homes = [ROOM, HALL, Uid([3; 16])];
    let batch = |_, task: u8| {
        let own = homes[usize::from(task) % 3];
        let others = [homes[usize::from(task + 2) % 3], homes[usize::from(task + 1) % 3]];
        Batch { holds: others.to_vec(), ..add(own, &[(1, 1, None)]) }
    };
    assert_eq!(passed(&pair, 120, batch).await, 120);
    assert_eq!(count(pair.left.as_ref(), &tally(1)).await, 120);
}

pub(super) async fn what_was_held_in_vain_leaves_no_trace(pair: Pair) {
    let (held, lone) = (Uid([50; 16]), Uid([51; 16]));
    let refused = Batch { holds: vec![held], ..add(lone, &[(60, 5, Some(4)), (61, 1, None)]) };
    let refused = pair.left.commit(refused).await;
    assert!(matches!(refused, Err(Failure::Bound(_))), "{refused:?}");
    let passing = Batch { holds: vec![held], ..add(ROOM, &[(62, 1, Some(4))]) };
    pair.left.commit(passing).await.expect("is within its bound");
    for key in [Key::home(held), Key::home(lone), tally(60), tally(61)] {
        assert_eq!(entry(pair.right.as_ref(), &key).await, None, "{key:?}");
    }
}

pub(super) async fn writers_on_both_sides_get_one_order(pair: Pair) {
    let mut tasks = JoinSet::new();
    for id in 0..64_u8 {
        let engine = Arc::clone(pair.sides()[usize::from(id % 2)]);
        let batch = puts(ROOM, &[(&note(id.into()), "row")]);
        tasks.spawn(async move { engine.commit(batch).await.expect("nothing is checked") });
    }
    let mut stamps = tasks.join_all().await;
    stamps.sort_by_key(|stamp| stamp.seq);
    let seqs: Vec<u64> = stamps.iter().map(|stamp| stamp.seq).collect();
    assert_eq!(seqs, (1..=64).collect::<Vec<u64>>());
    assert!(stamps.is_sorted_by(|left, right| left.ms <= right.ms), "{stamps:?}");
}

pub(super) async fn versions_never_come_back_on_either_side(pair: Pair) {
    let key = note(1);
    let mut versions = HashSet::new();
    for round in 0..ROUNDS {
        for side in pair.sides() {
            side.commit(puts(ROOM, &[(&key, "same")])).await.expect("nothing is checked");
            let ver = entry(side.as_ref(), &key).await.expect("was put").ver;
            assert!(versions.insert(ver), "round {round}: {ver:?} came back");
            let mut delete = Batch::new("delete", HALL);
            // Without its row, the home counts from the beginning again.
            delete.deletes = vec![key.clone(), Key::home(ROOM)];
            side.commit(delete).await.expect("nothing is checked");
        }
    }
    pair.clock.advance(1);
}

pub(super) async fn acknowledged_rows_are_read_on_the_other_side(pair: Pair) {
    for round in 0..ROUNDS {
        let (writer, reader) =
            if round % 2 == 0 { (&pair.left, &pair.right) } else { (&pair.right, &pair.left) };
        let batch = puts(ROOM, &[(&note(1), &round.to_string())]);
        let stamp = writer.commit(batch).await.expect("nothing is checked");
        let seen = entry(reader.as_ref(), &note(1)).await.expect("was put");
        assert_eq!((seen.value, seen.ver.stamp()), (round.to_string().into(), stamp));
    }
}

pub(super) async fn reads_see_whole_batches_of_the_other_side(pair: Pair) {
    let writer = Arc::clone(&pair.left);
    let writing = tokio::spawn(async move {
        for round in 0..100_u32 {
            let twin = Key::new(&NOTE_BY_TAG).u32(round);
            let latest = Key::new(&NOTE_BY_TAG).u32(u32::MAX);
            let value = round.to_string();
            let mut batch = puts(ROOM, &[(&note(round), &value), (&twin, &value)]);
            batch.puts.push(Put { key: latest, value: value.clone().into_bytes() });
            batch.adds.push(Add { key: tally(1), delta: 1, max: None });
            writer.commit(batch).await.expect("nothing is checked");
        }
    });
    while !writing.is_finished() {
        let keys = [tally(1), Key::home(ROOM), Key::new(&NOTE_BY_TAG).u32(u32::MAX)];
        let found = pair.right.get(&keys).await.expect("reads");
        if let [Some(sum), Some(home), Some(latest)] = &found[..] {
            assert_eq!(sum.count().to_string(), home.home().seq.to_string());
            assert_eq!(latest.ver.stamp().seq, home.home().seq);
        } else {
            assert_eq!(found, [const { None }; 3], "all rows of a batch or none");
        }
        let ranges = [
            Range::prefix(Key::new(&NOTE)),
            Range::prefix(Key::new(&NOTE_BY_TAG)).before(Key::new(&NOTE_BY_TAG).u32(u32::MAX)),
        ];
        let found = pair.right.scan(&ranges, usize::MAX, Direction::Forward, false).await;
        let [left, right] = &found.expect("reads")[..] else { panic!("one list per range") };
        assert_eq!(left.len(), right.len());
        let ids = left.iter().map(|row| Parts::new(&row.key).u32());
        assert!(ids.eq((0..).map(Some).take(left.len())), "rows come in the order of commits");
    }
    writing.await.expect("the writer does not fail");
}

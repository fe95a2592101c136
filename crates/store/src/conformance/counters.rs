//! Rules of counters: sums are exact, bounds and floors hold, adds never conflict.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Fixture, ROOM, count, tally};
use crate::engine::{Add, Batch, Failure, Floor};
use crate::id::Uid;

fn add(home: Uid, delta: i64, max: Option<i64>) -> Batch {
    let mut batch = Batch::new("test", home);
    batch.adds.push(Add { key: tally(1), delta, max });
    batch
}

pub(super) async fn bounded_adds_stop_exactly_at_the_bound(fixture: Fixture) {
    fixture.engine.commit(add(ROOM, 9_950, None)).await.expect("unbounded");
    let mut tasks = JoinSet::new();
    for _ in 0..200 {
        let engine = Arc::clone(&fixture.engine);
        tasks.spawn(async move { engine.commit(add(ROOM, 1, Some(10_000))).await });
    }
    let answers = tasks.join_all().await;
    let passed = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(passed, 50);
    let refused = answers
        .iter()
        .filter(|answer| matches!(answer, Err(Failure::Bound(key)) if *key == tally(1)));
    assert_eq!(refused.count(), 150);
    assert_eq!(count(fixture.engine.as_ref(), &tally(1)).await, 10_000);
}

pub(super) async fn adds_never_conflict(fixture: Fixture) {
    let mut tasks = JoinSet::new();
    for task in 0..32 {
        let engine = Arc::clone(&fixture.engine);
        // Homes differ: adds to one counter need not share one.
        let home = Uid([task; 16]);
        tasks.spawn(async move {
            for _ in 0..4 {
                engine.commit(add(home, 3, None)).await.expect("an unbounded add never fails");
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(count(fixture.engine.as_ref(), &tally(1)).await, 32 * 4 * 3);
}

pub(super) async fn falling_add_passes_a_bound_that_was_lowered(fixture: Fixture) {
    fixture.engine.commit(add(ROOM, 10, None)).await.expect("unbounded");
    fixture.engine.commit(add(ROOM, -1, Some(5))).await.expect("a falling sum never fails");
    let rising = fixture.engine.commit(add(ROOM, 1, Some(5))).await;
    assert!(matches!(rising, Err(Failure::Bound(_))), "{rising:?}");
    assert_eq!(count(fixture.engine.as_ref(), &tally(1)).await, 9);
}

pub(super) async fn adds_of_one_batch_are_bounded_together(fixture: Fixture) {
    let twice = |first, second| {
        let mut batch = add(ROOM, first, Some(5));
        batch.adds.push(Add { key: tally(1), delta: second, max: Some(5) });
        batch
    };
    let over = fixture.engine.commit(twice(3, 3)).await;
    assert!(matches!(over, Err(Failure::Bound(_))), "{over:?}");
    fixture.engine.commit(twice(6, -1)).await.expect("what the batch leaves is within the bound");
    assert_eq!(count(fixture.engine.as_ref(), &tally(1)).await, 5);
}

pub(super) async fn deleted_counter_begins_at_zero(fixture: Fixture) {
    fixture.engine.commit(add(ROOM, 7, None)).await.expect("unbounded");
    let mut restart = add(ROOM, 2, Some(2));
    restart.deletes.push(tally(1));
    fixture.engine.commit(restart).await.expect("the sum begins again");
    assert_eq!(count(fixture.engine.as_ref(), &tally(1)).await, 2);
    let mut delete = Batch::new("test", ROOM);
    delete.deletes.push(tally(1));
    fixture.engine.commit(delete).await.expect("nothing is checked");
    assert_eq!(fixture.entry(&tally(1)).await, None);
}

pub(super) async fn bound_counts_the_adds_of_the_group(mut fixture: Fixture) {
    let mut clear = Batch::new("test", ROOM);
    clear.deletes.push(tally(1));
    let mut group = vec![add(ROOM, 2, Some(5)), add(ROOM, 2, None), add(ROOM, 2, Some(5))];
    group.extend([add(ROOM, 1, Some(5)), clear, add(ROOM, 5, Some(5)), add(ROOM, 1, Some(5))]);
    let answers = fixture.commit_grouped(group).await;
    let passed: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(passed, [true, true, false, true, true, true, false]);
    assert_eq!(count(fixture.engine.as_ref(), &tally(1)).await, 5);
}

pub(super) async fn floor_is_a_conflict_once_the_sum_has_fallen(mut fixture: Fixture) {
    fixture.engine.commit(add(ROOM, 4, None)).await.expect("unbounded");
    let floored = |delta, min| {
        let mut batch = add(ROOM, delta, None);
        batch.floors.push(Floor { key: tally(1), min });
        batch
    };
    fixture.engine.commit(floored(1, 5)).await.expect("its own add counts");
    fixture.engine.commit(add(ROOM, 3, None)).await.expect("unbounded");
    fixture.engine.commit(floored(0, 5)).await.expect("a sum that has grown is no conflict");
    let group = vec![floored(0, 8), add(ROOM, -1, None), floored(0, 8), floored(1, 8)];
    let answers = fixture.commit_grouped(group).await;
    assert!(matches!(&answers[2], Err(Failure::Conflict(key)) if *key == tally(1)), "{answers:?}");
    let passed: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(passed, [true, true, false, true]);
    let mut missing = Batch::new("test", ROOM);
    missing.floors.push(Floor { key: tally(2), min: 1 });
    let answer = fixture.engine.commit(missing).await;
    assert!(matches!(answer, Err(Failure::Conflict(_))), "a missing counter is zero: {answer:?}");
    assert_eq!(count(fixture.engine.as_ref(), &tally(1)).await, 8);
}

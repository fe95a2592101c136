//! Rules of batches: checks, atomicity, and what a group's batches see of each other.

use super::{Fixture, HALL, ROOM, TALLY, count, event, note, puts, tally, told};
use crate::engine::{Add, Batch, Check, Failure, Put};
use crate::id::Version;
use crate::key::Key;
use crate::table::{Kind, Table};

fn checked(mut batch: Batch, key: &Key, expect: Option<Version>) -> Batch {
    batch.checks.push(Check { key: key.clone(), expect });
    batch
}

fn is_conflict(answer: &Result<crate::Stamp, Failure>, key: &Key) -> bool {
    matches!(answer, Err(Failure::Conflict(at)) if at == key)
}

pub(super) async fn checked_version_must_match(fixture: Fixture) {
    let (key, other) = (note(1), note(2));
    fixture.put(ROOM, &[(&key, "one"), (&other, "other")]).await;
    let first = fixture.entry(&key).await.expect("was put").ver;
    let update = checked(puts(ROOM, &[(&key, "two")]), &key, Some(first));
    fixture.engine.commit(update.clone()).await.expect("the version is the one that was read");
    let second = fixture.entry(&key).await.expect("was put").ver;
    assert_ne!(first, second);

    let stale = fixture.engine.commit(update).await;
    assert!(is_conflict(&stale, &key), "{stale:?}");
    let gone = note(3);
    let absent = checked(puts(ROOM, &[(&key, "three")]), &gone, Some(second));
    let absent = fixture.engine.commit(absent).await;
    assert!(is_conflict(&absent, &gone), "{absent:?}");
    assert_eq!(fixture.entry(&key).await.expect("was put").value, "two");
}

pub(super) async fn absent_check_refuses_a_present_row(fixture: Fixture) {
    let key = note(1);
    let create = || checked(puts(ROOM, &[(&key, "one")]), &key, None);
    fixture.engine.commit(create()).await.expect("the row is absent");
    let again = fixture.engine.commit(create()).await;
    assert!(is_conflict(&again, &key), "{again:?}");

    let mut delete = Batch::new("test", ROOM);
    delete.deletes.push(key.clone());
    fixture.engine.commit(delete).await.expect("nothing is checked");
    assert_eq!(fixture.entry(&key).await, None);
    fixture.engine.commit(create()).await.expect("the row is absent again");
}

pub(super) async fn failing_batch_writes_nothing(mut fixture: Fixture) {
    let (kept, new) = (note(1), note(2));
    fixture.put(ROOM, &[(&kept, "kept")]).await;
    let home = fixture.entry(&Key::home(ROOM)).await;

    let mut batch = checked(told(puts(ROOM, &[(&new, "new")]), "never"), &new, Some(Version(7)));
    batch.deletes.push(kept.clone());
    batch.adds.push(Add { key: tally(1), delta: 5, max: None });
    assert!(is_conflict(&fixture.engine.commit(batch).await, &new));

    let mut batch = told(puts(ROOM, &[(&new, "new")]), "never");
    batch.deletes.push(kept.clone());
    batch.adds.push(Add { key: tally(1), delta: 5, max: None });
    batch.adds.push(Add { key: tally(2), delta: 5, max: Some(4) });
    let bound = fixture.engine.commit(batch).await;
    assert!(matches!(bound, Err(Failure::Bound(key)) if key == tally(2)));

    assert_eq!(fixture.entry(&kept).await.expect("was not deleted").value, "kept");
    assert_eq!(fixture.entry(&new).await, None);
    assert_eq!(count(fixture.engine.as_ref(), &tally(1)).await, 0);
    assert_eq!(fixture.entry(&Key::home(ROOM)).await, home);
    assert!(fixture.events.try_recv().is_err(), "no event of a failed batch");
}

pub(super) async fn deletes_come_before_puts(fixture: Fixture) {
    let (put, gone) = (note(1), note(2));
    let mut batch = puts(ROOM, &[(&put, "stays")]);
    batch.deletes = vec![put.clone(), gone.clone()];
    fixture.engine.commit(batch).await.expect("a missing row is no error");
    assert_eq!(fixture.entry(&put).await.expect("was put").value, "stays");
    assert_eq!(fixture.entry(&gone).await, None);
}

pub(super) async fn home_row_can_be_checked_and_deleted(fixture: Fixture) {
    let home = Key::home(ROOM);
    fixture.put(ROOM, &[(&note(1), "one")]).await;
    let seen = fixture.entry(&home).await.expect("has a commit").ver;
    let check = || checked(puts(HALL, &[]), &home, Some(seen));
    fixture.engine.commit(check()).await.expect("the home did not move");
    fixture.put(ROOM, &[(&note(1), "two")]).await;
    assert!(is_conflict(&fixture.engine.commit(check()).await, &home));

    let mut delete = Batch::new("test", HALL);
    delete.deletes = vec![home.clone(), Key::home(HALL)];
    fixture.engine.commit(delete).await.expect("nothing is checked");
    assert_eq!(fixture.entry(&home).await, None);
    assert_eq!(fixture.entry(&Key::home(HALL)).await, None);
    assert_eq!(fixture.put(ROOM, &[]).await.seq, 1);
}

pub(super) async fn batches_against_their_tables_are_refused(fixture: Fixture) {
    static STRANGE: Table = Table { name: "strange", kind: Kind::Record, columns: &[] };
    for key in [Key::new(&STRANGE), Key::new(&TALLY), Key::home(ROOM)] {
        let answer = fixture.engine.commit(puts(ROOM, &[(&key, "value")])).await;
        assert!(matches!(answer, Err(Failure::Unavailable(_))), "{key:?}: {answer:?}");
    }
    assert!(fixture.engine.get(&[Key::new(&STRANGE)]).await.is_err());
}

pub(super) async fn dropped_commit_leaves_the_engine_working(fixture: Fixture) {
    for id in 0..20 {
        let mut commit = fixture.engine.commit(told(puts(ROOM, &[(&note(id), "x")]), "x"));
        std::future::poll_fn(|cx| {
            let _ready = commit.as_mut().poll(cx).is_ready();
            std::task::Poll::Ready(())
        })
        .await;
        drop(commit);
    }
    let last = fixture.put(ROOM, &[(&note(99), "last")]).await;
    let mut present = 0;
    for id in 0..20 {
        present += u64::from(fixture.entry(&note(id)).await.is_some());
    }
    // Each dropped commit happened whole or not at all, and before the one that came later.
    assert_eq!(last.seq, present + 1);
}

pub(super) async fn batches_of_one_group_see_each_other(mut fixture: Fixture) {
    let key = note(1);
    let create = |value| checked(puts(ROOM, &[(&key, value)]), &key, None);
    let mut delete = Batch::new("test", ROOM);
    delete.deletes.push(key.clone());
    let group = vec![create("first"), create("second"), delete, create("third"), create("fourth")];
    let answers = fixture.commit_grouped(group).await;
    assert_eq!(answers[0].as_ref().map(|stamp| stamp.seq).ok(), Some(1));
    assert!(is_conflict(&answers[1], &key), "{answers:?}");
    assert_eq!(answers[2].as_ref().map(|stamp| stamp.seq).ok(), Some(2));
    assert_eq!(answers[3].as_ref().map(|stamp| stamp.seq).ok(), Some(3));
    assert!(is_conflict(&answers[4], &key), "{answers:?}");
    assert_eq!(fixture.entry(&key).await.expect("was put").value, "third");
}

pub(super) async fn failing_batch_leaves_its_neighbours_alone(mut fixture: Fixture) {
    let missing = note(1_000);
    let batch = |id: u32| {
        let key = note(id);
        let mut batch = Batch::new("test", ROOM);
        batch.puts.push(Put { key, value: id.to_be_bytes().into() });
        batch.adds.push(Add { key: tally(1), delta: 1, max: None });
        batch.events.push(event("event"));
        if id % 2 == 1 {
            batch.checks.push(Check { key: missing.clone(), expect: Some(Version(1)) });
        }
        batch
    };
    let answers = fixture.commit_grouped((0..10).map(batch).collect()).await;
    for (id, answer) in (0..10).zip(&answers) {
        let present = fixture.entry(&note(id)).await.is_some();
        if id % 2 == 1 {
            assert!(is_conflict(answer, &missing) && !present, "{id}: {answer:?}");
        } else {
            let seq = answer.as_ref().expect("nothing is checked").seq;
            assert!(present && seq == u64::from(id / 2 + 1), "{id}: {answer:?}");
        }
    }
    assert_eq!(count(fixture.engine.as_ref(), &tally(1)).await, 5);
}

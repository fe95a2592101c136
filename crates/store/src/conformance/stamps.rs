//! Rules of stamps, versions and home rows.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Fixture, HALL, NOTE, NOTE_BY_TAG, ROOM, START_MS, event, note, puts, text, told};
use crate::engine::{Batch, HomeRow};
use crate::id::Stamp;
use crate::key::Key;
use crate::publish::LEAD_MS_MAX;

pub(super) async fn stamps_increase_with_a_fixed_clock(fixture: Fixture) {
    let first = fixture.put(ROOM, &[]).await;
    assert_eq!(first, Stamp { ms: START_MS, seq: 1 });
    // Five milliseconds before the lead is used up.
    fixture.clock.set(START_MS + 5 - LEAD_MS_MAX);
    for step in 1..=10 {
        let stamp = fixture.put(ROOM, &[]).await;
        assert_eq!(stamp, Stamp { ms: START_MS + step.min(5), seq: 1 + step });
    }
}

pub(super) async fn stamps_never_go_back_with_the_clock(fixture: Fixture) {
    let before = fixture.put(ROOM, &[]).await;
    fixture.clock.set(START_MS - 3_600_000);
    for step in 1..=3 {
        let stamp = fixture.put(ROOM, &[]).await;
        assert_eq!(stamp, Stamp { ms: before.ms, seq: before.seq + step });
    }
    assert_eq!(fixture.put(HALL, &[]).await.ms, START_MS - 3_600_000, "another home's own time");
    fixture.clock.set(START_MS + 10);
    assert_eq!(fixture.put(ROOM, &[]).await.ms, START_MS + 10);
}

pub(super) async fn versions_are_never_reused(fixture: Fixture) {
    let key = note(1);
    let mut versions = HashSet::new();
    for round in 0..12 {
        let stamp = fixture.put(ROOM, &[(&key, "same"), (&note(2), "same")]).await;
        let ver = fixture.entry(&key).await.expect("was put").ver;
        assert_eq!(ver.stamp(), stamp);
        assert!(versions.insert(ver), "round {round}: {ver:?} came back");
        let mut delete = Batch::new("test", HALL);
        delete.deletes.push(key.clone());
        // Without its row, the home counts from the beginning again.
        if round % 3 == 2 {
            delete.deletes.push(Key::home(ROOM));
            fixture.clock.set(START_MS);
        }
        fixture.engine.commit(delete).await.expect("nothing is checked");
    }
}

pub(super) async fn home_row_remembers_its_last_commit(fixture: Fixture) {
    assert_eq!(fixture.entry(&Key::home(ROOM)).await, None);
    let mut message = told(Batch::new("test", ROOM), "event");
    message.marks_message = true;
    fixture.engine.commit(message).await.expect("nothing is checked");
    fixture.clock.advance(50);
    let last = fixture.put(ROOM, &[]).await;
    let row = fixture.entry(&Key::home(ROOM)).await.expect("has commits").home();
    assert_eq!(
        row,
        HomeRow { seq: 2, last_ms: last.ms, last_message_ms: Some(START_MS), last_event_seq: 1 }
    );
    fixture.put(HALL, &[]).await;
    let row = fixture.entry(&Key::home(HALL)).await.expect("has a commit").home();
    assert_eq!((row.seq, row.last_message_ms, row.last_event_seq), (1, None, 0));
}

pub(super) async fn reserved_stamps_are_filled_at_commit(fixture: Fixture) {
    let record = Key::new(&NOTE).uid(ROOM).stamped();
    let index = Key::new(&NOTE_BY_TAG).u8(7).stamped().u8(9);
    let stamp = fixture.put(ROOM, &[(&record, "record"), (&index, "index")]).await;
    let record = fixture.entry(&Key::new(&NOTE).uid(ROOM).stamp(stamp)).await.expect("was put");
    assert_eq!((&record.value[..], record.ver.stamp()), (&b"record"[..], stamp));
    let index = Key::new(&NOTE_BY_TAG).u8(7).stamp(stamp).u8(9);
    let index = fixture.entry(&index).await.expect("was put");
    assert_eq!(index.ver, record.ver);
}

pub(super) async fn published_stamps_increase_and_commits_follow_them(mut fixture: Fixture) {
    let committed = fixture.put(ROOM, &[]).await;
    let mut last_ms = committed.ms;
    for round in 0..5 {
        let events = vec![event(&format!("{round} a")), event(&format!("{round} b"))];
        let stamp = fixture.engine.publish(ROOM, events).await.expect("the sink has room");
        assert_eq!((stamp.seq, stamp.ms), (0, last_ms + 1));
        last_ms = stamp.ms;
        let message = fixture.events.try_recv().expect("publish goes straight to the sink");
        let told: Vec<String> = message[0].events.iter().map(text).collect();
        assert_eq!((message.len(), message[0].stamp, message[0].home), (1, stamp, ROOM));
        assert_eq!(told, [format!("{round} a"), format!("{round} b")]);
    }
    assert_eq!(fixture.put(ROOM, &[]).await, Stamp { ms: last_ms + 1, seq: 2 });
    let row = fixture.entry(&Key::home(ROOM)).await.expect("has commits").home();
    assert_eq!((row.seq, row.last_event_seq), (2, 0), "publish leaves no trace in the home");

    let concurrent = publish_concurrently(&mut fixture).await;
    assert!(concurrent.is_sorted_by(|left, right| left.ms < right.ms), "{concurrent:?}");
}

/// Publishes from many tasks and returns the stamps in the order of the sink.
async fn publish_concurrently(fixture: &mut Fixture) -> Vec<Stamp> {
    let mut tasks = JoinSet::new();
    for _ in 0..32 {
        let engine = Arc::clone(&fixture.engine);
        tasks.spawn(async move { engine.publish(ROOM, vec![event("x")]).await.map(drop) });
    }
    for answer in tasks.join_all().await {
        answer.expect("the sink has room");
    }
    std::iter::from_fn(|| fixture.events.try_recv().ok()).map(|group| group[0].stamp).collect()
}

pub(super) async fn writers_of_one_home_get_one_order(fixture: Fixture) {
    let mut tasks = JoinSet::new();
    for id in 0..64 {
        let engine = Arc::clone(&fixture.engine);
        tasks.spawn(async move { engine.commit(puts(ROOM, &[(&note(id), "row")])).await });
    }
    let answers = tasks.join_all().await;
    let mut stamps: Vec<Stamp> =
        answers.into_iter().map(|answer| answer.expect("nothing is checked")).collect();
    stamps.sort_by_key(|stamp| stamp.seq);
    let seqs: Vec<u64> = stamps.iter().map(|stamp| stamp.seq).collect();
    assert_eq!(seqs, (1..=64).collect::<Vec<u64>>());
    assert!(stamps.is_sorted_by(|left, right| left.ms < right.ms), "{stamps:?}");
}

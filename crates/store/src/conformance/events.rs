//! Rules of events: rows for the durable ones, and the order in which they leave.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Fixture, HALL, ROOM, event, note, puts, text, told};
use crate::engine::{Batch, Check, Committed, Event};
use crate::id::{Uid, Version};
use crate::key::Key;
use crate::range::{Direction, Range};
use crate::table::{EVENT, EVENT_BUCKET_MS, event_key};

pub(super) async fn durable_events_have_a_row_under_their_key(fixture: Fixture) {
    let mut batch = told(Batch::new("test", ROOM), "first");
    batch.events.push(Event { reference: None, ..event("passing") });
    batch.events.push(event("third"));
    let stamp = fixture.engine.commit(batch).await.expect("nothing is checked");
    fixture.clock.advance(EVENT_BUCKET_MS);
    let late = told(Batch::new("test", ROOM), "late");
    let late = fixture.engine.commit(late).await.expect("nothing is checked");

    let all = [Range::prefix(Key::new(&EVENT))];
    let rows = fixture.engine.scan(&all, 10, Direction::Forward, false).await.expect("reads");
    let expected = [
        (event_key(ROOM, stamp, 0), stamp, "first"),
        (event_key(ROOM, stamp, 2), stamp, "third"),
        (event_key(ROOM, late, 0), late, "late"),
    ];
    assert_eq!(rows[0].len(), expected.len());
    for (row, (key, stamp, reference)) in rows[0].iter().zip(expected) {
        assert_eq!((&row.key[..], &row.value[..]), (key.bytes(), reference.as_bytes()));
        assert_eq!(row.ver.stamp(), stamp);
    }
}

pub(super) async fn events_are_in_the_sink_when_the_commit_is_acknowledged(mut fixture: Fixture) {
    for round in 0..5 {
        let stamp = fixture.engine.commit(told(Batch::new("test", ROOM), "event")).await;
        let stamp = stamp.expect("nothing is checked");
        let group = fixture.events.try_recv().expect("the event was sent before the answer");
        assert_eq!((group[0].stamp, group[0].home), (stamp, ROOM), "round {round}");
        assert_eq!(text(&group[0].events[0]), "event");
    }
    fixture.put(ROOM, &[(&note(1), "silent")]).await;
    assert!(fixture.events.try_recv().is_err(), "a batch without events tells nothing");
}

pub(super) async fn sink_order_is_stamp_order_and_nothing_is_lost(mut fixture: Fixture) {
    const TASKS: u8 = 32;
    let homes = [ROOM, HALL, Uid([3; 16])];
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let engine = Arc::clone(&fixture.engine);
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            for round in 0..6_u8 {
                let home = homes[usize::from(task + round) % 3];
                let mut batch = Batch::new("test", home);
                // One in six is refused and one in six tells nothing.
                match (task + round) % 6 {
                    0 => batch = told(puts(home, &[]), "refused"),
                    1 => {}
                    _ => batch = told(batch, &format!("{task}/{round}")),
                }
                if (task + round) % 6 == 0 {
                    batch.checks.push(Check { key: note(0), expect: Some(Version(1)) });
                }
                if let Ok(stamp) = engine.commit(batch).await
                    && (task + round) % 6 > 1
                {
                    acknowledged.push((home, stamp, format!("{task}/{round}")));
                }
            }
            acknowledged
        });
    }
    let acknowledged: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(acknowledged.len(), usize::from(TASKS) * 4);

    let sent: Vec<Committed> =
        std::iter::from_fn(|| fixture.events.try_recv().ok()).flatten().collect();
    let mut last = HashMap::new();
    for committed in &sent {
        let before = last.insert(committed.home, committed.stamp).unwrap_or_default();
        assert!(before < committed.stamp && before.seq < committed.stamp.seq, "{committed:?}");
        assert_eq!(committed.prev_seq, before.seq, "each event names the one before it");
    }
    let told: HashSet<_> = sent
        .iter()
        .map(|committed| (committed.home, committed.stamp, text(&committed.events[0])))
        .collect();
    assert_eq!(told.len(), sent.len(), "each event is in the sink once");
    assert_eq!(told, acknowledged.into_iter().collect());
}

pub(super) async fn engine_works_on_when_the_reader_of_the_sink_is_gone(mut fixture: Fixture) {
    let (_, none) = mpsc::channel(1);
    drop(std::mem::replace(&mut fixture.events, none));
    let told = told(puts(ROOM, &[(&note(1), "row")]), "event");
    let stamp = fixture.engine.commit(told).await.expect("the rows tell what happened");
    assert!(fixture.entry(&note(1)).await.is_some());
    assert!(fixture.entry(&event_key(ROOM, stamp, 0)).await.is_some());
    assert!(fixture.engine.publish(ROOM, vec![event("x")]).await.is_err());
}

//! Transactions on the memory engine: what is checked, what is written, how often the engine is
//! asked.

use std::sync::atomic::AtomicUsize;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::*;
use crate::clock::MockClock;
use crate::engine::{Audience, BoxFuture, Options};
use crate::entropy::SeededEntropy;
use crate::id::Version;
use crate::memory;
use crate::range::{Direction, Range};
use crate::table::Table;

static NOTE: Table = Table { name: "note", kind: Kind::Record, columns: &[] };
static NOTE_BY_TAG: Table = Table { name: "note_by_tag", kind: Kind::Index, columns: &[] };
static TALLY: Table = Table { name: "tally", kind: Kind::Counter, columns: &[] };
const ROOM: Uid = Uid([1; 16]);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    id: u8,
    tags: Vec<u8>,
    #[serde(skip)]
    written: Stamp,
}

impl Note {
    fn new(id: u8, tags: &[u8]) -> Note {
        Note { id, tags: tags.to_vec(), written: Stamp::default() }
    }
}

impl Record for Note {
    const TABLE: &'static Table = &NOTE;

    fn key(&self) -> Key {
        note(self.id)
    }

    fn indexes(&self, out: &mut Vec<Index>) {
        for tag in &self.tags {
            out.push(Index { key: Key::new(&NOTE_BY_TAG).u8(*tag).u8(self.id), value: vec![] });
        }
    }

    fn located(&mut self, _key: &[u8], ver: Version) {
        self.written = ver.stamp();
    }
}

/// A record whose key holds the stamp of its batch.
#[derive(Clone, Serialize, Deserialize)]
struct Line {
    text: String,
}

impl Record for Line {
    const TABLE: &'static Table = &NOTE;

    fn key(&self) -> Key {
        Key::new(&NOTE).uid(ROOM).stamped()
    }

    fn indexes(&self, out: &mut Vec<Index>) {
        out.push(Index { key: Key::new(&NOTE_BY_TAG).stamped(), value: vec![] });
    }
}

fn note(id: u8) -> Key {
    Key::new(&NOTE).u8(id)
}

/// Counts the calls of the memory engine.
struct Counted {
    inner: Arc<dyn Engine>,
    gets: AtomicUsize,
    commits: AtomicUsize,
}

impl Engine for Counted {
    fn get<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Option<Entry>>, Unavailable>> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.inner.get(keys)
    }

    fn scan<'a>(
        &'a self,
        ranges: &'a [Range],
        limit: usize,
        direction: Direction,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Vec<Vec<Entry>>, Unavailable>> {
        self.inner.scan(ranges, limit, direction, keys_only)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Stamp, Failure>> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.inner.commit(batch)
    }

    fn publish(&self, home: Uid, events: Vec<Event>) -> BoxFuture<'_, Result<Stamp, Failure>> {
        self.inner.publish(home, events)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

struct Fixture {
    counted: Arc<Counted>,
    store: Store,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with_sink(None)
    }

    fn with_sink(sink: Option<crate::engine::Sink>) -> Fixture {
        let inner = memory::open(Options {
            tables: vec![&NOTE, &NOTE_BY_TAG, &TALLY],
            clock: Arc::new(MockClock::new(1_000)),
            entropy: Arc::new(SeededEntropy::new(1)),
            sink,
        });
        let (gets, commits) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let counted = Arc::new(Counted { inner, gets, commits });
        let store = Store::new(Arc::<Counted>::clone(&counted));
        Fixture { counted, store }
    }

    fn begin(&self) -> Txn {
        let mut txn = self.store.begin();
        txn.set_home(ROOM);
        txn
    }

    fn gets(&self) -> usize {
        self.counted.gets.load(Ordering::Relaxed)
    }

    /// Puts a note in a transaction of its own.
    async fn put(&self, note: &Note) -> Stamp {
        let mut txn = self.begin();
        txn.get::<Note>(&note.key()).await.expect("reads");
        txn.put(note);
        txn.commit("put").await.expect("nobody interferes").expect("there are writes")
    }

    async fn tags(&self) -> Vec<(Vec<u8>, u64)> {
        let all = Range::prefix(Key::new(&NOTE_BY_TAG));
        let rows = self.store.view().list(&all, 100, Direction::Forward).await.expect("reads");
        rows.into_iter().map(|row| (row.key.to_vec(), row.ver.stamp().seq)).collect()
    }
}

#[tokio::test]
async fn index_rows_follow_the_record_and_unchanged_ones_stay() {
    let fixture = Fixture::new();
    fixture.put(&Note::new(7, &[1, 2])).await;
    assert_eq!(fixture.tags().await, [(vec![1, 7], 1), (vec![2, 7], 1)]);
    fixture.put(&Note::new(7, &[2, 3])).await;
    assert_eq!(fixture.tags().await, [(vec![2, 7], 1), (vec![3, 7], 2)]);

    let mut txn = fixture.begin();
    let found: Note = txn.get(&note(7)).await.expect("reads").expect("was put");
    txn.delete(&found);
    assert!(!txn.exists(&note(7)).await.expect("reads"));
    txn.commit("delete").await.expect("nobody interferes");
    assert_eq!(fixture.tags().await, []);
    assert_eq!(fixture.store.view().get::<Note>(&note(7)).await.expect("reads"), None);
}

#[tokio::test]
async fn several_puts_of_one_record_leave_the_last_and_its_index_rows() {
    let fixture = Fixture::new();
    fixture.put(&Note::new(7, &[1])).await;
    let mut txn = fixture.begin();
    let first: Note = txn.get(&note(7)).await.expect("reads").expect("was put");
    txn.put(&Note { tags: vec![2], ..first.clone() });
    let own: Note = txn.get(&note(7)).await.expect("reads").expect("was put here");
    assert_eq!(own.tags, [2], "reads see the transaction's own puts");
    txn.delete(&own);
    txn.put(&Note { tags: vec![3], ..own });
    txn.commit("change").await.expect("nobody interferes");
    assert_eq!(fixture.tags().await, [(vec![3, 7], 2)]);
}

#[tokio::test]
async fn what_was_got_is_checked_and_what_was_peeked_is_not() {
    let fixture = Fixture::new();
    fixture.put(&Note::new(1, &[])).await;
    for (is_got, conflicts) in [(true, true), (false, false)] {
        let mut txn = fixture.begin();
        if is_got {
            txn.get::<Note>(&note(1)).await.expect("reads");
        } else {
            txn.peek::<Note>(&note(1)).await.expect("reads");
        }
        txn.add(Key::new(&TALLY), 1, None);
        fixture.put(&Note::new(1, &[])).await;
        let outcome = txn.commit("late").await;
        let conflicted = matches!(&outcome, Err(Failure::Conflict(key)) if *key == note(1));
        assert_eq!(conflicted, conflicts, "{outcome:?}");
    }
}

#[tokio::test]
async fn what_was_put_and_not_committed_is_seen_by_nobody_else() {
    let fixture = Fixture::new();
    fixture.put(&Note::new(1, &[1])).await;
    for _ in 0..2 {
        // The second time the record is known.
        let mut given_up = fixture.store.begin_guessing();
        given_up.set_home(ROOM);
        let found: Note = given_up.get(&note(1)).await.expect("reads").expect("was put");
        given_up.put(&Note { tags: vec![2], ..found });
        let own: Note = given_up.get(&note(1)).await.expect("reads").expect("was put");
        assert_eq!(own.tags, [2]);
        drop(given_up);
        let mut other = fixture.store.begin_guessing();
        let seen: Note = other.get(&note(1)).await.expect("reads").expect("was put");
        assert_eq!(seen.tags, [1]);
    }
}

#[tokio::test]
async fn a_known_record_that_was_written_meanwhile_leads_to_a_conflict_and_is_read_anew() {
    let fixture = Fixture::new();
    fixture.put(&Note::new(1, &[1])).await;
    let mut first = fixture.store.begin_fresh();
    first.get::<Note>(&note(1)).await.expect("reads").expect("was put");
    let written = fixture.put(&Note::new(1, &[2])).await;

    let mut late = fixture.store.begin_guessing();
    late.set_home(ROOM);
    let known: Note = late.get(&note(1)).await.expect("reads").expect("was put");
    assert_eq!(known.tags, [1]);
    assert!(late.has_guessed());
    late.add(Key::new(&TALLY), 1, None);
    assert!(matches!(late.commit("late").await, Err(Failure::Conflict(_))));

    for mut txn in [fixture.store.begin_fresh(), fixture.store.begin_guessing()] {
        let found: Note = txn.get(&note(1)).await.expect("reads").expect("was put");
        assert_eq!((found.tags, found.written), (vec![2], written));
    }
}

#[tokio::test]
async fn absence_that_was_read_is_checked() {
    let fixture = Fixture::new();
    let mut txn = fixture.begin();
    assert!(!txn.exists(&note(1)).await.expect("reads"));
    txn.put(&Note::new(1, &[]));
    fixture.put(&Note::new(1, &[])).await;
    assert!(matches!(txn.commit("late").await, Err(Failure::Conflict(_))));
}

#[tokio::test]
async fn loaded_rows_cost_one_call_and_are_checked_when_got() {
    let fixture = Fixture::new();
    fixture.put(&Note::new(1, &[])).await;
    let before = fixture.gets();
    let mut txn = fixture.begin();
    txn.load(&[note(1), note(2), note(1)]).await.expect("reads");
    txn.load(&[note(2)]).await.expect("reads");
    assert!(txn.get::<Note>(&note(1)).await.expect("reads").is_some());
    assert!(txn.peek::<Note>(&note(2)).await.expect("reads").is_none());
    assert_eq!(fixture.gets() - before, 1);
    fixture.put(&Note::new(2, &[])).await;
    txn.add(Key::new(&TALLY), 1, None);
    txn.commit("free").await.expect("only what was got is checked");
}

#[tokio::test]
async fn transaction_without_writes_commits_nothing() {
    let fixture = Fixture::new();
    let mut txn = fixture.store.begin();
    txn.get::<Note>(&note(1)).await.expect("reads");
    assert!(!txn.has_writes());
    assert!(matches!(txn.commit("read").await, Ok(None)));
    assert_eq!(fixture.counted.commits.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn appended_records_and_their_index_rows_hold_the_stamp() {
    let fixture = Fixture::new();
    let mut txn = fixture.begin();
    txn.append(&Line { text: "hello".into() });
    txn.mark_message();
    let stamp = txn.commit("append").await.expect("nobody interferes").expect("there are writes");
    let view = fixture.store.view();
    let key = Key::new(&NOTE).uid(ROOM).stamp(stamp);
    let line: Line = view.get(&key).await.expect("reads").expect("was appended");
    assert_eq!(line.text, "hello");
    assert_eq!(fixture.tags().await, [(stamp.to_bytes().to_vec(), 1)]);
    let home = view.home(ROOM).await.expect("reads").expect("has a commit");
    assert_eq!((home.seq, home.last_message_ms), (stamp.seq, Some(stamp.ms)));
}

#[tokio::test]
async fn records_learn_their_version_when_decoded() {
    let fixture = Fixture::new();
    let stamp = fixture.put(&Note::new(1, &[])).await;
    let view = fixture.store.view();
    let found = view.get_many::<Note>(&[note(1), note(2)]).await.expect("reads");
    assert_eq!(found, [Some(Note { written: stamp, ..Note::new(1, &[]) }), None]);
}

#[tokio::test]
async fn bound_of_a_counter_that_was_peeked_at_is_a_conflict() {
    let fixture = Fixture::new();
    let tally = Key::new(&TALLY);
    for (peeks, room_left) in [(false, 3), (true, 2)] {
        let mut txn = fixture.begin();
        if peeks {
            txn.peek_count(&tally).await.expect("reads");
        }
        let mut other = fixture.begin();
        other.add(tally.clone(), 1, None);
        other.commit("other").await.expect("has no bound");
        txn.add(tally.clone(), room_left + 1, Some(4));
        let refused = txn.commit("full").await.expect_err("the bound is passed");
        match refused {
            Failure::Conflict(key) if peeks => assert_eq!(key, tally),
            Failure::Bound(key) if !peeks => assert_eq!(key, tally),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn raw_rows_counters_and_events_join_the_batch() {
    let (sink, mut events) = mpsc::channel(4);
    let fixture = Fixture::with_sink(Some(sink));
    let mut txn = fixture.begin();
    let row = Key::new(&NOTE_BY_TAG).u8(9);
    txn.put_raw(row.clone(), b"raw".to_vec());
    txn.add(Key::new(&TALLY), 4, Some(4));
    txn.emit(Event { audience: Audience::Internal, body: Arc::new(5_u8), reference: None });
    let stamp = txn.commit("raw").await.expect("nobody interferes");
    let view = fixture.store.view();
    assert_eq!(view.entry(&row).await.expect("reads").map(|row| row.value), Some("raw".into()));
    assert_eq!(view.count(&Key::new(&TALLY)).await.expect("reads"), 4);
    let told = events.try_recv().expect("the event was sent");
    assert_eq!((Some(told[0].stamp), told[0].events[0].body.downcast_ref()), (stamp, Some(&5_u8)));

    let mut txn = fixture.begin();
    assert_eq!(txn.peek_count(&Key::new(&TALLY)).await.expect("reads"), 4);
    txn.delete_raw(row.clone());
    txn.delete_raw(Key::new(&TALLY));
    txn.commit("raw").await.expect("nobody interferes");
    let gone = view.entries(&[row, Key::new(&TALLY)]).await.expect("reads");
    assert_eq!(gone, [None, None]);
}

#[tokio::test]
async fn lists_come_through_the_view_with_and_without_values() {
    let fixture = Fixture::new();
    fixture.put(&Note::new(1, &[])).await;
    fixture.put(&Note::new(2, &[])).await;
    let all = Range::prefix(Key::new(&NOTE));
    let view = fixture.begin().view();
    let rows = view.list(&all, 10, Direction::Backward).await.expect("reads");
    let ids: Vec<u8> = rows.iter().map(|row| row.decode::<Note>().expect("is a note").id).collect();
    assert_eq!(ids, [2, 1]);
    let keys = view.keys(&all, 1, Direction::Forward).await.expect("reads");
    assert_eq!((keys.len(), keys[0].value.len(), &keys[0].key[..]), (1, 0, &[1][..]));
}

#[tokio::test]
async fn unreadable_value_is_unavailable_and_not_absent() {
    let fixture = Fixture::new();
    let mut txn = fixture.begin();
    txn.put_raw(note(1), b"\x09strange".to_vec());
    txn.commit("raw").await.expect("nobody interferes");
    assert!(fixture.begin().get::<Note>(&note(1)).await.is_err());
}

#[tokio::test]
async fn setting_is_made_once_whoever_comes_first() {
    let fixture = Fixture::new();
    let (left, right) = tokio::join!(
        fixture.store.setting("key", || vec![2]),
        fixture.store.setting("key", || vec![1])
    );
    assert_eq!(left.expect("is made"), right.expect("is made"));
    let again = fixture.store.setting("key", || unreachable!("it is there")).await;
    assert_eq!(again.expect("is read"), [2]);
    assert_eq!(fixture.store.setting("other", || vec![3]).await.expect("is made"), [3]);
}

/// Lets another node make the setting between the look and the commit.
struct Race {
    inner: Arc<dyn Engine>,
    is_lost: AtomicBool,
}

impl Engine for Race {
    fn get<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Option<Entry>>, Unavailable>> {
        Box::pin(async move {
            let found = self.inner.get(keys).await;
            if !self.is_lost.swap(true, Ordering::Relaxed) {
                let mut batch = Batch::new("other", Uid::NIL);
                batch.puts.push(Put { key: keys[0].clone(), value: b"theirs".to_vec() });
                self.inner.commit(batch).await.expect("nothing is checked");
            }
            found
        })
    }

    fn scan<'a>(
        &'a self,
        ranges: &'a [Range],
        limit: usize,
        direction: Direction,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Vec<Vec<Entry>>, Unavailable>> {
        self.inner.scan(ranges, limit, direction, keys_only)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Stamp, Failure>> {
        self.inner.commit(batch)
    }

    fn publish(&self, home: Uid, events: Vec<Event>) -> BoxFuture<'_, Result<Stamp, Failure>> {
        self.inner.publish(home, events)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

#[tokio::test]
async fn setting_that_another_node_made_meanwhile_is_taken_over() {
    let fixture = Fixture::new();
    let race = Race { inner: fixture.counted, is_lost: AtomicBool::new(false) };
    let store = Store::new(Arc::new(race));
    let setting = store.setting("key", || b"ours".to_vec()).await;
    assert_eq!(setting.expect("is read"), b"theirs");
}

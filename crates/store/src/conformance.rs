//! The contract of `engine`, as one list of tests that every engine passes.
//!
//! `suite` runs each rule on a fresh engine with a clock that stands still and seeded randomness.
//! Rules say in their name what holds; the modules group them. `races` runs the rules that need two
//! instances on one store, `side_by_side` compares engines with each other. An engine of another
//! crate turns on the feature `conformance` and calls them from tests on a runtime of several
//! threads.

mod batches;
mod counters;
mod events;
mod forgetful;
mod model;
mod races;
mod reads;
mod stamps;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::mpsc;

use crate::clock::MockClock;
use crate::engine::{
    Audience, Batch, BoxFuture, Committed, Engine, Entry, Event, Failure, Options, Put,
};
use crate::entropy::SeededEntropy;
use crate::id::{Stamp, Uid};
use crate::key::Key;
use crate::table::{Kind, Table};

pub use forgetful::Forgetful;
use model::Engines;
use races::Pair;

/// The tables that an engine under test is opened with.
pub static TABLES: [&Table; 3] = [&NOTE, &NOTE_BY_TAG, &TALLY];

static NOTE: Table = Table { name: "note", kind: Kind::Record, columns: &["text", "tag"] };
static NOTE_BY_TAG: Table = Table { name: "note_by_tag", kind: Kind::Index, columns: &[] };
static TALLY: Table = Table { name: "tally", kind: Kind::Counter, columns: &[] };

/// Where the clock of every rule begins.
const START_MS: u64 = 1_700_000_000_000;
/// Room of the sink: more groups than any rule makes, so that only rules that mean to fill it do.
const SINK_GROUPS: usize = 8_192;
const ROOM: Uid = Uid([1; 16]);
const HALL: Uid = Uid([2; 16]);

/// A fresh engine and what it was opened with.
struct Fixture {
    engine: Arc<dyn Engine>,
    clock: Arc<MockClock>,
    events: mpsc::Receiver<Vec<Committed>>,
}

type Rule<F = Fixture> = fn(F) -> BoxFuture<'static, ()>;

macro_rules! rules {
    ($($module:ident: $($rule:ident)*;)*) => {
        [$($((stringify!($rule), (|fixture| Box::pin($module::$rule(fixture))) as Rule<_>),)*)*]
    };
}

/// The rules that have a sink with room for all their events.
const RULES: &[(&str, Rule)] = &rules! {
    batches:
        checked_version_must_match
        absent_check_refuses_a_present_row
        failing_batch_writes_nothing
        deletes_come_before_puts
        home_row_can_be_checked_and_deleted
        batches_against_their_tables_are_refused
        dropped_commit_leaves_the_engine_working;
    counters:
        bounded_adds_stop_exactly_at_the_bound
        adds_never_conflict
        falling_add_passes_a_bound_that_was_lowered
        adds_of_one_batch_are_bounded_together
        deleted_counter_begins_at_zero;
    stamps:
        stamps_increase_with_a_fixed_clock
        stamps_never_go_back_with_the_clock
        versions_are_never_reused
        home_row_remembers_its_last_commit
        reserved_stamps_are_filled_at_commit
        published_stamps_increase_and_commits_follow_them
        writers_of_one_home_get_one_order;
    events:
        durable_events_have_a_row_under_their_key
        events_are_in_the_sink_when_the_commit_is_acknowledged
        sink_order_is_stamp_order_and_nothing_is_lost
        engine_works_on_when_the_reader_of_the_sink_is_gone;
    reads:
        rows_come_in_the_order_of_their_keys_asked
        get_sees_one_snapshot
        scan_sees_whole_batches
        acknowledged_rows_are_read_at_once
        scans_return_what_a_sorted_map_returns
        closed_engine_refuses_work;
    model:
        random_transactions_keep_records_and_indexes_together;
};

/// The rules that begin with a full sink, which holds the committer so that a group forms.
const GROUP_RULES: &[(&str, Rule)] = &rules! {
    batches:
        batches_of_one_group_see_each_other
        failing_batch_leaves_its_neighbours_alone;
    counters:
        bound_counts_the_adds_of_the_group
        floor_is_a_conflict_once_the_sum_has_fallen;
};

/// The rules that begin with two instances on one store.
const RACES: &[(&str, Rule<Pair>)] = &rules! {
    races:
        removed_member_sends_nothing_more
        deleted_parent_gets_nothing_below_it
        banned_user_is_never_a_member
        name_is_taken_once
        quota_is_used_up_exactly
        quota_of_a_missing_counter_is_used_up_exactly
        counters_in_any_order_never_deadlock
        homes_held_in_any_order_never_deadlock
        what_was_held_in_vain_leaves_no_trace
        writers_on_both_sides_get_one_order
        versions_never_come_back_on_either_side
        acknowledged_rows_are_read_on_the_other_side
        reads_see_whole_batches_of_the_other_side;
};

/// Runs every rule on an engine of its own, made by `make`, and panics at the first that fails.
pub async fn suite(make: impl AsyncFn(Options) -> Arc<dyn Engine>) {
    for (rules, room) in [(RULES, SINK_GROUPS), (GROUP_RULES, 1)] {
        for (name, rule) in rules {
            // Shown by the test harness when a rule fails.
            eprintln!("rule: {name}");
            let (sink, events) = mpsc::channel(room);
            let clock = Arc::new(MockClock::new(START_MS));
            let engine = make(options(&clock, Some(sink), 1)).await;
            rule(Fixture { engine, clock, events }).await;
        }
    }
    side_by_side(async |options| vec![("engine", make(options).await)]).await;
}

/// Runs every race on a store of its own. `make` opens it twice or, where one process may open it
/// once only, returns the same engine twice.
pub async fn races(make: impl AsyncFn([Options; 2]) -> [Arc<dyn Engine>; 2]) {
    for (name, race) in RACES {
        eprintln!("race: {name}");
        let clock = Arc::new(MockClock::new(START_MS));
        let (left_sink, left_events) = mpsc::channel(SINK_GROUPS);
        let (right_sink, right_events) = mpsc::channel(SINK_GROUPS);
        let both = [options(&clock, Some(left_sink), 1), options(&clock, Some(right_sink), 2)];
        let [left, right] = make(both).await;
        race(Pair { left, right, clock, _events: [left_events, right_events] }).await;
    }
}

/// Commits random batches on engines side by side and panics when one answers unlike a plain map.
/// `make` returns fresh engines, each with a name.
pub async fn side_by_side(make: impl AsyncFn(Options) -> Vec<(&'static str, Arc<dyn Engine>)>) {
    let compared = model::batches(async || {
        let clock = Arc::new(MockClock::new(START_MS));
        let named = make(options(&clock, None, 1)).await;
        Engines { clock, named }
    });
    compared.await.expect("every engine answers like the model");
}

fn options(
    clock: &Arc<MockClock>,
    sink: Option<mpsc::Sender<Vec<Committed>>>,
    seed: u64,
) -> Options {
    let entropy = Arc::new(SeededEntropy::new(seed));
    Options { tables: TABLES.to_vec(), clock: Arc::<MockClock>::clone(clock), entropy, sink }
}

impl Fixture {
    async fn entry(&self, key: &Key) -> Option<Entry> {
        entry(self.engine.as_ref(), key).await
    }

    /// Commits one batch of puts without checks.
    async fn put(&self, home: Uid, rows: &[(&Key, &str)]) -> Stamp {
        self.engine.commit(puts(home, rows)).await.expect("nothing is checked")
    }

    /// Makes the engine judge batches as one group, if it makes groups at all, and returns their
    /// answers. The sink has room for one message: the first commit takes it, the second holds the
    /// committer, and the batches wait until the sink is read.
    async fn commit_grouped(&mut self, batches: Vec<Batch>) -> Vec<Result<Stamp, Failure>> {
        let engine = Arc::clone(&self.engine);
        let commit = |batch| engine.commit(batch);
        commit(told(puts(HALL, &[]), "first")).await.expect("the sink has room");
        let mut held = commit(told(puts(HALL, &[]), "held"));
        let mut waiting: Vec<_> = batches.into_iter().map(commit).collect();
        poll_fn(|cx| {
            assert!(held.as_mut().poll(cx).is_pending(), "a full sink holds the committer");
            for commit in &mut waiting {
                assert!(commit.as_mut().poll(cx).is_pending(), "and what comes after it");
            }
            Poll::Ready(())
        })
        .await;
        let (_, none) = mpsc::channel(1);
        let mut events = std::mem::replace(&mut self.events, none);
        let drain = tokio::spawn(async move { while events.recv().await.is_some() {} });
        held.await.expect("nothing is checked");
        let mut answers = Vec::new();
        for commit in waiting {
            answers.push(commit.await);
        }
        drain.abort();
        answers
    }
}

async fn entry(engine: &dyn Engine, key: &Key) -> Option<Entry> {
    let found = engine.get(std::slice::from_ref(key)).await.expect("reads do not fail");
    found.into_iter().next().flatten()
}

async fn count(engine: &dyn Engine, key: &Key) -> i64 {
    entry(engine, key).await.map_or(0, |entry| entry.count())
}

fn puts(home: Uid, rows: &[(&Key, &str)]) -> Batch {
    let mut batch = Batch::new("test", home);
    let put =
        |(key, value): &(&Key, &str)| Put { key: (*key).clone(), value: value.as_bytes().into() };
    batch.puts = rows.iter().map(put).collect();
    batch
}

/// Gives a batch a durable event that can be told from others by its text.
fn told(mut batch: Batch, text: &str) -> Batch {
    batch.events.push(event(text));
    batch
}

fn event(text: &str) -> Event {
    Event {
        audience: Audience::Members(ROOM),
        body: Arc::new(text.to_owned()),
        reference: Some(text.as_bytes().to_vec()),
    }
}

fn text(event: &Event) -> String {
    event.body.downcast_ref::<String>().expect("tests tell texts").clone()
}

fn note(id: u32) -> Key {
    Key::new(&NOTE).u32(id)
}

fn tally(id: u32) -> Key {
    Key::new(&TALLY).u32(id)
}

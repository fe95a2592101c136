//! A committer lane: a task with a connection, which commits the batches of its homes in groups.
//!
//! It takes one batch, then whatever else waits, up to the caps: two round trips a group, then the
//! events, then the answers. A home belongs to one lane of a node, so its events leave in the
//! order of its commits; lanes and nodes meet only in the locks of `held`. Invariants: a group is
//! acknowledged only when every statement of it and COMMIT succeeded, or when its own id is found
//! in the database; a lane begins no group while the outcome of the last one is open, and lets
//! nobody wait long for that but the callers of that group.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_postgres::Error;
use tokio_postgres::error::{Severity, SqlState};

use crate::engine::{Batch, Committed, Failure, GroupNumber, Options, Unavailable};
use crate::figures::Tally;
use crate::group::{self, Judged, Needs, RowWrite, Source};
use crate::id::{Stamp, Uid, Version};
use crate::key::Key;
use crate::postgres::connect::Connector;
use crate::postgres::group_row;
use crate::postgres::held;
use crate::postgres::schema::LANE;
use crate::postgres::session::Session;
use crate::postgres::{Config, Counts};
use crate::publish::Publisher;
use crate::queue::Queue;

/// A round trip may wait for a lock as often as it names tables; longer than this is a silence.
const TRIP_TIMEOUT: Duration = Duration::from_secs(8);
/// Tries of a group that met a deadlock, a lock that was held long, or a lost connection.
const TRIES_MAX: usize = 5;
/// After this time a group is not tried again.
const GROUP_TIME_MAX: Duration = Duration::from_secs(8);
/// The part of `Config::settle_time_max` for which what queues up behind a lost COMMIT waits too:
/// half a second, unless it is told otherwise.
const QUEUE_PART_OF_SETTLE_TIME: u32 = 16;
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

/// Everything that the task owns.
pub(super) struct Lane {
    /// The key of the lane's row.
    uid: Uid,
    /// Its place among the lanes of the node.
    index: u8,
    /// The node, where others are told of its groups.
    node: Option<Uid>,
    /// The number of the last group that they are told of.
    group_number: u64,
    queue: Arc<Queue>,
    publisher: Arc<Publisher>,
    options: Options,
    counts: Arc<Counts>,
    settle_time_max: Duration,
    tally: Arc<Tally>,
    connector: Arc<Connector>,
    session: Option<Session>,
    /// Dropped when the lane has ended.
    _done: watch::Sender<()>,
}

/// A group whose COMMIT was sent and not answered.
struct Open {
    /// The row that the group wrote if it was committed, and its version.
    key: Key,
    id: Version,
    homes: Needs,
    judged: Judged,
    cause: Unavailable,
}

/// Why a group was not committed.
enum Broken {
    /// Nothing is written, and the same may pass when tried again.
    Again(Error),
    /// Nothing is written.
    Undone(Unavailable),
    /// It may be written or not.
    Open(Box<Open>),
}

type Answer = oneshot::Sender<Result<Stamp, Failure>>;

/// Closes the queue however the task ends, so that no caller waits for an answer in vain.
struct Abandon(Arc<Queue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Lane {
    /// `place` is the lane's place among those of the node, and its queue.
    pub(super) fn new(
        place: (u8, Arc<Queue>),
        publisher: Arc<Publisher>,
        options: Options,
        config: &Config,
        connector: Arc<Connector>,
        tally: Arc<Tally>,
        done: watch::Sender<()>,
    ) -> Lane {
        let uid = Uid::random(options.entropy.as_ref());
        let (index, queue) = place;
        let (counts, settle_time_max) = (Arc::clone(&config.counts), config.settle_time_max);
        Lane {
            uid,
            index,
            node: config.node,
            group_number: 0,
            queue,
            publisher,
            options,
            counts,
            settle_time_max,
            tally,
            connector,
            session: None,
            _done: done,
        }
    }

    /// Commits groups until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        let _abandon = Abandon(Arc::clone(&self.queue));
        while let Some(jobs) = self.queue.next().await {
            let jobs = jobs.into_iter().map(|job| (job.batch, job.answer));
            let (group, answers): (Vec<Batch>, Vec<Answer>) = jobs.unzip();
            let begun = Instant::now();
            let outcome = self.commit(&group).await;
            if outcome.is_ok() {
                self.tally.note(group.len(), begun.elapsed());
            }
            match outcome {
                Ok(judged) => self.acknowledge(judged, answers).await,
                Err(Broken::Again(cause)) => refuse(answers, &unwritable(cause)),
                Err(Broken::Undone(cause)) => refuse(answers, &Failure::Unavailable(cause)),
                Err(Broken::Open(open)) => self.settle(*open, answers).await,
            }
        }
    }

    async fn acknowledge(&mut self, judged: Judged, answers: Vec<Answer>) {
        self.tell(judged.committed).await;
        for (answer, outcome) in answers.into_iter().zip(judged.answers) {
            reply(answer, outcome);
        }
    }

    async fn tell(&mut self, committed: Vec<Committed>) {
        if let Some(group) = committed.first().and_then(|first| first.group) {
            self.group_number = group.number;
        }
        let sink = if committed.is_empty() { None } else { self.publisher.sink() };
        if let Some(sink) = sink {
            // A reader that is gone cannot be told; what must not be lost is an event row.
            sink.send(committed).await.unwrap_or_default();
        }
    }

    /// Runs a group's transaction, again if another one was in its way.
    async fn commit(&mut self, group: &[Batch]) -> Result<Judged, Broken> {
        let begin = Instant::now();
        let mut tries = 1;
        loop {
            let outcome = self.attempt(group).await;
            let may_go_on = tries < TRIES_MAX && begin.elapsed() < GROUP_TIME_MAX;
            if !matches!(outcome, Err(Broken::Again(_))) || !may_go_on {
                return outcome;
            }
            tries += 1;
            self.counts.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn attempt(&mut self, group: &[Batch]) -> Result<Judged, Broken> {
        let session = match self.session.take().filter(|session| !session.is_closed()) {
            Some(session) => session,
            None => self.connector.connect().await.map_err(Broken::Undone)?,
        };
        let needs = group::needs(group);
        let mut held = match timeout(TRIP_TIMEOUT, held::hold(&session, group, &needs)).await {
            Ok(Ok(held)) => held,
            Ok(Err(cause)) => return Err(self.undo(session, cause).await),
            Err(_) => return Err(Broken::Undone(silent())),
        };
        let source = Source {
            clock: self.options.clock.as_ref(),
            entropy: self.options.entropy.as_ref(),
            marks: &self.publisher.marks,
        };
        let mut judged = group::judge(group.to_vec(), held.take_loaded(), &source);
        if !judged.has_writes() {
            self.roll_back(session).await;
            return Ok(judged);
        }
        let (key, id) = self.sign(&mut judged);
        let answers = match timeout(TRIP_TIMEOUT, held.write(&session, &judged.writes)).await {
            Ok(Ok(answers)) => answers,
            // A statement could not be prepared; nothing was sent.
            Ok(Err(cause)) => return Err(self.undo(session, cause).await),
            Err(_) => return Err(opened((key, id), needs, judged, silent())),
        };
        let Some(cause) = answers.into_iter().find_map(Result::err) else {
            self.session = Some(session);
            return Ok(judged);
        };
        // A refused statement turns the COMMIT behind it into a rollback. Nothing else is certain.
        if is_refusal(&cause) {
            return Err(self.undo(session, cause).await);
        }
        let cause = Unavailable::caused("the connection was lost while committing", cause);
        Err(opened((key, id), needs, judged, cause))
    }

    /// Adds the row that tells that this group was committed: one that says what it wrote, where
    /// other nodes are to hear of it, and otherwise the lane's own.
    fn sign(&self, judged: &mut Judged) -> (Key, Version) {
        let mut bytes = [0; 16];
        self.options.entropy.fill(&mut bytes);
        let ver = Version(u128::from_be_bytes(bytes));
        let (key, value) = match self.node.filter(|_| !judged.committed.is_empty()) {
            Some(node) => {
                // Only a group that is committed uses its number up.
                let group = GroupNumber { lane: self.index, number: self.group_number + 1 };
                for committed in &mut judged.committed {
                    committed.group = Some(group);
                }
                (group_row::key(node, group), group_row::value(&judged.committed))
            }
            None => {
                let now_ms = self.options.clock.now_ms();
                (Key::new(&LANE).uid(self.uid), now_ms.to_be_bytes().to_vec())
            }
        };
        judged.writes.rows.insert(key.clone(), RowWrite::Put { value, ver });
        (key, ver)
    }

    /// Ends a transaction that failed before its COMMIT could take effect.
    async fn undo(&mut self, session: Session, cause: Error) -> Broken {
        if is_in_the_way(&cause) {
            self.roll_back(session).await;
            return Broken::Again(cause);
        }
        // Whatever else the matter is, another connection shows whether it lasts.
        drop(session);
        if is_lost(&cause) { Broken::Again(cause) } else { Broken::Undone(unwritten(cause)) }
    }

    /// Rolls back, and keeps the connection if that succeeds.
    async fn roll_back(&mut self, session: Session) {
        let rollback = timeout(TRIP_TIMEOUT, session.client().batch_execute("ROLLBACK")).await;
        if matches!(rollback, Ok(Ok(()))) {
            self.session = Some(session);
        }
    }

    /// Finds out about a lost COMMIT, however long that takes. Its callers wait for a bounded time.
    async fn settle(&mut self, open: Open, answers: Vec<Answer>) {
        self.counts.lost_commits.fetch_add(1, Ordering::Relaxed);
        match self.outcome_in_time(&open).await {
            Some(true) => self.acknowledge(open.judged, answers).await,
            Some(false) => refuse(answers, &Failure::Unavailable(open.cause)),
            None => {
                refuse(answers, &Failure::Unknown(open.cause.clone()));
                let is_committed = tokio::select! {
                    is_committed = self.outcome(&open) => is_committed,
                    // A lane that ends leaves the outcome to whoever asks the database.
                    () = self.refuse_all(&open.cause) => false,
                };
                if is_committed {
                    self.tell(open.judged.committed).await;
                }
            }
        }
    }

    /// Waits for the outcome as long as callers may. What queues up behind them waits a while, as
    /// a connection that broke alone is soon replaced; then it is refused.
    async fn outcome_in_time(&self, open: &Open) -> Option<bool> {
        let mut outcome = pin!(timeout(self.settle_time_max, self.outcome(open)));
        let patience = self.settle_time_max / QUEUE_PART_OF_SETTLE_TIME;
        if let Ok(found) = timeout(patience, &mut outcome).await {
            return found.ok();
        }
        let refused = async {
            self.refuse_all(&open.cause).await;
            pending().await
        };
        tokio::select! {
            found = outcome => found.ok(),
            never = refused => never,
        }
    }

    /// Refuses what is queued and what arrives, until the queue is closed and empty.
    async fn refuse_all(&self, cause: &Unavailable) {
        while let Some(jobs) = self.queue.next().await {
            let answers = jobs.into_iter().map(|job| job.answer).collect();
            refuse(answers, &Failure::Unavailable(cause.clone()));
        }
    }

    /// Asks until the outcome of an open group is known.
    async fn outcome(&self, open: &Open) -> bool {
        loop {
            if let Some(is_committed) = self.look_for(open).await {
                return is_committed;
            }
            tokio::time::sleep(SETTLE_PAUSE).await;
        }
    }

    /// Tells whether an open group was committed; none if that cannot be told yet. Holding its
    /// homes waits for the end of its transaction, if the server still has it: what is not
    /// committed then never will be.
    async fn look_for(&self, open: &Open) -> Option<bool> {
        let session = self.connector.connect().await.ok()?;
        let mut needs = Needs { homes: open.homes.homes.clone(), ..Needs::default() };
        needs.versions.insert(open.key.clone());
        let held = timeout(TRIP_TIMEOUT, held::hold(&session, &[], &needs)).await.ok()?;
        let found = held.ok()?.take_loaded().versions.get(&open.key) == Some(&open.id);
        // What is left of this transaction ends with its connection.
        Some(found)
    }
}

fn opened((key, id): (Key, Version), homes: Needs, judged: Judged, cause: Unavailable) -> Broken {
    Broken::Open(Box::new(Open { key, id, homes, judged, cause }))
}

/// Answers a caller; one that went away is no concern of the group.
fn reply(answer: Answer, outcome: Result<Stamp, Failure>) {
    answer.send(outcome).unwrap_or_default();
}

fn refuse(answers: Vec<Answer>, failure: &Failure) {
    for answer in answers {
        reply(answer, Err(failure.clone()));
    }
}

fn silent() -> Unavailable {
    Unavailable::new("the database does not answer")
}

fn unwritten(cause: Error) -> Unavailable {
    Unavailable::caused("the database cannot be written", cause)
}

fn unwritable(cause: Error) -> Failure {
    Failure::Unavailable(unwritten(cause))
}

/// Tells whether the server refused a statement and the connection goes on.
fn is_refusal(cause: &Error) -> bool {
    let severity = cause.as_db_error().and_then(|refusal| refusal.parsed_severity());
    severity == Some(Severity::Error)
}

/// Tells whether the connection is of no more use.
pub(super) fn is_lost(cause: &Error) -> bool {
    let severity = cause.as_db_error().and_then(|refusal| refusal.parsed_severity());
    cause.is_closed() || matches!(severity, Some(Severity::Fatal | Severity::Panic))
}

/// Tells whether another transaction was in the way.
fn is_in_the_way(cause: &Error) -> bool {
    let codes = [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::LOCK_NOT_AVAILABLE,
    ];
    is_refusal(cause) && cause.code().is_some_and(|code| codes.contains(code))
}

//! Work that is left for later: what lies below a deleted resource, what expires, members of elastic
//! channels that are moved, and rows that leave by time.
//!
//! Invariants: the batch that deletes a resource puts its purge job, so nothing below a deleted uid
//! is forgotten; a job acts for one uid and cannot touch a successor under the same name. Jobs of
//! one uid and time share a row, where its purge takes the place of any other. A step is one batch
//! that checks and rewrites the job's row, so it happens once on any number of nodes. A job that
//! has more to do goes to the end of the line; its last step removes its row.

mod backlog;
mod balance;
mod expire;
mod purge;
mod retain;
mod sweep;

use serde::{Deserialize, Serialize};
use store::{BoxFuture, Direction, Failure, Key, Kind, Priority, Range, Record, Table, Txn, Uid};

use crate::Chat;
use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch;
use crate::error::Result;
use crate::identity::app_instance_user::AppInstanceUser;
use crate::limits::{self, Quotas};
use crate::messaging::channel::Channel;
use balance::{Balance, Cursor};
use retain::Pass;

pub use backlog::Backlog;

/// Key: when it is due, whose job it is. The row belongs to the home of the uid.
pub(crate) static JOB: Table =
    Table { name: "job", kind: Kind::Record, columns: &["task", "due_ms"] };

/// What a job does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Removes everything below a deleted resource.
    Purge(Doomed),
    /// Deletes a resource when its days are over.
    Expire(Expiring),
    /// Removes messages that are past the retention of their app instance.
    Retain(Pass),
    /// Moves members of an elastic channel into or out of a sub-channel, whose job it is.
    Balance(Balance),
}

/// What may expire, as its record is found. The uid of the job tells whether it is still the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Expiring {
    Channel { app_instance: Uid, id: String },
    AppInstanceUser { app_instance: Uid, id: String },
}

impl Expiring {
    fn record_key(&self) -> Key {
        match self {
            Self::Channel { app_instance, id } => Channel::key_of(*app_instance, id),
            Self::AppInstanceUser { app_instance, id } => {
                AppInstanceUser::key_of(*app_instance, id)
            }
        }
    }
}

/// What was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Doomed {
    AppInstance,
    AppInstanceUser {
        /// Where his channels are looked up.
        app_instance: Uid,
    },
    AppInstanceBot {
        /// Where its channels are looked up.
        app_instance: Uid,
    },
    Channel,
    SubChannel,
    ChannelFlow,
}

/// One piece of work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    uid: Uid,
    task: Task,
    due_ms: i64,
}

impl Proof for Job {
    fn refers_to(&self) -> Vec<Uid> {
        Vec::new()
    }

    fn beside(&self) -> Vec<Key> {
        match &self.task {
            Task::Expire(expiring) => vec![expiring.record_key()],
            // The app instance or channel of the latter may have been deleted since.
            Task::Purge(_) | Task::Retain(_) | Task::Balance(_) => Vec::new(),
        }
    }

    /// A purge alone excuses what is left of a uid.
    fn uid(&self) -> Option<Uid> {
        matches!(self.task, Task::Purge(_)).then_some(self.uid)
    }
}

impl Record for Job {
    const TABLE: &'static Table = &JOB;

    fn key(&self) -> Key {
        key_of(self.due_ms, self.uid)
    }
}

/// Returns the key of the job of `uid` that is due then.
pub(crate) fn key_of(due_ms: i64, uid: Uid) -> Key {
    due_key(due_ms).uid(uid)
}

fn due_key(due_ms: i64) -> Key {
    Key::new(&JOB).u64(u64::try_from(due_ms).unwrap_or(0))
}

/// The jobs that are due at `now_ms`, the oldest first.
fn due(now_ms: i64) -> Range {
    Range::prefix(Key::new(&JOB)).before(due_key(now_ms.saturating_add(1)))
}

/// Puts the job that purges everything below `uid`, which this transaction deletes.
pub(crate) fn purge(cx: &Cx, tx: &mut Txn, doomed: Doomed, uid: Uid) {
    put(tx, &Job { uid, task: Task::Purge(doomed), due_ms: cx.now_ms });
}

/// Puts the job that judges at `due_ms` whether a resource has expired.
pub(crate) fn expire(tx: &mut Txn, uid: Uid, expiring: Expiring, due_ms: i64) {
    put(tx, &Job { uid, task: Task::Expire(expiring), due_ms });
}

/// Puts the job that enforces the retention of an app instance from `due_ms` on.
pub(crate) fn retain(tx: &mut Txn, app_instance: Uid, due_ms: i64) {
    put(tx, &Job { uid: app_instance, task: Task::Retain(Pass::default()), due_ms });
}

/// Puts the job that moves members into a new sub-channel of an elastic channel.
pub(crate) fn balance(cx: &Cx, tx: &mut Txn, channel: &Channel, sub_channel: Uid) {
    put_balance(tx, channel, sub_channel, cx.now_ms);
}

/// Puts the job that judges a sub-channel from which members go: one job for all who go in a moment.
pub(crate) fn judge_later(cx: &Cx, tx: &mut Txn, channel: &Channel, sub_channel: Uid) {
    put_balance(tx, channel, sub_channel, slot_ms(cx.now_ms, limits::BALANCE_DELAY_MS));
}

fn put_balance(tx: &mut Txn, channel: &Channel, sub_channel: Uid, due_ms: i64) {
    let balance = Balance {
        app_instance: channel.app_instance,
        channel: channel.uid,
        channel_id: channel.id.clone(),
        cursor: Cursor::default(),
    };
    put(tx, &Job { uid: sub_channel, task: Task::Balance(balance), due_ms });
}

/// Returns the next time that is a multiple of `every_ms`: jobs of one uid that are put until then
/// are one.
fn slot_ms(now_ms: i64, every_ms: i64) -> i64 {
    (now_ms / every_ms + 1).saturating_mul(every_ms)
}

fn put(tx: &mut Txn, job: &Job) {
    tx.put_raw(job.key(), store::codec::encode(job));
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One batch was committed.
    Worked,
    /// Somebody else changed the rows first, so nothing was written; the next step reads afresh.
    Overtaken,
    /// Nothing is due.
    Idle,
}

/// Whether a job has more to do than its step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    More,
}

impl Chat {
    /// Does one step of the first job that is due.
    ///
    /// # Errors
    /// When the store does not answer or a row cannot be read; the job is tried again later.
    #[must_use]
    pub fn run_job_step(&self) -> BoxFuture<'_, std::result::Result<Step, wire::Error>> {
        Box::pin(async { Ok(self.job_step().await?) })
    }

    /// Removes one batch of rows whose time is over.
    ///
    /// # Errors
    /// When the store does not answer.
    #[must_use]
    pub fn run_sweep_step(&self) -> BoxFuture<'_, std::result::Result<Step, wire::Error>> {
        Box::pin(async { Ok(self.sweep_step().await?) })
    }

    async fn job_step(&self) -> Result<Step> {
        let now_ms = self.nobodys_cx(String::new()).now_ms;
        let first = self.0.store.view().list(&due(now_ms), 1, Direction::Forward).await?.pop();
        let Some(first) = first else { return Ok(Step::Idle) };
        let job: Job = first.decode()?;
        let outcome = self.step_of(&job).await;
        if outcome.is_err() {
            self.postpone(&job).await;
        }
        outcome
    }

    async fn step_of(&self, job: &Job) -> Result<Step> {
        match self.prepare(job).await? {
            Some(tx) => commit(tx, "job_step").await,
            None => Ok(Step::Overtaken),
        }
    }

    /// Reads what the next step of `job` changes; nothing when the job is no longer there.
    pub(crate) async fn prepare(&self, job: &Job) -> Result<Option<Txn>> {
        let mut tx = self.begin_low();
        // The job is read before the lists, so that a step which comes in between is a conflict. What
        // stands there may have changed since it was found due.
        let Some(job) = tx.get::<Job>(&job.key()).await? else { return Ok(None) };
        let (cx, view) = (self.nobodys_cx(String::new()), self.0.store.view());
        match &job.task {
            Task::Purge(doomed) => {
                tx.hold(job.uid);
                let left = purge::step(&cx, &view, &mut tx, *doomed, job.uid).await?;
                tx.delete(&job);
                if left == Left::More {
                    put(&mut tx, &Job { due_ms: cx.now_ms, ..job });
                }
            }
            Task::Expire(expiring) => expire::step(&cx, &mut tx, &job, expiring).await?,
            Task::Retain(pass) => retain::step(&cx, &view, &mut tx, &job, pass).await?,
            Task::Balance(balance) => {
                balance::step(&cx, &view, &mut tx, &job, balance).await?;
            }
        }
        Ok(Some(tx))
    }

    /// Lets a job rest whose step failed. That the store is away is no reason to say so twice.
    async fn postpone(&self, job: &Job) {
        let rested = async {
            let mut tx = self.begin_low();
            if let Some(job) = tx.get::<Job>(&job.key()).await? {
                let due_ms = self.nobodys_cx(String::new()).now_ms + limits::JOB_RETRY_MS;
                if let Task::Expire(expiring) = &job.task {
                    expire::postpone(&mut tx, &job, expiring, due_ms).await?;
                } else {
                    tx.set_home(job.uid);
                    tx.delete(&job);
                    put(&mut tx, &Job { due_ms, ..job });
                }
            }
            commit(tx, "job_rest").await
        };
        if let Err(error) = rested.await {
            tracing::debug!(%error, "a job that failed is not put off");
        }
    }

    async fn sweep_step(&self) -> Result<Step> {
        let mut tx = self.begin_low();
        let cx = self.nobodys_cx(String::new());
        match sweep::step(&cx, &self.0.store.view(), &mut tx).await? {
            0 => Ok(Step::Idle),
            _ => commit(tx, "sweep_step").await,
        }
    }

    fn begin_low(&self) -> Txn {
        let mut tx = self.0.store.begin();
        tx.set_priority(Priority::Low);
        tx
    }
}

pub(crate) async fn commit(tx: Txn, name: &'static str) -> Result<Step> {
    match tx.commit(name).await {
        Ok(_) => Ok(Step::Worked),
        Err(Failure::Conflict(_)) => Ok(Step::Overtaken),
        // A job takes no place but the one that it has read to be free, so that no quota is ever in
        // its way.
        Err(failure) => Err(dispatch::refused(failure, &Quotas::default())),
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! The step of an expiry: it judges a channel or a user whose job is due, and deletes it as a request
//! would.
//!
//! Invariants: what is due is reckoned again from the record and, for a channel, from its last
//! message; both are checked by the commit, so that a message or other settings that come at the
//! same moment count. A job whose record is gone or names another job touches nothing but its row.

use store::{HomeRow, Key, Record, Txn, Uid};

use crate::cx::Cx;
use crate::error::Result;
use crate::expiration::{self, Expires};
use crate::identity::app_instance::AppInstance;
use crate::identity::app_instance_user::{self, AppInstanceUser};
use crate::job::{Expiring, Job};
use crate::messaging::channel::{self, Channel};
use crate::messaging::sub_channel::{self, SubChannelList};

/// Fills `tx` with what becomes of the resource whose job was got.
pub(super) async fn step(cx: &Cx, tx: &mut Txn, job: &Job, expiring: &Expiring) -> Result<()> {
    match expiring {
        Expiring::Channel { app_instance, id } => {
            let key = Channel::key_of(*app_instance, id);
            match found(tx, job, &key).await? {
                Some(channel) => of_channel(cx, tx, channel).await,
                None => Ok(()),
            }
        }
        Expiring::AppInstanceUser { app_instance, id } => {
            let key = AppInstanceUser::key_of(*app_instance, id);
            match found(tx, job, &key).await? {
                Some(user) => of_user(cx, tx, user).await,
                None => Ok(()),
            }
        }
    }
}

async fn of_channel(cx: &Cx, tx: &mut Txn, mut channel: Channel) -> Result<()> {
    // A message that is sent meanwhile makes this commit a conflict.
    let homes = sub_channel::homes(tx, &channel).await?;
    let homes: Vec<Key> = homes.into_iter().map(Key::home).collect();
    tx.load(&homes).await?;
    let mut last: Option<HomeRow> = None;
    for key in &homes {
        let home = tx.get_entry(key).await?.map(|home| home.home());
        last = last.into_iter().chain(home).max_by_key(|home| home.last_message_ms);
    }
    // A sub-channel that balancing removed took its messages with it.
    let list = SubChannelList::of(tx, &channel).await?;
    if let Some(gone_ms) = list.and_then(|list| list.gone_message_ms) {
        let last = last.get_or_insert_default();
        last.last_message_ms = last.last_message_ms.max(Some(gone_ms));
    }
    let due_ms = channel.due_ms(last.as_ref());
    if due_ms > cx.now_ms {
        rest(tx, &mut channel, due_ms);
        return Ok(());
    }
    if tx.exists(&AppInstance::key_of(channel.app_instance)).await? {
        return channel::delete(cx, tx, &channel).await;
    }
    // Nobody is left to be told.
    tx.set_home(channel.uid);
    channel::remove(cx, tx, &channel).await
}

async fn of_user(cx: &Cx, tx: &mut Txn, mut user: AppInstanceUser) -> Result<()> {
    let due_ms = user.due_ms();
    if due_ms > cx.now_ms {
        rest(tx, &mut user, due_ms);
        return Ok(());
    }
    app_instance_user::delete(cx, tx, &user).await
}

/// Returns the record whose job this is; where there is none, the job's row goes.
async fn found<R: Expires>(tx: &mut Txn, job: &Job, key: &Key) -> Result<Option<R>> {
    if let Some(mut record) = tx.get::<R>(key).await?
        && record.expiring().0 == job.uid
        && let Some(expiration) = record.expiration()
        && (expiration.job_key(job.uid) == job.key()
            || !tx.exists(&expiration.job_key(job.uid)).await?)
    {
        tx.delete_raw(job.key());
        return Ok(Some(record));
    }
    // The home of what is gone must not come back.
    tx.set_home(Uid::NIL);
    tx.delete_raw(job.key());
    Ok(None)
}

fn rest(tx: &mut Txn, record: &mut impl Expires, judged_ms: i64) {
    tx.set_home(record.expiring().0);
    expiration::move_to(tx, record, judged_ms);
    tx.put(record);
}

/// Lets a job rest whose step failed, and its record with it if that can be read.
pub(super) async fn postpone(
    tx: &mut Txn,
    job: &Job,
    expiring: &Expiring,
    judged_ms: i64,
) -> Result<()> {
    match expiring {
        Expiring::Channel { app_instance, id } => {
            let key = Channel::key_of(*app_instance, id);
            postpone_record::<Channel>(tx, job, expiring, &key, judged_ms).await
        }
        Expiring::AppInstanceUser { app_instance, id } => {
            let key = AppInstanceUser::key_of(*app_instance, id);
            postpone_record::<AppInstanceUser>(tx, job, expiring, &key, judged_ms).await
        }
    }
}

async fn postpone_record<R: Expires>(
    tx: &mut Txn,
    job: &Job,
    expiring: &Expiring,
    key: &Key,
    judged_ms: i64,
) -> Result<()> {
    tx.set_home(job.uid);
    match found::<R>(tx, job, key).await {
        Ok(Some(mut record)) => rest(tx, &mut record, judged_ms),
        Ok(None) => {}
        Err(_) => {
            tx.delete_raw(job.key());
            super::expire(tx, job.uid, expiring.clone(), judged_ms);
        }
    }
    Ok(())
}

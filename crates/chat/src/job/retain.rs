//! The steps of retention: messages of an app instance that are past their period and its grace.
//!
//! Invariants: an app instance whose retention was ever set has one job, which rests between two
//! passes through its channels; what a step removes is hidden from every request already, and stays
//! so whatever the settings become. A step removes messages of one channel below that channel's
//! home, and checks the app instance, the channel and the job.

use serde::{Deserialize, Serialize};
use store::{Direction, Entry, Key, Range, Record, Txn, Uid, View};

use crate::cx::Cx;
use crate::error::Result;
use crate::identity::app_instance::AppInstance;
use crate::job::{self, Job, Task};
use crate::limits::{RETENTION_CHANNELS_PER_STEP, STEP_ROWS_MAX};
use crate::messaging::channel::{CHANNEL, Channel};
use crate::messaging::{channel_message, sub_channel};

/// How far the job is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pass {
    /// Messages from before this time go in this pass, or went in the last one.
    before_ms: i64,
    /// The id of the channel that was passed last, empty at the first; absent between two passes.
    passed: Option<String>,
}

/// Fills `tx` with the next step of the job, which was got.
pub(super) async fn step(cx: &Cx, view: &View, tx: &mut Txn, job: &Job, pass: &Pass) -> Result<()> {
    tx.hold(job.uid);
    // The home of an app instance that is gone must not come back.
    tx.set_home(Uid::NIL);
    tx.delete_raw(job.key());
    let instance: Option<AppInstance> = tx.get(&AppInstance::key_of(job.uid)).await?;
    // Of a deleted app instance everything goes with its purge.
    let Some(retention) = instance.and_then(|instance| instance.retention) else { return Ok(()) };
    tx.set_home(job.uid);
    let gone_before_ms = retention.gone_before_ms(cx.now_ms);
    let mut pass = pass.clone();
    if pass.passed.is_none() && gone_before_ms > pass.before_ms {
        pass = Pass { before_ms: gone_before_ms, passed: Some(String::new()) };
    }
    if let Some(passed) = &pass.passed {
        let before_ms = pass.before_ms.min(gone_before_ms);
        pass.passed = purge(view, tx, job.uid, passed, before_ms).await?;
    }
    let due_ms = match pass.passed {
        Some(_) => cx.now_ms,
        None => retention.next_pass_ms(cx.now_ms),
    };
    job::put(tx, &Job { due_ms, task: Task::Retain(pass), ..job.clone() });
    Ok(())
}

/// Removes messages of the first channel behind `passed` that has some, and returns the channel that
/// is passed then; nothing when it was the last.
async fn purge(
    view: &View,
    tx: &mut Txn,
    app_instance: Uid,
    passed: &str,
    before_ms: i64,
) -> Result<Option<String>> {
    let last = Channel::key_of(app_instance, passed);
    let range = Range::prefix(Key::new(&CHANNEL).uid(app_instance)).after(last.bytes());
    let rows = view.list(&range, RETENTION_CHANNELS_PER_STEP, Direction::Forward).await?;
    let channels = rows.iter().map(Entry::decode::<Channel>);
    let channels = channels.collect::<std::result::Result<Vec<_>, _>>()?;
    // The messages of an elastic channel are below its sub-channels.
    let homes = sub_channel::homes_of_all(view, &channels).await?.into_iter().enumerate();
    let homes: Vec<(usize, Uid)> =
        homes.flat_map(|(index, homes)| homes.into_iter().map(move |home| (index, home))).collect();
    let old: Vec<Range> =
        homes.iter().map(|(_, home)| channel_message::before(*home, before_ms)).collect();
    let firsts = view.lists(&old, 1, Direction::Forward).await?;
    let Some(place) = firsts.iter().position(|first| !first.is_empty()) else {
        let is_full = channels.len() == RETENTION_CHANNELS_PER_STEP;
        return Ok(channels.last().filter(|_| is_full).map(|channel| channel.id.clone()));
    };
    let (index, home) = homes[place];
    let channel = &channels[index];
    let live: Option<Channel> = tx.get(&Channel::key_of(app_instance, &channel.id)).await?;
    if live.is_none_or(|live| live.uid != channel.uid) {
        // Deleted since it was listed.
        return Ok(Some(channel.id.clone()));
    }
    let keys = view.list(&old[place], STEP_ROWS_MAX, Direction::Forward).await?;
    tx.set_home(home);
    for row in &keys {
        channel_message::forget(tx, row);
    }
    let is_last = homes.get(place + 1).is_none_or(|(next, _)| *next != index);
    let is_all = is_last && keys.len() < STEP_ROWS_MAX;
    let before = index.checked_sub(1).map_or(passed, |before| channels[before].id.as_str());
    Ok(Some(if is_all { channel.id.clone() } else { before.to_owned() }))
}

//! The steps of balancing: one member of an elastic channel is moved, or one sub-channel changes its
//! state or goes.
//!
//! Invariants: the state in the channel's record says what a step does, and the commit checks the
//! record, so that a step of whatever job goes on where the last one ended; a step judges the counts
//! as they are now, and bounds what it adds; moderators are never moved. A sub-channel is removed
//! when nobody is in it: it takes nobody since it began to drain. What was said in it goes with a
//! purge of its own.

use serde::{Deserialize, Serialize};
use store::{Direction, Key, Parts, Range, Record, Txn, Uid, View};

use crate::cx::Cx;
use crate::error::Result;
use crate::event::{self, Effect};
use crate::identity::app_instance::AppInstance;
use crate::job::{self, Doomed, Job, Task};
use crate::limits::{BALANCE_KEYS_PER_STEP, BALANCE_REST_MS};
use crate::messaging::channel::Channel;
use crate::messaging::channel_membership::{
    CHANNEL_MEMBERSHIP, ChannelMembership, expel, transfer,
};
use crate::messaging::channel_moderator;
use crate::messaging::sub_channel::{Counts, Elastic};

/// Whose sub-channel the job's uid is, and how far the job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Balance {
    pub(crate) app_instance: Uid,
    pub(crate) channel: Uid,
    pub(crate) channel_id: String,
    #[serde(default)]
    pub(crate) cursor: Cursor,
}

/// Where the search for the next plain member goes on; losing it costs nothing but reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The sub-channel that is searched, and the moderator that was passed last.
    #[serde(default)]
    passed: Option<(Uid, Uid)>,
    /// Those in which no plain member was found.
    #[serde(default)]
    spent: Vec<Uid>,
}

/// What the next members of a sub-channel are.
enum Found {
    Plain(Box<ChannelMembership>),
    /// Nothing but moderators, as far as this one.
    Moderators(Uid),
    /// There are no more of them.
    Nobody,
}

/// Fills `tx` with the next step of the job, which was got.
pub(super) async fn step(
    cx: &Cx,
    view: &View,
    tx: &mut Txn,
    job: &Job,
    balance: &Balance,
) -> Result<()> {
    // Whichever sub-channels it is about, two steps of one job never pass each other.
    tx.hold(job.uid);
    // The home of what is gone must not come back.
    tx.set_home(Uid::NIL);
    tx.delete_raw(job.key());
    let instance = AppInstance::key_of(balance.app_instance);
    let channel = Channel::key_of(balance.app_instance, &balance.channel_id);
    tx.load(&[instance.clone(), channel.clone()]).await?;
    let channel: Option<Channel> = tx.get(&channel).await?;
    let channel = channel.filter(|channel| channel.uid == balance.channel);
    let Some(channel) = channel.filter(|channel| channel.homes().contains(&job.uid)) else {
        return Ok(());
    };
    let Some(elastic) = channel.elastic.clone().filter(|_| channel.uid != job.uid) else {
        return Ok(());
    };
    if !tx.exists(&instance).await? {
        return Ok(());
    }
    let counts = Counts::of(tx, &elastic).await?;
    let (sub_channel, cursor) = (job.uid, balance.cursor.clone());
    let mut step = Step { cx, view, tx, balance, channel, elastic, counts, sub_channel };
    if step.elastic.is_draining(sub_channel) {
        step.drain(cursor).await
    } else if step.elastic.is_filling(sub_channel) {
        step.fill(cursor).await
    } else {
        step.judge();
        Ok(())
    }
}

struct Step<'a> {
    cx: &'a Cx,
    view: &'a View,
    tx: &'a mut Txn,
    balance: &'a Balance,
    channel: Channel,
    /// The channel's own, as the step leaves it.
    elastic: Elastic,
    counts: Counts,
    sub_channel: Uid,
}

impl Step<'_> {
    /// Begins to drain a sub-channel that is too small, if the others have room: the job's own, or one
    /// that waits for the place that became free in it.
    fn judge(&mut self) {
        let own = self.sub_channel;
        if let Some(goes) = self.counts.dispensable(&self.elastic, own) {
            self.elastic.start_draining(goes);
            self.put_channel();
            self.tx.hold(goes);
            self.put(goes, self.cx.now_ms, Cursor::default());
        } else if self.counts.is_small(&self.elastic, own) {
            self.tx.set_home(own);
            self.rest();
        }
    }

    /// Moves one member out of the sub-channel, then the moderators, then removes it.
    async fn drain(&mut self, cursor: Cursor) -> Result<()> {
        let from = self.sub_channel;
        match self.look(from, &cursor).await? {
            Found::Plain(membership) => {
                let Some(to) = self.counts.taker(&self.elastic, from) else {
                    // Others came into the places that were there.
                    self.elastic.stop_draining(from);
                    self.put_channel();
                    self.rest();
                    return Ok(());
                };
                transfer(self.cx, self.tx, &self.channel, &membership, to).await?;
                self.go_on(cursor);
            }
            Found::Moderators(last) => {
                self.tx.set_home(from);
                self.go_on(Cursor { passed: Some((from, last)), ..cursor });
            }
            Found::Nobody => match self.members(from, None, 1).await?.pop() {
                Some(member) => self.expel(member, cursor).await?,
                None => self.remove().await?,
            },
        }
        Ok(())
    }

    async fn expel(&mut self, member: Uid, cursor: Cursor) -> Result<()> {
        let from = self.sub_channel;
        let key = ChannelMembership::key_of(from, member);
        let is_moderator = channel_moderator::is(self.tx, self.channel.uid, member).await?;
        self.tx.set_home(from);
        let Some(membership) = self.tx.get::<ChannelMembership>(&key).await? else {
            self.go_on(cursor);
            return Ok(());
        };
        if !is_moderator {
            self.go_on(Cursor::default());
            return Ok(());
        }
        expel(self.cx, self.tx, &self.channel, &membership).await?;
        self.go_on(cursor);
        Ok(())
    }

    async fn remove(&mut self) -> Result<()> {
        let from = self.sub_channel;
        // A message that is sent meanwhile makes this commit a conflict.
        let home = self.tx.get_entry(&Key::home(from)).await?.map(|home| home.home());
        self.elastic.remove(from, home.and_then(|home| home.last_message_ms));
        self.put_channel();
        self.tx.emit(event::internal(Effect::ChannelGone { channel: from }));
        job::purge(self.cx, self.tx, Doomed::SubChannel, from);
        Ok(())
    }

    /// Moves one member of the fullest sub-channel into the new one, until they are even.
    async fn fill(&mut self, mut cursor: Cursor) -> Result<()> {
        let into = self.sub_channel;
        let Some(from) = self.counts.giver(&self.elastic, into, &cursor.spent) else {
            self.elastic.stop_filling(into);
            self.put_channel();
            if self.counts.is_small(&self.elastic, into) {
                self.rest();
            }
            return Ok(());
        };
        self.tx.set_home(into);
        match self.look(from, &cursor).await? {
            Found::Plain(membership) => {
                transfer(self.cx, self.tx, &self.channel, &membership, into).await?;
            }
            Found::Moderators(last) => cursor.passed = Some((from, last)),
            Found::Nobody => cursor.spent.push(from),
        }
        self.go_on(cursor);
        Ok(())
    }

    /// Looks for the next plain member of a sub-channel. That he is no moderator is checked.
    async fn look(&mut self, from: Uid, cursor: &Cursor) -> Result<Found> {
        let passed = cursor.passed.filter(|(searched, _)| *searched == from);
        let passed = passed.map(|(_, member)| member);
        let members = self.members(from, passed, BALANCE_KEYS_PER_STEP).await?;
        let moderator = |&member: &Uid| channel_moderator::key_of(self.channel.uid, member);
        let keys: Vec<Key> = members.iter().map(moderator).collect();
        self.tx.load(&keys).await?;
        for (&member, key) in members.iter().zip(&keys) {
            // A moderator who is passed over may become none without any harm.
            if self.tx.peek_entry(key).await?.is_some() || self.tx.exists(key).await? {
                continue;
            }
            let membership = ChannelMembership::key_of(from, member);
            if let Some(membership) = self.tx.get(&membership).await? {
                return Ok(Found::Plain(Box::new(membership)));
            }
        }
        Ok(members.last().map_or(Found::Nobody, |&last| Found::Moderators(last)))
    }

    /// Lists members of a sub-channel, behind the one that was passed.
    async fn members(&self, of: Uid, passed: Option<Uid>, limit: usize) -> Result<Vec<Uid>> {
        let all = Range::prefix(Key::new(&CHANNEL_MEMBERSHIP).uid(of));
        let range = match passed {
            Some(passed) => all.after(ChannelMembership::key_of(of, passed).bytes()),
            None => all,
        };
        let rows = self.view.keys(&range, limit, Direction::Forward).await?;
        let member = |key: &[u8]| {
            let mut parts = Parts::new(key);
            parts.uid().and_then(|_| parts.uid())
        };
        Ok(rows.iter().filter_map(|row| member(&row.key)).collect())
    }

    /// Puts the channel with its other states, and holds the sub-channel still for it.
    fn put_channel(&mut self) {
        self.tx.set_home(self.channel.uid);
        self.channel.elastic = Some(self.elastic.clone());
        self.tx.put(&self.channel);
    }

    fn go_on(&mut self, cursor: Cursor) {
        self.put(self.sub_channel, self.cx.now_ms, cursor);
    }

    /// Judges again later: places may become free.
    fn rest(&mut self) {
        let due_ms = job::slot_ms(self.cx.now_ms, BALANCE_REST_MS);
        self.put(self.sub_channel, due_ms, Cursor::default());
    }

    fn put(&mut self, uid: Uid, due_ms: i64, cursor: Cursor) {
        let balance = Balance { cursor, ..self.balance.clone() };
        job::put(self.tx, &Job { uid, task: Task::Balance(balance), due_ms });
    }
}

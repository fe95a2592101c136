//! The steps of balancing: one member of an elastic channel is moved, or one sub-channel changes its
//! state or goes.
//!
//! Invariants: the state in the sub-channel's record says what a step does, and the commit checks the
//! record, so that a step of whatever job goes on where the last one ended; a step judges the counts
//! as they are now, and bounds what it adds; it looks at a few sub-channels, however many there are;
//! moderators are never moved. A sub-channel is removed when nobody is in it: it takes nobody since it
//! began to drain. What was said in it goes with a purge of its own.

mod fill;
mod judge;

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
use crate::messaging::sub_channel::{self, Elastic, Place, State, SubChannel, SubChannelList, Use};

/// Whose sub-channel the job's uid is, and how far the job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Balance {
    pub(crate) app_instance: Uid,
    pub(crate) channel: Uid,
    pub(crate) channel_id: String,
    #[serde(default)]
    pub(crate) cursor: Cursor,
}

/// Where the job goes on; losing it costs nothing but reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The sub-channel whose members are looked through, and the moderator that was passed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passed: Option<(Uid, Uid)>,
    /// How far the search for a sub-channel that gives members is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lap: Option<fill::Lap>,
    /// How far the judgement of a small sub-channel is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    judgement: Option<judge::Judgement>,
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
    let Some(channel) = channel.filter(|channel| channel.uid == balance.channel) else {
        return Ok(());
    };
    let Some(elastic) = channel.elastic.clone() else { return Ok(()) };
    if !tx.exists(&instance).await? {
        return Ok(());
    }
    let Some(own) = checked(tx, channel.uid, job.uid).await? else { return Ok(()) };
    let (state, cursor) = (own.record.state, balance.cursor.clone());
    let mut step = Step { cx, view, tx, balance, channel, elastic, own };
    match state {
        State::Draining => step.drain(cursor).await,
        State::Filling => step.fill(cursor).await,
        State::Active => step.judge(cursor).await,
    }
}

/// Looks at a sub-channel; the commit checks its record.
async fn checked(tx: &mut Txn, channel: Uid, uid: Uid) -> Result<Option<Place>> {
    let place = sub_channel::look_at(tx, channel, &[uid]).await?.pop();
    tx.exists(&SubChannel::key_of(channel, uid)).await?;
    Ok(place)
}

struct Step<'a> {
    cx: &'a Cx,
    view: &'a View,
    tx: &'a mut Txn,
    balance: &'a Balance,
    channel: Channel,
    elastic: Elastic,
    /// The job's own sub-channel.
    own: Place,
}

impl Step<'_> {
    /// Moves one member out of the sub-channel, then the moderators, then removes it.
    async fn drain(&mut self, cursor: Cursor) -> Result<()> {
        let from = self.own.record.uid;
        match self.look(from, &cursor).await? {
            Found::Plain(membership) => {
                let Some(to) = self.taker().await? else {
                    // Others came into the places that were there.
                    self.stay();
                    return Ok(());
                };
                self.transfer(&membership, to).await?;
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

    /// Returns the sub-channel that takes the next member of one that is draining: the fullest that
    /// has room, of the first few that may have some.
    async fn taker(&mut self) -> Result<Option<Place>> {
        let (target, mut after) = (self.elastic.target(), None);
        loop {
            let uses = (Use::Filling, Some(Use::Draining));
            let found = sub_channel::find(self.view, self.channel.uid, uses, after).await?;
            let places = sub_channel::look_at(self.tx, self.channel.uid, &found.uids).await?;
            let (full, open): (Vec<Place>, Vec<Place>) =
                places.into_iter().partition(|place| place.count >= target);
            for place in full {
                self.close(place).await?;
            }
            if let Some(fullest) = open.into_iter().max_by_key(|place| place.count) {
                let taker = checked(self.tx, self.channel.uid, fullest.record.uid).await?;
                return Ok(taker.filter(|taker| taker.record.state != State::Draining));
            }
            after = found.next;
            if after.is_none() {
                return Ok(None);
            }
        }
    }

    /// Marks a sub-channel that was found to be full, so that it is not looked at again.
    async fn close(&mut self, place: Place) -> Result<()> {
        let uid = place.record.uid;
        if let Some(mut place) = checked(self.tx, self.channel.uid, uid).await?
            && place.record.state != State::Draining
        {
            place.record.close(self.tx, self.elastic.target());
        }
        Ok(())
    }

    /// Moves a plain member, whose membership was got, into a sub-channel whose record was.
    async fn transfer(&mut self, membership: &ChannelMembership, mut to: Place) -> Result<()> {
        transfer(self.cx, self.tx, &self.channel, membership, to.record.uid).await?;
        if to.count + 1 >= self.elastic.target() {
            to.record.close(self.tx, self.elastic.target());
        }
        Ok(())
    }

    /// Lets a sub-channel that was to go stay, until others have room for its members.
    fn stay(&mut self) {
        self.own.record.state = State::Active;
        self.own.record.is_waiting = true;
        self.tx.set_home(self.own.record.uid);
        self.own.record.put(self.tx);
        self.rest();
    }

    async fn expel(&mut self, member: Uid, cursor: Cursor) -> Result<()> {
        let from = self.own.record.uid;
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
        let from = self.own.record.uid;
        let list = SubChannelList::of(self.tx, &self.channel).await?;
        let Some(mut list) = list.filter(|list| list.sub_channels.len() > 1) else {
            // All were to go, and this is the last one.
            self.own.record.state = State::Active;
            self.tx.set_home(from);
            self.own.record.put(self.tx);
            return Ok(());
        };
        self.tx.set_home(self.channel.uid);
        self.tx.hold(from);
        // A message that is sent meanwhile makes this commit a conflict.
        let home = self.tx.get_entry(&Key::home(from)).await?.map(|home| home.home());
        list.remove(from, home.and_then(|home| home.last_message_ms));
        self.tx.put(&list);
        self.own.record.remove(self.tx);
        self.tx.emit(event::internal(Effect::ChannelGone { channel: from }));
        job::purge(self.cx, self.tx, Doomed::SubChannel, from);
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

    fn go_on(&mut self, cursor: Cursor) {
        self.put(self.own.record.uid, self.cx.now_ms, cursor);
    }

    /// Judges again later: places may become free.
    fn rest(&mut self) {
        let due_ms = job::slot_ms(self.cx.now_ms, BALANCE_REST_MS);
        self.put(self.own.record.uid, due_ms, Cursor::default());
    }

    fn put(&mut self, uid: Uid, due_ms: i64, cursor: Cursor) {
        let balance = Balance { cursor, ..self.balance.clone() };
        job::put(self.tx, &Job { uid, task: Task::Balance(balance), due_ms });
    }
}

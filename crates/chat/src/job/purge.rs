//! The steps of a purge: what goes with a deleted channel, flow, user, bot or app instance.
//!
//! Invariants: nothing new comes below a deleted uid, so a list that is empty stays empty; a record
//! that counts is got, deleted and uncounted on all sides in one batch, whichever purge comes to
//! it first; the uid's own counters and its home go last, in a batch that touches nothing else.
//! Event rows are left to time.

use store::{Direction, Entry, Key, Range, Record, Table, Txn, Uid, Unavailable, View};

use crate::access_key;
use crate::cx::Cx;
use crate::error::Result;
use crate::identity::app_instance::AppInstance;
use crate::identity::app_instance_admin::{self, AppInstanceAdmin};
use crate::identity::app_instance_bot::{self, AppInstanceBot};
use crate::identity::app_instance_user::{self, AppInstanceUser};
use crate::identity::app_instance_user_endpoint;
use crate::identity::tags::RESOURCE_TAG;
use crate::job::{Doomed, Left};
use crate::limits::{RESOURCE_COUNT, STEP_ROWS_MAX};
use crate::messaging::channel::lookup::Named;
use crate::messaging::channel::{self, Channel};
use crate::messaging::channel_ban::{self, CHANNEL_BAN_BY_MEMBER, ChannelBan};
use crate::messaging::channel_flow::{self, ChannelFlow};
use crate::messaging::channel_membership::{
    self, CHANNEL_MEMBERSHIP, CHANNEL_MEMBERSHIP_BY_MEMBER, ChannelMembership,
};
use crate::messaging::channel_message::{CHANNEL_MESSAGE, CHANNEL_MESSAGE_BY_FOREIGN_ID};
use crate::messaging::channel_moderator::{self, CHANNEL_MODERATOR_BY_MODERATOR, ChannelModerator};
use crate::messaging::session_place::MESSAGING_SESSION;
use crate::messaging::sub_channel::{ELASTIC_MEMBER, ElasticMember, SubChannel};

/// Rows that go or come with one record at most: itself, its index rows, what is beside it, the counters
/// or the job, the departure. A hidden membership has the most of them.
const ROWS_PER_RECORD_MAX: usize = 9;

/// Fills `tx` with the next step of the purge of `uid`.
pub(super) async fn step(
    cx: &Cx,
    view: &View,
    tx: &mut Txn,
    doomed: Doomed,
    uid: Uid,
) -> Result<Left> {
    let mut below = Below { view, tx, uid, room: STEP_ROWS_MAX };
    match doomed {
        Doomed::AppInstance => below.app_instance(cx).await,
        Doomed::AppInstanceUser { app_instance } | Doomed::AppInstanceBot { app_instance } => {
            below.principal(cx, app_instance).await
        }
        Doomed::Channel => below.channel(cx).await,
        Doomed::SubChannel => below.sub_channel(cx).await,
        Doomed::ChannelFlow => below.channel_flow().await,
    }
}

/// What is below a deleted uid.
struct Below<'a> {
    view: &'a View,
    tx: &'a mut Txn,
    uid: Uid,
    /// Rows that the step may still write.
    room: usize,
}

impl Below<'_> {
    async fn channel(&mut self, cx: &Cx) -> Result<Left> {
        self.tx.set_home(self.uid);
        let membership = |tx: &mut Txn, membership: &ChannelMembership| {
            channel_membership::remove_ordinary(cx, tx, membership);
        };
        let all = self.records(membership).await?
            && self.elastic_members(cx).await?
            && self.records(channel_moderator::remove).await?
            && self.records(channel_ban::remove).await?
            && self.records(|tx: &mut Txn, record: &SubChannel| record.remove(tx)).await?
            && self.messages().await?;
        self.own(all).await
    }

    /// Removes what was said below the uid, and the ids that it had elsewhere.
    async fn messages(&mut self) -> Result<bool> {
        let all = self.rows(&CHANNEL_MESSAGE).await?;
        Ok(all && self.rows(&CHANNEL_MESSAGE_BY_FOREIGN_ID).await?)
    }

    /// Takes the members of a deleted elastic channel out of all its sub-channels, one in each step:
    /// a moderator may be in many.
    async fn elastic_members(&mut self, cx: &Cx) -> Result<bool> {
        let Some(key) = self.keys(&ELASTIC_MEMBER, 1).await?.pop() else { return Ok(true) };
        let record: Option<ElasticMember> = self.tx.get(&key).await?;
        for membership in record.iter().flat_map(ElasticMember::memberships) {
            if let Some(membership) = self.tx.get::<ChannelMembership>(&membership).await? {
                channel_membership::remove(cx, self.tx, &membership).await?;
            }
        }
        Ok(false)
    }

    /// What is said in a sub-channel is below it, and who is in it.
    async fn sub_channel(&mut self, cx: &Cx) -> Result<Left> {
        self.tx.set_home(self.uid);
        let limit = self.room / ROWS_PER_RECORD_MAX;
        let keys = self.keys(&CHANNEL_MEMBERSHIP, limit).await?;
        self.room -= keys.len() * ROWS_PER_RECORD_MAX;
        self.tx.load(&keys).await?;
        for key in &keys {
            if let Some(membership) = self.tx.get::<ChannelMembership>(key).await? {
                channel_membership::remove(cx, self.tx, &membership).await?;
            }
        }
        let all = keys.len() < limit && self.messages().await?;
        self.own(all).await
    }

    /// Below a flow there is nothing but what is its own.
    async fn channel_flow(&mut self) -> Result<Left> {
        self.tx.set_home(self.uid);
        self.own(true).await
    }

    /// Admins go first, users and bots last: a record refers to those that go after it. The last channel
    /// and a flow may go in one batch, but the flow's counter goes in a later one.
    async fn app_instance(&mut self, cx: &Cx) -> Result<Left> {
        self.tx.set_home(self.uid);
        let flow = |tx: &mut Txn, flow: &ChannelFlow| {
            tx.hold(flow.uid);
            channel_flow::remove(cx, tx, flow);
        };
        let user = |tx: &mut Txn, user: &AppInstanceUser| {
            tx.hold(user.uid);
            app_instance_user::remove(cx, tx, user);
        };
        let bot = |tx: &mut Txn, bot: &AppInstanceBot| {
            tx.hold(bot.uid);
            app_instance_bot::remove(cx, tx, bot);
        };
        let all = self.records::<AppInstanceAdmin>(app_instance_admin::remove).await?
            && self.channels(cx).await?
            && self.records(flow).await?
            && self.records(user).await?
            && self.records(bot).await?
            && self.access_keys().await?;
        self.own(all).await
    }

    /// Removes channels, and leaves what is below each to a purge of its own.
    async fn channels(&mut self, cx: &Cx) -> Result<bool> {
        let (keys, is_all) = self.some::<Channel>().await?;
        for key in &keys {
            if let Some(channel) = self.tx.get::<Channel>(key).await? {
                self.tx.hold(channel.uid);
                channel::remove(cx, self.tx, &channel).await?;
            }
        }
        Ok(is_all)
    }

    /// Takes the user or bot out of one channel, whose home gives order to what its members hear;
    /// once out of all, removes what else is below.
    async fn principal(&mut self, cx: &Cx, app_instance: Uid) -> Result<Left> {
        let Some((index, Named { uid, id })) = self.first_channel().await? else {
            self.tx.set_home(self.uid);
            let all = self.records(app_instance_user_endpoint::remove).await?
                && self.access_keys().await?
                && self.rows(&MESSAGING_SESSION).await?;
            return self.own(all).await;
        };
        let tx = &mut *self.tx;
        tx.delete_raw(index);
        let instance = AppInstance::key_of(app_instance);
        let channel = Channel::key_of(app_instance, &id);
        let membership = ChannelMembership::key_of(uid, self.uid);
        let moderator = channel_moderator::key_of(uid, self.uid);
        let ban = channel_ban::key_of(uid, self.uid);
        let elastic = ElasticMember::key_of(uid, self.uid);
        let keys = [instance, channel, membership, moderator, ban, elastic];
        tx.load(&keys).await?;
        let [instance, channel, membership, moderator, ban, elastic] = &keys;
        // The name may belong to another channel by now.
        let channel = tx.get::<Channel>(channel).await?.filter(|channel| channel.uid == uid);
        let is_heard = tx.exists(instance).await?;
        let mut memberships = vec![membership.clone()];
        if let Some(elastic) = tx.get::<ElasticMember>(elastic).await? {
            memberships = elastic.memberships();
            elastic.sub_channels.iter().for_each(|&sub_channel| tx.hold(sub_channel));
        }
        let memberships = found(tx, &memberships).await?;
        let moderator: Option<ChannelModerator> = tx.get(moderator).await?;
        let ban: Option<ChannelBan> = tx.get(ban).await?;
        // The home of a channel that was purged meanwhile must not come back.
        let is_below = !memberships.is_empty() || moderator.is_some() || ban.is_some();
        tx.set_home(if is_below { uid } else { self.uid });
        let channel = channel.filter(|_| is_heard);
        for membership in &memberships {
            match &channel {
                Some(channel) => channel_membership::leave(cx, tx, channel, membership).await?,
                None => channel_membership::remove(cx, tx, membership).await?,
            }
        }
        if let Some(moderator) = moderator {
            channel_moderator::remove(tx, &moderator);
        }
        if let Some(ban) = ban {
            channel_ban::remove(tx, &ban);
        }
        Ok(Left::More)
    }

    /// Returns the first channel that the uid is in, moderates or is banned from, and its index row.
    async fn first_channel(&self) -> Result<Option<(Key, Named)>> {
        for table in
            [&CHANNEL_MEMBERSHIP_BY_MEMBER, &CHANNEL_MODERATOR_BY_MODERATOR, &CHANNEL_BAN_BY_MEMBER]
        {
            let range = Range::prefix(Key::new(table).uid(self.uid));
            if let Some(row) = self.view.list(&range, 1, Direction::Forward).await?.pop() {
                let unreadable = || Unavailable::new("an index key cannot be read");
                let named = Named::of(&row).ok_or_else(unreadable)?;
                return Ok(Some((Key::new(table).raw(&row.key), named)));
            }
        }
        Ok(None)
    }

    /// Removes records whose keys begin with the uid, as many as there is room for, and tells
    /// whether that was all of them.
    async fn records<R: Record>(&mut self, remove: impl Fn(&mut Txn, &R)) -> Result<bool> {
        let (keys, is_all) = self.some::<R>().await?;
        for key in &keys {
            if let Some(record) = self.tx.get::<R>(key).await? {
                remove(self.tx, &record);
            }
        }
        Ok(is_all)
    }

    /// Reads records whose keys begin with the uid, as many as there is room for, and tells whether
    /// those are all.
    async fn some<R: Record>(&mut self) -> Result<(Vec<Key>, bool)> {
        let limit = self.room / ROWS_PER_RECORD_MAX;
        let keys = self.keys(R::TABLE, limit).await?;
        self.room -= keys.len() * ROWS_PER_RECORD_MAX;
        self.tx.load(&keys).await?;
        let is_all = keys.len() < limit;
        Ok((keys, is_all))
    }

    /// Removes the keys that may act for the uid, and tells whether those were all.
    async fn access_keys(&mut self) -> Result<bool> {
        let limit = self.room / access_key::ROWS_PER_KEY;
        let count = access_key::purge(self.view, self.tx, self.uid, limit).await?;
        self.room -= count * access_key::ROWS_PER_KEY;
        Ok(count < limit)
    }

    /// Removes rows that nothing counts or points to. Nobody can change them any more, so they are
    /// neither read nor checked.
    async fn rows(&mut self, table: &'static Table) -> Result<bool> {
        let limit = self.room;
        let keys = self.keys(table, limit).await?;
        self.room -= keys.len();
        let is_all = keys.len() < limit;
        keys.into_iter().for_each(|key| self.tx.delete_raw(key));
        Ok(is_all)
    }

    /// Removes what is the uid's own, once all below it went in the steps before. Deletes come
    /// before adds within a batch, so that a counter cannot be removed where it is added to.
    async fn own(&mut self, all: bool) -> Result<Left> {
        if !all || self.room < STEP_ROWS_MAX {
            return Ok(Left::More);
        }
        for counter in self.keys(&RESOURCE_COUNT, STEP_ROWS_MAX).await? {
            self.tx.delete_raw(counter);
        }
        for tag in self.keys(&RESOURCE_TAG, STEP_ROWS_MAX).await? {
            self.tx.delete_raw(tag);
        }
        self.tx.delete_raw(Key::home(self.uid));
        Ok(Left::Nothing)
    }

    /// Returns keys that begin with the uid.
    async fn keys(&self, table: &'static Table, limit: usize) -> Result<Vec<Key>> {
        let range = Range::prefix(Key::new(table).uid(self.uid));
        let rows = self.view.keys(&range, limit, Direction::Forward).await?;
        Ok(rows.iter().map(|row: &Entry| Key::new(table).raw(&row.key)).collect())
    }
}

/// Returns the memberships that are there.
async fn found(tx: &mut Txn, keys: &[Key]) -> Result<Vec<ChannelMembership>> {
    tx.load(keys).await?;
    let mut found = Vec::new();
    for key in keys {
        found.extend(tx.get::<ChannelMembership>(key).await?);
    }
    Ok(found)
}

//! Which sub-channel a new member comes into.
//!
//! Invariants: a plain member comes into one that is filling, or else into the fullest that has room;
//! when none has, one that is draining takes him and stays, and a new one is made when there is none
//! and the channel may have more. What the counters said chooses; the bounded add of the commit
//! decides, and a counter that has grown since makes the handler run again. Of a hundred full
//! sub-channels none is read: the one that took the last member is asked first.

use std::collections::BTreeMap;

use store::{Key, Txn, Uid};
use wire::messaging::ChannelMembershipType;

use super::{Elastic, ElasticMember, check, needs_id, refuse_elastic, select};
use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::job;
use crate::limits;
use crate::messaging::channel::Channel;
use crate::messaging::channel_membership::{ChannelMembership, already_member};
use crate::messaging::channel_moderator;

/// The memberships of the sub-channels that were asked for, as they will be.
#[derive(Default)]
pub(crate) struct Assignment {
    counts: BTreeMap<Uid, i64>,
    /// Whether the channel has got another sub-channel or keeps one that was to go.
    pub(crate) has_changed: bool,
}

impl Assignment {
    /// Reads the counts that are not known yet, in one call.
    async fn read(&mut self, tx: &mut Txn, sub_channels: &[Uid]) -> Result<()> {
        let unknown: Vec<Uid> =
            sub_channels.iter().copied().filter(|uid| !self.counts.contains_key(uid)).collect();
        let key = |uid: &Uid| limits::SUB_CHANNEL_MEMBERSHIPS.key(*uid);
        tx.load(&unknown.iter().map(key).collect::<Vec<Key>>()).await?;
        for uid in unknown {
            let count = tx.peek_count(&key(&uid)).await?;
            self.counts.insert(uid, count);
        }
        Ok(())
    }

    /// Takes note of a moderator who comes into a sub-channel, which may be full for others.
    async fn admit(&mut self, cx: &Cx, tx: &mut Txn, sub_channel: Uid) -> Result<()> {
        self.read(tx, &[sub_channel]).await?;
        let quota = &limits::SUB_CHANNEL_MEMBERSHIPS;
        let count = self.counts.entry(sub_channel).or_default();
        if *count >= cx.max(quota) {
            return Err(cx.over(quota));
        }
        *count += 1;
        Ok(())
    }

    /// Returns the fullest of some sub-channels that has room, with one member more.
    async fn fullest(
        &mut self,
        tx: &mut Txn,
        elastic: &Elastic,
        among: &[Uid],
    ) -> Result<Option<Uid>> {
        self.read(tx, among).await?;
        let counts = among.iter().map(|uid| (*uid, self.counts.get(uid).copied().unwrap_or(0)));
        let with_room = counts.filter(|(_, count)| *count < elastic.target());
        let Some((uid, count)) = with_room.max_by_key(|(_, count)| *count) else {
            return Ok(None);
        };
        self.counts.insert(uid, count + 1);
        Ok(Some(uid))
    }

    /// Returns the sub-channel for one more plain member; nothing when all are full.
    async fn take(&mut self, cx: &Cx, tx: &mut Txn, channel: &mut Channel) -> Result<Option<Uid>> {
        let Some(elastic) = &mut channel.elastic else { return Ok(None) };
        let latest = cx.place.latest_sub_channels.get(channel.uid);
        let mut first = elastic.filling.clone();
        first.extend(latest.filter(|uid| elastic.active().any(|active| active == *uid)));
        if let Some(uid) = self.fullest(tx, elastic, &first).await? {
            return Ok(Some(uid));
        }
        let active: Vec<Uid> = elastic.active().collect();
        if let Some(uid) = self.fullest(tx, elastic, &active).await? {
            cx.place.latest_sub_channels.set(channel.uid, uid);
            return Ok(Some(uid));
        }
        let draining = elastic.draining.clone();
        if let Some(uid) = self.fullest(tx, elastic, &draining).await? {
            elastic.stop_draining(uid);
            self.has_changed = true;
            return Ok(Some(uid));
        }
        let count = i32::try_from(elastic.sub_channels.len()).unwrap_or(i32::MAX);
        if count >= elastic.maximum_sub_channels {
            return Ok(None);
        }
        let uid = cx.new_uid();
        elastic.grow(uid);
        self.counts.insert(uid, 1);
        self.has_changed = true;
        job::balance(cx, tx, channel, uid);
        Ok(Some(uid))
    }
}

/// Lets the request look at the sub-channel of an elastic channel that a new member comes into.
///
/// # Errors
/// BadRequest for a hidden member, for a plain one whose sub-channel is named and for a moderator
/// whose is not; Conflict for one who is there already, and for a moderator who wants to come into a
/// sub-channel that is about to go; ResourceLimitExceeded when all are full.
pub(crate) async fn assign(
    cx: &Cx,
    tx: &mut Txn,
    channel: &mut Channel,
    assignment: &mut Assignment,
    member: Uid,
    (r#type, sub_channel_id): (ChannelMembershipType, Option<&str>),
) -> Result<()> {
    if r#type == ChannelMembershipType::Hidden {
        refuse_elastic(channel, "hidden members")?;
    }
    select(channel, sub_channel_id);
    if channel_moderator::is(tx, channel.uid, member).await? {
        check(channel, Some(sub_channel_id.ok_or_else(needs_id)?))?;
        assignment.admit(cx, tx, channel.home()).await?;
        if tx.exists(&ChannelMembership::key_of(channel.home(), member)).await? {
            return Err(already_member());
        }
        if channel.elastic.as_ref().is_some_and(|elastic| elastic.is_draining(channel.home())) {
            return Err(Error::conflict("The sub-channel is being removed"));
        }
        return Ok(());
    }
    if sub_channel_id.is_some() {
        return Err(Error::bad_request("SubChannelId is for moderators of an elastic channel"));
    }
    if tx.exists(&ElasticMember::key_of(channel.uid, member)).await? {
        return Err(already_member());
    }
    let Some(elastic) = &channel.elastic else { return Ok(()) };
    let places = i64::from(elastic.maximum_sub_channels) * elastic.target();
    let full = || Error::limit_exceeded(Some((places, "memberships in the elastic channel")));
    channel.sub_channel = Some(assignment.take(cx, tx, channel).await?.ok_or_else(full)?);
    Ok(())
}

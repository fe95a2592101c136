//! Which sub-channel a new member comes into.
//!
//! Invariants: a plain member comes into the fullest that has room, a new one is made when none has
//! and the channel may have more. What the counters said chooses; the bounded add of the commit
//! decides, and a counter that has grown since makes the handler run again.

use store::{Key, Txn, Uid};
use wire::messaging::ChannelMembershipType;

use super::{Elastic, ElasticMember, check, needs_id, refuse_elastic, select};
use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::limits;
use crate::messaging::channel::Channel;
use crate::messaging::channel_membership::{ChannelMembership, already_member};
use crate::messaging::channel_moderator;

/// The memberships of each sub-channel as they will be.
pub(crate) struct Assignment {
    counts: Vec<(Uid, i64)>,
    /// Whether the channel has got another sub-channel.
    pub(crate) has_grown: bool,
}

impl Assignment {
    /// Reads the counts of all sub-channels, of which an ordinary channel has none.
    pub(crate) async fn of(tx: &mut Txn, channel: &Channel) -> Result<Self> {
        let mut counts = Vec::new();
        if let Some(elastic) = &channel.elastic {
            let key = |&uid: &Uid| limits::SUB_CHANNEL_MEMBERSHIPS.key(uid);
            tx.load(&elastic.sub_channels.iter().map(key).collect::<Vec<Key>>()).await?;
            for uid in &elastic.sub_channels {
                counts.push((*uid, tx.peek_count(&key(uid)).await?));
            }
        }
        Ok(Self { counts, has_grown: false })
    }

    /// Takes note of a moderator who comes into a sub-channel, which may be full for others.
    fn admit(&mut self, cx: &Cx, sub_channel: Uid) -> Result<()> {
        let quota = &limits::SUB_CHANNEL_MEMBERSHIPS;
        for (_, count) in self.counts.iter_mut().filter(|(uid, _)| *uid == sub_channel) {
            if *count >= cx.max(quota) {
                return Err(cx.over(quota));
            }
            *count += 1;
        }
        Ok(())
    }

    /// Returns the sub-channel for one more plain member; nothing when all are full.
    fn take(&mut self, cx: &Cx, elastic: &mut Elastic) -> Option<Uid> {
        let max = i64::from(elastic.target_memberships);
        let with_room = self.counts.iter_mut().filter(|(_, count)| *count < max);
        if let Some((uid, count)) = with_room.max_by_key(|(_, count)| *count) {
            *count += 1;
            return Some(*uid);
        }
        let count = i32::try_from(elastic.sub_channels.len()).unwrap_or(i32::MAX);
        if count >= elastic.maximum_sub_channels {
            return None;
        }
        let uid = cx.new_uid();
        elastic.sub_channels.push(uid);
        self.counts.push((uid, 1));
        self.has_grown = true;
        Some(uid)
    }
}

/// Lets the request look at the sub-channel of an elastic channel that a new member comes into.
///
/// # Errors
/// BadRequest for a hidden member, for a plain one whose sub-channel is named and for a moderator
/// whose is not; Conflict for one who is there already; ResourceLimitExceeded when all are full.
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
        assignment.admit(cx, channel.home())?;
        if tx.exists(&ChannelMembership::key_of(channel.home(), member)).await? {
            return Err(already_member());
        }
        return Ok(());
    }
    if sub_channel_id.is_some() {
        return Err(Error::bad_request("SubChannelId is for moderators of an elastic channel"));
    }
    if tx.exists(&ElasticMember::key_of(channel.uid, member)).await? {
        return Err(already_member());
    }
    let Some(elastic) = &mut channel.elastic else { return Ok(()) };
    let places = i64::from(elastic.maximum_sub_channels) * i64::from(elastic.target_memberships);
    let full = || Error::limit_exceeded(Some((places, "memberships in the elastic channel")));
    channel.sub_channel = Some(assignment.take(cx, elastic).ok_or_else(full)?);
    Ok(())
}

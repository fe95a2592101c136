//! What balancing does to the memberships of an elastic channel: a plain member is moved to another
//! sub-channel, a moderator loses the one that goes.
//!
//! Invariants: either is one commit below the home of the sub-channel where he is heard from then on,
//! and holds the other, so that he misses nothing and hears nothing twice; he alone is told.

use store::{Audience, Record, Txn, Uid};

use super::{ChannelMembership, remove};
use crate::cx::Cx;
use crate::error::Result;
use crate::event::{self, Effect};
use crate::limits;
use crate::messaging::channel::Channel;
use crate::messaging::sub_channel::{Elastic, ElasticMember};

/// Moves a plain member whose membership was got. The fill of the sub-channel that takes him is a
/// bounded add.
pub(crate) async fn transfer(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    membership: &ChannelMembership,
    to: Uid,
) -> Result<()> {
    let (from, member) = (membership.home(), membership.member.uid);
    let moved =
        ChannelMembership { sub_channel: Some(to), updated_ms: cx.now_ms, ..membership.clone() };
    tx.set_home(to);
    tx.hold(from);
    tx.hold(member);
    tx.exists(&moved.key()).await?;
    tx.delete(membership);
    tx.put(&moved);
    let quota = &limits::SUB_CHANNEL_MEMBERSHIPS;
    tx.add(quota.key(from), -1, None);
    tx.add(quota.key(to), 1, channel.elastic.as_ref().map(Elastic::target));
    ElasticMember::transfer(tx, channel.uid, member, from, to).await?;
    // He hears the new one from here on and, once he knows, the old one no longer.
    tx.emit(event::internal(Effect::Join { channel: to, user: member, moderator: false }));
    let leave = Effect::Leave { channel: from, user: member };
    let (himself, kind) = (Audience::Users(vec![member]), event::Kind::UpdateChannelMembership);
    tx.emit(event::membership(himself, kind, moved.described(cx, channel), Some(leave)));
    Ok(())
}

/// Removes the membership of a moderator, which was got, in a sub-channel that goes.
pub(crate) async fn expel(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    membership: &ChannelMembership,
) -> Result<()> {
    let (from, member) = (membership.home(), membership.member.uid);
    tx.set_home(from);
    remove(cx, tx, membership).await?;
    let leave = Effect::Leave { channel: from, user: member };
    let (himself, kind) = (Audience::Users(vec![member]), event::Kind::SubChannelDeleted);
    tx.emit(event::membership(himself, kind, membership.described(cx, channel), Some(leave)));
    Ok(())
}

//! Sub-channels: the parts of an elastic channel in which its members and messages are.
//!
//! Each has a small record of its own (`rows.rs`), so that what a request costs does not depend on how
//! many there are. The uid of a sub-channel is the home of its messages and memberships, as an
//! ordinary channel's own uid is. Invariants: a plain member is in one of them, and in none that is
//! fuller than the channel wants; a moderator is in those that he chose; the last one stays.

mod assignment;
mod balance;
mod member;
mod rows;

use serde::{Deserialize, Serialize};
use store::{Direction, Key, Range, Txn, Uid, View};
use wire::messaging::{
    ChannelMode, CreateChannelRequest, ElasticChannelConfiguration, ListSubChannels,
    ListSubChannelsRequest, ListSubChannelsResponse, SubChannelSummary,
};

use crate::access::{self, Action};
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::messaging::channel::{self, Channel};
use crate::messaging::channel_membership::ChannelMembership;
use crate::page::Walk;
use crate::{Chat, ids, limits};

pub(crate) use assignment::{Assignment, assign};
pub(crate) use balance::{UNEVEN_MAX, is_alone, note_leave};
pub(crate) use member::{ELASTIC_MEMBER, ElasticMember};
pub(crate) use rows::{
    Place, SUB_CHANNEL, SUB_CHANNEL_BY_USE, SUB_CHANNEL_LIST, State, SubChannel, SubChannelList,
    Use, behind, count_key, find, found, homes, homes_of_all, look_at,
};

/// What makes a channel an elastic one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Elastic {
    maximum_sub_channels: i32,
    target_memberships: i32,
    minimum_percentage: i32,
}

impl Elastic {
    /// Returns what the request asks for; nothing for an ordinary channel.
    ///
    /// # Errors
    /// BadRequest when the rest of the request does not go with it, ResourceLimitExceeded when it asks
    /// for more than the quotas allow.
    pub(crate) fn of(cx: &Cx, input: &CreateChannelRequest) -> Result<Option<Self>> {
        let Some(wanted) = &input.elastic_channel_configuration else { return Ok(None) };
        if input.mode == Some(ChannelMode::Unrestricted) {
            return Err(Error::bad_request(RESTRICTED_ALONE));
        }
        if input.member_arns.is_some() {
            return Err(Error::bad_request("MemberArns cannot be given for an elastic channel"));
        }
        let (subs, members) = (&limits::SUB_CHANNELS, &limits::SUB_CHANNEL_MEMBERSHIPS);
        let subs_max = cx.max(subs).min(limits::SUB_CHANNELS_MAX);
        for (count, max, noun) in [
            (wanted.maximum_sub_channels, subs_max, subs.noun),
            (wanted.target_memberships_per_sub_channel, cx.max(members), members.noun),
        ] {
            if i64::from(count) > max {
                return Err(Error::limit_exceeded(Some((max, noun))));
            }
        }
        Ok(Some(Self {
            maximum_sub_channels: wanted.maximum_sub_channels,
            target_memberships: wanted.target_memberships_per_sub_channel,
            minimum_percentage: wanted.minimum_membership_percentage,
        }))
    }

    pub(crate) fn described(&self) -> ElasticChannelConfiguration {
        ElasticChannelConfiguration {
            maximum_sub_channels: self.maximum_sub_channels,
            target_memberships_per_sub_channel: self.target_memberships,
            minimum_membership_percentage: self.minimum_percentage,
        }
    }

    /// Returns the most sub-channels.
    fn sub_channels_max(&self) -> i64 {
        i64::from(self.maximum_sub_channels)
    }

    /// Returns the most memberships of a sub-channel. A moderator may go to one that is full.
    pub(crate) fn memberships_max(&self, cx: &Cx, is_moderator: bool) -> i64 {
        match is_moderator {
            true => cx.max(&limits::SUB_CHANNEL_MEMBERSHIPS),
            false => self.target(),
        }
    }
}

const RESTRICTED_ALONE: &str = "An elastic channel is RESTRICTED";

/// Refuses a mode that the channel cannot have.
pub(crate) fn check_mode(channel: &Channel, mode: Option<ChannelMode>) -> Result<()> {
    match (&channel.elastic, mode) {
        (Some(_), Some(ChannelMode::Unrestricted)) => Err(Error::bad_request(RESTRICTED_ALONE)),
        _ => Ok(()),
    }
}

/// Lets the rules look at the sub-channel that the request names, if the channel has it. Whether it
/// must name one is for [`check`] to say, once the caller's role is known.
///
/// Its record is not checked: who writes something there is a member of it, which is, and nobody is
/// in one that goes. The caller's membership, on which his role mostly depends, comes with the same
/// read.
pub(crate) async fn select(
    cx: &Cx,
    tx: &mut Txn,
    channel: &mut Channel,
    sub_channel_id: Option<&str>,
) -> Result<()> {
    channel.sub_channel = None;
    let Some(named) = named(channel, sub_channel_id) else { return Ok(()) };
    let key = SubChannel::key_of(channel.uid, named);
    tx.load(&[key.clone(), ChannelMembership::key_of(named, cx.actor()?.principal.uid)]).await?;
    channel.sub_channel = tx.peek_entry(&key).await?.map(|_| named);
    Ok(())
}

/// Returns the keys of what [`select`] reads, for whoever reads more at once.
pub(crate) fn selected(channel: &Channel, sub_channel_id: Option<&str>, caller: Uid) -> Vec<Key> {
    match named(channel, sub_channel_id) {
        Some(uid) => {
            vec![SubChannel::key_of(channel.uid, uid), ChannelMembership::key_of(uid, caller)]
        }
        None => vec![ChannelMembership::key_of(channel.uid, caller)],
    }
}

fn named(channel: &Channel, sub_channel_id: Option<&str>) -> Option<Uid> {
    channel.elastic.as_ref().and(sub_channel_id).and_then(ids::parse_uuid)
}

/// Refuses a SubChannelId where there is none, and its absence where there are several.
///
/// # Errors
/// BadRequest for both, Forbidden for a sub-channel that the elastic channel does not have.
pub(crate) fn check(channel: &Channel, sub_channel_id: Option<&str>) -> Result<()> {
    match (&channel.elastic, sub_channel_id) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(Error::bad_request("The channel has no sub-channels")),
        (Some(_), None) => Err(needs_id()),
        (Some(_), Some(_)) if channel.sub_channel.is_none() => Err(Error::forbidden()),
        (Some(_), Some(_)) => Ok(()),
    }
}

fn needs_id() -> Error {
    Error::bad_request("An elastic channel needs the SubChannelId")
}

/// Refuses what elastic channels do not have.
pub(crate) fn refuse_elastic(channel: &Channel, what: &str) -> Result<()> {
    match channel.elastic {
        Some(_) => Err(Error::bad_request(format!("An elastic channel has no {what}"))),
        None => Ok(()),
    }
}

impl Channel {
    /// Returns the home of what the request is about: messages and memberships.
    pub(crate) fn home(&self) -> Uid {
        self.sub_channel.unwrap_or(self.uid)
    }

    /// Returns the sub-channel of a home as the wire names it; nothing for an ordinary channel.
    pub(crate) fn sub_channel_id(&self, home: Uid) -> Option<String> {
        (home != self.uid).then(|| ids::uuid_text(home))
    }

    /// Whether the request looks at an elastic channel as a whole.
    pub(crate) fn is_whole_elastic(&self) -> bool {
        self.elastic.is_some() && self.sub_channel.is_none()
    }
}

impl Handle<ListSubChannels> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListSubChannelsRequest,
    ) -> Result<Reply<ListSubChannelsResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::ReadSubChannels, &channel).await?;
        if channel.elastic.is_none() {
            return Err(Error::bad_request("The channel is not elastic"));
        }
        let mut walk = Walk::start(
            cx,
            &[b"ListSubChannels", &channel.uid.0],
            Range::prefix(Key::new(&SUB_CHANNEL).uid(channel.uid)),
            Direction::Forward,
            input.max_results,
            input.next_token.as_deref(),
        )?;
        let view = tx.view();
        let shown: Vec<Uid> = walk.take(&view).await?.iter().filter_map(rows::uid_of).collect();
        Ok(Reply::Ready(ListSubChannelsResponse {
            channel_arn: Some(channel.arn(cx)),
            sub_channels: Some(summaries(&view, &shown).await?),
            next_token: walk.next_token(cx),
        }))
    }
}

async fn summaries(view: &View, shown: &[Uid]) -> Result<Vec<SubChannelSummary>> {
    let keys: Vec<Key> = shown.iter().map(|&uid| count_key(uid)).collect();
    let counts = view.entries(&keys).await?;
    let summary = |(&uid, count): (&Uid, Option<store::Entry>)| {
        let count = count.map_or(0, |count| count.count());
        SubChannelSummary {
            sub_channel_id: Some(ids::uuid_text(uid)),
            membership_count: Some(i32::try_from(count).unwrap_or(i32::MAX)),
        }
    };
    Ok(shown.iter().zip(counts).map(summary).collect())
}

#[cfg(test)]
mod tests;

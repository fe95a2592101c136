//! The channels of a user or bot: what he is a member of, and what he moderates.
//!
//! Invariants: everybody reads his own, an admin anybody's; a row whose channel is gone, or is
//! another by now, is left out; a page costs one list and one read, whatever its size.

use store::{Direction, Entry, HomeRow, Key, Range, Txn, Uid, View};
use wire::messaging::{
    AppInstanceUserMembershipSummary, ChannelMembershipForAppInstanceUserSummary,
    ChannelMembershipType, ChannelModeratedByAppInstanceUserSummary,
    DescribeChannelMembershipForAppInstanceUser,
    DescribeChannelMembershipForAppInstanceUserRequest,
    DescribeChannelMembershipForAppInstanceUserResponse, DescribeChannelModeratedByAppInstanceUser,
    DescribeChannelModeratedByAppInstanceUserRequest,
    DescribeChannelModeratedByAppInstanceUserResponse, ListChannelMembershipsForAppInstanceUser,
    ListChannelMembershipsForAppInstanceUserRequest,
    ListChannelMembershipsForAppInstanceUserResponse, ListChannelsModeratedByAppInstanceUser,
    ListChannelsModeratedByAppInstanceUserRequest, ListChannelsModeratedByAppInstanceUserResponse,
};

use crate::Chat;
use crate::access;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::messaging::channel::lookup::{Found, Named, lookup};
use crate::messaging::channel::{self, Channel};
use crate::messaging::channel_membership::{CHANNEL_MEMBERSHIP_BY_MEMBER, ChannelMembership};
use crate::messaging::channel_moderator::{self, CHANNEL_MODERATOR_BY_MODERATOR};
use crate::messaging::channel_read_marker::ChannelReadMarker;
use crate::messaging::sub_channel::ElasticMember;
use crate::page::Walk;
use crate::principal::{self, Principal};

/// A channel, and what its member has in it.
pub(crate) struct MemberChannel {
    pub(crate) channel: Channel,
    pub(crate) home: Option<HomeRow>,
    r#type: ChannelMembershipType,
    /// Where he is in an elastic channel; a moderator may be in more of them.
    sub_channel: Option<Uid>,
    read_marker: Option<ChannelReadMarker>,
}

impl MemberChannel {
    fn summary(&self, cx: &Cx) -> ChannelMembershipForAppInstanceUserSummary {
        let marker = self.read_marker.as_ref();
        ChannelMembershipForAppInstanceUserSummary {
            channel_summary: Some(self.channel.summary(cx, self.home.as_ref())),
            app_instance_user_membership_summary: Some(AppInstanceUserMembershipSummary {
                r#type: Some(self.r#type),
                read_marker_timestamp: marker.and_then(ChannelReadMarker::timestamp),
                sub_channel_id: self.sub_channel.and_then(|uid| self.channel.sub_channel_id(uid)),
            }),
        }
    }
}

/// Returns what each row of a member's index names; nothing for what has ended meanwhile.
pub(crate) async fn member_channels(
    view: &View,
    app_instance: Uid,
    member: Uid,
    rows: &[Entry],
) -> Result<Vec<Option<MemberChannel>>> {
    let named: Vec<Option<Named>> = rows.iter().map(Named::of).collect();
    let beside = |channel| {
        [
            ChannelMembership::key_of(channel, member),
            ChannelReadMarker::key_of(channel, member),
            ElasticMember::key_of(channel, member),
        ]
    };
    let found = lookup(view, app_instance, &named, beside).await?;
    found.into_iter().map(|found| found.map_or(Ok(None), of_found)).collect()
}

fn of_found(found: Found<3>) -> Result<Option<MemberChannel>> {
    let Found { channel, home, beside: [membership, read_marker, elastic] } = found;
    let membership = membership.map(|row| row.decode()).transpose()?;
    let elastic = elastic.map(|row| row.decode()).transpose()?;
    let Some((r#type, sub_channel)) = kind_of(membership, elastic) else { return Ok(None) };
    let read_marker = read_marker.map(|row| row.decode()).transpose()?;
    Ok(Some(MemberChannel { channel, home, r#type, sub_channel, read_marker }))
}

/// Returns what kind of member somebody is, and in which sub-channel of an elastic channel.
fn kind_of(
    membership: Option<ChannelMembership>,
    elastic: Option<ElasticMember>,
) -> Option<(ChannelMembershipType, Option<Uid>)> {
    let ordinary = membership.map(|membership| (membership.r#type, None));
    ordinary.or_else(|| {
        let first = elastic?.sub_channels.first().copied()?;
        Some((ChannelMembershipType::Default, Some(first)))
    })
}

/// Returns whose channels are asked for: the caller's own, or for an admin anybody's.
async fn subject(cx: &Cx, tx: &mut Txn, arn: Option<&str>) -> Result<Principal> {
    let actor = cx.actor()?;
    let Some(arn) = arn else { return Ok(actor.principal.clone()) };
    let subject = principal::find(cx, tx, actor.app_instance, arn).await?;
    if subject.as_ref().is_some_and(|subject| subject.uid == actor.principal.uid) {
        return subject.ok_or_else(Error::forbidden);
    }
    if !access::is_admin(cx, tx).await? {
        return Err(Error::forbidden());
    }
    subject.ok_or_else(Error::unknown_member)
}

impl Handle<ListChannelMembershipsForAppInstanceUser> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListChannelMembershipsForAppInstanceUserRequest,
    ) -> Result<Reply<ListChannelMembershipsForAppInstanceUserResponse>> {
        let member = subject(cx, tx, input.app_instance_user_arn.as_deref()).await?.uid;
        let app_instance = cx.actor()?.app_instance;
        let mut walk = Walk::start(
            cx,
            &[b"ListChannelMembershipsForAppInstanceUser", &member.0],
            Range::prefix(Key::new(&CHANNEL_MEMBERSHIP_BY_MEMBER).uid(member)),
            Direction::Forward,
            input.max_results,
            input.next_token.as_deref(),
        )?;
        let view = tx.view();
        let mut channel_memberships = Vec::new();
        loop {
            let rows = walk.read(&view).await?;
            if rows.is_empty() {
                break;
            }
            let found = member_channels(&view, app_instance, member, &rows).await?;
            let found = walk.sift(&rows, found).into_iter();
            channel_memberships.extend(found.map(|found| found.summary(cx)));
        }
        Ok(Reply::Ready(ListChannelMembershipsForAppInstanceUserResponse {
            channel_memberships: Some(channel_memberships),
            next_token: walk.next_token(cx),
        }))
    }
}

impl Handle<DescribeChannelMembershipForAppInstanceUser> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DescribeChannelMembershipForAppInstanceUserRequest,
    ) -> Result<Reply<DescribeChannelMembershipForAppInstanceUserResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        let member = subject(cx, tx, Some(&input.app_instance_user_arn)).await?.uid;
        let home = Key::home(channel.uid);
        let membership = ChannelMembership::key_of(channel.uid, member);
        let read_marker = ChannelReadMarker::key_of(channel.uid, member);
        let elastic = ElasticMember::key_of(channel.uid, member);
        let keys = [home.clone(), membership.clone(), read_marker.clone(), elastic.clone()];
        tx.load(&keys).await?;
        let kind = kind_of(tx.get(&membership).await?, tx.get(&elastic).await?);
        // The operation models no NotFound: a membership that is not there is refused.
        let (r#type, sub_channel) = kind.ok_or_else(Error::forbidden)?;
        let described = MemberChannel {
            r#type,
            sub_channel,
            read_marker: tx.get(&read_marker).await?,
            home: tx.peek_entry(&home).await?.map(|home| home.home()),
            channel,
        };
        let channel_membership = Some(described.summary(cx));
        Ok(Reply::Ready(DescribeChannelMembershipForAppInstanceUserResponse { channel_membership }))
    }
}

fn moderated(
    cx: &Cx,
    channel: &Channel,
    home: Option<&HomeRow>,
) -> ChannelModeratedByAppInstanceUserSummary {
    let channel_summary = Some(channel.summary(cx, home));
    ChannelModeratedByAppInstanceUserSummary { channel_summary }
}

impl Handle<ListChannelsModeratedByAppInstanceUser> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListChannelsModeratedByAppInstanceUserRequest,
    ) -> Result<Reply<ListChannelsModeratedByAppInstanceUserResponse>> {
        let moderator = subject(cx, tx, input.app_instance_user_arn.as_deref()).await?.uid;
        let app_instance = cx.actor()?.app_instance;
        let mut walk = Walk::start(
            cx,
            &[b"ListChannelsModeratedByAppInstanceUser", &moderator.0],
            Range::prefix(Key::new(&CHANNEL_MODERATOR_BY_MODERATOR).uid(moderator)),
            Direction::Forward,
            input.max_results,
            input.next_token.as_deref(),
        )?;
        let view = tx.view();
        let mut channels = Vec::new();
        loop {
            let rows = walk.read(&view).await?;
            if rows.is_empty() {
                break;
            }
            let named: Vec<Option<Named>> = rows.iter().map(Named::of).collect();
            let found = lookup(&view, app_instance, &named, |_| []).await?;
            let summary = |found: Found<0>| moderated(cx, &found.channel, found.home.as_ref());
            channels.extend(walk.sift(&rows, found).into_iter().map(summary));
        }
        Ok(Reply::Ready(ListChannelsModeratedByAppInstanceUserResponse {
            channels: Some(channels),
            next_token: walk.next_token(cx),
        }))
    }
}

impl Handle<DescribeChannelModeratedByAppInstanceUser> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DescribeChannelModeratedByAppInstanceUserRequest,
    ) -> Result<Reply<DescribeChannelModeratedByAppInstanceUserResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        let moderator = subject(cx, tx, Some(&input.app_instance_user_arn)).await?.uid;
        // The operation models no NotFound: a role that is not there is refused.
        if !channel_moderator::is(tx, channel.uid, moderator).await? {
            return Err(Error::forbidden());
        }
        let home = tx.peek_entry(&Key::home(channel.uid)).await?.map(|home| home.home());
        let channel = Some(moderated(cx, &channel, home.as_ref()));
        Ok(Reply::Ready(DescribeChannelModeratedByAppInstanceUserResponse { channel }))
    }
}

#[cfg(test)]
mod tests;

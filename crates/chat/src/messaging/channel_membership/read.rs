//! DescribeChannelMembership and ListChannelMemberships: who is in a channel.
//!
//! Invariant: a membership whose user was deleted, or is another by now, is not shown; members have
//! their names of today.

use store::{Direction, Entry, Key, Range, Txn, Uid};
use wire::messaging::{
    ChannelMembershipSummary, ChannelMembershipType, DescribeChannelMembership,
    DescribeChannelMembershipRequest, DescribeChannelMembershipResponse, ListChannelMemberships,
    ListChannelMembershipsRequest, ListChannelMembershipsResponse,
};

use super::{CHANNEL_MEMBERSHIP, CHANNEL_MEMBERSHIP_HIDDEN, ChannelMembership};
use crate::Chat;
use crate::access::{self, Action};
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::messaging::channel::{self, Channel};
use crate::messaging::sub_channel;
use crate::page::Walk;
use crate::principal::{self, Principal};

impl Handle<DescribeChannelMembership> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DescribeChannelMembershipRequest,
    ) -> Result<Reply<DescribeChannelMembershipResponse>> {
        let mut channel = channel::require(cx, tx, &input.channel_arn).await?;
        sub_channel::select(cx, tx, &mut channel, input.sub_channel_id.as_deref()).await?;
        access::require(cx, tx, Action::ReadMembers, &channel).await?;
        sub_channel::check(&channel, input.sub_channel_id.as_deref())?;
        let absent = || Error::not_found("channel membership");
        let member = principal::find(cx, tx, channel.app_instance, &input.member_arn).await?;
        let member = member.ok_or_else(absent)?;
        let membership: Option<ChannelMembership> =
            tx.get(&ChannelMembership::key_of(channel.home(), member.uid)).await?;
        let mut membership = membership.ok_or_else(absent)?;
        membership.member = member;
        let channel_membership = Some(membership.described(cx, &channel));
        Ok(Reply::Ready(DescribeChannelMembershipResponse { channel_membership }))
    }
}

impl Handle<ListChannelMemberships> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListChannelMembershipsRequest,
    ) -> Result<Reply<ListChannelMembershipsResponse>> {
        let mut channel = channel::require(cx, tx, &input.channel_arn).await?;
        sub_channel::select(cx, tx, &mut channel, input.sub_channel_id.as_deref()).await?;
        let r#type = input.r#type.unwrap_or(ChannelMembershipType::Default);
        let (action, table) = match r#type {
            ChannelMembershipType::Default => (Action::ReadMembers, &CHANNEL_MEMBERSHIP),
            ChannelMembershipType::Hidden => {
                (Action::ReadHiddenMembers, &CHANNEL_MEMBERSHIP_HIDDEN)
            }
        };
        access::require(cx, tx, action, &channel).await?;
        sub_channel::check(&channel, input.sub_channel_id.as_deref())?;
        let home = channel.home();
        let mut walk = Walk::start(
            cx,
            &[b"ListChannelMemberships", &home.0, r#type.as_str().as_bytes()],
            Range::prefix(Key::new(table).uid(home)),
            Direction::Forward,
            input.max_results,
            input.next_token.as_deref(),
        )?;
        let view = tx.view();
        let mut shown = Vec::new();
        loop {
            let rows = walk.read(&view).await?;
            if rows.is_empty() {
                break;
            }
            let members = members(&view, &channel, r#type, &rows).await?;
            shown.extend(walk.sift(&rows, members));
        }
        let summary = |member: Principal| ChannelMembershipSummary {
            member: Some(member.identity(cx, channel.app_instance)),
        };
        Ok(Reply::Ready(ListChannelMembershipsResponse {
            channel_arn: Some(channel.arn(cx)),
            channel_memberships: Some(shown.into_iter().map(summary).collect()),
            next_token: walk.next_token(cx),
        }))
    }
}

/// Returns for each row the live member that it shows, under his name of today; nothing for a row
/// of the other type and for one whose user was deleted or is another by now.
async fn members(
    view: &store::View,
    channel: &Channel,
    r#type: ChannelMembershipType,
    rows: &[Entry],
) -> Result<Vec<Option<Principal>>> {
    if r#type == ChannelMembershipType::Default {
        return shown_members(view, channel.app_instance, rows.iter()).await;
    }
    let key = |row: &Entry| Key::new(&CHANNEL_MEMBERSHIP).raw(&row.key);
    let memberships = view.get_many(&rows.iter().map(key).collect::<Vec<_>>()).await?;
    let hidden = |row: Option<ChannelMembership>| row.filter(ChannelMembership::is_hidden);
    let hidden = memberships.into_iter().map(|row| hidden(row).map(|row| row.member));
    principal::live(view, channel.app_instance, &hidden.collect::<Vec<_>>()).await
}

/// Returns for each row of memberships the live member that it shows to everybody in the channel.
pub(crate) async fn shown_members(
    view: &store::View,
    app_instance: Uid,
    rows: impl Iterator<Item = &Entry>,
) -> Result<Vec<Option<Principal>>> {
    let shown = rows.map(|row| {
        let membership: ChannelMembership = row.decode()?;
        Ok((!membership.is_hidden()).then_some(membership.member))
    });
    let shown = shown.collect::<std::result::Result<Vec<_>, store::Unavailable>>()?;
    principal::live(view, app_instance, &shown).await
}

//! Bans: users and bots who may not become members of a channel.
//!
//! Key: channel and the uid of the banned, so a re-created user of the same id is not banned; index:
//! the banned and channel, by which his purge finds them. Who is banned is neither a member nor a
//! moderator: what makes him one checks that there is no ban, and a ban checks that he is no
//! moderator and removes his membership in the same batch.

use serde::{Deserialize, Serialize};
use store::{Direction, Index, Key, Kind, Range, Record, Table, Txn, Uid};
use wire::messaging::{
    ChannelBan as Described, ChannelBanSummary, CreateChannelBan, CreateChannelBanRequest,
    CreateChannelBanResponse, DeleteChannelBan, DeleteChannelBanRequest, DescribeChannelBan,
    DescribeChannelBanRequest, DescribeChannelBanResponse, ListChannelBans, ListChannelBansRequest,
    ListChannelBansResponse,
};
use wire::time::Timestamp;

use crate::Chat;
use crate::access::{self, Action};
use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::history::Moment;
use crate::identity::app_instance_admin;
use crate::messaging::channel::{self, Channel};
use crate::messaging::channel_membership;
use crate::messaging::channel_moderator;
use crate::page::Walk;
use crate::principal::{self, Principal};

pub(crate) static CHANNEL_BAN: Table =
    Table { name: "channel_ban", kind: Kind::Record, columns: &["member", "created_ms"] };

/// Member, channel: from where a user is banned; the value is the channel's id.
pub(crate) static CHANNEL_BAN_BY_MEMBER: Table =
    Table { name: "channel_ban_by_member", kind: Kind::Index, columns: &[] };

/// One ban.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChannelBan {
    channel: Uid,
    channel_id: String,
    member: Principal,
    created_by: Principal,
    created_ms: i64,
}

impl Record for ChannelBan {
    const TABLE: &'static Table = &CHANNEL_BAN;

    fn key(&self) -> Key {
        key_of(self.channel, self.member.uid)
    }

    fn indexes(&self, out: &mut Vec<Index>) {
        out.push(Index {
            key: Key::new(&CHANNEL_BAN_BY_MEMBER).uid(self.member.uid).uid(self.channel),
            value: self.channel_id.clone().into_bytes(),
        });
    }
}

impl Proof for ChannelBan {
    fn refers_to(&self) -> Vec<Uid> {
        vec![self.channel, self.member.uid]
    }
}

impl ChannelBan {
    /// Returns what a history says of somebody in a channel of this uid and id.
    pub(crate) fn imported(
        (channel, channel_id): (Uid, &str),
        member: Principal,
        created_by: Principal,
        created: Moment,
    ) -> Self {
        let channel_id = channel_id.to_owned();
        Self { channel, channel_id, member, created_by, created_ms: created.0 }
    }

    fn described(self, cx: &Cx, channel: &Channel) -> Described {
        Described {
            member: Some(self.member.identity(cx, channel.app_instance)),
            channel_arn: Some(channel.arn(cx)),
            created_timestamp: Some(Timestamp(self.created_ms)),
            created_by: Some(self.created_by.identity(cx, channel.app_instance)),
        }
    }
}

pub(crate) fn key_of(channel: Uid, member: Uid) -> Key {
    Key::new(&CHANNEL_BAN).uid(channel).uid(member)
}

/// Whether `member` is banned from `channel`.
pub(crate) async fn is(tx: &mut Txn, channel: Uid, member: Uid) -> Result<bool> {
    Ok(tx.exists(&key_of(channel, member)).await?)
}

/// Removes a ban that was got.
pub(crate) fn remove(tx: &mut Txn, ban: &ChannelBan) {
    tx.delete(ban);
}

/// Refuses to ban those who decide about bans: admins, and moderators of the channel.
async fn refuse_role(tx: &mut Txn, channel: &Channel, member: Uid) -> Result<()> {
    let has_role = app_instance_admin::is(tx, channel.app_instance, member).await?
        || channel_moderator::is(tx, channel.uid, member).await?;
    if has_role { Err(Error::forbidden()) } else { Ok(()) }
}

impl Handle<CreateChannelBan> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &CreateChannelBanRequest,
    ) -> Result<Reply<CreateChannelBanResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::AddBan, &channel).await?;
        let member = principal::require(cx, tx, channel.app_instance, &input.member_arn).await?;
        refuse_role(tx, &channel, member.uid).await?;
        if is(tx, channel.uid, member.uid).await? {
            return Err(Error::conflict("The user or bot is banned from the channel already"));
        }
        channel_membership::leave_all(cx, tx, &channel, member.uid).await?;
        tx.set_home(channel.uid);
        tx.hold(member.uid);
        let identity = member.identity(cx, channel.app_instance);
        tx.put(&ChannelBan {
            channel: channel.uid,
            channel_id: channel.id.clone(),
            member,
            created_by: cx.actor()?.principal.clone(),
            created_ms: cx.now_ms,
        });
        Ok(Reply::Ready(CreateChannelBanResponse {
            channel_arn: Some(channel.arn(cx)),
            member: Some(identity),
        }))
    }
}

impl Handle<DescribeChannelBan> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DescribeChannelBanRequest,
    ) -> Result<Reply<DescribeChannelBanResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::ReadBans, &channel).await?;
        let absent = || Error::not_found("channel ban");
        let today = principal::find(cx, tx, channel.app_instance, &input.member_arn).await?;
        let today = today.ok_or_else(absent)?;
        let ban: Option<ChannelBan> = tx.get(&key_of(channel.uid, today.uid)).await?;
        let ban = ChannelBan { member: today, ..ban.ok_or_else(absent)? };
        let channel_ban = Some(ban.described(cx, &channel));
        Ok(Reply::Ready(DescribeChannelBanResponse { channel_ban }))
    }
}

impl Handle<ListChannelBans> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListChannelBansRequest,
    ) -> Result<Reply<ListChannelBansResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::ReadBans, &channel).await?;
        let mut walk = Walk::start(
            cx,
            &[b"ListChannelBans", &channel.uid.0],
            Range::prefix(Key::new(&CHANNEL_BAN).uid(channel.uid)),
            Direction::Forward,
            input.max_results,
            input.next_token.as_deref(),
        )?;
        let named = |ban: ChannelBan| ban.member;
        let page = principal::page(&tx.view(), &mut walk, channel.app_instance, named).await?;
        let summaries = page.into_iter().map(|member| ChannelBanSummary {
            member: Some(member.identity(cx, channel.app_instance)),
        });
        Ok(Reply::Ready(ListChannelBansResponse {
            channel_arn: Some(channel.arn(cx)),
            next_token: walk.next_token(cx),
            channel_bans: Some(summaries.collect()),
        }))
    }
}

impl Handle<DeleteChannelBan> for Chat {
    async fn handle(cx: &Cx, tx: &mut Txn, input: &DeleteChannelBanRequest) -> Result<Reply<()>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::RemoveBan, &channel).await?;
        // The operation models no NotFound: a ban that is not there is refused.
        let member = principal::find(cx, tx, channel.app_instance, &input.member_arn).await?;
        let member = member.ok_or_else(Error::forbidden)?.uid;
        let ban: Option<ChannelBan> = tx.get(&key_of(channel.uid, member)).await?;
        let ban = ban.ok_or_else(Error::forbidden)?;
        tx.set_home(channel.uid);
        remove(tx, &ban);
        Ok(Reply::Ready(()))
    }
}

#[cfg(test)]
mod tests;

//! Moderators of a channel.
//!
//! Key: channel and the uid of the moderator; index: moderator and channel. The counter of the
//! channel equals the rows. The role does not depend on a membership, and nobody who is banned has
//! it: who is promoted is not banned, and who is banned is no moderator.

use serde::{Deserialize, Serialize};
use store::{Direction, Index, Key, Kind, Range, Record, Table, Txn, Uid};
use wire::messaging::{
    ChannelModerator as Described, ChannelModeratorSummary, CreateChannelModerator,
    CreateChannelModeratorRequest, CreateChannelModeratorResponse, DeleteChannelModerator,
    DeleteChannelModeratorRequest, DescribeChannelModerator, DescribeChannelModeratorRequest,
    DescribeChannelModeratorResponse, ListChannelModerators, ListChannelModeratorsRequest,
    ListChannelModeratorsResponse,
};
use wire::time::Timestamp;

use crate::access::{self, Action};
use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::event::{self, Effect};
use crate::history::Moment;
use crate::messaging::channel::{self, Channel};
use crate::messaging::channel_ban;
use crate::messaging::channel_membership;
use crate::page::Walk;
use crate::principal::{self, Principal};
use crate::{Chat, limits};

pub(crate) static CHANNEL_MODERATOR: Table =
    Table { name: "channel_moderator", kind: Kind::Record, columns: &["moderator", "created_ms"] };

/// Moderator, channel: what a user moderates.
pub(crate) static CHANNEL_MODERATOR_BY_MODERATOR: Table =
    Table { name: "channel_moderator_by_moderator", kind: Kind::Index, columns: &[] };

/// One moderator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChannelModerator {
    channel: Uid,
    channel_id: String,
    moderator: Principal,
    created_by: Principal,
    created_ms: i64,
}

impl Record for ChannelModerator {
    const TABLE: &'static Table = &CHANNEL_MODERATOR;

    fn key(&self) -> Key {
        key_of(self.channel, self.moderator.uid)
    }

    fn indexes(&self, out: &mut Vec<Index>) {
        let key = Key::new(&CHANNEL_MODERATOR_BY_MODERATOR);
        out.push(Index {
            key: key.uid(self.moderator.uid).uid(self.channel),
            value: self.channel_id.clone().into_bytes(),
        });
    }
}

impl Proof for ChannelModerator {
    fn counted(&self) -> Vec<Key> {
        vec![limits::CHANNEL_MODERATORS.key(self.channel)]
    }

    fn refers_to(&self) -> Vec<Uid> {
        vec![self.channel, self.moderator.uid]
    }
}

impl ChannelModerator {
    /// Returns what a history says of somebody in a channel of this uid and id.
    pub(crate) fn imported(
        (channel, channel_id): (Uid, &str),
        moderator: Principal,
        created_by: Principal,
        created: Moment,
    ) -> Self {
        let channel_id = channel_id.to_owned();
        Self { channel, channel_id, moderator, created_by, created_ms: created.0 }
    }

    fn described(self, cx: &Cx, channel: &Channel) -> Described {
        Described {
            moderator: Some(self.moderator.identity(cx, channel.app_instance)),
            channel_arn: Some(channel.arn(cx)),
            created_timestamp: Some(Timestamp(self.created_ms)),
            created_by: Some(self.created_by.identity(cx, channel.app_instance)),
        }
    }
}

pub(crate) fn key_of(channel: Uid, moderator: Uid) -> Key {
    Key::new(&CHANNEL_MODERATOR).uid(channel).uid(moderator)
}

/// Whether `principal` is a moderator of `channel`.
pub(crate) async fn is(tx: &mut Txn, channel: Uid, principal: Uid) -> Result<bool> {
    Ok(tx.exists(&key_of(channel, principal)).await?)
}

/// Makes `moderator` a moderator of `channel`, of which he is none yet.
pub(crate) async fn promote(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    moderator: &Principal,
) -> Result<()> {
    let record = ChannelModerator {
        channel: channel.uid,
        channel_id: channel.id.clone(),
        moderator: moderator.clone(),
        created_by: cx.actor()?.principal.clone(),
        created_ms: cx.now_ms,
    };
    tx.exists(&record.key()).await?;
    tx.hold(moderator.uid);
    tx.put(&record);
    let quota = limits::CHANNEL_MODERATORS;
    tx.add(quota.key(channel.uid), 1, Some(cx.max(&quota)));
    Ok(())
}

/// Takes the role from a moderator that was got.
pub(crate) fn remove(tx: &mut Txn, moderator: &ChannelModerator) {
    tx.delete(moderator);
    tx.add(limits::CHANNEL_MODERATORS.key(moderator.channel), -1, None);
}

/// Prepares the change of a role. Members of an elastic channel leave it with their old role, since a
/// moderator chooses his sub-channels and a plain member does not.
async fn change_role(cx: &Cx, tx: &mut Txn, channel: &Channel, user: Uid) -> Result<()> {
    if channel.elastic.is_some() {
        channel_membership::leave_all(cx, tx, channel, user).await?;
    }
    tx.set_home(channel.uid);
    Ok(())
}

/// Tells the hub, and nobody else, that a user became a moderator or is none any longer.
fn tell(tx: &mut Txn, channel: &Channel, user: Uid, moderator: bool) {
    let channel = channel.uid;
    tx.emit(event::internal(Effect::ModeratorChanged { channel, user, moderator }));
}

impl Handle<CreateChannelModerator> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &CreateChannelModeratorRequest,
    ) -> Result<Reply<CreateChannelModeratorResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::AddModerator, &channel).await?;
        let moderator =
            principal::require(cx, tx, channel.app_instance, &input.channel_moderator_arn).await?;
        if channel_ban::is(tx, channel.uid, moderator.uid).await? {
            return Err(Error::forbidden());
        }
        if is(tx, channel.uid, moderator.uid).await? {
            return Err(Error::conflict("The user or bot is a moderator of the channel already"));
        }
        change_role(cx, tx, &channel, moderator.uid).await?;
        promote(cx, tx, &channel, &moderator).await?;
        tell(tx, &channel, moderator.uid, true);
        Ok(Reply::Ready(CreateChannelModeratorResponse {
            channel_arn: Some(channel.arn(cx)),
            channel_moderator: Some(moderator.identity(cx, channel.app_instance)),
        }))
    }
}

impl Handle<DescribeChannelModerator> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DescribeChannelModeratorRequest,
    ) -> Result<Reply<DescribeChannelModeratorResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::ReadModerators, &channel).await?;
        let absent = || Error::not_found("channel moderator");
        let today =
            principal::find(cx, tx, channel.app_instance, &input.channel_moderator_arn).await?;
        let today = today.ok_or_else(absent)?;
        let record: Option<ChannelModerator> = tx.get(&key_of(channel.uid, today.uid)).await?;
        let record = ChannelModerator { moderator: today, ..record.ok_or_else(absent)? };
        let channel_moderator = Some(record.described(cx, &channel));
        Ok(Reply::Ready(DescribeChannelModeratorResponse { channel_moderator }))
    }
}

impl Handle<ListChannelModerators> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListChannelModeratorsRequest,
    ) -> Result<Reply<ListChannelModeratorsResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::ReadModerators, &channel).await?;
        let mut walk = Walk::start(
            cx,
            &[b"ListChannelModerators", &channel.uid.0],
            Range::prefix(Key::new(&CHANNEL_MODERATOR).uid(channel.uid)),
            Direction::Forward,
            input.max_results,
            input.next_token.as_deref(),
        )?;
        let named = |record: ChannelModerator| record.moderator;
        let page = principal::page(&tx.view(), &mut walk, channel.app_instance, named).await?;
        let summaries = page.into_iter().map(|moderator| ChannelModeratorSummary {
            moderator: Some(moderator.identity(cx, channel.app_instance)),
        });
        Ok(Reply::Ready(ListChannelModeratorsResponse {
            channel_arn: Some(channel.arn(cx)),
            next_token: walk.next_token(cx),
            channel_moderators: Some(summaries.collect()),
        }))
    }
}

impl Handle<DeleteChannelModerator> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DeleteChannelModeratorRequest,
    ) -> Result<Reply<()>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::RemoveModerator, &channel).await?;
        // The operation models no NotFound: a role that is not there is refused.
        let moderator =
            principal::find(cx, tx, channel.app_instance, &input.channel_moderator_arn).await?;
        let moderator = moderator.ok_or_else(Error::forbidden)?.uid;
        let record: Option<ChannelModerator> = tx.get(&key_of(channel.uid, moderator)).await?;
        let record = record.ok_or_else(Error::forbidden)?;
        change_role(cx, tx, &channel, moderator).await?;
        remove(tx, &record);
        tell(tx, &channel, moderator, false);
        Ok(Reply::Ready(()))
    }
}

#[cfg(test)]
mod tests;

//! Memberships: who is in a channel, visibly or hidden.
//!
//! Key: channel and member, both by uid, so a re-created user is no member. Indexes: the member's
//! channels (whose row's version is the join), and the hidden members of a channel. The counters of
//! channel and member equal the rows. What a member set for himself goes with his membership.
//! Several at once: `batch.rs`; who is there: `read.rs`.

mod batch;
pub(crate) mod departure;
mod read;
mod transfer;

use serde::{Deserialize, Serialize};
use store::{Audience, Index, Key, Kind, Record, Table, Txn, Uid};
use wire::messaging::{
    ChannelMembership as Described, ChannelMembershipType, CreateChannelMembership,
    CreateChannelMembershipRequest, CreateChannelMembershipResponse, DeleteChannelMembership,
    DeleteChannelMembershipRequest,
};
use wire::time::Timestamp;

use crate::access::{self, Action};
use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::event::{self, Effect};
use crate::history;
use crate::messaging::channel::{self, Channel};
use crate::messaging::channel_membership_preferences::ChannelMembershipPreferences;
use crate::messaging::channel_read_marker::ChannelReadMarker;
use crate::messaging::sub_channel::{self, Assignment, ElasticMember, SubChannel, assign};
use crate::messaging::{channel_ban, channel_moderator};
use crate::principal::{self, Principal};
use crate::{Chat, limits};

pub(crate) use read::shown_members;
pub(crate) use transfer::{expel, transfer};

pub(crate) static CHANNEL_MEMBERSHIP: Table = Table {
    name: "channel_membership",
    kind: Kind::Record,
    columns: &["channel_id", "member", "type", "created_ms"],
};

/// Channel, member: the hidden ones.
pub(crate) static CHANNEL_MEMBERSHIP_HIDDEN: Table =
    Table { name: "channel_membership_hidden", kind: Kind::Index, columns: &[] };

/// Member, channel: what a user is a member of; the value is the channel's id.
pub(crate) static CHANNEL_MEMBERSHIP_BY_MEMBER: Table =
    Table { name: "channel_membership_by_member", kind: Kind::Index, columns: &[] };

/// One membership.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChannelMembership {
    channel: Uid,
    channel_id: String,
    /// Where the membership is, in an elastic channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub_channel: Option<Uid>,
    pub(crate) member: Principal,
    pub(crate) r#type: ChannelMembershipType,
    invited_by: Principal,
    created_ms: i64,
    updated_ms: i64,
}

impl Record for ChannelMembership {
    const TABLE: &'static Table = &CHANNEL_MEMBERSHIP;

    fn key(&self) -> Key {
        Self::key_of(self.home(), self.member.uid)
    }

    fn indexes(&self, out: &mut Vec<Index>) {
        let member = self.member.uid;
        if self.sub_channel.is_some() {
            return;
        }
        out.push(Index {
            key: key_by_member(member, self.channel),
            value: self.channel_id.clone().into_bytes(),
        });
        if self.is_hidden() {
            out.push(Index { key: key_if_hidden(self.channel, member), value: Vec::new() });
        }
    }
}

impl Proof for ChannelMembership {
    fn counted(&self) -> Vec<Key> {
        if let Some(sub_channel) = self.sub_channel {
            return vec![limits::SUB_CHANNEL_MEMBERSHIPS.key(sub_channel)];
        }
        let of_channel = limits::CHANNEL_MEMBERSHIPS.key(self.channel);
        let mut counted = vec![of_channel, limits::USER_MEMBERSHIPS.key(self.member.uid)];
        counted.extend(self.is_hidden().then(|| limits::hidden_memberships(self.channel)));
        counted
    }

    fn refers_to(&self) -> Vec<Uid> {
        vec![self.home(), self.member.uid]
    }

    fn beside(&self) -> Vec<Key> {
        let elastic = self.sub_channel.iter();
        elastic.map(|_| ElasticMember::key_of(self.channel, self.member.uid)).collect()
    }
}

/// Returns the key of the row that tells of a membership from the member's side.
pub(crate) fn key_by_member(member: Uid, channel: Uid) -> Key {
    Key::new(&CHANNEL_MEMBERSHIP_BY_MEMBER).uid(member).uid(channel)
}

/// Returns the key of the row that is there when the member is a hidden one.
pub(crate) fn key_if_hidden(channel: Uid, member: Uid) -> Key {
    Key::new(&CHANNEL_MEMBERSHIP_HIDDEN).uid(channel).uid(member)
}

impl ChannelMembership {
    /// Returns the membership that a history names.
    pub(crate) fn imported(
        channel: Uid,
        member: Principal,
        invited_by: Principal,
        line: &history::Membership,
    ) -> Self {
        Self {
            channel,
            channel_id: line.channel.clone(),
            sub_channel: None,
            member,
            r#type: line.r#type.unwrap_or(ChannelMembershipType::Default),
            invited_by,
            created_ms: line.created.0,
            updated_ms: line.created.0,
        }
    }

    pub(crate) fn key_of(channel: Uid, member: Uid) -> Key {
        Key::new(&CHANNEL_MEMBERSHIP).uid(channel).uid(member)
    }

    /// Returns the channel, or in an elastic one the sub-channel.
    pub(crate) fn home(&self) -> Uid {
        self.sub_channel.unwrap_or(self.channel)
    }

    fn is_hidden(&self) -> bool {
        self.r#type == ChannelMembershipType::Hidden
    }

    /// Returns the membership to which the caller invites `member`.
    pub(crate) fn new(
        cx: &Cx,
        channel: &Channel,
        member: Principal,
        r#type: ChannelMembershipType,
    ) -> Result<Self> {
        Ok(Self {
            channel: channel.uid,
            channel_id: channel.id.clone(),
            sub_channel: channel.sub_channel,
            member,
            r#type,
            invited_by: cx.actor()?.principal.clone(),
            created_ms: cx.now_ms,
            updated_ms: cx.now_ms,
        })
    }

    fn described(&self, cx: &Cx, channel: &Channel) -> Described {
        Described {
            invited_by: Some(self.invited_by.identity(cx, channel.app_instance)),
            r#type: Some(self.r#type),
            member: Some(self.member.identity(cx, channel.app_instance)),
            channel_arn: Some(channel.arn(cx)),
            created_timestamp: Some(Timestamp(self.created_ms)),
            last_updated_timestamp: Some(Timestamp(self.updated_ms)),
            sub_channel_id: channel.sub_channel_id(self.home()),
        }
    }
}

/// Returns what kind of member somebody is: of the channel, or of the sub-channel that the request
/// looks at.
pub(crate) async fn type_of(
    tx: &mut Txn,
    channel: &Channel,
    member: Uid,
) -> Result<Option<ChannelMembershipType>> {
    if channel.is_whole_elastic() {
        let is_there = tx.exists(&ElasticMember::key_of(channel.uid, member)).await?;
        return Ok(is_there.then_some(ChannelMembershipType::Default));
    }
    let key = ChannelMembership::key_of(channel.home(), member);
    Ok(tx.get_of(&key, |membership: &ChannelMembership| membership.r#type).await?)
}

/// Puts a membership that is not there yet and tells those who are to know.
pub(crate) async fn enter(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    membership: &ChannelMembership,
    effect: Option<Effect>,
) -> Result<()> {
    put(cx, tx, channel, membership).await?;
    tell(cx, tx, event::Kind::CreateChannelMembership, channel, membership, effect).await
}

/// Puts a membership that is not there yet.
async fn put(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    membership: &ChannelMembership,
) -> Result<()> {
    let member = membership.member.uid;
    tx.exists(&membership.key()).await?;
    tx.hold(member);
    tx.put(membership);
    if let (Some(elastic), Some(sub_channel)) = (&channel.elastic, membership.sub_channel) {
        let is_moderator = channel_moderator::is(tx, channel.uid, member).await?;
        let max = elastic.memberships_max(cx, is_moderator);
        tx.hold(sub_channel);
        tx.add(limits::SUB_CHANNEL_MEMBERSHIPS.key(sub_channel), 1, Some(max));
        return ElasticMember::enter(cx, tx, channel, sub_channel, member).await;
    }
    let quota = limits::CHANNEL_MEMBERSHIPS;
    tx.add(quota.key(membership.channel), 1, Some(cx.max(&quota)));
    let quota = limits::USER_MEMBERSHIPS;
    tx.add(quota.key(member), 1, Some(cx.max(&quota)));
    if membership.is_hidden() {
        tx.add(limits::hidden_memberships(membership.channel), 1, None);
    }
    Ok(())
}

/// Removes a membership that was got and tells those who are to know.
pub(crate) async fn leave(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    membership: &ChannelMembership,
) -> Result<()> {
    sub_channel::note_leave(cx, tx, channel, membership.home()).await?;
    remove(cx, tx, membership).await?;
    let effect = Effect::Leave { channel: membership.home(), user: membership.member.uid };
    let kind = event::Kind::DeleteChannelMembership;
    tell(cx, tx, kind, channel, membership, Some(effect)).await
}

/// Takes a member out of the channel, or of the sub-channel that the request looks at, or of all.
pub(crate) async fn leave_all(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    member: Uid,
) -> Result<usize> {
    let mut homes = vec![channel.home()];
    if channel.is_whole_elastic() {
        homes = ElasticMember::places(tx, channel.uid, member).await?;
    }
    // What several sub-channels hear of has the order of the channel.
    tx.set_home(if let [home] = homes[..] { home } else { channel.uid });
    let mut count = 0;
    let rows = |home: &Uid| {
        let mut keys = vec![ChannelMembership::key_of(*home, member)];
        if channel.elastic.is_some() {
            keys.extend([SubChannel::key_of(channel.uid, *home), sub_channel::count_key(*home)]);
            keys.push(limits::SUB_CHANNELS.key(channel.uid));
        }
        keys
    };
    tx.load(&homes.iter().flat_map(rows).collect::<Vec<Key>>()).await?;
    for home in homes {
        if channel.elastic.is_some() {
            tx.hold(home);
        }
        if let Some(membership) = tx.get(&ChannelMembership::key_of(home, member)).await? {
            leave(cx, tx, channel, &membership).await?;
            count += 1;
        }
    }
    Ok(count)
}

/// Removes a membership that was got, of a channel that is gone: nobody is left to be told.
pub(crate) async fn remove(cx: &Cx, tx: &mut Txn, membership: &ChannelMembership) -> Result<()> {
    let (channel, member) = (membership.channel, membership.member.uid);
    let Some(sub_channel) = membership.sub_channel else {
        remove_ordinary(cx, tx, membership);
        return Ok(());
    };
    tx.hold(member);
    departure::note(cx, tx, membership);
    tx.delete(membership);
    tx.add(limits::SUB_CHANNEL_MEMBERSHIPS.key(sub_channel), -1, None);
    ElasticMember::leave(tx, channel, sub_channel, member).await
}

/// Removes a membership of an ordinary channel that was got.
pub(crate) fn remove_ordinary(cx: &Cx, tx: &mut Txn, membership: &ChannelMembership) {
    departure::note(cx, tx, membership);
    let (channel, member) = (membership.channel, membership.member.uid);
    tx.delete(membership);
    tx.delete_raw(ChannelReadMarker::key_of(channel, member));
    tx.delete_raw(ChannelMembershipPreferences::key_of(channel, member));
    tx.add(limits::CHANNEL_MEMBERSHIPS.key(channel), -1, None);
    tx.add(limits::USER_MEMBERSHIPS.key(member), -1, None);
    if membership.is_hidden() {
        tx.add(limits::hidden_memberships(channel), -1, None);
    }
}

/// Emits a membership event: to all members, or for a hidden one to the moderators and himself.
async fn tell(
    cx: &Cx,
    tx: &mut Txn,
    kind: event::Kind,
    channel: &Channel,
    membership: &ChannelMembership,
    effect: Option<Effect>,
) -> Result<()> {
    let payload = membership.described(cx, channel);
    if membership.r#type == ChannelMembershipType::Default {
        tx.emit(event::membership(Audience::Members(membership.home()), kind, payload, effect));
        return Ok(());
    }
    let member = membership.member.uid;
    if !channel_moderator::is(tx, channel.uid, member).await? {
        let himself = Audience::Users(vec![member]);
        tx.emit(event::membership(himself, kind, payload.clone(), None));
    }
    tx.emit(event::membership(Audience::Moderators(channel.uid), kind, payload, effect));
    Ok(())
}

impl Handle<CreateChannelMembership> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &CreateChannelMembershipRequest,
    ) -> Result<Reply<CreateChannelMembershipResponse>> {
        let mut channel = channel::require(cx, tx, &input.channel_arn).await?;
        let member = principal::find(cx, tx, channel.app_instance, &input.member_arn).await?;
        let himself = member.as_ref().is_some_and(|member| {
            cx.actor.as_ref().is_some_and(|actor| actor.principal.uid == member.uid)
        });
        let action = match (input.r#type, himself) {
            (ChannelMembershipType::Hidden, _) => Action::AddHiddenMember,
            (ChannelMembershipType::Default, true) => Action::Join,
            (ChannelMembershipType::Default, false) => Action::AddMember,
        };
        let exists = match &member {
            Some(member) => type_of(tx, &channel, member.uid).await?.is_some(),
            None => false,
        };
        // A member who adds himself again is told so, whatever the channel allows to strangers.
        access::require(cx, tx, action, &channel).await.map_err(|refusal| {
            let is_told = himself && exists && !refusal.is_of_the_store();
            if is_told { already_member() } else { refusal }
        })?;
        let sub_channel_id = input.sub_channel_id.as_deref();
        if channel.elastic.is_none() {
            sub_channel::check(&channel, sub_channel_id)?;
        }
        let member = member.ok_or_else(Error::unknown_member)?;
        if channel_ban::is(tx, channel.uid, member.uid).await? {
            return Err(Error::forbidden());
        }
        if channel.elastic.is_some() {
            let mut assignment = Assignment::default();
            let wanted = (input.r#type, sub_channel_id);
            assign(cx, tx, &mut channel, &mut assignment, member.uid, wanted).await?;
            assignment.finish(tx, &channel).await?;
            // The channel's list of its sub-channels belongs to its own home.
            tx.set_home(if assignment.has_grown { channel.uid } else { channel.home() });
        } else if exists {
            return Err(already_member());
        } else {
            tx.set_home(channel.uid);
        }
        let moderator = channel_moderator::is(tx, channel.uid, member.uid).await?;
        let join = Effect::Join { channel: channel.home(), user: member.uid, moderator };
        let identity = member.identity(cx, channel.app_instance);
        let membership = ChannelMembership::new(cx, &channel, member, input.r#type)?;
        enter(cx, tx, &channel, &membership, Some(join)).await?;
        Ok(Reply::Ready(CreateChannelMembershipResponse {
            channel_arn: Some(channel.arn(cx)),
            member: Some(identity),
            sub_channel_id: channel.sub_channel_id(channel.home()),
        }))
    }
}

pub(crate) fn already_member() -> Error {
    Error::conflict("The user or bot is a member of the channel already")
}

impl Handle<DeleteChannelMembership> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DeleteChannelMembershipRequest,
    ) -> Result<Reply<()>> {
        let mut channel = channel::require(cx, tx, &input.channel_arn).await?;
        sub_channel::select(cx, tx, &mut channel, input.sub_channel_id.as_deref()).await?;
        let member = principal::find(cx, tx, channel.app_instance, &input.member_arn).await?;
        let actor = cx.actor()?.principal.uid;
        let himself = member.as_ref().is_some_and(|member| member.uid == actor);
        let action = if himself { Action::Leave } else { Action::RemoveMember };
        access::require(cx, tx, action, &channel).await?;
        // Without the id, a member of an elastic channel leaves all of it.
        if channel.elastic.is_none() || input.sub_channel_id.is_some() {
            sub_channel::check(&channel, input.sub_channel_id.as_deref())?;
        }
        // The operation models no NotFound: a membership that is not there is refused.
        let member = member.ok_or_else(Error::forbidden)?;
        match leave_all(cx, tx, &channel, member.uid).await? {
            0 => Err(Error::forbidden()),
            _ => Ok(Reply::Ready(())),
        }
    }
}

#[cfg(test)]
mod tests;

//! Several memberships by one request: who fits is added, and each of the others gets an error.
//!
//! Invariants: those who are added become members in one batch and are told of it by one event; an
//! entry is refused for the same reasons as it would be alone. The quotas are judged by the bounded
//! adds of that batch; what the counters said before chooses who is tried, and a counter that has
//! grown since makes the handler run again.

use store::{Audience, Key, Txn};
use wire::messaging::{
    BatchChannelMemberships, BatchCreateChannelMembership, BatchCreateChannelMembershipError,
    BatchCreateChannelMembershipRequest, BatchCreateChannelMembershipResponse,
    ChannelMembershipType, ErrorCode,
};

use super::{ChannelMembership, already_member, put, refuse_sub_channel};
use crate::access::{self, Action};
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::event::{self, Effect};
use crate::limits::Quota;
use crate::messaging::channel::{self, Channel};
use crate::messaging::{channel_ban, channel_moderator};
use crate::principal::{self, Principal};
use crate::{Chat, limits};

/// Type of the memberships when none is given. Undocumented.
const TYPE_DEFAULT: ChannelMembershipType = ChannelMembershipType::Default;

/// What becomes of the ARNs of a request, each of which counts once.
#[derive(Default)]
struct Sorted {
    added: Vec<Principal>,
    refused: Vec<BatchCreateChannelMembershipError>,
}

impl Handle<BatchCreateChannelMembership> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &BatchCreateChannelMembershipRequest,
    ) -> Result<Reply<BatchCreateChannelMembershipResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        let r#type = input.r#type.unwrap_or(TYPE_DEFAULT);
        let arns = &input.member_arns;
        let named = principal::find_all(cx, tx, channel.app_instance, arns).await?;
        access::require(cx, tx, action(cx, r#type, &named)?, &channel).await?;
        refuse_sub_channel(input.sub_channel_id.as_deref())?;
        let Sorted { added, refused } = sort(cx, tx, &channel, arns, named).await?;
        let memberships = add(cx, tx, &channel, r#type, added).await?;
        Ok(Reply::Ready(BatchCreateChannelMembershipResponse {
            batch_channel_memberships: Some(memberships),
            errors: Some(refused),
        }))
    }
}

/// Returns what the caller wants to do: to add others, or nobody but himself.
fn action(cx: &Cx, r#type: ChannelMembershipType, named: &[Option<Principal>]) -> Result<Action> {
    let caller = cx.actor()?.principal.uid;
    let is_caller = |one: &Option<Principal>| one.as_ref().is_some_and(|one| one.uid == caller);
    Ok(match r#type {
        ChannelMembershipType::Hidden => Action::AddHiddenMember,
        ChannelMembershipType::Default if named.iter().all(is_caller) => Action::Join,
        ChannelMembershipType::Default => Action::AddMember,
    })
}

/// Tells those who are to be added from those who are refused, in the order of the request.
async fn sort(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    arns: &[String],
    named: Vec<Option<Principal>>,
) -> Result<Sorted> {
    load(tx, channel, &named).await?;
    let quota = limits::CHANNEL_MEMBERSHIPS;
    let mut room = cx.max(&quota) - tx.peek_count(&quota.key(channel.uid)).await?;
    let mut sorted = Sorted::default();
    for (index, (arn, one)) in arns.iter().zip(&named).enumerate() {
        let is_repeated = match one {
            Some(one) => named[..index].iter().flatten().any(|other| other.uid == one.uid),
            None => arns[..index].contains(arn),
        };
        if is_repeated {
            continue;
        }
        match judge(cx, tx, channel, one.as_ref(), room).await? {
            Ok(one) => {
                sorted.added.push(one.clone());
                room -= 1;
            }
            Err(refusal) => sorted.refused.push(entry(arn, refusal)),
        }
    }
    Ok(sorted)
}

/// Fetches in one read what is asked of each member.
async fn load(tx: &mut Txn, channel: &Channel, named: &[Option<Principal>]) -> Result<()> {
    let mut keys = vec![limits::CHANNEL_MEMBERSHIPS.key(channel.uid)];
    for one in named.iter().flatten() {
        keys.extend(rows_of(channel, one));
    }
    Ok(tx.load(&keys).await?)
}

fn rows_of(channel: &Channel, one: &Principal) -> [Key; 4] {
    [
        channel_ban::key_of(channel.uid, one.uid),
        ChannelMembership::key_of(channel.uid, one.uid),
        channel_moderator::key_of(channel.uid, one.uid),
        limits::USER_MEMBERSHIPS.key(one.uid),
    ]
}

/// Returns the one to be added, or why he is refused.
async fn judge<'a>(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    one: Option<&'a Principal>,
    room: i64,
) -> Result<std::result::Result<&'a Principal, Error>> {
    let Some(one) = one else { return Ok(Err(Error::unknown_member())) };
    if channel_ban::is(tx, channel.uid, one.uid).await? {
        return Ok(Err(Error::forbidden()));
    }
    if tx.exists(&ChannelMembership::key_of(channel.uid, one.uid)).await? {
        return Ok(Err(already_member()));
    }
    let full = |quota: &Quota| Ok(Err(Error::limit_exceeded(Some((cx.max(quota), quota.noun)))));
    if room <= 0 {
        return full(&limits::CHANNEL_MEMBERSHIPS);
    }
    let quota = limits::USER_MEMBERSHIPS;
    if tx.peek_count(&quota.key(one.uid)).await? >= cx.max(&quota) {
        return full(&quota);
    }
    Ok(Ok(one))
}

fn entry(arn: &str, refusal: Error) -> BatchCreateChannelMembershipError {
    let refusal = refusal.into_wire();
    let code = match refusal.code() {
        wire::ErrorCode::Conflict => ErrorCode::Conflict,
        wire::ErrorCode::ResourceLimitExceeded => ErrorCode::ResourceLimitExceeded,
        _ => ErrorCode::Forbidden,
    };
    BatchCreateChannelMembershipError {
        member_arn: Some(arn.to_owned()),
        error_code: Some(code),
        error_message: Some(refusal.message().to_owned()),
    }
}

/// Puts the memberships and tells of them, if there are any.
async fn add(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    r#type: ChannelMembershipType,
    added: Vec<Principal>,
) -> Result<BatchChannelMemberships> {
    let told = |members: &[Principal]| -> Result<BatchChannelMemberships> {
        let identity = |one: &Principal| one.identity(cx, channel.app_instance);
        Ok(BatchChannelMemberships {
            invited_by: Some(identity(&cx.actor()?.principal)),
            r#type: Some(r#type),
            members: Some(members.iter().map(identity).collect()),
            channel_arn: Some(channel.arn(cx)),
            sub_channel_id: None,
        })
    };
    let memberships = told(&added)?;
    if added.is_empty() {
        return Ok(memberships);
    }
    tx.set_home(channel.uid);
    let mut plain = Vec::new();
    // All of them are members before any of them hears of it.
    for one in &added {
        let membership = ChannelMembership::new(cx, channel, one.clone(), r#type)?;
        put(cx, tx, &membership).await?;
        let moderator = channel_moderator::is(tx, channel.uid, one.uid).await?;
        let (channel, user) = (channel.uid, one.uid);
        tx.emit(event::internal(Effect::Join { channel, user, moderator }));
        if !moderator {
            plain.push(one);
        }
    }
    let emit = |tx: &mut Txn, audience, memberships| {
        let kind = event::Kind::BatchCreateChannelMembership;
        tx.emit(event::memberships(audience, kind, memberships));
    };
    if r#type == ChannelMembershipType::Default {
        emit(tx, Audience::Members(channel.uid), memberships.clone());
        return Ok(memberships);
    }
    // Hidden members do not see each other: each hears of himself, the moderators of all.
    for one in plain {
        emit(tx, Audience::Users(vec![one.uid]), told(std::slice::from_ref(one))?);
    }
    emit(tx, Audience::Moderators(channel.uid), memberships.clone());
    Ok(memberships)
}

#[cfg(test)]
mod tests;

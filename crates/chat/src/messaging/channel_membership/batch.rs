//! Several memberships by one request: who fits is added, and each of the others gets an error.
//!
//! Invariants: those who are added become members in one batch and are told of it by one event, in
//! an elastic channel by one for each, since they may come into several sub-channels; an
//! entry is refused for the same reasons as it would be alone. The quotas are judged by the bounded
//! adds of that batch; what the counters said before chooses who is tried, and a counter that has
//! grown since makes the handler run again.

use store::{Audience, Key, Txn, Uid};
use wire::messaging::{
    BatchChannelMemberships, BatchCreateChannelMembership, BatchCreateChannelMembershipError,
    BatchCreateChannelMembershipRequest, BatchCreateChannelMembershipResponse,
    ChannelMembershipType, ErrorCode,
};

use super::{ChannelMembership, already_member, put, tell};
use crate::access::{self, Action};
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::event::{self, Effect};
use crate::limits::Quota;
use crate::messaging::channel::{self, Channel};
use crate::messaging::sub_channel::{self, Assignment, assign};
use crate::messaging::{channel_ban, channel_moderator};
use crate::principal::{self, Principal};
use crate::{Chat, limits};

/// Type of the memberships when none is given. Undocumented.
const TYPE_DEFAULT: ChannelMembershipType = ChannelMembershipType::Default;

/// What becomes of the ARNs of a request, each of which counts once.
#[derive(Default)]
struct Sorted {
    added: Vec<Added>,
    refused: Vec<BatchCreateChannelMembershipError>,
}

/// One who is added, and the sub-channel of an elastic channel that he comes into.
struct Added {
    one: Principal,
    sub_channel: Option<Uid>,
}

impl Handle<BatchCreateChannelMembership> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &BatchCreateChannelMembershipRequest,
    ) -> Result<Reply<BatchCreateChannelMembershipResponse>> {
        let mut channel = channel::require(cx, tx, &input.channel_arn).await?;
        let r#type = input.r#type.unwrap_or(TYPE_DEFAULT);
        let arns = &input.member_arns;
        let named = principal::find_all(cx, tx, channel.app_instance, arns).await?;
        access::require(cx, tx, action(cx, r#type, &named)?, &channel).await?;
        let wanted = (r#type, input.sub_channel_id.as_deref());
        match channel.elastic {
            None => sub_channel::check(&channel, wanted.1)?,
            Some(_) if r#type == ChannelMembershipType::Hidden => {
                sub_channel::refuse_elastic(&channel, "hidden members")?;
            }
            Some(_) => {}
        }
        let Sorted { added, refused } = sort(cx, tx, &mut channel, wanted, arns, named).await?;
        let memberships = add(cx, tx, channel, r#type, added).await?;
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
    channel: &mut Channel,
    wanted: (ChannelMembershipType, Option<&str>),
    arns: &[String],
    named: Vec<Option<Principal>>,
) -> Result<Sorted> {
    load(tx, channel, &named).await?;
    let quota = limits::CHANNEL_MEMBERSHIPS;
    let mut room = cx.max(&quota) - tx.peek_count(&quota.key(channel.uid)).await?;
    if channel.elastic.is_some() {
        // Its sub-channels bound it.
        room = i64::MAX;
    }
    let mut assignment = Assignment::default();
    let mut sorted = Sorted::default();
    for (index, (arn, one)) in arns.iter().zip(&named).enumerate() {
        let is_repeated = match one {
            Some(one) => named[..index].iter().flatten().any(|other| other.uid == one.uid),
            None => arns[..index].contains(arn),
        };
        if is_repeated {
            continue;
        }
        let mut judged = judge(cx, tx, channel, one.as_ref(), room).await?;
        if let (Ok(one), Some(_)) = (&judged, &channel.elastic) {
            let assigned = assign(cx, tx, channel, &mut assignment, one.uid, wanted).await;
            judged = refusal_of(assigned)?.map_or(judged, Err);
        }
        match judged {
            Ok(one) => {
                let sub_channel = channel.sub_channel;
                sorted.added.push(Added { one: one.clone(), sub_channel });
                room -= 1;
            }
            Err(refusal) => sorted.refused.push(entry(arn, refusal)),
        }
    }
    assignment.finish(tx, channel).await?;
    Ok(sorted)
}

/// Tells why somebody is refused from why the request fails.
fn refusal_of(assigned: Result<()>) -> Result<Option<Error>> {
    match assigned {
        Ok(()) => Ok(None),
        Err(error) if error.is_of_the_store() => Err(error),
        Err(error) => Ok(Some(error)),
    }
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
    // In an elastic channel the assignment tells who is there already.
    let is_elastic = channel.elastic.is_some();
    if !is_elastic && tx.exists(&ChannelMembership::key_of(channel.uid, one.uid)).await? {
        return Ok(Err(already_member()));
    }
    let full = |quota: &Quota| Ok(Err(cx.over(quota)));
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
        wire::ErrorCode::BadRequest => ErrorCode::BadRequest,
        wire::ErrorCode::ResourceLimitExceeded => ErrorCode::ResourceLimitExceeded,
        _ => ErrorCode::Forbidden,
    };
    BatchCreateChannelMembershipError {
        member_arn: Some(arn.to_owned()),
        error_code: Some(code),
        error_message: Some(refusal.message().to_owned()),
    }
}

/// Returns the sub-channel that all came into; nothing when they are in several.
fn common_id(channel: &Channel, added: &[Added]) -> Option<String> {
    let first = added.first()?.sub_channel?;
    let is_common = added.iter().all(|added| added.sub_channel == Some(first));
    is_common.then(|| channel.sub_channel_id(first)).flatten()
}

/// Puts the memberships and tells of them, if there are any.
async fn add(
    cx: &Cx,
    tx: &mut Txn,
    mut channel: Channel,
    r#type: ChannelMembershipType,
    added: Vec<Added>,
) -> Result<BatchChannelMemberships> {
    let sub_channel_id = common_id(&channel, &added);
    let channel_arn = channel.arn(cx);
    let app_instance = channel.app_instance;
    let told = |members: &[&Principal]| -> Result<BatchChannelMemberships> {
        let identity = |one: &Principal| one.identity(cx, app_instance);
        Ok(BatchChannelMemberships {
            invited_by: Some(identity(&cx.actor()?.principal)),
            r#type: Some(r#type),
            members: Some(members.iter().map(|one| identity(one)).collect()),
            channel_arn: Some(channel_arn.clone()),
            sub_channel_id: sub_channel_id.clone(),
        })
    };
    let memberships = told(&added.iter().map(|added| &added.one).collect::<Vec<_>>())?;
    if added.is_empty() {
        return Ok(memberships);
    }
    tx.set_home(channel.uid);
    let (mut plain, mut new) = (Vec::new(), Vec::new());
    // All of them are members before any of them hears of it.
    for Added { one, sub_channel } in &added {
        channel.sub_channel = *sub_channel;
        let membership = ChannelMembership::new(cx, &channel, one.clone(), r#type)?;
        put(cx, tx, &channel, &membership).await?;
        let moderator = channel_moderator::is(tx, channel.uid, one.uid).await?;
        let (channel, user) = (channel.home(), one.uid);
        tx.emit(event::internal(Effect::Join { channel, user, moderator }));
        if !moderator {
            plain.push(one);
        }
        new.push(membership);
    }
    if channel.elastic.is_some() {
        for membership in &new {
            let kind = event::Kind::CreateChannelMembership;
            tell(cx, tx, kind, &channel, membership, None).await?;
        }
        return Ok(memberships);
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
        emit(tx, Audience::Users(vec![one.uid]), told(&[one])?);
    }
    emit(tx, Audience::Moderators(channel.uid), memberships.clone());
    Ok(memberships)
}

#[cfg(test)]
mod tests;

//! Sending: how a message comes to be.
//!
//! A STANDARD message passes the flow of its channel first; one that fails there is stored for its
//! sender alone and does not count as the channel's last. NON_PERSISTENT messages are delivered
//! and never stored.

use store::{Audience, Txn};
use wire::messaging::{
    ChannelMessagePersistenceType, ChannelMessageStatus, MessageAttributeValue, SendChannelMessage,
    SendChannelMessageRequest, SendChannelMessageResponse,
};

use super::{ChannelMessage, PushNotification, State};
use crate::access::{self, Action};
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::event::{self, ChannelName, MessageId};
use crate::idempotency::Token;
use crate::messaging::bot_invocation;
use crate::messaging::channel::{self, Channel};
use crate::messaging::channel_flow::{self, Verdict};
use crate::messaging::channel_membership::ChannelMembership;
use crate::messaging::sub_channel;
use crate::principal::{self, Principal};
use crate::{Chat, limits};

/// Refuses what is too long or does not fit the type, which the model cannot say.
fn check(input: &SendChannelMessageRequest) -> Result<()> {
    super::check_text(input.r#type, &input.content, input.metadata.as_deref())?;
    let attributes = input.message_attributes.iter().flatten();
    let attribute_bytes: usize = attributes
        .map(|(name, value)| {
            name.len() + value.string_values.iter().flatten().map(String::len).sum::<usize>()
        })
        .sum();
    if attribute_bytes > limits::MESSAGE_ATTRIBUTES_BYTES_MAX {
        return Err(Error::bad_request("MessageAttributes size limit exceeded"));
    }
    Ok(())
}

/// Returns the member whom a targeted message is for.
async fn target(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    input: &SendChannelMessageRequest,
) -> Result<Option<Principal>> {
    let Some([target]) = input.target.as_deref() else { return Ok(None) };
    let Some(arn) = target.member_arn.as_deref() else {
        return Err(Error::bad_request("A Target names its MemberArn"));
    };
    let target = principal::require(cx, tx, channel.app_instance, arn).await?;
    if !tx.exists(&ChannelMembership::key_of(channel.home(), target.uid)).await? {
        return Err(Error::unknown_member());
    }
    Ok(Some(target))
}

fn new_message(
    channel: &Channel,
    sender: &Principal,
    target: Option<Principal>,
    input: &SendChannelMessageRequest,
    verdict: Verdict,
) -> ChannelMessage {
    ChannelMessage {
        channel: channel.home(),
        stamp: None,
        r#type: input.r#type,
        sender: sender.clone(),
        content: Some(input.content.clone()),
        metadata: super::kept(input.metadata.as_ref()),
        content_type: super::kept(input.content_type.as_ref()),
        attributes: input.message_attributes.as_ref().map(|attributes| {
            let values =
                |value: &MessageAttributeValue| value.string_values.clone().unwrap_or_default();
            attributes.iter().map(|(name, value)| (name.clone(), values(value))).collect()
        }),
        push_notification: input.push_notification.as_ref().map(|push| PushNotification {
            title: push.title.clone(),
            body: push.body.clone(),
            r#type: push.r#type,
        }),
        target,
        edited_ms: None,
        updated_ms: None,
        foreign_id: None,
        state: (verdict == Verdict::Fail).then_some(State::Failed),
    }
}

/// Returns what is told of a new message: to those whom it is for, or to its sender alone that it
/// waited and then failed.
async fn events(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    message: &ChannelMessage,
    persistence: ChannelMessagePersistenceType,
    id: MessageId,
) -> Result<Vec<store::Event>> {
    let payload = message.described(cx, channel, persistence);
    let name = ChannelName::from(channel);
    if !message.is_failed() {
        let audience = super::audience(tx, message).await?;
        let kind = event::Kind::CreateChannelMessage;
        return Ok(vec![event::message(audience, kind, payload, id, name)]);
    }
    let sender = Audience::Users(vec![message.sender.uid]);
    let mut pending = payload.clone();
    pending.status = Some(super::status(ChannelMessageStatus::Pending));
    let kinds = [
        (event::Kind::PendingCreateChannelMessage, pending),
        (event::Kind::FailedCreateChannelMessage, payload),
    ];
    let event =
        |(kind, payload)| event::message(sender.clone(), kind, payload, id.clone(), name.clone());
    Ok(kinds.into_iter().map(event).collect())
}

/// Returns the status that the sender is answered: what the flow holds back is PENDING for him
/// until he hears more.
fn answered(state: Option<State>) -> ChannelMessageStatus {
    match state {
        Some(State::Failed) => ChannelMessageStatus::Pending,
        Some(State::Redacted) | None => ChannelMessageStatus::Sent,
    }
}

impl Handle<SendChannelMessage> for Chat {
    const GUESSES: bool = true;

    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &SendChannelMessageRequest,
    ) -> Result<Reply<SendChannelMessageResponse>> {
        let mut channel = channel::require(cx, tx, &input.channel_arn).await?;
        let sender = &cx.actor()?.principal;
        let token = Token::of::<SendChannelMessage>(
            cx,
            channel.uid,
            &limits::SEND_TOKENS,
            &input.client_request_token,
            input,
        );
        let sub_channel_id = input.sub_channel_id.as_deref();
        let mut known = sub_channel::selected(&channel, sub_channel_id, sender.uid);
        known.extend(channel_flow::key_for(&channel, input.r#type));
        tx.load_new(&known, token.keys()).await?;
        sub_channel::select(cx, tx, &mut channel, sub_channel_id).await?;
        let channel_arn = channel.arn(cx);
        let sub_channel_id = input.sub_channel_id.clone();
        let answer = move |message_id, status| SendChannelMessageResponse {
            channel_arn: Some(channel_arn),
            message_id: Some(message_id),
            status: Some(super::status(status)),
            sub_channel_id,
        };
        if let Some(first) = token.first(tx).await? {
            // The row of a message that was sent holds no status.
            let status = first.resource.parse().unwrap_or(ChannelMessageStatus::Sent);
            return Ok(Reply::Ready(answer(cx.message_id(first.uid, first.stamp), status)));
        }
        access::require(cx, tx, Action::SendMessage, &channel).await?;
        check(input)?;
        sub_channel::check(&channel, input.sub_channel_id.as_deref())?;
        let target = target(cx, tx, &channel, input).await?;
        let verdict = channel_flow::judge(cx, tx, &channel, input.r#type).await?;
        let bot_count = match verdict {
            // What the flow holds back reaches nobody.
            Verdict::Fail => 0,
            Verdict::Send => {
                bot_invocation::count(cx, tx, &channel, target.as_ref(), input).await?
            }
        };
        let message = new_message(&channel, sender, target, input, verdict);
        let (home, persistence) = (channel.home(), input.persistence);
        let id = match persistence {
            ChannelMessagePersistenceType::Persistent => {
                MessageId::Stored(cx.place.message_ids.clone())
            }
            ChannelMessagePersistenceType::NonPersistent => MessageId::Unstored(cx.new_nonce()),
        };
        let events = events(cx, tx, &channel, &message, persistence, id.clone()).await?;
        let status = answered(message.state);
        let unserved = cx.place.unserved.clone();
        let output = move |stamp| {
            unserved.bots_invoked(bot_count);
            answer(id.at(home, stamp), status)
        };
        if persistence == ChannelMessagePersistenceType::NonPersistent {
            return Ok(Reply::Published { home, events, output: Box::new(output) });
        }
        tx.set_home(home);
        tx.append(&message);
        if message.is_for_all() {
            tx.mark_message();
        }
        token.remember(tx, if message.is_failed() { status.as_str() } else { "" }, home);
        events.into_iter().for_each(|event| tx.emit(event));
        Ok(Reply::stamped(output))
    }
}

#[cfg(test)]
mod tests;

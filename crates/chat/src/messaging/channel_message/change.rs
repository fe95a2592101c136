//! Changing what was said: update, redact, delete.
//!
//! Invariant: only a message that was sent is changed, in one commit that checks it, so of two
//! changes that race the second sees the first. What a redacted or deleted message said is gone
//! from the store; its event rows never held it.

use store::{Stamp, Txn};
use wire::messaging::{
    ChannelMessage as Described, ChannelMessageStatus, DeleteChannelMessage,
    DeleteChannelMessageRequest, RedactChannelMessage, RedactChannelMessageRequest,
    RedactChannelMessageResponse, UpdateChannelMessage, UpdateChannelMessageRequest,
    UpdateChannelMessageResponse,
};

use super::{ChannelMessage, State};
use crate::Chat;
use crate::access::{self, Action};
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::event;
use crate::messaging::channel::Channel;
use crate::messaging::channel_flow::{self, Verdict};
use crate::messaging::sub_channel;

impl ChannelMessage {
    fn stored_at(&self) -> Stamp {
        self.stamp.unwrap_or_default()
    }

    /// Returns the time of a change, which is never before an earlier one.
    fn change_ms(&self, cx: &Cx) -> i64 {
        let last_ms = self.updated_ms.unwrap_or(event::time(self.stored_at()).0);
        cx.now_ms.max(last_ms)
    }

    /// Refuses to change what was redacted or never reached anybody.
    fn require_sent(&self) -> Result<()> {
        match self.state {
            None => Ok(()),
            Some(State::Redacted) => Err(Error::conflict("The message is redacted")),
            Some(State::Failed) => Err(Error::conflict("The message was not sent")),
        }
    }
}

/// Takes over what the request gives; Metadata and ContentType that it leaves out are kept.
fn edit(cx: &Cx, message: &mut ChannelMessage, input: &UpdateChannelMessageRequest) {
    message.content = Some(input.content.clone());
    if input.metadata.is_some() {
        message.metadata = super::kept(input.metadata.as_ref());
    }
    if input.content_type.is_some() {
        message.content_type = super::kept(input.content_type.as_ref());
    }
    let now_ms = message.change_ms(cx);
    message.edited_ms = Some(now_ms);
    message.updated_ms = Some(now_ms);
}

/// Tells the sender alone that his update waited and then failed. Nothing is stored of it.
async fn fail(
    tx: &mut Txn,
    channel: &Channel,
    message: &ChannelMessage,
    payload: Described,
) -> Result<Vec<store::Event>> {
    let sender = super::members_among(tx, message.channel, &[message.sender.uid]).await?;
    let kinds = [
        (event::Kind::PendingUpdateChannelMessage, ChannelMessageStatus::Pending),
        (event::Kind::FailedUpdateChannelMessage, ChannelMessageStatus::Failed),
    ];
    let event = |(kind, status)| {
        let payload = Described { status: Some(super::status(status)), ..payload.clone() };
        event::message_change(sender.clone(), kind, payload, message.stored_at(), channel.into())
    };
    Ok(kinds.into_iter().map(event).collect())
}

impl Handle<UpdateChannelMessage> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &UpdateChannelMessageRequest,
    ) -> Result<Reply<UpdateChannelMessageResponse>> {
        let named = (&*input.channel_arn, input.sub_channel_id.as_deref());
        let (channel, message) = super::open(cx, tx, named, &input.message_id).await?;
        access::require(cx, tx, Action::UpdateOwnMessage, &channel).await?;
        sub_channel::check(&channel, input.sub_channel_id.as_deref())?;
        let caller = cx.actor()?.principal.uid;
        // The operation models no NotFound.
        let message = message.filter(|message| message.sender.uid == caller);
        let mut message = message.ok_or_else(Error::forbidden)?;
        message.require_sent()?;
        super::check_text(message.r#type, &input.content, input.metadata.as_deref())?;
        let verdict = channel_flow::judge(cx, tx, &channel, message.r#type).await?;
        edit(cx, &mut message, input);
        let payload = message.stored(cx, &channel);
        let answer = |status| UpdateChannelMessageResponse {
            channel_arn: Some(channel.arn(cx)),
            message_id: Some(input.message_id.clone()),
            status: Some(super::status(status)),
            sub_channel_id: channel.sub_channel_id(channel.home()),
        };
        if verdict == Verdict::Fail {
            let events = fail(tx, &channel, &message, payload).await?;
            let pending = answer(ChannelMessageStatus::Pending);
            let (home, output) = (channel.home(), Box::new(move |_| pending));
            return Ok(Reply::Published { home, events, output });
        }
        tx.set_home(channel.home());
        tx.put(&message);
        tell(tx, event::Kind::UpdateChannelMessage, &channel, &message, payload).await?;
        Ok(Reply::Ready(answer(ChannelMessageStatus::Sent)))
    }
}

/// Emits a change to those whom the message is for.
async fn tell(
    tx: &mut Txn,
    kind: event::Kind,
    channel: &Channel,
    message: &ChannelMessage,
    payload: Described,
) -> Result<()> {
    let audience = super::audience(tx, message).await?;
    let of = message.stored_at();
    tx.emit(event::message_change(audience, kind, payload, of, channel.into()));
    Ok(())
}

impl Handle<RedactChannelMessage> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &RedactChannelMessageRequest,
    ) -> Result<Reply<RedactChannelMessageResponse>> {
        let named = (&*input.channel_arn, input.sub_channel_id.as_deref());
        let (channel, message) = super::open(cx, tx, named, &input.message_id).await?;
        let caller = cx.actor()?.principal.uid;
        let message = message.filter(|message| message.is_for(caller));
        let own = match &message {
            Some(message) => message.sender.uid == caller,
            // Without the sub-channel nobody knows yet, and who may redact his own is told that.
            None => channel.elastic.is_some() && input.sub_channel_id.is_none(),
        };
        let action = if own { Action::RedactOwnMessage } else { Action::RedactMessage };
        access::require(cx, tx, action, &channel).await?;
        sub_channel::check(&channel, input.sub_channel_id.as_deref())?;
        // The operation models no NotFound.
        let mut message = message.ok_or_else(Error::forbidden)?;
        message.require_sent()?;
        message.updated_ms = Some(message.change_ms(cx));
        message.state = Some(State::Redacted);
        message.content = None;
        message.metadata = None;
        // A push notification repeats what was said.
        message.push_notification = None;
        tx.set_home(channel.home());
        tx.put(&message);
        let payload = message.stored(cx, &channel);
        tell(tx, event::Kind::RedactChannelMessage, &channel, &message, payload).await?;
        Ok(Reply::Ready(RedactChannelMessageResponse {
            channel_arn: Some(channel.arn(cx)),
            message_id: Some(input.message_id.clone()),
            sub_channel_id: channel.sub_channel_id(channel.home()),
        }))
    }
}

/// Returns what is told of a deleted message: which one it was, and nothing of what it said.
fn remains(cx: &Cx, channel: &Channel, message: &ChannelMessage) -> Described {
    Described {
        content: None,
        metadata: None,
        message_attributes: None,
        content_type: None,
        ..message.stored(cx, channel)
    }
}

impl Handle<DeleteChannelMessage> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DeleteChannelMessageRequest,
    ) -> Result<Reply<()>> {
        let named = (&*input.channel_arn, input.sub_channel_id.as_deref());
        let (channel, message) = super::open(cx, tx, named, &input.message_id).await?;
        access::require(cx, tx, Action::DeleteMessage, &channel).await?;
        sub_channel::check(&channel, input.sub_channel_id.as_deref())?;
        // An admin deletes targeted messages too, which he cannot see. The operation models neither
        // NotFound nor Conflict.
        let message = message.filter(|message| !message.is_failed());
        let message = message.ok_or_else(Error::forbidden)?;
        tx.set_home(channel.home());
        tx.delete(&message);
        let payload = remains(cx, &channel, &message);
        tell(tx, event::Kind::DeleteChannelMessage, &channel, &message, payload).await?;
        Ok(Reply::Ready(()))
    }
}

#[cfg(test)]
mod tests;

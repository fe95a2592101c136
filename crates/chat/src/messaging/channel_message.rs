//! Messages of a channel.
//!
//! Key: channel and the stamp of the commit, which gives the order, the id and the time of a
//! message; none of these stands in the value. A targeted message is there for its sender and its
//! target alone. NON_PERSISTENT messages are delivered and never stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use store::{
    Audience, Direction, Key, Kind, Parts, Range, Record, Stamp, Table, Txn, Uid, Version,
};
use wire::error::text;
use wire::messaging::{
    ChannelMessage as Described, ChannelMessagePersistenceType, ChannelMessageStatus,
    ChannelMessageStatusStructure, ChannelMessageSummary, ChannelMessageType, GetChannelMessage,
    GetChannelMessageRequest, GetChannelMessageResponse, ListChannelMessages,
    ListChannelMessagesRequest, ListChannelMessagesResponse, MessageAttributeValue,
    PushNotificationType, SendChannelMessage, SendChannelMessageRequest,
    SendChannelMessageResponse, SortOrder, Target,
};
use wire::time::Timestamp;

use crate::access::{self, Action};
use crate::check::{Marks, Proof};
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::event::{self, MessageId};
use crate::idempotency::Token;
use crate::messaging::bot_invocation;
use crate::messaging::channel::{self, Channel};
use crate::messaging::channel_membership::{ChannelMembership, refuse_sub_channel};
use crate::page::Walk;
use crate::principal::{self, Principal};
use crate::{Chat, limits};

pub(crate) static CHANNEL_MESSAGE: Table = Table {
    name: "channel_message",
    kind: Kind::Record,
    columns: &["type", "sender", "content", "metadata", "content_type"],
};

/// One stored message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChannelMessage {
    /// From the key.
    #[serde(skip)]
    channel: Uid,
    /// From the key; absent until the commit gives it.
    #[serde(skip)]
    stamp: Option<Stamp>,
    r#type: ChannelMessageType,
    sender: Principal,
    content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<BTreeMap<String, Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    push_notification: Option<PushNotification>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Principal>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct PushNotification {
    title: Option<String>,
    body: Option<String>,
    r#type: Option<PushNotificationType>,
}

impl Record for ChannelMessage {
    const TABLE: &'static Table = &CHANNEL_MESSAGE;

    fn key(&self) -> Key {
        let key = Key::new(&CHANNEL_MESSAGE).uid(self.channel);
        match self.stamp {
            Some(stamp) => key.stamp(stamp),
            None => key.stamped(),
        }
    }

    fn located(&mut self, key: &[u8], _ver: Version) {
        let mut parts = Parts::new(key);
        self.channel = parts.uid().unwrap_or(Uid::NIL);
        self.stamp = parts.stamp();
    }
}

impl Proof for ChannelMessage {
    fn refers_to(&self) -> Vec<Uid> {
        vec![self.channel]
    }

    fn placed(&self) -> Option<(Uid, Stamp, Marks)> {
        let marks = if self.target.is_none() { Marks::Yes } else { Marks::No };
        Some((self.channel, self.stamp?, marks))
    }
}

fn key_of(channel: Uid, stamp: Stamp) -> Key {
    Key::new(&CHANNEL_MESSAGE).uid(channel).stamp(stamp)
}

impl ChannelMessage {
    /// Whether this principal may know of the message.
    fn is_for(&self, principal: Uid) -> bool {
        self.target
            .as_ref()
            .is_none_or(|target| target.uid == principal || self.sender.uid == principal)
    }

    /// Returns the message as it is described, but for what its stamp tells.
    fn described(
        &self,
        cx: &Cx,
        channel: &Channel,
        persistence: ChannelMessagePersistenceType,
    ) -> Described {
        Described {
            channel_arn: Some(channel.arn(cx)),
            content: Some(self.content.clone()),
            metadata: self.metadata.clone(),
            r#type: Some(self.r#type),
            sender: Some(self.sender.identity(cx, channel.app_instance)),
            redacted: Some(false),
            persistence: Some(persistence),
            status: Some(sent()),
            message_attributes: self.wire_attributes(),
            content_type: self.content_type.clone(),
            target: self.wire_target(cx, channel),
            ..Described::default()
        }
    }

    fn summary(&self, cx: &Cx, channel: &Channel, stamp: Stamp) -> ChannelMessageSummary {
        ChannelMessageSummary {
            message_id: Some(cx.message_id(channel.uid, stamp)),
            content: Some(self.content.clone()),
            metadata: self.metadata.clone(),
            r#type: Some(self.r#type),
            created_timestamp: Some(event::time(stamp)),
            last_updated_timestamp: Some(event::time(stamp)),
            sender: Some(self.sender.identity(cx, channel.app_instance)),
            redacted: Some(false),
            status: Some(sent()),
            message_attributes: self.wire_attributes(),
            content_type: self.content_type.clone(),
            target: self.wire_target(cx, channel),
            ..ChannelMessageSummary::default()
        }
    }

    fn wire_attributes(&self) -> Option<BTreeMap<String, MessageAttributeValue>> {
        let attributes = self.attributes.clone()?.into_iter();
        let value = |values| MessageAttributeValue { string_values: Some(values) };
        Some(attributes.map(|(name, values)| (name, value(values))).collect())
    }

    fn wire_target(&self, cx: &Cx, channel: &Channel) -> Option<Vec<Target>> {
        let target = self.target.as_ref()?;
        let member_arn = cx.principal_arn(channel.app_instance, target.kind, &target.id);
        Some(vec![Target { member_arn: Some(member_arn) }])
    }
}

/// Without a channel flow a message is sent at once.
fn sent() -> ChannelMessageStatusStructure {
    ChannelMessageStatusStructure { value: Some(ChannelMessageStatus::Sent), detail: None }
}

/// Refuses what is too long or does not fit the type, which the model cannot say.
fn check(input: &SendChannelMessageRequest) -> Result<()> {
    let content_bytes_max = match input.r#type {
        ChannelMessageType::Standard => limits::STANDARD_CONTENT_BYTES_MAX,
        ChannelMessageType::Control => limits::CONTROL_CONTENT_BYTES_MAX,
    };
    if input.content.len() > content_bytes_max {
        return Err(Error::bad_request(text::MESSAGE_TOO_LONG));
    }
    let has_metadata = input.metadata.as_ref().is_some_and(|metadata| !metadata.is_empty());
    if input.r#type == ChannelMessageType::Control && has_metadata {
        return Err(Error::bad_request("CONTROL messages cannot have Metadata"));
    }
    let attributes = input.message_attributes.iter().flatten();
    let attribute_bytes: usize = attributes
        .map(|(name, value)| {
            name.len() + value.string_values.iter().flatten().map(String::len).sum::<usize>()
        })
        .sum();
    if attribute_bytes > limits::MESSAGE_ATTRIBUTES_BYTES_MAX {
        return Err(Error::bad_request("MessageAttributes size limit exceeded"));
    }
    refuse_sub_channel(input.sub_channel_id.as_deref())
}

/// Returns the member whom a targeted message is for.
async fn target(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    input: &SendChannelMessageRequest,
) -> Result<Option<Principal>> {
    let Some([target]) = input.target.as_deref() else { return Ok(None) };
    let arn = target.member_arn.as_deref().unwrap_or_default();
    let target = principal::require(cx, tx, channel.app_instance, arn).await?;
    if !tx.exists(&ChannelMembership::key_of(channel.uid, target.uid)).await? {
        return Err(Error::unknown_member());
    }
    Ok(Some(target))
}

fn new_message(
    channel: &Channel,
    sender: &Principal,
    target: Option<Principal>,
    input: &SendChannelMessageRequest,
) -> ChannelMessage {
    ChannelMessage {
        channel: channel.uid,
        stamp: None,
        r#type: input.r#type,
        sender: sender.clone(),
        content: input.content.clone(),
        metadata: input.metadata.clone().filter(|metadata| !metadata.is_empty()),
        content_type: input.content_type.clone(),
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
    }
}

impl Handle<SendChannelMessage> for Chat {
    const GUESSES: bool = true;

    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &SendChannelMessageRequest,
    ) -> Result<Reply<SendChannelMessageResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        let sender = &cx.actor()?.principal;
        let token = Token::of::<SendChannelMessage>(
            cx,
            channel.uid,
            &limits::SEND_TOKENS,
            &input.client_request_token,
            input,
        );
        let membership = ChannelMembership::key_of(channel.uid, sender.uid);
        tx.load_new(&[membership], token.keys()).await?;
        let channel_arn = channel.arn(cx);
        let answer = move |message_id| SendChannelMessageResponse {
            channel_arn: Some(channel_arn),
            message_id: Some(message_id),
            status: Some(sent()),
            sub_channel_id: None,
        };
        if let Some(first) = token.first(tx).await? {
            return Ok(Reply::Ready(answer(cx.message_id(channel.uid, first.stamp))));
        }
        access::require(cx, tx, Action::SendMessage, &channel).await?;
        check(input)?;
        let target = target(cx, tx, &channel, input).await?;
        let bot_count = bot_invocation::count(cx, tx, &channel, target.as_ref(), input).await?;
        let message = new_message(&channel, sender, target, input);
        let (home, persistence) = (channel.uid, input.persistence);
        let id = match persistence {
            ChannelMessagePersistenceType::Persistent => {
                MessageId::Stored(cx.place.message_ids.clone())
            }
            ChannelMessagePersistenceType::NonPersistent => MessageId::Unstored(cx.new_nonce()),
        };
        let payload = message.described(cx, &channel, persistence);
        let kind = event::Kind::CreateChannelMessage;
        let event = event::message(audience(&message), kind, payload, id.clone());
        let unserved = cx.place.unserved.clone();
        let output = move |stamp| {
            unserved.bots_invoked(bot_count);
            answer(id.at(home, stamp))
        };
        if persistence == ChannelMessagePersistenceType::NonPersistent {
            return Ok(Reply::Published { home, event, output: Box::new(output) });
        }
        tx.set_home(home);
        tx.append(&message);
        if message.target.is_none() {
            tx.mark_message();
        }
        token.remember(tx, "", home);
        tx.emit(event);
        Ok(Reply::stamped(output))
    }
}

fn audience(message: &ChannelMessage) -> Audience {
    match &message.target {
        None => Audience::Members(message.channel),
        Some(target) if target.uid == message.sender.uid => Audience::Users(vec![target.uid]),
        Some(target) => Audience::Users(vec![message.sender.uid, target.uid]),
    }
}

impl Handle<GetChannelMessage> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &GetChannelMessageRequest,
    ) -> Result<Reply<GetChannelMessageResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::ReadMessages, &channel).await?;
        refuse_sub_channel(input.sub_channel_id.as_deref())?;
        let absent = || Error::not_found("channel message");
        let ids = &cx.place.message_ids;
        let stamp = ids.stamp(channel.uid, &input.message_id).ok_or_else(absent)?;
        let message: Option<ChannelMessage> = tx.get(&key_of(channel.uid, stamp)).await?;
        let message = message.ok_or_else(absent)?;
        if !message.is_for(cx.actor()?.principal.uid) {
            return Err(absent());
        }
        let persistence = ChannelMessagePersistenceType::Persistent;
        let mut described = message.described(cx, &channel, persistence);
        described.message_id = Some(input.message_id.clone());
        described.created_timestamp = Some(event::time(stamp));
        described.last_updated_timestamp = Some(event::time(stamp));
        Ok(Reply::Ready(GetChannelMessageResponse { channel_message: Some(described) }))
    }
}

impl Handle<ListChannelMessages> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListChannelMessagesRequest,
    ) -> Result<Reply<ListChannelMessagesResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::ReadMessages, &channel).await?;
        refuse_sub_channel(input.sub_channel_id.as_deref())?;
        let reader = cx.actor()?.principal.uid;
        let mut walk = walk(cx, &channel, reader, input)?;
        let view = tx.view();
        let mut channel_messages = Vec::new();
        loop {
            let rows = walk.read(&view).await?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                if !walk.has_room() {
                    break;
                }
                let message: ChannelMessage = row.decode()?;
                let shown = message.stamp.filter(|_| message.is_for(reader));
                walk.pass(row, shown.is_some());
                channel_messages.extend(shown.map(|stamp| message.summary(cx, &channel, stamp)));
            }
        }
        Ok(Reply::Ready(ListChannelMessagesResponse {
            channel_arn: Some(channel.arn(cx)),
            next_token: walk.next_token(cx),
            channel_messages: Some(channel_messages),
            sub_channel_id: None,
        }))
    }
}

/// Returns the walk through the window that the request asks for; both of its ends count in.
fn walk(
    cx: &Cx,
    channel: &Channel,
    reader: Uid,
    input: &ListChannelMessagesRequest,
) -> Result<Walk> {
    let order = input.sort_order.unwrap_or(SortOrder::Descending);
    let direction = match order {
        SortOrder::Ascending => Direction::Forward,
        SortOrder::Descending => Direction::Backward,
    };
    let ms = |time: Option<Timestamp>| time.map(|time| u64::try_from(time.ms()).unwrap_or(0));
    let (not_before, not_after) = (ms(input.not_before), ms(input.not_after));
    let mut range = Range::prefix(Key::new(&CHANNEL_MESSAGE).uid(channel.uid));
    if let Some(ms) = not_before {
        range = range.from(key_of(channel.uid, Stamp { ms, seq: 0 }));
    }
    if let Some(ms) = not_after {
        range = range.to(key_of(channel.uid, Stamp { ms, seq: Stamp::MAX.seq }));
    }
    let window = [not_before.unwrap_or(0), not_after.unwrap_or(u64::MAX)].map(u64::to_be_bytes);
    let order = order.as_str().as_bytes();
    Walk::start(
        cx,
        &[b"ListChannelMessages", &channel.uid.0, &reader.0, order, window.as_flattened()],
        range,
        direction,
        input.max_results,
        input.next_token.as_deref(),
    )
}

#[cfg(test)]
mod tests;

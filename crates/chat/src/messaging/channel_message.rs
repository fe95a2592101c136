//! Messages of a channel: what is stored of them, and how they are read.
//!
//! Key: channel and the stamp of the commit, which gives the order, the id and the time of a
//! message; none of these stands in the value. A targeted message is there for its sender and its
//! target alone, one that its channel's flow failed for its sender alone. `channel_message/send.rs`
//! makes them, `channel_message/change.rs` changes and deletes them.

mod change;
mod foreign;
mod send;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use store::{
    Audience, Direction, Index, Key, Kind, Parts, Range, Record, Stamp, Table, Txn, Uid, Version,
};
use wire::error::text;
use wire::messaging::{
    ChannelMessage as Described, ChannelMessagePersistenceType, ChannelMessageStatus,
    ChannelMessageStatusStructure, ChannelMessageSummary, ChannelMessageType, GetChannelMessage,
    GetChannelMessageRequest, GetChannelMessageResponse, GetChannelMessageStatus,
    GetChannelMessageStatusRequest, GetChannelMessageStatusResponse, ListChannelMessages,
    ListChannelMessagesRequest, ListChannelMessagesResponse, MessageAttributeValue,
    PushNotificationType, SortOrder, Target,
};
use wire::time::Timestamp;

use crate::access::{self, Action};
use crate::check::{Marks, Proof};
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::event::{self, ChannelName};
use crate::identity::app_instance::AppInstance;
use crate::messaging::channel::{self, Channel};
use crate::messaging::channel_membership::ChannelMembership;
use crate::messaging::sub_channel;
use crate::page::Walk;
use crate::principal::Principal;
use crate::{Chat, ids, limits};

pub(crate) static CHANNEL_MESSAGE: Table = Table {
    name: "channel_message",
    kind: Kind::Record,
    columns: &["type", "sender", "content", "metadata", "content_type", "state"],
};

pub(crate) use foreign::{CHANNEL_MESSAGE_BY_FOREIGN_ID, forget};

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
    /// Gone once the message is redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
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
    /// When its sender last changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_ms: Option<i64>,
    /// When it was last changed in any way.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    /// The id that it had elsewhere, if it was brought in with one; all others follow from the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    foreign_id: Option<String>,
}

/// What a message may be instead of just sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// The flow of the channel did not let it pass.
    Failed,
    Redacted,
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

    fn indexes(&self, out: &mut Vec<Index>) {
        out.extend(self.foreign_index());
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
        let marks = if self.is_for_all() { Marks::Yes } else { Marks::No };
        Some((self.channel, self.stamp?, marks))
    }
}

pub(crate) fn key_of(channel: Uid, stamp: Stamp) -> Key {
    Key::new(&CHANNEL_MESSAGE).uid(channel).stamp(stamp)
}

impl ChannelMessage {
    fn is_failed(&self) -> bool {
        self.state == Some(State::Failed)
    }

    /// Whether everybody in the channel may know of the message.
    fn is_for_all(&self) -> bool {
        self.target.is_none() && !self.is_failed()
    }

    /// Whether this principal may know of the message.
    pub(crate) fn is_for(&self, principal: Uid) -> bool {
        let is_target = self.target.as_ref().is_some_and(|target| target.uid == principal);
        self.is_for_all() || self.sender.uid == principal || (is_target && !self.is_failed())
    }

    /// Returns the commit that told it as sent; nothing for one that failed.
    pub(crate) fn sent_at(&self) -> Option<Stamp> {
        self.stamp.filter(|_| !self.is_failed())
    }

    fn status(&self) -> ChannelMessageStatusStructure {
        status(match self.state {
            Some(State::Failed) => ChannelMessageStatus::Failed,
            Some(State::Redacted) | None => ChannelMessageStatus::Sent,
        })
    }

    /// Returns the message as it is described, but for what a stamp to come will tell.
    fn described(
        &self,
        cx: &Cx,
        channel: &Channel,
        persistence: ChannelMessagePersistenceType,
    ) -> Described {
        let sub_channel_id = channel.sub_channel_id(self.channel);
        self.described_in(cx, &ChannelName::from(channel), sub_channel_id, persistence)
    }

    fn described_in(
        &self,
        cx: &Cx,
        channel: &ChannelName,
        sub_channel_id: Option<String>,
        persistence: ChannelMessagePersistenceType,
    ) -> Described {
        let created = self.stamp.map(event::time);
        Described {
            channel_arn: Some(cx.channel_arn(channel.app_instance, &channel.id)),
            message_id: self.id(cx),
            content: self.content.clone(),
            metadata: self.metadata.clone(),
            r#type: Some(self.r#type),
            created_timestamp: created,
            last_edited_timestamp: self.edited_ms.map(Timestamp),
            last_updated_timestamp: self.updated_ms.map(Timestamp).or(created),
            sender: Some(self.sender.identity(cx, channel.app_instance)),
            redacted: Some(self.state == Some(State::Redacted)),
            persistence: Some(persistence),
            status: Some(self.status()),
            message_attributes: self.wire_attributes(),
            sub_channel_id,
            content_type: self.content_type.clone(),
            target: self.wire_target(cx, channel.app_instance),
        }
    }

    /// Returns the message as it is described when an event about it is told again.
    pub(crate) fn retold(&self, cx: &Cx, channel: &ChannelName, is_sub_channel: bool) -> Described {
        let sub_channel_id = is_sub_channel.then(|| ids::uuid_text(self.channel));
        let persistence = ChannelMessagePersistenceType::Persistent;
        self.described_in(cx, channel, sub_channel_id, persistence)
    }

    fn stored(&self, cx: &Cx, channel: &Channel) -> Described {
        self.described(cx, channel, ChannelMessagePersistenceType::Persistent)
    }

    /// Returns the message as lists show it. A page holds many, so the texts are not copied.
    pub(crate) fn into_summary(self, cx: &Cx, channel: &Channel) -> ChannelMessageSummary {
        let created = self.stamp.map(event::time);
        ChannelMessageSummary {
            message_id: self.id(cx),
            r#type: Some(self.r#type),
            created_timestamp: created,
            last_updated_timestamp: self.updated_ms.map(Timestamp).or(created),
            last_edited_timestamp: self.edited_ms.map(Timestamp),
            sender: Some(self.sender.identity(cx, channel.app_instance)),
            redacted: Some(self.state == Some(State::Redacted)),
            status: Some(self.status()),
            message_attributes: self.wire_attributes(),
            target: self.wire_target(cx, channel.app_instance),
            content: self.content,
            metadata: self.metadata,
            content_type: self.content_type,
        }
    }

    fn wire_attributes(&self) -> Option<BTreeMap<String, MessageAttributeValue>> {
        let attributes = self.attributes.clone()?.into_iter();
        let value = |values| MessageAttributeValue { string_values: Some(values) };
        Some(attributes.map(|(name, values)| (name, value(values))).collect())
    }

    fn wire_target(&self, cx: &Cx, app_instance: Uid) -> Option<Vec<Target>> {
        let target = self.target.as_ref()?;
        let member_arn = cx.principal_arn(app_instance, target.kind, &target.id);
        Some(vec![Target { member_arn: Some(member_arn) }])
    }
}

pub(crate) fn status(value: ChannelMessageStatus) -> ChannelMessageStatusStructure {
    ChannelMessageStatusStructure { value: Some(value), detail: None }
}

/// Refuses a text that is too long or does not fit the type, which the model cannot say.
fn check_text(r#type: ChannelMessageType, content: &str, metadata: Option<&str>) -> Result<()> {
    let content_bytes_max = match r#type {
        ChannelMessageType::Standard => limits::STANDARD_CONTENT_BYTES_MAX,
        ChannelMessageType::Control => limits::CONTROL_CONTENT_BYTES_MAX,
    };
    if content.len() > content_bytes_max {
        return Err(Error::bad_request(text::MESSAGE_TOO_LONG));
    }
    let has_metadata = metadata.is_some_and(|metadata| !metadata.is_empty());
    if r#type == ChannelMessageType::Control && has_metadata {
        return Err(Error::bad_request("CONTROL messages cannot have Metadata"));
    }
    Ok(())
}

/// Returns a metadata or a content type as it is kept: clients parse any that is there, and an empty
/// text is neither.
fn kept(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

/// Returns those who hear of the message: its sender and its target only while they are members.
async fn audience(tx: &mut Txn, message: &ChannelMessage) -> Result<Audience> {
    match &message.target {
        None => Ok(Audience::Members(message.channel)),
        Some(target) => members_among(tx, message.channel, &[message.sender.uid, target.uid]).await,
    }
}

/// Returns those of `users` who are members of the channel, each once.
async fn members_among(tx: &mut Txn, channel: Uid, users: &[Uid]) -> Result<Audience> {
    let mut members = Vec::new();
    for &user in users {
        let membership = ChannelMembership::key_of(channel, user);
        if !members.contains(&user) && tx.exists(&membership).await? {
            members.push(user);
        }
    }
    Ok(Audience::Users(members))
}

/// Returns a channel and the message with this id in it, whoever may know of it. The caller's
/// membership, on which his role mostly depends, comes with the same read.
async fn open(
    cx: &Cx,
    tx: &mut Txn,
    (channel_arn, sub_channel_id): (&str, Option<&str>),
    message_id: &str,
) -> Result<(Channel, Option<ChannelMessage>)> {
    let mut channel = channel::require(cx, tx, channel_arn).await?;
    sub_channel::select(cx, tx, &mut channel, sub_channel_id).await?;
    let home = channel.home();
    let stamp = match cx.place.message_ids.stamp(home, message_id) {
        Some(stamp) => Some(stamp),
        None => foreign::stamp(tx, home, message_id).await?,
    };
    let Some(stamp) = stamp else { return Ok((channel, None)) };
    let caller = cx.actor()?.principal.uid;
    let keys = [ChannelMembership::key_of(home, caller), key_of(home, stamp)];
    tx.load(&keys).await?;
    let message = tx.get(&keys[1]).await?;
    let kept_from_ms = kept_in_from_ms(cx, tx, &channel).await?;
    Ok((channel, message.filter(|_| event::time(stamp).0 >= kept_from_ms)))
}

/// Returns the time before which messages of the channel are past their retention, and not there for
/// anybody. The app instance was read with the bearer.
async fn kept_in_from_ms(cx: &Cx, tx: &mut Txn, channel: &Channel) -> Result<i64> {
    let instance: Option<AppInstance> = tx.get(&AppInstance::key_of(channel.app_instance)).await?;
    Ok(kept_from_ms(cx, instance.as_ref()))
}

/// Returns the time before which messages of an app instance are past their retention.
pub(crate) fn kept_from_ms(cx: &Cx, instance: Option<&AppInstance>) -> i64 {
    let retention = instance.and_then(|instance| instance.retention);
    retention.map_or(0, |retention| retention.kept_from_ms(cx.now_ms))
}

/// Returns the range of a home's messages from a time on.
pub(crate) fn from(home: Uid, ms: i64) -> Range {
    let ms = u64::try_from(ms).unwrap_or(0);
    let all = Range::prefix(Key::new(&CHANNEL_MESSAGE).uid(home));
    all.from(key_of(home, Stamp { ms, seq: 0 }))
}

/// Returns the range of a channel's messages from before a time.
pub(crate) fn before(channel: Uid, ms: i64) -> Range {
    let ms = u64::try_from(ms).unwrap_or(0);
    let all = Range::prefix(Key::new(&CHANNEL_MESSAGE).uid(channel));
    all.before(key_of(channel, Stamp { ms, seq: 0 }))
}

impl Handle<GetChannelMessage> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &GetChannelMessageRequest,
    ) -> Result<Reply<GetChannelMessageResponse>> {
        let named = (&*input.channel_arn, input.sub_channel_id.as_deref());
        let (channel, message) = open(cx, tx, named, &input.message_id).await?;
        access::require(cx, tx, Action::ReadMessages, &channel).await?;
        sub_channel::check(&channel, input.sub_channel_id.as_deref())?;
        let reader = cx.actor()?.principal.uid;
        let message = message.filter(|message| message.is_for(reader));
        let message = message.ok_or_else(|| Error::not_found("channel message"))?;
        let channel_message = Some(message.stored(cx, &channel));
        Ok(Reply::Ready(GetChannelMessageResponse { channel_message }))
    }
}

impl Handle<GetChannelMessageStatus> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &GetChannelMessageStatusRequest,
    ) -> Result<Reply<GetChannelMessageStatusResponse>> {
        let named = (&*input.channel_arn, input.sub_channel_id.as_deref());
        let (channel, message) = open(cx, tx, named, &input.message_id).await?;
        access::require(cx, tx, Action::ReadOwnMessageStatus, &channel).await?;
        sub_channel::check(&channel, input.sub_channel_id.as_deref())?;
        let caller = cx.actor()?.principal.uid;
        let message = message.filter(|message| message.sender.uid == caller);
        let status = Some(message.ok_or_else(Error::forbidden)?.status());
        Ok(Reply::Ready(GetChannelMessageStatusResponse { status }))
    }
}

impl Handle<ListChannelMessages> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListChannelMessagesRequest,
    ) -> Result<Reply<ListChannelMessagesResponse>> {
        let mut channel = channel::require(cx, tx, &input.channel_arn).await?;
        sub_channel::select(cx, tx, &mut channel, input.sub_channel_id.as_deref()).await?;
        access::require(cx, tx, Action::ReadMessages, &channel).await?;
        sub_channel::check(&channel, input.sub_channel_id.as_deref())?;
        let reader = cx.actor()?.principal.uid;
        let kept_from_ms = kept_in_from_ms(cx, tx, &channel).await?;
        let mut walk = walk(cx, &channel, reader, kept_from_ms, input)?;
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
                let is_shown = message.is_for(reader);
                walk.pass(row, is_shown);
                channel_messages.extend(is_shown.then(|| message.into_summary(cx, &channel)));
            }
        }
        Ok(Reply::Ready(ListChannelMessagesResponse {
            channel_arn: Some(channel.arn(cx)),
            next_token: walk.next_token(cx),
            channel_messages: Some(channel_messages),
            sub_channel_id: channel.sub_channel_id(channel.home()),
        }))
    }
}

/// Returns the walk through the window that the request asks for; both of its ends count in. Its
/// tokens outlive the moment up to which messages are hidden.
fn walk(
    cx: &Cx,
    channel: &Channel,
    reader: Uid,
    kept_from_ms: i64,
    input: &ListChannelMessagesRequest,
) -> Result<Walk> {
    let order = input.sort_order.unwrap_or(SortOrder::Descending);
    let direction = match order {
        SortOrder::Ascending => Direction::Forward,
        SortOrder::Descending => Direction::Backward,
    };
    let ms = |time: Option<Timestamp>| time.map(|time| u64::try_from(time.ms()).unwrap_or(0));
    let (not_before, not_after) = (ms(input.not_before), ms(input.not_after));
    let home = channel.home();
    let not_before_ms = input.not_before.map_or(0, |time| time.ms());
    let mut range = from(home, not_before_ms.max(kept_from_ms));
    if let Some(ms) = not_after {
        range = range.to(key_of(home, Stamp { ms, seq: Stamp::MAX.seq }));
    }
    let window = [not_before.unwrap_or(0), not_after.unwrap_or(u64::MAX)].map(u64::to_be_bytes);
    let order = order.as_str().as_bytes();
    Walk::start(
        cx,
        &[b"ListChannelMessages", &home.0, &reader.0, order, window.as_flattened()],
        range,
        direction,
        input.max_results,
        input.next_token.as_deref(),
    )
}

#[cfg(test)]
mod tests;

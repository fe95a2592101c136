//! What happened, as it travels from the commit to the sockets.
//!
//! Invariant: an event is emitted by the batch that makes it true; its frame is built once, after
//! the stamp is known; its reference (the durable row) names a message and never holds its content.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use store::{Audience, Stamp, Uid};
use wire::messaging::{BatchChannelMemberships, Channel, ChannelMembership, ChannelMessage};
use wire::rest_json::TimeFormat;
use wire::time::Timestamp;

use crate::ids::MessageIds;

/// One event, the body of a `store::Event`.
#[derive(Debug)]
pub struct Event {
    payload: Option<Payload>,
    effect: Option<Effect>,
}

/// What the server's hub has to know of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The user hears the channel from this stamp on.
    Join {
        /// The channel.
        channel: Uid,
        /// The new member.
        user: Uid,
        /// Whether he hears what only moderators hear.
        moderator: bool,
    },
    /// The user hears the channel up to this event, and no longer.
    Leave {
        /// The channel.
        channel: Uid,
        /// The former member.
        user: Uid,
    },
    /// The user became, or is no longer, a moderator.
    ModeratorChanged {
        /// The channel.
        channel: Uid,
        /// The user.
        user: Uid,
        /// Whether he is one from here on.
        moderator: bool,
    },
    /// Nobody hears the channel any more.
    ChannelGone {
        /// The channel.
        channel: Uid,
    },
    /// The user's sockets are closed.
    UserGone {
        /// The user.
        user: Uid,
    },
    /// The sockets of all its users are closed.
    AppInstanceGone {
        /// The app instance.
        app_instance: Uid,
    },
}

/// The event types that travel to sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    CreateChannelMessage,
    UpdateChannelMessage,
    RedactChannelMessage,
    DeleteChannelMessage,
    PendingCreateChannelMessage,
    PendingUpdateChannelMessage,
    FailedCreateChannelMessage,
    FailedUpdateChannelMessage,
    CreateChannelMembership,
    DeleteChannelMembership,
    BatchCreateChannelMembership,
    UpdateChannel,
    DeleteChannel,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::CreateChannelMessage => "CREATE_CHANNEL_MESSAGE",
            Self::UpdateChannelMessage => "UPDATE_CHANNEL_MESSAGE",
            Self::RedactChannelMessage => "REDACT_CHANNEL_MESSAGE",
            Self::DeleteChannelMessage => "DELETE_CHANNEL_MESSAGE",
            Self::PendingCreateChannelMessage => "PENDING_CREATE_CHANNEL_MESSAGE",
            Self::PendingUpdateChannelMessage => "PENDING_UPDATE_CHANNEL_MESSAGE",
            Self::FailedCreateChannelMessage => "FAILED_CREATE_CHANNEL_MESSAGE",
            Self::FailedUpdateChannelMessage => "FAILED_UPDATE_CHANNEL_MESSAGE",
            Self::CreateChannelMembership => "CREATE_CHANNEL_MEMBERSHIP",
            Self::DeleteChannelMembership => "DELETE_CHANNEL_MEMBERSHIP",
            Self::BatchCreateChannelMembership => "BATCH_CREATE_CHANNEL_MEMBERSHIP",
            Self::UpdateChannel => "UPDATE_CHANNEL",
            Self::DeleteChannel => "DELETE_CHANNEL",
        }
    }
}

/// What is told. A message is new, or it was stored before at `of` and is changed.
#[derive(Debug)]
enum Payload {
    Message { kind: Kind, message: Box<ChannelMessage>, id: MessageId },
    Change { kind: Kind, message: Box<ChannelMessage>, of: Stamp },
    Channel { kind: Kind, channel: Box<Channel> },
    Membership { kind: Kind, membership: Box<ChannelMembership> },
    Memberships { kind: Kind, memberships: Box<BatchChannelMemberships> },
}

/// Where a message's id comes from, once its stamp is known.
#[derive(Clone, Debug)]
pub(crate) enum MessageId {
    /// A stored message.
    Stored(Arc<MessageIds>),
    /// A message that is only delivered.
    Unstored([u8; 20]),
}

impl MessageId {
    pub(crate) fn at(&self, channel: Uid, stamp: Stamp) -> String {
        match self {
            Self::Stored(ids) => ids.of(channel, stamp),
            Self::Unstored(nonce) => MessageIds::unstored(stamp, *nonce),
        }
    }
}

/// Returns the time of a stamp.
pub(crate) fn time(stamp: Stamp) -> Timestamp {
    Timestamp(i64::try_from(stamp.ms).unwrap_or(i64::MAX))
}

/// The type of a message event is the message's own; everything else is the system's.
const SYSTEM: &str = "SYSTEM";

impl Event {
    /// Returns the WebSocket text of this event, or nothing for an internal one.
    #[must_use]
    pub fn frame(&self, home: Uid, stamp: Stamp) -> Option<Vec<u8>> {
        Some(match self.payload.as_ref()? {
            Payload::Message { kind, message, id } => {
                let mut message = message.clone();
                message.message_id = Some(id.at(home, stamp));
                message.created_timestamp = Some(time(stamp));
                message.last_updated_timestamp = Some(time(stamp));
                let kind_of_message = message.r#type.map_or(SYSTEM, |kind| kind.as_str());
                wire::event::frame(kind.as_str(), kind_of_message, &[], Some(&*message))
            }
            Payload::Change { kind, message, .. } => {
                let kind_of_message = message.r#type.map_or(SYSTEM, |kind| kind.as_str());
                wire::event::frame(kind.as_str(), kind_of_message, &[], Some(&**message))
            }
            Payload::Channel { kind, channel } => {
                wire::event::frame(kind.as_str(), SYSTEM, &[], Some(&**channel))
            }
            Payload::Membership { kind, membership } => {
                wire::event::frame(kind.as_str(), SYSTEM, &[], Some(&**membership))
            }
            Payload::Memberships { kind, memberships } => {
                wire::event::frame(kind.as_str(), SYSTEM, &[], Some(&**memberships))
            }
        })
    }

    /// Returns what the event changes about who hears what.
    #[must_use]
    pub const fn effect(&self) -> Option<Effect> {
        self.effect
    }

    /// Returns the row from which the event can be told again.
    fn reference(&self, audience: &Audience) -> Option<Vec<u8>> {
        let audience = match audience {
            Audience::Members(_) => Told::Members,
            Audience::Moderators(_) => Told::Moderators,
            Audience::Users(users) => Told::Users(users),
            Audience::Internal => return None,
        };
        let mut of = None;
        let (kind, payload) = match self.payload.as_ref()? {
            Payload::Message { id: MessageId::Unstored(_), .. } => return None,
            // The home and the stamp in the row's key name the message.
            Payload::Message { kind, .. } => (kind, None),
            Payload::Change { kind, message, of: stamp } => {
                of = Some(*stamp);
                match kind {
                    // What was asked for and failed is stored nowhere.
                    Kind::PendingUpdateChannelMessage | Kind::FailedUpdateChannelMessage => {
                        return None;
                    }
                    Kind::DeleteChannelMessage => (kind, Some(text(&**message))),
                    _ => (kind, None),
                }
            }
            Payload::Channel { kind, channel } => (kind, Some(text(&**channel))),
            Payload::Membership { kind, membership } => (kind, Some(text(&**membership))),
            Payload::Memberships { kind, memberships } => (kind, Some(text(&**memberships))),
        };
        Some(store::codec::encode(&Reference { event: kind.as_str(), audience, of, payload }))
    }
}

/// A durable row, from which the event can be told again.
#[derive(Serialize)]
struct Reference<'a> {
    event: &'a str,
    audience: Told<'a>,
    /// The stamp of the message, unless it is the row's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<Stamp>,
    /// What was told, unless it is a message, which stands in its own table. Of a deleted message
    /// this is all that is left, and its content is not in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Told<'a> {
    Members,
    Moderators,
    Users(&'a [Uid]),
}

/// What a durable row says of a stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tells {
    /// It is about something else.
    NoMessage,
    /// The row is told with the message of this stamp.
    Message(Stamp),
    /// The message of this stamp is gone.
    Deleted(Stamp),
}

/// Reads what a durable row whose key has the stamp `at` says; nothing when it cannot be read.
pub(crate) fn tells(row: &[u8], at: Stamp) -> Option<Tells> {
    #[derive(Deserialize)]
    struct Row {
        event: String,
        #[serde(default)]
        of: Option<Stamp>,
    }
    let row: Row = store::codec::decode(row).ok()?;
    let of = row.of.unwrap_or(at);
    Some(match row.event.as_str() {
        event if event == Kind::DeleteChannelMessage.as_str() => Tells::Deleted(of),
        event if event.ends_with("_CHANNEL_MESSAGE") => Tells::Message(of),
        _ => Tells::NoMessage,
    })
}

fn text(payload: &impl wire::shape::Shape) -> String {
    let mut text = Vec::new();
    wire::rest_json::write(payload, TimeFormat::Iso, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn sealed(audience: Audience, event: Event) -> store::Event {
    let reference = event.reference(&audience);
    store::Event { audience, body: Arc::new(event), reference }
}

/// Returns an event about a message that was stored at `of`; its id and times are in `message`.
pub(crate) fn message_change(
    audience: Audience,
    kind: Kind,
    message: ChannelMessage,
    of: Stamp,
) -> store::Event {
    let payload = Payload::Change { kind, message: Box::new(message), of };
    sealed(audience, Event { payload: Some(payload), effect: None })
}

/// Returns an event about a new message; id and times are filled in from the stamp.
pub(crate) fn message(
    audience: Audience,
    kind: Kind,
    message: ChannelMessage,
    id: MessageId,
) -> store::Event {
    let payload = Payload::Message { kind, message: Box::new(message), id };
    sealed(audience, Event { payload: Some(payload), effect: None })
}

/// Returns an event about a channel.
pub(crate) fn channel(
    audience: Audience,
    kind: Kind,
    channel: Channel,
    effect: Option<Effect>,
) -> store::Event {
    let payload = Payload::Channel { kind, channel: Box::new(channel) };
    sealed(audience, Event { payload: Some(payload), effect })
}

/// Returns an event about a membership.
pub(crate) fn membership(
    audience: Audience,
    kind: Kind,
    membership: ChannelMembership,
    effect: Option<Effect>,
) -> store::Event {
    let payload = Payload::Membership { kind, membership: Box::new(membership) };
    sealed(audience, Event { payload: Some(payload), effect })
}

/// Returns an event about several memberships that one request made.
pub(crate) fn memberships(
    audience: Audience,
    kind: Kind,
    memberships: BatchChannelMemberships,
) -> store::Event {
    let payload = Payload::Memberships { kind, memberships: Box::new(memberships) };
    sealed(audience, Event { payload: Some(payload), effect: None })
}

/// Returns an event that only the hub hears.
pub(crate) fn internal(effect: Effect) -> store::Event {
    sealed(Audience::Internal, Event { payload: None, effect: Some(effect) })
}

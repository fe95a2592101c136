//! What happened, as it travels from the commit to the sockets.
//!
//! Invariant: an event is emitted by the batch that makes it true; its frame is built once, after
//! the stamp is known. What is durable has a row, `event/reference.rs`, from which `event/retell.rs`
//! tells it again: to a socket that was away, to a node that has missed something.

mod reference;
mod retell;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use store::{Audience, Stamp, Uid};
use wire::event::{EVENT_ID, EventIds};
use wire::messaging::{BatchChannelMemberships, Channel, ChannelMembership, ChannelMessage};
use wire::time::Timestamp;

use crate::ids::MessageIds;
use crate::messaging::channel;

pub(crate) use reference::{Tells, tells};
pub use retell::{Retelling, Told};
pub(crate) use retell::{Row, below, of_commit, row};

/// One event, the body of a `store::Event`.
#[derive(Debug)]
pub struct Event {
    payload: Option<Payload>,
    effect: Option<Effect>,
}

/// What the server's hub has to know of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// One of the user's sockets is closed: another took its place.
    SocketReplaced {
        /// The user.
        user: Uid,
        /// The node that serves it.
        node: Uid,
        /// The node's name of it.
        socket: u64,
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
    /// A plain member of an elastic channel was moved to another sub-channel.
    UpdateChannelMembership,
    /// A moderator's sub-channel was removed, and his membership with it.
    SubChannelDeleted,
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
            Self::DeleteChannelMembership | Self::SubChannelDeleted => "DELETE_CHANNEL_MEMBERSHIP",
            Self::BatchCreateChannelMembership => "BATCH_CREATE_CHANNEL_MEMBERSHIP",
            Self::UpdateChannelMembership => "UPDATE_CHANNEL_MEMBERSHIP",
            Self::UpdateChannel => "UPDATE_CHANNEL",
            Self::DeleteChannel => "DELETE_CHANNEL",
        }
    }
}

impl Kind {
    /// Returns why it happened, where that is told.
    const fn reason(self) -> Option<&'static str> {
        match self {
            Self::SubChannelDeleted => Some("subchannel_DELETED"),
            _ => None,
        }
    }
}

/// What is told. A message is new, or it was stored before at `of` and is changed.
#[derive(Debug)]
enum Payload {
    Message { kind: Kind, message: Box<ChannelMessage>, id: MessageId, channel: ChannelName },
    Change { kind: Kind, message: Box<ChannelMessage>, of: Stamp, channel: ChannelName },
    Channel { kind: Kind, channel: Box<Channel> },
    Membership { kind: Kind, membership: Box<ChannelMembership> },
    Memberships { kind: Kind, memberships: Box<BatchChannelMemberships> },
}

/// What the ARN of a channel is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelName {
    pub(crate) app_instance: Uid,
    pub(crate) id: String,
}

impl From<&channel::Channel> for ChannelName {
    fn from(channel: &channel::Channel) -> Self {
        Self { app_instance: channel.app_instance, id: channel.id.clone() }
    }
}

/// The place of an event: its home, its commit there, and its place in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The home of the commit.
    pub home: Uid,
    /// The stamp of the commit.
    pub stamp: Stamp,
    /// Which of the commit's events it is.
    pub index: u16,
}

impl Place {
    /// Returns the id of the event there, if a row keeps it.
    fn id(&self, ids: &EventIds) -> Option<String> {
        /// The golden ratio's fraction, which spreads numbers that are near each other.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        if self.stamp.seq == 0 {
            return None;
        }
        let Uid([.., a, b, c, d, e, f, g, h]) = self.home;
        let home = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let within = (self.stamp.seq << 16 | u64::from(self.index)).wrapping_mul(SPREAD);
        Some(ids.of(self.stamp.ms, (home ^ within).wrapping_mul(SPREAD) >> 16))
    }
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
/// The header that tells why a membership ended, where that is told.
const EVENT_REASON: &str = "x-amz-chime-event-reason";

impl Event {
    /// Returns the WebSocket text of this event, or nothing for an internal one.
    pub(crate) fn frame(&self, ids: &EventIds, place: Place) -> Option<Vec<u8>> {
        let Place { home, stamp, .. } = place;
        let id = place.id(ids);
        let headers: Vec<(&str, &str)> = id.iter().map(|id| (EVENT_ID, id.as_str())).collect();
        Some(match self.payload.as_ref()? {
            Payload::Message { kind, message, id, .. } => {
                let mut message = message.clone();
                message.message_id = Some(id.at(home, stamp));
                message.created_timestamp = Some(time(stamp));
                message.last_updated_timestamp = Some(time(stamp));
                wire::event::frame(kind.as_str(), type_of(&message), &headers, Some(&*message))
            }
            Payload::Change { kind, message, .. } => {
                wire::event::frame(kind.as_str(), type_of(message), &headers, Some(&**message))
            }
            Payload::Channel { kind, channel } => {
                wire::event::frame(kind.as_str(), SYSTEM, &headers, Some(&**channel))
            }
            Payload::Membership { kind, membership } => {
                let reason = kind.reason().map(|reason| (EVENT_REASON, reason));
                let headers: Vec<_> = headers.into_iter().chain(reason).collect();
                wire::event::frame(kind.as_str(), SYSTEM, &headers, Some(&**membership))
            }
            Payload::Memberships { kind, memberships } => {
                wire::event::frame(kind.as_str(), SYSTEM, &headers, Some(&**memberships))
            }
        })
    }

    /// Returns what the event changes about who hears what.
    #[must_use]
    pub const fn effect(&self) -> Option<Effect> {
        self.effect
    }
}

fn type_of(message: &ChannelMessage) -> &'static str {
    message.r#type.map_or(SYSTEM, |kind| kind.as_str())
}

fn sealed(audience: Audience, event: Event) -> store::Event {
    let reference = reference::of(&event, &audience);
    store::Event { audience, body: Arc::new(event), reference }
}

/// Returns an event about a message that was stored at `of`; its id and times are in `message`.
pub(crate) fn message_change(
    audience: Audience,
    kind: Kind,
    message: ChannelMessage,
    of: Stamp,
    channel: ChannelName,
) -> store::Event {
    let payload = Payload::Change { kind, message: Box::new(message), of, channel };
    sealed(audience, Event { payload: Some(payload), effect: None })
}

/// Returns an event about a new message; id and times are filled in from the stamp.
pub(crate) fn message(
    audience: Audience,
    kind: Kind,
    message: ChannelMessage,
    id: MessageId,
    channel: ChannelName,
) -> store::Event {
    let payload = Payload::Message { kind, message: Box::new(message), id, channel };
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

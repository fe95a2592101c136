//! The durable row of an event: whom it was for, what it changed, and where to find what was told.
//!
//! Invariant: a row names a message and never holds its content, so that what was redacted or
//! deleted is not found here either. Every event of a commit has a row, those that only nodes hear
//! of too: whoever reads all rows of a home after a seq has missed nothing. Members that are as they
//! mostly are do not stand in the row, since one goes with every message.

use serde::{Deserialize, Serialize};
use store::{Audience, Stamp, Uid};
use wire::event::payload_text;

use super::{ChannelName, Effect, Event, Kind, MessageId, Payload, SYSTEM, type_of};

/// A row as it is written.
#[derive(Default, Serialize)]
struct Written<'a> {
    /// The type; a new message where nothing stands, or nothing at all for nodes alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    /// Why it happened, where that is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// Who is told; the members of the row's home where nothing stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<Heard>,
    /// The stamp of the message, unless it is the row's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<Stamp>,
    /// The channel of the message: app instance and id.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    channel: Option<(Uid, &'a str)>,
    /// Whether the home of the message is a sub-channel.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    sub: bool,
    /// The type of a deleted message.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    message_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<Effect>,
    /// What was told, unless it is a message, which stands in its own table. Of a deleted message
    /// this is all that is left, and its content is not in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
}

/// A row as it is read; those of earlier versions lack members.
#[derive(Deserialize)]
struct Read {
    event: Option<String>,
    reason: Option<String>,
    audience: Option<Heard>,
    of: Option<Stamp>,
    #[serde(rename = "in")]
    channel: Option<(Uid, String)>,
    #[serde(default)]
    sub: bool,
    #[serde(rename = "type")]
    message_type: Option<String>,
    effect: Option<Effect>,
    payload: Option<String>,
}

/// An audience; where no uid stands it is the row's home.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Heard {
    Members,
    MembersOf(Uid),
    Moderators,
    ModeratorsOf(Uid),
    Users(Vec<Uid>),
    Internal,
}

/// Returns the row from which an event can be told again, if it is durable.
pub(super) fn of(event: &Event, audience: &Audience) -> Option<Vec<u8>> {
    let mut row = Written {
        audience: Some(match audience {
            Audience::Members(home) => Heard::MembersOf(*home),
            Audience::Moderators(home) => Heard::ModeratorsOf(*home),
            Audience::Users(users) => Heard::Users(users.clone()),
            Audience::Internal => Heard::Internal,
        }),
        effect: event.effect,
        ..Written::default()
    };
    match &event.payload {
        // One without an effect is there for nobody.
        None if event.effect.is_none() => return None,
        None => {}
        Some(Payload::Message { id: MessageId::Unstored(_), .. }) => return None,
        // The home and the stamp in the row's key name the message.
        Some(Payload::Message { kind, message, channel, .. }) => {
            row.event = (*kind != Kind::CreateChannelMessage).then(|| kind.as_str());
            row.of_message(audience, channel, message.sub_channel_id.is_some());
        }
        Some(Payload::Change { kind, message, of, channel }) => {
            row.event = Some(kind.as_str());
            row.of = Some(*of);
            row.of_message(audience, channel, message.sub_channel_id.is_some());
            match kind {
                // What was asked for and failed is stored nowhere.
                Kind::PendingUpdateChannelMessage | Kind::FailedUpdateChannelMessage => {
                    return None;
                }
                Kind::DeleteChannelMessage => {
                    row.message_type = Some(type_of(message));
                    row.payload = Some(payload_text(&**message));
                }
                _ => {}
            }
        }
        Some(Payload::Channel { kind, channel }) => row.telling(*kind, payload_text(&**channel)),
        Some(Payload::Membership { kind, membership }) => {
            row.telling(*kind, payload_text(&**membership));
        }
        Some(Payload::Memberships { kind, memberships }) => {
            row.telling(*kind, payload_text(&**memberships));
        }
    }
    Some(store::codec::encode(&row))
}

impl<'a> Written<'a> {
    /// A message's members are those of the home of its commit.
    fn of_message(&mut self, audience: &Audience, channel: &'a ChannelName, is_sub: bool) {
        if matches!(audience, Audience::Members(_)) {
            self.audience = None;
        }
        self.channel = Some((channel.app_instance, &channel.id));
        self.sub = is_sub;
    }

    fn telling(&mut self, kind: Kind, payload: String) {
        self.event = Some(kind.as_str());
        self.reason = kind.reason();
        self.payload = Some(payload);
    }
}

/// What a row says.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) audience: Audience,
    pub(super) effect: Option<Effect>,
    pub(super) told: Telling,
}

/// What is told of an event.
#[derive(Debug)]
pub(super) enum Telling {
    /// Nothing; only nodes hear of it.
    Nothing,
    /// The message of that stamp, as it is now. Rows of earlier versions do not name its channel.
    Message { event: String, of: Stamp, channel: Option<ChannelName>, is_sub: bool },
    /// The message of that stamp is gone; this is what was told of it.
    Deleted { event: String, kind: String, of: Stamp, payload: Option<String> },
    /// What was told.
    Payload { event: String, reason: Option<String>, payload: String },
}

/// Reads the row of an event below `home` in the commit `at`; nothing when it cannot be read.
pub(super) fn read(row: &[u8], home: Uid, at: Stamp) -> Option<Reference> {
    let row: Read = store::codec::decode(row).ok()?;
    let audience = match row.audience.unwrap_or(Heard::Members) {
        Heard::Members => Audience::Members(home),
        Heard::MembersOf(home) => Audience::Members(home),
        Heard::Moderators => Audience::Moderators(home),
        Heard::ModeratorsOf(home) => Audience::Moderators(home),
        Heard::Users(users) => Audience::Users(users),
        Heard::Internal => Audience::Internal,
    };
    let of = row.of.unwrap_or(at);
    let event = row.event.unwrap_or_else(|| Kind::CreateChannelMessage.as_str().to_owned());
    let told = match (row.payload, row.channel) {
        _ if audience == Audience::Internal => Telling::Nothing,
        (payload, _) if event == Kind::DeleteChannelMessage.as_str() => {
            let kind = row.message_type.unwrap_or_else(|| SYSTEM.to_owned());
            Telling::Deleted { event, kind, of, payload }
        }
        (Some(payload), _) => Telling::Payload { event, reason: row.reason, payload },
        (None, channel) => {
            let channel = channel.map(|(app_instance, id)| ChannelName { app_instance, id });
            Telling::Message { event, of, channel, is_sub: row.sub }
        }
    };
    Some(Reference { audience, effect: row.effect, told })
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

/// Reads what a durable row whose key has the stamp `at` says of a message.
pub(crate) fn tells(row: &[u8], home: Uid, at: Stamp) -> Option<Tells> {
    Some(match read(row, home, at)?.told {
        Telling::Message { of, .. } => Tells::Message(of),
        Telling::Deleted { of, .. } => Tells::Deleted(of),
        Telling::Nothing | Telling::Payload { .. } => Tells::NoMessage,
    })
}

#[cfg(test)]
mod tests;

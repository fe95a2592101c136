//! What stands in the lines of a history; docs/moving.md describes them.
//!
//! Invariant: members that are not known are refused, so that nothing is left out unseen.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use wire::messaging::{ChannelMembershipType, ChannelMessageType, ChannelMode, ChannelPrivacy};
use wire::time::Timestamp;

/// One line behind the first.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Line {
    AppInstance(AppInstance),
    User(User),
    Admin(Role),
    Channel(Channel),
    Ban(ByChannel),
    Moderator(ByChannel),
    Membership(Membership),
    Message(Box<Message>),
    End(End),
}

/// A moment: ISO-8601, or milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) i64);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        struct Reading;
        impl Visitor<'_> for Reading {
            type Value = Moment;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }
            fn visit_u64<E: Error>(self, ms: u64) -> Result<Moment, E> {
                i64::try_from(ms).map(Moment).map_err(E::custom)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Moment, E> {
                let is_iso = text.contains('T');
                let time = Timestamp::parse_query(text).filter(|time| is_iso && time.0 >= 0);
                time.map(|time| Moment(time.0)).ok_or_else(|| E::custom("a time is ISO-8601"))
            }
        }
        deserializer.deserialize_any(Reading)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppInstance {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) metadata: Option<String>,
    pub(crate) created: Moment,
    #[serde(default)]
    pub(crate) updated: Option<Moment>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) metadata: Option<String>,
    pub(crate) created: Moment,
    #[serde(default)]
    pub(crate) updated: Option<Moment>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Role {
    pub(crate) user: String,
    pub(crate) created: Moment,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Channel {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) mode: Option<ChannelMode>,
    #[serde(default)]
    pub(crate) privacy: Option<ChannelPrivacy>,
    #[serde(default)]
    pub(crate) metadata: Option<String>,
    pub(crate) created_by: String,
    pub(crate) created: Moment,
    #[serde(default)]
    pub(crate) updated: Option<Moment>,
}

/// Somebody's place in a channel, given by somebody.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ByChannel {
    pub(crate) channel: String,
    pub(crate) user: String,
    pub(crate) created_by: String,
    pub(crate) created: Moment,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Membership {
    pub(crate) channel: String,
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) r#type: Option<ChannelMembershipType>,
    pub(crate) invited_by: String,
    pub(crate) created: Moment,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    pub(crate) channel: String,
    #[serde(default)]
    pub(crate) id: Option<String>,
    pub(crate) sender: String,
    /// The sender's name at that time; with it he need not be a user any more.
    #[serde(default)]
    pub(crate) sender_name: Option<String>,
    #[serde(default)]
    pub(crate) r#type: Option<ChannelMessageType>,
    #[serde(default)]
    pub(crate) content: Option<String>,
    #[serde(default)]
    pub(crate) metadata: Option<String>,
    #[serde(default)]
    pub(crate) content_type: Option<String>,
    #[serde(default)]
    pub(crate) attributes: Option<BTreeMap<String, Vec<String>>>,
    pub(crate) created: Moment,
    #[serde(default)]
    pub(crate) edited: Option<Moment>,
    #[serde(default)]
    pub(crate) updated: Option<Moment>,
    #[serde(default)]
    pub(crate) redacted: bool,
}

/// The last line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    /// Lines before this one, the first included.
    pub(crate) lines: u64,
    /// SHA-256 of all bytes before this line, where the writer could tell it.
    #[serde(default)]
    pub(crate) sha256: Option<String>,
}

//! Messages that were brought in with a history, and the ids that they had elsewhere.
//!
//! Invariant: a message has one id, that of elsewhere if it has one, and is found by no other; the
//! index row goes with the message, whoever removes it.

use store::{Entry, Index, Key, Kind, Parts, Stamp, Table, Txn, Uid};
use wire::messaging::ChannelMessageType;

use super::{CHANNEL_MESSAGE, ChannelMessage, State, check_text, kept};
use crate::cx::Cx;
use crate::error::Result;
use crate::history::Message;
use crate::principal::Principal;

/// Channel, id of elsewhere; the value is the stamp of the message.
pub(crate) static CHANNEL_MESSAGE_BY_FOREIGN_ID: Table =
    Table { name: "channel_message_by_foreign_id", kind: Kind::Index, columns: &[] };

/// The longest id, as the model has it.
const ID_CHARS_MAX: usize = 128;

fn key_of(channel: Uid, id: &str) -> Key {
    Key::new(&CHANNEL_MESSAGE_BY_FOREIGN_ID).uid(channel).text(id)
}

/// Returns the stamp of the message that came with this id.
pub(super) async fn stamp(tx: &mut Txn, channel: Uid, id: &str) -> Result<Option<Stamp>> {
    let row = tx.get_entry(&key_of(channel, id)).await?;
    Ok(row.and_then(|row| Parts::new(&row.value).stamp()))
}

/// Removes a message that nobody can see any more, without a check.
pub(crate) fn forget(tx: &mut Txn, row: &Entry) {
    // One that cannot be read goes too; `db check` tells of what it leaves.
    if let Ok(ChannelMessage { channel, foreign_id: Some(id), .. }) = row.decode() {
        tx.delete_raw(key_of(channel, &id));
    }
    tx.delete_raw(Key::new(&CHANNEL_MESSAGE).raw(&row.key));
}

impl ChannelMessage {
    /// Returns the id, once the stamp is known from which it follows.
    pub(super) fn id(&self, cx: &Cx) -> Option<String> {
        let own = || self.stamp.map(|stamp| cx.message_id(self.channel, stamp));
        self.foreign_id.clone().or_else(own)
    }

    pub(super) fn foreign_index(&self) -> Option<Index> {
        let (id, stamp) = (self.foreign_id.as_ref()?, self.stamp?);
        Some(Index { key: key_of(self.channel, id), value: stamp.to_bytes().to_vec() })
    }

    /// Returns the message that a history names.
    ///
    /// # Errors
    /// When no client could have sent it, as a text for the operator.
    pub(crate) fn imported(
        channel: Uid,
        stamp: Stamp,
        sender: Principal,
        line: Message,
    ) -> std::result::Result<Self, &'static str> {
        let is_id = |id: &String| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(is_plain)
        };
        if !line.id.as_ref().is_none_or(is_id) {
            return Err("the id of a message has 1 to 128 letters, digits, - and _");
        }
        let r#type = line.r#type.unwrap_or(ChannelMessageType::Standard);
        let content = if line.redacted { None } else { line.content };
        if content.is_none() && !line.redacted {
            return Err("a message that is not redacted has content");
        }
        let text = content.as_deref().unwrap_or_default();
        check_text(r#type, text, line.metadata.as_deref())
            .map_err(|_| "the content is too long, or a CONTROL message has metadata")?;
        let changed = line.updated.or(line.edited);
        Ok(Self {
            channel,
            stamp: Some(stamp),
            r#type,
            sender,
            content,
            metadata: kept(line.metadata.as_ref()).filter(|_| !line.redacted),
            content_type: kept(line.content_type.as_ref()),
            attributes: line.attributes,
            push_notification: None,
            target: None,
            edited_ms: line.edited.map(|edited| edited.0),
            updated_ms: changed.map(|changed| changed.0),
            state: line.redacted.then_some(State::Redacted),
            foreign_id: line.id,
        })
    }
}

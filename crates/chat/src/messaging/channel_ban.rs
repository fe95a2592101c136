//! Bans: users who may not become members of a channel.
//!
//! Key: channel and the uid of the banned, so a re-created user of the same id is not banned.

use store::{Key, Kind, Table, Txn, Uid};

use crate::error::Result;

pub(crate) static CHANNEL_BAN: Table =
    Table { name: "channel_ban", kind: Kind::Record, columns: &["member", "created_ms"] };

fn key_of(channel: Uid, member: Uid) -> Key {
    Key::new(&CHANNEL_BAN).uid(channel).uid(member)
}

/// Whether `member` is banned from `channel`.
pub(crate) async fn is(tx: &mut Txn, channel: Uid, member: Uid) -> Result<bool> {
    Ok(tx.exists(&key_of(channel, member)).await?)
}

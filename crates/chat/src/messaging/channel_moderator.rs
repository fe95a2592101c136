//! Moderators of a channel.
//!
//! Key: channel and the uid of the moderator; index: moderator and channel. The counter of the
//! channel equals the rows. The role does not depend on a membership.

use serde::{Deserialize, Serialize};
use store::{Index, Key, Kind, Record, Table, Txn, Uid};

use crate::check::Proof;
use crate::cx::Cx;
use crate::error::Result;
use crate::limits;
use crate::messaging::channel::Channel;
use crate::principal::Principal;

pub(crate) static CHANNEL_MODERATOR: Table =
    Table { name: "channel_moderator", kind: Kind::Record, columns: &["moderator", "created_ms"] };

/// Moderator, channel: what a user moderates.
pub(crate) static CHANNEL_MODERATOR_BY_MODERATOR: Table =
    Table { name: "channel_moderator_by_moderator", kind: Kind::Index, columns: &[] };

/// One moderator.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChannelModerator {
    channel: Uid,
    channel_id: String,
    moderator: Principal,
    created_by: Principal,
    created_ms: i64,
}

impl Record for ChannelModerator {
    const TABLE: &'static Table = &CHANNEL_MODERATOR;

    fn key(&self) -> Key {
        key_of(self.channel, self.moderator.uid)
    }

    fn indexes(&self, out: &mut Vec<Index>) {
        let key = Key::new(&CHANNEL_MODERATOR_BY_MODERATOR);
        out.push(Index {
            key: key.uid(self.moderator.uid).uid(self.channel),
            value: self.channel_id.clone().into_bytes(),
        });
    }
}

impl Proof for ChannelModerator {
    fn counted(&self) -> Vec<Key> {
        vec![limits::CHANNEL_MODERATORS.key(self.channel)]
    }

    fn refers_to(&self) -> Vec<Uid> {
        vec![self.channel, self.moderator.uid]
    }
}

pub(crate) fn key_of(channel: Uid, moderator: Uid) -> Key {
    Key::new(&CHANNEL_MODERATOR).uid(channel).uid(moderator)
}

/// Whether `principal` is a moderator of `channel`.
pub(crate) async fn is(tx: &mut Txn, channel: Uid, principal: Uid) -> Result<bool> {
    Ok(tx.exists(&key_of(channel, principal)).await?)
}

/// Makes `moderator` a moderator of `channel`, of which he is none yet.
pub(crate) async fn promote(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    moderator: &Principal,
) -> Result<()> {
    let record = ChannelModerator {
        channel: channel.uid,
        channel_id: channel.id.clone(),
        moderator: moderator.clone(),
        created_by: cx.actor()?.principal.clone(),
        created_ms: cx.now_ms,
    };
    tx.exists(&record.key()).await?;
    tx.put(&record);
    let quota = limits::CHANNEL_MODERATORS;
    tx.add(quota.key(channel.uid), 1, Some(cx.max(&quota)));
    Ok(())
}

/// Takes the role from a moderator that was got.
pub(crate) fn remove(tx: &mut Txn, moderator: &ChannelModerator) {
    tx.delete(moderator);
    tx.add(limits::CHANNEL_MODERATORS.key(moderator.channel), -1, None);
}

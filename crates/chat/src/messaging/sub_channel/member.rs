//! In which sub-channels a member of an elastic channel is.
//!
//! Key: channel and member. Invariants: the record is there as long as he is in one of them, and
//! names each in which he has a membership; it alone is counted as a membership of the channel and
//! of the user, and it alone stands in the list of the user's channels.

use serde::{Deserialize, Serialize};
use store::{Index, Key, Kind, Record, Table, Txn, Uid};

use crate::check::Proof;
use crate::cx::Cx;
use crate::error::Result;
use crate::limits;
use crate::messaging::channel::Channel;
use crate::messaging::channel_membership::{self, ChannelMembership};

pub(crate) static ELASTIC_MEMBER: Table =
    Table { name: "elastic_member", kind: Kind::Record, columns: &["sub_channels"] };

/// One member of an elastic channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ElasticMember {
    channel: Uid,
    channel_id: String,
    pub(super) member: Uid,
    pub(crate) sub_channels: Vec<Uid>,
}

impl Record for ElasticMember {
    const TABLE: &'static Table = &ELASTIC_MEMBER;

    fn key(&self) -> Key {
        Self::key_of(self.channel, self.member)
    }

    fn indexes(&self, out: &mut Vec<Index>) {
        out.push(Index {
            key: channel_membership::key_by_member(self.member, self.channel),
            value: self.channel_id.clone().into_bytes(),
        });
    }
}

impl Proof for ElasticMember {
    fn counted(&self) -> Vec<Key> {
        let of_channel = limits::CHANNEL_MEMBERSHIPS.key(self.channel);
        vec![of_channel, limits::USER_MEMBERSHIPS.key(self.member)]
    }

    fn refers_to(&self) -> Vec<Uid> {
        vec![self.channel, self.member]
    }

    fn beside(&self) -> Vec<Key> {
        self.memberships()
    }
}

impl ElasticMember {
    pub(crate) fn key_of(channel: Uid, member: Uid) -> Key {
        Key::new(&ELASTIC_MEMBER).uid(channel).uid(member)
    }

    /// Returns the keys of his memberships.
    pub(crate) fn memberships(&self) -> Vec<Key> {
        let key = |&sub_channel: &Uid| ChannelMembership::key_of(sub_channel, self.member);
        self.sub_channels.iter().map(key).collect()
    }

    /// Returns the sub-channels in which `member` is.
    pub(crate) async fn places(tx: &mut Txn, channel: Uid, member: Uid) -> Result<Vec<Uid>> {
        let found: Option<Self> = tx.get(&Self::key_of(channel, member)).await?;
        Ok(found.map(|found| found.sub_channels).unwrap_or_default())
    }

    /// Takes note that `member` comes into a sub-channel. The quota of a channel's members is for
    /// ordinary ones; an elastic one is bounded by its sub-channels.
    pub(crate) async fn enter(
        cx: &Cx,
        tx: &mut Txn,
        channel: &Channel,
        sub_channel: Uid,
        member: Uid,
    ) -> Result<()> {
        let found: Option<Self> = tx.get(&Self::key_of(channel.uid, member)).await?;
        let mut record = found.unwrap_or_else(|| Self {
            channel: channel.uid,
            channel_id: channel.id.clone(),
            member,
            sub_channels: Vec::new(),
        });
        if record.sub_channels.is_empty() {
            tx.add(limits::CHANNEL_MEMBERSHIPS.key(channel.uid), 1, None);
            let quota = limits::USER_MEMBERSHIPS;
            tx.add(quota.key(member), 1, Some(cx.max(&quota)));
        }
        record.sub_channels.push(sub_channel);
        tx.put(&record);
        Ok(())
    }

    /// Takes note that `member` was moved to another sub-channel.
    pub(crate) async fn transfer(
        tx: &mut Txn,
        channel: Uid,
        member: Uid,
        from: Uid,
        to: Uid,
    ) -> Result<()> {
        let found: Option<Self> = tx.get(&Self::key_of(channel, member)).await?;
        let Some(mut record) = found else { return Ok(()) };
        record
            .sub_channels
            .iter_mut()
            .filter(|place| **place == from)
            .for_each(|place| *place = to);
        tx.put(&record);
        Ok(())
    }

    /// Takes note that `member` is no longer in `sub_channel`.
    pub(crate) async fn leave(
        tx: &mut Txn,
        channel: Uid,
        sub_channel: Uid,
        member: Uid,
    ) -> Result<()> {
        let found: Option<Self> = tx.get(&Self::key_of(channel, member)).await?;
        let Some(mut record) = found else { return Ok(()) };
        record.sub_channels.retain(|&other| other != sub_channel);
        if !record.sub_channels.is_empty() {
            tx.put(&record);
            return Ok(());
        }
        tx.delete(&record);
        tx.add(limits::CHANNEL_MEMBERSHIPS.key(channel), -1, None);
        tx.add(limits::USER_MEMBERSHIPS.key(member), -1, None);
        Ok(())
    }
}

//! The rows of sub-channels: one small record for each, and one list of all of them.
//!
//! Keys: of a record, channel and sub-channel; of the list, the channel. The list is for what
//! concerns all of them, and for making or removing one; no request of a member reads it. Index: what
//! a sub-channel can be used for, so that a place for a member is found without looking at all of
//! them. Invariants: a record is there exactly for those in the list; one that is not taken for full
//! stands in the index; one that is was full when it was marked (the commit requires the count),
//! and whoever leaves it takes the mark away, having checked that there is one. Whoever writes a record
//! holds the sub-channel, whoever writes the list holds the channel.

use serde::{Deserialize, Serialize};
use store::{Direction, Entry, Index, Key, Kind, Parts, Range, Record, Table, Txn, Uid, View};

use crate::check::Proof;
use crate::cx::Cx;
use crate::error::Result;
use crate::limits::{self, SUB_CHANNELS_PER_LOOK};
use crate::messaging::channel::Channel;

pub(crate) static SUB_CHANNEL: Table = Table {
    name: "sub_channel",
    kind: Kind::Record,
    columns: &["channel", "state", "is_full", "is_waiting"],
};

pub(crate) static SUB_CHANNEL_LIST: Table =
    Table { name: "sub_channel_list", kind: Kind::Record, columns: &["channel", "sub_channels"] };

/// Channel, use, sub-channel; see [`Use`].
pub(crate) static SUB_CHANNEL_BY_USE: Table =
    Table { name: "sub_channel_by_use", kind: Kind::Index, columns: &[] };

/// What happens to a sub-channel; see `balance.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Active,
    /// Members are moved into it until it has as many as the others.
    Filling,
    /// It takes nobody, and goes once all are moved out of it.
    Draining,
}

/// What a sub-channel is looked for as, in the order in which a new member comes into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Use {
    /// It is filling and may have room.
    Filling,
    /// It may have room.
    Open,
    /// It is draining.
    Draining,
    /// It has too few members and waits for room elsewhere.
    Waiting,
}

/// One sub-channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SubChannel {
    channel: Uid,
    pub(crate) uid: Uid,
    pub(crate) state: State,
    /// Whether it has as many members as the channel wants, so that nobody looks here for a place.
    pub(crate) is_full: bool,
    /// Whether it would go if others had room for its members.
    pub(crate) is_waiting: bool,
}

impl Record for SubChannel {
    const TABLE: &'static Table = &SUB_CHANNEL;

    fn key(&self) -> Key {
        Self::key_of(self.channel, self.uid)
    }

    fn indexes(&self, out: &mut Vec<Index>) {
        let mut push = |r#use| {
            out.push(Index { key: by_use(self.channel, r#use).uid(self.uid), value: Vec::new() });
        };
        match self.state {
            State::Filling if !self.is_full => push(Use::Filling),
            State::Active if !self.is_full => push(Use::Open),
            State::Draining => push(Use::Draining),
            State::Filling | State::Active => {}
        }
        if self.is_waiting {
            push(Use::Waiting);
        }
    }
}

impl Proof for SubChannel {
    fn counted(&self) -> Vec<Key> {
        vec![limits::SUB_CHANNELS.key(self.channel)]
    }

    fn refers_to(&self) -> Vec<Uid> {
        vec![self.channel]
    }
}

fn by_use(channel: Uid, r#use: Use) -> Key {
    Key::new(&SUB_CHANNEL_BY_USE).uid(channel).u8(r#use as u8)
}

impl SubChannel {
    pub(crate) fn key_of(channel: Uid, uid: Uid) -> Key {
        Key::new(&SUB_CHANNEL).uid(channel).uid(uid)
    }

    /// Puts a new one, which the caller puts into the list.
    pub(super) async fn found(tx: &mut Txn, channel: Uid, uid: Uid, state: State) -> Result<Self> {
        let record = Self { channel, uid, state, is_full: false, is_waiting: false };
        tx.exists(&record.key()).await?;
        record.put(tx);
        tx.add(limits::SUB_CHANNELS.key(channel), 1, None);
        Ok(record)
    }

    /// Puts the record, which was got, and keeps the sub-channel still for it.
    pub(crate) fn put(&self, tx: &mut Txn) {
        tx.hold(self.uid);
        tx.put(self);
    }

    /// Removes the record, which was got; the caller takes it out of the list.
    pub(crate) fn remove(&self, tx: &mut Txn) {
        tx.delete(self);
        tx.add(limits::SUB_CHANNELS.key(self.channel), -1, None);
    }

    /// Lets members look here for a place again; the record was got, so that a mark which is put
    /// meanwhile is a conflict.
    pub(crate) fn open(&mut self, tx: &mut Txn) {
        if self.is_full {
            self.is_full = false;
            self.put(tx);
        }
    }

    /// Marks the sub-channel as full, which it must be when this commits.
    pub(crate) fn close(&mut self, tx: &mut Txn, target: i64) {
        if !self.is_full {
            self.is_full = true;
            self.put(tx);
            tx.require_count(count_key(self.uid), target);
        }
    }
}

/// All sub-channels of a channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SubChannelList {
    channel: Uid,
    /// In the order in which they came.
    pub(crate) sub_channels: Vec<Uid>,
    /// The time of the last message in any that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gone_message_ms: Option<u64>,
}

impl Record for SubChannelList {
    const TABLE: &'static Table = &SUB_CHANNEL_LIST;

    fn key(&self) -> Key {
        Self::key_of(self.channel)
    }
}

impl Proof for SubChannelList {
    fn refers_to(&self) -> Vec<Uid> {
        vec![self.channel]
    }

    fn beside(&self) -> Vec<Key> {
        self.sub_channels.iter().map(|&uid| SubChannel::key_of(self.channel, uid)).collect()
    }

    fn parts(&self) -> Vec<Uid> {
        self.sub_channels.clone()
    }
}

impl SubChannelList {
    pub(crate) fn key_of(channel: Uid) -> Key {
        Key::new(&SUB_CHANNEL_LIST).uid(channel)
    }

    /// Returns the list of an elastic channel; nothing for an ordinary one.
    pub(crate) async fn of(tx: &mut Txn, channel: &Channel) -> Result<Option<Self>> {
        match channel.elastic {
            Some(_) => Ok(tx.get(&Self::key_of(channel.uid)).await?),
            None => Ok(None),
        }
    }

    /// Removes one whose last message was sent at `message_ms`.
    pub(crate) fn remove(&mut self, uid: Uid, message_ms: Option<u64>) {
        self.sub_channels.retain(|other| *other != uid);
        self.gone_message_ms = self.gone_message_ms.max(message_ms);
    }
}

/// Puts the first sub-channel of a channel that is made by this transaction, if it is elastic.
pub(crate) async fn found(cx: &Cx, tx: &mut Txn, channel: &Channel) -> Result<()> {
    if channel.elastic.is_none() {
        return Ok(());
    }
    let uid = cx.new_uid();
    let list =
        SubChannelList { channel: channel.uid, sub_channels: vec![uid], gone_message_ms: None };
    tx.exists(&list.key()).await?;
    tx.put(&list);
    SubChannel::found(tx, channel.uid, uid, State::Active).await?;
    Ok(())
}

/// Returns the homes of everybody in a channel.
pub(crate) async fn homes(tx: &mut Txn, channel: &Channel) -> Result<Vec<Uid>> {
    let list = SubChannelList::of(tx, channel).await?;
    Ok(list.map_or_else(|| vec![channel.uid], |list| list.sub_channels))
}

/// Returns the homes of each of some channels.
pub(crate) async fn homes_of_all(view: &View, channels: &[Channel]) -> Result<Vec<Vec<Uid>>> {
    let elastic = channels.iter().filter(|channel| channel.elastic.is_some());
    let keys: Vec<Key> = elastic.map(|channel| SubChannelList::key_of(channel.uid)).collect();
    let mut lists = view.get_many::<SubChannelList>(&keys).await?.into_iter();
    let homes = |channel: &Channel| match channel.elastic {
        Some(_) => lists.next().flatten().map(|list| list.sub_channels).unwrap_or_default(),
        None => vec![channel.uid],
    };
    Ok(channels.iter().map(homes).collect())
}

/// A sub-channel that a transaction looked at.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) record: SubChannel,
    /// Its memberships, as they were read.
    pub(crate) count: i64,
}

pub(crate) fn count_key(sub_channel: Uid) -> Key {
    limits::SUB_CHANNEL_MEMBERSHIPS.key(sub_channel)
}

/// Looks at sub-channels, in one read. Those that are gone are left out; nothing is checked.
pub(crate) async fn look_at(tx: &mut Txn, channel: Uid, uids: &[Uid]) -> Result<Vec<Place>> {
    let rows = |&uid: &Uid| [SubChannel::key_of(channel, uid), count_key(uid)];
    tx.load(&uids.iter().flat_map(rows).collect::<Vec<Key>>()).await?;
    let mut places = Vec::new();
    for &uid in uids {
        let record = tx.peek::<SubChannel>(&SubChannel::key_of(channel, uid)).await?;
        let count = tx.peek_count(&count_key(uid)).await?;
        places.extend(record.map(|record| Place { record, count }));
    }
    Ok(places)
}

/// Some sub-channels that the index names, and where the next ones begin.
pub(crate) struct Found {
    pub(crate) uids: Vec<Uid>,
    /// Nothing when these were the last.
    pub(crate) next: Option<(Use, Uid)>,
}

/// Finds the next sub-channels of some uses, from the first to before another.
pub(crate) async fn find(
    view: &View,
    channel: Uid,
    (first, end): (Use, Option<Use>),
    after: Option<(Use, Uid)>,
) -> Result<Found> {
    let all =
        Range::prefix(Key::new(&SUB_CHANNEL_BY_USE).uid(channel)).from(by_use(channel, first));
    let range = match after {
        Some((r#use, uid)) => all.after(by_use(channel, r#use).uid(uid).bytes()),
        None => all,
    };
    let range = match end {
        Some(end) => range.before(by_use(channel, end)),
        None => range,
    };
    let rows = view.keys(&range, SUB_CHANNELS_PER_LOOK, Direction::Forward).await?;
    let found: Vec<(Use, Uid)> = rows.iter().filter_map(used).collect();
    let next = found.last().copied().filter(|_| rows.len() == SUB_CHANNELS_PER_LOOK);
    Ok(Found { uids: found.into_iter().map(|(_, uid)| uid).collect(), next })
}

/// Reads a key that [`by_use`] begins.
fn used(row: &Entry) -> Option<(Use, Uid)> {
    let mut parts = Parts::new(&row.key);
    parts.uid()?;
    let r#use = match parts.u8()? {
        0 => Use::Filling,
        1 => Use::Open,
        2 => Use::Draining,
        3 => Use::Waiting,
        _ => return None,
    };
    Some((r#use, parts.uid()?))
}

/// Lists the sub-channels behind one of them in the order of their uids, and tells whether there are
/// more.
pub(crate) async fn behind(
    view: &View,
    channel: Uid,
    after: Option<Uid>,
) -> Result<(Vec<Uid>, bool)> {
    let all = Range::prefix(Key::new(&SUB_CHANNEL).uid(channel));
    let range = match after {
        Some(uid) => all.after(SubChannel::key_of(channel, uid).bytes()),
        None => all,
    };
    let rows = view.keys(&range, SUB_CHANNELS_PER_LOOK, Direction::Forward).await?;
    let has_more = rows.len() == SUB_CHANNELS_PER_LOOK;
    Ok((rows.iter().filter_map(uid_of).collect(), has_more))
}

/// Returns the sub-channel whose record's key this is.
pub(super) fn uid_of(row: &Entry) -> Option<Uid> {
    let mut parts = Parts::new(&row.key);
    parts.uid()?;
    parts.uid()
}

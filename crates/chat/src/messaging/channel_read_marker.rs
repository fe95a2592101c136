//! Read markers: up to when a member has read a channel.
//!
//! Key: channel and member. The value holds nothing: the marker is the time of the commit that wrote
//! the row, which is after every message that was there and never goes back. Nobody is told of it,
//! and it goes with the membership.

use serde::{Deserialize, Serialize};
use store::{Key, Kind, Parts, Record, Stamp, Table, Txn, Uid, Version};
use wire::messaging::{
    UpdateChannelReadMarker, UpdateChannelReadMarkerRequest, UpdateChannelReadMarkerResponse,
};
use wire::time::Timestamp;

use crate::Chat;
use crate::access::{self, Action};
use crate::check::{Marks, Proof};
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::Result;
use crate::event;
use crate::messaging::channel;
use crate::messaging::channel_membership::ChannelMembership;
use crate::messaging::sub_channel;

pub(crate) static CHANNEL_READ_MARKER: Table =
    Table { name: "channel_read_marker", kind: Kind::Record, columns: &[] };

/// The marker of one membership.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ChannelReadMarker {
    /// From the key.
    #[serde(skip)]
    channel: Uid,
    /// From the key.
    #[serde(skip)]
    member: Uid,
    /// From the row's version.
    #[serde(skip)]
    stamp: Option<Stamp>,
}

impl Record for ChannelReadMarker {
    const TABLE: &'static Table = &CHANNEL_READ_MARKER;

    fn key(&self) -> Key {
        Self::key_of(self.channel, self.member)
    }

    fn located(&mut self, key: &[u8], ver: Version) {
        let mut parts = Parts::new(key);
        self.channel = parts.uid().unwrap_or(Uid::NIL);
        self.member = parts.uid().unwrap_or(Uid::NIL);
        self.stamp = Some(ver.stamp());
    }
}

impl Proof for ChannelReadMarker {
    fn refers_to(&self) -> Vec<Uid> {
        vec![self.channel, self.member]
    }

    fn beside(&self) -> Vec<Key> {
        vec![ChannelMembership::key_of(self.channel, self.member)]
    }

    fn placed(&self) -> Option<(Uid, Stamp, Marks)> {
        Some((self.channel, self.stamp?, Marks::No))
    }
}

impl ChannelReadMarker {
    pub(crate) fn key_of(channel: Uid, member: Uid) -> Key {
        Key::new(&CHANNEL_READ_MARKER).uid(channel).uid(member)
    }

    /// Returns up to when the member has read.
    pub(crate) fn timestamp(&self) -> Option<Timestamp> {
        self.stamp.map(event::time)
    }
}

impl Handle<UpdateChannelReadMarker> for Chat {
    const GUESSES: bool = true;

    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &UpdateChannelReadMarkerRequest,
    ) -> Result<Reply<UpdateChannelReadMarkerResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        // This gets the membership, so the marker of one who leaves meanwhile is not written.
        access::require(cx, tx, Action::UpdateReadMarker, &channel).await?;
        sub_channel::refuse_elastic(&channel, "read markers")?;
        let member = cx.actor()?.principal.uid;
        let marker = ChannelReadMarker { channel: channel.uid, member, stamp: None };
        tx.set_home(channel.uid);
        // Whatever was there is older.
        tx.put_raw(marker.key(), store::codec::encode(&marker));
        let channel_arn = Some(channel.arn(cx));
        Ok(Reply::stamped(move |_| UpdateChannelReadMarkerResponse { channel_arn }))
    }
}

#[cfg(test)]
mod tests;

//! Prefetch: what a session that begins is told of its user's channels, so that it need not ask.
//!
//! Invariants: a user is told what ListChannelMessages and ListChannelMemberships would tell him,
//! and only of channels of which he was a member after the rest was read; however many channels he
//! has, only the best are kept in memory, and each piece takes a handful of reads.

mod columns;

use std::cmp::Reverse;

use store::{BoxFuture, Direction, Entry, HomeRow, Key, Range, Uid, View};
use wire::event::ChannelDetails;
use wire::messaging::ChannelMembershipSummary;

use crate::cx::Cx;
use crate::error::Result;
use crate::identity::app_instance::AppInstance;
use crate::messaging::channel::Channel;
use crate::messaging::channel::lookup::{Found, Named, lookup};
use crate::messaging::channel_membership::{
    CHANNEL_MEMBERSHIP, CHANNEL_MEMBERSHIP_BY_MEMBER, ChannelMembership, shown_members,
};
use crate::messaging::channel_message::{self, ChannelMessage};
use crate::messaging::channel_read_marker::ChannelReadMarker;
use crate::messaging::session::SessionUser;
use crate::messaging::sub_channel::ElasticMember;
use crate::principal::Principal;
use crate::{Chat, limits};
use columns::{Column, Columns};

/// Which channels come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefetchSort {
    /// Those with unread messages, then those with the newest message.
    Unread,
    /// Those with the newest message.
    LastMessageTimestamp,
}

/// The channels of which a session is still to be told.
pub struct Prefetch {
    chat: Chat,
    user: SessionUser,
    /// The best comes last.
    rest: Vec<Candidate>,
}

/// What a session is told of one channel.
#[derive(Debug)]
pub struct Details {
    /// The WebSocket text.
    pub frame: Vec<u8>,
    /// Home and seq of the commits of the messages in it.
    pub messages: Vec<(Uid, u64)>,
}

/// A channel that may be among the best.
#[derive(Clone, Debug)]
struct Candidate {
    named: Named,
    /// The home of its messages: the channel, or the sub-channel that the user is in.
    home: Uid,
    is_unread: bool,
    last_message_ms: Option<u64>,
}

impl Candidate {
    /// Greater is better.
    fn rank(&self, sort: PrefetchSort) -> (bool, Option<u64>, Reverse<Uid>) {
        let is_unread = sort == PrefetchSort::Unread && self.is_unread;
        (is_unread, self.last_message_ms, Reverse(self.named.uid))
    }
}

impl Chat {
    /// Chooses the channels of which a session of this user is told first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn prefetch<'a>(
        &'a self,
        user: &'a SessionUser,
        sort: PrefetchSort,
    ) -> BoxFuture<'a, std::result::Result<Prefetch, wire::Error>> {
        Box::pin(async move {
            let mut rest = choose(&self.0.store.view(), user, sort).await?;
            rest.reverse();
            Ok(Prefetch { chat: self.clone(), user: *user, rest })
        })
    }
}

/// Reads all channels of a user and returns the best, the very best first.
async fn choose(view: &View, user: &SessionUser, sort: PrefetchSort) -> Result<Vec<Candidate>> {
    let all = Range::prefix(Key::new(&CHANNEL_MEMBERSHIP_BY_MEMBER).uid(user.user));
    let mut range = all.clone();
    let mut best: Vec<Candidate> = Vec::new();
    loop {
        let limit = limits::PREFETCH_ROWS_PER_READ;
        let rows = view.list(&range, limit, Direction::Forward).await?;
        best.extend(candidates(view, user, &rows).await?);
        best.sort_unstable_by_key(|one| Reverse(one.rank(sort)));
        best.truncate(limits::PREFETCH_CHANNELS_MAX);
        match rows.last() {
            Some(last) if rows.len() == limit => range = all.clone().after(&last.key),
            _ => return Ok(best),
        }
    }
}

/// Returns the live channels that rows of a member's index name.
async fn candidates(view: &View, user: &SessionUser, rows: &[Entry]) -> Result<Vec<Candidate>> {
    let named: Vec<Option<Named>> = rows.iter().map(Named::of).collect();
    let marker = |channel| [ChannelReadMarker::key_of(channel, user.user)];
    let found = lookup(view, user.app_instance, &named, marker).await?;
    let mut candidates = Vec::new();
    let mut elastic = Vec::new();
    for (named, found) in named.into_iter().zip(found) {
        let (Some(named), Some(Found { channel, home, beside: [marker] })) = (named, found) else {
            continue;
        };
        if channel.elastic.is_some() {
            elastic.push(named);
            continue;
        }
        let last_message_ms = home.and_then(|home| home.last_message_ms);
        let read_ms = marker.map(|marker| marker.ver.stamp().ms);
        // Without a marker nothing has been read.
        let is_unread = last_message_ms > read_ms;
        candidates.push(Candidate { home: named.uid, named, is_unread, last_message_ms });
    }
    candidates.extend(elastic_candidates(view, user, elastic).await?);
    Ok(candidates)
}

/// Returns where the user is in elastic channels: in each the sub-channel that his list names. It
/// has no read marker.
async fn elastic_candidates(
    view: &View,
    user: &SessionUser,
    named: Vec<Named>,
) -> Result<Vec<Candidate>> {
    let key = |named: &Named| ElasticMember::key_of(named.uid, user.user);
    let keys: Vec<Key> = named.iter().map(key).collect();
    let members = view.get_many::<ElasticMember>(&keys).await?;
    let placed = named.into_iter().zip(members).filter_map(|(named, member)| {
        let sub_channel = member?.sub_channels.first().copied()?;
        Some((named, sub_channel))
    });
    let placed: Vec<(Named, Uid)> = placed.collect();
    let homes: Vec<Key> = placed.iter().map(|&(_, home)| Key::home(home)).collect();
    let homes = view.entries(&homes).await?;
    let candidate = |((named, home), row): ((Named, Uid), Option<Entry>)| {
        let last_message_ms = row.and_then(|row| row.home().last_message_ms);
        Candidate { named, home, is_unread: last_message_ms.is_some(), last_message_ms }
    };
    Ok(placed.into_iter().zip(homes).map(candidate).collect())
}

impl Prefetch {
    /// Reads the details of the next few channels; none when all are told.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn next(&mut self) -> std::result::Result<Vec<Details>, wire::Error> {
        let mut details = Vec::new();
        while details.is_empty() && !self.rest.is_empty() {
            let keep = self.rest.len().saturating_sub(limits::PREFETCH_CHANNELS_PER_READ);
            let mut next = self.rest.split_off(keep);
            next.reverse();
            details = self.read(&next).await?;
        }
        Ok(details)
    }

    async fn read(&self, chosen: &[Candidate]) -> Result<Vec<Details>> {
        let cx = self.chat.nobodys_cx(String::new());
        let view = self.chat.0.store.view();
        let SessionUser { app_instance, user } = self.user;
        let kept_from_ms = kept_from_ms(&cx, &view, app_instance).await?;
        let homes = || chosen.iter().map(|one| one.home);
        let messages = messages(&view, user, homes(), kept_from_ms).await?;
        let members = members(&view, app_instance, homes()).await?;
        // Last, so that who has left meanwhile is told nothing of what came after.
        let places = places(&view, &self.user, chosen).await?;
        let told = chosen.iter().zip(places).zip(messages).zip(members);
        let told = told.filter_map(|(((one, place), messages), members)| {
            Some(details(&cx, &place?, one.home, &messages, members.items))
        });
        Ok(told.collect())
    }
}

/// Returns the time before which messages are past their retention.
async fn kept_from_ms(cx: &Cx, view: &View, app_instance: Uid) -> Result<i64> {
    let instance: Option<AppInstance> = view.get(&AppInstance::key_of(app_instance)).await?;
    Ok(channel_message::kept_from_ms(cx, instance.as_ref()))
}

/// Reads the newest messages of each home that are there for `reader`.
async fn messages(
    view: &View,
    reader: Uid,
    homes: impl Iterator<Item = Uid>,
    kept_from_ms: i64,
) -> Result<Vec<Column<ChannelMessage>>> {
    let ranges = homes.map(|home| channel_message::from(home, kept_from_ms));
    let mut columns = Columns::new(ranges, limits::PREFETCH_MESSAGES_MAX, Direction::Backward);
    loop {
        let rows = columns.read(view).await?;
        if rows.is_empty() {
            return Ok(columns.into_columns());
        }
        for (index, row) in &rows {
            let message: ChannelMessage = row.decode()?;
            columns.pass(*index, row, message.is_for(reader).then_some(message));
        }
    }
}

/// Reads the first members of each home that everybody in it may see.
async fn members(
    view: &View,
    app_instance: Uid,
    homes: impl Iterator<Item = Uid>,
) -> Result<Vec<Column<Principal>>> {
    let ranges = homes.map(|home| Range::prefix(Key::new(&CHANNEL_MEMBERSHIP).uid(home)));
    let mut columns = Columns::new(ranges, limits::PREFETCH_MEMBERSHIPS_MAX, Direction::Forward);
    loop {
        let rows = columns.read(view).await?;
        if rows.is_empty() {
            return Ok(columns.into_columns());
        }
        let members = shown_members(view, app_instance, rows.iter().map(|(_, row)| row)).await?;
        for ((index, row), member) in rows.iter().zip(members) {
            columns.pass(*index, row, member);
        }
    }
}

/// A channel as its member sees it.
struct Place {
    channel: Channel,
    home: Option<HomeRow>,
    read_marker: Option<ChannelReadMarker>,
}

/// Returns for each channel what it is now; nothing when the user is no longer where he was.
async fn places(
    view: &View,
    user: &SessionUser,
    chosen: &[Candidate],
) -> Result<Vec<Option<Place>>> {
    let named: Vec<Option<Named>> = chosen.iter().map(|one| Some(one.named.clone())).collect();
    let beside = |channel: Uid| {
        let home = chosen.iter().find(|one| one.named.uid == channel).map_or(channel, |it| it.home);
        [
            Key::home(home),
            ChannelMembership::key_of(home, user.user),
            ChannelReadMarker::key_of(channel, user.user),
        ]
    };
    let place = |found: Option<Found<3>>| {
        let Some(Found { channel, beside: [home, Some(_), read_marker], .. }) = found else {
            return Ok(None);
        };
        let read_marker = read_marker.map(|row| row.decode()).transpose()?;
        Ok(Some(Place { channel, home: home.map(|home| home.home()), read_marker }))
    };
    lookup(view, user.app_instance, &named, beside).await?.into_iter().map(place).collect()
}

fn details(
    cx: &Cx,
    place: &Place,
    home: Uid,
    messages: &Column<ChannelMessage>,
    members: Vec<Principal>,
) -> Details {
    let Place { channel, home: row, read_marker } = place;
    let mut summary = channel.summary(cx, row.as_ref());
    let newest = messages.items.iter().find_map(ChannelMessage::sent_at);
    let newest = newest.map(crate::event::time);
    // A targeted message is the last one only for those who see it.
    summary.last_message_timestamp = summary.last_message_timestamp.max(newest);
    let membership = |member: Principal| ChannelMembershipSummary {
        member: Some(member.identity(cx, channel.app_instance)),
    };
    let frame = wire::event::channel_details(&ChannelDetails {
        channel: Some(summary),
        channel_messages: Some(
            messages.items.iter().map(|it| it.clone().into_summary(cx, channel)).collect(),
        ),
        channel_messages_has_more: Some(messages.has_more),
        channel_memberships: Some(members.into_iter().map(membership).collect()),
        read_marker_timestamp: read_marker.as_ref().and_then(ChannelReadMarker::timestamp),
        sub_channel_id: channel.sub_channel_id(home),
    });
    let sent = messages.items.iter().filter_map(ChannelMessage::sent_at);
    Details { frame, messages: sent.map(|stamp| (home, stamp.seq)).collect() }
}

#[cfg(test)]
mod tests;

//! Which sub-channel a new member comes into.
//!
//! Invariants: a plain member comes into one that is filling, or else into the fullest that has room
//! of the first few that the index names; when none has, one that is draining takes him and stays,
//! and a new one is made when there is none and the channel may have more. What the counters said
//! chooses; the bounded add of the commit decides, and a counter that has grown since makes the
//! handler run again. Whoever takes the last place of a sub-channel, or finds it taken, marks it as
//! full, so that of a hundred full ones none is read.

use store::{Txn, Uid};
use wire::messaging::ChannelMembershipType;

use super::rows::{self, Place, State, SubChannel, SubChannelList, Use};
use super::{ElasticMember, check, needs_id, refuse_elastic, select};
use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::job;
use crate::limits;
use crate::messaging::channel::Channel;
use crate::messaging::channel_membership::{ChannelMembership, already_member};
use crate::messaging::channel_moderator;

/// The sub-channels that were looked at, as they will be.
#[derive(Default)]
pub(crate) struct Assignment {
    places: Vec<Place>,
    /// Those that somebody comes into.
    taken: Vec<Uid>,
    search: Search,
    /// Whether the channel has got another sub-channel.
    pub(crate) has_grown: bool,
}

/// How much of the index was looked at.
#[derive(Default)]
enum Search {
    #[default]
    Nothing,
    AsFarAs((Use, Uid)),
    All,
}

impl Assignment {
    /// Takes note of a moderator who comes into a sub-channel, which may be full for others.
    async fn admit(&mut self, cx: &Cx, tx: &mut Txn, channel: &Channel) -> Result<()> {
        let sub_channel = channel.home();
        if !self.places.iter().any(|place| place.record.uid == sub_channel) {
            self.places.extend(rows::look_at(tx, channel.uid, &[sub_channel]).await?);
        }
        let quota = &limits::SUB_CHANNEL_MEMBERSHIPS;
        let place = self.places.iter_mut().find(|place| place.record.uid == sub_channel);
        let place = place.ok_or_else(Error::forbidden)?;
        if place.count >= cx.max(quota) {
            return Err(cx.over(quota));
        }
        place.count += 1;
        self.taken.push(sub_channel);
        Ok(())
    }

    /// Returns the sub-channel for one more plain member; nothing when all are full.
    async fn take(&mut self, cx: &Cx, tx: &mut Txn, channel: &Channel) -> Result<Option<Uid>> {
        let Some(elastic) = &channel.elastic else { return Ok(None) };
        loop {
            if let Some(place) = best(&mut self.places, elastic.target()) {
                place.count += 1;
                if place.record.state == State::Draining {
                    place.record.state = State::Active;
                }
                self.taken.push(place.record.uid);
                return Ok(Some(place.record.uid));
            }
            let after = match self.search {
                Search::Nothing => None,
                Search::AsFarAs(last) => Some(last),
                Search::All => break,
            };
            let uses = (Use::Filling, Some(Use::Waiting));
            let found = rows::find(&tx.hints(), channel.uid, uses, after).await?;
            self.search = found.next.map_or(Search::All, Search::AsFarAs);
            let is_known = |uid: &Uid| self.places.iter().any(|place| place.record.uid == *uid);
            let new: Vec<Uid> = found.uids.into_iter().filter(|uid| !is_known(uid)).collect();
            self.places.extend(rows::look_at(tx, channel.uid, &new).await?);
        }
        self.grow(cx, tx, channel).await
    }

    /// Makes another sub-channel for one member, if the channel may have more.
    async fn grow(&mut self, cx: &Cx, tx: &mut Txn, channel: &Channel) -> Result<Option<Uid>> {
        // Of those who come to this at the same moment one makes it, and the others see it.
        let Some(mut list) = SubChannelList::of(tx, channel).await? else { return Ok(None) };
        let count = i64::try_from(list.sub_channels.len()).unwrap_or(i64::MAX);
        if channel.elastic.as_ref().is_none_or(|elastic| count >= elastic.sub_channels_max()) {
            return Ok(None);
        }
        let uid = cx.new_uid();
        list.sub_channels.push(uid);
        tx.put(&list);
        let record = SubChannel::found(tx, channel.uid, uid, State::Filling).await?;
        self.places.push(Place { record, count: 1 });
        self.taken.push(uid);
        self.has_grown = true;
        job::balance(cx, tx, channel, uid);
        Ok(Some(uid))
    }

    /// Puts what the transaction changes of the sub-channels, and checks those that it uses.
    pub(crate) async fn finish(&mut self, tx: &mut Txn, channel: &Channel) -> Result<()> {
        let Some(elastic) = &channel.elastic else { return Ok(()) };
        for place in &mut self.places {
            let is_taken = self.taken.contains(&place.record.uid);
            let is_to_be_closed = place.count >= elastic.target() && !place.record.is_full;
            if !is_taken && !is_to_be_closed {
                continue;
            }
            let key = SubChannel::key_of(channel.uid, place.record.uid);
            let stored: Option<SubChannel> = tx.get(&key).await?;
            if stored.is_some_and(|stored| stored.state != place.record.state) {
                place.record.put(tx);
            }
            if is_to_be_closed && place.record.state != State::Draining {
                place.record.close(tx, elastic.target());
            }
        }
        Ok(())
    }
}

/// Returns the place for a plain member among those that were looked at.
fn best(places: &mut [Place], target: i64) -> Option<&mut Place> {
    let with_room = places.iter_mut().filter(|place| place.count < target);
    with_room.max_by_key(|place| {
        let rank = match place.record.state {
            State::Filling => 2,
            State::Active => 1,
            State::Draining => 0,
        };
        (rank, place.count)
    })
}

/// Lets the request look at the sub-channel of an elastic channel that a new member comes into.
///
/// # Errors
/// BadRequest for a hidden member, for a plain one whose sub-channel is named and for a moderator
/// whose is not; Conflict for one who is there already, and for a moderator who wants to come into a
/// sub-channel that is about to go; ResourceLimitExceeded when all are full.
pub(crate) async fn assign(
    cx: &Cx,
    tx: &mut Txn,
    channel: &mut Channel,
    assignment: &mut Assignment,
    member: Uid,
    (r#type, sub_channel_id): (ChannelMembershipType, Option<&str>),
) -> Result<()> {
    if r#type == ChannelMembershipType::Hidden {
        refuse_elastic(channel, "hidden members")?;
    }
    select(cx, tx, channel, sub_channel_id).await?;
    if channel_moderator::is(tx, channel.uid, member).await? {
        check(channel, Some(sub_channel_id.ok_or_else(needs_id)?))?;
        if tx.exists(&ChannelMembership::key_of(channel.home(), member)).await? {
            return Err(already_member());
        }
        let key = SubChannel::key_of(channel.uid, channel.home());
        let record: Option<SubChannel> = tx.get(&key).await?;
        if record.is_none_or(|record| record.state == State::Draining) {
            return Err(Error::conflict("The sub-channel is being removed"));
        }
        return assignment.admit(cx, tx, channel).await;
    }
    // Who is there is told so whatever is named, as where he may not add himself.
    if tx.exists(&ElasticMember::key_of(channel.uid, member)).await? {
        return Err(already_member());
    }
    if sub_channel_id.is_some() {
        return Err(Error::bad_request("SubChannelId is for moderators of an elastic channel"));
    }
    let Some(elastic) = &channel.elastic else { return Ok(()) };
    let places = elastic.sub_channels_max() * elastic.target();
    let full = || Error::limit_exceeded(Some((places, "memberships in the elastic channel")));
    channel.sub_channel = Some(assignment.take(cx, tx, channel).await?.ok_or_else(full)?);
    Ok(())
}

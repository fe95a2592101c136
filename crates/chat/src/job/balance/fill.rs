//! SCALE_OUT: members of the others are moved into a new sub-channel, until none has two more than it.
//!
//! The search goes round through all sub-channels in the order of their uids, a few in each step. One
//! that is found to give stays the giver until it has as few as all have on average, so that the
//! moderators whom its members stand behind are passed once. Invariant: the job ends after a round in
//! which nobody was found to be moved, so each of the others was seen to be even.

use serde::{Deserialize, Serialize};
use store::Uid;

use super::{Cursor, Found, Step, checked};
use crate::error::Result;
use crate::limits;
use crate::messaging::sub_channel::{self, Place, State, UNEVEN_MAX};

/// How far the round is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lap {
    /// The sub-channel that was looked at last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Uid>,
    /// Whether that one gives the next member too, if it has enough.
    is_giving: bool,
    /// Whether anybody was moved in this round.
    has_moved: bool,
}

/// What the search has found.
enum Giver {
    Is(Place),
    /// Nobody among those that this step has looked at.
    NotYet,
    /// There is none.
    Nobody,
}

impl Step<'_> {
    /// Moves one member into the sub-channel, or goes on with the search for one.
    pub(super) async fn fill(&mut self, mut cursor: Cursor) -> Result<()> {
        let into = self.own.record.uid;
        self.tx.set_home(into);
        let mut lap = cursor.lap.take().unwrap_or_default();
        match self.giver(&mut lap).await? {
            Giver::Is(from) => self.give(from, &mut lap, &mut cursor).await?,
            Giver::NotYet => {}
            Giver::Nobody => {
                self.own.record.state = State::Active;
                self.own.record.put(self.tx);
                if self.elastic.is_small(self.own.count) {
                    self.rest();
                }
                return Ok(());
            }
        }
        cursor.lap = Some(lap);
        self.go_on(cursor);
        Ok(())
    }

    async fn give(&mut self, from: Place, lap: &mut Lap, cursor: &mut Cursor) -> Result<()> {
        let uid = from.record.uid;
        match self.look(uid, cursor).await? {
            Found::Plain(membership) => {
                lap.has_moved = true;
                self.transfer(&membership, self.own.clone()).await?;
                if let Some(mut from) = checked(self.tx, self.channel.uid, uid).await? {
                    from.record.open(self.tx);
                }
            }
            Found::Moderators(last) => cursor.passed = Some((uid, last)),
            Found::Nobody => lap.is_giving = false,
        }
        Ok(())
    }

    /// Looks for a sub-channel that gives the next member.
    async fn giver(&mut self, lap: &mut Lap) -> Result<Giver> {
        if self.own.count >= self.elastic.target() {
            return Ok(Giver::Nobody);
        }
        let least = self.own.count + UNEVEN_MAX;
        if let Some(last) = lap.last.filter(|_| lap.is_giving) {
            let least = least.max(self.average().await?);
            if let Some(giver) = self.first_over(least, &[last]).await? {
                return Ok(Giver::Is(giver));
            }
        }
        lap.is_giving = false;
        // The round may end in this step and the next one begin, which has to be empty.
        for _ in 0..2 {
            let (uids, has_more) =
                sub_channel::behind(self.view, self.channel.uid, lap.last).await?;
            if let Some(giver) = self.first_over(least, &uids).await? {
                (lap.last, lap.is_giving) = (Some(giver.record.uid), true);
                return Ok(Giver::Is(giver));
            }
            if has_more {
                lap.last = uids.last().copied();
                return Ok(Giver::NotYet);
            }
            lap.last = None;
            if !std::mem::take(&mut lap.has_moved) {
                return Ok(Giver::Nobody);
            }
        }
        Ok(Giver::NotYet)
    }

    /// Returns the first of some sub-channels that has more than so many members.
    async fn first_over(&mut self, least: i64, uids: &[Uid]) -> Result<Option<Place>> {
        let places = sub_channel::look_at(self.tx, self.channel.uid, uids).await?;
        let own = self.own.record.uid;
        let mut others = places.into_iter().filter(|place| place.record.uid != own);
        Ok(others.find(|place| place.record.state != State::Draining && place.count > least))
    }

    /// Returns how many members a sub-channel has on average. A moderator counts once, so it may be
    /// more; what is even is not decided by it.
    async fn average(&mut self) -> Result<i64> {
        let uid = self.channel.uid;
        let keys = [limits::CHANNEL_MEMBERSHIPS.key(uid), limits::SUB_CHANNELS.key(uid)];
        self.tx.load(&keys).await?;
        let members = self.tx.peek_count(&keys[0]).await?;
        let sub_channels = self.tx.peek_count(&keys[1]).await?;
        Ok(members / sub_channels.max(1))
    }
}

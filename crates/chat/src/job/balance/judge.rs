//! SCALE_IN: whether a sub-channel that has too few members is to go.
//!
//! It goes when the others have room for all of its members, which is summed up a few sub-channels in
//! each step. One that stays for want of room is marked and judged again after a rest, or as soon as a
//! place becomes free in a sub-channel that has few members itself. Invariant: what the sum says
//! chooses; the moves that follow find their places one by one, and end where there are none.

use serde::{Deserialize, Serialize};
use store::Uid;

use super::{Cursor, Step, checked};
use crate::error::Result;
use crate::messaging::sub_channel::{self, Place, State, Use};

/// How far the sum is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Judgement {
    /// The sub-channel that is judged: the job's own or one that waits.
    of: Uid,
    /// The sub-channel that was counted last.
    last: (Use, Uid),
    /// The places that were found free.
    room: i64,
}

impl Step<'_> {
    /// Begins to drain a sub-channel that is too small, if the others have room: the job's own, or one
    /// that waits for the place that became free in it.
    pub(super) async fn judge(&mut self, cursor: Cursor) -> Result<()> {
        if sub_channel::is_alone(self.tx, self.channel.uid).await? {
            return Ok(());
        }
        let Some(goes) = self.judged(cursor.judgement.as_ref()).await? else { return Ok(()) };
        let is_own = goes.record.uid == self.own.record.uid;
        let (room, next) = self.room_beside(&goes, cursor.judgement).await?;
        if room >= goes.count {
            self.start_draining(goes);
        } else if let Some(last) = next {
            let judgement = Judgement { of: goes.record.uid, last, room };
            self.tx.set_home(self.own.record.uid);
            self.go_on(Cursor { judgement: Some(judgement), ..Cursor::default() });
        } else if is_own {
            self.tx.set_home(self.own.record.uid);
            self.mark(goes, true);
            self.rest();
        }
        Ok(())
    }

    /// Returns the sub-channel that the job judges, if there is one that is too small.
    async fn judged(&mut self, judgement: Option<&Judgement>) -> Result<Option<Place>> {
        let own = self.own.clone();
        let goes = match judgement {
            Some(judgement) => checked(self.tx, self.channel.uid, judgement.of).await?,
            None if self.elastic.is_small(own.count) => Some(own),
            None => {
                self.mark(own, false);
                self.waiting().await?
            }
        };
        let Some(goes) = goes.filter(|goes| goes.record.state == State::Active) else {
            return Ok(None);
        };
        if !self.elastic.is_small(goes.count) {
            self.mark(goes, false);
            return Ok(None);
        }
        Ok(Some(goes))
    }

    /// Returns a sub-channel that waits.
    async fn waiting(&mut self) -> Result<Option<Place>> {
        let own = self.own.record.uid;
        let found =
            sub_channel::find(self.view, self.channel.uid, (Use::Waiting, None), None).await?;
        match found.uids.into_iter().find(|uid| *uid != own) {
            Some(uid) => checked(self.tx, self.channel.uid, uid).await,
            None => Ok(None),
        }
    }

    /// Adds up the places that are free in the next sub-channels, and tells where to go on.
    async fn room_beside(
        &mut self,
        goes: &Place,
        judgement: Option<Judgement>,
    ) -> Result<(i64, Option<(Use, Uid)>)> {
        let (after, room) = match judgement {
            Some(judgement) => (Some(judgement.last), judgement.room),
            None => (None, 0),
        };
        let uses = (Use::Filling, Some(Use::Draining));
        let found = sub_channel::find(self.view, self.channel.uid, uses, after).await?;
        let places = sub_channel::look_at(self.tx, self.channel.uid, &found.uids).await?;
        let others = places.iter().filter(|place| place.record.uid != goes.record.uid);
        let free = others.map(|place| (self.elastic.target() - place.count).max(0));
        Ok((room + free.sum::<i64>(), found.next))
    }

    fn start_draining(&mut self, mut goes: Place) {
        let record = &mut goes.record;
        self.tx.set_home(record.uid);
        (record.state, record.is_full, record.is_waiting) = (State::Draining, false, false);
        record.put(self.tx);
        self.put(record.uid, self.cx.now_ms, Cursor::default());
    }

    /// Notes whether a sub-channel, whose record was got, waits for room.
    fn mark(&mut self, mut place: Place, is_waiting: bool) {
        if place.record.is_waiting != is_waiting {
            self.tx.set_home(place.record.uid);
            place.record.is_waiting = is_waiting;
            place.record.put(self.tx);
        }
    }
}

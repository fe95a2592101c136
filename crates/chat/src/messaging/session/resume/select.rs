//! Which events of a home a user is told again.
//!
//! Invariants: he is told what he would have heard, of the channels that he is in now; of an ordinary
//! one that he left and entered again, what lies between is not his. His own end is always his, once.

use std::collections::HashSet;

use store::{Audience, Uid};

use crate::event::{self, Effect, Place, Row};

/// Who reads, and what he may read now.
pub(super) struct Reader {
    pub(super) user: Uid,
    /// His ordinary channels.
    pub(super) ordinary: HashSet<Uid>,
    /// His sub-channels of elastic ones. What he comes into has all been said to members like him.
    pub(super) sub_channels: HashSet<Uid>,
    /// The channels that he moderates.
    pub(super) moderated: HashSet<Uid>,
    /// What is older is not told.
    pub(super) from_ms: u64,
    /// Messages from before this time are past their retention.
    pub(super) kept_from_ms: i64,
}

impl Reader {
    /// Returns what is told of the rows of one home, which are in order and all there are.
    pub(super) fn select(&self, rows: &[Row]) -> Vec<Place> {
        let mut own = rows.iter().filter_map(|row| self.presence(row));
        // Whose first change is to leave was there before.
        let mut is_there = own.next() != Some(Presence::Begins);
        let mut places = Vec::new();
        for rows in rows.chunk_by(|one, other| one.place.stamp == other.place.stamp) {
            let ends = self.own(rows);
            for row in rows {
                let change = self.presence(row);
                is_there |= change == Some(Presence::Begins);
                let is_heard = is_there && self.hears(row) && self.is_within(row);
                if is_heard || ends.contains(&row.place) {
                    places.push(row.place);
                }
                is_there &= change != Some(Presence::Ends);
            }
        }
        places
    }

    /// Returns what tells the user of the end of his membership, in the rows of one commit.
    pub(super) fn own(&self, rows: &[Row]) -> Vec<Place> {
        let is_named = |row: &Row| match row.audience() {
            Audience::Users(users) => users.contains(&self.user),
            _ => false,
        };
        let is_named_somewhere = rows.iter().any(is_named);
        // Hidden members are told by themselves, unless they hear it as moderators.
        let is_own = |row: &&Row| is_named(row) || (self.is_end(row) && !is_named_somewhere);
        rows.iter().filter(is_own).filter(|row| self.is_within(row)).map(|row| row.place).collect()
    }

    /// Whether an event ends a membership of the user.
    pub(super) fn is_end(&self, row: &Row) -> bool {
        matches!(row.effect(), Some(Effect::Leave { user, .. }) if user == self.user)
    }

    fn hears(&self, row: &Row) -> bool {
        match row.audience() {
            Audience::Members(home) => {
                self.ordinary.contains(home) || self.sub_channels.contains(home)
            }
            Audience::Moderators(channel) => self.moderated.contains(channel),
            Audience::Users(users) => users.contains(&self.user),
            Audience::Internal => false,
        }
    }

    fn is_within(&self, row: &Row) -> bool {
        let of_message = row.message().map(event::time);
        row.place.stamp.ms >= self.from_ms
            && of_message.is_none_or(|time| time.0 >= self.kept_from_ms)
    }

    /// Returns what an event changes about the user's presence in the ordinary channel that it is of.
    fn presence(&self, row: &Row) -> Option<Presence> {
        let (channel, user, change) = match row.effect()? {
            Effect::Join { channel, user, .. } => (channel, user, Presence::Begins),
            Effect::Leave { channel, user } => (channel, user, Presence::Ends),
            _ => return None,
        };
        (user == self.user && self.ordinary.contains(&channel)).then_some(change)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Begins,
    Ends,
}

//! The local users of each channel, and the channels of each local user.
//!
//! Invariants: both sides say the same; a channel without local users is not kept; both are sorted,
//! so that each is found by bisection and takes no more room than its numbers.

use store::Uid;

use super::slots::{Slot, Slots};
use super::{Hub, User};

/// A local user's place in a channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) user: Slot,
    pub(super) moderator: bool,
    pub(super) since_seq: u64,
}

/// The local members of a channel.
#[derive(Debug, Default)]
pub(super) struct Channel {
    members: Vec<Member>,
}

impl Channel {
    fn find(&self, user: Slot) -> Result<usize, usize> {
        self.members.binary_search_by_key(&user, |member| member.user)
    }
}

/// Returns the local members of a channel.
pub(super) fn members(channels: &Slots<Channel>, channel: Uid) -> &[Member] {
    channels.get(channel).map_or(&[], |channel| &channel.members)
}

impl Hub {
    /// Lets a user hear a channel.
    pub(super) fn hear(&mut self, channel: Uid, member: Member) {
        let slot = self.channels.ensure(channel, Channel::default);
        if let Some((_, channel)) = self.channels.at_mut(slot) {
            match channel.find(member.user) {
                Ok(place) => channel.members[place] = member,
                Err(place) => channel.members.insert(place, member),
            }
        }
        if let Some((_, User { channels, .. })) = self.users.at_mut(member.user)
            && let Err(place) = channels.binary_search(&slot)
        {
            channels.insert(place, slot);
        }
    }

    /// Returns a user's place in a channel.
    pub(super) fn member_mut(&mut self, channel: Uid, uid: Uid) -> Option<&mut Member> {
        let user = self.users.slot(uid)?;
        let channel = self.channels.get_mut(channel)?;
        let place = channel.find(user).ok()?;
        channel.members.get_mut(place)
    }

    /// Lets a user hear a channel no longer.
    pub(super) fn unhear(&mut self, channel: Uid, uid: Uid) {
        let (Some(slot), Some(user)) = (self.channels.slot(channel), self.users.slot(uid)) else {
            return;
        };
        if let Some((_, User { channels, .. })) = self.users.at_mut(user)
            && let Ok(place) = channels.binary_search(&slot)
        {
            channels.remove(place);
        }
        self.strike(slot, user);
    }

    /// Takes a user who is not here any more out of the channels that he heard.
    pub(super) fn strike_all(&mut self, user: Slot, channels: &[Slot]) {
        for channel in channels {
            self.strike(*channel, user);
        }
    }

    fn strike(&mut self, slot: Slot, user: Slot) {
        let Some((uid, channel)) = self.channels.at_mut(slot) else { return };
        if let Ok(place) = channel.find(user) {
            channel.members.remove(place);
        }
        if channel.members.is_empty() {
            self.channels.remove(uid);
        }
    }

    /// Lets nobody hear a channel any more.
    pub(super) fn unhear_all(&mut self, channel: Uid) {
        let Some((slot, channel)) = self.channels.remove(channel) else { return };
        for member in channel.members {
            if let Some((_, User { channels, .. })) = self.users.at_mut(member.user)
                && let Ok(place) = channels.binary_search(&slot)
            {
                channels.remove(place);
            }
        }
    }
}

//! From an event to the sockets that hear it.
//!
//! Invariants: an event's text is built once, and not at all when nobody here hears it; what goes to
//! the members of one channel leaves together (`hub/run.rs`), as late as `hub/wave.rs` says and before
//! anything changes who they are.

use std::sync::Arc;

use store::{Audience, Uid};

use super::hearers::{Member, members};
use super::run::{self, Part, Whole};
use super::slots::Slot;
use super::{At, Hub, SocketId, User};
use crate::outbox::{Awake, Refused};

impl Hub {
    /// Hands an event to the local sockets of its audience, at the latest with `flush`. Its text is
    /// built when one of them needs it, and never when none does.
    pub(crate) fn deliver<T: AsRef<[u8]>>(
        &mut self,
        audience: &Audience,
        at: At,
        text: impl FnOnce() -> Option<T>,
    ) {
        if !self.run.takes(audience, at) {
            self.flush();
            if !self.has_hearer(audience, at) {
                return;
            }
        }
        let Some(text) = text() else { return };
        let text = text.as_ref();
        match audience {
            Audience::Internal => {}
            Audience::Members(channel) => {
                self.run.add(*channel, at, text);
                self.wave.hold();
            }
            Audience::Moderators(channel) => {
                let all = members(&self.channels, *channel).iter();
                let moderators = all.filter(|member| member.moderator).map(|member| member.user);
                let moderators: Vec<Slot> = moderators.collect();
                self.tell(&moderators, &Whole::single(at, text));
            }
            Audience::Users(users) => {
                let here: Vec<Slot> =
                    users.iter().filter_map(|uid| self.users.slot(*uid)).collect();
                self.tell(&here, &Whole::single(at, text));
            }
        }
    }

    /// Returns whether an event has an established hearer here.
    fn has_hearer(&self, audience: &Audience, at: At) -> bool {
        let is_here = |user: &User| user.loading.is_none();
        let is_member_here = |member: &Member| self.users.at(member.user).is_some_and(is_here);
        match audience {
            Audience::Internal => false,
            Audience::Users(users) => {
                users.iter().any(|uid| self.users.get(*uid).is_some_and(is_here))
            }
            Audience::Members(channel) => {
                let for_since = run::for_since(*channel, at);
                let mut all = members(&self.channels, *channel).iter();
                all.any(|member| member.since_seq <= for_since && is_member_here(member))
            }
            Audience::Moderators(channel) => {
                let mut all = members(&self.channels, *channel).iter();
                all.any(|member| member.moderator && is_member_here(member))
            }
        }
    }

    /// Lets the events leave that wait for others behind them.
    pub(crate) fn flush(&mut self) {
        let Some((channel, whole)) = self.run.take() else { return };
        let mut told = Told::default();
        for member in members(&self.channels, channel) {
            if let Some(part) = whole.part_for(member) {
                told.tell(self.users.at_mut(member.user), part);
            }
        }
        self.wave.left(whole.len());
        self.count(whole.len(), told);
    }

    /// Lets them leave if that need not wait.
    pub(crate) fn flush_if_due(&mut self) {
        if self.wave.is_due() {
            self.flush();
        }
    }

    /// Waits until the events that wait are to leave; for ever when none does.
    pub(crate) async fn due(&self) {
        self.wave.due().await;
    }

    /// Returns what counts the sockets that were woken and have not looked yet.
    pub(crate) fn awake(&self) -> Arc<Awake> {
        self.wave.awake()
    }

    /// Tells these users.
    fn tell(&mut self, users: &[Slot], whole: &Whole) {
        let mut told = Told::default();
        for user in users {
            told.tell(self.users.at_mut(*user), whole.all());
        }
        self.count(whole.len(), told);
    }

    fn count(&mut self, event_count: usize, told: Told) {
        self.metrics.events_relayed(event_count, told.frame_count);
        self.drop_failed(told.failed);
    }
}

/// What became of frames that were handed to sockets.
#[derive(Default)]
struct Told {
    frame_count: usize,
    failed: Vec<(Uid, SocketId, Refused)>,
}

impl Told {
    /// Hands frames to each socket of a user who is established.
    fn tell(&mut self, user: Option<(Uid, &mut User)>, part: Part<'_>) {
        let Some((uid, user)) = user.filter(|(_, user)| user.loading.is_none()) else { return };
        for socket in &mut user.sockets {
            match socket.hear(part) {
                Ok(()) => self.frame_count += part.count(),
                Err(why) => self.failed.push((uid, socket.id, why)),
            }
        }
    }
}

//! Users whose sockets were closed as too slow: they come back with growing delay.
//!
//! Clients connect again within a second, and whoever cannot keep up would be loaded, told and given
//! up again and again. So their next sockets are established only after a while. Invariants: the
//! delay is bounded, and so is the number of users that are remembered; what is forgotten is only a
//! delay; time is counted in turns of the wheel, so nothing here has a timer.

use std::collections::{BTreeMap, HashMap};

use chat::SessionUser;
use store::Uid;

use super::{Hub, Open, Phase, SocketId};

/// How long after the close the user's sockets are established, in turns, by the number of closes
/// in a row.
pub(super) const DELAY_TURNS: [u64; 6] = [1, 2, 4, 8, 16, 30];
/// How long after the last close a user counts as one who keeps up again.
pub(super) const MEMORY_TURNS: u64 = 300;
/// Most users that are remembered. When more are slow, it is not for them to change it.
pub(super) const USERS_MAX: usize = 10_000;

/// See the head of this file.
#[derive(Default)]
pub(super) struct Slow {
    now: u64,
    users: HashMap<Uid, Closes>,
    /// By the turn at which they are due.
    waiting: BTreeMap<u64, Vec<(Uid, SocketId)>>,
}

/// The closes of one user.
struct Closes {
    /// How many more than one.
    more: usize,
    last: u64,
}

impl Slow {
    /// Notes that a socket of this user was too slow.
    pub(super) fn note(&mut self, user: Uid) {
        let now = self.now;
        if let Some(closes) = self.users.get_mut(&user) {
            closes.more = (closes.more + 1).min(DELAY_TURNS.len() - 1);
            closes.last = now;
        } else if self.users.len() < USERS_MAX {
            self.users.insert(user, Closes { more: 0, last: now });
        }
    }

    /// Lets a socket wait if its user is to. Returns whether it does.
    pub(super) fn keep_waiting(&mut self, user: Uid, socket: SocketId) -> bool {
        let Some(closes) = self.users.get(&user) else { return false };
        let due = closes.last + DELAY_TURNS[closes.more];
        if due <= self.now {
            return false;
        }
        self.waiting.entry(due).or_default().push((user, socket));
        true
    }

    /// Counts a turn. Returns the sockets that have waited long enough.
    pub(super) fn turn(&mut self) -> Vec<(Uid, SocketId)> {
        self.now += 1;
        let oldest = self.now.saturating_sub(MEMORY_TURNS);
        // Seldom, so that it costs next to nothing.
        if self.now.is_multiple_of(super::HEARTBEAT_TURNS as u64) {
            self.users.retain(|_, closes| closes.last >= oldest);
        }
        self.waiting.remove(&self.now).unwrap_or_default()
    }
}

impl Hub {
    /// Establishes a socket that has waited, if its user is loaded. Returns the opening that it wants.
    pub(super) fn end_wait(&mut self, uid: Uid, id: SocketId) -> Option<Open> {
        let user = self.users.get_mut(uid)?;
        let session_user = SessionUser { app_instance: user.app_instance, user: uid };
        let socket = user.sockets.iter_mut().find(|socket| socket.id == id)?;
        if let Phase::New { waits, .. } = &mut socket.phase {
            *waits = false;
        }
        match user.loading {
            Some(_) => None,
            None => socket.establish(session_user, &self.established),
        }
    }
}

#[cfg(test)]
mod tests;

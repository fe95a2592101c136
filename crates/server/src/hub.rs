//! Who hears what on this node: channel to local users, user to sockets.
//!
//! Invariants: one task owns the hub, so that it has no locks and never waits; a user's channels
//! are loaded once, and what happens to them during the load wins over what the load found, since
//! it is as new or newer; a socket hears SESSION_ESTABLISHED first, and from then on every event
//! that is committed for its user. `hub/opening.rs` is for sockets that are told of the past first,
//! `hub/slow.rs` for those whose user could not keep up; `hub/delivery.rs` hands events out.

mod delivery;
mod hearers;
mod opening;
mod run;
mod slots;
mod slow;
mod wave;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use chat::{Effect, SessionUser, Subscription};
use store::Uid;

use crate::frame::{self, Close};
use crate::metrics::Metrics;
use crate::outbox::{Outbox, Refused};

use hearers::{Channel, Member};
use opening::Phase;
pub(crate) use opening::{Covered, Gone, Open, Wanted};
use run::{Part, Run};
use slots::{Slot, Slots};
use slow::Slow;
use wave::Wave;

/// Turns of the wheel between two pings of a socket; the relay turns it once a second.
pub(crate) const HEARTBEAT_TURNS: usize = 30;
/// Pings in a row that a client may leave unanswered.
const UNANSWERED_MAX: u8 = 2;

/// Names a socket for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SocketId(pub(crate) u64);

/// A socket that asks to be served.
pub(crate) struct Registration {
    pub(crate) id: SocketId,
    pub(crate) user: SessionUser,
    /// The name under which the user was admitted.
    pub(crate) user_arn: String,
    /// The client's own name of the session, which it keeps when it reconnects.
    pub(crate) session: String,
    pub(crate) outbox: Outbox,
    /// What it is told before the events of the present.
    pub(crate) wanted: Option<Wanted>,
}

/// What the hub leaves to others, since it does not wait.
pub(crate) enum Errand {
    Load(Load),
    Open(Open),
}

/// Asks for the channels of a user.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) user: SessionUser,
    pub(crate) user_arn: String,
    /// Tells this load from one for an earlier appearance of the same user.
    generation: u64,
}

/// What a load found.
pub(crate) enum Found {
    Channels(Vec<Subscription>),
    /// The user was deleted between being admitted and being registered.
    Gone,
    /// The store did not answer.
    Failed,
}

/// The place of an event: its home and its sequence number there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) home: Uid,
    pub(crate) seq: u64,
    /// Whether the event has a row, from which it can be told again.
    pub(crate) is_durable: bool,
}

struct Socket {
    id: SocketId,
    session: String,
    outbox: Outbox,
    unanswered: u8,
    phase: Phase,
}

impl Socket {
    /// Takes frames of the present.
    fn hear(&mut self, part: Part<'_>) -> Result<(), Refused> {
        match &mut self.phase {
            Phase::Live => self.outbox.push(part.frames()),
            Phase::Settling { covered, .. } => {
                let mut fresh = part.each().filter(|(at, _)| !covered.covers(*at));
                fresh.try_for_each(|(_, frame)| self.outbox.push(frame))
            }
            Phase::Opening(held) => part.each().try_for_each(|(at, frame)| held.hold(&frame, at)),
            Phase::New { .. } => Ok(()),
        }
    }
}

struct User {
    app_instance: Uid,
    /// Oldest first.
    sockets: Vec<Socket>,
    channels: Vec<Slot>,
    /// The load in flight; its sockets are not established before it is done.
    loading: Option<Loading>,
}

struct Loading {
    generation: u64,
    /// Channels of which the load may know less than the events that came meanwhile.
    touched: HashMap<Uid, Touch>,
}

#[derive(Debug, Clone, Copy)]
enum Touch {
    /// Joined, left or gone: what the load found does not matter.
    Membership,
    /// Only this changed.
    Moderator(bool),
}

/// The first frame of a socket.
struct Established {
    /// With the id that stands for the present.
    at_present: Bytes,
    /// Without it: a socket that is told first what it missed goes on from there.
    to_resume: Bytes,
}

/// See the head of this file.
pub(crate) struct Hub {
    channels: Slots<Channel>,
    users: Slots<User>,
    /// Users with a load in flight.
    loading: HashSet<Uid>,
    generation: u64,
    wheel: Vec<Vec<(Uid, SocketId)>>,
    turn: usize,
    slow: Slow,
    /// Whether events come from other nodes too.
    may_be_late: bool,
    /// Events that have not left yet.
    run: Run,
    /// When they leave.
    wave: Wave,
    established: Established,
    ping: Bytes,
    /// Most sockets of one user. One more takes the place of the oldest.
    sockets_max: usize,
    metrics: Arc<Metrics>,
}

impl Hub {
    /// `established` is the text of SESSION_ESTABLISHED without an id.
    pub(crate) fn new(established: &[u8], sockets_max: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            channels: Slots::default(),
            users: Slots::default(),
            loading: HashSet::new(),
            generation: 0,
            wheel: vec![Vec::new(); HEARTBEAT_TURNS],
            turn: 0,
            slow: Slow::default(),
            may_be_late: false,
            established: Established {
                at_present: frame::text(established),
                to_resume: frame::text(established),
            },
            run: Run::default(),
            wave: Wave::default(),
            ping: frame::ping(),
            sockets_max,
            metrics,
        }
    }

    /// Takes the text of SESSION_ESTABLISHED for the sockets that are established from here on.
    pub(crate) fn set_present(&mut self, established: &[u8]) {
        self.established.at_present = frame::text(established);
    }

    /// Adds a socket. Returns a load to be made when its user was not here before.
    pub(crate) fn register(&mut self, registration: Registration) -> Option<Errand> {
        let Registration { id, user: session_user, user_arn, session, outbox, wanted } =
            registration;
        let SessionUser { app_instance, user: uid } = session_user;
        let generation = self.generation;
        let slot = self.users.ensure(uid, || User {
            app_instance,
            sockets: Vec::with_capacity(1),
            channels: Vec::new(),
            loading: Some(Loading { generation, touched: HashMap::new() }),
        });
        let (_, user) = self.users.at_mut(slot)?;
        let is_new = user.sockets.is_empty();
        let replaced = user.sockets.iter().position(|socket| socket.session == session);
        let is_full = user.sockets.len() >= self.sockets_max.max(1);
        if let Some(index) = replaced.or(is_full.then_some(0)) {
            user.sockets.remove(index).outbox.close(Close::Kicked);
            self.metrics.socket_closed();
        }
        let phase = Phase::New { wanted, waits: self.slow.keep_waiting(uid, id) };
        let mut socket = Socket { id, session, outbox, unanswered: 0, phase };
        let mut open = None;
        if user.loading.is_none() {
            open = socket.establish(session_user, &self.established);
        }
        user.sockets.push(socket);
        self.metrics.socket_opened();
        self.wheel[turn_of(id)].push((uid, id));
        if is_new {
            self.loading.insert(uid);
            self.generation += 1;
            return Some(Errand::Load(Load { user: session_user, user_arn, generation }));
        }
        open.map(Errand::Open)
    }

    /// Removes a socket that has ended.
    pub(crate) fn unregister(&mut self, uid: Uid, id: SocketId) {
        self.take_socket(uid, id);
    }

    /// Closes a socket whose place another one took, on whatever node.
    pub(crate) fn replace(&mut self, uid: Uid, id: SocketId) {
        if let Some(socket) = self.take_socket(uid, id) {
            socket.outbox.close(Close::Kicked);
        }
    }

    fn take_socket(&mut self, uid: Uid, id: SocketId) -> Option<Socket> {
        let user = self.users.get_mut(uid)?;
        let index = user.sockets.iter().position(|socket| socket.id == id)?;
        let socket = user.sockets.remove(index);
        self.metrics.socket_closed();
        if user.sockets.is_empty() {
            self.forget(uid);
        }
        Some(socket)
    }

    /// Takes a user out, with his channels; his sockets get `why`.
    fn close_user(&mut self, uid: Uid, why: Close) {
        let Some(user) = self.users.get_mut(uid) else { return };
        for socket in user.sockets.drain(..) {
            socket.outbox.close(why);
            self.metrics.socket_closed();
        }
        self.forget(uid);
    }

    fn forget(&mut self, uid: Uid) {
        self.loading.remove(&uid);
        let Some((slot, user)) = self.users.remove(uid) else { return };
        self.strike_all(slot, &user.channels);
    }

    /// Takes the outcome of a load. Returns the openings that it was waited for.
    pub(crate) fn loaded(&mut self, load: &Load, found: Found) -> Vec<Open> {
        let uid = load.user.user;
        let Some(user) = self.users.get_mut(uid) else { return Vec::new() };
        let is_awaited =
            user.loading.as_ref().is_some_and(|loading| loading.generation == load.generation);
        if !is_awaited {
            return Vec::new();
        }
        let found = match found {
            Found::Channels(found) => found,
            Found::Gone | Found::Failed => {
                let is_gone = matches!(found, Found::Gone);
                self.close_user(uid, if is_gone { Close::Kicked } else { Close::Failure });
                return Vec::new();
            }
        };
        let touched = user.loading.take().map(|loading| loading.touched).unwrap_or_default();
        user.channels.reserve_exact(found.len());
        let Some(user) = self.users.slot(uid) else { return Vec::new() };
        for Subscription { channel, since_seq, mut moderator } in found {
            match touched.get(&channel) {
                Some(Touch::Membership) => continue,
                Some(Touch::Moderator(changed)) => moderator = *changed,
                None => {}
            }
            self.hear(channel, Member { user, moderator, since_seq });
        }
        self.loading.remove(&uid);
        let established = &self.established;
        let Some((_, user)) = self.users.at_mut(user) else { return Vec::new() };
        user.sockets
            .iter_mut()
            .filter_map(|socket| socket.establish(load.user, established))
            .collect()
    }

    /// Applies what an event changes before it is delivered: who joined hears of it.
    pub(crate) fn before(&mut self, effect: Effect, at: At) {
        self.flush();
        match effect {
            Effect::Join { channel, user: uid, moderator } => {
                let Some(user) = self.users.slot(uid) else { return };
                self.touch(channel, uid);
                // Sequence numbers of different homes say nothing about each other.
                let since_seq = if at.home == channel { at.seq } else { 0 };
                self.hear(channel, Member { user, moderator, since_seq });
            }
            Effect::ModeratorChanged { channel, user: uid, moderator } => {
                if let Some(member) = self.member_mut(channel, uid) {
                    member.moderator = moderator;
                } else if let Some(loading) =
                    self.users.get_mut(uid).and_then(|user| user.loading.as_mut())
                {
                    let touch = loading.touched.entry(channel);
                    let touch = touch.or_insert(Touch::Moderator(moderator));
                    if let Touch::Moderator(latest) = touch {
                        *latest = moderator;
                    }
                }
            }
            Effect::Leave { .. }
            | Effect::ChannelGone { .. }
            | Effect::UserGone { .. }
            | Effect::SocketReplaced { .. }
            | Effect::AppInstanceGone { .. } => {}
        }
    }

    /// Applies what an event changes after it is delivered: who left still hears of it.
    pub(crate) fn after(&mut self, effect: Effect) {
        self.flush();
        match effect {
            Effect::Join { .. } | Effect::ModeratorChanged { .. } => {}
            Effect::Leave { channel, user: uid } => {
                self.unhear(channel, uid);
                self.touch(channel, uid);
            }
            Effect::ChannelGone { channel } => {
                self.unhear_all(channel);
                for uid in self.loading.iter().copied().collect::<Vec<_>>() {
                    self.touch(channel, uid);
                }
            }
            Effect::UserGone { user } => self.close_user(user, Close::Kicked),
            // The relay knows whose sockets these are.
            Effect::SocketReplaced { .. } => {}
            Effect::AppInstanceGone { app_instance } => {
                let of_it =
                    |(uid, user): (Uid, &User)| (user.app_instance == app_instance).then_some(uid);
                let gone: Vec<Uid> = self.users.iter().filter_map(of_it).collect();
                for uid in gone {
                    self.close_user(uid, Close::Kicked);
                }
            }
        }
    }

    /// Notes that a load in flight may know less of a channel than was heard of it meanwhile.
    fn touch(&mut self, channel: Uid, uid: Uid) {
        let user = self.users.get_mut(uid);
        if let Some(loading) = user.and_then(|user| user.loading.as_mut()) {
            loading.touched.insert(channel, Touch::Membership);
        }
    }

    fn drop_failed(&mut self, failed: Vec<(Uid, SocketId, Refused)>) {
        for (uid, id, why) in failed {
            let Some(socket) = self.take_socket(uid, id) else { continue };
            if why == Refused::Full {
                socket.outbox.give_up();
                self.metrics.slow_closed();
                self.slow.note(uid);
            }
        }
    }

    /// Turns the wheel by one. Returns the openings of sockets that have waited long enough.
    pub(crate) fn turn(&mut self) -> Vec<Open> {
        self.heartbeat();
        let due = self.slow.turn();
        due.into_iter().filter_map(|(uid, id)| self.end_wait(uid, id)).collect()
    }

    /// Pings the sockets whose turn it is, ends those that are silent.
    fn heartbeat(&mut self) {
        self.turn = (self.turn + 1) % HEARTBEAT_TURNS;
        let entries = std::mem::take(&mut self.wheel[self.turn]);
        let mut kept = Vec::with_capacity(entries.len());
        for (uid, id) in entries {
            let user = self.users.get_mut(uid);
            let socket = user.and_then(|user| user.sockets.iter_mut().find(|it| it.id == id));
            let Some(socket) = socket else { continue };
            socket.settle();
            socket.unanswered = if socket.outbox.was_alive() { 0 } else { socket.unanswered + 1 };
            if socket.unanswered == UNANSWERED_MAX {
                if let Some(socket) = self.take_socket(uid, id) {
                    socket.outbox.close(Close::Silent);
                }
                continue;
            }
            match socket.outbox.push(self.ping.clone()) {
                Ok(()) => kept.push((uid, id)),
                Err(why) => self.drop_failed(vec![(uid, id, why)]),
            }
        }
        self.wheel[self.turn] = kept;
    }

    /// Ends every socket, because the server ends.
    pub(crate) fn close_all(&mut self) {
        let all: Vec<Uid> = self.users.iter().map(|(uid, _)| uid).collect();
        for uid in all {
            self.close_user(uid, Close::Restart);
        }
    }
}

fn turn_of(id: SocketId) -> usize {
    // A remainder of 30 fits any integer.
    usize::try_from(id.0 % HEARTBEAT_TURNS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests;

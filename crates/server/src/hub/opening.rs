//! Sockets that are told of the past before the present: what is committed meanwhile waits here.
//!
//! Invariants: SESSION_ESTABLISHED comes first, then what the opening tells, then what was held,
//! less what the opening has told, then the present; what is held is bounded, and so is what an
//! opening has under way, whose next frame waits until the client has taken earlier ones. A socket
//! that wants no opening is live at once and pays nothing.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use chat::{PrefetchSort, SessionUser};
use store::Uid;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{At, Established, Hub, Socket, SocketId};
use crate::frame::Close;
use crate::outbox::{self, Refused};

/// Most frames that may be held for one socket. Together they fit its queue, whatever else is there.
const FRAMES_MAX: usize = outbox::FRAMES_MAX / 2;
/// Most bytes that may be held for one socket.
const BYTES_MAX: usize = outbox::BYTES_MAX / 2;
/// Bytes that an opening may have under way to its socket. One frame always may.
const ROOM_BYTES: u32 = 512 * 1024;
/// What the smallest frame counts for, which bounds the number of frames.
const FRAME_BYTES_MIN: u32 = 256;

/// Heartbeats for which it is remembered what an opening has told.
const SETTLING_TURNS: u8 = 2;

/// What a socket asks to be told first.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The details of its channels, and which of them.
    pub(crate) prefetch: Option<PrefetchSort>,
    /// What it missed since the event of this id, which the client gave.
    pub(crate) resume_after: Option<String>,
}

/// An opening to be made by somebody who may wait.
pub(crate) struct Open {
    pub(crate) user: SessionUser,
    pub(crate) socket: SocketId,
    pub(crate) wanted: Wanted,
    pub(crate) room: Room,
}

/// How far a socket is.
pub(super) enum Phase {
    /// Not established; with what it wants then, and whether it has to wait for more than the
    /// channels of its user.
    New {
        wanted: Option<Wanted>,
        waits: bool,
    },
    Opening(Box<Held>),
    /// Live, where events of other nodes may come later than the opening has told them.
    Settling {
        covered: Box<Covered>,
        turns: u8,
    },
    Live,
}

/// The present, as it waits for the end of an opening.
pub(super) struct Held {
    frames: VecDeque<(At, Bytes)>,
    bytes: usize,
    room: Arc<Semaphore>,
}

impl Held {
    fn new() -> Self {
        let room = Arc::new(Semaphore::new(ROOM_BYTES as usize));
        Self { frames: VecDeque::new(), bytes: 0, room }
    }

    pub(super) fn hold(&mut self, frame: &Bytes, at: At) -> Result<(), Refused> {
        let bytes = self.bytes + frame.len();
        if self.frames.len() >= FRAMES_MAX || bytes > BYTES_MAX {
            return Err(Refused::Full);
        }
        self.bytes = bytes;
        self.frames.push_back((at, frame.clone()));
        Ok(())
    }
}

impl Drop for Held {
    /// Tells the opening that its socket has ended, or is live.
    fn drop(&mut self) {
        self.room.close();
    }
}

/// The socket of an opening has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// The room for what an opening has under way to its socket.
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    /// Waits until there is room for `frame`, which takes it until the socket has written it.
    pub(crate) async fn admit(&self, frame: Bytes) -> Result<Bytes, Gone> {
        let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let taken = self.take(bytes.clamp(FRAME_BYTES_MIN, ROOM_BYTES)).await?;
        Ok(Bytes::from_owner(UnderWay { frame, _taken: taken }))
    }

    /// Waits until the socket has written all that was admitted.
    pub(crate) async fn emptied(&self) -> Result<(), Gone> {
        self.take(ROOM_BYTES).await.map(drop)
    }

    async fn take(&self, bytes: u32) -> Result<OwnedSemaphorePermit, Gone> {
        self.0.clone().acquire_many_owned(bytes).await.map_err(|_| Gone)
    }
}

/// A frame and the room that it takes; whoever drops the frame gives the room back.
struct UnderWay {
    frame: Bytes,
    _taken: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for UnderWay {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

/// What an opening has told of what may be held: events by their place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Covered {
    commits: HashSet<(Uid, u64)>,
}

impl Covered {
    /// Notes that all durable events of a commit were told.
    pub(crate) fn add(&mut self, home: Uid, seq: u64) {
        self.commits.insert((home, seq));
    }

    pub(super) fn covers(&self, at: At) -> bool {
        at.is_durable && self.commits.contains(&(at.home, at.seq))
    }
}

impl Socket {
    /// Tells a new socket that it hears everything from here on, unless it has to wait. Returns the
    /// opening that it wants.
    pub(super) fn establish(
        &mut self,
        user: SessionUser,
        established: &Established,
    ) -> Option<Open> {
        let Phase::New { wanted, waits: false } = &mut self.phase else { return None };
        let wanted = wanted.take();
        let is_resumed = wanted.as_ref().is_some_and(|wanted| wanted.resume_after.is_some());
        let established = if is_resumed { &established.to_resume } else { &established.at_present };
        // A new queue has room; a socket that is gone already is found by its first ping.
        let _ = self.outbox.push(established.clone());
        let Some(wanted) = wanted else {
            self.phase = Phase::Live;
            return None;
        };
        let held = Held::new();
        let room = Room(held.room.clone());
        self.phase = Phase::Opening(Box::new(held));
        Some(Open { user, socket: self.id, wanted, room })
    }

    /// Lets what was held follow what the opening told.
    fn go_live(&mut self, covered: &Covered, may_be_late: bool) -> Result<(), Refused> {
        let next = if may_be_late {
            Phase::Settling { covered: Box::new(covered.clone()), turns: 0 }
        } else {
            Phase::Live
        };
        let phase = std::mem::replace(&mut self.phase, next);
        let Phase::Opening(mut held) = phase else {
            self.phase = phase;
            return Ok(());
        };
        let frames = std::mem::take(&mut held.frames);
        let fresh = frames.into_iter().filter(|(at, _)| !covered.covers(*at));
        fresh.map(|(_, frame)| frame).try_for_each(|frame| self.outbox.push(frame))
    }
}

impl Socket {
    /// Forgets what an opening has told, once nothing of it can still be on its way.
    pub(super) fn settle(&mut self) {
        if let Phase::Settling { turns, .. } = &mut self.phase {
            *turns += 1;
            if *turns == SETTLING_TURNS {
                self.phase = Phase::Live;
            }
        }
    }
}

impl Hub {
    /// Says that events may come from other nodes, and later than they can be read.
    pub(crate) fn hears_others(&mut self) {
        self.may_be_late = true;
    }

    /// Takes a frame that an opening tells its socket.
    pub(crate) fn fed(&mut self, uid: Uid, id: SocketId, frame: Bytes) {
        let Some(socket) = self.opening_socket(uid, id) else { return };
        if let Err(why) = socket.outbox.push(frame) {
            self.drop_failed(vec![(uid, id, why)]);
        }
    }

    /// Takes the end of an opening: what it has told, or nothing when it failed.
    pub(crate) fn opened(&mut self, uid: Uid, id: SocketId, covered: Option<&Covered>) {
        let may_be_late = self.may_be_late;
        let Some(socket) = self.opening_socket(uid, id) else { return };
        let Some(covered) = covered else {
            if let Some(socket) = self.take_socket(uid, id) {
                socket.outbox.close(Close::Failure);
            }
            return;
        };
        if let Err(why) = socket.go_live(covered, may_be_late) {
            self.drop_failed(vec![(uid, id, why)]);
        }
    }

    fn opening_socket(&mut self, uid: Uid, id: SocketId) -> Option<&mut Socket> {
        let user = self.users.get_mut(uid)?;
        let socket = user.sockets.iter_mut().find(|socket| socket.id == id)?;
        matches!(socket.phase, Phase::Opening(_)).then_some(socket)
    }
}

#[cfg(test)]
mod tests;

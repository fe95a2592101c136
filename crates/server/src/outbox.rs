//! The bounded queue between the hub and one socket.
//!
//! Invariants: the hub never waits for a socket: it holds the queue's lock for moments, and so does
//! the socket, which writes without it. A queue that is full in frames or in bytes says so at once,
//! and the hub then gives the socket up; the socket learns of it even while it is stuck in a write.
//! A socket is woken for frames only when it has asked for them, so once for all that come together,
//! and a queue that is empty has no memory. `outbox/awake.rs` counts those that are woken.

mod awake;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::frame::{Backlog, Close, Frames};

pub(crate) use awake::Awake;

/// Most frames that may wait for one socket.
pub(crate) const FRAMES_MAX: usize = 4096;
/// Most bytes that may wait for one socket. The bytes themselves are shared between sockets.
pub(crate) const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most pieces that a socket takes at a time.
pub(crate) const BATCH_MAX: usize = 64;

/// Why frames were not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The socket takes its frames too slowly.
    Full,
    /// The socket has ended.
    Gone,
}

/// What a socket hears of the hub.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Frames came into the backlog.
    Frames,
    /// An end was asked for, perhaps behind frames that wait. Told once.
    Ending,
    /// The end, after all frames.
    Close(Close),
    /// The end, without the frames that wait. Told once.
    GivenUp,
}

enum End {
    AfterFrames { why: Close, is_told: bool },
    Now,
    Told,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frames>,
    frame_count: usize,
    bytes: usize,
    end: Option<End>,
    /// The socket, unless it is awake.
    sleeper: Option<Waker>,
    /// Whether the sleeper waits for frames too, not for the end alone.
    is_hungry: bool,
    /// Whether the socket is counted among those that are awake.
    is_counted: bool,
    /// The socket has ended.
    is_gone: bool,
}

impl Queue {
    /// Takes the oldest frames.
    fn take(&mut self, backlog: &mut Backlog) {
        let count = self.frames.len().min(BATCH_MAX);
        for frames in self.frames.drain(..count) {
            self.frame_count -= frames.count();
            self.bytes -= frames.len();
            backlog.push(frames);
        }
        if self.frames.is_empty() {
            self.frames = VecDeque::new();
        }
    }
}

struct Shared {
    queue: Mutex<Queue>,
    /// Whether the client was heard since it was last asked.
    is_alive: AtomicBool,
    awake: Arc<Awake>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the socket is where it was woken for.
    fn looks(&self, queue: &mut Queue) {
        if std::mem::take(&mut queue.is_counted) {
            self.awake.remove();
        }
    }

    fn end(&self, end: End) {
        let mut queue = self.queue();
        queue.end.get_or_insert(end);
        let sleeper = queue.sleeper.take();
        drop(queue);
        sleeper.into_iter().for_each(Waker::wake);
    }
}

/// The hub's end. A socket whose outbox is dropped is closed, since the server ends.
pub(crate) struct Outbox(Arc<Shared>);

/// The socket's end.
pub(crate) struct Inbox(Arc<Shared>);

/// Makes the queue of one socket, which is counted in `awake`.
pub(crate) fn new(awake: Arc<Awake>) -> (Outbox, Inbox) {
    let shared = Shared { queue: Mutex::default(), is_alive: AtomicBool::new(true), awake };
    let shared = Arc::new(shared);
    (Outbox(shared.clone()), Inbox(shared))
}

impl Outbox {
    /// Queues frames, all of them or none.
    pub(crate) fn push(&self, frames: impl Into<Frames>) -> Result<(), Refused> {
        let frames = frames.into();
        let mut queue = self.0.queue();
        if queue.is_gone {
            return Err(Refused::Gone);
        }
        let frame_count = queue.frame_count + frames.count();
        let bytes = queue.bytes + frames.len();
        if frame_count > FRAMES_MAX || bytes > BYTES_MAX {
            return Err(Refused::Full);
        }
        (queue.frame_count, queue.bytes) = (frame_count, bytes);
        queue.frames.push_back(frames);
        let sleeper = if queue.is_hungry { queue.sleeper.take() } else { None };
        if sleeper.is_some() && !queue.is_counted {
            queue.is_counted = true;
            self.0.awake.add();
        }
        drop(queue);
        sleeper.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Ends the socket after the frames that wait.
    pub(crate) fn close(self, why: Close) {
        self.0.end(End::AfterFrames { why, is_told: false });
    }

    /// Ends the socket without the frames that wait.
    pub(crate) fn give_up(self) {
        self.0.end(End::Now);
    }

    /// Returns whether the client was heard since the last call.
    pub(crate) fn was_alive(&self) -> bool {
        self.0.is_alive.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.0.end(End::AfterFrames { why: Close::Restart, is_told: false });
    }
}

impl Inbox {
    /// Waits for what the hub says. Frames are taken into a backlog that is empty; while it is not,
    /// only the end is told.
    pub(crate) fn poll(&self, cx: &Context<'_>, backlog: &mut Backlog) -> Poll<News> {
        let mut queue = self.0.queue();
        self.0.looks(&mut queue);
        match &mut queue.end {
            Some(end @ End::Now) => {
                *end = End::Told;
                return Poll::Ready(News::GivenUp);
            }
            Some(End::AfterFrames { is_told, .. }) if !*is_told => {
                *is_told = true;
                return Poll::Ready(News::Ending);
            }
            _ => {}
        }
        let is_hungry = backlog.is_empty();
        if is_hungry && !queue.frames.is_empty() {
            queue.take(backlog);
            return Poll::Ready(News::Frames);
        }
        if is_hungry && let Some(End::AfterFrames { why, .. }) = queue.end {
            queue.end = Some(End::Told);
            return Poll::Ready(News::Close(why));
        }
        queue.is_hungry = is_hungry;
        if !queue.sleeper.as_ref().is_some_and(|sleeper| sleeper.will_wake(cx.waker())) {
            queue.sleeper = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Wants no more frames: the socket is closing.
    pub(crate) fn turn_away(&self) {
        let mut queue = self.0.queue();
        self.0.looks(&mut queue);
        queue.is_hungry = false;
    }

    /// Notes that the client was heard.
    pub(crate) fn alive(&self) {
        self.0.is_alive.store(true, Ordering::Relaxed);
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.is_gone = true;
        self.0.looks(&mut queue);
        let frames = std::mem::take(&mut queue.frames);
        drop(queue);
        // Whoever counts what is under way hears of the end now.
        drop(frames);
    }
}

#[cfg(test)]
mod tests;

//! The bounded queue between the hub and one socket.
//!
//! Invariant: the hub never waits for a socket. A queue that is full in frames or in bytes says so
//! at once, and the hub then gives the socket up; the socket learns of it even while it is stuck
//! in a write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

use crate::frame::Close;

/// Most frames that may wait for one socket.
pub(crate) const FRAMES_MAX: usize = 4096;
/// Most bytes that may wait for one socket. The bytes themselves are shared between sockets.
pub(crate) const BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the hub hands to a socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A complete frame.
    Frame(Bytes),
    /// The end, after the frames before it.
    Close(Close),
}

/// Why a frame was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The socket takes its frames too slowly.
    Full,
    /// The socket has ended.
    Gone,
}

/// What both ends share beside the queue.
struct Shared {
    queued_bytes: AtomicUsize,
    /// Whether the client was heard since it was last asked.
    is_alive: AtomicBool,
    given_up: Notify,
    /// The hub wants the end, and waits for the frames before it only so long.
    closing: Notify,
}

/// The hub's end.
pub(crate) struct Outbox {
    queue: mpsc::Sender<Item>,
    shared: Arc<Shared>,
}

/// The socket's end.
pub(crate) struct Inbox {
    queue: mpsc::Receiver<Item>,
    shared: Arc<Shared>,
}

/// Makes the queue of one socket.
pub(crate) fn new() -> (Outbox, Inbox) {
    let (sender, receiver) = mpsc::channel(FRAMES_MAX);
    let shared = Arc::new(Shared {
        queued_bytes: AtomicUsize::new(0),
        is_alive: AtomicBool::new(true),
        given_up: Notify::new(),
        closing: Notify::new(),
    });
    (Outbox { queue: sender, shared: shared.clone() }, Inbox { queue: receiver, shared })
}

impl Outbox {
    /// Queues a frame.
    pub(crate) fn push(&self, frame: Bytes) -> Result<(), Refused> {
        let bytes = frame.len();
        let queued = self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let outcome = if queued.saturating_add(bytes) > BYTES_MAX {
            Err(Refused::Full)
        } else {
            self.queue.try_send(Item::Frame(frame)).map_err(|error| match error {
                TrySendError::Full(_) => Refused::Full,
                TrySendError::Closed(_) => Refused::Gone,
            })
        };
        if outcome.is_err() {
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        outcome
    }

    /// Ends the socket after the frames that wait.
    pub(crate) fn close(self, why: Close) {
        self.shared.closing.notify_one();
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Item::Close(why)) {
            self.give_up();
        }
    }

    /// Ends the socket without the frames that wait.
    pub(crate) fn give_up(self) {
        self.shared.given_up.notify_one();
    }

    /// Returns whether the client was heard since the last call.
    pub(crate) fn was_alive(&self) -> bool {
        self.shared.is_alive.swap(false, Ordering::Relaxed)
    }
}

impl Inbox {
    /// Returns the next item; nothing when the hub is gone. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Option<Item> {
        let item = self.queue.recv().await;
        self.took(item.as_ref());
        item
    }

    /// Returns the next item if it is there already.
    pub(crate) fn next_ready(&mut self) -> Option<Item> {
        let item = self.queue.try_recv().ok();
        self.took(item.as_ref());
        item
    }

    fn took(&self, item: Option<&Item>) {
        if let Some(Item::Frame(frame)) = item {
            self.shared.queued_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        }
    }

    /// Returns the part that tells of the hub's giving up, usable beside `next`.
    pub(crate) fn watch(&self) -> Watch {
        Watch(self.shared.clone())
    }
}

/// Hears of the hub's giving up, and tells it of the client.
pub(crate) struct Watch(Arc<Shared>);

impl Watch {
    /// Returns once the hub has given the socket up.
    pub(crate) async fn given_up(&self) {
        self.0.given_up.notified().await;
    }

    /// Returns once the hub has asked for the end, perhaps behind frames that wait.
    pub(crate) async fn closing(&self) {
        self.0.closing.notified().await;
    }

    /// Notes that the client was heard.
    pub(crate) fn alive(&self) {
        self.0.is_alive.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_in_order_with_the_close_last() {
        let (outbox, mut inbox) = new();
        outbox.push(Bytes::from_static(b"1")).unwrap();
        outbox.push(Bytes::from_static(b"2")).unwrap();
        outbox.close(Close::Kicked);
        assert_eq!(inbox.next().await, Some(Item::Frame(Bytes::from_static(b"1"))));
        assert_eq!(inbox.next_ready(), Some(Item::Frame(Bytes::from_static(b"2"))));
        assert_eq!(inbox.next().await, Some(Item::Close(Close::Kicked)));
        assert_eq!(inbox.next().await, None);
    }

    #[tokio::test]
    async fn the_queue_is_bounded_in_frames() {
        let (outbox, mut inbox) = new();
        for _ in 0..FRAMES_MAX {
            outbox.push(Bytes::from_static(b"x")).unwrap();
        }
        assert_eq!(outbox.push(Bytes::from_static(b"x")), Err(Refused::Full));
        inbox.next().await;
        assert_eq!(outbox.push(Bytes::from_static(b"x")), Ok(()));
    }

    #[tokio::test]
    async fn the_queue_is_bounded_in_bytes_and_taking_makes_room() {
        let (outbox, mut inbox) = new();
        let half = Bytes::from(vec![0; BYTES_MAX / 2]);
        outbox.push(half.clone()).unwrap();
        outbox.push(half.clone()).unwrap();
        assert_eq!(outbox.push(Bytes::from_static(b"x")), Err(Refused::Full));
        inbox.next().await;
        assert_eq!(outbox.push(half), Ok(()));
    }

    #[tokio::test]
    async fn a_socket_that_ended_is_gone() {
        let (outbox, inbox) = new();
        drop(inbox);
        assert_eq!(outbox.push(Bytes::from_static(b"x")), Err(Refused::Gone));
    }

    #[tokio::test]
    async fn a_close_that_finds_no_room_gives_the_socket_up() {
        let (outbox, inbox) = new();
        for _ in 0..FRAMES_MAX {
            outbox.push(Bytes::from_static(b"x")).unwrap();
        }
        outbox.close(Close::Kicked);
        inbox.watch().given_up().await;
    }

    #[test]
    fn a_client_is_alive_until_it_is_silent_for_a_turn() {
        let (outbox, inbox) = new();
        assert!(outbox.was_alive());
        assert!(!outbox.was_alive());
        inbox.watch().alive();
        assert!(outbox.was_alive());
    }
}

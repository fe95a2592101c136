use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use bytes::Bytes;

use super::*;

/// Counts how often a socket is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A socket's end with a backlog, and a count of its wakes.
struct Reader {
    inbox: Inbox,
    backlog: Backlog,
    wakes: Arc<Wakes>,
}

fn reader(inbox: Inbox) -> Reader {
    Reader { inbox, backlog: Backlog::default(), wakes: Arc::default() }
}

impl Reader {
    fn poll(&mut self) -> Poll<News> {
        let waker = Waker::from(self.wakes.clone());
        self.inbox.poll(&Context::from_waker(&waker), &mut self.backlog)
    }

    /// Returns the bytes of the frames that came, as if they were written.
    fn written(&mut self) -> Vec<u8> {
        let written = self.backlog.bytes();
        self.backlog = Backlog::default();
        written
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }
}

const X: Bytes = Bytes::from_static(b"x");

#[test]
fn frames_come_out_in_order_with_the_close_last() {
    let (outbox, inbox) = new(Arc::default());
    let mut reader = reader(inbox);
    outbox.push(Bytes::from_static(b"1")).unwrap();
    outbox.push(Bytes::from_static(b"2")).unwrap();
    outbox.close(Close::Kicked);
    assert_eq!(reader.poll(), Poll::Ready(News::Ending));
    assert_eq!(reader.poll(), Poll::Ready(News::Frames));
    assert_eq!(reader.poll(), Poll::Pending, "the close waits until they are written");
    assert_eq!(reader.written(), b"12");
    assert_eq!(reader.poll(), Poll::Ready(News::Close(Close::Kicked)));
    assert_eq!(reader.poll(), Poll::Pending);
}

#[test]
fn the_queue_is_bounded_in_frames_however_they_come_together() {
    let (outbox, inbox) = new(Arc::default());
    let mut reader = reader(inbox);
    let (most, one) = (FRAMES_MAX - BATCH_MAX, Frames::from(X));
    for _ in 0..BATCH_MAX {
        outbox.push(one.clone()).unwrap();
    }
    outbox.push(Frames::of(Bytes::from(vec![0; most]), most)).unwrap();
    assert_eq!(outbox.push(one), Err(Refused::Full));
    assert_eq!(reader.poll(), Poll::Ready(News::Frames));
    assert_eq!(outbox.push(Frames::of(X, BATCH_MAX + 1)), Err(Refused::Full));
    assert_eq!(outbox.push(Frames::of(X, BATCH_MAX)), Ok(()));
}

#[test]
fn the_queue_is_bounded_in_bytes_and_taking_makes_room() {
    let (outbox, inbox) = new(Arc::default());
    let half = Bytes::from(vec![0; BYTES_MAX / 2]);
    outbox.push(half.clone()).unwrap();
    outbox.push(half.clone()).unwrap();
    assert_eq!(outbox.push(X), Err(Refused::Full));
    let mut reader = reader(inbox);
    assert_eq!(reader.poll(), Poll::Ready(News::Frames));
    assert_eq!(outbox.push(half), Ok(()));
}

#[test]
fn a_socket_that_waits_is_woken_once_for_frames_that_come_together() {
    let (outbox, inbox) = new(Arc::default());
    let mut reader = reader(inbox);
    assert_eq!(reader.poll(), Poll::Pending);
    for _ in 0..3 {
        outbox.push(X).unwrap();
    }
    assert_eq!(reader.wakes(), 1);
    assert_eq!(reader.poll(), Poll::Ready(News::Frames));
    assert_eq!(reader.written(), b"xxx");
}

#[test]
fn a_socket_that_is_stuck_is_woken_by_the_end_alone() {
    let (outbox, inbox) = new(Arc::default());
    let mut reader = reader(inbox);
    outbox.push(X).unwrap();
    assert_eq!(reader.poll(), Poll::Ready(News::Frames));
    assert_eq!(reader.poll(), Poll::Pending);
    outbox.push(X).unwrap();
    assert_eq!(reader.wakes(), 0);
    outbox.give_up();
    assert_eq!(reader.wakes(), 1);
    assert_eq!(reader.poll(), Poll::Ready(News::GivenUp));
    assert_eq!(reader.poll(), Poll::Pending);
}

#[test]
fn a_socket_that_ended_is_gone_and_lets_its_frames_go() {
    let (outbox, inbox) = new(Arc::default());
    let frame = Bytes::from(vec![0; 8]);
    outbox.push(frame.clone()).unwrap();
    assert!(!frame.is_unique());
    drop(inbox);
    assert!(frame.is_unique());
    assert_eq!(outbox.push(frame), Err(Refused::Gone));
}

#[test]
fn a_close_comes_also_to_a_queue_that_is_full() {
    let (outbox, inbox) = new(Arc::default());
    outbox.push(Frames::of(X, FRAMES_MAX)).unwrap();
    outbox.close(Close::Kicked);
    let mut reader = reader(inbox);
    assert_eq!(reader.poll(), Poll::Ready(News::Ending));
    assert_eq!(reader.poll(), Poll::Ready(News::Frames));
    assert_eq!(reader.written(), b"x");
    assert_eq!(reader.poll(), Poll::Ready(News::Close(Close::Kicked)));
}

#[test]
fn a_socket_whose_hub_is_gone_is_closed_for_a_restart() {
    let (outbox, inbox) = new(Arc::default());
    let mut reader = reader(inbox);
    assert_eq!(reader.poll(), Poll::Pending);
    drop(outbox);
    assert_eq!(reader.wakes(), 1);
    assert_eq!(reader.poll(), Poll::Ready(News::Ending));
    assert_eq!(reader.poll(), Poll::Ready(News::Close(Close::Restart)));
}

#[test]
fn a_client_is_alive_until_it_is_silent_for_a_turn() {
    let (outbox, inbox) = new(Arc::default());
    assert!(outbox.was_alive());
    assert!(!outbox.was_alive());
    inbox.alive();
    assert!(outbox.was_alive());
}

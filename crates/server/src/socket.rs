//! One WebSocket after its handshake: frames out, signals in, an orderly end.
//!
//! Invariants: the one task of a socket reads and writes in turn and never waits for one alone;
//! frames that wait leave in one write; whoever closes, the end comes within a bounded time. There
//! are many sockets and most are idle: what only a busy or an ending one needs is not kept.

use std::future::poll_fn;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::frame::{self, Backlog, Close, Inbound, Signal};
use crate::outbox::{BATCH_MAX, Inbox, News};

/// Clients say little: a ping, a pong, a close.
const READ_BYTES: usize = 256;
/// How long a closing socket may take to write its last frames and hear the client's close.
pub(crate) const CLOSE_MS_MAX: u64 = 2_000;

/// How long a socket that is to end may take for the frames before its close. With the close
/// itself it stays within the time that a drain gives to sockets.
const STUCK_MS_MAX: u64 = 2 * CLOSE_MS_MAX;

/// Serves a socket to its end, which comes at `expiry` at the latest. `leftover` is what the client
/// sent behind its handshake.
pub(crate) fn serve<S>(
    stream: S,
    leftover: &[u8],
    inbox: Inbox,
    expiry: Option<Instant>,
) -> impl Future<Output = ()> + use<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut session = Session::new(stream, Some(inbox));
    session.times.expiry = expiry;
    session.heard(leftover);
    run(session)
}

/// Closes a socket that was never registered.
pub(crate) async fn refuse<S>(stream: S, why: Close)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut session = Session::new(stream, None);
    session.close(why);
    run(session).await;
}

async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut session: Session<S>) {
    poll_fn(|cx| session.poll(cx)).await;
    // The peer may be gone already; there is nobody to tell.
    let _ = session.stream.shutdown().await;
}

/// A socket and what it knows of itself.
struct Session<S> {
    stream: S,
    /// What the hub says; a socket that was refused never asks.
    inbox: Option<Inbox>,
    inbound: Inbound,
    backlog: Backlog,
    times: Times,
    has_client_closed: bool,
    /// The client broke the protocol: what it sends is read, so that our close reaches it, and
    /// means nothing.
    is_deaf: bool,
    is_lost: bool,
    /// TLS has taken the last frames and may still hold some of them back.
    is_unflushed: bool,
}

/// When something ends at the latest.
#[derive(Default)]
struct Times {
    /// The credentials of the client.
    expiry: Option<Instant>,
    /// A closing socket; nothing while it is open.
    deadline: Option<Instant>,
    /// A socket whose close waits behind frames that nobody takes.
    patience: Option<Instant>,
    /// Made when there is something to wait for.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Times {
    /// Waits for the next of them.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let next = [self.expiry, self.deadline, self.patience].into_iter().flatten().min();
        let Some(next) = next else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(next)));
        if sleep.deadline() != next {
            sleep.as_mut().reset(next);
        }
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(next)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn new(stream: S, inbox: Option<Inbox>) -> Self {
        Self {
            stream,
            inbox,
            inbound: Inbound::default(),
            backlog: Backlog::default(),
            times: Times::default(),
            has_client_closed: false,
            is_deaf: false,
            is_lost: false,
            is_unflushed: false,
        }
    }

    fn is_open(&self) -> bool {
        self.times.deadline.is_none() && !self.is_lost
    }

    /// Both sides have said goodbye, or nobody is there to say it to.
    fn is_over(&self) -> bool {
        let is_written = self.backlog.is_empty() && !self.is_unflushed;
        self.is_lost || (!self.is_open() && self.has_client_closed && is_written)
    }

    fn close(&mut self, why: Close) {
        if self.is_open() {
            self.inbox.iter().for_each(Inbox::turn_away);
            self.backlog.push(frame::close(why));
            self.times.expiry = None;
            self.times.deadline = Some(Instant::now() + Duration::from_millis(CLOSE_MS_MAX));
        }
    }

    /// Takes what the client sent.
    fn heard(&mut self, bytes: &[u8]) {
        if self.is_deaf {
            return;
        }
        let mut signals = Vec::new();
        let outcome = self.inbound.feed(bytes, &mut signals);
        for signal in signals {
            match signal {
                Signal::Pong => self.inbox.iter().for_each(Inbox::alive),
                // Who pings without reading gets no more answers than fit a batch.
                Signal::Ping(payload) if self.is_open() && self.backlog.len() < BATCH_MAX => {
                    self.backlog.push(frame::pong(&payload));
                }
                Signal::Ping(_) => {}
                Signal::Close(code) => {
                    self.has_client_closed = true;
                    self.close(Close::Echo(code));
                }
            }
        }
        if let Err(why) = outcome {
            self.is_deaf = true;
            self.close(why);
        }
    }

    /// Goes on until the socket is over. In this order: the end first, then what is to be written,
    /// so that a client that sends without pause holds nothing up.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_over() {
            let has_gone_on = self.poll_times(cx).is_ready()
                | self.poll_hub(cx).is_ready()
                | self.poll_write(cx).is_ready()
                | self.poll_read(cx).is_ready();
            if !has_gone_on {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn poll_times(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reached = ready!(self.times.poll(cx));
        if self.times.expiry == Some(reached) {
            self.close(Close::Expired);
        } else {
            self.is_lost = true;
        }
        Poll::Ready(())
    }

    /// Writes what waits, in one piece or in one vectored write, and flushes behind the last.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut outcome = Poll::Pending;
        while !self.backlog.is_empty() && !self.is_lost {
            let stream = Pin::new(&mut self.stream);
            let written = if let Some(only) = self.backlog.only() {
                stream.poll_write(cx, only)
            } else {
                let mut slices = [IoSlice::new(&[]); BATCH_MAX];
                let count = self.backlog.slices(&mut slices);
                stream.poll_write_vectored(cx, &slices[..count])
            };
            let Poll::Ready(written) = written else { return outcome };
            match written {
                Ok(written @ 1..) => self.backlog.advance(written),
                Ok(0) | Err(_) => self.is_lost = true,
            }
            self.is_unflushed = true;
            outcome = Poll::Ready(());
        }
        if self.is_unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            self.is_lost |= flushed.is_err();
            self.is_unflushed = false;
            outcome = Poll::Ready(());
        }
        outcome
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_client_closed {
            return Poll::Pending;
        }
        let mut scratch = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut scratch);
        let outcome = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read));
        match outcome {
            Ok(()) if !read.filled().is_empty() => self.heard(read.filled()),
            Ok(()) | Err(_) => self.is_lost = true,
        }
        Poll::Ready(())
    }

    fn poll_hub(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(inbox) = &self.inbox else { return Poll::Pending };
        if !self.is_open() {
            return Poll::Pending;
        }
        match ready!(inbox.poll(cx, &mut self.backlog)) {
            News::Frames => {}
            News::Ending => {
                let patience = Instant::now() + Duration::from_millis(STUCK_MS_MAX);
                self.times.patience = Some(patience);
            }
            News::Close(why) => self.close(why),
            News::GivenUp => {
                self.backlog.drop_unbegun();
                self.close(Close::Slow);
            }
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests;

//! One WebSocket after its handshake: frames out, signals in, an orderly end.
//!
//! Invariants: the one task of a socket reads and writes in turn and never waits for both at once;
//! frames that wait leave in one vectored write; whoever closes, the end comes within a bounded
//! time.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until};

use crate::frame::{self, Backlog, Close, Inbound, Signal};
use crate::outbox::{Inbox, Item};

/// Most frames that one write carries.
const BATCH_FRAMES_MAX: usize = 64;
/// Clients say little: a ping, a pong, a close.
const READ_BYTES: usize = 256;
/// How long a closing socket may take to write its last frames and hear the client's close.
pub(crate) const CLOSE_MS_MAX: u64 = 2_000;

/// How long a socket that is to end may take for the frames before its close. With the close
/// itself it stays within the time that a drain gives to sockets.
const STUCK_MS_MAX: u64 = 2 * CLOSE_MS_MAX;

/// Serves a socket to its end. `leftover` is what the client sent behind its handshake.
pub(crate) async fn serve<R, W>(read: R, write: W, leftover: &[u8], inbox: Inbox)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut session = Session::default();
    session.heard(leftover);
    run(&mut session, read, write, Some(inbox)).await;
}

/// Closes a socket that was never registered.
pub(crate) async fn refuse<R, W>(read: R, write: W, why: Close)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut session = Session::default();
    session.close(why);
    run(&mut session, read, write, None).await;
}

/// What a socket knows of itself.
#[derive(Default)]
struct Session {
    inbound: Inbound,
    backlog: Backlog,
    /// When a closing socket ends at the latest; nothing while it is open.
    deadline: Option<Instant>,
    /// When a socket ends at the latest whose close waits behind frames that nobody takes.
    patience: Option<Instant>,
    has_client_closed: bool,
    /// The client broke the protocol: what it sends is read, so that our close reaches it, and
    /// means nothing.
    is_deaf: bool,
    is_lost: bool,
    /// TLS has taken the last frames and may still hold some of them back.
    is_unflushed: bool,
}

impl Session {
    fn is_open(&self) -> bool {
        self.deadline.is_none() && !self.is_lost
    }

    /// Both sides have said goodbye, or nobody is there to say it to.
    fn is_over(&self) -> bool {
        let is_written = self.backlog.is_empty() && !self.is_unflushed;
        self.is_lost || (!self.is_open() && self.has_client_closed && is_written)
    }

    fn close(&mut self, why: Close) {
        if self.is_open() {
            self.backlog.push(frame::close(why));
            self.deadline = Some(Instant::now() + Duration::from_millis(CLOSE_MS_MAX));
        }
    }

    /// Takes what the client sent; returns whether it answered a ping.
    fn heard(&mut self, bytes: &[u8]) -> bool {
        if self.is_deaf {
            return false;
        }
        let mut signals = Vec::new();
        let outcome = self.inbound.feed(bytes, &mut signals);
        let mut has_pong = false;
        for signal in signals {
            match signal {
                Signal::Pong => has_pong = true,
                // Who pings without reading gets no more answers than fit a batch.
                Signal::Ping(payload)
                    if self.is_open() && self.backlog.len() < BATCH_FRAMES_MAX =>
                {
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
        has_pong
    }

    /// Takes an item of the hub and what else waits behind it, up to a batch.
    fn take(&mut self, first: Option<Item>, inbox: &mut Inbox) {
        let mut next = first;
        if next.is_none() {
            self.close(Close::Restart);
        }
        while let Some(item) = next {
            match item {
                Item::Frame(frame) => self.backlog.push(frame),
                Item::Close(why) => return self.close(why),
            }
            let has_room = self.backlog.len() < BATCH_FRAMES_MAX;
            next = if has_room { inbox.next_ready() } else { None };
        }
    }
}

async fn run<R, W>(session: &mut Session, mut read: R, mut write: W, mut inbox: Option<Inbox>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut scratch = [0; READ_BYTES];
    let watch = inbox.as_ref().map(Inbox::watch);
    while !session.is_over() {
        // In this order: the end first, then what is to be written, so that a client that sends
        // without pause holds nothing up; new frames only behind what it said.
        tokio::select! {
            biased;
            () = given_up(watch.as_ref()), if session.is_open() => {
                session.backlog.drop_unbegun();
                session.close(Close::Slow);
            }
            () = reached(session.deadline), if session.deadline.is_some() => session.is_lost = true,
            () = reached(session.patience), if session.patience.is_some() => session.is_lost = true,
            () = closing(watch.as_ref()), if session.patience.is_none() => {
                session.patience = Some(Instant::now() + Duration::from_millis(STUCK_MS_MAX));
            }
            written = write_some(&mut write, &mut session.backlog),
                if !session.backlog.is_empty() || session.is_unflushed => {
                    session.is_lost |= written.is_err();
                    session.is_unflushed = written.unwrap_or(false);
                }
            count = read.read(&mut scratch), if !session.has_client_closed => match count {
                Ok(count @ 1..) => {
                    if session.heard(&scratch[..count]) && let Some(watch) = &watch {
                        watch.alive();
                    }
                }
                Ok(0) | Err(_) => session.is_lost = true,
            },
            item = next(&mut inbox), if session.is_open() && session.backlog.is_empty() => {
                if let Some(inbox) = &mut inbox {
                    session.take(item, inbox);
                }
            }
        }
    }
    // The peer may be gone already; there is nobody to tell.
    let _ = write.shutdown().await;
}

/// The next item of the hub; a socket without an inbox is closing and is never asked.
async fn next(inbox: &mut Option<Inbox>) -> Option<Item> {
    match inbox {
        Some(inbox) => inbox.next().await,
        None => None,
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn given_up(watch: Option<&crate::outbox::Watch>) {
    match watch {
        Some(watch) => watch.given_up().await,
        None => std::future::pending().await,
    }
}

async fn closing(watch: Option<&crate::outbox::Watch>) {
    match watch {
        Some(watch) => watch.closing().await,
        None => std::future::pending().await,
    }
}

/// Writes once, as many waiting frames as fit, or flushes when none waits; returns whether all that
/// waited is written and still to be flushed. Nothing is lost when it is dropped while it waits.
async fn write_some<W: AsyncWrite + Unpin>(
    write: &mut W,
    backlog: &mut Backlog,
) -> io::Result<bool> {
    if backlog.is_empty() {
        write.flush().await?;
        return Ok(false);
    }
    let written = poll_fn(|cx| {
        let mut slices = [IoSlice::new(&[]); BATCH_FRAMES_MAX];
        let count = backlog.slices(&mut slices);
        Pin::new(&mut *write).poll_write_vectored(cx, &slices[..count])
    });
    let written = written.await?;
    if written == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    backlog.advance(written);
    Ok(backlog.is_empty())
}

#[cfg(test)]
mod tests;

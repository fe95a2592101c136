//! A connection's stream with its time-outs: idle, head of a request, stalled writes.
//!
//! hyper has one timer for "idle" and "slow head"; pooled clients need the first long and a server
//! under attack needs the second short. Invariant: whenever the peer is waited for, exactly one
//! deadline runs, and it is armed anew when the connection enters another phase. It is also where
//! hyper's own refusals are dressed (see `refusal`), since nothing else sees them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::refusal::{Bare, Dresser};

/// How long a kept connection may be idle. Clients pool theirs for up to 60 s.
pub(crate) const IDLE_MS_MAX: u64 = 90_000;
/// How long the head of a request may take from its first byte.
pub(crate) const HEAD_MS_MAX: u64 = 15_000;
/// How long a peer may take nothing of what is written to it.
pub(crate) const WRITE_STALL_MS_MAX: u64 = 30_000;
/// Most bytes of one read. hyper doubles its buffer, and keeps it, whenever a read fills it: so a
/// large body would leave four times as much with each connection.
const READ_BYTES_MAX: u64 = 8 * 1024;
/// The first byte of a TLS handshake: no method of HTTP begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waiting for a request.
    Idle = 0,
    /// A request has begun to arrive.
    Head = 1,
    /// A request is being answered; its own time-outs apply.
    Busy = 2,
}

/// The phase of a connection, shared by its stream and whoever answers its requests.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// The phase in the two low bits; above them a count of changes, so that a deadline is never
    /// taken for the one of an earlier phase of the same name.
    state: AtomicU64,
    is_tls: AtomicBool,
    /// A request has reached its service, and its answer may still have to be written.
    is_answer_owed: AtomicBool,
}

impl Activity {
    /// A request is being answered.
    pub(crate) fn busy(&self) {
        self.is_answer_owed.store(true, Ordering::Relaxed);
        self.enter(Phase::Busy);
    }

    /// The request is answered.
    pub(crate) fn idle(&self) {
        self.enter(Phase::Idle);
    }

    /// Returns whether the peer spoke TLS, which is not spoken here.
    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls.load(Ordering::Relaxed)
    }

    fn enter(&self, phase: Phase) {
        let turn = (self.state.load(Ordering::Relaxed) >> 2).wrapping_add(1);
        self.state.store((turn << 2) | phase as u64, Ordering::Relaxed);
    }

    fn state(&self) -> u64 {
        self.state.load(Ordering::Relaxed)
    }
}

fn is_phase(state: u64, phase: Phase) -> bool {
    state & 3 == phase as u64
}

/// A deadline that is allocated when it is first needed.
#[derive(Default)]
struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    fn arm(&mut self, after_ms: u64) {
        let at = Instant::now() + Duration::from_millis(after_ms);
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.0 = Some(Box::pin(sleep_until(at))),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into()),
            None => Poll::Pending,
        }
    }
}

/// The stream of one connection.
pub(crate) struct Timed<S> {
    stream: Take<S>,
    activity: Arc<Activity>,
    is_first_byte: bool,
    read: Deadline,
    /// The state for which `read` was armed.
    read_state: Option<u64>,
    write: Deadline,
    is_write_armed: bool,
    /// Whether anything was written since the last request reached its service.
    has_written: bool,
    dresser: Dresser,
    dressed: Option<Dressed>,
}

/// A refusal that is written in place of hyper's own.
struct Dressed {
    text: Vec<u8>,
    written_bytes: usize,
    /// The bytes that hyper will believe to have been written.
    in_place_of_bytes: usize,
}

impl<S: AsyncRead> Timed<S> {
    pub(crate) fn new(stream: S, activity: Arc<Activity>, dresser: Dresser) -> Self {
        Self {
            stream: stream.take(READ_BYTES_MAX),
            activity,
            is_first_byte: true,
            read: Deadline::default(),
            read_state: None,
            write: Deadline::default(),
            is_write_armed: false,
            has_written: false,
            dresser,
            dressed: None,
        }
    }

    /// Gives the stream back, for a protocol with time-outs of its own.
    pub(crate) fn into_inner(self) -> S {
        self.stream.into_inner()
    }

    fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(first) = bytes.first() else { return Ok(()) };
        if self.is_first_byte && *first == TLS_HANDSHAKE {
            self.activity.is_tls.store(true, Ordering::Relaxed);
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.is_first_byte = false;
        if is_phase(self.activity.state(), Phase::Idle) {
            self.activity.enter(Phase::Head);
            // What arrives before the last answer was written is not waited for by it.
            if self.has_written {
                self.has_written = false;
                self.activity.is_answer_owed.store(false, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let state = self.activity.state();
        if is_phase(state, Phase::Busy) {
            return Poll::Pending;
        }
        if self.read_state != Some(state) {
            let after_ms = if is_phase(state, Phase::Idle) { IDLE_MS_MAX } else { HEAD_MS_MAX };
            self.read.arm(after_ms);
            self.read_state = Some(state);
        }
        self.read.poll(cx)
    }

    /// Passes the outcome of a write on, unless nothing was taken for too long.
    fn watch_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.has_written = true;
            self.is_write_armed = false;
            return outcome;
        }
        if !self.is_write_armed {
            self.write.arm(WRITE_STALL_MS_MAX);
            self.is_write_armed = true;
        }
        self.write.poll(cx).map(Err)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Timed<S> {
    /// Writes a dressed refusal when `bytes` are a bare one; nothing when they are not.
    fn poll_dressed(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        if self.dressed.is_none() {
            if self.activity.is_answer_owed.load(Ordering::Relaxed) {
                return None;
            }
            let text = (self.dresser)(&Bare::parse(bytes)?)?;
            let in_place_of_bytes = bytes.len();
            self.dressed = Some(Dressed { text, written_bytes: 0, in_place_of_bytes });
        }
        let dressed = self.dressed.as_mut()?;
        while dressed.written_bytes < dressed.text.len() {
            let rest = &dressed.text[dressed.written_bytes..];
            match Pin::new(self.stream.get_mut()).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => {
                    return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(count)) => dressed.written_bytes += count,
                other => return Some(other),
            }
        }
        let in_place_of_bytes = dressed.in_place_of_bytes;
        self.dressed = None;
        Some(Poll::Ready(Ok(in_place_of_bytes)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let start = buf.filled().len();
        this.stream.set_limit(READ_BYTES_MAX);
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => Poll::Ready(this.received(&buf.filled()[start..])),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Ready(Err(ready!(this.poll_read_deadline(cx)))),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = match this.poll_dressed(cx, buf) {
            Some(outcome) => outcome,
            None => Pin::new(this.stream.get_mut()).poll_write(cx, buf),
        };
        this.watch_write(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        let outcome = match this.poll_dressed(cx, first) {
            Some(outcome) => outcome,
            None => Pin::new(this.stream.get_mut()).poll_write_vectored(cx, bufs),
        };
        this.watch_write(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(this.stream.get_mut()).poll_flush(cx);
        this.watch_write(cx, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(this.stream.get_mut()).poll_shutdown(cx);
        this.watch_write(cx, outcome)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const PIPE_BYTES: usize = 16;

    fn connection() -> (DuplexStream, Timed<DuplexStream>, Arc<Activity>) {
        let (peer, stream) = duplex(PIPE_BYTES);
        let activity = Arc::new(Activity::default());
        (peer, Timed::new(stream, activity.clone(), Arc::new(|_| None)), activity)
    }

    /// Returns how long a read waited before it gave up.
    async fn waited_ms(timed: &mut Timed<DuplexStream>) -> u128 {
        let start = Instant::now();
        let error = timed.read_u8().await.expect_err("nothing arrives");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        start.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_kept_longer_than_pools_keep_theirs() {
        let (_peer, mut timed, _) = connection();
        assert_eq!(waited_ms(&mut timed).await, u128::from(IDLE_MS_MAX));
        const { assert!(IDLE_MS_MAX >= 75_000) };
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_has_begun_must_come_soon() {
        let (mut peer, mut timed, _) = connection();
        peer.write_all(b"G").await.unwrap();
        timed.read_u8().await.unwrap();
        assert_eq!(waited_ms(&mut timed).await, u128::from(HEAD_MS_MAX));
    }

    #[tokio::test]
    async fn a_read_takes_in_a_bounded_part_and_the_next_one_more() {
        let most = usize::try_from(READ_BYTES_MAX).unwrap();
        let (mut peer, stream) = duplex(4 * most);
        let mut timed = Timed::new(stream, Arc::default(), Arc::new(|_| None));
        peer.write_all(&vec![0; 2 * most + 1]).await.unwrap();
        let mut bytes = vec![0; 4 * most];
        for taken in [most, most, 1] {
            assert_eq!(timed.read(&mut bytes).await.unwrap(), taken);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_idle_time_counts_anew() {
        let (mut peer, mut timed, activity) = connection();
        for _ in 0..3 {
            let wait = Duration::from_millis(IDLE_MS_MAX - 1_000);
            assert!(tokio::time::timeout(wait, timed.read_u8()).await.is_err());
            peer.write_all(b"G").await.unwrap();
            timed.read_u8().await.unwrap();
            activity.busy();
            activity.idle();
        }
        assert_eq!(waited_ms(&mut timed).await, u128::from(IDLE_MS_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn no_read_deadline_runs_while_a_request_is_answered() {
        let (_peer, mut timed, activity) = connection();
        activity.busy();
        let wait = Duration::from_millis(10 * IDLE_MS_MAX);
        assert!(tokio::time::timeout(wait, timed.read_u8()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (_peer, mut timed, _) = connection();
        let start = Instant::now();
        let error = timed.write_all(&[0; 2 * PIPE_BYTES]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_millis(), u128::from(WRITE_STALL_MS_MAX));
    }

    #[tokio::test]
    async fn only_what_answers_no_request_is_dressed() {
        const BARE: &[u8] = b"HTTP/1.1 400 Bad Request\r\ndate: x\r\n\r\n";
        let (mut peer, stream) = duplex(1024);
        let activity = Arc::new(Activity::default());
        let dresser: Dresser = Arc::new(|_| Some(b"dressed".to_vec()));
        let mut timed = Timed::new(stream, activity.clone(), dresser);
        for (is_answer, expected) in [(true, BARE), (false, b"dressed"), (true, BARE)] {
            peer.write_all(b"G").await.unwrap();
            timed.read_u8().await.unwrap();
            if is_answer {
                activity.busy();
                activity.idle();
            }
            timed.write_all(BARE).await.unwrap();
            let mut heard = vec![0; expected.len()];
            peer.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, expected);
            activity.idle();
        }
    }

    #[tokio::test]
    async fn a_tls_hello_is_recognised_by_its_first_byte_only() {
        let (mut peer, mut timed, activity) = connection();
        peer.write_all(&[TLS_HANDSHAKE, 3, 1]).await.unwrap();
        assert!(timed.read_u8().await.is_err());
        assert!(activity.is_tls());
        let (mut peer, mut timed, activity) = connection();
        peer.write_all(&[b'G', TLS_HANDSHAKE]).await.unwrap();
        assert_eq!(timed.read_u8().await.unwrap(), b'G');
        assert_eq!(timed.read_u8().await.unwrap(), TLS_HANDSHAKE);
        assert!(!activity.is_tls());
    }
}

//! Accepts connections and speaks HTTP/1.1 on them, for the API and the admin listener.
//!
//! Invariants: connections are bounded and one over the bound waits in the backlog; no failure of
//! one connection or of `accept` ends the loop; a drain stops accepting at once, lets requests in
//! flight finish and closes idle connections.

use std::convert::Infallible;
use std::io;
use std::iter;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::admission::Turn;
use crate::drain::{Drain, Guard, Tasks};
use crate::refusal::{Bare, Dresser};
use crate::threads::{self, Threads};
use crate::timed::{Activity, HEAD_MS_MAX, Timed};
use crate::tls::Tls;
use crate::transport::Transport;

/// Connections that the kernel completes before they are accepted: after a restart everybody comes at
/// once, and who finds no room waits a second. The kernel has a bound of its own.
const BACKLOG: u32 = 4096;
/// What hyper may buffer of a head. Above the limits of `request`, which answers with a body.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Connections that are accepted before any of them is served.
const CROWD_MAX: usize = 1024;
/// The pause after a failed accept: out of file descriptors is a state, not a moment.
const ACCEPT_PAUSE_MS: u64 = 100;
/// How often the same trouble is told.
const NOTICE_PAUSE_MS: u64 = 60_000;

/// A body that is complete when the answer is.
pub(crate) type Body = Full<Bytes>;
/// The stream under an upgraded connection.
pub(crate) type Stream = TokioIo<Timed<Transport>>;

/// Answers the requests of a listener.
pub(crate) trait Service: Send + Sync + 'static {
    fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// Returns the answer for what hyper refuses by itself, if it is not to be hyper's own.
    fn refuse(&self, _bare: &Bare<'_>) -> Option<Vec<u8>> {
        None
    }
}

/// An accepted stream, its place among the connections, and what a drain waits for.
type Accepted = (StdStream, OwnedSemaphorePermit, Guard);

/// A place among the connections, and one on a thread.
pub(crate) struct Held {
    _permit: OwnedSemaphorePermit,
    _thread: threads::Place,
}

/// One accepted connection.
pub(crate) struct Connection {
    /// The server's side of it.
    pub(crate) local: SocketAddr,
    /// What it takes up; an upgrade takes it along.
    pub(crate) held: Arc<Held>,
    pub(crate) turn: Turn,
    activity: Arc<Activity>,
}

/// Opens a listener whose address can be taken again right after a restart.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// One listener and all that its connections share.
pub(crate) struct Front<S> {
    pub(crate) service: Arc<S>,
    /// The places of connections, which several listeners may share.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) drain: Drain,
    /// Each connection holds a guard of it to its end.
    pub(crate) tasks: Tasks,
    /// Where connections are served.
    pub(crate) threads: Arc<Threads>,
}

impl<S> Clone for Front<S> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            places: self.places.clone(),
            tls: self.tls.clone(),
            drain: self.drain.clone(),
            tasks: self.tasks.clone(),
            threads: self.threads.clone(),
        }
    }
}

/// A listener on the thread that accepts.
pub(crate) struct Door {
    listener: TcpListener,
    /// The same socket, from which a crowd is accepted without registering each stream with that
    /// thread too.
    crowded: StdListener,
}

impl Door {
    pub(crate) fn new(listener: TcpListener, threads: &Threads) -> io::Result<Self> {
        let listener = listener.into_std()?;
        let crowded = listener.try_clone()?;
        let _inside = threads.enter_door();
        Ok(Self { listener: TcpListener::from_std(listener)?, crowded })
    }
}

/// Accepts connections until the drain starts.
pub(crate) async fn serve<S: Service>(door: Door, front: Front<S>) {
    let mut drain = front.drain.clone();
    let (accept_notice, connection_notice) = (Notice::default(), Arc::new(Notice::default()));
    loop {
        let permit = tokio::select! {
            () = drain.started() => return,
            permit = front.places.clone().acquire_owned() => permit,
        };
        let Ok(permit) = permit else { return };
        let guard = front.tasks.guard();
        let accepted = tokio::select! {
            () = drain.started() => return,
            accepted = door.listener.accept() => accepted,
        };
        match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => {
                // Whoever else waits is taken before any is served, so that a storm does not outgrow
                // the backlog.
                let more = (1..CROWD_MAX).map_while(|_| front.accept_now(&door.crowded));
                front.serve(iter::once((stream, permit, guard)).chain(more), &connection_notice);
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                if accept_notice.is_due(Instant::now()) {
                    tracing::warn!(%error, "cannot accept connections");
                }
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}

impl<S: Service> Front<S> {
    /// Accepts a connection if one waits and there is a place for it. A failure that lasts is met by
    /// the `accept` that waits.
    fn accept_now(&self, listener: &StdListener) -> Option<Accepted> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        let guard = self.tasks.guard();
        let (stream, _) = listener.accept().ok()?;
        Some((stream, permit, guard))
    }

    /// Serves connections to their ends, each on a thread.
    fn serve(&self, crowd: impl Iterator<Item = Accepted>, notice: &Arc<Notice>) {
        let (service, tls, drain) = (self.service.clone(), self.tls.clone(), self.drain.clone());
        let notice = notice.clone();
        self.threads.spawn_each(crowd.collect(), move |(stream, permit, guard), thread| {
            let held = Held { _permit: permit, _thread: thread };
            let (service, tls, drain) = (service.clone(), tls.clone(), drain.clone());
            let notice = notice.clone();
            async move {
                let _guard = guard;
                let (stream, connection) = match prepare(stream, held) {
                    Ok(prepared) => prepared,
                    Err(error) => return notice.tell_unserved(&error),
                };
                if let Some(transport) = shake(stream, tls, drain.clone(), &notice).await {
                    run(service, transport, connection, drain, &notice).await;
                }
            }
        });
    }
}

/// Returns whether the peer went away before it was accepted, which is no trouble of ours.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
    )
}

/// Takes a connection over on the thread that serves it.
fn prepare(stream: StdStream, held: Held) -> io::Result<(TcpStream, Connection)> {
    stream.set_nonblocking(true)?;
    let stream = TcpStream::from_std(stream)?;
    // Small answers and frames must not wait for an acknowledgement.
    stream.set_nodelay(true)?;
    let connection = Connection {
        local: stream.local_addr()?,
        held: Arc::new(held),
        turn: Turn::default(),
        activity: Arc::new(Activity::default()),
    };
    Ok((stream, connection))
}

/// Takes the handshake of TLS where the listener has it; none when there is nobody to talk to.
async fn shake(
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    mut drain: Drain,
    notice: &Notice,
) -> Option<Transport> {
    let Some(tls) = tls else { return Some(Transport::Plain(stream)) };
    let handshake = timeout(Duration::from_millis(HEAD_MS_MAX), tls.accept(stream));
    let outcome = tokio::select! {
        () = drain.started() => return None,
        outcome = handshake => outcome,
    };
    match outcome {
        Ok(Ok(transport)) => Some(transport),
        Ok(Err(error)) => {
            // Clients that do not trust the certificate, and those that speak plain HTTP.
            if notice.is_due(Instant::now()) {
                tracing::warn!(%error, "a client on the TLS port made no handshake");
            }
            None
        }
        Err(_) => None,
    }
}

/// Speaks HTTP on one connection to its end, or until it is upgraded.
async fn run<S: Service>(
    service: Arc<S>,
    stream: Transport,
    connection: Connection,
    mut drain: Drain,
    notice: &Notice,
) {
    let connection = Arc::new(connection);
    let refuser = service.clone();
    let dresser: Dresser = Arc::new(move |bare| refuser.refuse(bare));
    let io = TokioIo::new(Timed::new(stream, connection.activity.clone(), dresser));
    let activity = connection.activity.clone();
    let service = service_fn(move |request| {
        let (service, connection) = (service.clone(), connection.clone());
        async move {
            connection.activity.busy();
            let response = service.answer(request, &connection).await;
            connection.activity.idle();
            Ok::<_, Infallible>(response)
        }
    });
    // hyper's own bound of 100 headers stays: another one costs two allocations of its size for each
    // request, and real clients send fewer than thirty.
    let serving = http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(BUFFER_BYTES_MAX)
        .header_read_timeout(None)
        .serve_connection(io, service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let outcome = tokio::select! {
        outcome = serving.as_mut() => outcome,
        () = drain.started() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if activity.is_tls() && notice.is_due(Instant::now()) {
        tracing::warn!(
            "a client speaks TLS to the plain HTTP port: use http:// for this address, or the \
             address of --tls-listen"
        );
    } else if let Err(error) = outcome {
        tracing::trace!(%error, "connection ended");
    }
}

/// Keeps a trouble that repeats from filling the log.
#[derive(Default)]
struct Notice {
    last: Mutex<Option<Instant>>,
}

impl Notice {
    fn tell_unserved(&self, error: &io::Error) {
        if !is_of_the_peer(error) && self.is_due(Instant::now()) {
            tracing::warn!(%error, "cannot serve a connection");
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = Duration::from_millis(NOTICE_PAUSE_MS);
        let due = last.is_none_or(|last| now.duration_since(last) >= pause);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_trouble_is_told_once_a_minute() {
        let notice = Notice::default();
        let start = Instant::now();
        assert!(notice.is_due(start));
        assert!(!notice.is_due(start + Duration::from_millis(NOTICE_PAUSE_MS - 1)));
        assert!(notice.is_due(start + Duration::from_millis(NOTICE_PAUSE_MS)));
    }

    #[tokio::test]
    async fn a_taken_port_is_refused() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = bind(first.local_addr().unwrap()).expect_err("the port is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}

//! NATS: bytes to subjects, and whether the server is there.
//!
//! Invariants: nothing here waits for a server that is away: what cannot be sent at once is refused,
//! and the caller has other means; what a subscription cannot hold is dropped by the client, which
//! is told through [`State::dropped`]; secrets are never shown.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, io};

use async_nats::client::RequestErrorKind;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

mod address;

/// How often the server is asked whether it is there; two questions without an answer end a connection.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bounds of the pause between attempts.
const PAUSE_MIN_MS: u64 = 50;
const PAUSE_MAX_MS: u64 = 1_000;
/// Messages that may wait on their way to the server.
const OUTBOUND_MAX: usize = 1_024;
/// Messages of a subscription that may wait to be taken; further ones are dropped.
const INBOUND_MAX: usize = 2_048;
/// How long a message waits for a place among those on their way.
const PLACE_TIMEOUT: Duration = Duration::from_millis(100);

/// Where the servers are and how they are entered.
#[derive(Clone, Default)]
pub struct Options {
    /// `nats://host:port`, several with commas; user and password, or a token, may stand in it.
    pub url: Zeroizing<String>,
    /// The user, unless it stands in the URL.
    pub user: Option<String>,
    /// His password.
    pub password: Option<Zeroizing<String>>,
    /// A token, in place of user and password.
    pub token: Option<Zeroizing<String>>,
    /// The file of the authorities that the servers' certificates may come from; turns TLS on.
    pub ca: Option<PathBuf>,
    /// The file of a client certificate.
    pub client_cert: Option<PathBuf>,
    /// The file of its key.
    pub client_key: Option<PathBuf>,
    /// How the servers name this connection.
    pub name: String,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        let mut shown = f.debug_struct("Options");
        shown.field("url", &"***").field("ca", &self.ca).field("name", &self.name);
        shown.finish_non_exhaustive()
    }
}

/// Why a bus cannot be used. One that is merely away is no error.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is none.
    #[error("the NATS URL cannot be read")]
    Url,
    /// Settings that do not go together.
    #[error("{0}")]
    Setting(&'static str),
    /// The server lets nobody in with these credentials.
    #[error("the NATS server refuses the credentials")]
    Refused,
    /// The certificates do not fit.
    #[error("TLS to the NATS server fails")]
    Tls(#[source] async_nats::ConnectError),
}

/// Says that a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The server is away, or takes nothing.
    #[error("the NATS server is away")]
    Away,
    /// The server takes no message of this size.
    #[error("the message is too large for the NATS server")]
    TooLarge,
}

/// What the connection says of itself.
#[derive(Debug, Default)]
pub struct State {
    dropped: AtomicU64,
}

impl State {
    /// Returns how often messages were dropped because a subscription was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// A connection that is made again whenever it is lost.
#[derive(Clone)]
pub struct Nats {
    client: Client,
    state: Arc<State>,
    connected: watch::Receiver<bool>,
}

/// What arrives at a subject.
pub struct Subscription(Subscriber);

impl Nats {
    /// Connects. A server that is away is looked for from now on; one that refuses us is an error.
    ///
    /// # Errors
    /// When the settings cannot work.
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        let addresses = address::read(options)?;
        let state = Arc::new(State::default());
        let (sender, connected) = watch::channel(false);
        let prepared = prepare(options, &addresses, state.clone(), sender)?;
        let servers = addresses.servers;
        let attempt = prepared.clone().connect(servers.clone()).await;
        let client = match attempt {
            Ok(client) => client,
            Err(error) => {
                match error.kind() {
                    ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                        return Err(OpenError::Refused);
                    }
                    ConnectErrorKind::Tls => return Err(OpenError::Tls(error)),
                    ConnectErrorKind::ServerParse => return Err(OpenError::Url),
                    _ if is_of_tls(&error) => return Err(OpenError::Tls(error)),
                    _ => {}
                }
                tracing::warn!("the NATS server is away; it is looked for");
                let later = prepared.retry_on_initial_connect().connect(servers).await;
                later.map_err(OpenError::Tls)?
            }
        };
        Ok(Self { client, state, connected })
    }

    /// Sends a message, if the server is there to take it.
    ///
    /// # Errors
    /// When it is not.
    pub async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), NotSent> {
        if !*self.connected.borrow() {
            return Err(NotSent::Away);
        }
        if payload.len() > self.client.max_payload() {
            return Err(NotSent::TooLarge);
        }
        let sent = timeout(PLACE_TIMEOUT, self.client.publish(subject.to_owned(), payload)).await;
        sent.map_err(|_| NotSent::Away)?.map_err(|_| NotSent::Away)
    }

    /// Returns the largest message that the server takes.
    #[must_use]
    pub fn payload_bytes_max(&self) -> usize {
        self.client.max_payload()
    }

    /// Listens to a subject, across reconnections.
    ///
    /// # Errors
    /// When the connection was closed for good.
    pub async fn subscribe(&self, subject: &str) -> Result<Subscription, NotSent> {
        let subscribed = self.client.subscribe(subject.to_owned()).await;
        subscribed.map(Subscription).map_err(|_| NotSent::Away)
    }

    /// Returns what the connection counts.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.clone()
    }

    /// Returns whether the connection is there, and tells of changes.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// Asks the server for an answer, which comes behind all that was sent before. Nobody may listen to
    /// `subject`.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn ping(&self, subject: &str) -> Result<Duration, NotSent> {
        if !*self.connected.borrow() {
            return Err(NotSent::Away);
        }
        let begin = Instant::now();
        let asked = self.client.request(subject.to_owned(), Bytes::new());
        match timeout(PING_INTERVAL, asked).await {
            // The server says itself that there is nobody.
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => Ok(begin.elapsed()),
            _ => Err(NotSent::Away),
        }
    }

    /// Sends what waits, as far as that goes at once.
    pub async fn flush(&self) {
        // A server that is away takes nothing more from us.
        let _ = timeout(PLACE_TIMEOUT, self.client.flush()).await;
    }
}

impl Subscription {
    /// Returns the next message; nothing when the connection was closed for good.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.0.next().await.map(|message| message.payload)
    }
}

fn prepare(
    options: &Options,
    addresses: &address::Addresses,
    state: Arc<State>,
    connected: watch::Sender<bool>,
) -> Result<ConnectOptions, OpenError> {
    let connected = Arc::new(connected);
    let mut prepared = ConnectOptions::new()
        .name(&options.name)
        .no_echo()
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_TIMEOUT)
        .client_capacity(OUTBOUND_MAX)
        .subscription_capacity(INBOUND_MAX)
        .reconnect_delay_callback(pause)
        .event_callback(move |event| {
            let (state, connected) = (state.clone(), connected.clone());
            async move { note(&event, &state, &connected) }
        });
    match &addresses.entry {
        address::Entry::Open => {}
        address::Entry::Password(user, password) => {
            prepared = prepared.user_and_password(user.clone(), password.to_string());
        }
        address::Entry::Token(token) => prepared = prepared.token(token.to_string()),
    }
    if let Some(ca) = &options.ca {
        prepared = prepared.require_tls(true).add_root_certificates(ca.clone());
    }
    match (&options.client_cert, &options.client_key) {
        (None, None) => Ok(prepared),
        (Some(_), Some(_)) if options.ca.is_none() => {
            Err(OpenError::Setting("a client certificate for NATS needs an authority file"))
        }
        (Some(cert), Some(key)) => Ok(prepared.add_client_certificate(cert.clone(), key.clone())),
        _ => Err(OpenError::Setting("a client certificate for NATS and its key go together")),
    }
}

/// Tells whether the server is there and the certificates do not fit, which the client takes for a
/// broken connection.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
        || error.source().is_some_and(is_of_tls)
}

fn pause(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    Duration::from_millis((PAUSE_MIN_MS << doublings).min(PAUSE_MAX_MS))
}

/// Takes note of what the client tells of its connection.
fn note(event: &Event, state: &State, connected: &watch::Sender<bool>) {
    match event {
        Event::Connected => {
            connected.send_replace(true);
            tracing::info!("the NATS server is there");
        }
        Event::Disconnected | Event::Closed => {
            connected.send_replace(false);
            tracing::warn!("the NATS server is away");
        }
        Event::SlowConsumer(_) => {
            state.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Event::LameDuckMode | Event::Draining => tracing::info!("the NATS server is to end"),
        Event::ServerError(error) => tracing::warn!(%error, "the NATS server complains"),
        // Each attempt that fails is one of these; that the server is away is known.
        Event::ClientError(error) => tracing::debug!(%error, "cannot connect to the NATS server"),
    }
}

/// Names servers in the client's own form.
type Servers = Vec<ServerAddr>;

#[cfg(test)]
mod tests;

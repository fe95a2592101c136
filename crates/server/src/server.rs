//! One run of the server: open everything, serve, drain.
//!
//! Invariants: listeners are bound before anything is written, so that a start that fails on a
//! port leaves no folder behind; the ready line is written once both listeners accept; what ends
//! last is what others still need: requests, then sockets, then the engine.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chat::Chat;
use store::postgres::Counts;
use store::{Clock, Engine, Entropy, SystemClock, SystemEntropy};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::admin::{self, Admin};
use crate::config::{Config, Data};
use crate::connect::Connect;
use crate::credentials::{self, Credential};
use crate::drain::{Drain, Tasks, Trigger};
use crate::endpoint::PublicEndpoint;
use crate::failure_log::FailureLog;
use crate::http::{self, Front};
use crate::jobs;
use crate::metrics::{Metrics, StoreFigures};
use crate::relay::{self, Relay, SINK_GROUPS_MAX};
use crate::request::Api;
use crate::signature::Signatures;
use crate::socket::CLOSE_MS_MAX;
use crate::tls::{self, Source, Tls};

/// How long requests in flight may take once the drain has begun.
const DRAIN_MS_MAX: u64 = 10_000;
/// How long the engine may take to finish what it accepted.
const ENGINE_CLOSE_MS_MAX: u64 = 10_000;

/// Why a start failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot listen on {0}")]
    Bind(SocketAddr, #[source] io::Error),
    #[error("cannot open the store in {}", .0.display())]
    Folder(PathBuf, #[source] store::sqlite::OpenError),
    #[error("cannot open the shared store")]
    Database(#[source] store::postgres::OpenError),
    #[error("cannot use the store")]
    Store(#[from] chat::OpenError),
    #[error(transparent)]
    Credential(#[from] credentials::Error),
    #[error("cannot speak TLS")]
    Tls(#[from] tls::Error),
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    #[error("cannot write the ready line")]
    Ready(#[source] io::Error),
}

/// Serves until a signal ends it.
pub(crate) async fn run(config: Config) -> Result<(), StartError> {
    let mut signals = Signals::new(&config).map_err(StartError::Signals)?;
    let api = bind(config.listen)?;
    let tls = config.tls.as_ref().map(|tls| bind(tls.listen)).transpose()?;
    let admin = bind(config.admin_listen)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let (sink, events) = mpsc::channel(SINK_GROUPS_MAX);
    let counts: Option<Arc<Counts>> = config.database.as_ref().map(|_| Arc::default());
    let engine = open_engine(&config, &clock, &entropy, sink, counts.clone()).await?;
    let parts = match open(config, clock, entropy, engine.clone(), events).await {
        Ok(parts) => parts,
        Err(error) => {
            engine.close().await;
            return Err(error);
        }
    };
    let renewed = parts.tls.clone().filter(|tls| tls.is_reloadable());
    let (running, ready) = parts.start(Listeners { api, tls, admin }, counts);
    writeln!(io::stdout(), "{ready}").map_err(StartError::Ready)?;
    io::stdout().flush().map_err(StartError::Ready)?;
    signals.received(renewed.as_deref()).await;
    running.drain(&*engine).await;
    Ok(())
}

/// Opens the rules over the store. The credential comes last: it is made only for a store that
/// can be used.
async fn open(
    config: Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    engine: Arc<dyn Engine>,
    events: mpsc::Receiver<Vec<store::Committed>>,
) -> Result<Parts, StartError> {
    let options = chat::Options {
        region: config.region.clone(),
        account: config.account_id.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        quotas: config.quotas.clone(),
    };
    let chat = Chat::open(engine, options).await?;
    let credential = root_credential(&config, &*entropy)?;
    let host = config.public_endpoint.as_ref().map(PublicEndpoint::host);
    let tls = config.tls.as_ref().map(|tls| Tls::open(&tls.source, host).map(Arc::new));
    let tls = tls.transpose()?;
    let signatures = Arc::new(Signatures::new(&config.region, credential, clock));
    Ok(Parts { config, chat, signatures, tls, entropy, events })
}

/// The listeners of a run.
struct Listeners {
    api: Listener,
    tls: Option<Listener>,
    admin: Listener,
}

/// A listener and the address that it got, which port 0 leaves to the system.
type Listener = (TcpListener, SocketAddr);

fn bind(address: SocketAddr) -> Result<Listener, StartError> {
    let refuse = |error| StartError::Bind(address, error);
    let listener = http::bind(address).map_err(refuse)?;
    let local = listener.local_addr().map_err(refuse)?;
    Ok((listener, local))
}

async fn open_engine(
    config: &Config,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    sink: store::Sink,
    counts: Option<Arc<Counts>>,
) -> Result<Arc<dyn Engine>, StartError> {
    let options = store::Options {
        tables: chat::tables(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        sink: Some(sink),
    };
    if let Some(database) = &config.database {
        let database =
            store::postgres::Config { counts: counts.unwrap_or_default(), ..database.engine() };
        let opened = store::postgres::open(&database, options).await;
        return opened.map_err(StartError::Database);
    }
    match &config.data {
        Data::Memory => Ok(store::memory::open(options)),
        Data::Folder(folder) => store::sqlite::open(folder, options)
            .map_err(|error| StartError::Folder(folder.clone(), error)),
    }
}

/// Returns the root credential: given, kept, or made now. One that nothing keeps is shown once.
fn root_credential(config: &Config, entropy: &dyn Entropy) -> Result<Credential, StartError> {
    if let Some(given) = &config.credential {
        return Ok(given.clone());
    }
    match &config.data {
        Data::Folder(folder) => Ok(Credential::read_or_make(folder, entropy)?),
        Data::Memory => {
            let made = Credential::generate(entropy);
            eprintln!("# the root credential of this run; it is gone with it");
            eprint!("{}", made.to_exports());
            Ok(made)
        }
    }
}

/// What a run is started from.
struct Parts {
    config: Config,
    chat: Chat,
    signatures: Arc<Signatures>,
    tls: Option<Arc<Tls>>,
    entropy: Arc<dyn Entropy>,
    events: mpsc::Receiver<Vec<store::Committed>>,
}

impl Parts {
    /// Starts every task; returns them and the ready line.
    fn start(
        self,
        Listeners { api, tls: tls_listener, admin }: Listeners,
        counts: Option<Arc<Counts>>,
    ) -> (Running, String) {
        let Self { config, chat, signatures, tls, entropy, events } = self;
        let tls_address = tls_listener.as_ref().map(|(_, address)| *address);
        warn_of(&config, api.1, tls_address, admin.1);
        let ready = ready(api.1, tls_address, admin.1);
        let figures = StoreFigures { chat: chat.clone(), counts };
        let metrics = Arc::new(Metrics::new().with_store(figures));
        let (trigger, drain) = Drain::new();
        let (requests, sockets) = (Tasks::new(), Tasks::new());
        let (relay, handle) = Relay::new(chat.clone(), events, metrics.clone());
        let relay_task = tokio::spawn(relay.run());
        let connect = Connect {
            chat: chat.clone(),
            signatures: signatures.clone(),
            relay: handle.clone(),
            metrics: metrics.clone(),
            sockets: sockets.clone(),
        };
        // Counted like a request: the engine is not closed before the last step has ended.
        let guard = requests.guard();
        tokio::spawn(jobs::run(chat.clone(), metrics.clone(), drain.clone(), guard));
        let service = Api {
            chat,
            signatures,
            connect: Arc::new(connect),
            metrics: metrics.clone(),
            failures: FailureLog::default(),
            entropy,
            listener: api.1,
            tls_port: tls_address.map(|address| address.port()),
            public_endpoint: config.public_endpoint,
        };
        let probes = Admin { metrics, drain: drain.clone() };
        // Probes are answered to the end: that is how a balancer learns of the drain.
        let (admin_trigger, admin_drain) = Drain::new();
        let plain = Front {
            service: Arc::new(service),
            places: Arc::new(Semaphore::new(config.connections_max)),
            tls: None,
            drain,
            tasks: requests.clone(),
        };
        if let Some((listener, _)) = tls_listener {
            tokio::spawn(http::serve(listener, Front { tls, ..plain.clone() }));
        }
        tokio::spawn(http::serve(api.0, plain));
        let probes = Front {
            service: Arc::new(probes),
            places: Arc::new(Semaphore::new(admin::CONNECTIONS_MAX)),
            tls: None,
            drain: admin_drain,
            tasks: Tasks::new(),
        };
        tokio::spawn(http::serve(admin.0, probes));
        let running = Running {
            trigger,
            _admin_trigger: admin_trigger,
            requests,
            sockets,
            handle,
            relay_task,
        };
        (running, ready)
    }
}

/// The line that tells scripts where to go.
fn ready(api: SocketAddr, tls: Option<SocketAddr>, admin: SocketAddr) -> String {
    let tls = tls.map_or_else(|| "off".to_owned(), |address| format!("https://{address}"));
    format!("campanile ready api=http://{api} tls={tls} admin=http://{admin}")
}

fn warn_of(config: &Config, api: SocketAddr, tls: Option<SocketAddr>, admin: SocketAddr) {
    if !config.unknown_variables.is_empty() {
        let names = config.unknown_variables.join(", ");
        tracing::warn!("unknown variables are ignored: {names}");
    }
    if !api.ip().to_canonical().is_loopback() {
        tracing::warn!(
            "the API listens on {api}, not on loopback only: whoever has the root credential may \
             do everything, and plain HTTP hides nothing"
        );
    }
    if let Some(tls) = tls.filter(|tls| !tls.ip().to_canonical().is_loopback()) {
        tracing::warn!(
            "the API listens on {tls}, not on loopback only: whoever has the root credential may \
             do everything"
        );
    }
    if !admin.ip().to_canonical().is_loopback() {
        tracing::warn!("the admin listener on {admin} asks nobody who they are");
    }
}

/// A started server.
struct Running {
    trigger: Trigger,
    _admin_trigger: Trigger,
    requests: Tasks,
    sockets: Tasks,
    handle: relay::Handle,
    relay_task: JoinHandle<()>,
}

impl Running {
    /// Ends what runs, in the order in which it is needed.
    async fn drain(self, engine: &dyn Engine) {
        tracing::info!("draining");
        self.trigger.start();
        let requests = self.requests.finished();
        if timeout(Duration::from_millis(DRAIN_MS_MAX), requests).await.is_err() {
            tracing::warn!("requests in flight did not end in time");
        }
        self.handle.close_all().await;
        // A socket that is closing ends itself within its own time.
        let _ = timeout(Duration::from_millis(2 * CLOSE_MS_MAX), self.sockets.finished()).await;
        if timeout(Duration::from_millis(ENGINE_CLOSE_MS_MAX), engine.close()).await.is_err() {
            tracing::error!("the store did not close in time");
        }
        self.relay_task.abort();
        tracing::info!("stopped");
    }
}

/// The signals that end the server. They are caught from the start on, so that none is lost.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Caught only where it has a meaning; elsewhere it ends the process, as it always does.
    hang_up: Option<Signal>,
}

impl Signals {
    fn new(config: &Config) -> io::Result<Self> {
        let renews = matches!(&config.tls, Some(tls) if matches!(tls.source, Source::Files { .. }));
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: renews.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    /// Returns once the server is to end; meanwhile SIGHUP renews the certificate.
    async fn received(&mut self, renewed: Option<&Tls>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                () = hung_up(self.hang_up.as_mut()) => match renewed.map(Tls::reload) {
                    Some(Ok(())) => tracing::info!("the certificate was read again"),
                    Some(Err(error)) => {
                        let error = anyhow::Error::new(error);
                        tracing::error!("the certificate stays as it was: {error:#}");
                    }
                    None => {}
                },
            }
        }
    }
}

async fn hung_up(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

//! One run of the server: open everything, serve, drain.
//!
//! Invariants: listeners are bound before anything is written, so that a start that fails on a
//! port leaves no folder behind; the ready line is written once all listeners accept; what a stack
//! needs to end is kept until it has ended.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use store::{Clock, Entropy, SystemClock, SystemEntropy};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::admin::{self, Admin};
use crate::bus;
use crate::config::{self, Config, Data, Mode};
use crate::control::Control;
use crate::credentials::{self, Credential};
use crate::dev::{Dev, DevAdmin, DevClock};
use crate::drain::{Drain, Tasks};
use crate::endpoint::PublicEndpoint;
use crate::http::{self, Door, Front, Service};
use crate::stack::{Ground, Opened, Stack};
use crate::threads::{self, Threads};
use crate::tls::{self, Tls};

mod signals;

use signals::Signals;

/// Why a start failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot listen on {0}")]
    Bind(SocketAddr, #[source] io::Error),
    #[error("cannot open the store in {}", .0.display())]
    Folder(PathBuf, #[source] store::sqlite::OpenError),
    #[error("cannot open the shared store")]
    Database(#[source] store::postgres::OpenError),
    #[error("cannot join the other nodes")]
    Bus(#[from] bus::StartError),
    #[error("cannot use the store")]
    Store(#[from] chat::OpenError),
    #[error("cannot read the access keys")]
    Keys(#[source] wire::Error),
    #[error(transparent)]
    Credential(#[from] credentials::Error),
    #[error("cannot speak TLS")]
    Tls(#[from] tls::Error),
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    #[error("cannot start the threads of connections")]
    Threads(#[source] io::Error),
    #[error("cannot write the ready line")]
    Ready(#[source] io::Error),
}

/// Serves until a signal ends it.
pub(crate) async fn run(config: Config) -> Result<(), StartError> {
    let mut signals = Signals::new(&config).map_err(StartError::Signals)?;
    let listeners = Listeners::bind(&config)?;
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let dev_clock = (config.mode == Mode::Dev).then(|| Arc::new(DevClock::default()));
    let clock: Arc<dyn Clock> = match &dev_clock {
        Some(clock) => clock.clone(),
        None => Arc::new(SystemClock),
    };
    let opened = Opened::open(&config, clock, entropy.clone()).await?;
    let prepared = match Prepared::new(config, entropy, &opened, &listeners).await {
        Ok(prepared) => prepared,
        Err(error) => {
            opened.engine.close().await;
            return Err(error);
        }
    };
    warn_of(&prepared.ground.config, &listeners, prepared.is_root_alone);
    let ready = ready(&listeners);
    let Prepared { ground, tls, control, .. } = prepared;
    let renewed = tls.clone().filter(|tls| tls.is_reloadable());
    let authority = tls.as_ref().and_then(|tls| tls.authority()).map(str::to_owned);
    let (trigger, drain) = Drain::new();
    // Probes are answered to the end: that is how a balancer learns of the drain.
    let (_admin_trigger, admin_drain) = Drain::new();
    let doors = Doors {
        listeners,
        tls,
        places: Arc::new(Semaphore::new(ground.config.connections_max)),
        drain: drain.clone(),
        admin_drain,
        connections: Tasks::new(),
        threads: ground.threads.clone(),
    };
    let connections = doors.connections.clone();
    let mut stack = Arc::new(Stack::start(opened, &ground));
    if let Some(control) = control {
        tokio::spawn(control.run(stack.chat.clone(), drain.clone(), stack.work.guard()));
    }
    let dev = dev_clock.map(|clock| Arc::new(Dev::new(ground, stack.clone(), clock)));
    match &dev {
        None => {
            let (chat, metrics) = (stack.chat.clone(), stack.metrics.clone());
            doors.open(stack.api.clone(), Admin { chat, metrics, drain })?;
        }
        Some(dev) => doors.open(dev.clone(), DevAdmin { dev: dev.clone(), drain, authority })?,
    }
    writeln!(io::stdout(), "{ready}").map_err(StartError::Ready)?;
    io::stdout().flush().map_err(StartError::Ready)?;
    signals.received(renewed.as_deref()).await;
    tracing::info!("draining");
    trigger.start();
    if let Some(dev) = dev {
        stack = dev.stack();
    }
    stack.drain(&connections).await;
    tracing::info!("stopped");
    Ok(())
}

/// What is read or made once the store is open.
struct Prepared {
    ground: Ground,
    tls: Option<Arc<Tls>>,
    control: Option<Control>,
    /// No other key was made yet.
    is_root_alone: bool,
}

impl Prepared {
    /// The credential is made only for a store that can be used.
    async fn new(
        config: Config,
        entropy: Arc<dyn Entropy>,
        opened: &Opened,
        listeners: &Listeners,
    ) -> Result<Self, StartError> {
        let credential = root_credential(&config, &*entropy)?;
        let keys = opened.chat.access_keys(None).await.map_err(StartError::Keys)?;
        let host = config.public_endpoint.as_ref().map(PublicEndpoint::host);
        let tls = config.tls.as_ref().map(|tls| Tls::open(&tls.source, host).map(Arc::new));
        let tls = tls.transpose()?;
        let control = control(&config);
        let listener = listeners.api.1;
        let tls_port = listeners.tls.as_ref().map(|(_, address)| address.port());
        let threads = Threads::start(threads::processors()).map_err(StartError::Threads)?;
        let threads = Arc::new(threads);
        let runtime = Handle::current();
        let ground = Ground { config, entropy, credential, listener, tls_port, threads, runtime };
        Ok(Self { ground, tls, control, is_root_alone: keys.is_empty() })
    }
}

/// Opens the socket of the command line, which needs it while this server holds the folder.
fn control(config: &Config) -> Option<Control> {
    let Data::Folder(folder) = &config.data else { return None };
    if config.database.is_some() {
        return None;
    }
    let opened = Control::bind(folder);
    if let Err(error) = &opened {
        tracing::warn!(%error, "access keys cannot be managed while this server runs");
    }
    opened.ok()
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

/// The listeners of a run.
struct Listeners {
    api: Listener,
    tls: Option<Listener>,
    admin: Listener,
}

/// A listener and the address that it got, which port 0 leaves to the system.
type Listener = (TcpListener, SocketAddr);

impl Listeners {
    fn bind(config: &Config) -> Result<Self, StartError> {
        let api = bind(config.listen)?;
        let tls = config.tls.as_ref().map(bind_tls).transpose()?;
        Ok(Self { api, tls, admin: bind(config.admin_listen)? })
    }

    fn tls_address(&self) -> Option<SocketAddr> {
        self.tls.as_ref().map(|(_, address)| *address)
    }
}

fn bind_tls(tls: &config::Tls) -> Result<Listener, StartError> {
    match bind(tls.listen) {
        Err(StartError::Bind(address, error))
            if tls.any_port_will_do && error.kind() == io::ErrorKind::AddrInUse =>
        {
            bind(SocketAddr::new(address.ip(), 0))
        }
        bound => bound,
    }
}

fn bind(address: SocketAddr) -> Result<Listener, StartError> {
    let refuse = |error| StartError::Bind(address, error);
    let listener = http::bind(address).map_err(refuse)?;
    let local = listener.local_addr().map_err(refuse)?;
    Ok((listener, local))
}

/// The listeners, and what their connections share.
struct Doors {
    listeners: Listeners,
    tls: Option<Arc<Tls>>,
    /// The places of connections of the API.
    places: Arc<Semaphore>,
    drain: Drain,
    admin_drain: Drain,
    connections: Tasks,
    threads: Arc<Threads>,
}

impl Doors {
    /// Starts to accept.
    fn open(self, api: Arc<impl Service>, probes: impl Service) -> Result<(), StartError> {
        let Listeners { api: plain_listener, tls: tls_listener, admin } = self.listeners;
        let threads = self.threads;
        let plain = Front {
            service: api,
            places: self.places,
            tls: None,
            drain: self.drain,
            tasks: self.connections,
            threads: threads.clone(),
        };
        let door = |(listener, _)| Door::new(listener, &threads).map_err(StartError::Threads);
        if let Some(listener) = tls_listener {
            let front = Front { tls: self.tls, ..plain.clone() };
            threads.spawn_door(http::serve(door(listener)?, front));
        }
        threads.spawn_door(http::serve(door(plain_listener)?, plain));
        let probes = Front {
            service: Arc::new(probes),
            places: Arc::new(Semaphore::new(admin::CONNECTIONS_MAX)),
            tls: None,
            drain: self.admin_drain,
            tasks: Tasks::new(),
            threads: threads.clone(),
        };
        threads.spawn_door(http::serve(door(admin)?, probes));
        Ok(())
    }
}

/// The line that tells scripts where to go.
fn ready(listeners: &Listeners) -> String {
    let (api, admin) = (listeners.api.1, listeners.admin.1);
    let tls = listeners
        .tls_address()
        .map_or_else(|| "off".to_owned(), |address| format!("https://{address}"));
    format!("campanile ready api=http://{api} tls={tls} admin=http://{admin}")
}

fn warn_of(config: &Config, listeners: &Listeners, is_root_alone: bool) {
    let (api, tls, admin) = (listeners.api.1, listeners.tls_address(), listeners.admin.1);
    if !config.unknown_variables.is_empty() {
        let names = config.unknown_variables.join(", ");
        tracing::warn!("unknown variables are ignored: {names}");
    }
    if !api.ip().to_canonical().is_loopback() {
        tracing::warn!("the API listens on {api}, not on loopback only: plain HTTP hides nothing");
    }
    let mut others =
        tls.into_iter().chain([api]).filter(|it| !it.ip().to_canonical().is_loopback());
    if is_root_alone && others.next().is_some() {
        tracing::warn!(
            "there is no credential but root, which may do everything: give clients keys of their \
             own with `campanile credentials create`"
        );
    }
    if !admin.ip().to_canonical().is_loopback() {
        tracing::warn!("the admin listener on {admin} asks nobody who they are");
    }
}

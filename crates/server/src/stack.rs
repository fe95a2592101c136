//! One store and all that stands on it: the rules, the relay with its sockets, the jobs, the API.
//!
//! Invariants: nothing in here is shared with another stack, so that `dev` starts afresh by putting
//! one in the place of another; what ends last is what others still need: requests, then sockets,
//! then the engine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat::Chat;
use store::postgres::{Counts, Nodes};
use store::{Clock, Engine, Entropy, SystemClock, Uid};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::admission::Admission;
use crate::bus::{Bus, Ends};
use crate::config::{Config, Data};
use crate::connect::{Connect, Places};
use crate::credentials::Credential;
use crate::drain::{Drain, Tasks, Trigger};
use crate::failure_log::FailureLog;
use crate::jobs;
use crate::metrics::{Metrics, StoreFigures};
use crate::relay::{self, Relay, SINK_GROUPS_MAX};
use crate::request::Api;
use crate::server::StartError;
use crate::signature::Signatures;
use crate::socket::CLOSE_MS_MAX;
use crate::threads::Threads;

/// How long requests in flight may take once the drain has begun.
const DRAIN_MS_MAX: u64 = 10_000;
/// How long the bus may take to tell the others what is left.
const BUS_END_MS_MAX: u64 = 3_000;
/// How long the engine may take to finish what it accepted.
const ENGINE_CLOSE_MS_MAX: u64 = 10_000;

/// An open store and the rules over it.
pub(crate) struct Opened {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) chat: Chat,
    events: mpsc::Receiver<Vec<store::Committed>>,
    counts: Option<Arc<Counts>>,
    bus: Option<(Bus, Ends)>,
}

impl Opened {
    /// Opens the store that `config` names; its rules and its stamps follow `clock`.
    pub(crate) async fn open(
        config: &Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StartError> {
        let (sink, events) = mpsc::channel(SINK_GROUPS_MAX);
        let counts: Option<Arc<Counts>> = config.database.as_ref().map(|_| Arc::default());
        let options = store::Options {
            tables: chat::tables(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            sink: Some(sink),
        };
        let node = config.bus.as_ref().map(|_| Uid::random(&*entropy));
        let engine = open_engine(config, options, counts.clone(), node).await?;
        let options = chat::Options {
            region: config.region.clone(),
            account: config.account_id.clone(),
            clock,
            entropy,
            quotas: config.quotas.clone(),
            resume_window_ms: config.resume_window_ms,
        };
        let opened = async {
            let chat = Chat::open(engine.clone(), options).await?;
            let bus = join(config, &chat, node).await?;
            Ok((chat, bus))
        };
        match opened.await {
            Ok((chat, bus)) => Ok(Self { engine, chat, events, counts, bus }),
            Err(error) => {
                engine.close().await;
                Err(error)
            }
        }
    }
}

/// Joins the other nodes, where there is a bus to them.
async fn join(
    config: &Config,
    chat: &Chat,
    node: Option<Uid>,
) -> Result<Option<(Bus, Ends)>, StartError> {
    let (Some(node), Some(database), Some(bus)) = (node, &config.database, &config.bus) else {
        return Ok(None);
    };
    let nodes = Nodes::new(&database.engine()).map_err(StartError::Database)?;
    Ok(Some(Bus::start(node, &bus.options, nodes, chat.clone()).await?))
}

async fn open_engine(
    config: &Config,
    options: store::Options,
    counts: Option<Arc<Counts>>,
    node: Option<Uid>,
) -> Result<Arc<dyn Engine>, StartError> {
    if let Some(database) = &config.database {
        let database = store::postgres::Config {
            counts: counts.unwrap_or_default(),
            node,
            ..database.engine()
        };
        let opened = store::postgres::open(&database, options).await;
        return opened.map_err(StartError::Database);
    }
    match &config.data {
        Data::Memory => Ok(store::memory::open(options)),
        Data::Folder(folder) => store::sqlite::open(folder, options)
            .map_err(|error| StartError::Folder(folder.clone(), error)),
    }
}

/// What a stack stands on, beside its store.
pub(crate) struct Ground {
    pub(crate) config: Config,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The root credential.
    pub(crate) credential: Credential,
    /// The address of the API listener.
    pub(crate) listener: SocketAddr,
    pub(crate) tls_port: Option<u16>,
    /// Where connections are served.
    pub(crate) threads: Arc<Threads>,
    /// Where everything else runs.
    pub(crate) runtime: Handle,
}

/// See the head of this file.
pub(crate) struct Stack {
    pub(crate) chat: Chat,
    pub(crate) api: Arc<Api>,
    pub(crate) metrics: Arc<Metrics>,
    /// Counts what uses the engine and is not a socket.
    pub(crate) work: Tasks,
    trigger: Trigger,
    engine: Arc<dyn Engine>,
    sockets: Tasks,
    relay: relay::Handle,
    relay_task: JoinHandle<()>,
    /// What still speaks to the other nodes.
    bus: Tasks,
}

impl Stack {
    /// Starts every task.
    pub(crate) fn start(opened: Opened, ground: &Ground) -> Self {
        let Opened { engine, chat, events, counts, bus } = opened;
        let Ground { config, entropy, credential, listener, tls_port, threads, runtime } = ground;
        // A reset starts a stack from the thread of the connection that asked for it.
        let _inside = runtime.enter();
        let figures = StoreFigures { chat: chat.clone(), counts };
        let mut metrics = Metrics::new().with_store(figures);
        if let Some((_, ends)) = &bus {
            metrics = metrics.with_bus(ends.figures.clone());
        }
        let metrics = Arc::new(metrics);
        // Clients sign with the time that it is, whatever time the rules are made to see.
        let signatures = Signatures::new(
            &config.region,
            credential.clone(),
            chat.clone(),
            Arc::new(SystemClock),
        );
        let signatures = Arc::new(signatures);
        let (trigger, drain) = Drain::new();
        let (work, sockets) = (Tasks::new(), Tasks::new());
        let places = bus.as_ref().map(|(bus, ends)| {
            let (chat, drain) = (chat.clone(), drain.clone());
            Arc::new(Places { chat, node: ends.node, dead: bus.dead(), drain })
        });
        let bus_tasks = Tasks::new();
        let ends = bus.map(|(bus, ends)| {
            let guard = bus_tasks.guard();
            tokio::spawn(async move {
                bus.run().await;
                drop(guard);
            });
            ends
        });
        let (relay_loop, relay) =
            Relay::new(chat.clone(), events, metrics.clone(), threads.clone(), ends);
        let relay_task = tokio::spawn(relay_loop.run());
        let connect = Connect {
            chat: chat.clone(),
            signatures: signatures.clone(),
            relay: relay.clone(),
            metrics: metrics.clone(),
            sockets: sockets.clone(),
            places,
        };
        // Counted: the engine is not closed before the last step has ended.
        tokio::spawn(jobs::run(chat.clone(), metrics.clone(), drain, work.guard()));
        let api = Api {
            chat: chat.clone(),
            admission: Admission::new(config.requests_max),
            signatures,
            connect: Arc::new(connect),
            metrics: metrics.clone(),
            failures: FailureLog::default(),
            entropy: entropy.clone(),
            listener: *listener,
            tls_port: *tls_port,
            public_endpoint: config.public_endpoint.clone(),
        };
        let api = Arc::new(api);
        Self {
            chat,
            api,
            metrics,
            work,
            trigger,
            engine,
            sockets,
            relay,
            relay_task,
            bus: bus_tasks,
        }
    }

    /// Ends every socket, and each that is still to come.
    pub(crate) async fn close_sockets(&self) {
        self.relay.close_all().await;
    }

    /// Ends what runs, in the order in which it is needed. `connections` are those whose requests
    /// may be for this stack.
    pub(crate) async fn drain(&self, connections: &Tasks) {
        self.trigger.start();
        let requests = async {
            connections.finished().await;
            self.work.finished().await;
        };
        if timeout(Duration::from_millis(DRAIN_MS_MAX), requests).await.is_err() {
            tracing::warn!("requests in flight did not end in time");
        }
        self.close_sockets().await;
        // A socket that is closing ends itself within its own time.
        let _ = timeout(Duration::from_millis(2 * CLOSE_MS_MAX), self.sockets.finished()).await;
        let closed = timeout(Duration::from_millis(ENGINE_CLOSE_MS_MAX), self.engine.close()).await;
        if closed.is_err() {
            tracing::error!("the store did not close in time");
        }
        self.relay_task.abort();
        let _ = timeout(Duration::from_millis(BUS_END_MS_MAX), self.bus.finished()).await;
    }
}

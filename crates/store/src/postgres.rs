//! The engine for several nodes: one PostgreSQL database that they share.
//!
//! `lane` commits groups, `held` is what a group locks and writes, `reader` serves snapshots,
//! `connect` makes connections, `schema` the tables. Invariants: whoever writes below a home holds
//! its row from the first statement to the commit, on whatever node; a commit is acknowledged
//! after the server has synced it; a database that is away makes requests fail, never the node.

mod connect;
mod group_row;
mod held;
mod lane;
mod moving;
mod nodes;
mod reader;
mod schema;
mod session;
mod tls;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::engine::{Batch, BoxFuture, Engine, Entry, Event, Failure, Options, Unavailable};
use crate::figures::{Figures, Tally};
use crate::id::{Stamp, Uid};
use crate::key::Key;
use crate::publish::Publisher;
use crate::queue::{self, Job, Queue};
use crate::range::{Direction, Range};
use crate::table::Table;

use connect::{ConnectError, Connector};
use lane::Lane;
use reader::Readers;
#[cfg(test)]
pub(crate) use schema::FORMAT;

pub use group_row::{GroupRow, Place};
pub use moving::{export, import};
pub use nodes::{Lease, Nodes, Progress};
pub use tls::TlsFileError;

/// Committer lanes of a node, unless it is told otherwise: while one waits for the disk, others
/// fill the next sync.
pub const LANE_COUNT: usize = 6;
/// A lane that was silent for so long has ended; its row is removed.
const LANE_SILENCE_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// How long callers wait for the outcome of a lost COMMIT, unless it is told otherwise.
pub const SETTLE_TIME_MAX: Duration = Duration::from_secs(8);

/// Where the database is.
#[derive(Clone)]
pub struct Config {
    /// `postgres://user:password@host:port/database`; tables live in the first schema of its
    /// search path.
    pub url: String,
    /// The file of the authorities that the server's certificate may come from. With it every
    /// connection uses TLS, without it none does.
    pub ca: Option<PathBuf>,
    /// The file of a client certificate.
    pub client_cert: Option<PathBuf>,
    /// The file of its key.
    pub client_key: Option<PathBuf>,
    /// Committer lanes, at least one.
    pub lane_count: usize,
    /// How long callers wait until the outcome of a lost COMMIT is found out; those behind them
    /// wait a sixteenth of it.
    pub settle_time_max: Duration,
    /// What the lanes count.
    pub counts: Arc<Counts>,
    /// Names this node among those that tell each other of their commits: each group then keeps
    /// a row that says what it wrote. None = nobody is told.
    pub node: Option<Uid>,
}

impl Config {
    /// Creates the configuration of a database without TLS.
    pub fn new(url: impl Into<String>) -> Config {
        Config {
            url: url.into(),
            ca: None,
            client_cert: None,
            client_key: None,
            lane_count: LANE_COUNT,
            settle_time_max: SETTLE_TIME_MAX,
            counts: Arc::default(),
            node: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        let mut shown = f.debug_struct("Config");
        shown.field("url", &"***").field("ca", &self.ca).field("client_cert", &self.client_cert);
        shown.field("client_key", &self.client_key).field("lane_count", &self.lane_count).finish()
    }
}

/// What the lanes of an engine count.
#[derive(Debug, Default)]
pub struct Counts {
    /// Groups that were tried again: a deadlock, a lock held for long, a lost connection.
    pub retries: AtomicU64,
    /// Groups whose COMMIT was sent and not answered.
    pub lost_commits: AtomicU64,
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is none.
    #[error("the database URL cannot be read")]
    Url(#[source] tokio_postgres::Error),
    /// Settings that do not go together.
    #[error("{0}")]
    Setting(&'static str),
    /// A file of certificates or keys is of no use.
    #[error("the file {} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TlsFileError,
    },
    /// Nobody answers, or nobody that lets us in.
    #[error("the database cannot be reached")]
    Unreachable(#[source] tokio_postgres::Error),
    /// Somebody takes connections and says nothing.
    #[error("the database does not answer")]
    Silent,
    /// The server is set up in a way that the store must not trust.
    #[error("the database cannot be used: {0}")]
    Refused(String),
    /// A later release made the tables.
    #[error("the database has format {found}, and this release knows formats up to {known}")]
    Newer {
        /// Its format.
        found: i32,
        /// The format of this release.
        known: i32,
    },
    /// There is a store where an import was to make one.
    #[error("the database holds a store already; an import needs an empty place")]
    NotEmpty,
    /// Somebody makes the tables and does not come to an end.
    #[error("another process holds the tables of the database, perhaps an import")]
    Busy,
    /// Another program has tables of the same names.
    #[error("the schema holds tables that were not made by this program")]
    Foreign,
    /// The tables cannot be made.
    #[error("the tables of the database cannot be used")]
    Database(#[source] tokio_postgres::Error),
}

impl From<ConnectError> for OpenError {
    fn from(error: ConnectError) -> OpenError {
        match error {
            ConnectError::Driver(cause) => OpenError::Unreachable(cause),
            ConnectError::Refused(reason) => OpenError::Refused(reason),
            ConnectError::Paused | ConnectError::Silent => OpenError::Silent,
        }
    }
}

/// Opens the store in a database, and makes the tables that it lacks.
pub fn open(
    config: &Config,
    options: Options,
) -> BoxFuture<'_, Result<Arc<dyn Engine>, OpenError>> {
    // Without a type of its own the engine is compiled with this crate, and not with each program
    // that opens it.
    Box::pin(open_lanes(config, options))
}

async fn open_lanes(config: &Config, options: Options) -> Result<Arc<dyn Engine>, OpenError> {
    let connector = Arc::new(Connector::new(config)?);
    let session = connector.try_connect().await?;
    let tables = options.all_tables();
    let made: Vec<&Table> =
        tables.iter().copied().chain([&schema::LANE, &schema::COMMIT_GROUP]).collect();
    schema::create(&session, &made).await?;
    let oldest_ms = options.clock.now_ms().saturating_sub(LANE_SILENCE_MS_MAX);
    let oldest = oldest_ms.to_be_bytes().to_vec();
    let clean = session.client().execute(schema::LANE_CLEAN, &[&oldest]).await;
    clean.map_err(OpenError::Database)?;
    let readers = Readers::new(Arc::clone(&connector), &tables);
    readers.adopt(session);

    let publisher = Arc::new(Publisher::new(options.sink.clone()));
    let options = Options { sink: None, ..options };
    let tally: Arc<Tally> = Arc::default();
    let (done, watch) = watch::channel(());
    let queues: Vec<Arc<Queue>> =
        (0..config.lane_count.max(1)).map(|_| Arc::new(Queue::new())).collect();
    for (queue, number) in queues.iter().zip(0..) {
        let lane = Lane::new(
            (number, Arc::clone(queue)),
            Arc::clone(&publisher),
            options.clone(),
            config,
            Arc::clone(&connector),
            Arc::clone(&tally),
            done.clone(),
        );
        tokio::spawn(lane.run());
    }
    Ok(Arc::new(Postgres { readers, queues, publisher, options, tally, done: watch }))
}

struct Postgres {
    readers: Readers,
    /// One for each lane.
    queues: Vec<Arc<Queue>>,
    publisher: Arc<Publisher>,
    options: Options,
    tally: Arc<Tally>,
    /// Ends when all lanes have.
    done: watch::Receiver<()>,
}

impl Postgres {
    /// Returns the queue of a home's lane, always the same one.
    fn queue(&self, home: Uid) -> &Queue {
        let [.., high, low] = home.0;
        &self.queues[usize::from(u16::from_be_bytes([high, low])) % self.queues.len()]
    }

    fn is_closed(&self) -> bool {
        self.queues.iter().any(|queue| queue.is_closed())
    }

    fn close_queues(&self) {
        for queue in &self.queues {
            queue.close();
        }
    }
}

impl Engine for Postgres {
    fn get<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Option<Entry>>, Unavailable>> {
        Box::pin(self.readers.get(keys))
    }

    fn scan<'a>(
        &'a self,
        ranges: &'a [Range],
        limit: usize,
        direction: Direction,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Vec<Vec<Entry>>, Unavailable>> {
        Box::pin(self.readers.scan(ranges, limit, direction, keys_only))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Stamp, Failure>> {
        Box::pin(async move {
            if let Some(defect) = batch.defect(|table| self.readers.knows(table)) {
                return Err(Failure::Unavailable(Unavailable::new(defect)));
            }
            let (answer, outcome) = oneshot::channel();
            self.queue(batch.home).submit(Job { batch, answer }).await?;
            let lost = |_| Failure::Unknown(Unavailable::new("the committer ended"));
            outcome.await.map_err(lost)?
        })
    }

    fn publish(&self, home: Uid, events: Vec<Event>) -> BoxFuture<'_, Result<Stamp, Failure>> {
        Box::pin(async move {
            if self.is_closed() {
                return Err(Failure::Unavailable(queue::closed()));
            }
            self.publisher.publish(self.options.clock.as_ref(), home, events).await
        })
    }

    fn figures(&self) -> Figures {
        let waiting: usize = self.queues.iter().map(|queue| queue.len()).sum();
        Figures {
            waiting: u64::try_from(waiting).unwrap_or(u64::MAX),
            sink_waiting: self.publisher.waiting(),
            ..self.tally.figures()
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.readers.close();
            self.close_queues();
            let mut done = self.done.clone();
            // Nothing is ever sent: the change is that the last lane has dropped its end.
            while done.changed().await.is_ok() {}
            self.publisher.close();
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.close_queues();
    }
}

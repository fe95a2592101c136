//! The bus between nodes that share a store: what one commits, the sockets of all hear.
//!
//! The relay says what its own node has committed and hears what others have. NATS carries it at
//! once; the database is what counts: a group keeps a row until it was told for long, and whoever
//! misses a number of a lane, hears nothing of a node or has lost the bus reads the rows, then the
//! events (`repair.rs`). Invariants: nothing that was committed is silently missing on a node that
//! lives: it is told, or the sockets are closed so that their clients come back and resume; neither
//! the relay nor a commit ever waits for the bus; a bus that is away takes nothing but time.

mod fence;
mod figures;
mod gate;
mod lanes;
mod message;
mod order;
mod peers;
mod repair;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat::Chat;
use links::nats::{self, Nats, NotSent, Subscription};
use store::postgres::{LANE_COUNT, Lease, Nodes, Progress};
use store::{Clock as _, GroupNumber, SystemClock, Uid, Unavailable};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior};

pub(crate) use figures::{Figures, Shown};
pub(crate) use gate::Gate;
pub(crate) use message::{Commit, Telling};
pub(crate) use order::{Missing, Order, Overflow};
pub(crate) use peers::Dead;

use fence::{Certain, Fence};
use lanes::Lanes;
use message::Message;
use peers::Peers;
use repair::{Outcome, Reader};

/// Groups that may wait for the bus; what has no place is read from its row by the others.
const SAID_MAX: usize = 512;
/// Messages that may wait for the relay.
const HEARD_MAX: usize = 64;
/// How often the state is looked at.
const TURN: Duration = Duration::from_millis(100);
/// How often a node says that it lives, and asks whether NATS does.
const BEAT: Duration = Duration::from_secs(1);
/// How often the lease is renewed, and how long it lasts.
const RENEWAL: Duration = Duration::from_secs(2);
const LEASE: Duration = Duration::from_secs(6);
/// How long the rows of groups are kept that were told, for nodes that stood still; and of those that
/// were not, which are read meanwhile.
const ROWS_KEPT: Duration = Duration::from_secs(60);
const UNTOLD_ROWS_KEPT: Duration = Duration::from_secs(600);
/// How often old rows are removed.
const SWEEP: Duration = Duration::from_secs(5);
/// How long the bus may take for what is left when the node ends.
const END: Duration = Duration::from_secs(1);
/// Repairs of single homes at one time.
const REPAIRS_MAX: usize = 8;

/// Why a node cannot join the others.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Nats(#[from] nats::OpenError),
    #[error("cannot read the other nodes")]
    Nodes(#[source] Unavailable),
    #[error("cannot read the name of the store")]
    Store(#[source] wire::Error),
}

/// What the relay hears.
pub(crate) enum Heard {
    Commits(Vec<Commit>),
    /// A repair has told all that there is.
    Repaired(Missing),
    /// All was told that was committed before a moment.
    Certain(Certain),
    /// What was missed cannot be told any more.
    Lost,
}

/// What the relay says.
enum Said {
    Group(GroupNumber, Vec<Commit>),
    Published(Vec<Commit>),
    Missing(Missing),
    Question(u64),
}

/// The relay's ends.
pub(crate) struct Ends {
    pub(crate) node: Uid,
    pub(crate) voice: Voice,
    pub(crate) ear: mpsc::Receiver<Heard>,
    pub(crate) figures: Arc<Figures>,
    /// What was committed before is nothing that its sockets are to be told.
    pub(crate) certain: Certain,
}

/// Speaks to the bus and never waits for it.
pub(crate) struct Voice {
    said: mpsc::Sender<Said>,
    figures: Arc<Figures>,
}

impl Voice {
    /// Tells the others what was committed in a group, or published.
    pub(crate) fn tell(&self, group: Option<GroupNumber>, commits: Vec<Commit>) {
        let said = match group {
            Some(group) => {
                self.figures.committed(group);
                Said::Group(group, commits)
            }
            None => Said::Published(commits),
        };
        // Without a place it stays in its row, and the next beat tells the number.
        let _ = self.said.try_send(said);
    }

    /// Asks for what is missing of a home; asked again when that does not come.
    pub(crate) fn ask_for(&self, missing: Missing) {
        let _ = self.said.try_send(Said::Missing(missing));
    }

    /// Asks whether all is told that was committed before now; asked again likewise.
    pub(crate) fn ask(&self, question: u64) {
        let _ = self.said.try_send(Said::Question(question));
    }
}

/// What came of something that was done beside the loop.
enum Done {
    /// NATS has answered, and has all that was sent before: groups up to these.
    Pinged {
        told: Vec<GroupNumber>,
        took: Result<Duration, NotSent>,
    },
    Renewed(Result<Vec<Lease>, Unavailable>),
    Swept,
    Read(Uid, Outcome),
    /// How far all nodes have come, if the database told it.
    Asked(Option<Progress>),
}

/// See the head of this file.
pub(crate) struct Bus {
    node: Uid,
    /// The store's place among the subjects of NATS.
    subject: String,
    nats: Nats,
    subscription: Option<Subscription>,
    nodes: Arc<Nodes>,
    reader: Arc<Reader>,
    repairs: Arc<Semaphore>,
    said: mpsc::Receiver<Said>,
    heard: mpsc::Sender<Heard>,
    done: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
    lanes: Lanes,
    peers: Peers,
    fence: Fence,
    figures: Arc<Figures>,
    next_beat: Instant,
    next_renewal: Instant,
    next_sweep: Instant,
    is_pinging: bool,
}

impl Bus {
    /// Joins the nodes of a store.
    pub(crate) async fn start(
        node: Uid,
        options: &nats::Options,
        nodes: Nodes,
        chat: Chat,
    ) -> Result<(Self, Ends), StartError> {
        let store = chat.store_id().await.map_err(StartError::Store)?;
        let subject = format!("campanile.{store}");
        let nats = Nats::open(options).await?;
        // First the ear, then the numbers: what is between them is heard twice and told once.
        let subscription = nats.subscribe(&format!("{subject}.bus.>")).await.ok();
        let leases = nodes.renew(node, LEASE).await.map_err(StartError::Nodes)?;
        let now = Instant::now();
        let certain = Certain { at: now, at_ms: SystemClock.now_ms(), question: 0 };
        let (mut lanes, mut peers) = (Lanes::default(), Peers::new(node));
        let progress = nodes.progress().await.map_err(StartError::Nodes)?;
        let certain = certain.before(progress.open_for);
        for (other, group) in progress.last {
            lanes.begin(other, group);
        }
        peers.note(&leases, now);
        let (speaker, said) = mpsc::channel(SAID_MAX);
        let (heard, ear) = mpsc::channel(HEARD_MAX);
        let figures = Arc::new(Figures::new(nats.state(), nats.connected()));
        let voice = Voice { said: speaker, figures: figures.clone() };
        let ends = Ends { node, voice, ear, figures: figures.clone(), certain };
        let nodes = Arc::new(nodes);
        let reader = Reader::new(chat, nodes.clone(), heard.clone(), figures.clone());
        let bus = Self {
            node,
            subject,
            nats,
            subscription,
            nodes,
            reader: Arc::new(reader),
            repairs: Arc::new(Semaphore::new(REPAIRS_MAX)),
            said,
            heard,
            // As many as can be under way at a time, and few of them.
            done: mpsc::channel(HEARD_MAX),
            lanes,
            peers,
            fence: Fence::new(certain, now),
            figures,
            next_beat: now,
            next_renewal: now + RENEWAL,
            next_sweep: now + SWEEP,
            is_pinging: false,
        };
        Ok((bus, ends))
    }

    /// Returns the nodes that are known to have ended.
    pub(crate) fn dead(&self) -> Dead {
        self.peers.dead()
    }

    /// Runs until the relay is gone.
    pub(crate) async fn run(mut self) {
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                said = self.said.recv() => match said {
                    Some(said) => self.say(said).await,
                    None => break,
                },
                payload = next(&mut self.subscription) => match payload {
                    Some(payload) => self.hear(&payload).await,
                    None => self.subscription = None,
                },
                done = self.done.1.recv() => if let Some(done) = done {
                    self.note(done);
                },
                _ = turns.tick() => self.turn().await,
                () = pause(self.fence.due()) => self.ask_for_progress(),
            }
            self.look_at_fence().await;
        }
        // What is not out by then stands in its row, which the others read.
        let _ = tokio::time::timeout(END, self.nats.flush()).await;
        if let Err(error) = self.nodes.renew(self.node, Duration::ZERO).await {
            tracing::warn!(error = %crate::logging::chain(&error), "cannot end the lease");
        }
    }

    async fn say(&mut self, said: Said) {
        let bytes_max = self.nats.payload_bytes_max();
        let (subject, messages) = match said {
            Said::Missing(missing) => return self.repair(missing),
            Said::Question(question) => return self.fence.want(question),
            Said::Group(group, commits) => {
                let messages = message::group(self.node, group, &commits, bytes_max);
                (usize::from(group.lane), messages)
            }
            Said::Published(commits) => {
                let lane = commits.first().map_or(0, |commit| lane(commit.home));
                (lane, message::published(self.node, &commits, bytes_max))
            }
        };
        // A lane is a bucket: it has a fixed share of the homes, and their order.
        let subject = format!("{}.bus.home.{subject}", self.subject);
        for message in messages.into_iter().flatten() {
            if self.nats.publish(&subject, message).await.is_err() {
                self.figures.untold.inc();
                return;
            }
        }
        self.figures.told.inc();
    }

    async fn hear(&mut self, payload: &Bytes) {
        let Some(message) = message::read(payload) else {
            tracing::debug!("a message on the bus cannot be read");
            return;
        };
        let (node, now) = (message.node(), Instant::now());
        if node == self.node {
            return;
        }
        self.peers.heard(node, now);
        match message {
            Message::Beat { last, .. } => self.lanes.announced(node, &last, now),
            Message::Published { commits, .. } => self.pass(commits).await,
            Message::Group { group, parts, commits, .. } => {
                // The relay first, then the number: what is done was told.
                if self.lanes.heard(node, group, parts, now) {
                    self.pass(commits).await;
                }
            }
        }
    }

    async fn pass(&self, commits: Vec<Commit>) {
        self.figures.heard.inc();
        // A relay that is gone hears nothing more; the loop ends with its voice.
        let _ = self.heard.send(Heard::Commits(commits)).await;
    }

    fn note(&mut self, done: Done) {
        let now = Instant::now();
        match done {
            Done::Pinged { told, took } => {
                self.is_pinging = false;
                self.figures.pinged(took.ok());
                if took.is_ok() {
                    self.peers.told(told, now);
                }
            }
            Done::Renewed(Ok(leases)) => {
                let live = leases.iter().filter(|lease| lease.is_live).count();
                self.figures.lives(live);
                for gone in self.peers.note(&leases, now) {
                    self.lanes.forget(gone);
                }
            }
            // The nodes stay as they were, and what the database has to say waits too.
            Done::Renewed(Err(error)) => {
                tracing::debug!(error = %crate::logging::chain(&error), "cannot renew the lease");
            }
            Done::Swept => {}
            Done::Read(node, outcome) => self.has_read(node, outcome, now),
            Done::Asked(progress) => {
                let last = progress.iter().flat_map(|progress| &progress.last);
                for (node, group) in last.filter(|(node, _)| *node != self.node) {
                    self.peers.meet(*node, now);
                    self.lanes.announced(*node, &[*group], now);
                }
                self.fence.read(progress, now);
            }
        }
    }

    /// Asks the database how far all nodes have come.
    fn ask_for_progress(&mut self) {
        self.fence.begin(Instant::now(), SystemClock.now_ms());
        let nodes = self.nodes.clone();
        self.spawn(async move {
            let progress = nodes.progress().await;
            if let Err(error) = &progress {
                let error = crate::logging::chain(error);
                tracing::debug!(error, "cannot read how far the nodes have come");
            }
            Done::Asked(progress.ok())
        });
    }

    /// Tells the relay what has become certain.
    async fn look_at_fence(&mut self) {
        let (own, lanes, figures) = (self.node, &self.lanes, &self.figures);
        let is_told = |node, group: GroupNumber| {
            if node == own { figures.has_committed(group) } else { lanes.has_done(node, group) }
        };
        if let Some(certain) = self.fence.passed(Instant::now(), is_told) {
            self.figures.certain(certain.at);
            let _ = self.heard.send(Heard::Certain(certain)).await;
        }
    }

    fn has_read(&mut self, node: Uid, outcome: Outcome, now: Instant) {
        for first in outcome.first_there {
            self.lanes.skip_to(node, first);
        }
        for group in &outcome.told {
            self.lanes.repaired(node, *group, now);
        }
        self.figures.repaired_groups.inc_by(outcome.told.len() as u64);
        self.peers.has_read(node, outcome.end, now);
    }

    async fn turn(&mut self) {
        let now = Instant::now();
        let is_connected = *self.nats.connected().borrow();
        self.peers.look_at(is_connected, self.nats.state().dropped());
        for node in self.lanes.overdue(now) {
            self.peers.doubt(node);
        }
        for node in self.peers.due(is_connected, now) {
            self.read(node);
        }
        if self.next_beat <= now {
            self.next_beat = now + BEAT;
            self.beat().await;
        }
        if self.next_renewal <= now {
            self.next_renewal = now + RENEWAL;
            let (nodes, node) = (self.nodes.clone(), self.node);
            self.spawn(async move { Done::Renewed(nodes.renew(node, LEASE).await) });
        }
        if self.next_sweep <= now {
            self.next_sweep = now + SWEEP;
            self.sweep(now);
        }
    }

    /// Says that this node lives, and asks NATS for an answer that comes behind all that was said.
    async fn beat(&mut self) {
        let last = self.figures.last_groups();
        let subject = format!("{}.bus.beat", self.subject);
        let _ = self.nats.publish(&subject, message::beat(self.node, &last)).await;
        self.peers.spoke(last.clone(), Instant::now());
        if !self.is_pinging {
            self.is_pinging = true;
            let (nats, subject) = (self.nats.clone(), format!("{}.ping", self.subject));
            self.spawn(async move {
                let took = nats.ping(&subject).await;
                Done::Pinged { told: last, took }
            });
        }
    }

    /// Removes rows of groups that nobody needs any more.
    fn sweep(&mut self, now: Instant) {
        let (nodes, node) = (self.nodes.clone(), self.node);
        let first = self.peers.first_kept(now);
        self.spawn(async move {
            let forgotten = nodes.forget_before(node, &first).await;
            let swept = forgotten.and(nodes.sweep(peers::DEAD_ROWS_KEPT, peers::DEAD_KEPT).await);
            if let Err(error) = swept {
                tracing::debug!(error = %crate::logging::chain(&error), "cannot remove old rows");
            }
            Done::Swept
        });
    }

    /// Reads what a node has committed and this one has not heard.
    fn read(&mut self, node: Uid) {
        // A database that this release has made has this many lanes of each node.
        let lane_count = u8::try_from(LANE_COUNT).unwrap_or(u8::MAX);
        let (reader, lanes) = (self.reader.clone(), self.lanes.places(node, lane_count));
        self.spawn(async move { Done::Read(node, reader.groups(node, lanes).await) });
    }

    fn repair(&self, missing: Missing) {
        let (reader, places) = (self.reader.clone(), self.repairs.clone());
        tokio::spawn(async move {
            // The semaphore is never closed.
            let _place = places.acquire().await;
            reader.home(missing).await;
        });
    }

    fn spawn(&self, task: impl Future<Output = Done> + Send + 'static) {
        let done = self.done.0.clone();
        tokio::spawn(async move {
            let outcome = task.await;
            // A bus that is gone needs no outcome.
            let _ = done.send(outcome).await;
        });
    }
}

/// Returns the lane of a home, which is the same on every node.
fn lane(home: Uid) -> usize {
    let [.., high, low] = home.0;
    usize::from(u16::from_be_bytes([high, low])) % LANE_COUNT
}

/// Waits for a moment; for ever, where there is none.
async fn pause(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// The next message; never, where there is nobody to listen to.
async fn next(subscription: &mut Option<Subscription>) -> Option<Bytes> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}

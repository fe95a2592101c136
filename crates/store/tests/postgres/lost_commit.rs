//! Connections that are cut, in COMMIT above all: whoever was told the outcome was told the truth,
//! whoever was not is told so in time, and nobody else waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use store::engine::{Batch, Event};
use store::postgres::{self, Config};
use store::{Audience, Committed, Engine, Failure, Stamp, Uid};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::faults::{ROOM, is_stored, options, put};
use crate::proxy::{Proxy, Side};
use crate::server::Server;

const SIDES: [Side; 2] = [Side::ToServer, Side::ToClient];

const NODE: Uid = Uid([8; 16]);

/// An engine of one lane behind a proxy, and another one that goes to the database directly.
struct Rig {
    proxy: Proxy,
    config: Config,
    engine: Arc<dyn Engine>,
    direct: Arc<dyn Engine>,
    events: mpsc::Receiver<Vec<Committed>>,
    /// The bytes of a commit in each of `SIDES`.
    commit_bytes: [usize; 2],
    last_id: u32,
    /// Goes last.
    _server: Arc<Server>,
}

impl Rig {
    async fn open(settle_time_max: Duration) -> Rig {
        Rig::open_node(settle_time_max, None).await
    }

    /// Opens an engine whose groups keep rows of their own, if it is one of several nodes.
    async fn open_node(settle_time_max: Duration, node: Option<Uid>) -> Rig {
        let server = Server::shared();
        let proxy = Proxy::start(server.port()).await;
        let url = server.schema().await;
        let direct = postgres::open(&Config::new(&url), options(None)).await.expect("opens");
        let through = url.replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()));
        let config = Config { lane_count: 1, settle_time_max, node, ..Config::new(through) };
        let (sink, mut events) = mpsc::channel(16);
        let engine = postgres::open(&config, options(Some(sink))).await.expect("opens");
        // The first prepares the statements; the second shows how many bytes a commit is.
        engine.commit(told(0)).await.expect("nothing is cut");
        let before = SIDES.map(|side| proxy.passed_bytes(side));
        engine.commit(told(1)).await.expect("nothing is cut");
        let [to_server, to_client] = SIDES.map(|side| proxy.passed_bytes(side));
        let commit_bytes = [to_server - before[0], to_client - before[1]];
        while events.try_recv().is_ok() {}
        Rig { proxy, config, engine, direct, events, commit_bytes, last_id: 1, _server: server }
    }

    fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    /// Commits rows until one is stored: a connection is there, with all its statements prepared.
    async fn warm_up(&mut self) {
        loop {
            let id = self.next_id();
            let batch = if self.config.node.is_some() { told(id) } else { put(ROOM, id) };
            match self.engine.commit(batch).await {
                Ok(_) => return,
                Err(Failure::Unavailable(_)) => tokio::task::yield_now().await,
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    fn lost_commits(&self) -> u64 {
        self.config.counts.lost_commits.load(Ordering::Relaxed)
    }

    /// Begins a commit whose last byte in a direction does not pass, and waits until it is missed.
    async fn begin_lost(&mut self, side: usize) -> (u32, JoinHandle<Result<Stamp, Failure>>) {
        let (id, before) = (self.next_id(), self.lost_commits());
        self.proxy.cut(SIDES[side], self.commit_bytes[side] - 1);
        let engine = Arc::clone(&self.engine);
        let lost = tokio::spawn(async move { engine.commit(told(id)).await });
        while self.lost_commits() == before {
            tokio::task::yield_now().await;
        }
        (id, lost)
    }
}

/// A batch with an event.
pub(crate) fn told(id: u32) -> Batch {
    let mut batch = put(ROOM, id);
    batch.events.push(Event {
        audience: Audience::Internal,
        body: Arc::new(id),
        reference: Some(id.to_be_bytes().to_vec()),
    });
    batch
}

/// The cuts of one direction: every few bytes, and each of the last ones, where COMMIT is.
fn places(total: usize) -> impl Iterator<Item = usize> {
    (0..total).filter(move |place| place % 83 == 0 || place + 24 >= total)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcome_of_a_cut_connection_is_found_out() {
    find_out(Rig::open(postgres::SETTLE_TIME_MAX).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcome_of_a_cut_connection_is_found_out_by_the_row_of_a_group() {
    find_out(Rig::open_node(postgres::SETTLE_TIME_MAX, Some(NODE)).await).await;
}

async fn find_out(mut rig: Rig) {
    let mut last_number = 0;
    let (mut found_stored, mut found_lost) = (0, 0);
    for (side, total) in SIDES.into_iter().zip(rig.commit_bytes) {
        for place in places(total) {
            rig.warm_up().await;
            while let Ok(group) = rig.events.try_recv() {
                last_number = group[0].group.map_or(0, |group| group.number);
            }
            let (id, lost_before) = (rig.next_id(), rig.lost_commits());
            rig.proxy.cut(side, place);
            let answer = rig.engine.commit(told(id)).await;
            rig.proxy.spare();
            let was_lost = rig.lost_commits() > lost_before;
            let stored = is_stored(rig.direct.as_ref(), id).await;
            let at = format!("{side:?}, byte {place} of {total}: {answer:?}");
            match answer {
                Ok(stamp) => {
                    assert!(stored, "{at}");
                    let group = rig.events.try_recv().expect("its event came before the answer");
                    assert_eq!(group[0].stamp, stamp, "{at}");
                    let number = rig.config.node.map(|_| last_number + 1);
                    assert_eq!(group[0].group.map(|group| group.number), number, "{at}");
                    found_stored += u32::from(was_lost);
                }
                Err(Failure::Unavailable(_)) => {
                    assert!(!stored, "{at}");
                    assert!(rig.events.try_recv().is_err(), "{at}");
                    found_lost += u32::from(was_lost);
                }
                Err(_) => panic!("{at}"),
            }
        }
    }
    // Both outcomes of a lost COMMIT were met: the last bytes of each direction are COMMIT's.
    assert!(found_stored > 0 && found_lost > 0, "{found_stored} stored, {found_lost} lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcome_that_stays_open_is_told_as_unknown_and_its_events_when_it_is_found_out() {
    let mut rig = Rig::open(Duration::from_secs(2)).await;
    for (side, is_committed) in [(0, false), (1, true)] {
        rig.warm_up().await;
        rig.proxy.refuse(usize::MAX);
        let (id, lost) = rig.begin_lost(side).await;
        let behind = rig.engine.commit(put(ROOM, id + 100)).await;
        assert!(matches!(behind, Err(Failure::Unavailable(_))), "{behind:?}");
        assert!(!lost.is_finished(), "what is queued behind it does not wait as long");
        let answer = lost.await.expect("ends");
        assert!(matches!(answer, Err(Failure::Unknown(_))), "{answer:?}");
        let behind = rig.engine.commit(put(ROOM, id + 100)).await;
        assert!(matches!(behind, Err(Failure::Unavailable(_))), "{behind:?}");
        assert_eq!(is_stored(rig.direct.as_ref(), id).await, is_committed);
        assert!(!is_stored(rig.direct.as_ref(), id + 100).await, "it was refused");
        assert!(rig.events.try_recv().is_err(), "nobody knows yet");
        rig.proxy.refuse(0);
        rig.warm_up().await;
        let heard = rig.events.try_recv().ok().map(|group| group[0].events.len());
        assert_eq!(heard, is_committed.then_some(1), "events leave before those of later commits");
    }
    rig.engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_behind_a_lost_commit_that_is_soon_settled_is_committed() {
    // Far more than two attempts in vain take.
    let mut rig = Rig::open(Duration::from_secs(16 * 20)).await;
    for side in 0..SIDES.len() {
        rig.warm_up().await;
        rig.proxy.refuse(2);
        let (id, lost) = rig.begin_lost(side).await;
        rig.engine.commit(put(ROOM, id + 100)).await.expect("waits and is committed");
        assert_eq!(lost.await.expect("ends").is_ok(), is_stored(rig.direct.as_ref(), id).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lane_that_waits_for_an_outcome_ends_when_it_is_told_to() {
    let mut rig = Rig::open(Duration::from_millis(100)).await;
    rig.warm_up().await;
    rig.proxy.refuse(usize::MAX);
    let (_, lost) = rig.begin_lost(1).await;
    let answer = lost.await.expect("ends");
    assert!(matches!(answer, Err(Failure::Unknown(_))), "{answer:?}");
    rig.engine.close().await;
    let late = rig.engine.commit(put(ROOM, 99)).await;
    assert!(matches!(late, Err(Failure::Unavailable(_))), "{late:?}");
}

//! Servers that go away and nodes that meet: what was acknowledged is stored, what was refused is
//! not, and nothing needs a restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use store::engine::{Batch, Put};
use store::postgres::{self, Config};
use store::{
    Committed, Engine, Failure, Key, Kind, Options, SystemClock, SystemEntropy, Table, Uid,
};
use tokio::sync::mpsc;

use crate::server::Server;

static NOTE: Table = Table { name: "note", kind: Kind::Record, columns: &["text"] };
pub(crate) const ROOM: Uid = Uid([1; 16]);

pub(crate) fn options(sink: Option<mpsc::Sender<Vec<Committed>>>) -> Options {
    Options {
        tables: vec![&NOTE],
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        sink,
    }
}

fn note(id: u32) -> Key {
    Key::new(&NOTE).u32(id)
}

pub(crate) fn put(home: Uid, id: u32) -> Batch {
    let mut batch = Batch::new("test", home);
    batch.puts.push(Put { key: note(id), value: id.to_be_bytes().to_vec() });
    batch
}

pub(crate) async fn is_stored(engine: &dyn Engine, id: u32) -> bool {
    engine.get(&[note(id)]).await.expect("the server runs")[0].is_some()
}

/// What a writer was told about one of its rows.
struct Outcome {
    id: u32,
    answer: Result<(), Failure>,
}

fn write_all_the_time(engine: &Arc<dyn Engine>, done: &Arc<AtomicBool>) -> mpsc::Receiver<Outcome> {
    let (told, outcomes) = mpsc::channel(8);
    for writer in 0..8_u8 {
        let (engine, done, told) = (Arc::clone(engine), Arc::clone(done), told.clone());
        tokio::spawn(async move {
            let mut id = u32::from(writer) << 24;
            while !done.load(Ordering::Relaxed) {
                id += 1;
                let answer = engine.commit(put(Uid([writer; 16]), id)).await.map(drop);
                told.send(Outcome { id, answer }).await.unwrap_or_default();
            }
        });
    }
    outcomes
}

/// Takes outcomes until so many are as wanted.
async fn take(
    outcomes: &mut mpsc::Receiver<Outcome>,
    all: &mut HashMap<u32, Result<(), Failure>>,
    count: usize,
    wanted: fn(&Result<(), Failure>) -> bool,
) {
    let mut met = 0;
    while met < count {
        let Outcome { id, answer } = outcomes.recv().await.expect("the writers go on");
        met += usize::from(wanted(&answer));
        all.insert(id, answer);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn server_that_dies_while_committing_costs_nothing_acknowledged() {
    let server = Server::start();
    let config = Config::new(server.schema().await);
    let engine = postgres::open(&config, options(None)).await.expect("opens");
    let done = Arc::new(AtomicBool::new(false));
    let mut outcomes = write_all_the_time(&engine, &done);
    let mut all = HashMap::new();

    take(&mut outcomes, &mut all, 100, Result::is_ok).await;
    tokio::task::block_in_place(|| server.halt());
    take(&mut outcomes, &mut all, 50, Result::is_err).await;
    let away = engine.get(&[note(1)]).await;
    assert!(away.is_err(), "reads say that the database is away");
    tokio::task::block_in_place(|| server.start_again());
    take(&mut outcomes, &mut all, 100, Result::is_ok).await;
    done.store(true, Ordering::Relaxed);
    while let Some(Outcome { id, answer }) = outcomes.recv().await {
        all.insert(id, answer);
    }

    for (id, answer) in &all {
        let stored = is_stored(engine.as_ref(), *id).await;
        match answer {
            Ok(()) => assert!(stored, "row {id} was acknowledged"),
            Err(Failure::Unavailable(cause)) => assert!(!stored, "row {id} was refused: {cause}"),
            Err(Failure::Unknown(_)) => {}
            Err(other) => panic!("nothing is checked: {other:?}"),
        }
    }
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn senders_of_two_nodes_in_one_channel_are_never_retried() {
    let server = Server::shared();
    let config = Config::new(server.schema().await);
    let left = postgres::open(&config, options(None)).await.expect("opens");
    let right = postgres::open(&config, options(None)).await.expect("opens");
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..256 {
        let engine = Arc::clone(if sender % 2 == 0 { &left } else { &right });
        senders.spawn(async move {
            for round in 0..4 {
                engine.commit(put(ROOM, sender * 4 + round)).await.expect("nothing is checked");
            }
        });
    }
    senders.join_all().await;
    let home = left.get(&[Key::home(ROOM)]).await.expect("reads");
    assert_eq!(home[0].as_ref().map(|row| row.home().seq), Some(1_024));
    assert_eq!(config.counts.retries.load(Ordering::Relaxed), 0);
}

//! Several nodes on one store: what each has committed and when it is taken for dead.

use std::time::Duration;

use store::postgres::{self, Config, Lease, Nodes};
use store::{Committed, GroupNumber, Uid};
use tokio::sync::mpsc;
use tokio_postgres::Client;

use crate::faults::{ROOM, options, put};
use crate::lost_commit::told;
use crate::server::{Server, connect};

const NODE: Uid = Uid([8; 16]);
const OTHER: Uid = Uid([9; 16]);
const LONG: Duration = Duration::from_secs(60);

async fn config() -> Config {
    let url = Server::shared().schema().await;
    Config { lane_count: 1, node: Some(NODE), ..Config::new(url) }
}

/// Commits so many groups with events and returns what the sink was told.
async fn commit(config: &Config, count: u32) -> Vec<Committed> {
    let (sink, mut events) = mpsc::channel(64);
    let engine = postgres::open(config, options(Some(sink))).await.expect("opens");
    for id in 0..count {
        engine.commit(told(id)).await.expect("the server runs");
        engine.commit(put(ROOM, 1_000 + id)).await.expect("the server runs");
    }
    engine.close().await;
    let mut all = Vec::new();
    while let Some(group) = events.recv().await {
        all.extend(group);
    }
    all
}

fn numbers(groups: &[GroupNumber]) -> Vec<u64> {
    groups.iter().map(|group| group.number).collect()
}

#[tokio::test]
async fn groups_with_events_keep_a_row_under_numbers_without_a_gap() {
    let _server = Server::shared();
    let config = config().await;
    let sent = commit(&config, 5).await;
    let nodes = Nodes::new(&config).expect("is well formed");
    let first = GroupNumber { lane: 0, number: 0 };
    let rows = nodes.groups_after(NODE, &[first], 100).await.expect("the server runs");
    let of_rows: Vec<GroupNumber> = rows.iter().map(|row| row.group).collect();
    assert_eq!(numbers(&of_rows), [1, 2, 3, 4, 5]);
    let of_sink: Vec<GroupNumber> = sent.iter().filter_map(|committed| committed.group).collect();
    assert_eq!(of_sink, of_rows);
    for (row, committed) in rows.iter().zip(&sent) {
        let place = row.places[0];
        let written = (committed.home, committed.prev_seq, committed.stamp);
        assert_eq!((place.home, place.prev_seq, place.stamp), written);
    }
    let after = GroupNumber { lane: 0, number: 3 };
    let rows = nodes.groups_after(NODE, &[after], 1).await.expect("the server runs");
    assert_eq!(rows.iter().map(|row| row.group.number).collect::<Vec<u64>>(), [4]);
    assert_eq!(nodes.groups_after(OTHER, &[first], 100).await.expect("the server runs"), []);
}

#[tokio::test]
async fn rows_are_removed_and_the_last_one_of_a_lane_tells_where_it_is() {
    let _server = Server::shared();
    let config = config().await;
    commit(&config, 4).await;
    let nodes = Nodes::new(&config).expect("is well formed");
    assert_eq!(nodes.progress().await.expect("the server runs").last, []);
    for node in [NODE, OTHER] {
        nodes.renew(node, LONG).await.expect("the server runs");
    }
    let last = GroupNumber { lane: 0, number: 4 };
    assert_eq!(nodes.progress().await.expect("the server runs").last, [(NODE, last)]);
    nodes.forget_before(NODE, &[last]).await.expect("the server runs");
    let first = GroupNumber { lane: 0, number: 0 };
    let rows = nodes.groups_after(NODE, &[first], 100).await.expect("the server runs");
    assert_eq!(rows.iter().map(|row| row.group.number).collect::<Vec<u64>>(), [4]);
    assert_eq!(nodes.progress().await.expect("the server runs").last, [(NODE, last)]);
}

#[tokio::test]
async fn a_lease_is_over_when_it_is_not_renewed_and_its_rows_go_after_a_while() {
    let _server = Server::shared();
    let config = config().await;
    commit(&config, 2).await;
    let nodes = Nodes::new(&config).expect("is well formed");
    let renew = async |node, lease| nodes.renew(node, lease).await.expect("the server runs");
    let lease = |node, is_live| Lease { node, is_live };
    assert_eq!(renew(NODE, LONG).await, [lease(NODE, true)]);
    assert_eq!(renew(OTHER, LONG).await, [lease(NODE, true), lease(OTHER, true)]);
    assert_eq!(renew(NODE, Duration::ZERO).await, [lease(NODE, false), lease(OTHER, true)]);
    nodes.sweep(LONG, LONG).await.expect("the server runs");
    assert_eq!(nodes.progress().await.expect("the server runs").last.len(), 1);
    nodes.sweep(Duration::ZERO, LONG).await.expect("the server runs");
    assert_eq!(nodes.progress().await.expect("the server runs").last, []);
    assert_eq!(renew(OTHER, LONG).await, [lease(NODE, false), lease(OTHER, true)]);
    nodes.sweep(Duration::ZERO, Duration::ZERO).await.expect("the server runs");
    assert_eq!(renew(OTHER, LONG).await, [lease(OTHER, true)]);
}

#[tokio::test]
async fn a_node_that_tells_nobody_keeps_no_rows() {
    let _server = Server::shared();
    let config = Config { node: None, ..config().await };
    let sent = commit(&config, 3).await;
    assert!(sent.iter().all(|committed| committed.group.is_none()));
    let nodes = Nodes::new(&config).expect("is well formed");
    nodes.renew(NODE, LONG).await.expect("the server runs");
    assert_eq!(nodes.progress().await.expect("the server runs").last, []);
}

#[tokio::test]
async fn what_is_open_holds_progress_back_unless_it_still_waits_for_what_it_needs() {
    let _server = Server::shared();
    let config = config().await;
    commit(&config, 1).await;
    let nodes = Nodes::new(&config).expect("is well formed");
    let until = async |is_open: bool| loop {
        let progress = nodes.progress().await.expect("the server runs");
        if (progress.open_for > Duration::ZERO) == is_open {
            break progress.open_for;
        }
    };
    until(false).await;
    let run = async |client: &Client, sql: &str| {
        client.batch_execute(sql).await.expect("is well formed");
    };
    // Who reads alone is no concern of the nodes.
    let reader = connect(&config.url).await;
    run(&reader, "BEGIN; SELECT 1 FROM home; SELECT pg_advisory_lock(7)").await;
    let writer = connect(&config.url).await;
    assert_eq!(until(false).await, Duration::ZERO);
    run(&writer, "BEGIN; SELECT 1 FROM home FOR UPDATE").await;
    let first = until(true).await;
    assert!(until(true).await >= first);
    // It waits for a lock: before its stamps are drawn, and behind them.
    for (waits_with, is_open) in [("/* hold */ SELECT", false), ("SELECT", true)] {
        let wait = format!("{waits_with} pg_advisory_lock(7)");
        tokio::join!(run(&writer, &wait), async {
            until_waiting(&reader).await;
            until(is_open).await;
            run(&reader, "SELECT pg_advisory_unlock(7)").await;
        });
        until(true).await;
        run(&writer, "SELECT pg_advisory_unlock(7)").await;
        run(&reader, "SELECT pg_advisory_lock(7)").await;
    }
    run(&writer, "COMMIT").await;
    assert_eq!(until(false).await, Duration::ZERO);
}

/// Waits until somebody waits for the lock that the tests take.
async fn until_waiting(client: &Client) {
    let waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    while client.query(waiting, &[]).await.expect("the server runs").is_empty() {}
}

//! PostgreSQL: the contract of all engines, and what only a database in another process can do
//! wrong. Needs a server, which `scripts/postgres` installs and starts.

#[path = "postgres/faults.rs"]
mod faults;
#[path = "postgres/lost_commit.rs"]
mod lost_commit;
#[path = "postgres/nodes.rs"]
mod nodes;
#[path = "postgres/opening.rs"]
mod opening;
#[path = "postgres/proxy.rs"]
mod proxy;
#[path = "postgres/server.rs"]
mod server;
#[path = "postgres/tls.rs"]
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use store::postgres::{self, Config};
use store::{Engine, conformance, memory, sqlite};

use server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_keeps_the_contract() {
    let server = Server::shared();
    conformance::suite(async |options| {
        let config = Config::new(server.schema().await);
        postgres::open(&config, options).await.expect("opens")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_lane_keeps_the_contract() {
    let server = Server::shared();
    conformance::suite(async |options| {
        let config = Config { lane_count: 1, ..Config::new(server.schema().await) };
        postgres::open(&config, options).await.expect("opens")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn races_of_two_nodes_have_one_order() {
    let server = Server::shared();
    conformance::races(async |[left, right]| {
        let url = server.schema().await;
        let open = async |options| -> Arc<dyn Engine> {
            postgres::open(&Config::new(url.clone()), options).await.expect("opens")
        };
        [open(left).await, open(right).await]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_engines_give_the_same_answers() {
    let server = Server::shared();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let number = AtomicU32::new(0);
    conformance::side_by_side(async |options| {
        let number = number.fetch_add(1, Ordering::Relaxed).to_string();
        let config = Config::new(server.schema().await);
        vec![
            ("memory", memory::open(options.clone())),
            ("sqlite", sqlite::open(&dir.path().join(number), options.clone()).expect("opens")),
            ("postgres", postgres::open(&config, options).await.expect("opens")),
        ]
    })
    .await;
}

//! Jobs on two nodes, each with an engine of its own over one database: what they leave and what they
//! tell together is what one node does alone.

use std::sync::Arc;

use store::MockClock;
use store::postgres::{self, Config};

use crate::Step;
use crate::job::tests::server::Server;
use crate::job::tests::stops::{
    STEPS_MAX, assert_same_of_nodes, left, quotas, undisturbed, with_work,
};
use crate::testing::{START_MS, World, options};

/// Opens a node over the database at `url`.
async fn node(url: &str, clock: &Arc<MockClock>, seed: u64) -> World {
    let (options, events) = options(clock, seed);
    let engine = postgres::open(&Config::new(url.to_owned()), options).await.expect("opens");
    World::of(engine, (clock.clone(), events), seed + 1, quotas()).await
}

#[tokio::test]
async fn work_that_two_engines_do_at_once_is_done_once() {
    let server = Server::shared();
    let url = server.schema().await;
    let clock = Arc::new(MockClock::new(START_MS));
    let mut ours = node(&url, &clock, 1).await;
    let mut theirs = node(&url, &clock, 3).await;
    ours.app_instance = ours.create_app_instance("app").await;
    with_work(&mut ours).await;
    let mut overtaken = 0;
    for _ in 0..STEPS_MAX {
        let (one, other) = tokio::join!(ours.chat.run_job_step(), theirs.chat.run_job_step());
        let steps = [one.expect("is judged"), other.expect("is judged")];
        overtaken += steps.iter().filter(|step| **step == Step::Overtaken).count();
        if steps == [Step::Idle; 2] {
            break;
        }
    }
    assert!(overtaken > 0, "they met");
    let mut heard = ours.heard();
    heard.extend(theirs.heard());
    assert_same_of_nodes(left(&mut ours, heard).await, undisturbed().await);
    assert_eq!(theirs.chat.check().await.expect("the store answers").findings, []);
}

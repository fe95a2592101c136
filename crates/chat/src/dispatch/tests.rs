//! What becomes of a commit that fails: run again and counted, or refused with its cause.

use std::error::Error as _;

use serde_json::json;
use store::{Failure, Key, Unavailable};
use wire::ErrorCode;

use crate::job::JOB;
use crate::limits;
use crate::testing::World;

fn conflict() -> Failure {
    Failure::Conflict(Key::new(&JOB))
}

/// Creates a channel while the next commits fail, and returns the causes of the refusal as a log
/// shows them.
async fn causes_of_refusal(failures: impl IntoIterator<Item = Failure>) -> Vec<String> {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let body = json!({
        "AppInstanceArn": world.app_instance, "Name": "room", "ClientRequestToken": "token",
    });
    world.engine.fail(failures);
    let refused = world.ask("POST", "/channels", &alice, body).await.expect_err("is refused");
    assert_eq!(refused.code(), ErrorCode::ServiceUnavailable);
    let causes = std::iter::successors(refused.source(), |&error| error.source());
    causes.map(ToString::to_string).collect()
}

#[tokio::test]
async fn refusal_of_a_store_that_is_away_keeps_its_cause() {
    let away = Unavailable::caused("the store is away", std::io::Error::other("no route"));
    let causes = ["the store is away", "no route"];
    assert_eq!(causes_of_refusal([Failure::Unavailable(away.clone())]).await, causes);
    let causes = ["the outcome of a commit is unknown", "the store is away", "no route"];
    assert_eq!(causes_of_refusal([Failure::Unknown(away)]).await, causes);
}

#[tokio::test]
async fn refusal_after_too_many_conflicts_names_the_table() {
    let conflicts = std::iter::repeat_with(conflict).take(limits::ATTEMPTS_MAX);
    assert_eq!(causes_of_refusal(conflicts).await, ["a row of job changed meanwhile"]);
}

#[tokio::test]
async fn conflict_is_run_again_and_counted() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    assert_eq!(world.chat.conflict_count(), 0);
    world.engine.fail([conflict(), conflict()]);
    world.create_channel(&alice, json!({})).await;
    assert_eq!(world.chat.conflict_count(), 2);
}

#[tokio::test]
async fn wrong_guess_is_counted_as_a_conflict_and_a_right_one_is_not() {
    let mut world = World::new().await;
    let (alice, bob) = (world.create_user("alice").await, world.create_user("bob").await);
    let channel = world.create_channel(&alice, json!({})).await;
    world.join(&channel, &alice, &bob).await.expect("joins");
    for _ in 0..2 {
        world.send(&channel, &bob, "is a member").await.expect("is sent");
    }
    assert_eq!(world.chat.conflict_count(), 0);
    // Another node lets him leave and join, so the membership is not the one that was seen here.
    let there = world.other_node().await;
    let here = std::mem::replace(&mut world.chat, there);
    world.leave(&channel, &alice, &bob).await.expect("leaves");
    world.join(&channel, &alice, &bob).await.expect("joins");
    world.chat = here;
    world.send(&channel, &bob, "is one again").await.expect("is sent");
    assert_eq!(world.chat.conflict_count(), 1);
}

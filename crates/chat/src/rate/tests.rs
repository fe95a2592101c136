use serde_json::{Value, json};

use super::*;
use crate::Quotas;
use crate::testing::{Outcome, START_MS, World, label};

const THROTTLED: Outcome = Err((429, "ThrottledClientException"));

async fn limited() -> World {
    let mut quotas = Quotas::default();
    quotas.limit_rates();
    World::with_quotas(quotas).await
}

/// How many requests in a row are let through, up to a hundred.
async fn burst(world: &World, method: &str, target: &str, bearer: &str) -> usize {
    for count in 0..100 {
        if world.call(method, target, bearer, Value::Null).await == THROTTLED {
            return count;
        }
    }
    100
}

#[tokio::test]
async fn rates_are_not_limited_unless_asked_for() {
    let world = World::new().await;
    assert_eq!(burst(&world, "GET", "/app-instances", "").await, 100);
}

#[tokio::test]
async fn a_bucket_holds_a_second_and_fills_evenly() {
    let world = limited().await;
    assert_eq!(burst(&world, "GET", "/app-instances", "").await, 10);
    world.clock.advance(100);
    assert_eq!(burst(&world, "GET", "/app-instances", "").await, 1);
    world.clock.advance(10_000);
    assert_eq!(burst(&world, "GET", "/app-instances", "").await, 10);
}

#[tokio::test]
async fn scopes_are_counted_apart() {
    let mut world = limited().await;
    let (alice, bob) = (world.create_user("alice").await, world.create_user("bob").await);
    let user = |arn| format!("/app-instance-users/{}", label(arn));
    world.clock.advance(1_000);
    assert_eq!(burst(&world, "GET", &user(&alice), "").await, 20);
    assert_eq!(burst(&world, "GET", &user(&bob), "").await, 20);
    // Fifty requests of the identity service in all.
    assert_eq!(burst(&world, "GET", "/app-instances", "").await, 10);
    assert!(world.create_channel(&alice, json!({})).await.contains("/channel/"));
    let target = format!("/app-instances/{}", label(&world.app_instance));
    assert_eq!(burst(&world, "GET", &target, "").await, 0);
}

#[tokio::test]
async fn a_request_that_one_scope_refuses_takes_nothing_from_another() {
    let mut world = limited().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let channel = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    let target = format!("/channels/{}", label(&channel));
    world.clock.advance(1_000);
    // Alice is refused by her own bucket, again and again; the channel's twenty stay for others.
    assert_eq!(burst(&world, "GET", &target, &alice).await, 10);
    assert_eq!(burst(&world, "GET", &target, &alice).await, 0);
    assert_eq!(burst(&world, "GET", &target, &bob).await, 10);
    let carol = world.create_user("carol").await;
    assert!(world.join(&channel, &alice, &carol).await == THROTTLED);
    assert_eq!(burst(&world, "GET", &target, &carol).await, 0, "the channel's twenty are used up");
}

#[tokio::test]
async fn sends_that_are_guessed_pay_once() {
    let mut world = limited().await;
    let alice = world.create_user("alice").await;
    let channel = world.create_channel(&alice, json!({})).await;
    world.clock.advance(1_000);
    for _ in 0..10 {
        assert!(world.send(&channel, &alice, "x").await.is_ok());
    }
    assert_eq!(world.send(&channel, &alice, "x").await, THROTTLED);
    world.heard();
}

#[test]
fn eu_central_1_is_lower() {
    let draw = |region: &str| Rates::new(region).draw(&MESSAGING_BY_BEARER, String::new());
    assert_eq!(draw("us-east-1").per_second, 10);
    assert_eq!(draw("eu-central-1").per_second, 5);
    let messages = RATES.iter().find(|rate| rate.name == "messages").expect("is limited");
    assert_eq!((messages.us_east_1, messages.eu_central_1), (30, 10));
}

#[test]
fn rows_have_names_of_their_own() {
    let mut names: Vec<&str> = RATES.iter().map(|rate| rate.name).collect();
    names.extend([IDENTITY_BY_ACCOUNT.name, MESSAGING_BY_BEARER.name, CONNECTS.name]);
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn what_is_remembered_is_bounded_and_full_buckets_go_first() {
    let rates = Rates::new("us-east-1");
    let start = i64::try_from(START_MS).unwrap();
    let count = || rates.full_at.lock().unwrap().len();
    for index in 0..BUCKETS_MAX {
        assert!(rates.admit_session(start, index.to_string()));
    }
    assert_eq!(count(), BUCKETS_MAX);
    assert!(!rates.admit_session(start, "0".to_owned()), "one handshake a second");
    assert!(rates.admit_session(start + 1_000, "next".to_owned()));
    assert_eq!(count(), 1);
    for index in 0..2 * BUCKETS_MAX {
        rates.admit_session(start + 1_000, index.to_string());
        assert!(count() <= BUCKETS_MAX);
    }
}

use serde_json::{Value, json};

use super::CHANNEL_READ_MARKER;
use crate::testing::{BAD_REQUEST, FORBIDDEN, Outcome, START_MS, UNAUTHORIZED, World, label};

/// A channel of alice's with nobody else in it, and bob and carol outside.
async fn world() -> (World, [String; 3], String) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let carol = world.create_user("carol").await;
    let channel = world.create_channel(&alice, json!({ "Privacy": "PUBLIC" })).await;
    world.heard();
    (world, [alice, bob, carol], channel)
}

async fn mark(world: &World, channel: &str, bearer: &str) -> Outcome {
    let target = format!("/channels/{}/readMarker", label(channel));
    world.call("PUT", &target, bearer, Value::Null).await
}

/// Returns the marker in milliseconds as its owner sees it.
async fn marker(world: &World, channel: &str, owner: &str) -> Option<u64> {
    let target = format!(
        "/channels/{}?scope=app-instance-user-membership&app-instance-user-arn={}",
        label(channel),
        label(owner)
    );
    let described = world.get(&target, owner).await.expect("is readable");
    let summary = &described["ChannelMembership"]["AppInstanceUserMembershipSummary"];
    summary["ReadMarkerTimestamp"].as_f64().map(|seconds| (seconds * 1_000.0).round() as u64)
}

#[tokio::test]
async fn marker_is_the_time_of_the_call_and_nobody_hears_of_it() {
    let (mut world, [alice, ..], channel) = world().await;
    assert_eq!(marker(&world, &channel, &alice).await, None);
    world.clock.set(START_MS + 5_000);
    assert_eq!(mark(&world, &channel, &alice).await, Ok(json!({ "ChannelArn": channel })));
    assert_eq!(marker(&world, &channel, &alice).await, Some(START_MS + 5_000));
    world.clock.set(START_MS + 9_000);
    assert!(mark(&world, &channel, &alice).await.is_ok());
    assert_eq!(marker(&world, &channel, &alice).await, Some(START_MS + 9_000));
    assert!(world.heard().is_empty());
    assert_eq!(world.row_count(&CHANNEL_READ_MARKER).await, 1);
    assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
}

#[tokio::test]
async fn marker_is_never_before_a_message_that_was_there_and_never_goes_back() {
    let (mut world, [alice, ..], channel) = world().await;
    for index in 0..20 {
        // Times of a channel increase within one moment of the clock.
        world.send(&channel, &alice, &index.to_string()).await.expect("is sent");
    }
    let listed = world.messages(&channel, &alice, "?max-results=1").await.expect("is readable");
    let newest = listed["ChannelMessages"][0]["CreatedTimestamp"].as_f64().expect("is a time");
    assert!(mark(&world, &channel, &alice).await.is_ok());
    let first = marker(&world, &channel, &alice).await.expect("is there");
    assert!(first >= (newest * 1_000.0).round() as u64);
    world.clock.set(START_MS - 60_000);
    assert!(mark(&world, &channel, &alice).await.is_ok());
    assert!(marker(&world, &channel, &alice).await.expect("is there") >= first);
}

#[tokio::test]
async fn members_and_hidden_members_have_markers_and_nobody_else() {
    let (mut world, [alice, bob, carol], channel) = world().await;
    assert_eq!(mark(&world, &channel, &bob).await, FORBIDDEN, "PUBLIC is not enough");
    assert!(world.join_as(&channel, &alice, &bob, "HIDDEN").await.is_ok());
    assert!(mark(&world, &channel, &bob).await.is_ok());
    assert!(world.create_admin(&carol).await.is_ok());
    assert_eq!(mark(&world, &channel, &carol).await, FORBIDDEN, "an admin must join first");
    assert!(world.leave(&channel, &alice, &alice).await.is_ok());
    assert_eq!(mark(&world, &channel, &alice).await, FORBIDDEN, "so must a moderator");
    assert_eq!(mark(&world, &channel, "").await, UNAUTHORIZED);
    assert_eq!(mark(&world, &alice, &alice).await, BAD_REQUEST);
    let unknown = format!("{}/channel/unknown", world.app_instance);
    assert_eq!(mark(&world, &unknown, &alice).await, FORBIDDEN);
    let other = world.create_channel(&alice, json!({})).await;
    assert!(mark(&world, &other, &alice).await.is_ok());
    assert_eq!(world.row_count(&CHANNEL_READ_MARKER).await, 2);
}

#[tokio::test]
async fn marker_goes_with_the_membership_whichever_way_that_goes() {
    let (mut world, [alice, bob, carol], channel) = world().await;
    for remover in [&bob, &alice] {
        assert!(world.join(&channel, &alice, &bob).await.is_ok());
        assert_eq!(marker(&world, &channel, &bob).await, None);
        assert!(mark(&world, &channel, &bob).await.is_ok());
        assert!(world.leave(&channel, remover, &bob).await.is_ok());
        assert_eq!(world.row_count(&CHANNEL_READ_MARKER).await, 0);
    }
    let kept = world.create_channel(&alice, json!({ "MemberArns": [bob, carol] })).await;
    for one in [&alice, &bob, &carol] {
        assert!(mark(&world, &kept, one).await.is_ok());
    }
    assert!(world.delete(&format!("/app-instance-users/{}", label(&bob)), "").await.is_ok());
    world.run_jobs().await;
    assert_eq!(world.row_count(&CHANNEL_READ_MARKER).await, 2);
    assert!(world.delete(&format!("/channels/{}", label(&kept)), &alice).await.is_ok());
    world.run_jobs().await;
    assert_eq!(world.row_count(&CHANNEL_READ_MARKER).await, 0);
}

#[tokio::test]
async fn marker_of_one_who_leaves_meanwhile_does_not_stay() {
    let (world, [alice, bob, _], channel) = world().await;
    for _ in 0..20 {
        assert!(world.join(&channel, &alice, &bob).await.is_ok());
        let (left, marked) =
            tokio::join!(world.leave(&channel, &alice, &bob), mark(&world, &channel, &bob));
        assert!(left.is_ok());
        assert!(marked.is_ok() || marked == FORBIDDEN, "{marked:?}");
        assert_eq!(world.row_count(&CHANNEL_READ_MARKER).await, 0);
    }
}

use serde_json::{Value, json};
use store::Audience;

use crate::testing::{BAD_REQUEST, FORBIDDEN, Outcome, START_MS, UNAUTHORIZED, World, label};

fn path(channel: &str) -> String {
    format!("/channels/{}", label(channel))
}

async fn update(world: &World, channel: &str, bearer: &str, body: Value) -> Outcome {
    world.call("PUT", &path(channel), bearer, body).await
}

async fn described(world: &World, channel: &str, bearer: &str) -> Value {
    world.get(&path(channel), bearer).await.expect("is readable")["Channel"].clone()
}

/// A channel of alice's with bob in it and carol outside.
async fn world() -> (World, [String; 3], String) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let carol = world.create_user("carol").await;
    let more = json!({ "Name": "old", "Metadata": "m", "MemberArns": [bob] });
    let channel = world.create_channel(&alice, more).await;
    world.heard();
    (world, [alice, bob, carol], channel)
}

#[tokio::test]
async fn what_is_named_changes_and_the_rest_stays() {
    let (world, [alice, ..], channel) = world().await;
    let mut expected = described(&world, &channel, &alice).await;
    for (body, member, value) in [
        (json!({ "Name": "Größe 🎉" }), "Name", json!("Größe 🎉")),
        (json!({ "Mode": "UNRESTRICTED" }), "Mode", json!("UNRESTRICTED")),
        (json!({ "Metadata": "{\n}" }), "Metadata", json!("{\n}")),
        (json!({ "Metadata": null, "Name": "x" }), "Name", json!("x")),
    ] {
        world.clock.advance(1_000);
        let answer = update(&world, &channel, &alice, body).await;
        assert_eq!(answer, Ok(json!({ "ChannelArn": channel })));
        expected[member] = value;
        let updated = expected["LastUpdatedTimestamp"].as_f64().expect("is a time") + 1.0;
        let mut found = described(&world, &channel, &alice).await;
        assert_eq!(found["LastUpdatedTimestamp"].as_f64(), Some(updated));
        expected["LastUpdatedTimestamp"] = found["LastUpdatedTimestamp"].take();
        found["LastUpdatedTimestamp"] = expected["LastUpdatedTimestamp"].clone();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn empty_metadata_takes_it_away_and_privacy_never_changes() {
    let (world, [alice, ..], channel) = world().await;
    let body = json!({ "Metadata": "", "Privacy": "PUBLIC" });
    assert!(update(&world, &channel, &alice, body).await.is_ok());
    let found = described(&world, &channel, &alice).await;
    assert_eq!(found["Metadata"], Value::Null);
    assert_eq!(found["Privacy"], "PRIVATE");
    assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
}

#[tokio::test]
async fn members_are_told_the_whole_channel() {
    let (mut world, [alice, ..], channel) = world().await;
    world.send(&channel, &alice, "hello").await.expect("is sent");
    world.heard();
    world.clock.advance(1_000);
    assert!(update(&world, &channel, &alice, json!({ "Name": "new" })).await.is_ok());
    let heard = world.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].event_type, "UPDATE_CHANNEL");
    assert!(matches!(heard[0].audience, Audience::Members(_)));
    assert_eq!(heard[0].effect, None);
    let payload = &heard[0].payload;
    assert_eq!(payload["Name"], "new");
    assert_eq!(payload["ChannelArn"], json!(channel));
    for (member, expected) in [("Mode", "RESTRICTED"), ("Privacy", "PRIVATE"), ("Metadata", "m")] {
        assert_eq!(payload[member], expected);
    }
    assert_eq!(payload["CreatedBy"]["Arn"], json!(alice));
    for time in ["CreatedTimestamp", "LastUpdatedTimestamp", "LastMessageTimestamp"] {
        assert!(payload[time].is_string(), "{time}");
    }
}

#[tokio::test]
async fn request_that_names_nothing_changes_and_tells_nothing() {
    let (mut world, [alice, bob, _], channel) = world().await;
    world.clock.advance(1_000);
    for body in [json!({}), Value::Null] {
        let answer = update(&world, &channel, &alice, body).await;
        assert_eq!(answer, Ok(json!({ "ChannelArn": channel })));
    }
    assert!(world.heard().is_empty());
    let found = described(&world, &channel, &alice).await;
    assert_eq!(found["LastUpdatedTimestamp"], json!(START_MS / 1_000));
    assert_eq!(update(&world, &channel, &bob, json!({})).await, FORBIDDEN);
    assert!(update(&world, &channel, &alice, json!({ "Name": "old" })).await.is_ok());
    assert_eq!(world.heard().len(), 1, "a repetition is an update");
}

#[tokio::test]
async fn moderators_and_admins_update_and_nobody_else() {
    let (mut world, [alice, bob, carol], channel) = world().await;
    let body = json!({ "Name": "new" });
    for bearer in [&bob, &carol] {
        assert_eq!(update(&world, &channel, bearer, body.clone()).await, FORBIDDEN);
    }
    assert_eq!(update(&world, &channel, "", body.clone()).await, UNAUTHORIZED);
    assert!(world.heard().is_empty());
    assert!(world.create_admin(&carol).await.is_ok());
    assert!(update(&world, &channel, &carol, body.clone()).await.is_ok());
    let unknown = format!("{}/channel/unknown", world.app_instance);
    assert_eq!(update(&world, &unknown, &alice, body.clone()).await, FORBIDDEN);
    assert_eq!(update(&world, &alice, &alice, body).await, BAD_REQUEST);
}

#[tokio::test]
async fn mode_counts_from_the_update_on() {
    let (world, [alice, bob, carol], channel) = world().await;
    assert_eq!(world.join(&channel, &bob, &carol).await, FORBIDDEN);
    let unrestricted = json!({ "Mode": "UNRESTRICTED" });
    assert!(update(&world, &channel, &alice, unrestricted).await.is_ok());
    assert!(world.join(&channel, &bob, &carol).await.is_ok());
}

#[tokio::test]
async fn values_outside_the_model_are_refused() {
    let (mut world, [alice, ..], channel) = world().await;
    for body in [
        json!({ "Name": "" }),
        json!({ "Name": "x".repeat(257) }),
        json!({ "Mode": "OPEN" }),
        json!({ "Metadata": "ü".repeat(513) }),
    ] {
        assert_eq!(update(&world, &channel, &alice, body.clone()).await, BAD_REQUEST, "{body}");
    }
    assert!(world.heard().is_empty());
}

#[tokio::test]
async fn updates_of_two_members_at_once_are_both_kept() {
    let (world, [alice, ..], channel) = world().await;
    let (first, second) = tokio::join!(
        update(&world, &channel, &alice, json!({ "Name": "new" })),
        update(&world, &channel, &alice, json!({ "Metadata": "new" })),
    );
    assert!(first.is_ok() && second.is_ok());
    let found = described(&world, &channel, &alice).await;
    assert_eq!((&found["Name"], &found["Metadata"]), (&json!("new"), &json!("new")));
}

use serde_json::{Value, json};

use super::*;
use crate::testing::{
    BAD_REQUEST, CONFLICT, FORBIDDEN, LIMIT, Outcome, START_MS, World, label, text,
};

const PUSH_APP: &str = "arn:aws:mobiletargeting:us-east-1:111122223333:apps/a1b2";

fn endpoints(user: &str) -> String {
    format!("/app-instance-users/{}/endpoints", label(user))
}

/// Registers a device; `more` replaces or adds members of the request.
async fn register(world: &mut World, user: &str, device: &str, more: Value) -> Outcome {
    let mut body = json!({
        "Type": "GCM", "ResourceArn": PUSH_APP, "ClientRequestToken": world.token(),
        "EndpointAttributes": { "DeviceToken": device },
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    world.call("POST", &endpoints(user), "", body).await
}

async fn registered(world: &mut World, user: &str, device: &str) -> String {
    let answer = register(world, user, device, json!({})).await.expect("is registered");
    format!("{}/{}", endpoints(user), text(&answer["EndpointId"]))
}

#[tokio::test]
async fn device_is_registered_described_and_listed() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let attributes = json!({ "DeviceToken": "device 1", "VoipDeviceToken": "voip" });
    let more = json!({ "Type": "APNS", "Name": "My phone", "AllowMessages": "NONE",
        "EndpointAttributes": attributes });
    let answer = register(&mut world, &alice, "", more).await.expect("is registered");
    let id = text(&answer["EndpointId"]);
    assert!(ids::parse_uuid(&id).is_some());
    assert_eq!(answer, json!({ "AppInstanceUserArn": alice, "EndpointId": id }));
    let state = json!({ "Status": "INACTIVE", "StatusReason": "INVALID_PINPOINT_ARN" });
    let path = format!("{}/{id}", endpoints(&alice));
    let full = json!({
        "AppInstanceUserArn": alice, "EndpointId": id, "Name": "My phone", "Type": "APNS",
        "ResourceArn": PUSH_APP, "EndpointAttributes": attributes, "AllowMessages": "NONE",
        "EndpointState": state, "CreatedTimestamp": START_MS / 1_000,
        "LastUpdatedTimestamp": START_MS / 1_000,
    });
    let described = world.get(&path, "").await;
    assert_eq!(described, Ok(json!({ "AppInstanceUserEndpoint": full })));
    let summary = json!({
        "AppInstanceUserArn": alice, "EndpointId": id, "Name": "My phone", "Type": "APNS",
        "AllowMessages": "NONE", "EndpointState": state,
    });
    let listed = world.get(&endpoints(&alice), "").await;
    assert_eq!(listed, Ok(json!({ "AppInstanceUserEndpoints": [summary] })));
    assert_eq!(world.chat.undeliverable_endpoint_count(), 1);
}

#[tokio::test]
async fn defaults_are_all_messages_and_no_name() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let path = registered(&mut world, &alice, "device").await;
    let described = world.get(&path, "").await.expect("is there");
    let endpoint = &described["AppInstanceUserEndpoint"];
    assert_eq!(endpoint["AllowMessages"], "ALL");
    assert_eq!(endpoint.get("Name"), None);
    assert_eq!(endpoint["EndpointAttributes"], json!({ "DeviceToken": "device" }));
}

#[tokio::test]
async fn what_the_model_forbids_is_refused() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    for more in [
        json!({ "Type": "EMAIL" }),
        json!({ "Type": null }),
        json!({ "ResourceArn": null }),
        json!({ "ResourceArn": "nowhere" }),
        json!({ "EndpointAttributes": {} }),
        json!({ "EndpointAttributes": { "DeviceToken": "" } }),
        json!({ "EndpointAttributes": { "DeviceToken": "x".repeat(1_601) } }),
        json!({ "EndpointAttributes": { "DeviceToken": "x", "VoipDeviceToken": "" } }),
        json!({ "Name": "x".repeat(1_601) }),
        json!({ "AllowMessages": "SOME" }),
    ] {
        assert_eq!(register(&mut world, &alice, "d", more.clone()).await, BAD_REQUEST, "{more}");
    }
    let listed = world.get(&endpoints(&alice), "").await;
    assert_eq!(listed, Ok(json!({ "AppInstanceUserEndpoints": [] })));
    assert_eq!(world.chat.undeliverable_endpoint_count(), 0);
}

#[tokio::test]
async fn same_device_again_is_a_conflict_until_it_is_deregistered() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let path = registered(&mut world, &alice, "device").await;
    let other_app = json!({ "Name": "again", "ResourceArn": format!("{PUSH_APP}2") });
    assert_eq!(register(&mut world, &alice, "device", other_app).await, CONFLICT);
    for kind in ["APNS", "APNS_SANDBOX"] {
        assert!(register(&mut world, &alice, "device", json!({ "Type": kind })).await.is_ok());
    }
    assert!(register(&mut world, &bob, "device", json!({})).await.is_ok(), "it is another's too");
    assert_eq!(world.delete(&path, "").await, Ok(Value::Null));
    assert_eq!(world.get(&path, "").await, FORBIDDEN);
    assert_eq!(world.delete(&path, "").await, FORBIDDEN);
    assert_ne!(registered(&mut world, &alice, "device").await, path);
}

#[tokio::test]
async fn token_answers_the_first_endpoint_again() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let token = json!({ "ClientRequestToken": "same" });
    let first = register(&mut world, &alice, "device", token.clone()).await.expect("registered");
    assert_eq!(register(&mut world, &alice, "device", token.clone()).await, Ok(first.clone()));
    assert_eq!(world.chat.undeliverable_endpoint_count(), 1, "a repeat registers nothing");
    assert_eq!(register(&mut world, &alice, "other", token.clone()).await, CONFLICT);
    let of_bob = register(&mut world, &bob, "device", token.clone()).await.expect("registered");
    assert_ne!(of_bob["EndpointId"], first["EndpointId"], "a token is one user's");
    let path = format!("{}/{}", endpoints(&alice), text(&first["EndpointId"]));
    assert!(world.delete(&path, "").await.is_ok());
    let second = register(&mut world, &alice, "device", token).await.expect("is registered");
    assert_ne!(second["EndpointId"], first["EndpointId"]);
}

#[tokio::test]
async fn ten_devices_fit_are_listed_in_pages_and_a_deregistered_one_frees_its_place() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let mut last = String::new();
    for index in 0..10 {
        last = registered(&mut world, &alice, &format!("device-{index}")).await;
    }
    assert_eq!(register(&mut world, &alice, "eleventh", json!({})).await, LIMIT);
    assert!(world.delete(&last, "").await.is_ok());
    registered(&mut world, &alice, "eleventh").await;
    for size in [1, 3, 10, 50] {
        let target = format!("{}?max-results={size}", endpoints(&alice));
        let listed = world.pages(&target, "", "AppInstanceUserEndpoints").await;
        let mut ids: Vec<String> = listed.iter().map(|one| text(&one["EndpointId"])).collect();
        assert!(ids.is_sorted());
        ids.dedup();
        assert_eq!(ids.len(), 10, "{size}");
    }
    let bob = world.create_user("bob").await;
    let first = world.get(&format!("{}?max-results=1", endpoints(&alice)), "").await;
    let token = text(&first.expect("is there")["NextToken"]);
    let foreign = format!("{}?next-token={token}", endpoints(&bob));
    assert_eq!(world.get(&foreign, "").await, BAD_REQUEST);
}

#[tokio::test]
async fn update_changes_what_is_given() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let path = registered(&mut world, &alice, "device").await;
    let id = path.rsplit_once('/').expect("a path has an id").1.to_owned();
    world.clock.advance(1_000);
    let shown = async |world: &World| {
        let described = world.get(&path, "").await.expect("is there");
        let endpoint = &described["AppInstanceUserEndpoint"];
        assert_eq!(endpoint["CreatedTimestamp"], json!(START_MS / 1_000));
        assert_eq!(endpoint["LastUpdatedTimestamp"], json!(START_MS / 1_000 + 1));
        (endpoint.get("Name").map(text), text(&endpoint["AllowMessages"]))
    };
    let updated = world.call("PUT", &path, "", json!({ "Name": "My phone" })).await;
    assert_eq!(updated, Ok(json!({ "AppInstanceUserArn": alice, "EndpointId": id })));
    assert_eq!(shown(&world).await, (Some("My phone".into()), "ALL".into()));
    assert!(world.call("PUT", &path, "", json!({ "AllowMessages": "NONE" })).await.is_ok());
    assert_eq!(shown(&world).await, (Some("My phone".into()), "NONE".into()));
    assert!(world.call("PUT", &path, "", json!({})).await.is_ok());
    assert_eq!(shown(&world).await, (Some("My phone".into()), "NONE".into()));
    assert!(world.call("PUT", &path, "", json!({ "Name": "" })).await.is_ok());
    assert_eq!(shown(&world).await, (None, "NONE".into()));
    assert_eq!(register(&mut world, &alice, "device", json!({})).await, CONFLICT);
    let bad = world.call("PUT", &path, "", json!({ "AllowMessages": "SOME" })).await;
    assert_eq!(bad, BAD_REQUEST);
}

#[tokio::test]
async fn endpoints_are_their_users_alone() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let path = registered(&mut world, &alice, "device").await;
    let id = path.rsplit_once('/').expect("a path has an id").1;
    for other in [format!("{}/{id}", endpoints(&bob)), format!("{}/x", endpoints(&alice))] {
        assert_eq!(world.get(&other, "").await, FORBIDDEN, "{other}");
        assert_eq!(world.call("PUT", &other, "", json!({})).await, FORBIDDEN);
        assert_eq!(world.delete(&other, "").await, FORBIDDEN);
    }
    let nobody = format!("{alice}2");
    assert_eq!(register(&mut world, &nobody, "device", json!({})).await, FORBIDDEN);
    assert_eq!(world.get(&endpoints(&nobody), "").await, FORBIDDEN);
    assert_eq!(world.get(&endpoints(&world.app_instance), "").await, BAD_REQUEST);
    let bot = world.create_bot("bot").await;
    assert_eq!(register(&mut world, &bot, "device", json!({})).await, BAD_REQUEST);
}

#[tokio::test]
async fn endpoints_go_with_their_user_and_are_not_a_successors() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let path = registered(&mut world, &alice, "device").await;
    for index in 0..9 {
        registered(&mut world, &alice, &index.to_string()).await;
    }
    let user = format!("/app-instance-users/{}", label(&alice));
    assert!(world.delete(&user, "").await.is_ok());
    assert_eq!(world.get(&path, "").await, FORBIDDEN);
    assert_eq!(world.create_user("alice").await, alice);
    assert_eq!(world.get(&path, "").await, FORBIDDEN);
    registered(&mut world, &alice, "device").await;
    world.run_jobs().await;
    assert_eq!(world.row_count(&APP_INSTANCE_USER_ENDPOINT).await, 1);
    assert_eq!(world.row_count(&APP_INSTANCE_USER_ENDPOINT_BY_DEVICE).await, 1);
}

#[tokio::test]
async fn of_two_that_register_one_device_at_once_one_is_told_so() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    for device in 0..10 {
        let body = |token: &str| {
            json!({ "Type": "GCM", "ResourceArn": PUSH_APP, "ClientRequestToken": token,
                "EndpointAttributes": { "DeviceToken": device.to_string() } })
        };
        let (one, other) = (world.token(), world.token());
        let path = endpoints(&alice);
        let (one, other) = tokio::join!(
            world.call("POST", &path, "", body(&one)),
            world.call("POST", &path, "", body(&other)),
        );
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        assert!([one, other].contains(&CONFLICT));
    }
    assert_eq!(world.row_count(&APP_INSTANCE_USER_ENDPOINT).await, 10);
    world.run_jobs().await;
}

#[tokio::test]
async fn user_who_is_deleted_while_a_device_is_registered_leaves_none() {
    let mut world = World::new().await;
    for _ in 0..20 {
        let alice = world.create_user("alice").await;
        let (path, user) = (endpoints(&alice), format!("/app-instance-users/{}", label(&alice)));
        let body = json!({ "Type": "GCM", "ResourceArn": PUSH_APP, "ClientRequestToken": world.token(),
            "EndpointAttributes": { "DeviceToken": "device" } });
        let (registered, deleted) =
            tokio::join!(world.call("POST", &path, "", body), world.delete(&user, ""));
        assert!(deleted.is_ok(), "{deleted:?}");
        assert!(registered.is_ok() || registered == FORBIDDEN, "{registered:?}");
        world.run_jobs().await;
        assert_eq!(world.row_count(&APP_INSTANCE_USER_ENDPOINT).await, 0);
    }
}

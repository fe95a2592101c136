use serde_json::{Value, json};

use super::CHANNEL_MEMBERSHIP_PREFERENCES;
use crate::testing::{BAD_REQUEST, FORBIDDEN, Outcome, UNAUTHORIZED, World, label};

const RULE: &str = r#"{"mention":["Bob"]}"#;

fn path(channel: &str, member: &str) -> String {
    format!("/channels/{}/memberships/{}/preferences", label(channel), label(member))
}

async fn put(world: &World, channel: &str, owner: &str, push: Value) -> Outcome {
    let body = json!({ "Preferences": { "PushNotifications": push } });
    world.call("PUT", &path(channel, owner), owner, body).await
}

async fn get(world: &World, channel: &str, owner: &str) -> Value {
    let got = world.get(&path(channel, owner), owner).await.expect("is readable");
    got["Preferences"]["PushNotifications"].clone()
}

/// A channel of alice's with bob in it.
async fn world() -> (World, [String; 2], String) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let channel = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    world.heard();
    (world, [alice, bob], channel)
}

#[tokio::test]
async fn preferences_are_all_until_put_and_then_what_was_put() {
    let (mut world, [alice, bob], channel) = world().await;
    assert_eq!(get(&world, &channel, &bob).await, json!({ "AllowNotifications": "ALL" }));
    for push in [
        json!({ "AllowNotifications": "NONE" }),
        json!({ "AllowNotifications": "FILTERED", "FilterRule": RULE }),
        json!({ "AllowNotifications": "ALL", "FilterRule": RULE }),
        json!({ "AllowNotifications": "ALL" }),
    ] {
        let answer = put(&world, &channel, &bob, push.clone()).await;
        let expected = json!({
            "ChannelArn": channel, "Member": { "Arn": bob, "Name": "bob" },
            "Preferences": { "PushNotifications": push },
        });
        assert_eq!(answer, Ok(expected.clone()));
        assert_eq!(world.get(&path(&channel, &bob), &bob).await, Ok(expected));
    }
    assert_eq!(get(&world, &channel, &alice).await, json!({ "AllowNotifications": "ALL" }));
    assert!(world.heard().is_empty(), "nobody is told");
    assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
}

#[tokio::test]
async fn put_without_push_notifications_takes_them_back() {
    let (world, [_, bob], channel) = world().await;
    assert!(put(&world, &channel, &bob, json!({ "AllowNotifications": "NONE" })).await.is_ok());
    let body = json!({ "Preferences": {} });
    let answer = world.call("PUT", &path(&channel, &bob), &bob, body).await.expect("is put");
    let all = json!({ "PushNotifications": { "AllowNotifications": "ALL" } });
    assert_eq!(answer["Preferences"], all);
    assert_eq!(world.row_count(&CHANNEL_MEMBERSHIP_PREFERENCES).await, 0);
}

#[tokio::test]
async fn rule_that_cannot_be_applied_is_refused_and_the_old_one_stays() {
    let (world, [_, bob], channel) = world().await;
    let old = json!({ "AllowNotifications": "FILTERED", "FilterRule": RULE });
    assert!(put(&world, &channel, &bob, old.clone()).await.is_ok());
    for push in [
        json!({ "AllowNotifications": "FILTERED" }),
        json!({ "AllowNotifications": "FILTERED", "FilterRule": "" }),
        json!({ "AllowNotifications": "FILTERED", "FilterRule": "mention=Bob" }),
        json!({ "AllowNotifications": "ALL", "FilterRule": r#"{"a":[{"prefix":"b"}]}"# }),
        json!({ "AllowNotifications": "SOME" }),
        json!({ "FilterRule": RULE }),
        json!({}),
    ] {
        assert_eq!(put(&world, &channel, &bob, push.clone()).await, BAD_REQUEST, "{push}");
    }
    assert_eq!(world.call("PUT", &path(&channel, &bob), &bob, json!({})).await, BAD_REQUEST);
    assert_eq!(get(&world, &channel, &bob).await, old);
}

#[tokio::test]
async fn owner_alone_reads_and_puts() {
    let (mut world, [alice, bob], channel) = world().await;
    let admin = world.create_user("admin").await;
    assert!(world.create_admin(&admin).await.is_ok());
    let hidden = world.create_user("hidden").await;
    assert!(world.join_as(&channel, &alice, &hidden, "HIDDEN").await.is_ok());
    let body = json!({ "Preferences": { "PushNotifications": { "AllowNotifications": "NONE" } } });
    let nobody = format!("{}/user/nobody", world.app_instance);
    for (bearer, member) in [
        (&alice, &bob),
        (&admin, &bob),
        (&hidden, &bob),
        (&bob, &alice),
        (&bob, &nobody),
        (&bob, &channel),
        (&admin, &admin),
    ] {
        let target = path(&channel, member);
        assert_eq!(world.get(&target, bearer).await, FORBIDDEN, "{bearer} {member}");
        assert_eq!(world.call("PUT", &target, bearer, body.clone()).await, FORBIDDEN);
    }
    for owner in [&alice, &bob, &hidden] {
        let answer = world.call("PUT", &path(&channel, owner), owner, body.clone()).await;
        assert!(answer.is_ok());
    }
    assert_eq!(world.get(&path(&channel, &bob), "").await, UNAUTHORIZED);
    let unknown = format!("{}/channel/unknown", world.app_instance);
    assert_eq!(world.get(&path(&unknown, &bob), &bob).await, FORBIDDEN);
}

#[tokio::test]
async fn preferences_go_with_the_membership_whichever_way_that_goes() {
    let (mut world, [alice, bob], channel) = world().await;
    let none = json!({ "AllowNotifications": "NONE" });
    assert!(put(&world, &channel, &bob, none.clone()).await.is_ok());
    assert!(world.leave(&channel, &bob, &bob).await.is_ok());
    assert_eq!(world.get(&path(&channel, &bob), &bob).await, FORBIDDEN);
    assert_eq!(world.row_count(&CHANNEL_MEMBERSHIP_PREFERENCES).await, 0);
    assert!(world.join(&channel, &alice, &bob).await.is_ok());
    assert_eq!(get(&world, &channel, &bob).await, json!({ "AllowNotifications": "ALL" }));
    let kept = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    for (channel, owner) in [(&channel, &alice), (&channel, &bob), (&kept, &bob)] {
        assert!(put(&world, channel, owner, none.clone()).await.is_ok());
    }
    assert!(world.delete(&format!("/channels/{}", label(&channel)), &alice).await.is_ok());
    world.run_jobs().await;
    assert_eq!(world.row_count(&CHANNEL_MEMBERSHIP_PREFERENCES).await, 1);
    assert!(world.delete(&format!("/app-instance-users/{}", label(&bob)), "").await.is_ok());
    world.run_jobs().await;
    assert_eq!(world.row_count(&CHANNEL_MEMBERSHIP_PREFERENCES).await, 0);
}

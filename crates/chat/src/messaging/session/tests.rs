use serde_json::json;

use crate::Subscription;
use crate::testing::{World, label};

#[tokio::test]
async fn session_is_for_live_users_of_this_place() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    assert!(world.chat.connect(&alice).await.expect("answers").is_some());
    let app_instance = world.app_instance.clone();
    let far = alice.replace("us-east-1", "eu-central-1");
    for refused in ["", "alice", &app_instance, &far, &format!("{app_instance}/user/nobody")] {
        assert_eq!(world.chat.connect(refused).await.expect("answers"), None, "{refused}");
    }
    assert!(world.delete(&format!("/app-instances/{}", label(&app_instance)), "").await.is_ok());
    assert_eq!(world.chat.connect(&alice).await.expect("answers"), None);
}

#[tokio::test]
async fn subscriptions_are_the_live_memberships_from_their_joins_on() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let own = world.create_channel(&bob, json!({ "ChannelId": "own" })).await;
    let joined = world.create_channel(&alice, json!({ "ChannelId": "joined" })).await;
    let left = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    let gone = json!({ "ChannelId": "gone", "MemberArns": [bob] });
    let gone = world.create_channel(&alice, gone).await;
    world.send(&joined, &alice, "before bob").await.expect("is sent");
    assert!(world.join(&joined, &alice, &bob).await.is_ok());
    assert!(world.leave(&left, &bob, &bob).await.is_ok());
    assert!(world.delete(&format!("/channels/{}", label(&gone)), &alice).await.is_ok());
    world.create_channel(&alice, json!({ "ChannelId": "gone" })).await;
    let user = world.chat.connect(&bob).await.expect("answers").expect("is let in");
    let mut heard = world.chat.memberships(&user).await.expect("answers");
    heard.sort_by_key(|subscription| subscription.since_seq);
    let shape: Vec<(u64, bool)> = heard
        .iter()
        .map(|&Subscription { since_seq, moderator, .. }| (since_seq, moderator))
        .collect();
    assert_eq!(shape, [(1, true), (3, false)], "{own} {joined}");
}

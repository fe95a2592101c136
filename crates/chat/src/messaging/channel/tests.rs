use serde_json::{Value, json};

use crate::Effect;
use crate::testing::{
    BAD_REQUEST, CONFLICT, FORBIDDEN, START_MS, UNAUTHORIZED, World, label, text,
};

fn path(channel: &str) -> String {
    format!("/channels/{}", label(channel))
}

#[tokio::test]
async fn creator_is_member_and_moderator_of_his_channel() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let channel = world.create_channel(&alice, json!({})).await;
    assert_eq!(world.members(&channel, &alice, "").await, ["alice"]);
    let described = world.get(&path(&channel), &alice).await.expect("is readable");
    let described = &described["Channel"];
    assert_eq!(described["Mode"], "RESTRICTED");
    assert_eq!(described["Privacy"], "PRIVATE");
    assert_eq!(described["CreatedBy"], json!({ "Arn": alice, "Name": "alice" }));
    assert_eq!(described["CreatedTimestamp"], json!(START_MS / 1_000));
    assert_eq!(described["LastMessageTimestamp"], Value::Null);
    assert!(world.delete(&path(&channel), &alice).await.is_ok(), "moderators delete");
}

#[tokio::test]
async fn given_members_and_moderators_come_with_the_channel_and_hear_of_it() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let carol = world.create_user("carol").await;
    world.heard();
    let more = json!({ "ChannelId": "team", "MemberArns": [bob, bob, alice, carol],
        "ModeratorArns": [carol], "Tags": [{ "Key": "a", "Value": "b" }] });
    let channel = world.create_channel(&alice, more).await;
    assert!(channel.ends_with("/channel/team"));
    let heard = world.heard();
    let joins = heard.iter().filter(|heard| matches!(heard.effect, Some(Effect::Join { .. })));
    assert_eq!(joins.count(), 3);
    let told: Vec<String> = heard
        .iter()
        .filter(|heard| heard.event_type == "CREATE_CHANNEL_MEMBERSHIP")
        .map(|heard| text(&heard.payload["Member"]["Name"]))
        .collect();
    assert_eq!(told, ["alice", "carol", "bob"]);
    assert_eq!(world.members(&channel, &bob, "").await.len(), 3);
    assert_eq!(world.delete(&path(&channel), &bob).await, FORBIDDEN);
    assert!(world.delete(&path(&channel), &carol).await.is_ok());
}

#[tokio::test]
async fn failed_create_leaves_nothing() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let nobody = format!("{}/user/nobody", world.app_instance);
    let reserved = json!([{ "Key": "aws:x", "Value": "" }]);
    let twice = json!([{ "Key": "x", "Value": "1" }, { "Key": "x", "Value": "2" }]);
    let elastic = json!({ "MaximumSubChannels": 2, "TargetMembershipsPerSubChannel": 2,
        "MinimumMembershipPercentage": 10 });
    let cases = [
        (json!({ "MemberArns": [nobody] }), FORBIDDEN),
        (json!({ "ModeratorArns": [nobody] }), FORBIDDEN),
        (json!({ "Tags": reserved }), BAD_REQUEST),
        (json!({ "Tags": twice }), BAD_REQUEST),
        (json!({ "ElasticChannelConfiguration": elastic, "Mode": "UNRESTRICTED" }), BAD_REQUEST),
        (json!({ "ElasticChannelConfiguration": elastic, "MemberArns": [alice] }), BAD_REQUEST),
    ];
    world.heard();
    for (mut more, expected) in cases {
        more["ChannelId"] = json!("team");
        assert_eq!(world.try_create_channel(&alice, more.clone()).await, expected, "{more}");
    }
    assert!(world.heard().is_empty());
    assert!(world.try_create_channel(&alice, json!({ "ChannelId": "team" })).await.is_ok());
}

#[tokio::test]
async fn channel_id_is_taken_once_and_token_answers_the_first() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let more = json!({ "ChannelId": "team", "ClientRequestToken": "same" });
    let first = world.try_create_channel(&alice, more.clone()).await.expect("is created");
    world.heard();
    assert_eq!(world.try_create_channel(&alice, more).await, Ok(first));
    assert!(world.heard().is_empty(), "a replay tells nothing");
    let other = json!({ "ChannelId": "other", "ClientRequestToken": "same" });
    assert_eq!(world.try_create_channel(&alice, other).await, CONFLICT);
    assert_eq!(world.try_create_channel(&bob, json!({ "ChannelId": "team" })).await, CONFLICT);
}

#[tokio::test]
async fn private_channel_is_described_to_its_people_and_admins() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let private = world.create_channel(&alice, json!({})).await;
    let public = world.create_channel(&alice, json!({ "Privacy": "PUBLIC" })).await;
    assert_eq!(world.get(&path(&private), &bob).await, FORBIDDEN);
    assert!(world.get(&path(&public), &bob).await.is_ok());
    assert!(world.create_admin(&bob).await.is_ok());
    assert!(world.get(&path(&private), &bob).await.is_ok());
}

#[tokio::test]
async fn channels_are_listed_by_privacy_in_pages_and_private_ones_to_admins() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    for index in 0..5 {
        let privacy = if index < 3 { "PUBLIC" } else { "PRIVATE" };
        let more = json!({ "ChannelId": format!("c{index}"), "Privacy": privacy });
        let channel = world.create_channel(&alice, more).await;
        world.send(&channel, &alice, "x").await.expect("is sent");
    }
    let list = format!("/channels?app-instance-arn={}", label(&world.app_instance));
    let public = world.pages(&format!("{list}&max-results=2"), &alice, "Channels").await;
    assert_eq!(public.len(), 3);
    assert!(public.iter().all(|channel| channel["LastMessageTimestamp"].is_number()));
    let private = format!("{list}&privacy=PRIVATE&max-results=1");
    assert_eq!(world.get(&private, &alice).await, FORBIDDEN);
    assert!(world.create_admin(&alice).await.is_ok());
    assert_eq!(world.pages(&private, &alice, "Channels").await.len(), 2);
}

#[tokio::test]
async fn deleted_channel_is_gone_at_once_and_its_id_is_free() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let more = json!({ "ChannelId": "team", "MemberArns": [bob], "Privacy": "PUBLIC" });
    let old = world.create_channel(&alice, more).await;
    let sent = world.send(&old, &alice, "old").await.expect("is sent");
    world.heard();
    assert_eq!(world.delete(&path(&old), &alice).await, Ok(Value::Null));
    let heard = world.heard();
    assert_eq!(heard[0].event_type, "DELETE_CHANNEL");
    assert_eq!(heard[0].payload["Name"], "channel");
    for who in [&alice, &bob] {
        assert_eq!(world.get(&path(&old), who).await, FORBIDDEN);
        assert_eq!(world.send(&old, who, "x").await, FORBIDDEN);
    }
    assert_eq!(world.delete(&path(&old), &alice).await, FORBIDDEN);
    let new = world.create_channel(&bob, json!({ "ChannelId": "team" })).await;
    assert_eq!(new, old);
    assert_eq!(world.members(&new, &bob, "").await, ["bob"]);
    assert!(world.contents(&new, &bob).await.is_empty());
    assert_eq!(world.get(&path(&new), &alice).await, FORBIDDEN, "its creator was another");
    let message = format!("{}/messages/{}", path(&new), text(&sent["MessageId"]));
    assert!(world.get(&message, &bob).await.is_err());
}

#[tokio::test]
async fn bearer_must_be_alive_and_of_the_same_app_instance() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let channel = world.create_channel(&alice, json!({ "Privacy": "PUBLIC" })).await;
    let home = std::mem::take(&mut world.app_instance);
    world.app_instance = world.create_app_instance("other").await;
    let stranger = world.create_user("alice").await;
    assert_eq!(world.get(&path(&channel), &stranger).await, FORBIDDEN);
    assert_eq!(
        world.try_create_channel(&stranger, json!({ "AppInstanceArn": home })).await,
        FORBIDDEN
    );
    let nobody = format!("{home}/user/nobody");
    let far = alice.replace("us-east-1", "eu-central-1");
    for bearer in ["", "x", &nobody, &home, &channel, &far] {
        assert_eq!(world.get(&path(&channel), bearer).await, UNAUTHORIZED, "{bearer}");
    }
    assert!(world.delete(&format!("/app-instances/{}", label(&home)), "").await.is_ok());
    assert_eq!(world.get(&path(&channel), &alice).await, UNAUTHORIZED);
}

#[tokio::test]
async fn arn_of_something_else_is_a_bad_request_and_an_unknown_one_forbidden() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    assert_eq!(world.get(&path(&alice), &alice).await, BAD_REQUEST);
    let unknown = format!("{}/channel/unknown", world.app_instance);
    assert_eq!(world.get(&path(&unknown), &alice).await, FORBIDDEN);
    assert_eq!(world.get("/channels/x", &alice).await, BAD_REQUEST, "not an ARN by the model");
    let session = world.get("/endpoints/messaging-session", "").await.expect("is answered");
    assert_eq!(session, json!({ "Endpoint": { "Url": "localhost:8080" } }));
}

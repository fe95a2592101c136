use serde_json::{Value, json};
use store::Audience;

use crate::testing::{
    BAD_REQUEST, CONFLICT, FORBIDDEN, NOT_FOUND, Outcome, START_MS, World, label, text,
};

async fn take_away(world: &World, channel: &str, bearer: &str, flow: &str) -> Outcome {
    let target = format!("/channels/{}/channel-flow/{}", label(channel), label(flow));
    world.delete(&target, bearer).await
}

async fn described(world: &World, channel: &str, bearer: &str) -> Value {
    let target = format!("/channels/{}", label(channel));
    world.get(&target, bearer).await.expect("is readable")["Channel"].clone()
}

fn channels_of(flow: &str) -> String {
    format!("/channels?scope=channel-flow-associations&channel-flow-arn={}", label(flow))
}

#[tokio::test]
async fn flow_of_a_channel_is_described_and_its_members_are_told() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let flow = world.create_flow("CONTINUE").await;
    let channel = world.create_channel(&alice, json!({ "Metadata": "{}" })).await;
    assert!(world.send(&channel, &alice, "hello").await.is_ok());
    world.clock.advance(1_000);
    world.heard();
    assert_eq!(world.associate(&channel, &alice, &flow).await, Ok(Value::Null));
    let heard = world.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].event_type, "UPDATE_CHANNEL");
    assert!(matches!(heard[0].audience, Audience::Members(_)));
    assert_eq!(heard[0].payload["ChannelFlowArn"], json!(flow));
    assert_eq!(heard[0].payload["Metadata"], "{}");
    assert_eq!(heard[0].payload["LastUpdatedTimestamp"], "2021-07-01T00:00:01.000Z");
    assert!(heard[0].payload["LastMessageTimestamp"].is_string());
    let now = described(&world, &channel, &alice).await;
    assert_eq!(now["ChannelFlowArn"], json!(flow));
    assert_eq!(now["LastUpdatedTimestamp"], json!(START_MS / 1_000 + 1));
    assert_eq!(take_away(&world, &channel, &alice, &flow).await, Ok(Value::Null));
    let heard = world.heard();
    assert_eq!(heard[0].event_type, "UPDATE_CHANNEL");
    assert_eq!(heard[0].payload["ChannelFlowArn"], Value::Null);
    assert_eq!(described(&world, &channel, &alice).await["ChannelFlowArn"], Value::Null);
    world.run_jobs().await;
}

#[tokio::test]
async fn only_moderators_and_admins_change_the_flow() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let carol = world.create_user("carol").await;
    assert!(world.create_admin(&carol).await.is_ok());
    let flow = world.create_flow("CONTINUE").await;
    let channel = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    assert_eq!(world.associate(&channel, &bob, &flow).await, FORBIDDEN);
    assert!(world.associate(&channel, &carol, &flow).await.is_ok());
    assert_eq!(take_away(&world, &channel, &bob, &flow).await, FORBIDDEN);
    assert!(take_away(&world, &channel, &alice, &flow).await.is_ok());
}

#[tokio::test]
async fn channel_has_one_flow_and_it_must_be_there() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let flow = world.create_flow("CONTINUE").await;
    let other = world.create_flow("ABORT").await;
    let own = std::mem::take(&mut world.app_instance);
    world.app_instance = world.create_app_instance("other").await;
    let foreign = world.create_flow("ABORT").await;
    world.app_instance = own;
    let gone = world.create_flow("ABORT").await;
    assert!(world.delete(&format!("/channel-flows/{}", label(&gone)), "").await.is_ok());
    let channel = world.create_channel(&alice, json!({})).await;
    let elsewhere = flow.replace("us-east-1", "eu-central-1");
    for (arn, refusal) in [
        (gone.as_str(), NOT_FOUND),
        (&foreign, NOT_FOUND),
        (&elsewhere, NOT_FOUND),
        (&alice, BAD_REQUEST),
    ] {
        assert_eq!(world.associate(&channel, &alice, arn).await, refusal, "{arn}");
    }
    assert_eq!(take_away(&world, &channel, &alice, &flow).await, NOT_FOUND);
    assert!(world.associate(&channel, &alice, &flow).await.is_ok());
    assert_eq!(world.associate(&channel, &alice, &flow).await, CONFLICT);
    assert_eq!(world.associate(&channel, &alice, &other).await, CONFLICT);
    assert_eq!(take_away(&world, &channel, &alice, &other).await, NOT_FOUND);
    assert_eq!(take_away(&world, &channel, &alice, &alice).await, BAD_REQUEST);
    assert!(take_away(&world, &channel, &alice, &flow).await.is_ok());
    assert!(world.associate(&channel, &alice, &other).await.is_ok());
}

#[tokio::test]
async fn channels_of_a_flow_are_listed_in_pages() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let flow = world.create_flow("CONTINUE").await;
    let other = world.create_flow("CONTINUE").await;
    let mut channels = Vec::new();
    for index in 0..25 {
        world.clock.advance(1);
        let more = json!({ "Name": index.to_string(), "Privacy": "PUBLIC" });
        let channel = world.create_channel(&alice, more).await;
        let flow = if index % 5 == 0 { &other } else { &flow };
        assert!(world.associate(&channel, &alice, flow).await.is_ok());
        channels.push(channel);
    }
    assert!(take_away(&world, &channels[1], &alice, &flow).await.is_ok());
    let deleted = world.delete(&format!("/channels/{}", label(&channels[2])), &alice).await;
    assert!(deleted.is_ok());
    let expected: Vec<&String> =
        (3..25).filter(|index| index % 5 != 0).map(|index| &channels[index]).collect();
    for size in [1, 3, 50] {
        let target = format!("{}&max-results={size}", channels_of(&flow));
        let listed = world.pages(&target, "", "Channels").await;
        let arns: Vec<String> = listed.iter().map(|channel| text(&channel["ChannelArn"])).collect();
        assert_eq!(arns.iter().collect::<Vec<_>>(), expected, "{size}");
        assert_eq!(
            listed[0],
            json!({ "ChannelArn": channels[3], "Name": "3", "Mode": "RESTRICTED",
                "Privacy": "PUBLIC" })
        );
    }
    let page = world.get(&format!("{}&max-results=1", channels_of(&flow)), "").await;
    let token = text(&page.expect("is readable")["NextToken"]);
    let target = format!("{}&next-token={token}", channels_of(&other));
    assert_eq!(world.get(&target, "").await, BAD_REQUEST);
    assert_eq!(world.pages(&channels_of(&other), "", "Channels").await.len(), 5);
}

use serde_json::{Value, json};

use crate::testing::{World, lex, text};

async fn bot_with(world: &mut World, more: Value) -> String {
    let more = json!({ "Configuration": { "Lex": lex(more) } });
    text(&world.try_create_bot(more).await.expect("is created")["AppInstanceBotArn"])
}

fn mention(bots: &[&String]) -> Value {
    json!({ "MessageAttributes": { "CHIME.mentions": { "StringValues": bots } } })
}

fn target(bot: &str) -> Value {
    json!({ "Target": [{ "MemberArn": bot }] })
}

/// Sends and returns how many bots were called.
async fn calls(world: &mut World, channel: &str, sender: &str, more: Value) -> u64 {
    let before = world.chat.failed_bot_invocation_count();
    assert!(world.send_with(channel, sender, more).await.is_ok());
    world.chat.failed_bot_invocation_count() - before
}

#[tokio::test]
async fn configuration_says_what_calls_a_bot() {
    let by = |standard: &str, targeted: &str| json!({ "InvokedBy": { "StandardMessages": standard, "TargetedMessages": targeted } });
    for (more, mentions, targets) in [
        (by("ALL", "ALL"), 1, 1),
        (by("AUTO", "NONE"), 1, 0),
        (by("MENTIONS", "NONE"), 1, 0),
        (by("NONE", "ALL"), 0, 1),
        (by("NONE", "NONE"), 0, 0),
        (json!({ "RespondsTo": "STANDARD_MESSAGES" }), 1, 0),
        (json!({}), 1, 1),
    ] {
        let mut world = World::new().await;
        let alice = world.create_user("alice").await;
        let bot = bot_with(&mut world, more.clone()).await;
        let channel = world.create_channel(&alice, json!({ "MemberArns": [bot] })).await;
        let mentioned = calls(&mut world, &channel, &alice, mention(&[&bot, &bot])).await;
        assert_eq!(mentioned, mentions, "{more}");
        let targeted = calls(&mut world, &channel, &alice, target(&bot)).await;
        assert_eq!(targeted, targets, "{more}");
        assert_eq!(calls(&mut world, &channel, &alice, json!({})).await, 0, "nobody is named");
    }
}

#[tokio::test]
async fn bots_outside_the_channel_users_and_the_sender_are_not_called() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let [inside, second, outside] =
        [world.create_bot("1").await, world.create_bot("2").await, world.create_bot("3").await];
    let channel = world.create_channel(&alice, json!({ "MemberArns": [inside, second] })).await;
    let nobody = format!("{inside}0");
    let all = mention(&[&inside, &second, &outside, &alice, &nobody]);
    assert_eq!(calls(&mut world, &channel, &alice, all.clone()).await, 2);
    assert_eq!(calls(&mut world, &channel, &inside, all.clone()).await, 1);
    assert_eq!(calls(&mut world, &channel, &inside, target(&inside)).await, 0);
    assert_eq!(calls(&mut world, &channel, &inside, target(&alice)).await, 0);
    assert!(world.leave(&channel, &alice, &second).await.is_ok());
    assert_eq!(calls(&mut world, &channel, &alice, all).await, 1);
}

#[tokio::test]
async fn control_messages_call_nobody_and_unstored_ones_do() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bot = world.create_bot("bot").await;
    let channel = world.create_channel(&alice, json!({ "MemberArns": [bot] })).await;
    let mut control = mention(&[&bot]);
    control["Type"] = json!("CONTROL");
    assert_eq!(calls(&mut world, &channel, &alice, control).await, 0);
    let mut unstored = mention(&[&bot]);
    unstored["Persistence"] = json!("NON_PERSISTENT");
    assert_eq!(calls(&mut world, &channel, &alice, unstored).await, 1);
}

#[tokio::test]
async fn repeat_of_a_send_calls_nobody_again() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bot = world.create_bot("bot").await;
    let channel = world.create_channel(&alice, json!({ "MemberArns": [bot] })).await;
    let mut more = mention(&[&bot]);
    more["ClientRequestToken"] = json!("same");
    assert_eq!(calls(&mut world, &channel, &alice, more.clone()).await, 1);
    assert_eq!(calls(&mut world, &channel, &alice, more).await, 0);
}

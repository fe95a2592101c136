//! What a channel flow makes of a message; the rest of sending is tested beside the reading.

use serde_json::{Value, json};
use store::Audience;

use crate::testing::{Calls, FORBIDDEN, NOT_FOUND, World, label, text};

/// A channel of alice's and bob's with a flow.
async fn world(fallback: &str) -> (World, [String; 2], String) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let channel = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    let flow = world.create_flow(fallback).await;
    assert!(world.associate(&channel, &alice, &flow).await.is_ok());
    world.heard();
    (world, [alice, bob], channel)
}

fn message_path(channel: &str, sent: &Value) -> String {
    format!("/channels/{}/messages/{}", label(channel), text(&sent["MessageId"]))
}

fn status_path(channel: &str, sent: &Value) -> String {
    format!("{}?scope=message-status", message_path(channel, sent))
}

fn status(value: &str) -> Value {
    json!({ "Value": value })
}

#[tokio::test]
async fn flow_that_continues_sends_at_once_and_counts_the_failed_invocation() {
    let (mut world, [alice, bob], channel) = world("CONTINUE").await;
    let sent = world.send(&channel, &alice, "hello").await.expect("is sent");
    assert_eq!(sent["Status"], status("SENT"));
    let heard = world.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].event_type, "CREATE_CHANNEL_MESSAGE");
    assert_eq!(world.contents(&channel, &bob).await, ["hello"]);
    let answer = world.get(&status_path(&channel, &sent), &alice).await;
    assert_eq!(answer, Ok(json!({ "Status": status("SENT") })));
    assert_eq!(world.chat.failed_invocation_count(), 1);
}

#[tokio::test]
async fn flow_that_aborts_fails_the_message_for_its_sender_alone() {
    let (mut world, [alice, bob], channel) = world("ABORT").await;
    let more = json!({ "Content": "hello", "Metadata": "{\"local\":1}" });
    let sent = world.send_with(&channel, &alice, more).await.expect("is taken");
    assert_eq!(sent["Status"], status("PENDING"));
    let heard = world.heard();
    let told: Vec<(&str, &Value)> =
        heard.iter().map(|heard| (heard.event_type.as_str(), &heard.payload["Status"])).collect();
    assert_eq!(
        told,
        [
            ("PENDING_CREATE_CHANNEL_MESSAGE", &status("PENDING")),
            ("FAILED_CREATE_CHANNEL_MESSAGE", &status("FAILED")),
        ]
    );
    for event in &heard {
        assert!(matches!(&event.audience, Audience::Users(users) if users.len() == 1));
        assert_eq!(event.payload["MessageId"], sent["MessageId"]);
        assert_eq!(event.payload["Content"], "hello");
        assert_eq!(event.payload["Metadata"], "{\"local\":1}");
        assert_eq!(event.payload["ChannelArn"], json!(channel));
    }
    assert!(world.contents(&channel, &bob).await.is_empty());
    assert_eq!(world.get(&message_path(&channel, &sent), &bob).await, NOT_FOUND);
    assert_eq!(world.get(&status_path(&channel, &sent), &bob).await, FORBIDDEN);
    let got = world.get(&message_path(&channel, &sent), &alice).await.expect("is his");
    assert_eq!(got["ChannelMessage"]["Status"], status("FAILED"));
    let listed = world.messages(&channel, &alice, "").await.expect("is readable");
    assert_eq!(listed["ChannelMessages"][0]["Status"], status("FAILED"));
    let answer = world.get(&status_path(&channel, &sent), &alice).await;
    assert_eq!(answer, Ok(json!({ "Status": status("FAILED") })));
    let described = world.get(&format!("/channels/{}", label(&channel)), &alice).await;
    let described = described.expect("is readable");
    assert_eq!(described["Channel"]["LastMessageTimestamp"], Value::Null);
    assert_eq!(world.chat.failed_invocation_count(), 1);
    world.run_jobs().await;
}

#[tokio::test]
async fn targeted_message_that_failed_is_not_for_its_target() {
    let (mut world, [alice, bob], channel) = world("ABORT").await;
    let more = json!({ "Target": [{ "MemberArn": bob }] });
    let sent = world.send_with(&channel, &alice, more).await.expect("is taken");
    assert!(world.contents(&channel, &bob).await.is_empty());
    assert_eq!(world.get(&message_path(&channel, &sent), &bob).await, NOT_FOUND);
    assert_eq!(world.contents(&channel, &alice).await.len(), 1);
}

#[tokio::test]
async fn control_messages_pass_no_flow() {
    let (mut world, [alice, bob], channel) = world("ABORT").await;
    let more = json!({ "Type": "CONTROL", "Content": "typing" });
    let sent = world.send_with(&channel, &alice, more).await.expect("is sent");
    assert_eq!(sent["Status"], status("SENT"));
    assert_eq!(world.heard()[0].event_type, "CREATE_CHANNEL_MESSAGE");
    assert_eq!(world.contents(&channel, &bob).await, ["typing"]);
    assert_eq!(world.chat.failed_invocation_count(), 0);
}

#[tokio::test]
async fn non_persistent_message_that_fails_is_told_to_its_sender_and_not_kept() {
    let (mut world, [alice, _], channel) = world("ABORT").await;
    let more = json!({ "Persistence": "NON_PERSISTENT" });
    let sent = world.send_with(&channel, &alice, more).await.expect("is taken");
    assert_eq!(sent["Status"], status("PENDING"));
    let heard = world.heard();
    let kinds: Vec<&str> = heard.iter().map(|heard| heard.event_type.as_str()).collect();
    assert_eq!(kinds, ["PENDING_CREATE_CHANNEL_MESSAGE", "FAILED_CREATE_CHANNEL_MESSAGE"]);
    for event in &heard {
        assert!(matches!(&event.audience, Audience::Users(users) if users.len() == 1));
        assert_eq!(event.payload["MessageId"], sent["MessageId"]);
    }
    assert!(world.contents(&channel, &alice).await.is_empty());
    assert_eq!(world.get(&status_path(&channel, &sent), &alice).await, FORBIDDEN);
    assert_eq!(world.chat.failed_invocation_count(), 1);
}

#[tokio::test]
async fn repeated_token_answers_pending_again_and_fails_nothing_more() {
    let (mut world, [alice, _], channel) = world("ABORT").await;
    let same = json!({ "ClientRequestToken": "same" });
    let first = world.send_with(&channel, &alice, same.clone()).await.expect("is taken");
    world.heard();
    assert_eq!(world.send_with(&channel, &alice, same).await, Ok(first));
    assert!(world.heard().is_empty());
    assert_eq!(world.contents(&channel, &alice).await.len(), 1);
    assert_eq!(world.chat.failed_invocation_count(), 1);
}

#[tokio::test]
async fn flow_costs_no_further_read() {
    let (mut world, [alice, bob], channel) = world("CONTINUE").await;
    world.engine.take();
    assert!(world.send(&channel, &bob, "nothing is known of him").await.is_ok());
    assert_eq!(world.engine.take(), Calls { gets: 2, scans: 0, commits: 1 });
    assert!(world.send(&channel, &bob, "all is known").await.is_ok());
    assert_eq!(world.engine.take(), Calls { gets: 0, scans: 0, commits: 1 });
    let flow = text(
        &world.get(&format!("/channels/{}", label(&channel)), &alice).await.expect("is readable")["Channel"]
            ["ChannelFlowArn"],
    );
    let update = json!({ "Name": "strict", "Processors": [crate::testing::processor("ABORT")] });
    let target = format!("/channel-flows/{}", label(&flow));
    assert!(world.call("PUT", &target, "", update).await.is_ok());
    let sent = world.send(&channel, &bob, "the flow is another").await.expect("is taken");
    assert_eq!(sent["Status"], status("PENDING"));
    assert_eq!(world.chat.failed_invocation_count(), 3, "what did not commit is not counted");
}

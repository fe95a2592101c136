use serde_json::{Value, json};
use store::table::EVENT;
use store::{Audience, Direction, Key, Range, Table};

use crate::messaging::channel_message::CHANNEL_MESSAGE;
use crate::testing::{
    BAD_REQUEST, CONFLICT, FORBIDDEN, NOT_FOUND, Outcome, START_MS, World, array, label, text,
};

/// A channel of alice's, with bob in it and carol outside; carol is an admin.
async fn world() -> (World, [String; 3], String) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let carol = world.create_user("carol").await;
    assert!(world.create_admin(&carol).await.is_ok());
    let channel = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    world.clock.set(START_MS + 1_000);
    (world, [alice, bob, carol], channel)
}

/// Sends a message and returns its path.
async fn sent(world: &mut World, channel: &str, bearer: &str, more: Value) -> String {
    let sent = world.send_with(channel, bearer, more).await.expect("is sent");
    world.clock.advance(1_000);
    world.heard();
    format!("/channels/{}/messages/{}", label(channel), text(&sent["MessageId"]))
}

async fn update(world: &World, message: &str, bearer: &str, more: Value) -> Outcome {
    world.call("PUT", message, bearer, more).await
}

async fn redact(world: &World, message: &str, bearer: &str) -> Outcome {
    world.call("POST", &format!("{message}?operation=redact"), bearer, json!({})).await
}

async fn get(world: &World, message: &str, bearer: &str) -> Value {
    world.get(message, bearer).await.expect("is readable")["ChannelMessage"].clone()
}

/// Returns the rows of a table as text.
async fn rows(world: &World, table: &'static Table) -> String {
    let all = Range::prefix(Key::new(table));
    let view = world.chat.0.store.view();
    let rows = view.list(&all, usize::MAX, Direction::Forward).await.expect("the store answers");
    rows.iter().map(|row| String::from_utf8_lossy(&row.value).into_owned() + "\n").collect()
}

#[tokio::test]
async fn update_replaces_what_it_gives_and_keeps_the_rest() {
    let (mut world, [alice, bob, _], channel) = world().await;
    let more = json!({ "Content": "a", "Metadata": "{}", "ContentType": "text/x",
        "MessageAttributes": { "k": { "StringValues": ["v"] } } });
    let message = sent(&mut world, &channel, &alice, more).await;
    let before = get(&world, &message, &bob).await;
    let answer = update(&world, &message, &alice, json!({ "Content": "b" })).await;
    let id = before["MessageId"].clone();
    let expected = json!({ "ChannelArn": channel, "MessageId": id, "Status": { "Value": "SENT" } });
    assert_eq!(answer, Ok(expected));
    let mut expected = before.clone();
    expected["Content"] = json!("b");
    expected["LastEditedTimestamp"] = json!(START_MS / 1_000 + 2);
    expected["LastUpdatedTimestamp"] = json!(START_MS / 1_000 + 2);
    assert_eq!(get(&world, &message, &bob).await, expected);
    let heard = world.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].event_type, "UPDATE_CHANNEL_MESSAGE");
    assert!(matches!(heard[0].audience, Audience::Members(_)));
    assert_eq!(heard[0].payload["MessageId"], id);
    assert_eq!(heard[0].payload["Content"], "b");
    assert_eq!(heard[0].payload["CreatedTimestamp"], "2021-07-01T00:00:01.000Z");
    assert_eq!(heard[0].payload["LastEditedTimestamp"], "2021-07-01T00:00:02.000Z");
    let listed = world.messages(&channel, &bob, "").await.expect("is readable");
    for member in ["Content", "Metadata", "LastEditedTimestamp", "LastUpdatedTimestamp", "Redacted"]
    {
        assert_eq!(listed["ChannelMessages"][0][member], expected[member], "{member}");
    }
    let more = json!({ "Content": "c", "Metadata": "", "ContentType": "text/y" });
    assert!(update(&world, &message, &alice, more).await.is_ok());
    let now = get(&world, &message, &bob).await;
    assert_eq!(now["Metadata"], Value::Null);
    assert_eq!(now["ContentType"], "text/y");
    world.run_jobs().await;
}

#[tokio::test]
async fn only_the_sender_updates_and_only_while_he_may() {
    let (mut world, [alice, bob, carol], channel) = world().await;
    let message = sent(&mut world, &channel, &bob, json!({})).await;
    let new = json!({ "Content": "new" });
    for other in [&alice, &carol] {
        assert_eq!(update(&world, &message, other, new.clone()).await, FORBIDDEN);
    }
    let nowhere = format!("/channels/{}/messages/{}", label(&channel), "0".repeat(64));
    assert_eq!(update(&world, &nowhere, &bob, new.clone()).await, FORBIDDEN);
    assert!(world.leave(&channel, &bob, &bob).await.is_ok());
    assert_eq!(update(&world, &message, &bob, new.clone()).await, FORBIDDEN);
    assert!(world.join_as(&channel, &alice, &bob, "HIDDEN").await.is_ok());
    assert_eq!(update(&world, &message, &bob, new.clone()).await, FORBIDDEN);
    assert!(world.leave(&channel, &bob, &bob).await.is_ok());
    assert!(world.join(&channel, &alice, &bob).await.is_ok());
    assert!(update(&world, &message, &bob, new).await.is_ok());
    assert_eq!(world.contents(&channel, &alice).await, ["new"]);
}

#[tokio::test]
async fn update_has_the_limits_of_sending() {
    let (mut world, [alice, ..], channel) = world().await;
    let standard = sent(&mut world, &channel, &alice, json!({})).await;
    let control = json!({ "Type": "CONTROL", "Content": "x" });
    let control = sent(&mut world, &channel, &alice, control).await;
    for (message, more, fits) in [
        (&standard, json!({ "Content": "é".repeat(2_048) }), true),
        (&standard, json!({ "Content": "é".repeat(2_048) + "x" }), false),
        (&standard, json!({ "Content": "" }), false),
        (&standard, json!({ "Metadata": "{}" }), false),
        (&standard, json!({ "Content": "x", "Metadata": "é".repeat(513) }), false),
        (&standard, json!({ "Content": "x", "ContentType": "x".repeat(46) }), false),
        (&standard, json!({ "Content": "x", "SubChannelId": "sub" }), false),
        (&control, json!({ "Content": "é".repeat(15) }), true),
        (&control, json!({ "Content": "é".repeat(15) + "x" }), false),
        (&control, json!({ "Content": "x", "Metadata": "{}" }), false),
    ] {
        let outcome = update(&world, message, &alice, more.clone()).await;
        assert_eq!(outcome.is_ok(), fits, "{more}");
        assert!(fits || outcome == BAD_REQUEST, "{more}");
    }
}

#[tokio::test]
async fn redacted_message_is_shown_without_what_it_said_and_stays_so() {
    let (mut world, [alice, bob, _], channel) = world().await;
    let more = json!({ "Content": "secret", "Metadata": "secret",
        "PushNotification": { "Title": "secret", "Body": "secret", "Type": "DEFAULT" } });
    let message = sent(&mut world, &channel, &bob, more).await;
    assert!(update(&world, &message, &bob, json!({ "Content": "secret too" })).await.is_ok());
    world.heard();
    assert!(rows(&world, &CHANNEL_MESSAGE).await.contains("secret"));
    world.clock.advance(1_000);
    let answer = redact(&world, &message, &alice).await.expect("moderators redact");
    assert_eq!(answer["ChannelArn"], json!(channel));
    let heard = world.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].event_type, "REDACT_CHANNEL_MESSAGE");
    assert!(matches!(heard[0].audience, Audience::Members(_)));
    let listed = world.messages(&channel, &bob, "").await.expect("is readable");
    let got = get(&world, &message, &bob).await;
    for shown in [&heard[0].payload, &got, &listed["ChannelMessages"][0]] {
        assert_eq!(shown["MessageId"], answer["MessageId"]);
        assert_eq!(shown["Redacted"], json!(true));
        assert_eq!(shown["Content"], Value::Null);
        assert_eq!(shown["Metadata"], Value::Null);
        assert_eq!(shown["Status"], json!({ "Value": "SENT" }));
        assert_eq!(shown["Sender"]["Arn"], json!(bob));
    }
    assert_eq!(got["LastEditedTimestamp"], json!(START_MS / 1_000 + 2));
    assert_eq!(got["LastUpdatedTimestamp"], json!(START_MS / 1_000 + 3));
    for table in [&CHANNEL_MESSAGE, &EVENT] {
        assert!(!rows(&world, table).await.contains("secret"), "{}", table.name);
    }
    assert_eq!(redact(&world, &message, &alice).await, CONFLICT);
    let again = json!({ "Content": "back" });
    assert_eq!(update(&world, &message, &bob, again).await, CONFLICT);
    world.run_jobs().await;
}

#[tokio::test]
async fn members_redact_their_own_messages_only() {
    let (mut world, [alice, bob, carol], channel) = world().await;
    let his = sent(&mut world, &channel, &bob, json!({})).await;
    let hers = sent(&mut world, &channel, &alice, json!({})).await;
    let target = json!({ "Target": [{ "MemberArn": bob }] });
    let private = sent(&mut world, &channel, &bob, target).await;
    assert_eq!(redact(&world, &hers, &bob).await, FORBIDDEN);
    assert!(redact(&world, &his, &bob).await.is_ok());
    assert!(redact(&world, &hers, &carol).await.is_ok(), "an admin need not be a member");
    assert_eq!(redact(&world, &private, &alice).await, FORBIDDEN, "she cannot know of it");
    let nowhere = format!("/channels/{}/messages/nothing", label(&channel));
    assert_eq!(redact(&world, &nowhere, &alice).await, FORBIDDEN);
    world.heard();
    assert!(redact(&world, &private, &bob).await.is_ok());
    assert!(matches!(&world.heard()[0].audience, Audience::Users(users) if users.len() == 1));
    let another = sent(&mut world, &channel, &bob, json!({})).await;
    assert!(world.leave(&channel, &bob, &bob).await.is_ok());
    assert_eq!(redact(&world, &another, &bob).await, FORBIDDEN);
}

#[tokio::test]
async fn admins_delete_any_message_and_nobody_else_does() {
    let (mut world, [alice, bob, carol], channel) = world().await;
    let target = json!({ "Content": "psst", "Target": [{ "MemberArn": alice }] });
    let private = sent(&mut world, &channel, &bob, target).await;
    let more = json!({ "Content": "loud", "Metadata": "loud",
        "MessageAttributes": { "k": { "StringValues": ["loud"] } } });
    let public = sent(&mut world, &channel, &bob, more).await;
    for other in [&alice, &bob] {
        assert_eq!(world.delete(&public, other).await, FORBIDDEN);
    }
    assert_eq!(world.get(&private, &carol).await, NOT_FOUND);
    let kept = get(&world, &public, &bob).await;
    assert_eq!(world.delete(&public, &carol).await, Ok(Value::Null));
    let heard = world.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].event_type, "DELETE_CHANNEL_MESSAGE");
    assert!(matches!(heard[0].audience, Audience::Members(_)));
    let payload = &heard[0].payload;
    for member in ["MessageId", "ChannelArn", "Type", "Persistence", "Sender", "Redacted"] {
        assert_eq!(payload[member], kept[member], "{member}");
    }
    assert_eq!(payload["CreatedTimestamp"], "2021-07-01T00:00:02.000Z");
    for member in ["Content", "Metadata", "MessageAttributes", "ContentType"] {
        assert_eq!(payload[member], Value::Null, "{member}");
    }
    assert_eq!(world.delete(&private, &carol).await, Ok(Value::Null));
    let heard = world.heard();
    assert!(matches!(&heard[0].audience, Audience::Users(users) if users.len() == 2));
    assert!(world.contents(&channel, &bob).await.is_empty());
    assert_eq!(world.get(&public, &bob).await, NOT_FOUND);
    assert_eq!(world.delete(&public, &carol).await, FORBIDDEN, "it is gone");
    for table in [&CHANNEL_MESSAGE, &EVENT] {
        let rows = rows(&world, table).await;
        assert!(!rows.contains("loud") && !rows.contains("psst"), "{}", table.name);
    }
    let described = world.get(&format!("/channels/{}", label(&channel)), &alice).await;
    let last = described.expect("is readable")["Channel"]["LastMessageTimestamp"].clone();
    assert_eq!(last, kept["CreatedTimestamp"], "it is when somebody last spoke");
    world.run_jobs().await;
}

#[tokio::test]
async fn token_of_a_deleted_message_answers_its_id_and_does_not_bring_it_back() {
    let (mut world, [alice, _, carol], channel) = world().await;
    let same = json!({ "ClientRequestToken": "same" });
    let first = world.send_with(&channel, &alice, same.clone()).await.expect("is sent");
    let path = format!("/channels/{}/messages/{}", label(&channel), text(&first["MessageId"]));
    assert!(world.delete(&path, &carol).await.is_ok());
    assert_eq!(world.send_with(&channel, &alice, same).await, Ok(first));
    assert!(world.contents(&channel, &alice).await.is_empty());
}

#[tokio::test]
async fn changes_of_a_targeted_message_reach_those_of_the_two_who_are_still_members() {
    let (mut world, [alice, bob, _], channel) = world().await;
    let target = json!({ "Target": [{ "MemberArn": bob }] });
    let message = sent(&mut world, &channel, &alice, target).await;
    assert!(update(&world, &message, &alice, json!({ "Content": "b" })).await.is_ok());
    let heard = world.heard();
    assert!(matches!(&heard[0].audience, Audience::Users(users) if users.len() == 2));
    assert_eq!(heard[0].payload["Target"], json!([{ "MemberArn": bob }]));
    assert!(world.leave(&channel, &bob, &bob).await.is_ok());
    world.heard();
    assert!(update(&world, &message, &alice, json!({ "Content": "c" })).await.is_ok());
    let heard = world.heard();
    assert!(matches!(&heard[0].audience, Audience::Users(users) if users.len() == 1));
}

#[tokio::test]
async fn status_is_told_to_the_sender_alone() {
    let (mut world, [alice, bob, carol], channel) = world().await;
    let message = sent(&mut world, &channel, &bob, json!({})).await;
    let status = format!("{message}?scope=message-status");
    let answer = Ok(json!({ "Status": { "Value": "SENT" } }));
    assert_eq!(world.get(&status, &bob).await, answer);
    for other in [&alice, &carol] {
        assert_eq!(world.get(&status, other).await, FORBIDDEN);
    }
    assert!(world.leave(&channel, &bob, &bob).await.is_ok());
    assert_eq!(world.get(&status, &bob).await, answer);
    let nowhere = format!("/channels/{}/messages/none?scope=message-status", label(&channel));
    assert_eq!(world.get(&nowhere, &bob).await, FORBIDDEN);
    let sub = format!("{status}&sub-channel-id=sub");
    assert_eq!(world.get(&sub, &bob).await, BAD_REQUEST);
}

#[tokio::test]
async fn update_that_the_flow_fails_changes_nothing_and_is_told_to_the_sender() {
    let (mut world, [alice, bob, _], channel) = world().await;
    let message = sent(&mut world, &channel, &bob, json!({ "Content": "old" })).await;
    let before = get(&world, &message, &bob).await;
    let flow = world.create_flow("ABORT").await;
    assert!(world.associate(&channel, &alice, &flow).await.is_ok());
    world.heard();
    let answer = update(&world, &message, &bob, json!({ "Content": "new" })).await;
    assert_eq!(answer.expect("is taken")["Status"], json!({ "Value": "PENDING" }));
    let heard = world.heard();
    let told: Vec<(&str, Value)> = heard
        .iter()
        .map(|heard| (heard.event_type.as_str(), heard.payload["Status"]["Value"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            ("PENDING_UPDATE_CHANNEL_MESSAGE", json!("PENDING")),
            ("FAILED_UPDATE_CHANNEL_MESSAGE", json!("FAILED")),
        ]
    );
    for event in &heard {
        assert!(matches!(&event.audience, Audience::Users(users) if users.len() == 1));
        assert_eq!(event.payload["MessageId"], before["MessageId"]);
        assert_eq!(event.payload["Content"], "new");
    }
    for reader in [&alice, &bob] {
        assert_eq!(get(&world, &message, reader).await, before);
    }
    assert_eq!(world.chat.failed_invocation_count(), 1);
    assert!(redact(&world, &message, &alice).await.is_ok(), "redacting passes no flow");
}

#[tokio::test]
async fn failed_message_is_neither_updated_nor_redacted_nor_deleted() {
    let (mut world, [alice, bob, carol], channel) = world().await;
    let flow = world.create_flow("ABORT").await;
    assert!(world.associate(&channel, &alice, &flow).await.is_ok());
    let message = sent(&mut world, &channel, &bob, json!({})).await;
    assert_eq!(update(&world, &message, &bob, json!({ "Content": "x" })).await, CONFLICT);
    assert_eq!(redact(&world, &message, &bob).await, CONFLICT);
    assert_eq!(redact(&world, &message, &alice).await, FORBIDDEN, "she cannot know of it");
    assert_eq!(world.delete(&message, &carol).await, FORBIDDEN);
    assert_eq!(get(&world, &message, &bob).await["Status"], json!({ "Value": "FAILED" }));
}

#[tokio::test]
async fn of_an_update_and_a_redaction_at_once_the_redaction_lasts() {
    let (mut world, [alice, bob, _], channel) = world().await;
    let message = sent(&mut world, &channel, &bob, json!({ "Content": "old" })).await;
    let new = json!({ "Content": "new" });
    let both = (update(&world, &message, &bob, new), redact(&world, &message, &alice));
    let (updated, redacted) = tokio::join!(both.0, both.1);
    assert!(redacted.is_ok());
    assert!(updated.is_ok() || updated == CONFLICT);
    let got = get(&world, &message, &alice).await;
    assert_eq!((&got["Redacted"], &got["Content"]), (&json!(true), &Value::Null));
    let listed = world.messages(&channel, &bob, "").await.expect("is readable");
    assert_eq!(array(&listed["ChannelMessages"]).len(), 1);
}

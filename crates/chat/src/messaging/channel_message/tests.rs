use serde_json::{Value, json};
use store::Audience;

use crate::testing::{
    BAD_REQUEST, CONFLICT, Calls, FORBIDDEN, NOT_FOUND, START_MS, World, array, label, text,
};

/// A channel of alice's, with bob in it and carol outside.
async fn world() -> (World, [String; 3], String) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let carol = world.create_user("carol").await;
    let channel = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    world.heard();
    // The creation took the first millisecond of the channel.
    world.clock.set(START_MS + 1_000);
    (world, [alice, bob, carol], channel)
}

#[tokio::test]
async fn sent_message_is_answered_told_and_listed_alike() {
    let (mut world, [alice, bob, _], channel) = world().await;
    let more = json!({ "Content": "hé \u{1F600}\n", "Metadata": "{\n}", "ContentType": "text/x",
        "MessageAttributes": { "mention": { "StringValues": ["@bob"] } } });
    let sent = world.send_with(&channel, &alice, more).await.expect("is sent");
    let id = text(&sent["MessageId"]);
    assert_eq!(sent["Status"], json!({ "Value": "SENT" }));
    let heard = world.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].event_type, "CREATE_CHANNEL_MESSAGE");
    assert!(matches!(heard[0].audience, Audience::Members(_)));
    let target = format!("/channels/{}/messages/{id}", label(&channel));
    let got = world.get(&target, &bob).await.expect("is readable");
    let listed = world.messages(&channel, &bob, "").await.expect("is readable");
    let (got, listed) = (&got["ChannelMessage"], &listed["ChannelMessages"][0]);
    for member in ["MessageId", "Content", "Metadata", "ContentType", "MessageAttributes", "Sender"]
    {
        assert!(!got[member].is_null(), "{member}");
        assert_eq!(got[member], heard[0].payload[member], "{member}");
        assert_eq!(got[member], listed[member], "{member}");
    }
    assert_eq!(got["Persistence"], "PERSISTENT");
    assert_eq!(listed["Persistence"], Value::Null);
    assert_eq!(got["CreatedTimestamp"], json!(START_MS / 1_000 + 1));
    assert_eq!(heard[0].payload["CreatedTimestamp"], "2021-07-01T00:00:01.000Z");
    assert_eq!(got["Redacted"], json!(false));
}

#[tokio::test]
async fn only_visible_members_send() {
    let (mut world, [alice, bob, carol], channel) = world().await;
    assert_eq!(world.send(&channel, &carol, "x").await, FORBIDDEN);
    assert!(world.create_admin(&carol).await.is_ok());
    assert_eq!(world.send(&channel, &carol, "an admin is no member").await, FORBIDDEN);
    assert!(world.join_as(&channel, &alice, &carol, "HIDDEN").await.is_ok());
    assert_eq!(world.send(&channel, &carol, "a hidden one only reads").await, FORBIDDEN);
    assert!(world.send(&channel, &bob, "x").await.is_ok());
    assert!(world.leave(&channel, &bob, &bob).await.is_ok());
    assert_eq!(world.send(&channel, &bob, "gone").await, FORBIDDEN);
    assert_eq!(world.contents(&channel, &carol).await, ["x"]);
}

#[tokio::test]
async fn content_limits_count_bytes_and_depend_on_the_type() {
    let (mut world, [alice, ..], channel) = world().await;
    let control = json!({ "Type": "CONTROL", "Content": "é".repeat(15) });
    let cases = [
        (json!({ "Content": "é".repeat(2_048) }), true),
        (json!({ "Content": "é".repeat(2_048) + "x" }), false),
        (control.clone(), true),
        (json!({ "Type": "CONTROL", "Content": "é".repeat(15) + "x" }), false),
        (json!({ "Type": "CONTROL", "Content": "x", "Metadata": "{}" }), false),
        (
            json!({ "MessageAttributes": { "a": { "StringValues": ["x".repeat(512)] },
            "b": { "StringValues": ["x".repeat(510)] } } }),
            true,
        ),
        (
            json!({ "MessageAttributes": { "a": { "StringValues": ["x".repeat(512)] },
            "b": { "StringValues": ["x".repeat(511)] } } }),
            false,
        ),
        (json!({ "SubChannelId": "sub" }), false),
    ];
    for (more, fits) in cases {
        let outcome = world.send_with(&channel, &alice, more.clone()).await;
        assert_eq!(outcome.is_ok(), fits, "{more}");
        assert!(fits || outcome == BAD_REQUEST, "{more}");
    }
}

#[tokio::test]
async fn repeated_token_answers_the_first_message_and_tells_nothing() {
    let (mut world, [alice, bob, _], channel) = world().await;
    let more = json!({ "ClientRequestToken": "same", "Content": "once" });
    let first = world.send_with(&channel, &alice, more.clone()).await.expect("is sent");
    world.clock.advance(20 * 60 * 1_000);
    let again = world.send_with(&channel, &alice, more).await.expect("is answered");
    assert_eq!(first, again);
    assert_eq!(world.heard().len(), 1);
    let other = json!({ "ClientRequestToken": "same", "Content": "twice" });
    assert_eq!(world.send_with(&channel, &alice, other.clone()).await, CONFLICT);
    assert!(world.send_with(&channel, &bob, other).await.is_ok(), "a token belongs to its sender");
    assert_eq!(world.contents(&channel, &alice).await, ["twice", "once"]);
}

#[tokio::test]
async fn token_is_forgotten_after_forty_minutes() {
    let (mut world, [alice, ..], channel) = world().await;
    let more = json!({ "ClientRequestToken": "same" });
    let first = world.send_with(&channel, &alice, more.clone()).await.expect("is sent");
    world.clock.advance(40 * 60 * 1_000);
    let second = world.send_with(&channel, &alice, more).await.expect("is sent");
    assert_ne!(first["MessageId"], second["MessageId"]);
}

#[tokio::test]
async fn failed_send_leaves_its_token_free() {
    let (mut world, [alice, ..], channel) = world().await;
    let bad = json!({ "ClientRequestToken": "same", "Content": "x".repeat(5_000) });
    assert_eq!(world.send_with(&channel, &alice, bad).await, BAD_REQUEST);
    let good = json!({ "ClientRequestToken": "same", "Content": "x" });
    assert!(world.send_with(&channel, &alice, good).await.is_ok());
}

#[tokio::test]
async fn targeted_message_is_there_for_sender_and_target_alone() {
    let (mut world, [alice, bob, carol], channel) = world().await;
    assert!(world.join(&channel, &alice, &carol).await.is_ok());
    world.heard();
    let more = json!({ "Content": "psst", "Target": [{ "MemberArn": bob }] });
    let sent = world.send_with(&channel, &alice, more).await.expect("is sent");
    let target = format!("/channels/{}/messages/{}", label(&channel), text(&sent["MessageId"]));
    for (who, sees) in [(&alice, true), (&bob, true), (&carol, false)] {
        assert_eq!(world.contents(&channel, who).await.len(), usize::from(sees));
        let got = world.get(&target, who).await;
        assert!(if sees { got.is_ok() } else { got == NOT_FOUND });
    }
    let heard = world.heard();
    assert!(matches!(&heard[0].audience, Audience::Users(users) if users.len() == 2));
    assert_eq!(heard[0].payload["Target"], json!([{ "MemberArn": bob }]));
}

#[tokio::test]
async fn target_must_be_a_member() {
    let (mut world, [alice, _, carol], channel) = world().await;
    let more = json!({ "Target": [{ "MemberArn": carol }] });
    assert_eq!(world.send_with(&channel, &alice, more).await, FORBIDDEN);
}

#[tokio::test]
async fn non_persistent_message_is_told_and_not_kept() {
    let (mut world, [alice, ..], channel) = world().await;
    let more = json!({ "Persistence": "NON_PERSISTENT" });
    let sent = world.send_with(&channel, &alice, more).await.expect("is sent");
    let heard = world.heard();
    assert_eq!(heard[0].payload["MessageId"], sent["MessageId"]);
    assert_eq!(heard[0].payload["Persistence"], "NON_PERSISTENT");
    assert!(world.contents(&channel, &alice).await.is_empty());
    let target = format!("/channels/{}/messages/{}", label(&channel), text(&sent["MessageId"]));
    assert_eq!(world.get(&target, &alice).await, NOT_FOUND);
    let described = world.get(&format!("/channels/{}", label(&channel)), &alice).await;
    let described = described.expect("is readable");
    assert_eq!(described["Channel"]["LastMessageTimestamp"], Value::Null);
}

#[tokio::test]
async fn ids_of_both_persistences_increase_in_the_order_of_sending() {
    let (mut world, [alice, ..], channel) = world().await;
    let mut ids = Vec::new();
    for index in 0..40 {
        let persistence = if index % 3 == 0 { "NON_PERSISTENT" } else { "PERSISTENT" };
        let more = json!({ "Persistence": persistence });
        let sent = world.send_with(&channel, &alice, more).await.expect("is sent");
        ids.push(text(&sent["MessageId"]));
    }
    assert!(ids.is_sorted());
}

#[tokio::test]
async fn messages_are_listed_in_both_orders_and_within_the_window() {
    let (mut world, [alice, ..], channel) = world().await;
    for content in ["a", "b", "c", "d"] {
        world.send(&channel, &alice, content).await.expect("is sent");
        world.clock.advance(1_000);
    }
    let list = |query: &str| {
        let query = query.to_owned();
        let (world, channel, alice) = (&world, &channel, &alice);
        async move {
            let answer = world.messages(channel, alice, &query).await.expect("is readable");
            let messages = array(&answer["ChannelMessages"]).clone();
            messages.iter().map(|message| text(&message["Content"])).collect::<String>()
        }
    };
    let second = START_MS / 1_000 + 2;
    let third = "2021-07-01T00%3A00%3A03.000000Z";
    assert_eq!(list("").await, "dcba");
    assert_eq!(list("?sort-order=ASCENDING").await, "abcd");
    assert_eq!(list(&format!("?not-before={second}")).await, "dcb");
    assert_eq!(list(&format!("?not-after={third}&sort-order=ASCENDING")).await, "abc");
    assert_eq!(list(&format!("?not-before={second}&not-after={third}")).await, "cb");
    assert_eq!(list(&format!("?not-before={second}.001&not-after={second}.999")).await, "");
}

#[tokio::test]
async fn pages_join_to_the_whole_list_and_tokens_belong_to_it() {
    let (mut world, [alice, bob, carol], channel) = world().await;
    assert!(world.join(&channel, &alice, &carol).await.is_ok());
    for index in 0..25 {
        let target = json!([{ "MemberArn": carol }]);
        let more = match index % 5 {
            0 => json!({ "Content": "secret", "Target": target }),
            _ => json!({ "Content": index.to_string() }),
        };
        world.send_with(&channel, &alice, more).await.expect("is sent");
    }
    let path = format!("/channels/{}/messages", label(&channel));
    for size in [1, 2, 3, 7, 20, 50] {
        for order in ["ASCENDING", "DESCENDING"] {
            let target = format!("{path}?max-results={size}&sort-order={order}");
            let all = world.pages(&target, &bob, "ChannelMessages").await;
            let contents: Vec<u32> =
                all.iter().map(|message| text(&message["Content"]).parse().unwrap()).collect();
            assert_eq!(contents.len(), 20, "{size} {order}");
            assert!(contents.is_sorted_by(|a, b| (a < b) == (order == "ASCENDING")));
        }
    }
    let page = world.get(&format!("{path}?max-results=1"), &bob).await.expect("is readable");
    let token = text(&page["NextToken"]);
    let foreign = [
        (format!("{path}?sort-order=ASCENDING&next-token={token}"), &bob),
        (format!("{path}?next-token={token}"), &alice),
        (format!("{path}?next-token=x{token}"), &bob),
        (format!("/channels/{}/memberships?next-token={token}", label(&channel)), &bob),
    ];
    for (target, who) in foreign {
        assert_eq!(world.get(&target, who).await, BAD_REQUEST, "{target}");
    }
}

#[tokio::test]
async fn message_of_another_channel_is_not_found() {
    let (mut world, [alice, ..], channel) = world().await;
    let other = world.create_channel(&alice, json!({})).await;
    let sent = world.send(&channel, &alice, "x").await.expect("is sent");
    let id = text(&sent["MessageId"]);
    for id in [id.as_str(), "nonsense", &"0".repeat(64)] {
        let target = format!("/channels/{}/messages/{id}", label(&other));
        assert_eq!(world.get(&target, &alice).await, NOT_FOUND);
    }
}

#[tokio::test]
async fn send_makes_two_reads_and_one_commit_and_then_no_read() {
    let (mut world, [alice, bob, _], channel) = world().await;
    let calls = |gets, commits| Calls { gets, scans: 0, commits };
    world.engine.take();
    assert!(world.send(&channel, &alice, "nothing is known").await.is_ok());
    assert_eq!(world.engine.take(), calls(2, 1));
    assert!(world.send(&channel, &alice, "all is known").await.is_ok());
    assert_eq!(world.engine.take(), calls(0, 1));
    assert!(world.send(&channel, &bob, "his channel is known").await.is_ok());
    assert_eq!(world.engine.take(), calls(2, 1));
}

#[tokio::test]
async fn guess_that_was_wrong_leads_to_a_fresh_look_and_to_nothing_else() {
    let (mut world, [alice, bob, _], channel) = world().await;
    let same = json!({ "ClientRequestToken": "same" });
    let first = world.send_with(&channel, &bob, same.clone()).await.expect("is sent");
    world.heard();
    world.engine.take();
    assert_eq!(world.send_with(&channel, &bob, same).await, Ok(first), "the token is not new");
    assert_eq!(world.engine.take(), Calls { gets: 2, scans: 0, commits: 1 });
    assert!(world.leave(&channel, &alice, &bob).await.is_ok());
    assert_eq!(world.send(&channel, &bob, "was a member a moment ago").await, FORBIDDEN);
    assert!(world.join(&channel, &alice, &bob).await.is_ok());
    assert!(world.send(&channel, &bob, "is one again").await.is_ok());
    assert_eq!(world.contents(&channel, &alice).await, ["is one again", "hello"]);
}

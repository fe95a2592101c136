//! A history that was brought in: what requests see of it, and which files are refused.

use std::io::Cursor;
use std::path::Path;

use serde_json::{Value, json};
use store::SeededEntropy;
use store::moving::{MoveError, Progress};

use super::*;
use crate::testing::{FORBIDDEN, NOT_FOUND, START_MS, World, array, label, text};
use crate::{Quotas, tables};

const APP: &str = "arn:aws:chime:us-east-1:000000000000:app-instance/\
                   7f3c1c52-7a5f-4d9e-9f3b-0c4a4a0f6d11";
const HEAD: &str = r#"{"campanile":"history","version":1}"#;

/// A little history, in which Bob was banned, Carol is hidden and Dora no longer a user.
fn lines() -> Vec<Value> {
    let message = |more: Value| {
        let mut line = json!({ "channel": "general", "sender": "alice",
            "created": "2020-05-01T10:00:00.123Z" });
        for (name, value) in more.as_object().into_iter().flatten() {
            line[name] = value.clone();
        }
        json!({ "message": line })
    };
    let early = "2019-01-01T00:00:00Z";
    vec![
        json!({ "app_instance": { "id": "7f3c1c52-7a5f-4d9e-9f3b-0c4a4a0f6d11", "name": "Shop",
            "metadata": "m", "created": early } }),
        json!({ "user": { "id": "alice", "name": "Alice", "created": early } }),
        json!({ "user": { "id": "bob", "name": "Bob", "metadata": "b", "created": early } }),
        json!({ "user": { "id": "carol", "name": "Carol", "created": early, "updated": early } }),
        json!({ "admin": { "user": "carol", "created": early } }),
        json!({ "channel": { "id": "general", "name": "General", "mode": "UNRESTRICTED",
            "privacy": "PUBLIC", "metadata": "{}", "created_by": "alice", "created": early } }),
        json!({ "ban": { "channel": "general", "user": "bob", "created_by": "alice",
            "created": early } }),
        json!({ "moderator": { "channel": "general", "user": "alice", "created_by": "alice",
            "created": early } }),
        json!({ "membership": { "channel": "general", "user": "alice", "invited_by": "alice",
            "created": early } }),
        json!({ "membership": { "channel": "general", "user": "carol", "type": "HIDDEN",
            "invited_by": "alice", "created": "2020-06-01T00:00:00Z" } }),
        message(json!({ "id": "old-1", "content": "first" })),
        message(json!({ "id": "old_2", "content": "second", "sender": "dora",
            "sender_name": "Dora", "attributes": { "tag": ["a", "b"] }, "metadata": "m",
            "content_type": "text/plain", "edited": "2020-05-02T00:00:00Z" })),
        message(json!({ "id": "old-3", "redacted": true, "content": "hushed",
            "created": 1_588_400_000_000_u64, "sender_name": "Alice B." })),
        message(json!({ "content": "without an id", "created": "2020-05-03T00:00:00+00:00" })),
    ]
}

fn file(lines: &[Value]) -> String {
    let mut text = format!("{HEAD}\n");
    for line in lines {
        text += &format!("{line}\n");
    }
    text + &format!("{}\n", json!({ "end": { "lines": lines.len() + 1 } }))
}

async fn bring(text: &str, dir: &Path) -> Result<(), MoveError> {
    let input = Cursor::new(text.to_owned().into_bytes());
    let mut lines = Lines::new(Box::new(input), Arc::default());
    lines.advance()?;
    let place = Place {
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
        now_ms: i64::try_from(START_MS).expect("is small"),
        entropy: Arc::new(SeededEntropy::new(9)),
    };
    let history = History::begin(lines, place)?;
    let target = store::sqlite::import(dir, store::table::with_builtin(&tables()));
    let target = target.expect("is empty");
    store::moving::import(Box::new(history), target, &Progress::default(), || {}).await
}

/// Opens the world that a file makes.
async fn world(lines: &[Value], dir: &Path) -> World {
    bring(&file(lines), dir).await.expect("is brought in");
    let open = |options| store::sqlite::open(dir, options).expect("opens");
    let mut world = World::over(Quotas::default(), open).await;
    APP.clone_into(&mut world.app_instance);
    assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
    world
}

fn arn(of: &str) -> String {
    format!("{APP}/{of}")
}

#[tokio::test]
async fn what_was_brought_in_is_described_and_listed_under_its_own_ids_and_times() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let world = world(&lines(), dir.path()).await;
    let (alice, channel) = (arn("user/alice"), arn("channel/general"));
    let early = 1_546_300_800;

    let app = world.get(&format!("/app-instances/{}", label(APP)), "").await.expect("is there");
    assert_eq!(app["AppInstance"]["Name"], "Shop");
    assert_eq!(app["AppInstance"]["CreatedTimestamp"].as_f64(), Some(f64::from(early)));
    let described = format!("/channels/{}", label(&channel));
    let described = world.get(&described, &alice).await.expect("is there");
    let described = &described["Channel"];
    assert_eq!(described["CreatedTimestamp"].as_f64(), Some(f64::from(early)));
    assert_eq!(described["LastMessageTimestamp"].as_f64(), Some(1_588_464_000.0));
    assert_eq!((&described["Name"], &described["Metadata"]), (&json!("General"), &json!("{}")));
    assert_eq!(world.members(&channel, &alice, "").await, ["Alice"]);
    assert_eq!(world.members(&channel, &alice, "?type=HIDDEN").await, ["Carol"]);
    let bans = format!("/channels/{}/bans", label(&channel));
    let bans = world.get(&bans, &alice).await.expect("is readable");
    assert_eq!(array(&bans["ChannelBans"])[0]["Member"]["Arn"], arn("user/bob"));
    let own = format!(
        "/channels?scope=app-instance-user-memberships&app-instance-user-arn={}",
        label(&alice)
    );
    let own = world.get(&own, &alice).await.expect("is readable");
    assert_eq!(array(&own["ChannelMemberships"]).len(), 1);
    assert_eq!(world.join(&channel, &alice, &arn("user/bob")).await, FORBIDDEN);

    let list = world.messages(&channel, &alice, "?sort-order=ASCENDING").await;
    let list = list.expect("is readable");
    let list = array(&list["ChannelMessages"]);
    let ids: Vec<String> = list.iter().map(|message| text(&message["MessageId"])).collect();
    assert_eq!(ids[..3], ["old-1", "old_2", "old-3"]);
    assert_eq!(ids[3].len(), 64);
    assert_eq!(list[0]["CreatedTimestamp"].as_f64(), Some(1_588_327_200.123));
    assert_eq!(list[1]["Sender"], json!({ "Arn": arn("user/dora"), "Name": "Dora" }));
    assert_eq!(list[1]["MessageAttributes"]["tag"]["StringValues"], json!(["a", "b"]));
    assert_eq!(list[1]["LastEditedTimestamp"].as_f64(), Some(1_588_377_600.0));
    assert_eq!((&list[2]["Redacted"], &list[2]["Content"]), (&json!(true), &Value::Null));
    assert_eq!(list[2]["Sender"]["Name"], "Alice B.");
    for (id, listed) in ids.iter().zip(list) {
        let target = format!("/channels/{}/messages/{id}", label(&channel));
        let found = world.get(&target, &alice).await.expect("is there");
        assert_eq!(found["ChannelMessage"]["MessageId"], listed["MessageId"]);
        assert_eq!(found["ChannelMessage"]["CreatedTimestamp"], listed["CreatedTimestamp"]);
    }
    let missing = format!("/channels/{}/messages/old-4", label(&channel));
    assert_eq!(world.get(&missing, &alice).await, NOT_FOUND);
}

#[tokio::test]
async fn a_message_with_an_id_of_elsewhere_is_changed_told_and_deleted_under_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut world = world(&lines(), dir.path()).await;
    let (alice, channel) = (arn("user/alice"), arn("channel/general"));
    let target = format!("/channels/{}/messages/old-1", label(&channel));
    let edit = json!({ "Content": "edited" });
    world.call("PUT", &target, &alice, edit).await.expect("is updated");
    world
        .call("POST", &format!("{target}?operation=redact"), &alice, Value::Null)
        .await
        .expect("is redacted");
    assert_eq!(world.delete(&target, &arn("user/carol")).await, Ok(Value::Null));
    let told: Vec<(String, Value)> = world
        .heard()
        .into_iter()
        .map(|heard| (heard.event_type, heard.payload["MessageId"].clone()))
        .collect();
    let kinds = ["UPDATE", "REDACT", "DELETE"].map(|kind| format!("{kind}_CHANNEL_MESSAGE"));
    assert_eq!(told, kinds.map(|kind| (kind, json!("old-1"))));
    assert_eq!(world.get(&target, &alice).await, NOT_FOUND);
    assert_eq!(
        world.row_count(&crate::messaging::channel_message::CHANNEL_MESSAGE_BY_FOREIGN_ID).await,
        2
    );
    assert_eq!(world.chat.check().await.expect("the store answers").findings, []);

    let ids: Vec<String> =
        array(&world.messages(&channel, &alice, "").await.expect("is readable")["ChannelMessages"])
            .iter()
            .map(|message| text(&message["MessageId"]))
            .collect();
    let sent = world.send(&channel, &alice, "new").await.expect("is sent");
    let sent = text(&sent["MessageId"]);
    assert!(sent.len() == 64 && !ids.contains(&sent));
    let newest = world.messages(&channel, &alice, "?max-results=1").await.expect("is readable");
    assert_eq!(newest["ChannelMessages"][0]["MessageId"], sent);
}

#[tokio::test]
async fn ids_of_elsewhere_go_with_their_channel_and_with_their_retention() {
    let by_id = &crate::messaging::channel_message::CHANNEL_MESSAGE_BY_FOREIGN_ID;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let world = world(&lines(), dir.path()).await;
    let carol = arn("user/carol");
    assert_eq!(world.row_count(by_id).await, 3);
    world
        .delete(&format!("/channels/{}", label(&arn("channel/general"))), &carol)
        .await
        .expect("is deleted");
    world.run_jobs().await;
    assert_eq!(world.row_count(by_id).await, 0);

    let dir = tempfile::tempdir().expect("a temporary folder");
    let world = self::world(&lines(), dir.path()).await;
    let settings = json!({ "AppInstanceRetentionSettings": {
        "ChannelRetentionSettings": { "RetentionDays": 30 } } });
    let target = format!("/app-instances/{}/retention-settings", label(APP));
    world.call("PUT", &target, "", settings).await.expect("is set");
    world.clock.advance(61 * 24 * 60 * 60 * 1_000);
    while world.row_count(by_id).await > 0 {
        assert_eq!(world.chat.run_job_step().await.expect("the step is done"), crate::Step::Worked);
    }
    assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
}

/// Refuses the file in one line that names the number of the line and says what is wrong.
async fn assert_refused(text: &str, expected: &str) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let refused = bring(text, dir.path()).await.expect_err("is refused").to_string();
    assert!(refused.contains(expected) && !refused.contains('\n'), "{refused}");
    assert!(!dir.path().join("campanile.db").exists());
}

#[tokio::test]
async fn lines_that_cannot_have_happened_are_refused_by_their_number() {
    let with = |at: usize, line: Value| {
        let mut lines = lines();
        lines.insert(at, line);
        file(&lines)
    };
    let member = |user: &str| {
        json!({ "membership": { "channel": "general", "user": user,
        "invited_by": "alice", "created": 0 } })
    };
    let message = |more: Value| {
        let mut line = json!({ "channel": "general", "sender": "alice", "content": "x",
            "created": "2020-05-04T00:00:00Z" });
        for (name, value) in more.as_object().into_iter().flatten() {
            line[name] = value.clone();
        }
        json!({ "message": line })
    };
    let user = |id: &str| json!({ "user": { "id": id, "name": "x", "created": 0 } });
    let ban = json!({ "ban": { "channel": "general", "user": "carol", "created_by": "alice",
        "created": 0 } });
    let app = json!({ "app_instance": { "id": "x", "name": "x", "created": 0 } });
    let cases = [
        (with(0, user("x")), "line 2 ", "an app instance stands before"),
        (with(0, app), "line 2 ", "UUID"),
        (with(2, user("alice")), "line 4 ", "used before"),
        (with(2, user("-x")), "line 4 ", "an id has"),
        (with(2, member("alice")), "line 4 ", "the channel does not stand"),
        (with(9, member("nobody")), "line 11 ", "the user does not stand"),
        (with(9, member("bob")), "line 11 ", "banned"),
        (with(9, ban), "line 11 ", "bans of a channel"),
        (with(14, message(json!({ "sender": "dora" }))), "line 16 ", "the user does not"),
        (with(14, message(json!({ "created": 5 }))), "line 16 ", "order of their times"),
        (with(14, message(json!({ "created": "2031-01-01T00:00:00Z" }))), "line 16 ", "future"),
        (with(14, message(json!({ "created": "yesterday" }))), "line 16 ", "none of the lines"),
        (with(14, message(json!({ "id": "a b" }))), "line 16 ", "the id of a message"),
        (with(14, message(json!({ "strange": 1 }))), "line 16 ", "none of the lines"),
        (with(14, message(json!({ "content": "x".repeat(4_097) }))), "line 16 ", "too long"),
        (with(14, json!({ "strange": {} })), "line 16 ", "none of the lines"),
    ];
    for (text, number, expected) in cases {
        assert_refused(&text, number).await;
        assert_refused(&text, expected).await;
    }
    let twice = with(14, message(json!({ "id": "old-1" })));
    assert_refused(&twice, "channel_message_by_foreign_id").await;
}

#[tokio::test]
async fn a_history_that_is_cut_or_does_not_fit_its_last_line_is_refused() {
    let whole = file(&lines());
    let end = whole.lines().last().expect("has lines").len() + 1;
    assert_refused(&whole[..whole.len() - end], "not whole").await;
    assert_refused(&whole[..whole.len() - 1], "not whole").await;
    assert_refused(&whole.replace(r#"{"lines":15}"#, r#"{"lines":14}"#), "was changed").await;
    assert_refused(
        &whole.replace(r#"{"lines":15}"#, r#"{"lines":15,"sha256":"00"}"#),
        "was changed",
    )
    .await;
    assert_refused(&format!("{whole}\n"), "was changed").await;
    assert_refused(&whole.replace(r#""version":1"#, r#""version":2"#), "has version 2").await;
    assert_refused(&whole.replace("history", "diary"), "not an export").await;
}

use serde_json::{Value, json};

use crate::Effect;
use crate::testing::{BAD_REQUEST, CONFLICT, FORBIDDEN, LIMIT, START_MS, World, label, text};

fn path(user: &str) -> String {
    format!("/app-instance-users/{}", label(user))
}

#[tokio::test]
async fn user_is_created_described_listed_and_deleted() {
    let mut world = World::new().await;
    let alice = world.create_user("alice@example.org").await;
    assert!(alice.ends_with("/user/alice@example.org"));
    let described = world.get(&path(&alice), "").await.expect("is there");
    let described = &described["AppInstanceUser"];
    assert_eq!(described["Name"], "alice@example.org");
    assert_eq!(described["CreatedTimestamp"], json!(START_MS / 1_000));
    let list = format!("/app-instance-users?app-instance-arn={}", label(&world.app_instance));
    let listed = world.get(&list, "").await.expect("is there");
    assert_eq!(
        listed["AppInstanceUsers"],
        json!([{ "AppInstanceUserArn": alice, "Name": "alice@example.org" }])
    );
    world.heard();
    assert_eq!(world.delete(&path(&alice), "").await, Ok(Value::Null));
    assert!(matches!(world.heard()[0].effect, Some(Effect::UserGone { .. })));
    assert_eq!(world.get(&path(&alice), "").await, FORBIDDEN);
    assert_eq!(world.delete(&path(&alice), "").await, FORBIDDEN);
}

#[tokio::test]
async fn id_is_taken_once_and_free_after_the_delete() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    assert_eq!(world.try_create_user("alice").await, CONFLICT);
    assert!(world.create_admin(&alice).await.is_ok());
    assert_eq!(world.create_admin(&alice).await, CONFLICT);
    assert!(world.delete(&path(&alice), "").await.is_ok());
    assert_eq!(world.create_user("alice").await, alice);
    let list = format!("/channels?privacy=PRIVATE&app-instance-arn={}", label(&world.app_instance));
    assert_eq!(world.get(&list, &alice).await, FORBIDDEN, "the first alice was an admin");
    assert!(world.create_admin(&alice).await.is_ok());
}

#[tokio::test]
async fn token_of_the_first_user_is_not_answered_for_another_of_the_same_id() {
    let world = World::new().await;
    let body = json!({ "AppInstanceArn": world.app_instance, "AppInstanceUserId": "alice",
        "Name": "Alice", "ClientRequestToken": "same" });
    let create = |body: Value| world.call("POST", "/app-instance-users", "", body);
    let first = create(body.clone()).await.expect("is created");
    assert_eq!(create(body.clone()).await, Ok(first.clone()));
    let mut other = body.clone();
    other["Name"] = json!("Other");
    assert_eq!(create(other).await, CONFLICT);
    let alice = text(&first["AppInstanceUserArn"]);
    assert!(world.delete(&path(&alice), "").await.is_ok());
    assert_eq!(create(body).await, Ok(first), "the token of a deleted user makes a new one");
    assert!(world.get(&path(&alice), "").await.is_ok());
}

#[tokio::test]
async fn users_are_listed_in_pages_without_gaps() {
    let mut world = World::new().await;
    for index in 0..7 {
        world.create_user(&format!("user-{index}")).await;
    }
    let list = format!("/app-instance-users?app-instance-arn={}", label(&world.app_instance));
    for size in [1, 3, 6, 7, 50] {
        let target = format!("{list}&max-results={size}");
        let users = world.pages(&target, "", "AppInstanceUsers").await;
        let names: Vec<String> = users.iter().map(|user| text(&user["Name"])).collect();
        assert_eq!(names.len(), 7, "{size}");
        assert!(names.is_sorted());
    }
    assert_eq!(world.get(&format!("{list}&max-results=51"), "").await, BAD_REQUEST);
    let other = world.create_app_instance("other").await;
    let first = world.get(&format!("{list}&max-results=1"), "").await.expect("is there");
    let token = text(&first["NextToken"]);
    let foreign =
        format!("/app-instance-users?app-instance-arn={}&next-token={token}", label(&other));
    assert_eq!(world.get(&foreign, "").await, BAD_REQUEST);
}

#[tokio::test]
async fn hundred_app_instances_fit_and_a_deleted_one_frees_its_place() {
    let mut world = World::new().await;
    let mut last = String::new();
    for index in 1..100 {
        last = world.create_app_instance(&index.to_string()).await;
    }
    let one_more = json!({ "Name": "x", "ClientRequestToken": "one-more" });
    assert_eq!(world.call("POST", "/app-instances", "", one_more.clone()).await, LIMIT);
    assert!(world.delete(&format!("/app-instances/{}", label(&last)), "").await.is_ok());
    assert!(world.call("POST", "/app-instances", "", one_more).await.is_ok());
    assert_eq!(world.pages("/app-instances?max-results=9", "", "AppInstances").await.len(), 100);
}

#[tokio::test]
async fn update_replaces_name_and_metadata_and_the_lists_show_the_new_name() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let channel = world.create_channel(&alice, json!({})).await;
    world.send(&channel, &alice, "before").await.expect("is sent");
    world.clock.advance(1_000);
    let body = json!({ "Name": "Älice 👋", "Metadata": "m" });
    let updated = world.call("PUT", &path(&alice), "", body).await;
    assert_eq!(updated, Ok(json!({ "AppInstanceUserArn": alice })));
    let described = world.get(&path(&alice), "").await.expect("is there");
    assert_eq!(
        described["AppInstanceUser"],
        json!({
            "AppInstanceUserArn": alice, "Name": "Älice 👋", "Metadata": "m",
            "CreatedTimestamp": START_MS / 1_000, "LastUpdatedTimestamp": START_MS / 1_000 + 1,
        })
    );
    assert_eq!(world.members(&channel, &alice, "").await, ["Älice 👋"]);
    world.send(&channel, &alice, "after").await.expect("is sent");
    let messages = world.messages(&channel, &alice, "").await.expect("is readable");
    assert_eq!(messages["ChannelMessages"][0]["Sender"]["Name"], "Älice 👋");
    assert_eq!(messages["ChannelMessages"][1]["Sender"]["Name"], "alice");
    let cleared = json!({ "Name": "a", "Metadata": "" });
    assert!(world.call("PUT", &path(&alice), "", cleared).await.is_ok());
    let described = world.get(&path(&alice), "").await.expect("is there");
    assert_eq!(described["AppInstanceUser"].get("Metadata"), None, "an empty text is none");
}

#[tokio::test]
async fn update_needs_both_members_and_a_live_user() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    for body in [json!({}), json!({ "Name": "n" }), json!({ "Metadata": "m" })] {
        assert_eq!(world.call("PUT", &path(&alice), "", body).await, BAD_REQUEST);
    }
    let blank = json!({ "Name": " ", "Metadata": "m" });
    assert_eq!(world.call("PUT", &path(&alice), "", blank).await, BAD_REQUEST);
    let body = json!({ "Name": "n", "Metadata": "m" });
    let bot = world.create_bot("bot").await;
    assert_eq!(world.call("PUT", &path(&bot), "", body.clone()).await, BAD_REQUEST);
    assert!(world.delete(&path(&alice), "").await.is_ok());
    assert_eq!(world.call("PUT", &path(&alice), "", body).await, FORBIDDEN);
}

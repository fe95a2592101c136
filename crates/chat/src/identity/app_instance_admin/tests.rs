use serde_json::{Value, json};

use super::*;
use crate::testing::{BAD_REQUEST, CONFLICT, FORBIDDEN, LIMIT, START_MS, World, label, text};

fn path(app_instance: &str, admin: &str) -> String {
    format!("/app-instances/{}/admins/{}", label(app_instance), label(admin))
}

fn list(app_instance: &str) -> String {
    format!("/app-instances/{}/admins", label(app_instance))
}

async fn names(world: &World, query: &str) -> Vec<String> {
    let target = format!("{}{query}", list(&world.app_instance));
    let admins = world.pages(&target, "", "AppInstanceAdmins").await;
    admins.iter().map(|admin| text(&admin["Admin"]["Name"])).collect()
}

#[tokio::test]
async fn admin_is_described_and_listed_under_his_name_of_today() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bot = world.create_bot("").await;
    assert!(world.create_admin(&alice).await.is_ok());
    assert!(world.create_admin(&bot).await.is_ok());
    let body = json!({ "Name": "Alice", "Metadata": "" });
    let user = format!("/app-instance-users/{}", label(&alice));
    assert!(world.call("PUT", &user, "", body).await.is_ok());
    let described = world.get(&path(&world.app_instance, &alice), "").await;
    assert_eq!(
        described,
        Ok(json!({ "AppInstanceAdmin": {
            "Admin": { "Arn": alice, "Name": "Alice" }, "AppInstanceArn": world.app_instance,
            "CreatedTimestamp": START_MS / 1_000,
        } }))
    );
    let listed = world.get(&list(&world.app_instance), "").await.expect("is there");
    let mut admins = crate::testing::array(&listed["AppInstanceAdmins"]).clone();
    admins.sort_by_key(|admin| text(&admin["Admin"]["Name"]));
    assert_eq!(listed["AppInstanceArn"], json!(world.app_instance));
    assert_eq!(listed.get("NextToken"), None);
    let expected = [
        json!({ "Admin": { "Arn": bot, "Name": "" } }),
        json!({ "Admin": { "Arn": alice, "Name": "Alice" } }),
    ];
    assert_eq!(admins, expected);
}

#[tokio::test]
async fn who_is_no_admin_is_neither_described_nor_demoted() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let other = world.create_app_instance("other").await;
    let bad = format!("{alice}2");
    for stranger in [&alice, &bad, &world.app_instance, &format!("{other}/user/alice")] {
        let path = path(&world.app_instance, stranger);
        assert_eq!(world.get(&path, "").await, FORBIDDEN, "{stranger}");
        assert_eq!(world.delete(&path, "").await, FORBIDDEN, "{stranger}");
    }
    assert!(world.create_admin(&alice).await.is_ok());
    assert_eq!(world.get(&path(&other, &alice), "").await, FORBIDDEN);
    assert_eq!(world.get(&path(&alice, &alice), "").await, BAD_REQUEST);
    assert_eq!(world.get(&list(&alice), "").await, BAD_REQUEST);
}

#[tokio::test]
async fn demoted_admin_stays_a_user_and_loses_the_role_at_once() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let channel = world.create_channel(&alice, json!({})).await;
    assert!(world.create_admin(&bob).await.is_ok());
    assert!(world.messages(&channel, &bob, "").await.is_ok());
    assert_eq!(world.delete(&path(&world.app_instance, &bob), "").await, Ok(Value::Null));
    assert_eq!(world.messages(&channel, &bob, "").await, FORBIDDEN);
    assert_eq!(world.delete(&path(&world.app_instance, &bob), "").await, FORBIDDEN);
    assert!(world.create_channel(&bob, json!({})).await.contains("/channel/"), "he lives on");
    assert!(world.create_admin(&bob).await.is_ok(), "and may become one again");
    assert_eq!(world.create_admin(&bob).await, CONFLICT);
}

#[tokio::test]
async fn admins_are_listed_in_pages_without_the_deleted() {
    let mut world = World::new().await;
    for index in 0..7 {
        let user = world.create_user(&format!("user-{index}")).await;
        assert!(world.create_admin(&user).await.is_ok());
        world.clock.advance(1);
    }
    let third = format!("/app-instance-users/{}%2Fuser%2Fuser-3", label(&world.app_instance));
    assert!(world.delete(&third, "").await.is_ok());
    let expected: Vec<String> = [0, 1, 2, 4, 5, 6].map(|index| format!("user-{index}")).into();
    for size in [1, 2, 6, 50] {
        assert_eq!(names(&world, &format!("?max-results={size}")).await, expected, "{size}");
    }
    let first = world.get(&format!("{}?max-results=1", list(&world.app_instance)), "").await;
    let token = text(&first.expect("is there")["NextToken"]);
    let other = world.create_app_instance("other").await;
    let foreign = format!("{}?next-token={token}", list(&other));
    assert_eq!(world.get(&foreign, "").await, BAD_REQUEST);
}

#[tokio::test]
async fn demotion_frees_a_place_of_the_hundred() {
    let mut world = World::new().await;
    let mut last = String::new();
    for index in 0..100 {
        last = world.create_user(&format!("user-{index}")).await;
        assert!(world.create_admin(&last).await.is_ok());
    }
    let bot = world.create_bot("bot").await;
    assert_eq!(world.create_admin(&bot).await, LIMIT);
    assert!(world.delete(&path(&world.app_instance, &last), "").await.is_ok());
    assert!(world.create_admin(&bot).await.is_ok());
    assert_eq!(world.row_count(&APP_INSTANCE_ADMIN).await, 100);
    world.run_jobs().await;
}

#[tokio::test]
async fn of_two_demotions_and_a_delete_at_once_each_counts_once() {
    let mut world = World::new().await;
    for _ in 0..20 {
        let alice = world.create_user("alice").await;
        assert!(world.create_admin(&alice).await.is_ok());
        let path = path(&world.app_instance, &alice);
        let user = format!("/app-instance-users/{}", label(&alice));
        let (one, other, deleted) = tokio::join!(
            world.delete(&path, ""),
            world.delete(&path, ""),
            world.delete(&user, ""),
        );
        assert!(deleted.is_ok(), "{deleted:?}");
        assert!(one.is_err() || other.is_err(), "one at most");
        world.run_jobs().await;
    }
    assert_eq!(world.row_count(&APP_INSTANCE_ADMIN).await, 0);
}

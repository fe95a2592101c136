use serde_json::{Value, json};

use super::*;
use crate::testing::{BAD_REQUEST, FORBIDDEN, LIMIT, Outcome, World, array, label, text};

fn tags_of(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

async fn tag(world: &World, arn: &str, tags: Value) -> Outcome {
    let body = json!({ "ResourceARN": arn, "Tags": tags });
    world.call("POST", "/tags?operation=tag-resource", "", body).await
}

async fn untag(world: &World, arn: &str, keys: &[&str]) -> Outcome {
    let body = json!({ "ResourceARN": arn, "TagKeys": keys });
    world.call("POST", "/tags?operation=untag-resource", "", body).await
}

async fn list(world: &World, arn: &str) -> Outcome {
    world.get(&format!("/tags?arn={}", label(arn)), "").await
}

async fn listed(world: &World, arn: &str) -> Value {
    list(world, arn).await.expect("is there")["Tags"].clone()
}

/// One resource of each kind that may have tags.
async fn resources(world: &mut World) -> [String; 4] {
    let alice = world.create_user("alice").await;
    let bot = world.create_bot("bot").await;
    let channel = world.create_channel(&alice, json!({})).await;
    [world.app_instance.clone(), alice, bot, channel]
}

#[tokio::test]
async fn every_resource_is_tagged_listed_and_untagged() {
    let mut world = World::new().await;
    for arn in resources(&mut world).await {
        assert_eq!(list(&world, &arn).await, Ok(json!({ "Tags": [] })));
        let first = tags_of(&[("b", "1"), ("ä", "ö"), ("a", "2")]);
        assert_eq!(tag(&world, &arn, first).await, Ok(Value::Null));
        assert_eq!(listed(&world, &arn).await, tags_of(&[("a", "2"), ("b", "1"), ("ä", "ö")]));
        let second = tags_of(&[("a", "3"), ("A", "4")]);
        assert!(tag(&world, &arn, second).await.is_ok());
        let all = tags_of(&[("A", "4"), ("a", "3"), ("b", "1"), ("ä", "ö")]);
        assert_eq!(listed(&world, &arn).await, all);
        assert_eq!(untag(&world, &arn, &["a", "ä", "nothing"]).await, Ok(Value::Null));
        assert_eq!(listed(&world, &arn).await, tags_of(&[("A", "4"), ("b", "1")]));
        assert!(untag(&world, &arn, &["A", "b", "b"]).await.is_ok());
        assert_eq!(listed(&world, &arn).await, json!([]));
        assert!(untag(&world, &arn, &["A"]).await.is_ok(), "what is not there is gone");
    }
    world.run_jobs().await;
}

#[tokio::test]
async fn tags_of_a_create_are_the_resources() {
    let mut world = World::new().await;
    let tags = tags_of(&[("team", "blue")]);
    let alice = world.create_user("alice").await;
    let channel = world.create_channel(&alice, json!({ "Tags": tags })).await;
    let bot = world.try_create_bot(json!({ "Tags": tags })).await.expect("is created");
    for arn in [channel, text(&bot["AppInstanceBotArn"])] {
        assert_eq!(listed(&world, &arn).await, tags);
    }
}

#[tokio::test]
async fn fifty_tags_fit_and_a_refused_request_changes_none() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let many = |range: std::ops::Range<usize>| -> Value {
        range.map(|index| json!({ "Key": format!("key-{index:02}"), "Value": "v" })).collect()
    };
    assert!(tag(&world, &alice, many(0..30)).await.is_ok());
    assert_eq!(tag(&world, &alice, many(20..51)).await, LIMIT);
    assert_eq!(array(&listed(&world, &alice).await).len(), 30);
    assert!(tag(&world, &alice, many(20..50)).await.is_ok());
    assert_eq!(array(&listed(&world, &alice).await).len(), 50);
    assert!(tag(&world, &alice, many(0..50)).await.is_ok(), "they only replace");
    assert_eq!(tag(&world, &alice, many(50..51)).await, LIMIT);
    assert!(untag(&world, &alice, &["key-07"]).await.is_ok());
    assert!(tag(&world, &alice, many(50..51)).await.is_ok());
}

#[tokio::test]
async fn reserved_repeated_and_malformed_tags_are_refused() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let long = ["k".repeat(129), "v".repeat(257)];
    for tags in [
        tags_of(&[("aws:a", "v")]),
        tags_of(&[("AWS:a", "v")]),
        tags_of(&[("a", "1"), ("a", "2")]),
        tags_of(&[("", "v")]),
        tags_of(&[("k", "")]),
        tags_of(&[(&long[0], "v")]),
        tags_of(&[("k", &long[1])]),
        json!([]),
        json!([{ "Key": "k" }]),
        Value::Null,
    ] {
        assert_eq!(tag(&world, &alice, tags.clone()).await, BAD_REQUEST, "{tags}");
    }
    assert_eq!(untag(&world, &alice, &[]).await, BAD_REQUEST);
    assert_eq!(listed(&world, &alice).await, json!([]));
    let longest = tags_of(&[(&long[0][1..], &long[1][1..]), ("aws", "v")]);
    assert!(tag(&world, &alice, longest).await.is_ok());
}

#[tokio::test]
async fn resource_that_is_not_there_has_no_tags() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let other = world.create_app_instance("other").await;
    for arn in [
        format!("{alice}2"),
        format!("{other}/user/alice"),
        format!("{}/bot/alice", world.app_instance),
        format!("{}/channel-flow/flow", world.app_instance),
        world.app_instance.replace("us-east-1", "eu-central-1"),
        "arn:aws:s3:::bucket".to_owned(),
    ] {
        assert_eq!(tag(&world, &arn, tags_of(&[("k", "v")])).await, FORBIDDEN, "{arn}");
        assert_eq!(untag(&world, &arn, &["k"]).await, FORBIDDEN, "{arn}");
        assert_eq!(list(&world, &arn).await, FORBIDDEN, "{arn}");
    }
}

#[tokio::test]
async fn tags_go_with_their_resource_and_are_not_a_successors() {
    let mut world = World::new().await;
    let [_, alice, bot, channel] = resources(&mut world).await;
    for arn in [&alice, &bot, &channel] {
        assert!(tag(&world, arn, tags_of(&[("k", "v")])).await.is_ok());
    }
    assert!(world.delete(&format!("/channels/{}", label(&channel)), &alice).await.is_ok());
    assert!(world.delete(&format!("/app-instance-users/{}", label(&alice)), "").await.is_ok());
    assert!(world.delete(&format!("/app-instance-bots/{}", label(&bot)), "").await.is_ok());
    for arn in [&alice, &bot, &channel] {
        assert_eq!(list(&world, arn).await, FORBIDDEN, "{arn}");
    }
    assert_eq!(world.create_user("alice").await, alice);
    assert_eq!(listed(&world, &alice).await, json!([]));
    world.run_jobs().await;
    assert_eq!(world.row_count(&RESOURCE_TAG).await, 0);
}

#[tokio::test]
async fn tags_that_are_put_at_once_all_stay() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    for round in 0..10 {
        let key = |index: usize| format!("key-{round}-{index}");
        let keys = [key(0), key(1), key(2), key(3)];
        let [a, b, c, d] = keys.each_ref().map(|key| tag(&world, &alice, tags_of(&[(key, "v")])));
        let (a, b, c, d) = tokio::join!(a, b, c, d);
        assert_eq!([a, b, c, d], [const { Ok(Value::Null) }; 4]);
    }
    assert_eq!(array(&listed(&world, &alice).await).len(), 40);
}

#[tokio::test]
async fn resource_that_is_deleted_while_it_is_tagged_leaves_no_tags() {
    let mut world = World::new().await;
    for _ in 0..20 {
        let bot = world.create_bot("bot").await;
        let path = format!("/app-instance-bots/{}", label(&bot));
        let (tagged, deleted) =
            tokio::join!(tag(&world, &bot, tags_of(&[("k", "v")])), world.delete(&path, ""));
        assert!(deleted.is_ok(), "{deleted:?}");
        assert!(tagged.is_ok() || tagged == FORBIDDEN, "{tagged:?}");
        world.run_jobs().await;
        assert_eq!(world.row_count(&RESOURCE_TAG).await, 0);
    }
}

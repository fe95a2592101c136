use serde_json::{Value, json};

use super::*;
use crate::Quotas;
use crate::testing::{Calls, World, array, label, text};

const SORTS: [PrefetchSort; 2] = [PrefetchSort::Unread, PrefetchSort::LastMessageTimestamp];

/// Returns what a session of the user is told, in its order.
async fn told(world: &World, user: &str, sort: PrefetchSort) -> Vec<Value> {
    all(world, user, sort).await.into_iter().map(|details| payload(&details)).collect()
}

async fn all(world: &World, user: &str, sort: PrefetchSort) -> Vec<Details> {
    let user = world.chat.connect(user).await.expect("answers").expect("is let in");
    let mut prefetch = world.chat.prefetch(&user, sort).await.expect("answers");
    let mut all = Vec::new();
    loop {
        let next = prefetch.next().await.expect("answers");
        assert!(next.len() <= limits::PREFETCH_CHANNELS_PER_READ);
        if next.is_empty() {
            return all;
        }
        all.extend(next);
    }
}

fn payload(details: &Details) -> Value {
    let frame: Value = serde_json::from_slice(&details.frame).expect("frames are JSON");
    assert_eq!(frame["Headers"]["x-amz-chime-event-type"], "CHANNEL_DETAILS");
    assert_eq!(frame["Headers"]["x-amz-chime-message-type"], "SYSTEM");
    serde_json::from_str(frame["Payload"].as_str().expect("is a text")).expect("is JSON")
}

fn names(told: &[Value]) -> Vec<String> {
    told.iter().map(|one| text(&one["Channel"]["Name"])).collect()
}

fn contents(one: &Value) -> Vec<String> {
    array(&one["ChannelMessages"]).iter().map(|message| text(&message["Content"])).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn members(one: &Value) -> Vec<String> {
    array(&one["ChannelMemberships"]).iter().map(|it| text(&it["Member"]["Name"])).collect()
}

async fn mark(world: &World, channel: &str, user: &str) {
    let target = format!("/channels/{}/readMarker", label(channel));
    world.call("PUT", &target, user, Value::Null).await.expect("is marked");
}

async fn channel(world: &mut World, owner: &str, name: &str) -> String {
    world.create_channel(owner, json!({ "Name": name, "ChannelId": name })).await
}

#[tokio::test]
async fn a_channel_is_told_with_messages_members_and_marker() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let room = json!({ "Name": "room", "Metadata": "{}", "MemberArns": [bob] });
    let room = world.create_channel(&alice, room).await;
    world.send(&room, &alice, "first").await.expect("is sent");
    let [before] = told(&world, &bob, PrefetchSort::Unread).await.try_into().expect("one channel");
    assert_eq!(before["ReadMarkerTimestamp"], Value::Null);
    mark(&world, &room, &bob).await;
    world.clock.advance(5);
    world
        .send_with(&room, &bob, json!({ "Content": "second", "ContentType": "text/plain" }))
        .await
        .expect("is sent");
    let [mut one] = told(&world, &bob, PrefetchSort::Unread).await.try_into().expect("one channel");
    let listed = world.messages(&room, &bob, "").await.expect("is readable");
    for (message, listed) in
        array(&one["ChannelMessages"]).iter().zip(array(&listed["ChannelMessages"]))
    {
        for member in ["MessageId", "Content", "Type", "Sender", "Redacted", "Status"] {
            assert_eq!(message[member], listed[member], "{member}");
        }
        assert!(text(&message["CreatedTimestamp"]).ends_with('Z'));
        for absent in ["ChannelArn", "Persistence", "SubChannelId", "Target", "Metadata"] {
            assert_eq!(message.get(absent), None);
        }
    }
    assert_eq!(contents(&one), ["second", "first"]);
    assert_eq!(sorted(members(&one)), ["alice", "bob"]);
    assert!(text(&one["ReadMarkerTimestamp"]) < text(&one["Channel"]["LastMessageTimestamp"]));
    assert_eq!(one["ChannelMessagesHasMore"], json!(false));
    assert_eq!(one.get("SubChannelId"), None);
    let last = one["ChannelMessages"][0]["CreatedTimestamp"].take();
    let shape = json!({ "ChannelArn": room, "Name": "room", "Mode": "RESTRICTED",
        "Privacy": "PRIVATE", "Metadata": "{}", "LastMessageTimestamp": last });
    assert_eq!(one["Channel"], shape);
}

#[tokio::test]
async fn unread_channels_come_first_then_those_with_newer_messages() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    for name in ["silent", "old-unread", "old-read", "new-unread", "new-read"] {
        let arn = channel(&mut world, &alice, name).await;
        world.join(&arn, &alice, &bob).await.expect("is added");
        world.clock.advance(10);
        if name != "silent" {
            world.send(&arn, &alice, "hello").await.expect("is sent");
        }
        world.clock.advance(10);
        if name.ends_with("-read") {
            mark(&world, &arn, &bob).await;
        }
    }
    let unread = told(&world, &bob, PrefetchSort::Unread).await;
    assert_eq!(names(&unread), ["new-unread", "old-unread", "new-read", "old-read", "silent"]);
    let newest = told(&world, &bob, PrefetchSort::LastMessageTimestamp).await;
    assert_eq!(names(&newest), ["new-read", "new-unread", "old-read", "old-unread", "silent"]);
}

#[tokio::test]
async fn of_many_channels_the_best_fifty_are_told_in_few_reads() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let mut arns = Vec::new();
    for index in 0..limits::PREFETCH_CHANNELS_MAX + 12 {
        arns.push(channel(&mut world, &alice, &format!("c{index}")).await);
    }
    for arn in arns.iter().skip(12) {
        world.clock.advance(10);
        world.send(arn, &alice, "hello").await.expect("is sent");
    }
    // Read, the newest of all is not among the best that are unread.
    world.send(&arns[0], &alice, "newest").await.expect("is sent");
    mark(&world, &arns[0], &alice).await;
    world.engine.take();
    let unread = names(&told(&world, &alice, PrefetchSort::Unread).await);
    let calls = world.engine.take();
    let expected: Vec<String> = (12..62).rev().map(|index| format!("c{index}")).collect();
    assert_eq!(unread, expected);
    // One list and one look-up to choose; five pieces with messages, members and what they are.
    assert_eq!((calls.scans, calls.commits), (11, 0));
    assert!(calls.gets <= 30, "{calls:?}");
    let newest = names(&told(&world, &alice, PrefetchSort::LastMessageTimestamp).await);
    assert_eq!(newest[0], "c0");
    assert_eq!(newest[1..], expected[..49]);
}

#[tokio::test]
async fn choosing_reads_on_behind_the_first_rows() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let count = limits::PREFETCH_ROWS_PER_READ + 3;
    for index in 0..count {
        channel(&mut world, &alice, &format!("c{index}")).await;
    }
    let user = world.chat.connect(&alice).await.expect("answers").expect("is let in");
    for index in 0..count {
        let arn = format!("{}/channel/c{index}", world.app_instance);
        world.clock.advance(10);
        world.send(&arn, &alice, "hello").await.expect("is sent");
    }
    world.engine.take();
    let view = world.chat.0.store.view();
    let best = choose(&view, &user, PrefetchSort::LastMessageTimestamp).await.expect("answers");
    assert_eq!(world.engine.take(), Calls { gets: 2, scans: 2, commits: 0 });
    let ids: Vec<String> = best.into_iter().map(|one| one.named.id).collect();
    let expected: Vec<String> = (0..count).rev().take(50).map(|it| format!("c{it}")).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn twenty_messages_are_told_and_whether_there_are_more() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let room = channel(&mut world, &alice, "room").await;
    for index in 0..limits::PREFETCH_MESSAGES_MAX {
        world.send(&room, &alice, &format!("m{index}")).await.expect("is sent");
    }
    let [one] = told(&world, &alice, PrefetchSort::Unread).await.try_into().expect("one channel");
    assert_eq!(one["ChannelMessagesHasMore"], json!(false));
    assert_eq!(contents(&one).len(), limits::PREFETCH_MESSAGES_MAX);
    world.send(&room, &alice, "newest").await.expect("is sent");
    let [one] = told(&world, &alice, PrefetchSort::Unread).await.try_into().expect("one channel");
    assert_eq!(one["ChannelMessagesHasMore"], json!(true));
    let contents = contents(&one);
    assert_eq!(contents.len(), limits::PREFETCH_MESSAGES_MAX);
    assert_eq!((contents[0].as_str(), contents[19].as_str()), ("newest", "m1"));
}

#[tokio::test]
async fn messages_for_others_are_left_out_and_give_room() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let carol = world.create_user("carol").await;
    let room = json!({ "Name": "room", "MemberArns": [bob, carol] });
    let room = world.create_channel(&alice, room).await;
    for index in 0..3 {
        world.send(&room, &alice, &format!("all {index}")).await.expect("is sent");
    }
    for index in 0..2 * limits::PREFETCH_MESSAGES_MAX {
        world.clock.advance(10);
        let body = json!({ "Content": format!("{index}"), "Target": [{ "MemberArn": bob }] });
        world.send_with(&room, &alice, body).await.expect("is sent");
    }
    let [bobs] = told(&world, &bob, PrefetchSort::Unread).await.try_into().expect("one channel");
    assert_eq!(contents(&bobs).len(), limits::PREFETCH_MESSAGES_MAX);
    assert_eq!(bobs["ChannelMessages"][0]["Target"], json!([{ "MemberArn": bob }]));
    // His last message is one that others do not see.
    let newest = &bobs["ChannelMessages"][0]["CreatedTimestamp"];
    assert_eq!(bobs["Channel"]["LastMessageTimestamp"], *newest);
    let [carols] = told(&world, &carol, PrefetchSort::Unread).await.try_into().expect("one");
    assert_eq!(contents(&carols), ["all 2", "all 1", "all 0"]);
    assert_eq!(carols["ChannelMessagesHasMore"], json!(false));
    let newest = &carols["ChannelMessages"][0]["CreatedTimestamp"];
    assert_eq!(carols["Channel"]["LastMessageTimestamp"], *newest);
}

#[tokio::test]
async fn a_failed_message_is_told_to_its_sender_alone_and_covers_nothing() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let room = json!({ "Name": "room", "MemberArns": [bob] });
    let room = world.create_channel(&alice, room).await;
    world.send(&room, &alice, "sent").await.expect("is sent");
    let flow = world.create_flow("ABORT").await;
    world.associate(&room, &alice, &flow).await.expect("is associated");
    world.send(&room, &alice, "failed").await.expect("is taken");
    let [alices] = all(&world, &alice, PrefetchSort::Unread).await.try_into().expect("one");
    assert_eq!(contents(&payload(&alices)), ["failed", "sent"]);
    assert_eq!(payload(&alices)["ChannelMessages"][0]["Status"]["Value"], "FAILED");
    assert_eq!(alices.messages.len(), 1);
    let [bobs] = told(&world, &bob, PrefetchSort::Unread).await.try_into().expect("one");
    assert_eq!(contents(&bobs), ["sent"]);
}

#[tokio::test]
async fn messages_past_their_retention_are_not_told() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let room = channel(&mut world, &alice, "room").await;
    world.send(&room, &alice, "old").await.expect("is sent");
    let target = format!("/app-instances/{}/retention-settings", label(&world.app_instance));
    let settings = json!({ "AppInstanceRetentionSettings":
        { "ChannelRetentionSettings": { "RetentionDays": 1 } } });
    world.call("PUT", &target, "", settings).await.expect("is set");
    world.clock.advance(2 * 24 * 60 * 60 * 1_000);
    world.send(&room, &alice, "new").await.expect("is sent");
    let [one] = told(&world, &alice, PrefetchSort::Unread).await.try_into().expect("one channel");
    assert_eq!(contents(&one), ["new"]);
    assert_eq!(one["ChannelMessagesHasMore"], json!(false));
}

#[tokio::test]
async fn thirty_memberships_are_told_none_of_them_hidden_or_gone() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let room = channel(&mut world, &alice, "room").await;
    for index in 0..limits::PREFETCH_MEMBERSHIPS_MAX + 2 {
        let hidden = world.create_user(&format!("hidden-{index}")).await;
        world.join_as(&room, &alice, &hidden, "HIDDEN").await.expect("is added");
    }
    let gone = world.create_user("gone").await;
    world.join(&room, &alice, &gone).await.expect("is added");
    world.delete(&format!("/app-instance-users/{}", label(&gone)), "").await.expect("is deleted");
    let bob = world.create_user("bob").await;
    world.join(&room, &alice, &bob).await.expect("is added");
    for sort in SORTS {
        let [one] = told(&world, &alice, sort).await.try_into().expect("one channel");
        assert_eq!(members(&one), world.members(&room, &alice, "").await);
        assert_eq!(sorted(members(&one)), ["alice", "bob"]);
    }
    for index in 0..limits::PREFETCH_MEMBERSHIPS_MAX {
        let user = world.create_user(&format!("user-{index}")).await;
        world.join(&room, &alice, &user).await.expect("is added");
    }
    let hidden = format!("{}/user/hidden-0", world.app_instance);
    let [one] = told(&world, &hidden, PrefetchSort::Unread).await.try_into().expect("one channel");
    assert_eq!(members(&one).len(), limits::PREFETCH_MEMBERSHIPS_MAX);
    assert!(members(&one).iter().all(|name| !name.starts_with("hidden")));
}

#[tokio::test]
async fn only_channels_of_the_user_that_are_there_are_told() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    for name in ["left", "gone", "kept"] {
        let arn = channel(&mut world, &alice, name).await;
        world.join(&arn, &alice, &bob).await.expect("is added");
    }
    let of = |name: &str| format!("{}/channel/{name}", world.app_instance);
    world.leave(&of("left"), &bob, &bob).await.expect("leaves");
    world.delete(&format!("/channels/{}", label(&of("gone"))), &alice).await.expect("is deleted");
    for sort in SORTS {
        assert_eq!(names(&told(&world, &bob, sort).await), ["kept"]);
    }
}

#[tokio::test]
async fn who_leaves_after_the_choice_is_told_nothing_more() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let room = json!({ "Name": "room", "MemberArns": [bob] });
    let room = world.create_channel(&alice, room).await;
    let user = world.chat.connect(&bob).await.expect("answers").expect("is let in");
    let prefetch = world.chat.prefetch(&user, PrefetchSort::Unread).await;
    let mut prefetch = prefetch.expect("answers");
    world.leave(&room, &alice, &bob).await.expect("is removed");
    world.send(&room, &alice, "without bob").await.expect("is sent");
    assert!(prefetch.next().await.expect("answers").is_empty());
}

#[tokio::test]
async fn messages_are_named_by_the_commits_that_a_session_may_hear_too() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let room = channel(&mut world, &alice, "room").await;
    for _ in 0..3 {
        world.send(&room, &alice, "hello").await.expect("is sent");
    }
    let user = world.chat.connect(&alice).await.expect("answers").expect("is let in");
    let [heard] = world.chat.memberships(&user).await.expect("answers").try_into().expect("one");
    let [details] = all(&world, &alice, PrefetchSort::Unread).await.try_into().expect("one");
    let seqs: Vec<u64> = details.messages.iter().map(|(_, seq)| *seq).collect();
    assert_eq!(seqs, [4, 3, 2], "the first commit made the channel");
    assert!(details.messages.iter().all(|(home, _)| *home == heard.channel));
}

#[tokio::test]
async fn of_an_elastic_channel_the_own_sub_channel_is_told_without_marker() {
    let mut world = World::with_quotas(Quotas::default()).await;
    let alice = world.create_user("alice").await;
    let elastic = json!({ "MaximumSubChannels": 3, "TargetMembershipsPerSubChannel": 2,
        "MinimumMembershipPercentage": 40 });
    let body = json!({ "Name": "elastic", "ElasticChannelConfiguration": elastic });
    let room = world.create_channel(&alice, body).await;
    let mut subs = Vec::new();
    for name in ["bob", "carol", "dave"] {
        let user = world.create_user(name).await;
        let answer = world.join(&room, &alice, &user).await.expect("is added");
        let sub = text(&answer["SubChannelId"]);
        let body = json!({ "Content": format!("of {name}"), "SubChannelId": sub });
        world.send_with(&room, &user, body).await.expect("is sent");
        subs.push((user, sub));
    }
    let plain = channel(&mut world, &alice, "plain").await;
    world.join(&plain, &alice, &subs[0].0).await.expect("is added");
    let [bobs, other] = told(&world, &subs[0].0, PrefetchSort::Unread).await.try_into().expect("2");
    assert_eq!(names(&[bobs.clone(), other]), ["elastic", "plain"]);
    assert_eq!(bobs["SubChannelId"], json!(subs[0].1));
    assert_eq!(bobs["ReadMarkerTimestamp"], Value::Null);
    assert_eq!(contents(&bobs), ["of carol", "of bob"]);
    assert_eq!(sorted(members(&bobs)), ["bob", "carol"]);
    let newest = &bobs["ChannelMessages"][0]["CreatedTimestamp"];
    assert_eq!(bobs["Channel"]["LastMessageTimestamp"], *newest);
    let [daves] = told(&world, &subs[2].0, PrefetchSort::Unread).await.try_into().expect("one");
    assert_ne!(daves["SubChannelId"], bobs["SubChannelId"]);
    assert_eq!(contents(&daves), ["of dave"]);
}

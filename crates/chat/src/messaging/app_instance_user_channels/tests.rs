use serde_json::{Value, json};

use crate::testing::{BAD_REQUEST, Calls, FORBIDDEN, UNAUTHORIZED, World, array, label, text};

const MEMBERSHIPS: &str = "/channels?scope=app-instance-user-memberships";
const MODERATED: &str = "/channels?scope=app-instance-user-moderated-channels";

/// Alice, an admin called root, and bob.
async fn world() -> (World, [String; 3]) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let root = world.create_user("root").await;
    let bob = world.create_user("bob").await;
    assert!(world.create_admin(&root).await.is_ok());
    (world, [alice, root, bob])
}

fn of(list: &str, user: &str) -> String {
    format!("{list}&app-instance-user-arn={}", label(user))
}

/// The target that describes one channel of a user.
fn one(channel: &str, scope: &str, user: &str) -> String {
    let scope = format!("scope=app-instance-user-{scope}");
    format!("/channels/{}?{scope}&app-instance-user-arn={}", label(channel), label(user))
}

fn ids(items: &[Value]) -> Vec<String> {
    let id = |item: &Value| text(&item["ChannelSummary"]["ChannelArn"]);
    items.iter().map(|item| id(item).rsplit('/').next().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn memberships_are_listed_with_channel_type_and_marker() {
    let (mut world, [alice, _, bob]) = world().await;
    let open = json!({ "ChannelId": "open", "Privacy": "PUBLIC", "Metadata": "m",
        "MemberArns": [bob] });
    let open = world.create_channel(&alice, open).await;
    world.send(&open, &alice, "hello").await.expect("is sent");
    world.clock.advance(1_000);
    let secret = world.create_channel(&alice, json!({ "ChannelId": "secret" })).await;
    assert!(world.join_as(&secret, &alice, &bob, "HIDDEN").await.is_ok());
    let marked = format!("/channels/{}/readMarker", label(&open));
    assert!(world.call("PUT", &marked, &bob, Value::Null).await.is_ok());
    let listed = world.get(MEMBERSHIPS, &bob).await.expect("is readable");
    assert_eq!(listed["NextToken"], Value::Null);
    let items = array(&listed["ChannelMemberships"]);
    assert_eq!(items.len(), 2);
    let mut first = items[0].clone();
    assert!(first["ChannelSummary"]["LastMessageTimestamp"].take().is_number());
    assert!(first["AppInstanceUserMembershipSummary"]["ReadMarkerTimestamp"].take().is_number());
    assert_eq!(
        first,
        json!({
            "ChannelSummary": { "ChannelArn": open, "Name": "channel", "Mode": "RESTRICTED",
                "Privacy": "PUBLIC", "Metadata": "m", "LastMessageTimestamp": null },
            "AppInstanceUserMembershipSummary": { "Type": "DEFAULT", "ReadMarkerTimestamp": null },
        })
    );
    assert_eq!(
        items[1],
        json!({
            "ChannelSummary": { "ChannelArn": secret, "Name": "channel", "Mode": "RESTRICTED",
                "Privacy": "PRIVATE" },
            "AppInstanceUserMembershipSummary": { "Type": "HIDDEN" },
        })
    );
    for (channel, item) in [(&open, &items[0]), (&secret, &items[1])] {
        let described = world.get(&one(channel, "membership", &bob), &bob).await;
        assert_eq!(described, Ok(json!({ "ChannelMembership": item })));
    }
}

#[tokio::test]
async fn own_channels_are_for_oneself_and_all_for_admins() {
    let (mut world, [alice, root, bob]) = world().await;
    let more = json!({ "ChannelId": "room", "MemberArns": [bob] });
    let room = world.create_channel(&alice, more).await;
    let nobody = format!("{}/user/nobody", world.app_instance);
    for (list, items) in [(MEMBERSHIPS, "ChannelMemberships"), (MODERATED, "Channels")] {
        for (target, bearer) in [(list.to_owned(), &alice), (of(list, &alice), &alice)] {
            assert_eq!(ids(&world.pages(&target, bearer, items).await), ["room"]);
        }
        assert_eq!(ids(&world.pages(&of(list, &alice), &root, items).await), ["room"]);
        assert!(world.pages(list, &root, items).await.is_empty(), "his own without an ARN");
        assert_eq!(world.get(&of(list, &alice), &bob).await, FORBIDDEN);
        for bearer in [&bob, &root] {
            assert_eq!(world.get(&of(list, &nobody), bearer).await, FORBIDDEN);
            assert_eq!(world.get(&of(list, &room), bearer).await, FORBIDDEN);
        }
        assert_eq!(world.get(&format!("{list}&app-instance-user-arn=x"), &bob).await, BAD_REQUEST);
        assert_eq!(world.get(list, "").await, UNAUTHORIZED);
    }
    for scope in ["membership", "moderated-channel"] {
        for (user, bearer, is_allowed) in [
            (&alice, &alice, true),
            (&alice, &root, true),
            (&alice, &bob, false),
            (&root, &root, false),
            (&nobody, &root, false),
            (&bob, &bob, scope == "membership"),
        ] {
            let answer = world.get(&one(&room, scope, user), bearer).await;
            assert_eq!(answer.is_ok(), is_allowed, "{scope} {user} {bearer}");
            assert!(is_allowed || answer == FORBIDDEN);
        }
        assert_eq!(world.get(&one(&alice, scope, &alice), &alice).await, BAD_REQUEST);
        let unknown = format!("{}/channel/unknown", world.app_instance);
        assert_eq!(world.get(&one(&unknown, scope, &alice), &alice).await, FORBIDDEN);
    }
}

#[tokio::test]
async fn moderated_channels_are_listed_and_described_as_summaries() {
    let (mut world, [alice, _, bob]) = world().await;
    let more = json!({ "ChannelId": "his", "ModeratorArns": [bob] });
    let his = world.create_channel(&alice, more).await;
    world.create_channel(&alice, json!({ "ChannelId": "other", "MemberArns": [bob] })).await;
    world.send(&his, &alice, "hello").await.expect("is sent");
    assert!(world.leave(&his, &bob, &bob).await.is_ok(), "the role stays");
    let items = world.pages(MODERATED, &bob, "Channels").await;
    assert_eq!(ids(&items), ["his"]);
    assert!(items[0]["ChannelSummary"]["LastMessageTimestamp"].is_number());
    let described = world.get(&one(&his, "moderated-channel", &bob), &bob).await;
    assert_eq!(described, Ok(json!({ "Channel": items[0] })));
}

#[tokio::test]
async fn lists_come_in_pages_and_leave_out_channels_that_are_gone_or_another_by_now() {
    let (mut world, [alice, _, bob]) = world().await;
    for index in 0..7 {
        world.clock.advance(1);
        world.create_channel(&alice, json!({ "ChannelId": format!("c{index}") })).await;
    }
    for index in [0, 3, 6] {
        let channel = format!("{}/channel/c{index}", world.app_instance);
        assert!(world.delete(&format!("/channels/{}", label(&channel)), &alice).await.is_ok());
    }
    world.create_channel(&bob, json!({ "ChannelId": "c3" })).await;
    for (list, items) in [(MEMBERSHIPS, "ChannelMemberships"), (MODERATED, "Channels")] {
        for size in [1, 2, 3, 4, 50] {
            let pages = world.pages(&format!("{list}&max-results={size}"), &alice, items).await;
            assert_eq!(ids(&pages), ["c1", "c2", "c4", "c5"], "{list} {size}");
        }
        let first = world.get(&format!("{list}&max-results=2"), &alice).await.expect("is read");
        let token = text(&first["NextToken"]);
        assert_eq!(world.get(&format!("{list}&next-token={token}"), &bob).await, BAD_REQUEST);
        assert_eq!(world.get(&format!("{list}&next-token=AAAA"), &alice).await, BAD_REQUEST);
        assert_eq!(world.get(&format!("{list}&max-results=51"), &alice).await, BAD_REQUEST);
    }
}

#[tokio::test]
async fn page_costs_one_list_and_one_read_whatever_its_size() {
    let (mut world, [alice, ..]) = world().await;
    for _ in 0..40 {
        let channel = world.create_channel(&alice, json!({})).await;
        let marked = format!("/channels/{}/readMarker", label(&channel));
        assert!(world.call("PUT", &marked, &alice, Value::Null).await.is_ok());
    }
    for list in [MEMBERSHIPS, MODERATED] {
        world.engine.take();
        assert!(world.get(list, &alice).await.is_ok());
        assert_eq!(world.engine.take(), Calls { gets: 2, scans: 1, commits: 0 }, "{list}");
    }
}

#[tokio::test]
async fn re_created_user_starts_with_no_channels() {
    let (mut world, [alice, root, bob]) = world().await;
    world.create_channel(&alice, json!({ "MemberArns": [bob], "ModeratorArns": [bob] })).await;
    assert!(world.delete(&format!("/app-instance-users/{}", label(&bob)), "").await.is_ok());
    assert_eq!(world.get(&of(MEMBERSHIPS, &bob), &root).await, FORBIDDEN);
    assert_eq!(world.create_user("bob").await, bob);
    for (list, items) in [(MEMBERSHIPS, "ChannelMemberships"), (MODERATED, "Channels")] {
        assert!(world.pages(list, &bob, items).await.is_empty());
        assert!(world.pages(&of(list, &bob), &root, items).await.is_empty());
    }
}

use serde_json::{Value, json};
use store::Audience;

use crate::Effect;
use crate::testing::{
    BAD_REQUEST, CONFLICT, FORBIDDEN, LIMIT, NOT_FOUND, UNAUTHORIZED, World, label,
};

/// A channel of alice's with nobody else in it, and bob and carol outside.
async fn world(more: Value) -> (World, [String; 3], String) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let carol = world.create_user("carol").await;
    let channel = world.create_channel(&alice, more).await;
    world.heard();
    (world, [alice, bob, carol], channel)
}

#[tokio::test]
async fn new_member_is_described_and_told() {
    let (mut world, [alice, bob, _], channel) = world(json!({})).await;
    let joined = world.join(&channel, &alice, &bob).await.expect("is added");
    assert_eq!(joined["ChannelArn"], json!(channel));
    assert_eq!(joined["Member"], json!({ "Arn": bob, "Name": "bob" }));
    let heard = world.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].event_type, "CREATE_CHANNEL_MEMBERSHIP");
    assert!(matches!(heard[0].audience, Audience::Members(_)));
    assert!(matches!(heard[0].effect, Some(Effect::Join { moderator: false, .. })));
    let target = format!("/channels/{}/memberships/{}", label(&channel), label(&bob));
    let described = world.get(&target, &bob).await.expect("is readable");
    let described = &described["ChannelMembership"];
    assert_eq!(described["InvitedBy"], json!({ "Arn": alice, "Name": "alice" }));
    assert_eq!(described["Type"], "DEFAULT");
    assert_eq!(heard[0].payload["Member"], described["Member"]);
    assert_eq!(heard[0].payload["InvitedBy"], described["InvitedBy"]);
}

#[tokio::test]
async fn adding_needs_a_role_or_an_unrestricted_channel() {
    let (mut world, [alice, bob, carol], restricted) = world(json!({})).await;
    let open = world.create_channel(&alice, json!({ "Mode": "UNRESTRICTED" })).await;
    for channel in [&restricted, &open] {
        assert_eq!(world.join(channel, &bob, &carol).await, FORBIDDEN);
        assert!(world.join(channel, &alice, &bob).await.is_ok());
    }
    assert_eq!(world.join(&restricted, &bob, &carol).await, FORBIDDEN);
    assert!(world.join(&open, &bob, &carol).await.is_ok());
    assert_eq!(world.join_as(&open, &bob, &carol, "HIDDEN").await, FORBIDDEN);
    let dave = world.create_user("dave").await;
    assert!(world.create_admin(&dave).await.is_ok());
    assert!(world.join(&restricted, &dave, &carol).await.is_ok());
}

#[tokio::test]
async fn anybody_joins_a_public_channel_and_nobody_a_private_one() {
    let (mut world, [alice, bob, carol], private) = world(json!({})).await;
    let public = world.create_channel(&alice, json!({ "Privacy": "PUBLIC" })).await;
    let free = json!({ "Mode": "UNRESTRICTED" });
    let private_and_unrestricted = world.create_channel(&alice, free).await;
    assert!(world.join(&public, &bob, &bob).await.is_ok());
    assert_eq!(world.join(&public, &carol, &alice).await, FORBIDDEN);
    assert_eq!(world.join(&private, &bob, &bob).await, FORBIDDEN);
    assert_eq!(world.join(&private_and_unrestricted, &bob, &bob).await, FORBIDDEN);
}

#[tokio::test]
async fn member_is_added_once() {
    let (world, [alice, bob, _], channel) = world(json!({ "Privacy": "PUBLIC" })).await;
    assert!(world.join(&channel, &alice, &bob).await.is_ok());
    assert_eq!(world.join(&channel, &alice, &bob).await, CONFLICT);
    assert_eq!(world.join(&channel, &bob, &bob).await, CONFLICT);
    assert_eq!(world.join_as(&channel, &alice, &bob, "HIDDEN").await, CONFLICT);
    assert_eq!(world.members(&channel, &alice, "").await, ["alice", "bob"]);
}

#[tokio::test]
async fn unknown_members_and_sub_channels_are_refused() {
    let (mut world, [alice, bob, _], channel) = world(json!({})).await;
    let other_instance = world.create_app_instance("other").await;
    let foreign = format!("{other_instance}/user/bob");
    for member in [&format!("{bob}2"), &foreign, &channel, "arn:aws:chime:::x"] {
        assert_eq!(world.join(&channel, &alice, member).await, FORBIDDEN, "{member}");
    }
    let target = format!("/channels/{}/memberships", label(&channel));
    let body = json!({ "MemberArn": bob, "Type": "DEFAULT", "SubChannelId": "sub" });
    assert_eq!(world.call("POST", &target, &alice, body).await, BAD_REQUEST);
}

#[tokio::test]
async fn hidden_member_reads_and_is_shown_to_moderators_alone() {
    let (mut world, [alice, bob, carol], channel) = world(json!({})).await;
    assert!(world.join(&channel, &alice, &carol).await.is_ok());
    world.heard();
    assert!(world.join_as(&channel, &alice, &bob, "HIDDEN").await.is_ok());
    let heard = world.heard();
    assert!(matches!(&heard[0].audience, Audience::Users(users) if users.len() == 1));
    assert!(matches!(heard[1].audience, Audience::Moderators(_)));
    assert_eq!(heard.len(), 2);
    assert!(world.messages(&channel, &bob, "").await.is_ok());
    assert_eq!(world.members(&channel, &bob, "").await, ["alice", "carol"]);
    assert_eq!(world.members(&channel, &alice, "?type=HIDDEN").await, ["bob"]);
    let target = format!("/channels/{}/memberships?type=HIDDEN", label(&channel));
    assert_eq!(world.get(&target, &carol).await, FORBIDDEN);
    assert_eq!(world.get(&target, &bob).await, FORBIDDEN);
    assert!(world.leave(&channel, &bob, &bob).await.is_ok(), "a hidden member may leave");
}

#[tokio::test]
async fn removing_needs_a_role_and_leaving_does_not() {
    let (mut world, [alice, bob, carol], channel) = world(json!({})).await;
    assert!(world.join(&channel, &alice, &bob).await.is_ok());
    assert!(world.join(&channel, &alice, &carol).await.is_ok());
    world.heard();
    assert_eq!(world.leave(&channel, &bob, &carol).await, FORBIDDEN);
    assert_eq!(world.leave(&channel, &bob, &bob).await, Ok(Value::Null));
    let heard = world.heard();
    assert_eq!(heard[0].event_type, "DELETE_CHANNEL_MEMBERSHIP");
    assert_eq!(heard[0].payload["Member"]["Arn"], json!(bob));
    assert!(matches!(heard[0].effect, Some(Effect::Leave { .. })));
    assert_eq!(world.leave(&channel, &bob, &bob).await, FORBIDDEN);
    assert_eq!(world.leave(&channel, &alice, &bob).await, FORBIDDEN, "he is gone already");
    assert!(world.leave(&channel, &alice, &carol).await.is_ok());
    assert_eq!(world.members(&channel, &alice, "").await, ["alice"]);
}

#[tokio::test]
async fn members_of_a_private_channel_are_not_for_strangers() {
    let (mut world, [alice, bob, _], private) = world(json!({})).await;
    let public = world.create_channel(&alice, json!({ "Privacy": "PUBLIC" })).await;
    for (channel, is_public) in [(private, false), (public, true)] {
        let list = format!("/channels/{}/memberships", label(&channel));
        let of_alice = format!("{list}/{}", label(&alice));
        let of_bob = format!("{list}/{}", label(&bob));
        assert_eq!(world.get(&list, &bob).await.is_ok(), is_public);
        assert_eq!(world.get(&of_alice, &bob).await.is_ok(), is_public);
        assert_eq!(world.get(&of_bob, &alice).await, NOT_FOUND);
        assert_eq!(world.get(&of_bob, "").await, UNAUTHORIZED);
    }
}

#[tokio::test]
async fn re_created_user_is_no_member_and_the_old_one_is_not_listed() {
    let (mut world, [alice, bob, _], channel) = world(json!({})).await;
    assert!(world.join(&channel, &alice, &bob).await.is_ok());
    world.send(&channel, &bob, "of the first bob").await.expect("is sent");
    assert!(world.delete(&format!("/app-instance-users/{}", label(&bob)), "").await.is_ok());
    assert_eq!(world.members(&channel, &alice, "").await, ["alice"]);
    assert_eq!(world.send(&channel, &bob, "gone").await, UNAUTHORIZED);
    assert_eq!(world.create_user("bob").await, bob);
    assert_eq!(world.members(&channel, &alice, "").await, ["alice"]);
    assert_eq!(world.send(&channel, &bob, "not a member").await, FORBIDDEN);
    assert_eq!(world.messages(&channel, &bob, "").await, FORBIDDEN);
    assert!(world.join(&channel, &alice, &bob).await.is_ok());
    assert_eq!(world.members(&channel, &alice, "").await, ["alice", "bob"]);
}

#[tokio::test]
async fn channel_holds_ten_thousand_members_and_a_removal_frees_a_place() {
    let (mut world, [alice, bob, carol], channel) = world(json!({})).await;
    for index in 0..9_998 {
        let member = world.create_user(&format!("member-{index:05}")).await;
        assert!(world.join(&channel, &alice, &member).await.is_ok());
        // Nobody else empties the sink, and a full one holds the committer.
        world.heard();
    }
    assert!(world.join(&channel, &alice, &bob).await.is_ok());
    assert_eq!(world.join(&channel, &alice, &carol).await, LIMIT);
    assert!(world.leave(&channel, &alice, &bob).await.is_ok());
    assert!(world.join(&channel, &alice, &carol).await.is_ok());
    let target = format!("/channels/{}/memberships?max-results=50", label(&channel));
    assert_eq!(world.pages(&target, &alice, "ChannelMemberships").await.len(), 10_000);
}

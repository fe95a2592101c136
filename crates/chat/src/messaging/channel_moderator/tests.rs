use serde_json::{Value, json};
use store::Audience;

use crate::testing::{
    BAD_REQUEST, CONFLICT, FORBIDDEN, Heard, LIMIT, NOT_FOUND, UNAUTHORIZED, World, array, label,
    text,
};
use crate::{Effect, limits};

/// A channel of alice's with bob in it, and carol outside.
async fn world() -> (World, [String; 3], String) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    world.clock.advance(1);
    let bob = world.create_user("bob").await;
    world.clock.advance(1);
    let carol = world.create_user("carol").await;
    let channel = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    world.heard();
    (world, [alice, bob, carol], channel)
}

fn moderators(channel: &str) -> String {
    format!("/channels/{}/moderators", label(channel))
}

async fn names(world: &World, channel: &str, bearer: &str) -> Vec<String> {
    let answer = world.get(&moderators(channel), bearer).await.expect("is readable");
    let listed = array(&answer["ChannelModerators"]);
    listed.iter().map(|summary| text(&summary["Moderator"]["Name"])).collect()
}

/// What the hub is told, for each event; nobody else is told anything.
fn changes(heard: &[Heard]) -> Vec<bool> {
    let change = |event: &Heard| match (&event.audience, event.effect) {
        (Audience::Internal, Some(Effect::ModeratorChanged { moderator, .. })) => moderator,
        _ => panic!("{event:?} is not for the hub alone"),
    };
    heard.iter().map(change).collect()
}

#[tokio::test]
async fn new_moderator_is_described_and_only_the_hub_is_told() {
    let (mut world, [alice, bob, _], channel) = world().await;
    let answer = world.promote(&channel, &alice, &bob).await;
    let member = json!({ "Arn": bob, "Name": "bob" });
    assert_eq!(answer, Ok(json!({ "ChannelArn": channel, "ChannelModerator": member })));
    assert_eq!(changes(&world.heard()), [true]);
    let target = format!("{}/{}", moderators(&channel), label(&bob));
    let described = world.get(&target, &alice).await.expect("is readable");
    assert_eq!(
        described["ChannelModerator"],
        json!({
            "Moderator": member, "ChannelArn": channel, "CreatedTimestamp": 1_625_097_600.002,
            "CreatedBy": { "Arn": alice, "Name": "alice" },
        })
    );
    assert_eq!(world.promote(&channel, &alice, &bob).await, CONFLICT);
    assert_eq!(names(&world, &channel, &bob).await, ["alice", "bob"]);
}

#[tokio::test]
async fn role_may_be_given_to_one_who_is_no_member_and_makes_him_none() {
    let (mut world, [alice, _, carol], channel) = world().await;
    assert!(world.promote(&channel, &alice, &carol).await.is_ok());
    assert_eq!(changes(&world.heard()), [true]);
    assert_eq!(world.members(&channel, &carol, "").await, ["alice", "bob"]);
    assert_eq!(world.send(&channel, &carol, "hello").await, FORBIDDEN);
    let dave = world.create_user("dave").await;
    assert_eq!(world.promote(&channel, &carol, &dave).await, FORBIDDEN, "he is no member");
    assert!(world.join(&channel, &carol, &carol).await.is_ok());
    assert!(world.promote(&channel, &carol, &dave).await.is_ok());
    let joined = world.heard();
    assert!(matches!(joined[0].effect, Some(Effect::Join { moderator: true, .. })));
}

#[tokio::test]
async fn bot_may_be_a_moderator_and_act_as_one() {
    let (mut world, [alice, bob, carol], channel) = world().await;
    let bot = world.create_bot("helper").await;
    assert!(world.promote(&channel, &alice, &bot).await.is_ok());
    assert_eq!(names(&world, &channel, &bot).await, ["alice", "helper"]);
    assert!(world.join(&channel, &bot, &bot).await.is_ok());
    assert!(world.promote(&channel, &bot, &carol).await.is_ok());
    assert!(world.demote(&channel, &bot, &alice).await.is_ok());
    assert_eq!(world.demote(&channel, &bob, &bot).await, FORBIDDEN);
}

#[tokio::test]
async fn unknown_and_foreign_moderators_are_refused() {
    let (mut world, [alice, bob, carol], channel) = world().await;
    let other_instance = world.create_app_instance("other").await;
    for unknown in [&format!("{bob}2"), &format!("{other_instance}/user/bob"), &channel] {
        assert_eq!(world.promote(&channel, &alice, unknown).await, FORBIDDEN, "{unknown}");
        assert_eq!(world.demote(&channel, &alice, unknown).await, FORBIDDEN, "{unknown}");
        let target = format!("{}/{}", moderators(&channel), label(unknown));
        assert_eq!(world.get(&target, &alice).await, NOT_FOUND, "{unknown}");
    }
    let of_carol = format!("{}/{}", moderators(&channel), label(&carol));
    assert_eq!(world.get(&of_carol, &alice).await, NOT_FOUND);
    assert_eq!(world.demote(&channel, &alice, &carol).await, FORBIDDEN);
    assert_eq!(world.promote(&channel, "", &carol).await, UNAUTHORIZED);
    assert_eq!(world.promote(&bob, &alice, &carol).await, BAD_REQUEST);
}

#[tokio::test]
async fn last_moderator_may_be_removed_and_an_admin_makes_a_new_one() {
    let (mut world, [alice, bob, carol], channel) = world().await;
    assert_eq!(world.demote(&channel, &alice, &alice).await, Ok(Value::Null));
    assert_eq!(changes(&world.heard()), [false]);
    assert_eq!(world.demote(&channel, &alice, &alice).await, FORBIDDEN);
    assert!(world.send(&channel, &alice, "still a member").await.is_ok());
    assert!(world.create_admin(&carol).await.is_ok());
    assert!(names(&world, &channel, &carol).await.is_empty());
    assert!(world.promote(&channel, &carol, &bob).await.is_ok());
    assert_eq!(names(&world, &channel, &bob).await, ["bob"]);
}

#[tokio::test]
async fn banned_user_is_not_promoted() {
    let (world, [alice, bob, _], channel) = world().await;
    assert!(world.ban(&channel, &alice, &bob).await.is_ok());
    assert_eq!(world.promote(&channel, &alice, &bob).await, FORBIDDEN);
    assert!(world.lift_ban(&channel, &alice, &bob).await.is_ok());
    assert!(world.promote(&channel, &alice, &bob).await.is_ok());
}

#[tokio::test]
async fn list_shows_the_living_in_pages() {
    let (mut world, [alice, bob, _], channel) = world().await;
    let mut expected = vec!["alice".to_owned(), "bob".to_owned()];
    assert!(world.promote(&channel, &alice, &bob).await.is_ok());
    for index in 0..6 {
        world.clock.advance(1);
        let user = world.create_user(&format!("user-{index}")).await;
        assert!(world.promote(&channel, &alice, &user).await.is_ok());
        expected.push(format!("user-{index}"));
    }
    assert!(world.delete(&format!("/app-instance-users/{}", label(&bob)), "").await.is_ok());
    expected.retain(|name| name != "bob");
    for size in [1, 2, 7, 50] {
        let target = format!("{}?max-results={size}", moderators(&channel));
        let listed = world.pages(&target, &alice, "ChannelModerators").await;
        let listed: Vec<String> =
            listed.iter().map(|summary| text(&summary["Moderator"]["Name"])).collect();
        assert_eq!(listed, expected, "{size} a page");
    }
    let other = world.create_channel(&alice, json!({})).await;
    let page = world.get(&format!("{}?max-results=1", moderators(&channel)), &alice).await;
    let token = text(&page.expect("is readable")["NextToken"]);
    let elsewhere = format!("{}?next-token={token}", moderators(&other));
    assert_eq!(world.get(&elsewhere, &alice).await, BAD_REQUEST);
    assert_eq!(world.create_user("bob").await, bob);
    assert_eq!(world.demote(&channel, &alice, &bob).await, FORBIDDEN, "he is another bob");
    world.run_jobs().await;
}

#[tokio::test]
async fn channel_holds_a_thousand_moderators_and_a_removal_frees_a_place() {
    let (world, [alice, bob, carol], channel) = world().await;
    world.leave_room(&limits::CHANNEL_MODERATORS, &channel, 1).await;
    assert!(world.promote(&channel, &alice, &bob).await.is_ok());
    assert_eq!(world.promote(&channel, &alice, &carol).await, LIMIT);
    assert!(world.demote(&channel, &alice, &bob).await.is_ok());
    assert!(world.promote(&channel, &alice, &carol).await.is_ok());
}

#[tokio::test]
async fn of_two_moderators_who_demote_each_other_one_remains() {
    for round in 0..20 {
        let (world, [alice, bob, _], channel) = world().await;
        assert!(world.promote(&channel, &alice, &bob).await.is_ok());
        let (of_bob, of_alice) = tokio::join!(
            world.demote(&channel, &alice, &bob),
            world.demote(&channel, &bob, &alice)
        );
        assert!(of_bob.is_ok() != of_alice.is_ok(), "{round}: {of_bob:?} {of_alice:?}");
        let left = if of_bob.is_ok() { (&alice, "alice") } else { (&bob, "bob") };
        assert_eq!(names(&world, &channel, left.0).await, [left.1]);
    }
}

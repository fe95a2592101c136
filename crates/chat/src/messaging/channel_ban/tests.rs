use serde_json::{Value, json};
use store::Audience;

use super::*;
use crate::Effect;
use crate::testing::{
    BAD_REQUEST, CONFLICT, FORBIDDEN, NOT_FOUND, UNAUTHORIZED, World, array, label, text,
};

/// A channel of alice's with bob in it, and carol outside.
async fn world(more: Value) -> (World, [String; 3], String) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    world.clock.advance(1);
    let bob = world.create_user("bob").await;
    world.clock.advance(1);
    let carol = world.create_user("carol").await;
    let channel = world.create_channel(&alice, more).await;
    assert!(world.join(&channel, &alice, &bob).await.is_ok());
    world.heard();
    (world, [alice, bob, carol], channel)
}

fn bans(channel: &str) -> String {
    format!("/channels/{}/bans", label(channel))
}

async fn names(world: &World, channel: &str, bearer: &str) -> Vec<String> {
    let answer = world.get(&bans(channel), bearer).await.expect("is readable");
    array(&answer["ChannelBans"]).iter().map(|ban| text(&ban["Member"]["Name"])).collect()
}

#[tokio::test]
async fn banned_member_is_removed_and_told_so_in_one_commit() {
    let (mut world, [alice, bob, _], channel) = world(json!({})).await;
    world.engine.take();
    let member = json!({ "Arn": bob, "Name": "bob" });
    let banned = world.ban(&channel, &alice, &bob).await;
    assert_eq!(banned, Ok(json!({ "ChannelArn": channel, "Member": member })));
    assert_eq!(world.engine.take().commits, 1);
    let heard = world.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].event_type, "DELETE_CHANNEL_MEMBERSHIP");
    assert!(matches!(heard[0].audience, Audience::Members(_)));
    assert!(matches!(heard[0].effect, Some(Effect::Leave { .. })));
    assert_eq!(heard[0].payload["Member"], member);
    assert_eq!(world.members(&channel, &alice, "").await, ["alice"]);
    assert_eq!(world.send(&channel, &bob, "hello").await, FORBIDDEN);
    let described = world.get(&format!("{}/{}", bans(&channel), label(&bob)), &alice).await;
    assert_eq!(
        described.expect("is readable")["ChannelBan"],
        json!({
            "Member": member, "ChannelArn": channel, "CreatedTimestamp": 1_625_097_600.002,
            "CreatedBy": { "Arn": alice, "Name": "alice" },
        })
    );
    assert_eq!(world.ban(&channel, &alice, &bob).await, CONFLICT);
    assert_eq!(names(&world, &channel, &alice).await, ["bob"]);
}

#[tokio::test]
async fn who_is_no_member_may_be_banned_and_nobody_is_told() {
    let (mut world, [alice, _, carol], channel) = world(json!({ "Privacy": "PUBLIC" })).await;
    assert!(world.ban(&channel, &alice, &carol).await.is_ok());
    assert!(world.heard().is_empty());
    assert_eq!(world.join(&channel, &carol, &carol).await, FORBIDDEN);
    assert!(world.messages(&channel, &carol, "").await.is_ok(), "what a stranger may");
}

#[tokio::test]
async fn ban_of_a_hidden_member_is_told_to_moderators_and_himself() {
    let (mut world, [alice, _, carol], channel) = world(json!({})).await;
    assert!(world.join_as(&channel, &alice, &carol, "HIDDEN").await.is_ok());
    world.heard();
    assert!(world.ban(&channel, &alice, &carol).await.is_ok());
    let heard = world.heard();
    assert!(matches!(&heard[0].audience, Audience::Users(users) if users.len() == 1));
    assert!(matches!(heard[1].audience, Audience::Moderators(_)));
    assert!(world.members(&channel, &alice, "?type=HIDDEN").await.is_empty());
}

#[tokio::test]
async fn banned_user_cannot_be_added_and_a_lifted_ban_adds_nobody() {
    let (world, [alice, bob, _], channel) = world(json!({ "Privacy": "PUBLIC" })).await;
    assert!(world.ban(&channel, &alice, &bob).await.is_ok());
    for bearer in [&alice, &bob] {
        assert_eq!(world.join(&channel, bearer, &bob).await, FORBIDDEN);
        assert_eq!(world.join_as(&channel, bearer, &bob, "HIDDEN").await, FORBIDDEN);
    }
    assert_eq!(world.lift_ban(&channel, &bob, &bob).await, FORBIDDEN);
    assert_eq!(world.lift_ban(&channel, &alice, &bob).await, Ok(Value::Null));
    assert_eq!(world.lift_ban(&channel, &alice, &bob).await, FORBIDDEN, "it is gone");
    assert_eq!(world.members(&channel, &alice, "").await, ["alice"]);
    assert!(world.join(&channel, &bob, &bob).await.is_ok());
}

#[tokio::test]
async fn admins_and_moderators_are_not_banned() {
    let (mut world, [alice, bob, carol], channel) = world(json!({})).await;
    let admin = world.create_user("admin").await;
    assert!(world.create_admin(&admin).await.is_ok());
    assert!(world.promote(&channel, &alice, &carol).await.is_ok());
    for target in [&admin, &carol, &alice] {
        assert_eq!(world.ban(&channel, &alice, target).await, FORBIDDEN);
        assert_eq!(world.ban(&channel, &admin, target).await, FORBIDDEN);
    }
    assert_eq!(world.ban(&channel, &bob, &bob).await, FORBIDDEN);
    assert!(world.demote(&channel, &alice, &carol).await.is_ok());
    assert!(world.ban(&channel, &admin, &carol).await.is_ok());
    let other = world.create_channel(&bob, json!({})).await;
    assert!(world.ban(&other, &bob, &alice).await.is_ok(), "he moderates another channel");
}

#[tokio::test]
async fn ban_stays_when_the_banned_becomes_an_admin_until_he_lifts_it() {
    let (world, [alice, bob, _], channel) = world(json!({})).await;
    assert!(world.ban(&channel, &alice, &bob).await.is_ok());
    assert!(world.create_admin(&bob).await.is_ok());
    assert_eq!(world.join(&channel, &bob, &bob).await, FORBIDDEN);
    assert_eq!(names(&world, &channel, &bob).await, ["bob"]);
    assert!(world.lift_ban(&channel, &bob, &bob).await.is_ok());
    assert!(world.join(&channel, &bob, &bob).await.is_ok());
}

#[tokio::test]
async fn bot_may_be_banned_and_may_ban() {
    let (mut world, [alice, bob, _], channel) = world(json!({})).await;
    let bot = world.create_bot("helper").await;
    assert!(world.join(&channel, &alice, &bot).await.is_ok());
    assert!(world.promote(&channel, &alice, &bot).await.is_ok());
    assert!(world.ban(&channel, &bot, &bob).await.is_ok());
    assert_eq!(world.ban(&channel, &alice, &bot).await, FORBIDDEN);
    assert!(world.demote(&channel, &alice, &bot).await.is_ok());
    assert!(world.ban(&channel, &alice, &bot).await.is_ok());
    assert_eq!(world.join(&channel, &alice, &bot).await, FORBIDDEN);
    let mut banned = names(&world, &channel, &alice).await;
    banned.sort();
    assert_eq!(banned, ["bob", "helper"]);
}

#[tokio::test]
async fn unknown_and_foreign_users_are_refused() {
    let (mut world, [alice, bob, carol], channel) = world(json!({})).await;
    let other_instance = world.create_app_instance("other").await;
    for unknown in [&format!("{bob}2"), &format!("{other_instance}/user/bob"), &channel] {
        assert_eq!(world.ban(&channel, &alice, unknown).await, FORBIDDEN, "{unknown}");
        assert_eq!(world.lift_ban(&channel, &alice, unknown).await, FORBIDDEN, "{unknown}");
        let target = format!("{}/{}", bans(&channel), label(unknown));
        assert_eq!(world.get(&target, &alice).await, NOT_FOUND, "{unknown}");
    }
    let of_carol = format!("{}/{}", bans(&channel), label(&carol));
    assert_eq!(world.get(&of_carol, &alice).await, NOT_FOUND);
    assert_eq!(world.ban(&channel, "", &carol).await, UNAUTHORIZED);
    assert_eq!(world.ban(&bob, &alice, &carol).await, BAD_REQUEST);
}

#[tokio::test]
async fn list_shows_the_living_in_pages_and_a_purge_leaves_no_ban() {
    let (mut world, [alice, bob, carol], channel) = world(json!({})).await;
    let other = world.create_channel(&alice, json!({})).await;
    let mut expected = Vec::new();
    for index in 0..7 {
        world.clock.advance(1);
        let user = world.create_user(&format!("user-{index}")).await;
        assert!(world.ban(&channel, &alice, &user).await.is_ok());
        expected.push(format!("user-{index}"));
    }
    for channel in [&channel, &other] {
        assert!(world.ban(channel, &alice, &bob).await.is_ok());
    }
    assert!(world.ban(&other, &alice, &carol).await.is_ok());
    assert!(world.delete(&format!("/app-instance-users/{}", label(&bob)), "").await.is_ok());
    for size in [1, 3, 8, 50] {
        let target = format!("{}?max-results={size}", bans(&channel));
        let listed = world.pages(&target, &alice, "ChannelBans").await;
        let listed: Vec<String> = listed.iter().map(|ban| text(&ban["Member"]["Name"])).collect();
        assert_eq!(listed, expected, "{size} a page");
    }
    let page = world.get(&format!("{}?max-results=1", bans(&channel)), &alice).await;
    let token = text(&page.expect("is readable")["NextToken"]);
    let elsewhere = format!("{}?next-token={token}", bans(&other));
    assert_eq!(world.get(&elsewhere, &alice).await, BAD_REQUEST);
    assert_eq!(world.create_user("bob").await, bob);
    assert!(world.join(&channel, &alice, &bob).await.is_ok(), "he is another bob");
    world.heard();
    world.run_jobs().await;
    assert!(world.heard().is_empty(), "nobody is told of a ban that went with its user");
    assert_eq!(world.row_count(&CHANNEL_BAN).await, 8);
    assert!(world.delete(&format!("/channels/{}", label(&channel)), &alice).await.is_ok());
    world.run_jobs().await;
    assert_eq!(names(&world, &other, &alice).await, ["carol"]);
    assert_eq!(world.row_count(&CHANNEL_BAN_BY_MEMBER).await, 1);
}

#[tokio::test]
async fn purges_of_a_channel_and_of_the_banned_may_come_in_any_order() {
    for user_first in [true, false] {
        let (world, [alice, bob, _], channel) = world(json!({})).await;
        assert!(world.ban(&channel, &alice, &bob).await.is_ok());
        let channel = format!("/channels/{}", label(&channel));
        let user = format!("/app-instance-users/{}", label(&bob));
        let mut both = [(channel, alice), (user, String::new())];
        if user_first {
            both.reverse();
        }
        for (target, bearer) in both {
            assert!(world.delete(&target, &bearer).await.is_ok());
            world.clock.advance(1);
        }
        world.run_jobs().await;
        for table in [&CHANNEL_BAN, &CHANNEL_BAN_BY_MEMBER] {
            assert_eq!(world.row_count(table).await, 0, "{}", table.name);
        }
    }
}

#[tokio::test]
async fn ban_and_join_at_once_are_one_after_the_other() {
    for round in 0..20 {
        let (mut world, [alice, _, carol], channel) = world(json!({ "Privacy": "PUBLIC" })).await;
        let (banned, joined) =
            tokio::join!(world.ban(&channel, &alice, &carol), world.join(&channel, &carol, &carol));
        assert!(banned.is_ok(), "{round}: {banned:?}");
        assert!(joined.is_ok() || joined == FORBIDDEN, "{round}: {joined:?}");
        assert_eq!(world.members(&channel, &alice, "").await, ["alice", "bob"]);
        let told: Vec<String> = world.heard().into_iter().map(|event| event.event_type).collect();
        let both = ["CREATE_CHANNEL_MEMBERSHIP", "DELETE_CHANNEL_MEMBERSHIP"];
        assert_eq!(told, if joined.is_ok() { &both[..] } else { &[] });
        assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
    }
}

#[tokio::test]
async fn of_a_ban_and_a_promotion_at_once_one_is_refused() {
    for round in 0..20 {
        let (world, [alice, bob, _], channel) = world(json!({})).await;
        let (banned, promoted) =
            tokio::join!(world.ban(&channel, &alice, &bob), world.promote(&channel, &alice, &bob));
        let refused = if banned.is_ok() { &promoted } else { &banned };
        assert!(banned.is_ok() != promoted.is_ok(), "{round}: {banned:?} {promoted:?}");
        assert_eq!(*refused, FORBIDDEN, "{round}");
    }
}

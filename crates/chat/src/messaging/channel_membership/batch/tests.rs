use serde_json::{Value, json};
use store::Audience;

use crate::testing::{
    BAD_REQUEST, FORBIDDEN, Heard, Outcome, UNAUTHORIZED, World, array, label, text,
};
use crate::{Effect, limits};

/// A channel of alice's with nobody else in it, and users user-0 and so on outside.
async fn world(user_count: usize, more: Value) -> (World, String, Vec<String>, String) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let mut users = Vec::new();
    for index in 0..user_count {
        users.push(world.create_user(&format!("user-{index}")).await);
    }
    let channel = world.create_channel(&alice, more).await;
    world.heard();
    (world, alice, users, channel)
}

async fn batch(world: &World, channel: &str, bearer: &str, body: Value) -> Outcome {
    let target = format!("/channels/{}/memberships?operation=batch-create", label(channel));
    world.call("POST", &target, bearer, body).await
}

async fn add(world: &World, channel: &str, bearer: &str, members: &[String]) -> Outcome {
    batch(world, channel, bearer, json!({ "MemberArns": members })).await
}

/// The ARNs that were added, and the ARN and code of each error.
fn outcome(answer: &Value) -> (Vec<String>, Vec<(String, String)>) {
    let members = array(&answer["BatchChannelMemberships"]["Members"]);
    let errors = array(&answer["Errors"]);
    let error = |error: &Value| {
        assert!(!text(&error["ErrorMessage"]).is_empty());
        (text(&error["MemberArn"]), text(&error["ErrorCode"]))
    };
    (
        members.iter().map(|member| text(&member["Arn"])).collect(),
        errors.iter().map(error).collect(),
    )
}

/// Splits what was told into the joins for the hub, which come first, and the events.
fn told(heard: Vec<Heard>) -> (Vec<bool>, Vec<Heard>) {
    let (joins, events): (Vec<Heard>, Vec<Heard>) =
        heard.into_iter().partition(|event| event.audience == Audience::Internal);
    let moderator = |event: &Heard| match event.effect {
        Some(Effect::Join { moderator, .. }) => moderator,
        _ => panic!("{event:?} is no join"),
    };
    assert!(events.iter().all(|event| event.effect.is_none()));
    assert!(events.iter().all(|event| event.event_type == "BATCH_CREATE_CHANNEL_MEMBERSHIP"));
    (joins.iter().map(moderator).collect(), events)
}

#[tokio::test]
async fn all_are_added_in_one_commit_and_told_once() {
    let (mut world, alice, mut users, channel) = world(3, json!({})).await;
    users.push(world.create_bot("helper").await);
    assert!(world.promote(&channel, &alice, &users[2]).await.is_ok());
    world.heard();
    world.engine.take();
    let answer = add(&world, &channel, &alice, &users).await.expect("is answered");
    let calls = world.engine.take();
    assert_eq!((calls.commits, calls.scans), (1, 0));
    assert!(calls.gets <= 5, "{calls:?}");
    let identity = |arn: &String| json!({ "Arn": arn, "Name": arn.rsplit('/').next() });
    let memberships = json!({
        "ChannelArn": channel, "Type": "DEFAULT", "InvitedBy": { "Arn": alice, "Name": "alice" },
        "Members": users.iter().map(identity).collect::<Vec<_>>(),
    });
    assert_eq!(answer, json!({ "BatchChannelMemberships": memberships, "Errors": [] }));
    let heard = world.heard();
    assert!(matches!(heard[3].effect, Some(Effect::Join { .. })), "joins come first");
    let (joins, events) = told(heard);
    assert_eq!(joins, [false, false, true, false]);
    assert_eq!(events.len(), 1);
    assert!(matches!(events[0].audience, Audience::Members(_)));
    assert_eq!(events[0].payload, memberships);
    let target = format!("/channels/{}/memberships/{}", label(&channel), label(&users[0]));
    let described = world.get(&target, &users[1]).await.expect("is readable");
    assert_eq!(described["ChannelMembership"]["InvitedBy"], memberships["InvitedBy"]);
    world.run_jobs().await;
}

#[tokio::test]
async fn who_cannot_be_added_gets_an_error_and_the_others_are_added() {
    let (mut world, alice, users, channel) = world(4, json!({})).await;
    let other_instance = world.create_app_instance("other").await;
    assert!(world.join(&channel, &alice, &users[1]).await.is_ok());
    assert!(world.ban(&channel, &alice, &users[2]).await.is_ok());
    world.heard();
    let foreign = format!("{other_instance}/user/user-0");
    let unknown = format!("{}/user/nobody", world.app_instance);
    let named: Vec<String> = [
        &foreign, &users[0], &users[1], &unknown, &users[2], &users[0], &alice, &unknown,
        &users[3], &channel,
    ]
    .map(Clone::clone)
    .into();
    let answer = add(&world, &channel, &alice, &named).await.expect("is answered");
    let (members, errors) = outcome(&answer);
    assert_eq!(members, [users[0].clone(), users[3].clone()]);
    let error = |arn: &String, code: &str| (arn.clone(), code.to_owned());
    assert_eq!(
        errors,
        [
            error(&foreign, "Forbidden"),
            error(&users[1], "Conflict"),
            error(&unknown, "Forbidden"),
            error(&users[2], "Forbidden"),
            error(&alice, "Conflict"),
            error(&channel, "Forbidden"),
        ]
    );
    let (joins, events) = told(world.heard());
    assert_eq!((joins.len(), events.len()), (2, 1));
    assert_eq!(world.members(&channel, &alice, "").await.len(), 4);
}

#[tokio::test]
async fn batch_of_which_nobody_is_added_changes_and_tells_nothing() {
    let (mut world, alice, users, channel) = world(1, json!({})).await;
    assert!(world.ban(&channel, &alice, &users[0]).await.is_ok());
    world.engine.take();
    let answer = add(&world, &channel, &alice, &users).await.expect("is answered");
    let (members, errors) = outcome(&answer);
    assert_eq!((members.len(), errors.len()), (0, 1));
    assert_eq!(answer["BatchChannelMemberships"]["ChannelArn"], json!(channel));
    assert_eq!(world.engine.take().commits, 0);
    assert!(world.heard().is_empty());
}

#[tokio::test]
async fn those_who_fit_are_added_when_the_channel_or_a_user_is_full() {
    let (world, alice, users, channel) = world(5, json!({})).await;
    world.leave_room(&limits::CHANNEL_MEMBERSHIPS, &channel, 3).await;
    world.leave_room(&limits::USER_MEMBERSHIPS, &users[1], 0).await;
    let answer = add(&world, &channel, &alice, &users).await.expect("is answered");
    let (members, errors) = outcome(&answer);
    assert_eq!(members, [users[0].clone(), users[2].clone(), users[3].clone()]);
    let full = |arn: &String| (arn.clone(), "ResourceLimitExceeded".to_owned());
    assert_eq!(errors, [full(&users[1]), full(&users[4])]);
    let again = add(&world, &channel, &alice, &users[3..]).await.expect("is answered");
    let conflict = (users[3].clone(), "Conflict".to_owned());
    assert_eq!(outcome(&again), (vec![], vec![conflict, full(&users[4])]));
}

#[tokio::test]
async fn hidden_members_hear_of_themselves_and_moderators_of_all() {
    let (mut world, alice, users, channel) = world(3, json!({ "Mode": "UNRESTRICTED" })).await;
    assert!(world.promote(&channel, &alice, &users[1]).await.is_ok());
    world.heard();
    let body = json!({ "MemberArns": users, "Type": "HIDDEN" });
    let answer = batch(&world, &channel, &alice, body.clone()).await.expect("is answered");
    assert_eq!(answer["BatchChannelMemberships"]["Type"], "HIDDEN");
    let (joins, events) = told(world.heard());
    assert_eq!(joins, [false, true, false]);
    for (event, user) in events.iter().zip([&users[0], &users[2]]) {
        let uid = world.uid_of(user).await;
        assert_eq!(event.audience, Audience::Users(vec![uid]));
        let members = array(&event.payload["Members"]);
        assert_eq!(members.len(), 1);
        assert_eq!(members[0]["Arn"], json!(user));
    }
    assert_eq!(events.len(), 3);
    assert!(matches!(events[2].audience, Audience::Moderators(_)));
    assert_eq!(events[2].payload, answer["BatchChannelMemberships"]);
    assert_eq!(world.members(&channel, &alice, "?type=HIDDEN").await.len(), 3);
    let plain = world.create_user("plain").await;
    assert!(world.join(&channel, &alice, &plain).await.is_ok());
    assert_eq!(batch(&world, &channel, &plain, body).await, FORBIDDEN);
}

#[tokio::test]
async fn batch_follows_the_roles_of_single_memberships() {
    let (mut world, alice, users, restricted) = world(3, json!({})).await;
    let open = json!({ "Mode": "UNRESTRICTED", "Privacy": "PUBLIC" });
    let open = world.create_channel(&alice, open).await;
    let [one, two, three] = [0, 1, 2].map(|index| users[index..=index].to_vec());
    for channel in [&restricted, &open] {
        assert_eq!(add(&world, channel, &users[0], &two).await, FORBIDDEN);
        assert_eq!(add(&world, channel, &users[0], &users).await, FORBIDDEN, "he is a stranger");
        assert!(add(&world, channel, &alice, &two).await.is_ok());
        let by_member = add(&world, channel, &users[1], &three).await;
        assert_eq!(by_member.is_ok(), channel == &open);
        let by_himself = add(&world, channel, &users[0], &one).await;
        assert_eq!(by_himself.is_ok(), channel == &open);
    }
    assert_eq!(world.members(&open, &alice, "").await.len(), 4);
    assert_eq!(world.members(&restricted, &alice, "").await.len(), 2);
}

#[tokio::test]
async fn whole_request_is_refused_for_what_concerns_all() {
    let (world, alice, users, channel) = world(1, json!({})).await;
    let hundred_and_one = vec![users[0].clone(); 101];
    assert_eq!(add(&world, &channel, &alice, &hundred_and_one).await, BAD_REQUEST);
    assert_eq!(add(&world, &channel, &alice, &[]).await, BAD_REQUEST);
    assert_eq!(add(&world, &channel, "", &users).await, UNAUTHORIZED);
    assert_eq!(add(&world, &format!("{channel}0"), &alice, &users).await, FORBIDDEN);
    for wrong in [json!({ "SubChannelId": "sub" }), json!({ "Type": "SECRET" })] {
        let mut body = json!({ "MemberArns": users });
        for (name, value) in wrong.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        assert_eq!(batch(&world, &channel, &alice, body).await, BAD_REQUEST, "{wrong}");
    }
    assert_eq!(world.members(&channel, &alice, "").await, ["alice"]);
}

#[tokio::test]
async fn hundred_are_added_at_once() {
    let (mut world, alice, users, channel) = world(100, json!({})).await;
    let body = json!({ "MemberArns": users, "Type": "HIDDEN" });
    world.engine.take();
    let answer = batch(&world, &channel, &alice, body).await.expect("is answered");
    assert_eq!(outcome(&answer), (users, vec![]));
    let calls = world.engine.take();
    assert!(calls.gets <= 5, "{calls:?}");
    let (joins, events) = told(world.heard());
    assert_eq!((joins.len(), events.len()), (100, 101));
    world.run_jobs().await;
}

#[tokio::test]
async fn batches_at_once_share_the_last_places_and_never_pass_the_quota() {
    for round in 0..10 {
        let (world, alice, users, channel) = world(8, json!({})).await;
        world.leave_room(&limits::CHANNEL_MEMBERSHIPS, &channel, 6).await;
        let (first, second, single) = tokio::join!(
            add(&world, &channel, &alice, &users[..5]),
            add(&world, &channel, &alice, &users[3..]),
            world.join(&channel, &alice, &users[7]),
        );
        let mut added_count = usize::from(single.is_ok());
        for answer in [first, second] {
            let (members, errors) = outcome(&answer.expect("is answered"));
            assert_eq!(members.len() + errors.len(), 5, "{round}");
            added_count += members.len();
        }
        assert_eq!(added_count, 6, "{round}");
        assert_eq!(world.members(&channel, &alice, "").await.len(), 7, "{round}");
    }
}

use serde_json::{Value, json};
use store::{Audience, Uid};

use super::{DAY_MS, add, add_to, below, counts, subs};
use crate::job::tests::first_job;
use crate::job::{JOB, commit};
use crate::limits::{BALANCE_DELAY_MS, BALANCE_KEYS_PER_STEP, BALANCE_REST_MS};
use crate::messaging::channel_message::CHANNEL_MESSAGE;
use crate::testing::{CONFLICT, FORBIDDEN, Heard, Outcome, World, array, label, text};
use crate::{Effect, Step, ids};

/// An elastic channel with sub-channels of so many members, two fifths of which are the minimum.
async fn create(world: &mut World, owner: &str, maximum: i32, target: i32) -> String {
    let elastic = json!({ "MaximumSubChannels": maximum,
        "TargetMembershipsPerSubChannel": target, "MinimumMembershipPercentage": 40 });
    world.create_channel(owner, json!({ "ElasticChannelConfiguration": elastic })).await
}

fn ms(constant: i64) -> u64 {
    u64::try_from(constant).expect("is positive")
}

/// Lets the jobs do what leaves have left to them.
async fn settle(world: &World) {
    world.clock.advance(ms(BALANCE_DELAY_MS));
    world.run_jobs().await;
}

async fn leave(world: &World, channel: &str, member: &str) {
    assert!(world.leave(channel, member, member).await.is_ok());
}

async fn place(world: &World, channel: &str, member: &str) -> Option<String> {
    let rest =
        format!("?scope=app-instance-user-membership&app-instance-user-arn={}", label(member));
    let own = world.get(&below(channel, &rest), member).await.ok()?;
    let summary = &own["ChannelMembership"]["AppInstanceUserMembershipSummary"];
    Some(text(&summary["SubChannelId"]))
}

fn uid(sub: &str) -> Uid {
    ids::parse_uuid(sub).expect("is a UUID")
}

async fn send(world: &mut World, channel: &str, sender: &str, sub: &str) -> Outcome {
    world.send_with(channel, sender, json!({ "SubChannelId": sub })).await
}

/// Users whose memberships stand in this order.
async fn in_order<const N: usize>(world: &mut World) -> [String; N] {
    let mut all = Vec::new();
    for index in 0..N {
        world.clock.advance(1);
        all.push(world.create_user(&format!("user-{index}")).await);
    }
    all.try_into().expect("there are as many")
}

/// A channel of the first of all with four members in one sub-channel and the last in another.
async fn grown<const N: usize>(world: &mut World) -> ([String; N], String, String, String) {
    let all: [String; N] = in_order(world).await;
    let channel = create(world, &all[0], 3, 4).await;
    let mut first = String::new();
    for member in &all[1..5] {
        first = add(world, &channel, &all[0], member).await;
    }
    let second = add(world, &channel, &all[0], &all[5]).await;
    assert_ne!(first, second);
    (all, channel, first, second)
}

/// The same after the members were spread: two of five in the second, which is its minimum.
async fn spread<const N: usize>(world: &mut World) -> ([String; N], String, String, String) {
    let (all, channel, first, second) = grown(world).await;
    assert_eq!(world.run_jobs().await, 2, "one member is moved, then they are even");
    (all, channel, first, second)
}

#[tokio::test]
async fn new_sub_channel_is_filled_until_none_has_two_members_more() {
    for (target, member_count, expected) in
        [(2, 3, vec![1, 2]), (4, 5, vec![2, 3]), (6, 7, vec![3, 4]), (3, 7, vec![2, 2, 3])]
    {
        let mut world = World::new().await;
        let owner = world.create_user("owner").await;
        let channel = create(&mut world, &owner, 5, target).await;
        for index in 0..member_count {
            let member = world.create_user(&format!("member-{index}")).await;
            add(&world, &channel, &owner, &member).await;
            if index + 1 == target * 2 {
                world.run_jobs().await;
            }
        }
        world.run_jobs().await;
        assert_eq!(counts(&world, &channel, &owner).await, expected, "target {target}");
        assert_eq!(world.row_count(&JOB).await, 0);
    }
}

#[tokio::test]
async fn moved_member_alone_is_told_and_hears_his_new_sub_channel_from_then_on() {
    let mut world = World::new().await;
    let ([_, a, b, ..], channel, first, second) = grown::<6>(&mut world).await;
    world.heard();
    world.clock.advance(5);
    assert_eq!(world.run_jobs().await, 2);
    let heard = world.heard();
    let told: Vec<&Heard> = heard.iter().filter(|heard| !heard.event_type.is_empty()).collect();
    let [told] = told[..] else { panic!("{heard:?}") };
    assert_eq!((told.event_type.as_str(), &told.reason), ("UPDATE_CHANNEL_MEMBERSHIP", &None));
    assert_eq!(told.payload["Member"]["Arn"], a, "the first in the order of the members");
    assert_eq!(told.payload["SubChannelId"], second);
    assert_eq!(told.payload["ChannelArn"], channel);
    assert!(told.payload["InvitedBy"]["Arn"].is_string());
    assert_ne!(told.payload["LastUpdatedTimestamp"], told.payload["CreatedTimestamp"]);
    let user = world.chat.connect(&a).await.expect("answers").expect("is let in");
    assert_eq!(told.audience, Audience::Users(vec![user.user]));
    let (from, to) = (uid(&first), uid(&second));
    let effects: Vec<Effect> = heard.iter().filter_map(|heard| heard.effect).collect();
    let join = Effect::Join { channel: to, user: user.user, moderator: false };
    assert_eq!(effects, [join, Effect::Leave { channel: from, user: user.user }]);
    let subscriptions = world.chat.memberships(&user).await.expect("answers");
    assert_eq!(subscriptions.iter().map(|one| one.channel).collect::<Vec<_>>(), [to]);
    assert_eq!(place(&world, &channel, &a).await, Some(second.clone()));
    assert_eq!(place(&world, &channel, &b).await, Some(first.clone()));
    let described = below(&channel, &format!("/memberships/{}?sub-channel-id={second}", label(&a)));
    let described = world.get(&described, &a).await.expect("is described");
    assert_eq!(described["ChannelMembership"]["SubChannelId"], second);
}

#[tokio::test]
async fn moved_member_reads_and_writes_where_he_is_and_no_longer_where_he_was() {
    let mut world = World::new().await;
    let ([_, a, ..], channel, first, second) = grown::<6>(&mut world).await;
    let sent = send(&mut world, &channel, &a, &first).await.expect("is sent");
    world.run_jobs().await;
    assert_eq!(send(&mut world, &channel, &a, &first).await, FORBIDDEN);
    assert!(send(&mut world, &channel, &a, &second).await.is_ok());
    let list = |sub: &str| format!("?sub-channel-id={sub}");
    assert_eq!(world.messages(&channel, &a, &list(&first)).await, FORBIDDEN);
    let seen = world.messages(&channel, &a, &list(&second)).await.expect("is listed");
    assert_eq!(array(&seen["ChannelMessages"]).len(), 1);
    let own = below(&channel, &format!("/messages/{}", text(&sent["MessageId"])));
    for sub in [&first, &second] {
        let body = json!({ "Content": "new", "SubChannelId": sub });
        assert_eq!(world.call("PUT", &own, &a, body).await, FORBIDDEN);
    }
}

#[tokio::test]
async fn sub_channel_under_the_minimum_goes_when_the_others_have_room_for_its_members() {
    let mut world = World::new().await;
    let ([owner, a, b, _, d, e, ..], channel, first, second) = spread::<7>(&mut world).await;
    for sender in [&a, &e] {
        assert!(send(&mut world, &channel, sender, &second).await.is_ok());
    }
    assert!(send(&mut world, &channel, &b, &first).await.is_ok());
    assert!(add_to(&world, &channel, &owner, &owner, &second).await.is_ok());
    leave(&world, &channel, &e).await;
    settle(&world).await;
    assert_eq!(subs(&world, &channel, &owner).await.len(), 2, "a moderator counts as a member");
    leave(&world, &channel, &owner).await;
    settle(&world).await;
    assert_eq!(subs(&world, &channel, &owner).await, [(first.clone(), 4)]);
    assert_eq!(place(&world, &channel, &a).await, Some(first.clone()));
    assert_eq!(world.row_count(&CHANNEL_MESSAGE).await, 1, "its messages are gone");
    let seen = world.messages(&channel, &owner, &format!("?sub-channel-id={second}")).await;
    assert_eq!(seen, FORBIDDEN);
    assert_eq!(world.row_count(&JOB).await, 0);
    leave(&world, &channel, &d).await;
    assert_eq!(world.chat.check().await.expect("is read").findings, []);
}

#[tokio::test]
async fn moderator_of_a_sub_channel_that_goes_loses_his_membership_there_and_is_told_why() {
    let mut world = World::new().await;
    let (all, channel, first, second) = spread::<6>(&mut world).await;
    let [owner, a, _, _, d, e] = &all;
    for sub in [&first, &second] {
        assert!(add_to(&world, &channel, owner, owner, sub).await.is_ok());
    }
    for member in [a, d, e] {
        leave(&world, &channel, member).await;
    }
    world.heard();
    settle(&world).await;
    let heard = world.heard();
    let told: Vec<&Heard> = heard.iter().filter(|heard| !heard.event_type.is_empty()).collect();
    let [told] = told[..] else { panic!("{heard:?}") };
    let user = world.chat.connect(owner).await.expect("answers").expect("is let in").user;
    assert_eq!(told.event_type, "DELETE_CHANNEL_MEMBERSHIP");
    assert_eq!(told.reason.as_deref(), Some("subchannel_DELETED"));
    assert_eq!(told.audience, Audience::Users(vec![user]));
    assert_eq!(told.payload["SubChannelId"], second);
    assert_eq!(told.payload["Member"]["Arn"], **owner);
    assert_eq!(told.effect, Some(Effect::Leave { channel: uid(&second), user }));
    assert_eq!(place(&world, &channel, owner).await, Some(first.clone()));
    assert_eq!(subs(&world, &channel, owner).await, [(first, 3)]);
    let mut retelling = world.chat.retell_all(0);
    let mut again = Vec::new();
    loop {
        let page = retelling.next().await.expect("the store answers");
        if page.is_empty() {
            break;
        }
        let frames = page.into_iter().filter_map(|told| told.frame);
        again.extend(frames.map(|frame| String::from_utf8(frame).expect("is text")));
    }
    let reason = r#""x-amz-chime-event-reason":"subchannel_DELETED""#;
    assert_eq!(again.iter().filter(|frame| frame.contains(reason)).count(), 1);
    let moved = again.iter().filter(|frame| frame.contains("UPDATE_CHANNEL_MEMBERSHIP"));
    assert_eq!(moved.count(), 1, "told again as it was told");
}

#[tokio::test]
async fn moderators_are_passed_over_however_many_they_are() {
    let mut world = World::new().await;
    let moderator_count = BALANCE_KEYS_PER_STEP + 4;
    let owner = world.create_user("owner").await;
    assert!(world.create_admin(&owner).await.is_ok());
    let target = i32::try_from(moderator_count + 10).expect("few");
    let channel = create(&mut world, &owner, 3, target).await;
    let first = subs(&world, &channel, &owner).await.remove(0).0;
    for index in 0..moderator_count {
        world.clock.advance(1);
        let moderator = world.create_user(&format!("moderator-{index}")).await;
        assert!(world.promote(&channel, &owner, &moderator).await.is_ok());
        assert!(add_to(&world, &channel, &owner, &moderator, &first).await.is_ok());
    }
    for index in 0..11 {
        world.clock.advance(1);
        let member = world.create_user(&format!("member-{index}")).await;
        add(&world, &channel, &owner, &member).await;
    }
    world.run_jobs().await;
    let moderators = i64::try_from(moderator_count).expect("few");
    assert_eq!(counts(&world, &channel, &owner).await, [11, moderators]);
}

#[tokio::test]
async fn sub_channel_stays_while_the_others_have_no_room() {
    let mut world = World::new().await;
    let (all, channel, ..) = spread::<7>(&mut world).await;
    let [owner, a, _, _, d, e, f] = &all;
    // Three and two; then four in the first, and one in the second.
    add(&world, &channel, owner, f).await;
    assert_eq!(counts(&world, &channel, owner).await, [2, 4]);
    leave(&world, &channel, e).await;
    settle(&world).await;
    assert_eq!(counts(&world, &channel, owner).await, [1, 4]);
    assert_eq!(world.row_count(&JOB).await, 1, "it is judged again");
    assert_eq!(world.run_jobs().await, 0);
    leave(&world, &channel, d).await;
    settle(&world).await;
    assert_eq!(counts(&world, &channel, owner).await, [4], "there is room for one");
    assert_eq!(world.row_count(&JOB).await, 1, "what was to look again looks in vain");
    world.clock.advance(ms(BALANCE_REST_MS));
    world.run_jobs().await;
    assert!(place(&world, &channel, a).await.is_some());
    leave(&world, &channel, f).await;
    settle(&world).await;
    assert_eq!(counts(&world, &channel, owner).await, [3], "the last one stays");
    assert_eq!(world.row_count(&JOB).await, 0);
}

#[tokio::test]
async fn last_sub_channel_stays_though_it_is_empty() {
    let mut world = World::new().await;
    let (all, channel, ..) = spread::<6>(&mut world).await;
    for member in &all[1..] {
        leave(&world, &channel, member).await;
        settle(&world).await;
    }
    assert_eq!(counts(&world, &channel, &all[0]).await, [0]);
    assert_eq!(world.row_count(&JOB).await, 0);
}

/// Takes the channel so far that its second sub-channel is about to be drained, and returns it.
async fn draining<const N: usize>(world: &mut World) -> ([String; N], String, String, String) {
    let (all, channel, first, second) = spread(world).await;
    leave(world, &channel, &all[5]).await;
    world.clock.advance(ms(BALANCE_DELAY_MS));
    assert_eq!(world.chat.run_job_step().await.expect("is done"), Step::Worked);
    (all, channel, first, second)
}

#[tokio::test]
async fn draining_sub_channel_takes_messages_and_nobody_new() {
    let mut world = World::new().await;
    let (all, channel, first, second) = draining::<8>(&mut world).await;
    let [owner, a, _, _, _, _, f, ..] = &all;
    assert_eq!(add_to(&world, &channel, owner, owner, &second).await, CONFLICT);
    let batch = json!({ "MemberArns": [owner], "SubChannelId": second });
    let target = below(&channel, "/memberships?operation=batch-create");
    let answer = world.call("POST", &target, owner, batch).await.expect("is answered");
    assert_eq!(answer["Errors"][0]["ErrorCode"], "Conflict");
    assert!(send(&mut world, &channel, a, &second).await.is_ok());
    assert_eq!(subs(&world, &channel, owner).await.len(), 2, "it is there until it is empty");
    assert_eq!(add(&world, &channel, owner, f).await, first);
    world.run_jobs().await;
    assert_eq!(counts(&world, &channel, owner).await, [1, 4], "the place was taken");
}

#[tokio::test]
async fn draining_sub_channel_stays_when_a_new_member_finds_no_other_place() {
    let mut world = World::new().await;
    let (all, channel, first, second) = draining::<8>(&mut world).await;
    let [owner, a, _, _, _, _, f, g] = &all;
    assert_eq!(add(&world, &channel, owner, f).await, first);
    assert_eq!(add(&world, &channel, owner, g).await, second, "rather than in a third");
    world.run_jobs().await;
    assert_eq!(counts(&world, &channel, owner).await, [2, 4]);
    assert_eq!(place(&world, &channel, a).await, Some(second));
    settle(&world).await;
    assert_eq!(world.row_count(&JOB).await, 0);
}

#[tokio::test]
async fn what_was_said_in_a_sub_channel_that_is_gone_still_puts_off_the_end_of_the_channel() {
    let mut world = World::new().await;
    let (all, channel, _, second) = spread::<6>(&mut world).await;
    let [owner, a, .., e] = &all;
    let settings = json!({ "ExpirationDays": 2, "ExpirationCriterion": "LAST_MESSAGE_TIMESTAMP" });
    let body = json!({ "ExpirationSettings": settings });
    let target = below(&channel, "/expiration-settings");
    assert!(world.call("PUT", &target, owner, body).await.is_ok());
    world.clock.advance(DAY_MS);
    assert!(send(&mut world, &channel, a, &second).await.is_ok());
    leave(&world, &channel, e).await;
    settle(&world).await;
    assert_eq!(subs(&world, &channel, owner).await.len(), 1);
    for is_there in [true, false] {
        world.clock.advance(DAY_MS);
        world.run_jobs().await;
        assert_eq!(world.get(&below(&channel, ""), owner).await.is_ok(), is_there);
    }
}

#[tokio::test]
async fn end_of_a_user_a_channel_or_an_app_instance_ends_what_balancing_does_with_it() {
    for doomed in ["user", "moved", "channel", "app instance"] {
        for step_count in 0..3 {
            let mut world = World::new().await;
            let (all, channel, ..) = draining::<6>(&mut world).await;
            for _ in 0..step_count {
                world.chat.run_job_step().await.expect("is done");
            }
            let target = match doomed {
                "user" => format!("/app-instance-users/{}", label(&all[2])),
                "moved" => format!("/app-instance-users/{}", label(&all[1])),
                "channel" => below(&channel, ""),
                _ => format!("/app-instances/{}", label(&world.app_instance)),
            };
            let bearer = if doomed == "channel" { all[0].as_str() } else { "" };
            assert_eq!(world.delete(&target, bearer).await, Ok(Value::Null), "{doomed}");
            settle(&world).await;
            world.clock.advance(ms(BALANCE_REST_MS));
            world.run_jobs().await;
            assert_eq!(world.row_count(&JOB).await, 0, "{doomed}");
        }
    }
}

#[tokio::test]
async fn of_two_nodes_that_prepare_the_same_step_one_moves_the_member() {
    let mut world = World::new().await;
    let (all, channel, ..) = draining::<6>(&mut world).await;
    let other = world.other_node().await;
    world.heard();
    while world.row_count(&JOB).await > 0 {
        let job = first_job(&world).await;
        let ours = world.chat.prepare(&job).await.expect("is read").expect("the job is there");
        let theirs = other.prepare(&job).await.expect("is read").expect("the job is there");
        assert_eq!(commit(theirs, "job_step").await.expect("is judged"), Step::Worked);
        assert_eq!(commit(ours, "job_step").await.expect("is judged"), Step::Overtaken);
        assert_eq!(world.chat.check().await.expect("is read").findings, []);
    }
    assert_eq!(counts(&world, &channel, &all[0]).await, [4]);
    let heard = world.heard();
    let moves = heard.iter().filter(|heard| heard.event_type == "UPDATE_CHANNEL_MEMBERSHIP");
    assert_eq!(moves.count(), 1);
}

#[tokio::test]
async fn member_who_leaves_while_he_is_moved_is_gone() {
    let mut world = World::new().await;
    let (all, channel, ..) = grown::<6>(&mut world).await;
    let [owner, a, ..] = &all;
    let job = first_job(&world).await;
    let step = world.chat.prepare(&job).await.expect("is read").expect("the job is there");
    leave(&world, &channel, a).await;
    let outcome = commit(step, "job_step").await;
    assert_eq!(outcome.expect("is judged"), Step::Overtaken);
    settle(&world).await;
    assert_eq!(place(&world, &channel, a).await, None);
    assert_eq!(counts(&world, &channel, owner).await, [2, 2], "nobody is missed");
}

#[tokio::test]
async fn members_who_join_while_others_are_moved_never_pass_the_target() {
    let mut world = World::new().await;
    let (all, channel, ..) = grown::<11>(&mut world).await;
    let owner = &all[0];
    for (index, member) in all[6..].iter().enumerate() {
        let job = first_job(&world).await;
        let step = world.chat.prepare(&job).await.expect("is read").expect("the job is there");
        add(&world, &channel, owner, member).await;
        let outcome = commit(step, "job_step").await.expect("is judged");
        if index > 2 {
            assert_eq!(world.chat.check().await.expect("is read").findings, []);
        }
        for (_, count) in subs(&world, &channel, owner).await {
            assert!(count <= 4, "{count} after {outcome:?}");
        }
        if world.row_count(&JOB).await == 0 {
            break;
        }
    }
    world.run_jobs().await;
}

use serde_json::{Value, json};
use store::table::{EVENT, EVENT_BUCKET_MS, HOME};
use store::{Audience, Direction, Key, Range, Record, Uid};

use super::*;
use crate::Effect;
use crate::idempotency::REQUEST_TOKEN;
use crate::identity::app_instance_user::AppInstanceUser;
use crate::limits::{
    CREATE_TOKENS, Quota, RESUME_GRACE_MS, RESUME_WINDOW_MS, SEND_TOKENS, STEP_ROWS_MAX, TokenLife,
};
use crate::messaging::channel::Channel;
use crate::messaging::channel_membership::departure::DEPARTURE;
use crate::messaging::channel_membership::{CHANNEL_MEMBERSHIP, CHANNEL_MEMBERSHIP_BY_MEMBER};
use crate::messaging::channel_message::CHANNEL_MESSAGE;
use crate::messaging::channel_moderator::CHANNEL_MODERATOR;
use crate::testing::{START_MS, World, label, text};

async fn delete_channel(world: &World, channel: &str, bearer: &str) {
    let deleted = world.delete(&format!("/channels/{}", label(channel)), bearer).await;
    assert_eq!(deleted, Ok(Value::Null));
}

async fn delete_user(world: &World, user: &str) {
    let deleted = world.delete(&format!("/app-instance-users/{}", label(user)), "").await;
    assert_eq!(deleted, Ok(Value::Null));
}

/// Returns the only record of a kind that satisfies `is_it`.
pub(crate) async fn only<R: Record>(world: &World, is_it: impl Fn(&R) -> bool) -> R {
    let all = Range::prefix(Key::new(R::TABLE));
    let rows = world.chat.0.store.view().list(&all, usize::MAX, Direction::Forward).await;
    let rows = rows.expect("the store answers");
    let found = rows.iter().map(|row| row.decode::<R>().expect("is readable")).filter(is_it);
    let mut found: Vec<R> = found.collect();
    let record = found.pop().expect("is there");
    assert!(found.is_empty(), "it is the only one");
    record
}

/// Returns the job that is due first.
pub(crate) async fn first_job(world: &World) -> Job {
    let all = Range::prefix(Key::new(&JOB));
    let jobs = world.chat.0.store.view().list(&all, 1, Direction::Forward).await;
    jobs.expect("the store answers")[0].decode().expect("is readable")
}

async fn user_uid(world: &World, id: &str) -> Uid {
    only::<AppInstanceUser>(world, |user| user.clone().into_principal().id == id).await.uid
}

async fn count(world: &World, quota: &Quota, owner: Uid) -> i64 {
    let count = world.chat.0.store.view().count(&quota.key(owner)).await;
    count.expect("the store answers")
}

/// Creates users `prefix`1, `prefix`2 and so on.
async fn create_users(world: &mut World, prefix: &str, user_count: usize) -> Vec<String> {
    let mut users = Vec::new();
    for index in 1..=user_count {
        users.push(world.create_user(&format!("{prefix}{index}")).await);
    }
    users
}

async fn add_all(world: &World, channel: &str, bearer: &str, users: &[String]) {
    for user in users {
        assert!(world.join(channel, bearer, user).await.is_ok());
    }
}

#[tokio::test]
async fn deleted_channels_free_the_places_of_their_members() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    for _ in 0..50 {
        let channel = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
        delete_channel(&world, &channel, &alice).await;
    }
    let (alice, bob) = (user_uid(&world, "alice").await, user_uid(&world, "bob").await);
    assert_eq!(count(&world, &limits::USER_MEMBERSHIPS, alice).await, 50);
    assert_eq!(world.run_jobs().await, 100, "one step for what is below, one for its own");
    assert_eq!(count(&world, &limits::USER_MEMBERSHIPS, alice).await, 0);
    assert_eq!(count(&world, &limits::USER_MEMBERSHIPS, bob).await, 0);
    for table in [&JOB, &CHANNEL_MEMBERSHIP, &CHANNEL_MODERATOR] {
        assert_eq!(world.row_count(table).await, 0, "{}", table.name);
    }
}

#[tokio::test]
async fn large_channel_goes_in_bounded_steps() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let users = create_users(&mut world, "user", 60).await;
    let tags = json!([{ "Key": "a", "Value": "b" }]);
    let channel = world.create_channel(&alice, json!({ "Tags": tags })).await;
    add_all(&world, &channel, &alice, &users).await;
    for _ in 0..250 {
        world.send(&channel, &alice, "hello").await.expect("is sent");
    }
    delete_channel(&world, &channel, &alice).await;
    let steps = world.run_jobs().await;
    assert_eq!(steps, (61 * 9 + 9 + 250_usize).div_ceil(STEP_ROWS_MAX) + 1);
    for table in [&JOB, &CHANNEL_MEMBERSHIP, &CHANNEL_MODERATOR, &CHANNEL_MESSAGE] {
        assert_eq!(world.row_count(table).await, 0, "{}", table.name);
    }
}

#[tokio::test]
async fn deleted_user_leaves_his_channels_and_the_others_hear_of_it() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let open = world.create_channel(&alice, json!({ "ModeratorArns": [bob] })).await;
    let hidden = world.create_channel(&alice, json!({})).await;
    assert!(world.join_as(&hidden, &alice, &bob, "HIDDEN").await.is_ok());
    let gone = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    let bob_uid = user_uid(&world, "bob").await;
    delete_user(&world, &bob).await;
    delete_channel(&world, &gone, &alice).await;
    world.heard();
    world.run_jobs().await;
    let uid_of = async |arn: &str| only::<Channel>(&world, |one| arn.ends_with(&one.id)).await.uid;
    let (open_uid, hidden_uid) = (uid_of(&open).await, uid_of(&hidden).await);
    for (uid, members, moderators) in [(open_uid, 1, 1), (hidden_uid, 1, 1)] {
        assert_eq!(count(&world, &limits::CHANNEL_MEMBERSHIPS, uid).await, members);
        assert_eq!(count(&world, &limits::CHANNEL_MODERATORS, uid).await, moderators);
    }
    assert_eq!(world.row_count(&CHANNEL_MEMBERSHIP).await, 2);
    let heard = world.heard();
    let leaves = heard.iter().map(|event| {
        assert_eq!(event.event_type, "DELETE_CHANNEL_MEMBERSHIP");
        assert_eq!(event.payload["Member"]["Arn"], json!(bob));
        (event.audience.clone(), text(&event.payload["ChannelArn"]), event.effect)
    });
    let left = |channel| Some(Effect::Leave { channel, user: bob_uid });
    let expected = [
        (Audience::Members(open_uid), open.clone(), left(open_uid)),
        (Audience::Users(vec![bob_uid]), hidden.clone(), None),
        (Audience::Moderators(hidden_uid), hidden.clone(), left(hidden_uid)),
    ];
    let mut leaves: Vec<_> = leaves.collect();
    leaves.sort_by_key(|(_, channel, _)| *channel != open);
    assert_eq!(leaves, expected, "nobody hears of a channel that is gone");
}

#[tokio::test]
async fn purges_of_a_channel_and_of_its_members_may_come_in_any_order() {
    for user_first in [true, false] {
        let mut world = World::new().await;
        let alice = world.create_user("alice").await;
        let bob = world.create_user("bob").await;
        let channel = world.create_channel(&alice, json!({ "ModeratorArns": [bob] })).await;
        let kept = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
        let alice_uid = user_uid(&world, "alice").await;
        if user_first {
            delete_user(&world, &bob).await;
            world.clock.advance(1);
            delete_channel(&world, &channel, &alice).await;
        } else {
            delete_channel(&world, &channel, &alice).await;
            world.clock.advance(1);
            delete_user(&world, &bob).await;
        }
        world.run_jobs().await;
        assert_eq!(count(&world, &limits::USER_MEMBERSHIPS, alice_uid).await, 1);
        let kept = only::<Channel>(&world, |one| kept.ends_with(&one.id)).await.uid;
        assert_eq!(count(&world, &limits::CHANNEL_MEMBERSHIPS, kept).await, 1);
        assert_eq!(world.row_count(&limits::RESOURCE_COUNT).await, {
            let of_store_and_instance = ["app_instances", "users", "channels"].len();
            let of_alice_and_channel = ["user_memberships", "memberships", "moderators"].len();
            of_store_and_instance + of_alice_and_channel
        });
    }
}

#[tokio::test]
async fn purge_touches_nothing_of_a_successor_under_the_same_name() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let more = json!({ "ChannelId": "room", "ModeratorArns": [bob], "Name": "first" });
    let room = world.create_channel(&alice, more.clone()).await;
    world.send(&room, &alice, "old").await.expect("is sent");
    delete_channel(&world, &room, &alice).await;
    delete_user(&world, &bob).await;
    assert_eq!(world.create_user("bob").await, bob);
    assert_eq!(world.create_channel(&alice, more).await, room);
    world.send(&room, &bob, "new").await.expect("is sent");
    world.heard();
    world.run_jobs().await;
    assert!(world.heard().is_empty());
    assert_eq!(world.contents(&room, &alice).await, ["new"]);
    let mut members = world.members(&room, &bob, "").await;
    members.sort();
    assert_eq!(members, ["alice", "bob"]);
    let hidden = world.join_as(&room, &bob, &alice, "HIDDEN").await;
    assert_eq!(hidden, crate::testing::CONFLICT, "bob is a moderator still");
    let (alice, bob) = (user_uid(&world, "alice").await, user_uid(&world, "bob").await);
    assert_eq!(count(&world, &limits::USER_MEMBERSHIPS, alice).await, 1);
    assert_eq!(count(&world, &limits::USER_MEMBERSHIPS, bob).await, 1);
}

#[tokio::test]
async fn deleted_app_instance_leaves_no_row() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    assert!(world.create_admin(&alice).await.is_ok());
    let users = create_users(&mut world, "user", 55).await;
    for _ in 0..55 {
        let channel = world.create_channel(&alice, json!({ "MemberArns": [users[0]] })).await;
        world.send(&channel, &alice, "hello").await.expect("is sent");
    }
    let bot = world.create_bot("bot").await;
    world.create_channel(&bot, json!({ "MemberArns": [alice] })).await;
    assert!(world.create_admin(&bot).await.is_ok());
    world.register_device(&alice, "device").await.expect("is registered");
    delete_user(&world, &users[0]).await;
    let app_instance = format!("/app-instances/{}", label(&world.app_instance));
    assert_eq!(world.delete(&app_instance, "").await, Ok(Value::Null));
    world.heard();
    world.run_jobs().await;
    assert!(world.heard().is_empty(), "nobody is left to be told");
    let leaves_by_time = |table: &Table| ["request_token", "departure"].contains(&table.name);
    for table in crate::tables().into_iter().filter(|table| !leaves_by_time(table)) {
        let left = usize::from(table.name == "resource_count");
        assert_eq!(world.row_count(table).await, left, "{}", table.name);
    }
    assert_eq!(count(&world, &limits::APP_INSTANCES, limits::ACCOUNT).await, 0);
    assert_eq!(world.row_count(&HOME).await, 1, "the store's own home stays");
}

/// Deletes a channel of 60 members and 150 messages, and one of its members.
async fn world_with_work() -> World {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let users = create_users(&mut world, "user", 60).await;
    let channel = world.create_channel(&alice, json!({})).await;
    add_all(&world, &channel, &alice, &users).await;
    let kept = world.create_channel(&alice, json!({})).await;
    add_all(&world, &kept, &alice, &users).await;
    for _ in 0..150 {
        world.send(&channel, &alice, "hello").await.expect("is sent");
    }
    delete_channel(&world, &channel, &alice).await;
    delete_user(&world, &users[3]).await;
    assert!(world.send(&kept, &alice, "hello").await.is_ok());
    world
}

#[tokio::test]
async fn nodes_in_turn_do_each_step_once() {
    let step_count = world_with_work().await.run_jobs().await;
    let world = world_with_work().await;
    let nodes = [world.chat.clone(), world.other_node().await];
    let mut steps = 0;
    while nodes[steps % 2].run_job_step().await.expect("the step is done") == Step::Worked {
        steps += 1;
        assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
    }
    assert_eq!(steps, step_count);
    assert_eq!(world.row_count(&JOB).await, 0);
}

#[tokio::test]
async fn of_two_nodes_that_prepare_the_same_step_one_is_overtaken() {
    let world = world_with_work().await;
    let other = world.other_node().await;
    let mut race_count = 0;
    while world.row_count(&JOB).await > 0 {
        let job = first_job(&world).await;
        let ours = world.chat.prepare(&job).await.expect("is read").expect("the job is there");
        let theirs = other.prepare(&job).await.expect("is read").expect("the job is there");
        assert_eq!(commit(theirs, "job_step").await.expect("is judged"), Step::Worked);
        assert_eq!(commit(ours, "job_step").await.expect("is judged"), Step::Overtaken);
        assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
        race_count += 1;
    }
    assert!(race_count > 5, "{race_count}");
    assert_eq!(world.chat.run_job_step().await.expect("is read"), Step::Idle);
}

#[tokio::test]
async fn channel_that_another_purge_finished_meanwhile_does_not_come_back() {
    let mut world = World::new().await;
    let bob = world.create_user("bob").await;
    let bob_uid = user_uid(&world, "bob").await;
    delete_user(&world, &bob).await;
    // What the step lists and then finds gone.
    let mut batch = store::Batch::new("stray", bob_uid);
    let key = Key::new(&CHANNEL_MEMBERSHIP_BY_MEMBER).uid(bob_uid).uid(Uid([7; 16]));
    batch.puts.push(store::Put { key, value: b"room".to_vec() });
    world.chat.0.store.engine().commit(batch).await.expect("is written");
    for expected in [Step::Worked, Step::Worked, Step::Idle] {
        assert_eq!(world.chat.run_job_step().await.expect("the step is done"), expected);
    }
    assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
    assert_eq!(world.row_count(&HOME).await, 2, "of the store and of the app instance");
}

#[tokio::test]
async fn job_that_fails_rests_and_the_others_go_on() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let broken = world.create_channel(&alice, json!({})).await;
    let sound = world.create_channel(&alice, json!({})).await;
    let broken_uid = only::<Channel>(&world, |one| broken.ends_with(&one.id)).await.uid;
    delete_channel(&world, &broken, &alice).await;
    world.clock.advance(1);
    delete_channel(&world, &sound, &alice).await;
    let key = Key::new(&CHANNEL_MEMBERSHIP).uid(broken_uid).uid(Uid([0; 16]));
    let mut batch = store::Batch::new("damage", broken_uid);
    batch.puts.push(store::Put { key: key.clone(), value: b"nonsense".to_vec() });
    world.chat.0.store.engine().commit(batch).await.expect("is written");
    assert!(world.chat.run_job_step().await.is_err());
    for expected in [Step::Worked, Step::Worked, Step::Idle] {
        assert_eq!(world.chat.run_job_step().await.expect("the step is done"), expected);
    }
    let mut batch = store::Batch::new("repair", broken_uid);
    batch.deletes.push(key);
    world.chat.0.store.engine().commit(batch).await.expect("is written");
    world.clock.advance(u64::try_from(limits::JOB_RETRY_MS).expect("is positive"));
    assert_eq!(world.run_jobs().await, 2);
}

async fn sweep_all(world: &World) {
    while world.chat.run_sweep_step().await.expect("the step is done") == Step::Worked {}
}

/// Returns the first moment at which the bucket of `at_ms` is the one before the previous.
fn end_ms(life: &TokenLife, at_ms: u64) -> u64 {
    let bucket_ms = u64::try_from(life.bucket_ms).expect("is positive");
    (at_ms / bucket_ms + 2) * bucket_ms
}

#[tokio::test]
async fn tokens_of_both_lives_leave_with_their_own_buckets() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let channel = world.create_channel(&alice, json!({})).await;
    for _ in 0..STEP_ROWS_MAX + 1 {
        world.send(&channel, &alice, "hello").await.expect("is sent");
    }
    let creates = 3;
    let all = creates + STEP_ROWS_MAX + 1;
    for (at_ms, left) in [
        (end_ms(&SEND_TOKENS, START_MS) - 1, all),
        (end_ms(&SEND_TOKENS, START_MS), creates),
        (end_ms(&CREATE_TOKENS, START_MS) - 1, creates),
        (end_ms(&CREATE_TOKENS, START_MS), 0),
    ] {
        world.clock.set(at_ms);
        sweep_all(&world).await;
        assert_eq!(world.row_count(&REQUEST_TOKEN).await, left, "at {at_ms}");
    }
    assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
}

#[tokio::test]
async fn events_leave_when_the_last_moment_of_their_bucket_is_out_of_the_window() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let channel = world.create_channel(&alice, json!({})).await;
    delete_channel(&world, &channel, &alice).await;
    world.run_jobs().await;
    let events = world.row_count(&EVENT).await;
    assert!(events > 1, "{events}");
    assert_eq!(world.row_count(&DEPARTURE).await, 1);
    let end_ms =
        (START_MS / EVENT_BUCKET_MS + 1) * EVENT_BUCKET_MS + RESUME_WINDOW_MS + RESUME_GRACE_MS;
    world.clock.set(end_ms - 1);
    sweep_all(&world).await;
    assert_eq!(world.row_count(&EVENT).await, events);
    world.clock.set(end_ms);
    sweep_all(&world).await;
    assert_eq!(world.row_count(&EVENT).await, 0);
    assert_eq!(world.row_count(&DEPARTURE).await, 0);
}

#[tokio::test]
async fn sweep_is_done_once_by_two_nodes() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    world.create_channel(&alice, json!({})).await;
    world.clock.set(end_ms(&CREATE_TOKENS, START_MS));
    let other = world.other_node().await;
    let cx = world.chat.nobodys_cx(String::new());
    let (mut ours, mut theirs) = (world.chat.begin_low(), other.begin_low());
    for tx in [&mut ours, &mut theirs] {
        assert_eq!(sweep::step(&cx, &world.chat.0.store.view(), tx).await.expect("is read"), 3);
    }
    assert_eq!(commit(ours, "sweep_step").await.expect("is judged"), Step::Worked);
    assert_eq!(commit(theirs, "sweep_step").await.expect("is judged"), Step::Overtaken);
}

#[cfg(feature = "postgres-tests")]
mod nodes;
#[cfg(feature = "postgres-tests")]
#[expect(dead_code, reason = "the store's tests use more of it")]
#[path = "../../../store/tests/postgres/server.rs"]
mod server;
mod stops;
mod successors;

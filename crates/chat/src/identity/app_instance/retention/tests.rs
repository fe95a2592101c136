use serde_json::{Value, json};
use store::{Direction, Key, Range};

use super::*;
use crate::job::{JOB, Job, Step, commit};
use crate::limits::STEP_ROWS_MAX;
use crate::messaging::channel_message::CHANNEL_MESSAGE;
use crate::testing::{
    BAD_REQUEST, FORBIDDEN, NOT_FOUND, Outcome, START_MS, World, array, label, text,
};

const DAY: u64 = DAY_MS.unsigned_abs();
const GRACE: u64 = RETENTION_GRACE_MS.unsigned_abs();
const PASS: u64 = RETENTION_PASS_MS.unsigned_abs();

fn target(world: &World) -> String {
    format!("/app-instances/{}/retention-settings", label(&world.app_instance))
}

fn days(days: u32) -> Value {
    json!({ "ChannelRetentionSettings": { "RetentionDays": days } })
}

fn off() -> Value {
    json!({ "ChannelRetentionSettings": {} })
}

async fn put(world: &World, settings: Value) -> Outcome {
    let body = json!({ "AppInstanceRetentionSettings": settings });
    world.call("PUT", &target(world), "", body).await
}

async fn set(world: &World, settings: Value) {
    assert!(put(world, settings).await.is_ok());
}

/// Alice, her channel, and a message that she sent at `START_MS + DAY`.
async fn world_with_message() -> (World, String, String, String) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    assert!(world.create_admin(&alice).await.is_ok());
    let channel = world.create_channel(&alice, json!({})).await;
    world.clock.set(START_MS + DAY);
    let sent = world.send(&channel, &alice, "hello").await.expect("is sent");
    (world, alice, channel, text(&sent["MessageId"]))
}

/// Whether alice's messages can be read.
async fn is_shown(world: &World, channel: &str, alice: &str) -> bool {
    let contents = world.contents(channel, alice).await;
    assert!(contents.len() <= 1);
    !contents.is_empty()
}

#[tokio::test]
async fn settings_are_answered_as_they_were_put() {
    let world = World::new().await;
    let never = json!({ "AppInstanceRetentionSettings": {} });
    assert_eq!(world.get(&target(&world), "").await, Ok(never));
    for (settings, put_ms) in [(days(1), 0), (days(5_475), 7_000), (days(5_475), 7_000)] {
        world.clock.set(START_MS + put_ms);
        let expected = json!({
            "AppInstanceRetentionSettings": settings,
            "InitiateDeletionTimestamp": (START_MS + put_ms + GRACE) / 1_000,
        });
        assert_eq!(put(&world, settings).await, Ok(expected.clone()));
        assert_eq!(world.get(&target(&world), "").await, Ok(expected));
    }
    world.clock.advance(1_000);
    let kept = world.get(&target(&world), "").await.expect("is answered");
    assert_eq!(put(&world, days(5_475)).await, Ok(kept), "the same again is no change");
    for settings in [off(), json!({})] {
        let expected = json!({ "AppInstanceRetentionSettings": off() });
        assert_eq!(put(&world, settings).await, Ok(expected.clone()));
        assert_eq!(world.get(&target(&world), "").await, Ok(expected));
    }
    assert_eq!(world.row_count(&JOB).await, 1);
}

#[tokio::test]
async fn settings_need_a_live_app_instance_and_sensible_days() {
    let mut world = World::new().await;
    for wrong in [days(0), days(5_476)] {
        assert_eq!(put(&world, wrong).await, BAD_REQUEST);
    }
    assert_eq!(world.call("PUT", &target(&world), "", json!({})).await, BAD_REQUEST);
    let other = world.create_app_instance("other").await;
    let gone = format!("/app-instances/{}", label(&other));
    assert!(world.delete(&gone, "").await.is_ok());
    let gone = format!("{gone}/retention-settings");
    assert_eq!(world.get(&gone, "").await, FORBIDDEN);
    let body = json!({ "AppInstanceRetentionSettings": days(1) });
    assert_eq!(world.call("PUT", &gone, "", body).await, FORBIDDEN);
}

#[tokio::test]
async fn message_is_hidden_from_every_request_at_its_moment_and_not_a_millisecond_before() {
    let (world, alice, channel, id) = world_with_message().await;
    let path = format!("/channels/{}/messages/{id}", label(&channel));
    let status = format!("{path}?scope=message-status");
    let redact = format!("{path}?operation=redact");
    set(&world, days(2)).await;
    world.clock.set(START_MS + 3 * DAY - 1);
    assert!(is_shown(&world, &channel, &alice).await);
    assert!(world.get(&path, &alice).await.is_ok());
    assert!(world.get(&status, &alice).await.is_ok());
    let new = json!({ "Content": "new" });
    assert!(world.call("PUT", &path, &alice, new.clone()).await.is_ok());
    world.clock.advance(1);
    assert!(!is_shown(&world, &channel, &alice).await);
    let all = format!("?not-before=0&not-after={}", (START_MS + 9 * DAY) / 1_000);
    for query in ["?sort-order=ASCENDING", &all] {
        let answer = world.messages(&channel, &alice, query).await.expect("is answered");
        assert_eq!(answer["ChannelMessages"], json!([]));
    }
    assert_eq!(world.get(&path, &alice).await, NOT_FOUND);
    assert_eq!(world.get(&status, &alice).await, FORBIDDEN);
    assert_eq!(world.call("PUT", &path, &alice, new).await, FORBIDDEN);
    assert_eq!(world.call("POST", &redact, &alice, json!({})).await, FORBIDDEN);
    assert_eq!(world.delete(&path, &alice).await, FORBIDDEN);
    assert_eq!(world.row_count(&CHANNEL_MESSAGE).await, 1, "it is only hidden");
    let described = world.get(&format!("/channels/{}", label(&channel)), &alice).await;
    let described = described.expect("is there");
    assert!(described["Channel"].get("LastMessageTimestamp").is_some());
}

#[tokio::test]
async fn pages_go_on_while_messages_age() {
    let (mut world, alice, channel, _) = world_with_message().await;
    set(&world, days(2)).await;
    for sent_ms in [START_MS + 2 * DAY, START_MS + 3 * DAY - 1] {
        world.clock.set(sent_ms);
        world.send(&channel, &alice, &sent_ms.to_string()).await.expect("is sent");
    }
    let page = |token: String| format!("?sort-order=ASCENDING&max-results=1&next-token={token}");
    let first = world.messages(&channel, &alice, &page(String::new())).await.expect("a page");
    assert_eq!(first["ChannelMessages"][0]["Content"], "hello");
    world.clock.set(START_MS + 4 * DAY);
    let token = text(&first["NextToken"]);
    let next = world.messages(&channel, &alice, &page(token)).await.expect("a page");
    let next = array(&next["ChannelMessages"]);
    assert_eq!(next[0]["Content"], json!((START_MS + 3 * DAY - 1).to_string()));
}

#[tokio::test]
async fn hidden_messages_come_back_within_the_grace_and_never_after_it() {
    for longer in [days(1_000), off()] {
        for (put_ms, is_back) in [(GRACE - 1, true), (GRACE, false), (GRACE + DAY, false)] {
            let (world, alice, channel, _) = world_with_message().await;
            world.clock.set(START_MS + 10 * DAY);
            set(&world, days(2)).await;
            assert!(!is_shown(&world, &channel, &alice).await);
            world.clock.advance(put_ms);
            // The job is held back.
            set(&world, longer.clone()).await;
            assert_eq!(is_shown(&world, &channel, &alice).await, is_back, "{put_ms}");
            for _ in 0..3 {
                world.clock.advance(PASS);
                world.run_jobs().await;
            }
            let left = usize::from(is_back);
            assert_eq!(world.row_count(&CHANNEL_MESSAGE).await, left, "{put_ms}");
        }
    }
}

#[tokio::test]
async fn messages_are_purged_from_the_end_of_the_grace_on_as_they_age() {
    let (mut world, alice, channel, _) = world_with_message().await;
    set(&world, days(2)).await;
    let end_ms = START_MS + DAY + GRACE;
    world.clock.set(end_ms - DAY);
    world.send(&channel, &alice, "young").await.expect("is sent");
    world.clock.set(end_ms - 1);
    assert_eq!(world.run_jobs().await, 0);
    assert_eq!(world.row_count(&CHANNEL_MESSAGE).await, 2);
    world.clock.advance(1);
    assert_eq!(world.run_jobs().await, 2, "one channel, then the end of the pass");
    assert_eq!(world.row_count(&CHANNEL_MESSAGE).await, 1);
    while world.row_count(&CHANNEL_MESSAGE).await > 0 {
        assert!(is_shown(&world, &channel, &alice).await);
        world.clock.advance(PASS);
        world.run_jobs().await;
    }
    let now_ms = u64::try_from(world.chat.nobodys_cx(String::new()).now_ms).expect("is positive");
    assert_eq!(now_ms, end_ms + DAY);
    assert_eq!(world.row_count(&JOB).await, 1);
}

#[tokio::test]
async fn shorter_period_does_not_hold_up_what_is_gone_under_the_longer_one() {
    let (mut world, alice, channel, _) = world_with_message().await;
    set(&world, days(40)).await;
    world.clock.set(START_MS + 20 * DAY);
    world.send(&channel, &alice, "younger").await.expect("is sent");
    world.clock.set(START_MS + 41 * DAY);
    set(&world, days(5)).await;
    assert!(!is_shown(&world, &channel, &alice).await);
    world.run_jobs().await;
    assert_eq!(world.row_count(&CHANNEL_MESSAGE).await, 1, "the first is 40 days old");
    set(&world, off()).await;
    assert_eq!(world.contents(&channel, &alice).await, ["younger"]);
}

/// Returns the only job.
async fn job(world: &World) -> Job {
    let all = Range::prefix(Key::new(&JOB));
    let rows = world.chat.0.store.view().list(&all, 2, Direction::Forward).await;
    let rows = rows.expect("the store answers");
    assert_eq!(rows.len(), 1);
    rows[0].decode().expect("is readable")
}

/// Channels of which some have messages that are past their grace, more than go in one step.
async fn world_with_work() -> World {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    set(&world, days(1)).await;
    for message_count in [0, STEP_ROWS_MAX * 2 + 1, 1, 0, STEP_ROWS_MAX] {
        let channel = world.create_channel(&alice, json!({})).await;
        for _ in 0..message_count {
            world.send(&channel, &alice, "hello").await.expect("is sent");
        }
    }
    world.clock.set(START_MS + GRACE);
    world
}

#[tokio::test]
async fn steps_are_bounded_and_each_is_done_once_by_nodes_in_turn() {
    let world = world_with_work().await;
    let nodes = [world.chat.clone(), world.other_node().await];
    let (mut steps, mut left) = (0, world.row_count(&CHANNEL_MESSAGE).await);
    while nodes[steps % 2].run_job_step().await.expect("the step is done") == Step::Worked {
        steps += 1;
        let now = world.row_count(&CHANNEL_MESSAGE).await;
        assert!(left - now <= STEP_ROWS_MAX);
        left = now;
        assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
    }
    assert_eq!((steps, left), (3 + 1 + 1 + 1, 0), "the last finds nothing");
}

#[tokio::test]
async fn of_two_nodes_that_prepare_the_same_step_one_is_overtaken() {
    let world = world_with_work().await;
    let other = world.other_node().await;
    while world.row_count(&CHANNEL_MESSAGE).await > 0 {
        let job = job(&world).await;
        let ours = world.chat.prepare(&job).await.expect("is read").expect("the job is there");
        let theirs = other.prepare(&job).await.expect("is read").expect("the job is there");
        assert_eq!(commit(theirs, "job_step").await.expect("is judged"), Step::Worked);
        assert_eq!(commit(ours, "job_step").await.expect("is judged"), Step::Overtaken);
    }
    assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
}

#[tokio::test]
async fn settings_that_come_while_a_step_is_prepared_overtake_it() {
    let world = world_with_work().await;
    let job = job(&world).await;
    let step = world.chat.prepare(&job).await.expect("is read").expect("the job is there");
    set(&world, off()).await;
    assert_eq!(commit(step, "job_step").await.expect("is judged"), Step::Overtaken);
}

#[tokio::test]
async fn channel_of_the_same_id_keeps_what_is_said_in_it() {
    let (mut world, alice, _, _) = world_with_message().await;
    let room = world.create_channel(&alice, json!({ "ChannelId": "room" })).await;
    world.send(&room, &alice, "old").await.expect("is sent");
    set(&world, days(2)).await;
    world.clock.set(START_MS + DAY + GRACE - 1);
    assert!(world.delete(&format!("/channels/{}", label(&room)), &alice).await.is_ok());
    assert_eq!(world.create_channel(&alice, json!({ "ChannelId": "room" })).await, room);
    world.send(&room, &alice, "new").await.expect("is sent");
    world.clock.advance(1);
    world.run_jobs().await;
    assert_eq!(world.contents(&room, &alice).await, ["new"]);
    assert_eq!(world.row_count(&CHANNEL_MESSAGE).await, 1);
}

#[tokio::test]
async fn purged_messages_that_were_changed_just_before_are_no_findings() {
    let (world, alice, channel, id) = world_with_message().await;
    set(&world, days(40)).await;
    world.clock.set(START_MS + 41 * DAY - 1);
    let path = format!("/channels/{}/messages/{id}", label(&channel));
    assert!(world.call("PUT", &path, &alice, json!({ "Content": "new" })).await.is_ok());
    world.clock.advance(1);
    world.run_jobs().await;
    assert_eq!(world.row_count(&CHANNEL_MESSAGE).await, 0);
    set(&world, off()).await;
    assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
}

#[tokio::test]
async fn job_of_a_deleted_app_instance_ends_by_itself() {
    let (world, _, _, _) = world_with_message().await;
    set(&world, days(1)).await;
    let gone = format!("/app-instances/{}", label(&world.app_instance));
    // At the moment at which the job is due, and before.
    world.clock.set(START_MS + DAY + GRACE);
    assert!(world.delete(&gone, "").await.is_ok());
    world.run_jobs().await;
    assert_eq!(world.row_count(&JOB).await, 0);

    let (world, _, _, _) = world_with_message().await;
    set(&world, days(1)).await;
    let gone = format!("/app-instances/{}", label(&world.app_instance));
    assert!(world.delete(&gone, "").await.is_ok());
    world.run_jobs().await;
    assert_eq!(world.row_count(&JOB).await, 1);
    world.clock.set(START_MS + DAY + GRACE);
    assert_eq!(world.run_jobs().await, 1);
    assert_eq!(world.row_count(&JOB).await, 0);
}

use serde_json::{Value, json};
use store::{Audience, Direction, Key, Put, Range};

use super::*;
use crate::Effect;
use crate::job::{JOB, Step};
use crate::limits::{DAY_MS, JOB_RETRY_MS};
use crate::messaging::channel_message::CHANNEL_MESSAGE;
use crate::testing::{BAD_REQUEST, FORBIDDEN, Outcome, START_MS, UNAUTHORIZED, World, label};

const DAY: u64 = DAY_MS.unsigned_abs();

fn settings(days: i32, criterion: &str) -> Value {
    json!({ "ExpirationDays": days, "ExpirationCriterion": criterion })
}

fn created(days: i32) -> Value {
    settings(days, "CREATED_TIMESTAMP")
}

fn last_message(days: i32) -> Value {
    settings(days, "LAST_MESSAGE_TIMESTAMP")
}

async fn put(world: &World, channel: &str, bearer: &str, settings: Value) -> Outcome {
    let target = format!("/channels/{}/expiration-settings", label(channel));
    let body = match settings {
        Value::Null => json!({}),
        settings => json!({ "ExpirationSettings": settings }),
    };
    world.call("PUT", &target, bearer, body).await
}

async fn describe(world: &World, channel: &str, bearer: &str) -> Outcome {
    let described = world.get(&format!("/channels/{}", label(channel)), bearer).await;
    described.map(|described| described["Channel"].clone())
}

async fn delete(world: &World, channel: &str, bearer: &str) -> Outcome {
    world.delete(&format!("/channels/{}", label(channel)), bearer).await
}

/// Alice, and a channel of hers with these settings.
async fn world_with(expiration: Value) -> (World, String, String) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let more = json!({ "ChannelId": "room", "ExpirationSettings": expiration });
    let channel = world.create_channel(&alice, more).await;
    world.heard();
    (world, alice, channel)
}

#[tokio::test]
async fn settings_are_shown_replaced_and_removed_and_nobody_is_told() {
    let (mut world, alice, channel) = world_with(created(2)).await;
    let before = describe(&world, &channel, &alice).await.expect("is there");
    assert_eq!(before["ExpirationSettings"], created(2));
    world.clock.advance(5_000);
    for wanted in [last_message(5475), created(1), created(1)] {
        let expected = json!({ "ChannelArn": channel, "ExpirationSettings": wanted });
        assert_eq!(put(&world, &channel, &alice, wanted.clone()).await, Ok(expected));
        let described = describe(&world, &channel, &alice).await.expect("is there");
        assert_eq!(described["ExpirationSettings"], wanted);
        assert_eq!(described["LastUpdatedTimestamp"], before["LastUpdatedTimestamp"]);
        assert_eq!(world.row_count(&JOB).await, 1);
    }
    for _ in 0..2 {
        let removed = put(&world, &channel, &alice, Value::Null).await;
        assert_eq!(removed, Ok(json!({ "ChannelArn": channel })));
        let described = describe(&world, &channel, &alice).await.expect("is there");
        assert_eq!(described.get("ExpirationSettings"), None);
        assert_eq!(world.row_count(&JOB).await, 0);
    }
    assert!(world.heard().is_empty());
    world.clock.advance(9_000 * DAY);
    assert_eq!(world.run_jobs().await, 0);
}

#[tokio::test]
async fn settings_need_a_bearer_a_channel_and_sensible_days() {
    let (world, alice, channel) = world_with(created(2)).await;
    assert_eq!(put(&world, &channel, "", created(1)).await, UNAUTHORIZED);
    assert_eq!(put(&world, &format!("{channel}x"), "", created(1)).await, UNAUTHORIZED);
    assert_eq!(put(&world, &format!("{channel}x"), &alice, created(1)).await, FORBIDDEN);
    for wrong in [created(0), created(5_476), settings(1, "UPDATED_TIMESTAMP"), json!({})] {
        assert_eq!(put(&world, &channel, &alice, wrong).await, BAD_REQUEST);
    }
}

#[tokio::test]
async fn channel_goes_at_its_moment_and_not_a_millisecond_before() {
    let (mut world, alice, channel) = world_with(created(2)).await;
    world.send(&channel, &alice, "does not count").await.expect("is sent");
    world.clock.set(START_MS + 2 * DAY - 1);
    assert_eq!(world.run_jobs().await, 0);
    let described = describe(&world, &channel, &alice).await.expect("is there");
    world.clock.advance(1);
    world.send(&channel, &alice, "until it is deleted it is active").await.expect("is sent");
    world.heard();
    assert!(world.run_jobs().await > 1);
    assert_eq!(describe(&world, &channel, &alice).await, FORBIDDEN);
    let heard = world.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].event_type, "DELETE_CHANNEL");
    assert_eq!(heard[0].payload["ExpirationSettings"], created(2));
    assert_eq!(heard[0].payload["Name"], described["Name"]);
    assert!(matches!(heard[0].audience, Audience::Members(_)));
    assert!(matches!(heard[0].effect, Some(Effect::ChannelGone { .. })));
    for table in [&JOB, &CHANNEL_MESSAGE] {
        assert_eq!(world.row_count(table).await, 0, "{}", table.name);
    }
}

#[tokio::test]
async fn days_count_from_the_last_message_or_from_creation_while_there_is_none() {
    let (world, alice, channel) = world_with(last_message(2)).await;
    world.clock.set(START_MS + 2 * DAY - 1);
    assert_eq!(world.run_jobs().await, 0);
    world.clock.advance(1);
    assert!(world.run_jobs().await > 0);
    assert_eq!(describe(&world, &channel, &alice).await, FORBIDDEN);

    let (mut world, alice, channel) = world_with(last_message(2)).await;
    world.clock.set(START_MS + DAY);
    world.send(&channel, &alice, "hello").await.expect("is sent");
    world.clock.set(START_MS + 2 * DAY);
    assert_eq!(world.run_jobs().await, 1, "the job is moved");
    world.clock.set(START_MS + 3 * DAY - 1);
    assert_eq!(world.run_jobs().await, 0);
    world.send(&channel, &alice, "once more").await.expect("is sent");
    world.clock.set(START_MS + 5 * DAY - 2);
    assert_eq!(world.run_jobs().await, 1);
    assert!(describe(&world, &channel, &alice).await.is_ok());
    assert_eq!(world.row_count(&JOB).await, 1);
    world.clock.advance(1);
    world.run_jobs().await;
    assert_eq!(describe(&world, &channel, &alice).await, FORBIDDEN);
}

#[tokio::test]
async fn expired_channel_is_kept_by_other_settings_until_the_job_has_come() {
    for kept_by in [created(3), last_message(3), Value::Null] {
        let (world, alice, channel) = world_with(created(1)).await;
        world.clock.set(START_MS + 2 * DAY);
        assert!(put(&world, &channel, &alice, kept_by.clone()).await.is_ok());
        assert_eq!(world.run_jobs().await, 0, "{kept_by}");
        assert!(describe(&world, &channel, &alice).await.is_ok());
        assert!(put(&world, &channel, &alice, created(2)).await.is_ok());
        assert!(world.run_jobs().await > 0, "what is over already goes at once");
        assert_eq!(describe(&world, &channel, &alice).await, FORBIDDEN);
    }
}

/// Returns the only job.
async fn job(world: &World) -> crate::job::Job {
    let all = Range::prefix(Key::new(&JOB));
    let rows = world.chat.0.store.view().list(&all, 2, Direction::Forward).await;
    let rows = rows.expect("the store answers");
    assert_eq!(rows.len(), 1);
    rows[0].decode().expect("is readable")
}

#[tokio::test]
async fn of_two_nodes_one_expires_the_channel() {
    let (mut world, _, _) = world_with(created(1)).await;
    let other = world.other_node().await;
    world.clock.set(START_MS + DAY);
    let job = job(&world).await;
    let ours = world.chat.prepare(&job).await.expect("is read").expect("the job is there");
    let theirs = other.prepare(&job).await.expect("is read").expect("the job is there");
    assert_eq!(crate::job::commit(theirs, "job_step").await.expect("is judged"), Step::Worked);
    assert_eq!(crate::job::commit(ours, "job_step").await.expect("is judged"), Step::Overtaken);
    assert_eq!(world.heard().len(), 1);
    world.run_jobs().await;
    assert!(world.heard().is_empty());
}

#[tokio::test]
async fn what_comes_while_a_step_is_prepared_counts() {
    for by_message in [true, false] {
        let (mut world, alice, channel) = world_with(last_message(1)).await;
        world.clock.set(START_MS + DAY);
        let job = job(&world).await;
        let step = world.chat.prepare(&job).await.expect("is read").expect("the job is there");
        if by_message {
            world.send(&channel, &alice, "wait").await.expect("is sent");
        } else {
            assert!(put(&world, &channel, &alice, Value::Null).await.is_ok());
        }
        assert_eq!(crate::job::commit(step, "job_step").await.expect("is judged"), Step::Overtaken);
        world.run_jobs().await;
        assert!(describe(&world, &channel, &alice).await.is_ok());
    }
}

#[tokio::test]
async fn successor_under_the_same_id_is_not_touched() {
    // The first channel is deleted at the very moment at which it expires, before and after it.
    for deleted_ms in [START_MS + 1, START_MS + DAY, START_MS + DAY + 1] {
        for successor in [json!({}), json!({ "ExpirationSettings": created(1) })] {
            let (mut world, alice, channel) = world_with(created(1)).await;
            world.send(&channel, &alice, "old").await.expect("is sent");
            world.clock.set(deleted_ms);
            assert!(delete(&world, &channel, &alice).await.is_ok());
            let mut more = successor.clone();
            more["ChannelId"] = json!("room");
            assert_eq!(world.create_channel(&alice, more).await, channel);
            world.clock.set(deleted_ms + DAY - 1);
            assert!(world.run_jobs().await > 0);
            assert!(describe(&world, &channel, &alice).await.is_ok());
            assert_eq!(world.row_count(&CHANNEL_MESSAGE).await, 0, "the first is purged");
            world.clock.advance(1);
            world.run_jobs().await;
            let is_there = describe(&world, &channel, &alice).await.is_ok();
            assert_eq!(is_there, successor == json!({}));
        }
    }
}

#[tokio::test]
async fn purge_of_an_app_instance_takes_the_jobs_of_its_channels() {
    let (mut world, alice, _) = world_with(created(1)).await;
    world.create_channel(&alice, json!({ "ExpirationSettings": last_message(9) })).await;
    let target = format!("/app-instances/{}", label(&world.app_instance));
    world.clock.set(START_MS + DAY);
    assert_eq!(world.delete(&target, "").await, Ok(Value::Null));
    world.heard();
    world.run_jobs().await;
    assert!(world.heard().is_empty(), "nobody is left to be told");
    assert_eq!(world.row_count(&JOB).await, 0);
}

#[tokio::test]
async fn expiry_that_fails_rests_and_is_done_later() {
    let (world, alice, channel) = world_with(created(1)).await;
    world.clock.set(START_MS + DAY);
    let engine = world.chat.0.store.engine().clone();
    let id = world.app_instance.rsplit('/').next().expect("an ARN has an id");
    let key = Channel::key_of(crate::ids::parse_uuid(id).expect("is a UUID"), "room");
    let row = engine.get(std::slice::from_ref(&key)).await.expect("is read").pop().flatten();
    let row = row.expect("is there");
    let (sound, uid) = (row.value.to_vec(), row.decode::<Channel>().expect("is readable").uid);
    for (value, works) in [(b"nonsense".to_vec(), false), (sound, true)] {
        let mut batch = store::Batch::new("damage", uid);
        batch.puts.push(Put { key: key.clone(), value });
        engine.commit(batch).await.expect("is written");
        assert_eq!(world.chat.run_job_step().await.is_ok(), works);
        if !works {
            assert_eq!(world.chat.run_job_step().await.expect("is read"), Step::Idle);
            world.clock.advance(JOB_RETRY_MS.unsigned_abs());
        }
    }
    world.run_jobs().await;
    assert_eq!(describe(&world, &channel, &alice).await, FORBIDDEN);
}

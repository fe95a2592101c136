use serde_json::{Value, json};

use crate::Effect;
use crate::job::{JOB, Step};
use crate::limits::DAY_MS;
use crate::testing::{BAD_REQUEST, CONFLICT, FORBIDDEN, Outcome, START_MS, World, label};

const DAY: u64 = DAY_MS.unsigned_abs();

fn settings(days: i32) -> Value {
    json!({ "ExpirationDays": days, "ExpirationCriterion": "CREATED_TIMESTAMP" })
}

fn path(user: &str) -> String {
    format!("/app-instance-users/{}", label(user))
}

async fn put(world: &World, user: &str, body: Value) -> Outcome {
    world.call("PUT", &format!("{}/expiration-settings", path(user)), "", body).await
}

async fn create(world: &mut World, id: &str, settings: Value) -> Outcome {
    let body = json!({
        "AppInstanceArn": world.app_instance, "AppInstanceUserId": id, "Name": id,
        "ClientRequestToken": world.token(), "ExpirationSettings": settings,
    });
    world.call("POST", "/app-instance-users", "", body).await
}

async fn shown(world: &World, user: &str) -> Option<Value> {
    let described = world.get(&path(user), "").await.expect("is there");
    described["AppInstanceUser"].get("ExpirationSettings").cloned()
}

/// A world with a user who goes after one day.
async fn world_with_guest() -> (World, String) {
    let mut world = World::new().await;
    let answer = create(&mut world, "guest", settings(1)).await.expect("is created");
    let guest = answer["AppInstanceUserArn"].as_str().expect("is text").to_owned();
    world.heard();
    (world, guest)
}

#[tokio::test]
async fn settings_are_shown_replaced_and_removed() {
    let (world, guest) = world_with_guest().await;
    assert_eq!(shown(&world, &guest).await, Some(settings(1)));
    for days in [5_475, 3, 3] {
        let body = json!({ "ExpirationSettings": settings(days) });
        let expected = json!({ "AppInstanceUserArn": guest, "ExpirationSettings": settings(days) });
        assert_eq!(put(&world, &guest, body).await, Ok(expected));
        assert_eq!(shown(&world, &guest).await, Some(settings(days)));
        assert_eq!(world.row_count(&JOB).await, 1);
    }
    for _ in 0..2 {
        let removed = put(&world, &guest, json!({})).await;
        assert_eq!(removed, Ok(json!({ "AppInstanceUserArn": guest })));
        assert_eq!(shown(&world, &guest).await, None);
        assert_eq!(world.row_count(&JOB).await, 0);
    }
    world.clock.advance(9_000 * DAY);
    assert_eq!(world.run_jobs().await, 0);
}

#[tokio::test]
async fn users_expire_by_their_creation_alone() {
    let (mut world, guest) = world_with_guest().await;
    let mut by_message = settings(1);
    by_message["ExpirationCriterion"] = json!("LAST_MESSAGE_TIMESTAMP");
    for wrong in [by_message, settings(0), settings(5_476), json!({ "ExpirationDays": 1 })] {
        let body = json!({ "ExpirationSettings": wrong });
        assert_eq!(put(&world, &guest, body).await, BAD_REQUEST, "{wrong}");
        assert_eq!(create(&mut world, "other", wrong).await, BAD_REQUEST);
    }
    let bot = world.create_bot("bot").await;
    let body = json!({ "ExpirationSettings": settings(1) });
    assert_eq!(put(&world, &bot, body.clone()).await, BAD_REQUEST);
    assert_eq!(put(&world, &format!("{guest}x"), body).await, FORBIDDEN);
    assert_eq!(create(&mut world, "guest", settings(2)).await, CONFLICT);
    assert_eq!(shown(&world, &guest).await, Some(settings(1)));
}

#[tokio::test]
async fn user_goes_at_his_moment_and_not_a_millisecond_before() {
    let (mut world, guest) = world_with_guest().await;
    let alice = world.create_user("alice").await;
    let channel = world.create_channel(&alice, json!({ "MemberArns": [guest] })).await;
    assert!(world.create_admin(&guest).await.is_ok());
    world.heard();
    world.clock.set(START_MS + DAY - 1);
    assert_eq!(world.run_jobs().await, 0);
    world.send(&channel, &guest, "still here").await.expect("is sent");
    world.heard();
    world.clock.advance(1);
    assert_eq!(world.chat.run_job_step().await.expect("the step is done"), Step::Worked);
    assert_eq!(world.get(&path(&guest), "").await, FORBIDDEN);
    let heard = world.heard();
    assert_eq!(heard.len(), 1);
    assert!(matches!(heard[0].effect, Some(Effect::UserGone { .. })));
    let admins = format!("/app-instances/{}/admins", label(&world.app_instance));
    let admins = world.get(&admins, "").await.expect("is answered");
    assert_eq!(admins["AppInstanceAdmins"], json!([]));
    world.run_jobs().await;
    assert_eq!(world.members(&channel, &alice, "").await, ["alice"]);
    assert_eq!(world.heard()[0].event_type, "DELETE_CHANNEL_MEMBERSHIP");
    assert_eq!(world.row_count(&JOB).await, 0);
}

#[tokio::test]
async fn days_count_from_creation_whenever_they_are_set() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    world.clock.set(START_MS + 3 * DAY);
    let body = |days| json!({ "ExpirationSettings": settings(days) });
    assert!(put(&world, &alice, body(4)).await.is_ok());
    assert_eq!(world.run_jobs().await, 0);
    assert!(put(&world, &alice, body(2)).await.is_ok());
    assert!(put(&world, &alice, body(4)).await.is_ok(), "he is there until the job has come");
    assert_eq!(world.run_jobs().await, 0);
    assert!(put(&world, &alice, body(3)).await.is_ok());
    assert!(world.run_jobs().await > 0);
    assert_eq!(world.get(&path(&alice), "").await, FORBIDDEN);
}

#[tokio::test]
async fn successor_under_the_same_id_is_not_touched() {
    for deleted_ms in [START_MS + 1, START_MS + DAY, START_MS + DAY + 1] {
        let (mut world, guest) = world_with_guest().await;
        world.clock.set(deleted_ms);
        assert!(world.delete(&path(&guest), "").await.is_ok());
        assert_eq!(world.create_user("guest").await, guest);
        world.clock.set(deleted_ms + 3 * DAY);
        assert!(world.run_jobs().await > 0);
        assert_eq!(shown(&world, &guest).await, None, "he is there");
        assert_eq!(world.row_count(&JOB).await, 0);
    }
}

#[tokio::test]
async fn nodes_in_turn_do_each_step_once() {
    let (mut world, guest) = world_with_guest().await;
    let alice = world.create_user("alice").await;
    for _ in 0..3 {
        world.create_channel(&alice, json!({ "MemberArns": [guest] })).await;
    }
    world.heard();
    world.clock.set(START_MS + DAY);
    let nodes = [world.chat.clone(), world.other_node().await];
    let mut steps = 0;
    while nodes[steps % 2].run_job_step().await.expect("the step is done") == Step::Worked {
        steps += 1;
    }
    assert_eq!(steps, 1 + 3 + 1, "the user, his channels, what is his own");
    assert_eq!(world.heard().len(), 1 + 3);
    assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
}

//! Jobs of every kind, stopped between any two steps, with outcomes that are lost, and by two nodes at
//! once: the rows and what was told are those of one undisturbed run.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
#[cfg(feature = "postgres-tests")]
use store::table::HOME;
use store::{Direction, Engine, Key, Kind, Range, Table};

use crate::idempotency::REQUEST_TOKEN;
use crate::job::tests::{add_all, create_users, delete_channel, delete_user, first_job};
use crate::job::{JOB, Job, Task, commit};
use crate::limits::{BALANCE_DELAY_MS, JOB_RETRY_MS};
use crate::messaging::channel_membership::departure::DEPARTURE;
use crate::testing::{Heard, World, label, text};
use crate::{Quotas, Step};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// What comes before the stamp in the key of a departure: bucket, member and home.
const DEPARTURE_BYTES: usize = 4 + 16 + 16;
/// More steps than the work has.
pub(super) const STEPS_MAX: usize = 5_000;

/// Rows as they are left and events as they were told, without times.
#[derive(Debug, PartialEq)]
pub(super) struct Left {
    rows: BTreeMap<(&'static str, Vec<u8>), Value>,
    told: Vec<String>,
}

async fn memory() -> World {
    World::on(store::memory::open, quotas()).await
}

pub(super) fn quotas() -> Quotas {
    let mut quotas = Quotas::default();
    quotas.set("elastic-channels", 10).expect("is a quota");
    quotas
}

async fn elastic(world: &mut World, owner: &str) -> String {
    let elastic = json!({ "MaximumSubChannels": 3, "TargetMembershipsPerSubChannel": 4,
        "MinimumMembershipPercentage": 40 });
    world.create_channel(owner, json!({ "ElasticChannelConfiguration": elastic })).await
}

/// Makes work of every kind that is due.
pub(super) async fn with_work(world: &mut World) {
    let alice = world.create_user("alice").await;
    let users = create_users(world, "user", 12).await;
    let scale_in = spread(world, &alice, &users[..6]).await;
    let scale_in_moderated = spread(world, &alice, &users[..6]).await;
    // What expires, and messages that retention takes.
    let days = json!({ "ExpirationDays": 1, "ExpirationCriterion": "CREATED_TIMESTAMP" });
    let expiring = json!({ "ExpirationSettings": days });
    world.create_channel(&alice, expiring.clone()).await;
    let body = json!({ "AppInstanceArn": world.app_instance, "AppInstanceUserId": "guest",
        "Name": "guest", "ClientRequestToken": "guest", "ExpirationSettings": days });
    let guest = world.call("POST", "/app-instance-users", "", body).await.expect("is created");
    let guest = text(&guest["AppInstanceUserArn"]);
    let kept = world.create_channel(&alice, json!({ "MemberArns": [guest] })).await;
    for _ in 0..120 {
        world.send(&kept, &guest, "old").await.expect("is sent");
    }
    let retention = json!({ "ChannelRetentionSettings": { "RetentionDays": 1 } });
    let body = json!({ "AppInstanceRetentionSettings": retention });
    let target = format!("/app-instances/{}/retention-settings", label(&world.app_instance));
    assert!(world.call("PUT", &target, "", body).await.is_ok());
    world.clock.advance(32 * DAY_MS);
    // Balancing in both directions, of channels in which nobody is deleted.
    let scale_out = elastic(world, &alice).await;
    add_all(world, &scale_out, &alice, &users[..5]).await;
    narrow(world, &scale_in, &alice, Last::Member).await;
    narrow(world, &scale_in_moderated, &alice, Last::Moderator).await;
    // What was deleted.
    let gone = world.create_channel(&alice, json!({ "ModeratorArns": [users[0]] })).await;
    add_all(world, &gone, &alice, &users[1..]).await;
    for _ in 0..120 {
        world.send(&gone, &alice, "hello").await.expect("is sent");
    }
    let elastic_gone = elastic(world, &alice).await;
    add_all(world, &elastic_gone, &alice, &users[..9]).await;
    let bot = world.create_bot("bot").await;
    let open = world.create_channel(&alice, json!({ "MemberArns": [bot] })).await;
    add_all(world, &open, &alice, &users[6..]).await;
    assert!(world.ban(&open, &alice, &users[10]).await.is_ok());
    doom_an_app_instance(world).await;
    delete_channel(world, &gone, &alice).await;
    delete_channel(world, &elastic_gone, &alice).await;
    for user in [&users[7], &users[10]] {
        delete_user(world, user).await;
    }
    assert!(world.delete(&format!("/app-instance-bots/{}", label(&bot)), "").await.is_ok());
    world.clock.advance(u64::try_from(BALANCE_DELAY_MS).expect("is positive"));
    world.heard();
}

/// Returns an elastic channel of two sub-channels with three members each.
async fn spread(world: &mut World, owner: &str, users: &[String]) -> String {
    let channel = elastic(world, owner).await;
    add_all(world, &channel, owner, users).await;
    world.run_jobs().await;
    channel
}

/// Takes everybody out of the second sub-channel of a channel that was spread, but for one member or,
/// in his place, the owner.
async fn narrow(world: &World, channel: &str, owner: &str, last: Last) {
    let list = format!("/channels/{}/subchannels", label(channel));
    let all = world.pages(&list, owner, "SubChannels").await;
    let second = text(&all[1]["SubChannelId"]);
    let list = format!("/channels/{}/memberships?sub-channel-id={second}", label(channel));
    let members = world.pages(&list, owner, "ChannelMemberships").await;
    let kept = match last {
        Last::Member => 1,
        Last::Moderator => 0,
    };
    if last == Last::Moderator {
        let body = json!({ "MemberArn": owner, "Type": "DEFAULT", "SubChannelId": second });
        let target = format!("/channels/{}/memberships", label(channel));
        assert!(world.call("POST", &target, owner, body).await.is_ok());
    }
    for member in &members[kept..] {
        let member = text(&member["Member"]["Arn"]);
        assert!(world.leave(channel, &member, &member).await.is_ok());
    }
}

/// Who stays in a sub-channel that is to go.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Member,
    Moderator,
}

async fn doom_an_app_instance(world: &mut World) {
    let kept = world.app_instance.clone();
    world.app_instance = world.create_app_instance("doomed").await;
    let (carol, dave) = (world.create_user("carol").await, world.create_user("dave").await);
    assert!(world.create_admin(&carol).await.is_ok());
    let bot = world.create_bot("bot").await;
    let flow = world.create_flow("CONTINUE").await;
    let channel = world.create_channel(&carol, json!({ "MemberArns": [dave, bot] })).await;
    assert!(world.associate(&channel, &carol, &flow).await.is_ok());
    for _ in 0..30 {
        world.send(&channel, &dave, "hello").await.expect("is sent");
    }
    let large = elastic(world, &carol).await;
    assert!(world.join(&large, &carol, &dave).await.is_ok());
    world.register_device(&carol, "device").await.expect("is registered");
    let target = format!("/app-instances/{}", label(&world.app_instance));
    assert_eq!(world.delete(&target, "").await, Ok(Value::Null));
    world.app_instance = kept;
}

/// Returns what is left once nothing is due: the pass of retention rests for hours.
pub(super) async fn left(world: &mut World, heard: Vec<Heard>) -> Left {
    let job = first_job(world).await;
    assert!(matches!(job.task, Task::Retain(_)), "{job:?}");
    assert_eq!(world.row_count(&JOB).await, 1);
    assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
    let mut rows = BTreeMap::new();
    let passed = [&JOB, &REQUEST_TOKEN].map(|table| table.name);
    for table in crate::tables().into_iter().filter(|table| !passed.contains(&table.name)) {
        let all = Range::prefix(Key::new(table));
        let all = world.chat.0.store.view().list(&all, usize::MAX, Direction::Forward).await;
        for row in all.expect("the store answers") {
            let mut value = match table.kind {
                Kind::Record => store::codec::decode(&row.value).expect("is JSON"),
                Kind::Counter => json!(row.count()),
                Kind::Index | Kind::Home => json!(row.value.to_vec()),
            };
            without_times(&mut value);
            rows.insert((table.name, without_stamp(table, &row.key)), value);
        }
    }
    let mut told: Vec<String> = heard
        .into_iter()
        .map(|mut heard| {
            without_times(&mut heard.payload);
            format!("{heard:?}")
        })
        .collect();
    told.sort();
    Left { rows, told }
}

/// Returns a key without the time and number of the commit that put the row.
fn without_stamp(table: &Table, key: &[u8]) -> Vec<u8> {
    let end = if table.name == DEPARTURE.name { DEPARTURE_BYTES } else { key.len() };
    key[..end].to_vec()
}

fn without_times(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !name.ends_with("_ms") && !name.ends_with("Timestamp"));
            members.values_mut().for_each(without_times);
        }
        Value::Array(items) => items.iter_mut().for_each(without_times),
        _ => {}
    }
}

/// The work of a world, done by nobody else and without a stop.
pub(super) async fn undisturbed() -> Left {
    let mut world = memory().await;
    with_work(&mut world).await;
    let before = world.row_count(&JOB).await;
    assert!(before >= 10, "{before}");
    let step_count = world.run_jobs().await;
    assert!(step_count > 40, "{step_count}");
    let heard = world.heard();
    left(&mut world, heard).await
}

/// Asserts that two nodes left what one leaves. Whose commit came first shows in the rows of homes.
#[cfg(feature = "postgres-tests")]
pub(super) fn assert_same_of_nodes(mut found: Left, mut expected: Left) {
    for left in [&mut found, &mut expected] {
        left.rows.retain(|(table, _), _| *table != HOME.name);
    }
    assert_same(&found, &expected);
}

fn assert_same(found: &Left, expected: &Left) {
    assert_eq!(found.told, expected.told, "each event is told once");
    let keys = |left: &Left| left.rows.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(found), keys(expected), "the same rows are left");
    assert_eq!(found.rows, expected.rows);
}

#[tokio::test]
async fn work_that_stops_after_every_step_is_done_once() {
    let expected = undisturbed().await;
    for kind in ["UPDATE_CHANNEL_MEMBERSHIP", "subchannel_DELETED", "DELETE_CHANNEL\"", "UserGone"]
    {
        assert!(expected.told.iter().any(|told| told.contains(kind)), "{kind} is among the work");
    }
    let mut world = memory().await;
    with_work(&mut world).await;
    for _ in 0..STEPS_MAX {
        // A node that knows nothing of the steps before.
        let node = world.other_node().await;
        if node.run_job_step().await.expect("is done") == Step::Idle {
            break;
        }
        assert_eq!(node.check().await.expect("the store answers").findings, []);
    }
    let heard = world.heard();
    assert_same(&left(&mut world, heard).await, &expected);
}

#[tokio::test]
async fn work_on_a_store_that_is_opened_anew_for_every_step_is_done_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let open = |options| -> Arc<dyn Engine> {
        store::sqlite::open(folder.path(), options).expect("opens")
    };
    let mut world = World::on(open, quotas()).await;
    with_work(&mut world).await;
    let mut heard = Vec::new();
    for _ in 0..STEPS_MAX {
        let step = world.chat.run_job_step().await.expect("is done");
        heard.extend(world.heard());
        if step == Step::Idle {
            break;
        }
        world.reopen(open).await;
    }
    assert_same(&left(&mut world, heard).await, &undisturbed().await);
}

#[tokio::test]
async fn work_whose_every_outcome_is_lost_is_done_once() {
    let mut world = memory().await;
    with_work(&mut world).await;
    let mut lost = 0;
    for _ in 0..STEPS_MAX {
        world.engine.lose_outcome();
        match world.chat.run_job_step().await {
            Ok(Step::Idle) if world.row_count(&JOB).await == 1 => break,
            Ok(Step::Idle) => world.clock.advance(u64::try_from(JOB_RETRY_MS).expect("positive")),
            Ok(step) => panic!("the outcome of {step:?} was told"),
            Err(_) => lost += 1,
        }
        world.engine.tell_outcomes();
        assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
    }
    world.engine.tell_outcomes();
    assert!(lost > 40, "{lost}");
    let heard = world.heard();
    assert_same(&left(&mut world, heard).await, &undisturbed().await);
}

#[tokio::test]
async fn work_that_two_nodes_prepare_at_once_is_done_once() {
    let mut world = memory().await;
    with_work(&mut world).await;
    let other = world.other_node().await;
    for _ in 0..STEPS_MAX {
        let job: Job = first_job(&world).await;
        if matches!(job.task, Task::Retain(_)) && world.row_count(&JOB).await == 1 {
            break;
        }
        let ours = world.chat.prepare(&job).await.expect("is read").expect("the job is there");
        let theirs = other.prepare(&job).await.expect("is read").expect("the job is there");
        assert_eq!(commit(theirs, "job_step").await.expect("is judged"), Step::Worked);
        assert_eq!(commit(ours, "job_step").await.expect("is judged"), Step::Overtaken);
    }
    while world.chat.run_job_step().await.expect("is done") == Step::Worked {}
    let heard = world.heard();
    assert_same(&left(&mut world, heard).await, &undisturbed().await);
}

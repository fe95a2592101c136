use serde_json::json;
use store::{Add, Batch, Key, Put, Uid};

use super::*;
use crate::identity::app_instance_user_endpoint::APP_INSTANCE_USER_ENDPOINT_BY_DEVICE;
use crate::testing::{World, label};

/// A store with everything in it, some of it deleted.
async fn world() -> World {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let carol = world.create_user("carol").await;
    assert!(world.create_admin(&carol).await.is_ok());
    let tags = json!([{ "Key": "a", "Value": "b" }]);
    let bot = world.create_bot("bot").await;
    assert!(world.create_admin(&bot).await.is_ok());
    let body = json!({ "ResourceARN": bot, "Tags": tags });
    assert!(world.call("POST", "/tags?operation=tag-resource", "", body).await.is_ok());
    world.register_device(&alice, "device").await.expect("is registered");
    world.register_device(&bob, "device").await.expect("is registered");
    let more = json!({ "MemberArns": [bob, bot], "ModeratorArns": [carol], "Tags": tags });
    let channel = world.create_channel(&alice, more).await;
    let gone = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    for index in 0..5 {
        world.send(&channel, &alice, &index.to_string()).await.expect("is sent");
        world.send(&gone, &bob, &index.to_string()).await.expect("is sent");
    }
    let target = json!([{ "MemberArn": bob }]);
    world.send_with(&channel, &alice, json!({ "Target": target })).await.expect("is sent");
    set_for_himself(&world, &channel, &bob).await;
    set_for_himself(&world, &gone, &bob).await;
    let messages = world.messages(&channel, &alice, "").await.expect("is readable");
    let path = |index: usize| {
        let id = messages["ChannelMessages"][index]["MessageId"].as_str().expect("is text");
        format!("/channels/{}/messages/{id}", label(&channel))
    };
    let new = json!({ "Content": "new" });
    assert!(world.call("PUT", &path(1), &alice, new).await.is_ok());
    let redact = format!("{}?operation=redact", path(2));
    assert!(world.call("POST", &redact, &alice, json!({})).await.is_ok());
    for index in [1, 3] {
        assert!(world.delete(&path(index), &carol).await.is_ok());
    }
    let flow = world.create_flow("ABORT").await;
    for channel in [&channel, &gone] {
        assert!(world.associate(channel, &alice, &flow).await.is_ok());
    }
    world.send(&channel, &alice, "fails").await.expect("is taken");
    assert!(world.leave(&channel, &alice, &bob).await.is_ok());
    assert!(world.join_as(&channel, &alice, &bob, "HIDDEN").await.is_ok());
    let dave = world.create_user("dave").await;
    let erin = world.create_user("erin").await;
    for (channel, banned) in [(&channel, &dave), (&channel, &erin), (&gone, &dave)] {
        assert!(world.ban(channel, &alice, banned).await.is_ok());
    }
    assert!(world.delete(&format!("/app-instance-users/{}", label(&erin)), "").await.is_ok());
    set_for_himself(&world, &channel, &alice).await;
    set_for_himself(&world, &channel, &bob).await;
    assert!(world.delete(&format!("/channels/{}", label(&gone)), &alice).await.is_ok());
    assert!(world.delete(&format!("/app-instance-users/{}", label(&bob)), "").await.is_ok());
    world
}

/// Puts what a member may put for himself: a read marker and preferences.
async fn set_for_himself(world: &World, channel: &str, member: &str) {
    let channel = label(channel);
    let marker = format!("/channels/{channel}/readMarker");
    assert!(world.call("PUT", &marker, member, json!({})).await.is_ok());
    let preferences = format!("/channels/{channel}/memberships/{}/preferences", label(member));
    let none = json!({ "PushNotifications": { "AllowNotifications": "NONE" } });
    let body = json!({ "Preferences": none });
    assert!(world.call("PUT", &preferences, member, body).await.is_ok());
}

async fn tables_with_findings(world: &World) -> Vec<&'static str> {
    let report = world.chat.check().await.expect("the store answers");
    assert_eq!(report.finding_count, u64::try_from(report.findings.len()).expect("few"));
    report.findings.iter().map(|finding| finding.table).collect()
}

fn instance(world: &World) -> Uid {
    let id = world.app_instance.rsplit('/').next().expect("an ARN has an id");
    crate::ids::parse_uuid(id).expect("the id is a UUID")
}

#[tokio::test]
async fn sound_store_has_no_findings() {
    let world = world().await;
    let report = world.chat.check().await.expect("the store answers");
    assert_eq!(report.findings, []);
    assert!(report.row_count > 40, "{}", report.row_count);
}

type Damage = Box<dyn Fn(&World, &mut Batch)>;

/// Returns kinds of damage and the table in which each is found.
fn damages() -> [(&'static str, Damage); 8] {
    [
        (
            // It belongs to no membership.
            "channel_read_marker",
            Box::new(move |world, batch| {
                let marker = &crate::messaging::channel_read_marker::CHANNEL_READ_MARKER;
                let key = Key::new(marker).uid(instance(world)).uid(instance(world));
                batch.puts.push(Put { key, value: store::codec::encode(&json!({})) });
            }),
        ),
        (
            "resource_count",
            Box::new(|world, batch| {
                let key = crate::limits::CHANNELS.key(instance(world));
                batch.adds.push(Add { key, delta: 1, max: None });
            }),
        ),
        (
            "channel_by_privacy",
            Box::new(|_, batch| {
                let key =
                    Key::new(&crate::messaging::channel::CHANNEL_BY_PRIVACY).uid(Uid([7; 16]));
                batch.puts.push(Put { key, value: Vec::new() });
            }),
        ),
        (
            // No endpoint says so.
            "app_instance_user_endpoint_by_device",
            Box::new(|_, batch| {
                let key = Key::new(&APP_INSTANCE_USER_ENDPOINT_BY_DEVICE);
                let key = key.uid(Uid([7; 16])).uid(Uid([8; 16]));
                batch.puts.push(Put { key, value: Vec::new() });
            }),
        ),
        (
            "app_instance_user",
            Box::new(|world, batch| {
                let key = AppInstanceUser::key_of(instance(world), "alice");
                batch.puts.push(Put { key, value: b"nonsense".to_vec() });
            }),
        ),
        (
            "event",
            Box::new(|_, batch| {
                let stamp = Stamp { ms: 1, seq: 1 };
                let key = store::table::event_key(batch.home, stamp, 0);
                batch.puts.push(Put { key, value: b"{}".to_vec() });
            }),
        ),
        (
            // The message that it refers to is not there.
            "event",
            Box::new(|world, batch| {
                let stamp = Stamp { ms: 1, seq: 1 };
                let key = store::table::event_key(instance(world), stamp, 0);
                let value = store::codec::encode(&json!({ "event": "CREATE_CHANNEL_MESSAGE" }));
                batch.puts.push(Put { key, value });
            }),
        ),
        (
            "job",
            Box::new(|_, batch| {
                let key = Key::new(&crate::job::JOB).u64(1).uid(Uid([7; 16]));
                batch.puts.push(Put { key, value: b"{}".to_vec() });
            }),
        ),
    ]
}

#[tokio::test]
async fn each_kind_of_damage_is_found() {
    for (table, damage) in damages() {
        let world = world().await;
        let mut batch = Batch::new("damage", Uid([9; 16]));
        damage(&world, &mut batch);
        world.chat.0.store.engine().commit(batch).await.expect("is written");
        let found = tables_with_findings(&world).await;
        assert!(found.contains(&table), "{table}: {found:?}");
    }
}

#[tokio::test]
async fn lost_message_is_excused_by_its_own_deletion_alone() {
    for (deleted, expected) in [(1, Vec::new()), (2, vec!["event"])] {
        let world = world().await;
        let mut batch = Batch::new("events", instance(&world));
        let rows = [
            (1, json!({ "event": "CREATE_CHANNEL_MESSAGE" })),
            (2, json!({ "event": "REDACT_CHANNEL_MESSAGE", "of": Stamp { ms: 1, seq: 1 } })),
            (3, json!({ "event": "DELETE_CHANNEL_MESSAGE", "of": Stamp { ms: 1, seq: deleted } })),
        ];
        for (seq, row) in rows {
            let key = store::table::event_key(batch.home, Stamp { ms: 1, seq }, 0);
            batch.puts.push(Put { key, value: store::codec::encode(&row) });
        }
        world.chat.0.store.engine().commit(batch).await.expect("is written");
        assert_eq!(tables_with_findings(&world).await, expected, "{deleted}");
    }
}

#[tokio::test]
async fn leftovers_of_what_no_job_will_purge_are_found() {
    let world = world().await;
    let gone = Uid([7; 16]);
    let mut batch = Batch::new("leftovers", gone);
    let bob = json!({ "uid": gone, "kind": "User", "id": "bob", "name": "bob" });
    let ban = json!({
        "channel": gone, "channel_id": "room", "member": bob, "created_by": bob, "created_ms": 1,
    });
    let key = crate::messaging::channel_ban::key_of(gone, gone);
    batch.puts.push(Put { key, value: store::codec::encode(&ban) });
    let key = Key::new(&crate::messaging::channel_ban::CHANNEL_BAN_BY_MEMBER).uid(gone).uid(gone);
    batch.puts.push(Put { key, value: b"room".to_vec() });
    let key = crate::identity::tags::key_of(gone, "a");
    let tag = json!({ "uid": gone, "key": "a", "value": "b" });
    batch.puts.push(Put { key, value: store::codec::encode(&tag) });
    let count = crate::limits::RESOURCE_TAGS.key(gone);
    batch.adds.push(Add { key: count, delta: 1, max: None });
    world.chat.0.store.engine().commit(batch).await.expect("is written");
    let found = tables_with_findings(&world).await;
    assert_eq!(found, ["channel_ban", "resource_tag", "resource_count", "home"]);
}

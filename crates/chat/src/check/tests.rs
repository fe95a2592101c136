use serde_json::json;
use store::{Add, Batch, Key, Put, Uid};

use super::*;
use crate::testing::{World, label};

/// A store with everything in it, some of it deleted.
async fn world() -> World {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let carol = world.create_user("carol").await;
    assert!(world.create_admin(&carol).await.is_ok());
    let tags = json!([{ "Key": "a", "Value": "b" }]);
    let more = json!({ "MemberArns": [bob], "ModeratorArns": [carol], "Tags": tags });
    let channel = world.create_channel(&alice, more).await;
    let gone = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    for index in 0..5 {
        world.send(&channel, &alice, &index.to_string()).await.expect("is sent");
        world.send(&gone, &bob, &index.to_string()).await.expect("is sent");
    }
    let target = json!([{ "MemberArn": bob }]);
    world.send_with(&channel, &alice, json!({ "Target": target })).await.expect("is sent");
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
    assert!(world.delete(&format!("/channels/{}", label(&gone)), &alice).await.is_ok());
    assert!(world.delete(&format!("/app-instance-users/{}", label(&bob)), "").await.is_ok());
    world
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

#[tokio::test]
async fn each_kind_of_damage_is_found() {
    type Damage = Box<dyn Fn(&World, &mut Batch)>;
    let cases: [(&str, Damage); 6] = [
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
    ];
    for (table, damage) in cases {
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
    let ban = Key::new(&CHANNEL_BAN).uid(gone).uid(gone);
    batch.puts.push(Put { key: ban, value: Vec::new() });
    let tags = json!({ "uid": gone, "tags": {} });
    let tags = Put { key: crate::identity::tags::key_of(gone), value: store::codec::encode(&tags) };
    batch.puts.push(tags);
    let count = crate::limits::CHANNEL_MEMBERSHIPS.key(gone);
    batch.adds.push(Add { key: count, delta: 0, max: None });
    world.chat.0.store.engine().commit(batch).await.expect("is written");
    let found = tables_with_findings(&world).await;
    assert_eq!(found, ["resource_tag", "channel_ban", "resource_count", "home"]);
}

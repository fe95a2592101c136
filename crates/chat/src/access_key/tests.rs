use serde_json::Value;

use super::*;
use crate::limits::{Quotas, RESOURCE_COUNT};
use crate::testing::{FORBIDDEN, START_MS, World, label};

const START: i64 = START_MS as i64;

async fn make(world: &World, owner: Owner, expires_ms: Option<i64>) -> AccessKey {
    world.chat.create_access_key(&owner, expires_ms).await.expect("is made")
}

async fn grant(world: &World, key: &AccessKey) -> Option<Grant> {
    world.chat.access_key_grant(&key.id).await.expect("the store answers")
}

async fn count(world: &World) -> i64 {
    let key = limits::ACCESS_KEYS.key(ACCOUNT);
    world.chat.0.store.view().count(&key).await.expect("the store answers")
}

async fn is_sound(world: &World) {
    assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
}

#[tokio::test]
async fn a_key_is_found_with_its_scope_by_every_node_until_it_is_deleted() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let key = make(&world, Owner::User(alice.clone()), Some(START + 1)).await;
    let of_all = make(&world, Owner::AppInstance(world.app_instance.clone()), None).await;
    assert_eq!((key.owner.clone(), key.created_ms), (Owner::User(alice), START));
    assert_ne!(key.id, of_all.id);
    let other = world.other_node().await;
    let found = other.access_key_grant(&key.id).await.unwrap().expect("is there");
    assert_eq!(found.expires_ms, Some(START + 1));
    let secrets = [&world.chat, &other].map(|chat| chat.access_key_secret(&key.id).unwrap());
    assert_eq!(secrets[0].expose(), secrets[1].expose());
    assert_eq!((count(&world).await, world.chat.access_keys(None).await.unwrap().len()), (2, 2));
    is_sound(&world).await;
    assert!(world.chat.delete_access_key(&key.id).await.unwrap());
    assert!(!world.chat.delete_access_key(&key.id).await.unwrap());
    assert!(other.access_key_grant(&key.id).await.unwrap().is_none());
    assert!(grant(&world, &of_all).await.is_some());
    assert_eq!(count(&world).await, 1);
    is_sound(&world).await;
}

#[tokio::test]
async fn ids_that_this_store_did_not_make_have_no_secret_and_no_grant() {
    let world = World::new().await;
    for id in ["", "AKIDEXAMPLE", "CAMPANILEAAAAAAAAAAAAAAAAAAAAAAAA", "CAMPANILE"] {
        assert!(world.chat.access_key_secret(id).is_none());
        assert!(world.chat.access_key_grant(id).await.unwrap().is_none());
        assert!(!world.chat.delete_access_key(id).await.unwrap());
    }
}

#[tokio::test]
async fn a_key_is_made_for_a_live_owner_of_the_right_kind_and_for_a_time_to_come() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let instance = world.app_instance.clone();
    let nobody = format!("{instance}/user/nobody");
    let foreign = alice.replace("us-east-1", "eu-west-1");
    let gone = instance.replace(&instance[instance.len() - 4..], "0000");
    for owner in [
        Owner::User(instance.clone()),
        Owner::User(nobody),
        Owner::User(foreign),
        Owner::User(String::new()),
        Owner::AppInstance(alice.clone()),
        Owner::AppInstance(gone),
    ] {
        let refused = world.chat.create_access_key(&owner, None).await;
        assert!(matches!(refused, Err(AccessKeyError::UnknownOwner(_))), "{owner:?}");
    }
    let refused = world.chat.create_access_key(&Owner::User(alice), Some(START)).await;
    assert!(matches!(refused, Err(AccessKeyError::Expired)));
    assert_eq!(count(&world).await, 0);
}

#[tokio::test]
async fn keys_are_a_quota_and_a_deleted_one_frees_its_place() {
    let mut quotas = Quotas::default();
    quotas.set("access-keys", 1).unwrap();
    let world = World::with_quotas(quotas).await;
    let owner = Owner::AppInstance(world.app_instance.clone());
    let key = make(&world, owner.clone(), None).await;
    let refused = world.chat.create_access_key(&owner, None).await;
    assert!(matches!(refused, Err(AccessKeyError::Full(1))));
    assert!(world.chat.delete_access_key(&key.id).await.unwrap());
    assert!(world.chat.create_access_key(&owner, None).await.is_ok());
}

#[tokio::test]
async fn keys_go_with_their_owner_and_never_serve_a_successor() {
    let mut world = World::new().await;
    let (alice, bob) = (world.create_user("alice").await, world.create_user("bob").await);
    let mut of_alice = Vec::new();
    for _ in 0..60 {
        of_alice.push(make(&world, Owner::User(alice.clone()), Some(START + 1_000)).await);
    }
    let of_bob = make(&world, Owner::User(bob.clone()), None).await;
    let of_all = make(&world, Owner::AppInstance(world.app_instance.clone()), None).await;
    let target = format!("/app-instance-users/{}", label(&alice));
    world.delete(&target, "").await.expect("is deleted");
    let scope = grant(&world, &of_alice[0]).await.expect("is still to be purged").scope;
    assert_eq!(world.create_user("alice").await, alice);
    let refused = world.call_as(scope, "GET", &target, "", Value::Null).await;
    assert_eq!(refused, FORBIDDEN);
    world.run_jobs().await;
    assert_eq!(count(&world).await, 2);
    assert!(grant(&world, &of_alice[0]).await.is_none() && grant(&world, &of_bob).await.is_some());
    let target = format!("/app-instances/{}", label(&world.app_instance));
    world.delete(&target, "").await.expect("is deleted");
    world.run_jobs().await;
    assert_eq!(count(&world).await, 0);
    assert!(grant(&world, &of_all).await.is_none());
    for table in TABLES {
        assert_eq!(world.row_count(table).await, 0, "{}", table.name);
    }
    assert_eq!(world.row_count(&RESOURCE_COUNT).await, 2, "the account's own counters stay");
}

#[tokio::test]
async fn keys_are_swept_a_day_after_their_expiry() {
    let world = World::new().await;
    let owner = Owner::AppInstance(world.app_instance.clone());
    let lasting = make(&world, owner.clone(), None).await;
    let brief = make(&world, owner, Some(START + 1_000)).await;
    world.clock.set(START_MS + 1_000 + 24 * 60 * 60 * 1_000);
    sweep_all(&world).await;
    assert!(grant(&world, &brief).await.is_some());
    world.clock.set(START_MS + 1_001 + 24 * 60 * 60 * 1_000);
    sweep_all(&world).await;
    assert!(grant(&world, &brief).await.is_none() && grant(&world, &lasting).await.is_some());
    assert_eq!(count(&world).await, 1);
    is_sound(&world).await;
}

async fn sweep_all(world: &World) {
    while world.chat.run_sweep_step().await.expect("the step is done") != crate::Step::Idle {}
}

#[tokio::test]
async fn pages_of_keys_hold_each_key_once() {
    let world = World::new().await;
    let owner = Owner::AppInstance(world.app_instance.clone());
    for _ in 0..=ACCESS_KEYS_PAGE {
        make(&world, owner.clone(), None).await;
    }
    let mut ids = std::collections::BTreeSet::new();
    let mut last: Option<String> = None;
    loop {
        let page = world.chat.access_keys(last.as_deref()).await.unwrap();
        assert!(page.iter().all(|key| ids.insert(key.id.clone())));
        last = page.last().map(|key| key.id.clone()).or(last);
        if page.len() < ACCESS_KEYS_PAGE {
            break;
        }
    }
    assert_eq!(ids.len(), ACCESS_KEYS_PAGE + 1);
}

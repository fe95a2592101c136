use serde_json::{Value, json};

use super::*;
use crate::testing::{FORBIDDEN, Outcome, UNAUTHORIZED, World, label};

/// Alice and Bob in one app instance, a stranger in another, and a scope of each kind.
struct Scene {
    world: World,
    alice: String,
    bob: String,
    other_instance: String,
    stranger: String,
    of_alice: Scope,
    of_instance: Scope,
}

impl Scene {
    async fn new() -> Self {
        let mut world = World::new().await;
        let (alice, bob) = (world.create_user("alice").await, world.create_user("bob").await);
        let other_instance = world.create_app_instance("other").await;
        let own_instance = std::mem::replace(&mut world.app_instance, other_instance.clone());
        let stranger = world.create_user("alice").await;
        world.app_instance = own_instance;
        let user = world.chat.connect(&alice).await.unwrap().expect("is live");
        let SessionUser { app_instance, user: uid } = user;
        let of_alice =
            Scope::Principal { app_instance, uid, is_bot: false, id: "alice".to_owned() };
        let of_instance = Scope::AppInstance(app_instance);
        Self { world, alice, bob, other_instance, stranger, of_alice, of_instance }
    }

    async fn call(&self, scope: &Scope, method: &str, target: &str, bearer: &str) -> Outcome {
        self.world.call_as(scope.clone(), method, target, bearer, body(method)).await
    }

    /// Whether the policy lets a request pass; what the rule says then does not matter.
    async fn passes(&self, scope: &Scope, method: &str, target: &str, bearer: &str) -> bool {
        let as_root = self.call(&Scope::Root, method, target, bearer).await;
        let outcome = self.call(scope, method, target, bearer).await;
        assert!(outcome == as_root || outcome == FORBIDDEN, "{method} {target}: {outcome:?}");
        assert_ne!(as_root, FORBIDDEN, "{method} {target}: the test could not tell");
        outcome == as_root
    }
}

fn body(method: &str) -> Value {
    match method {
        "PUT" => json!({ "Name": "alice", "Metadata": "", "AllowMessages": "ALL" }),
        _ => Value::Null,
    }
}

fn user(arn: &str) -> String {
    format!("/app-instance-users/{}", label(arn))
}

#[tokio::test]
async fn a_users_key_acts_for_him_and_for_nobody_else() {
    let mut scene = Scene::new().await;
    let (alice, bob) = (scene.alice.clone(), scene.bob.clone());
    let channel = scene.world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    let target = format!("/channels/{}", label(&channel));
    assert!(scene.passes(&scene.of_alice, "GET", &target, &alice).await);
    assert!(!scene.passes(&scene.of_alice, "GET", &target, &bob).await);
    let messages = format!("{target}/messages");
    let body = json!({
        "Content": "x", "Type": "STANDARD", "Persistence": "PERSISTENT", "ClientRequestToken": "token-t",
    });
    let send = |bearer: &str| {
        let body = body.clone();
        let (scope, messages, bearer) =
            (scene.of_alice.clone(), messages.clone(), bearer.to_owned());
        let world = &scene.world;
        async move { world.call_as(scope, "POST", &messages, &bearer, body).await }
    };
    assert!(send(&alice).await.is_ok());
    assert_eq!(send(&bob).await, FORBIDDEN);
    assert_eq!(send(&scene.stranger).await, FORBIDDEN);
    assert_eq!(send("").await, UNAUTHORIZED);
}

#[tokio::test]
async fn a_users_key_manages_himself_and_lists_his_app_instance() {
    let mut scene = Scene::new().await;
    let mut endpoints = Vec::new();
    for owner in [&scene.alice, &scene.bob] {
        let made = scene.world.register_device(owner, "device").await.expect("is done");
        let id = made["EndpointId"].as_str().expect("is text");
        endpoints.push(
            [String::new(), format!("/{id}")].map(|end| format!("{}/endpoints{end}", user(owner))),
        );
    }
    let key = &scene.of_alice;
    let list = |arn: &str| format!("/app-instance-users?app-instance-arn={}", label(arn));
    let (own, others) = (user(&scene.alice), user(&scene.bob));
    for method in ["GET", "PUT"] {
        assert!(scene.passes(key, method, &own, "").await, "{method}");
        assert!(!scene.passes(key, method, &others, "").await, "{method}");
        // A bearer that the operation does not read gives no rights.
        assert!(!scene.passes(key, method, &others, &scene.alice).await, "{method}");
    }
    assert!(!scene.passes(key, "GET", &user(&scene.stranger), "").await);
    assert!(scene.passes(key, "GET", &list(&scene.world.app_instance), "").await);
    assert!(!scene.passes(key, "GET", &list(&scene.other_instance), "").await);
    assert!(scene.passes(key, "GET", "/endpoints/messaging-session", "").await);
    for (own, others) in endpoints[0].iter().zip(&endpoints[1]) {
        assert!(scene.passes(key, "GET", own, "").await);
        assert!(!scene.passes(key, "GET", others, "").await);
    }
}

#[tokio::test]
async fn a_users_key_manages_nothing_else() {
    let scene = Scene::new().await;
    let key = &scene.of_alice;
    let instance = format!("/app-instances/{}", label(&scene.world.app_instance));
    let tags = format!("/tags?arn={}", label(&scene.alice));
    let flows = format!("/channel-flows?app-instance-arn={}", label(&scene.world.app_instance));
    for (method, target) in [
        ("GET", "/app-instances"),
        ("GET", &*instance),
        ("GET", &*format!("{instance}/admins")),
        ("GET", &*tags),
        ("GET", &*flows),
        ("DELETE", &*user(&scene.alice)),
        ("DELETE", &*instance),
    ] {
        assert_eq!(scene.call(key, method, target, "").await, FORBIDDEN, "{method} {target}");
    }
    assert!(scene.world.get(&user(&scene.alice), "").await.is_ok(), "nothing was deleted");
}

#[tokio::test]
async fn an_app_instances_key_acts_for_all_in_it_and_stays_within() {
    let mut scene = Scene::new().await;
    let (alice, bob) = (scene.alice.clone(), scene.bob.clone());
    let channel = scene.world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    let key = &scene.of_instance;
    let target = format!("/channels/{}", label(&channel));
    for bearer in [&alice, &bob] {
        assert!(scene.passes(key, "GET", &target, bearer).await);
    }
    let list = |arn: &str| format!("/app-instance-users?app-instance-arn={}", label(arn));
    let tags = |arn: &str| format!("/tags?arn={}", label(arn));
    let instance = |arn: &str| format!("/app-instances/{}", label(arn));
    let (own, other) = (scene.world.app_instance.clone(), scene.other_instance.clone());
    for (within, beyond) in [
        (user(&alice), user(&scene.stranger)),
        (list(&own), list(&other)),
        (tags(&alice), tags(&scene.stranger)),
        (instance(&own), instance(&other)),
    ] {
        assert!(scene.passes(key, "GET", &within, "").await, "{within}");
        assert!(!scene.passes(key, "GET", &beyond, "").await, "{beyond}");
    }
    let channels = format!("/channels?app-instance-arn={}", label(&other));
    assert!(!scene.passes(key, "GET", &channels, &scene.stranger).await);
    assert!(scene.passes(key, "GET", "/endpoints/messaging-session", "").await);
}

#[tokio::test]
async fn an_app_instances_key_makes_users_and_no_app_instances() {
    let mut scene = Scene::new().await;
    let key = scene.of_instance.clone();
    let mut create = async |instance: &str| {
        let body = json!({
            "AppInstanceArn": instance, "AppInstanceUserId": "carol", "Name": "carol",
            "ClientRequestToken": scene.world.token(),
        });
        scene.world.call_as(key.clone(), "POST", "/app-instance-users", "", body).await
    };
    let (own, other) = (
        scene.alice[..scene.alice.len() - "/user/alice".len()].to_owned(),
        scene.other_instance.clone(),
    );
    assert!(create(&own).await.is_ok());
    assert_eq!(create(&other).await, FORBIDDEN);
    let body = json!({ "Name": "more", "ClientRequestToken": "more" });
    let made = scene.world.call_as(key.clone(), "POST", "/app-instances", "", body).await;
    assert_eq!(made, FORBIDDEN);
    assert_eq!(scene.call(&key, "GET", "/app-instances", "").await, FORBIDDEN);
    let streaming = format!("/app-instances/{}/streaming-configurations", label(&own));
    for method in ["GET", "DELETE"] {
        assert_eq!(scene.call(&key, method, &streaming, "").await, FORBIDDEN, "{method}");
    }
    // Without a bearer this search would see every app instance.
    let fields =
        json!({ "Fields": [{ "Key": "MEMBERS", "Operator": "INCLUDES", "Values": ["x"] }] });
    let search = scene.world.call_as(key, "POST", "/channels?operation=search", "", fields).await;
    assert_eq!(search, FORBIDDEN);
}

#[tokio::test]
async fn sessions_are_opened_for_whom_the_scope_names() {
    let scene = Scene::new().await;
    let user = async |arn: &str| scene.world.chat.connect(arn).await.unwrap().expect("is live");
    let users = [user(&scene.alice).await, user(&scene.bob).await, user(&scene.stranger).await];
    let may = |scope: &Scope| users.map(|user| scope.may_connect(&user));
    assert_eq!(may(&Scope::Root), [true, true, true]);
    assert_eq!(may(&scene.of_instance), [true, true, false]);
    assert_eq!(may(&scene.of_alice), [true, false, false]);
}

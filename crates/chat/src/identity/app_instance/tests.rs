use serde_json::json;

use crate::testing::{BAD_REQUEST, FORBIDDEN, START_MS, World, label};

#[tokio::test]
async fn update_replaces_name_and_metadata_and_moves_the_time() {
    let world = World::new().await;
    let path = format!("/app-instances/{}", label(&world.app_instance));
    world.clock.advance(2_500);
    let body = json!({ "Name": "new", "Metadata": "{}" });
    let updated = world.call("PUT", &path, "", body).await.expect("is updated");
    assert_eq!(updated, json!({ "AppInstanceArn": world.app_instance }));
    let described = world.get(&path, "").await.expect("is there");
    assert_eq!(
        described["AppInstance"],
        json!({
            "AppInstanceArn": world.app_instance, "Name": "new", "Metadata": "{}",
            "CreatedTimestamp": START_MS / 1_000,
            "LastUpdatedTimestamp": (START_MS as f64 + 2_500.0) / 1_000.0,
        })
    );
    let listed = world.get("/app-instances", "").await.expect("is there");
    assert_eq!(listed["AppInstances"][0]["Name"], "new");
    let cleared = json!({ "Name": "new", "Metadata": "" });
    assert!(world.call("PUT", &path, "", cleared).await.is_ok());
    let described = world.get(&path, "").await.expect("is there");
    assert_eq!(described["AppInstance"].get("Metadata"), None, "an empty text is none");
}

#[tokio::test]
async fn update_needs_both_members_and_an_app_instance_that_is_there() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let path = |arn: &str| format!("/app-instances/{}", label(arn));
    for body in [json!({}), json!({ "Name": "n" }), json!({ "Metadata": "m" })] {
        assert_eq!(world.call("PUT", &path(&world.app_instance), "", body).await, BAD_REQUEST);
    }
    let body = json!({ "Name": "new", "Metadata": "m" });
    assert_eq!(world.call("PUT", &path(&alice), "", body.clone()).await, BAD_REQUEST);
    let gone = world.create_app_instance("gone").await;
    assert!(world.delete(&path(&gone), "").await.is_ok());
    assert_eq!(world.call("PUT", &path(&gone), "", body).await, FORBIDDEN);
    let described = world.get(&path(&world.app_instance), "").await.expect("is there");
    assert_eq!(described["AppInstance"]["Name"], "app");
}

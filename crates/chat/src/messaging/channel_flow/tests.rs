use serde_json::{Value, json};

use super::*;
use crate::limits::RESOURCE_COUNT;
use crate::testing::{
    BAD_REQUEST, CONFLICT, FORBIDDEN, LIMIT, START_MS, World, array, label, processor, text,
};

fn path(flow: &str) -> String {
    format!("/channel-flows/{}", label(flow))
}

async fn try_create(world: &World, more: Value) -> crate::testing::Outcome {
    let mut body = json!({ "AppInstanceArn": world.app_instance, "Name": "flow",
        "Processors": [processor("CONTINUE")], "ClientRequestToken": "token" });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    world.call("POST", "/channel-flows", "", body).await
}

#[tokio::test]
async fn flow_is_described_and_listed_as_it_was_created() {
    let mut world = World::new().await;
    let flow = world.create_flow("ABORT").await;
    assert!(flow.starts_with(&format!("{}/channel-flow/", world.app_instance)));
    let described = world.get(&path(&flow), "").await.expect("is readable");
    assert_eq!(
        described["ChannelFlow"],
        json!({ "ChannelFlowArn": flow, "Name": "flow", "Processors": [processor("ABORT")],
            "CreatedTimestamp": START_MS / 1_000, "LastUpdatedTimestamp": START_MS / 1_000 })
    );
    let target = format!("/channel-flows?app-instance-arn={}", label(&world.app_instance));
    let listed = world.get(&target, "").await.expect("is readable");
    assert_eq!(
        listed["ChannelFlows"],
        json!([{ "ChannelFlowArn": flow, "Name": "flow", "Processors": [processor("ABORT")] }])
    );
}

#[tokio::test]
async fn repeated_token_answers_the_first_flow_until_it_is_deleted() {
    let world = World::new().await;
    let first = try_create(&world, json!({})).await.expect("is created");
    assert_eq!(try_create(&world, json!({})).await, Ok(first.clone()));
    assert_eq!(try_create(&world, json!({ "Name": "other" })).await, CONFLICT);
    assert_eq!(world.row_count(&CHANNEL_FLOW).await, 1);
    let flow = text(&first["ChannelFlowArn"]);
    assert_eq!(world.delete(&path(&flow), "").await, Ok(Value::Null));
    let second = try_create(&world, json!({})).await.expect("is created");
    assert_ne!(second, first);
}

#[tokio::test]
async fn flow_has_one_processor_with_a_lambda_function() {
    let world = World::new().await;
    let mut no_function = processor("ABORT");
    no_function["Configuration"]["Lambda"]["ResourceArn"] = json!("arn:aws:sns:us-east-1:1:topic");
    let mut out_of_order = processor("ABORT");
    out_of_order["ExecutionOrder"] = json!(4);
    let two = json!([processor("ABORT"), processor("CONTINUE")]);
    for (processors, refusal) in [
        (json!([]), BAD_REQUEST),
        (two.clone(), LIMIT),
        (json!([no_function]), BAD_REQUEST),
        (json!([out_of_order]), BAD_REQUEST),
        (json!([processor("IGNORE")]), BAD_REQUEST),
    ] {
        let more = json!({ "Processors": processors });
        assert_eq!(try_create(&world, more).await, refusal, "{processors}");
    }
    assert_eq!(try_create(&world, json!({ "Name": "" })).await, BAD_REQUEST);
    assert_eq!(world.row_count(&CHANNEL_FLOW).await, 0);
    let flow = text(&try_create(&world, json!({})).await.expect("is created")["ChannelFlowArn"]);
    let update = json!({ "Name": "two", "Processors": two });
    assert_eq!(world.call("PUT", &path(&flow), "", update).await, BAD_REQUEST);
}

#[tokio::test]
async fn hundred_flows_fit_and_deleting_one_frees_its_place() {
    let mut world = World::new().await;
    let mut flows = Vec::new();
    for _ in 0..100 {
        flows.push(world.create_flow("CONTINUE").await);
    }
    assert_eq!(try_create(&world, json!({})).await, LIMIT);
    assert!(world.delete(&path(&flows[0]), "").await.is_ok());
    assert!(try_create(&world, json!({})).await.is_ok());
    let target = format!("/channel-flows?app-instance-arn={}", label(&world.app_instance));
    for size in [1, 7, 50] {
        let target = format!("{target}&max-results={size}");
        let listed = world.pages(&target, "", "ChannelFlows").await;
        let mut arns: Vec<String> =
            listed.iter().map(|flow| text(&flow["ChannelFlowArn"])).collect();
        arns.sort();
        arns.dedup();
        assert_eq!((listed.len(), arns.len()), (100, 100), "{size}");
    }
}

#[tokio::test]
async fn update_replaces_name_and_processors() {
    let mut world = World::new().await;
    let flow = world.create_flow("ABORT").await;
    world.clock.advance(1_000);
    let update = json!({ "Name": "new", "Processors": [processor("CONTINUE")] });
    let answer = world.call("PUT", &path(&flow), "", update).await;
    assert_eq!(answer, Ok(json!({ "ChannelFlowArn": flow })));
    let described = world.get(&path(&flow), "").await.expect("is readable");
    let described = &described["ChannelFlow"];
    assert_eq!(described["Name"], "new");
    assert_eq!(described["Processors"], json!([processor("CONTINUE")]));
    assert_eq!(described["CreatedTimestamp"], json!(START_MS / 1_000));
    assert_eq!(described["LastUpdatedTimestamp"], json!(START_MS / 1_000 + 1));
}

#[tokio::test]
async fn flow_that_is_not_there_is_forbidden_and_another_resource_is_a_bad_request() {
    let mut world = World::new().await;
    let flow = world.create_flow("ABORT").await;
    let alice = world.create_user("alice").await;
    let gone = world.create_flow("ABORT").await;
    assert!(world.delete(&path(&gone), "").await.is_ok());
    let elsewhere = flow.replace("us-east-1", "eu-central-1");
    let upper = format!("{}/channel-flow/{}", world.app_instance, "A".repeat(36));
    let update = json!({ "Name": "x", "Processors": [processor("ABORT")] });
    for (arn, refusal) in [
        (&gone, FORBIDDEN),
        (&elsewhere, FORBIDDEN),
        (&upper, FORBIDDEN),
        (&alice, BAD_REQUEST),
        (&world.app_instance, BAD_REQUEST),
    ] {
        let channels =
            format!("/channels?scope=channel-flow-associations&channel-flow-arn={}", label(arn));
        assert_eq!(world.get(&path(arn), "").await, refusal, "{arn}");
        assert_eq!(world.delete(&path(arn), "").await, refusal, "{arn}");
        assert_eq!(world.call("PUT", &path(arn), "", update.clone()).await, refusal, "{arn}");
        assert_eq!(world.get(&channels, "").await, refusal, "{arn}");
    }
}

#[tokio::test]
async fn flow_in_use_is_not_deleted_until_its_last_channel_lets_go() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let flow = world.create_flow("ABORT").await;
    let one = world.create_channel(&alice, json!({})).await;
    let other = world.create_channel(&alice, json!({})).await;
    assert_eq!(world.associate(&one, &alice, &flow).await, Ok(Value::Null));
    assert_eq!(world.associate(&other, &alice, &flow).await, Ok(Value::Null));
    assert_eq!(world.delete(&path(&flow), "").await, CONFLICT);
    let target = format!("/channels/{}/channel-flow/{}", label(&one), label(&flow));
    assert_eq!(world.delete(&target, &alice).await, Ok(Value::Null));
    assert_eq!(world.delete(&path(&flow), "").await, CONFLICT);
    assert!(world.delete(&format!("/channels/{}", label(&other)), &alice).await.is_ok());
    assert_eq!(world.delete(&path(&flow), "").await, Ok(Value::Null));
    world.run_jobs().await;
    assert_eq!(world.get(&path(&flow), "").await, FORBIDDEN);
}

#[tokio::test]
async fn flow_that_gets_a_channel_while_it_is_deleted_stays() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let flow = world.create_flow("ABORT").await;
    let channel = world.create_channel(&alice, json!({})).await;
    let cx = world.chat.nobodys_cx(String::new());
    let mut deletion = world.chat.0.store.begin();
    let input = DeleteChannelFlowRequest { channel_flow_arn: flow.clone() };
    let handled = <Chat as Handle<DeleteChannelFlow>>::handle(&cx, &mut deletion, &input).await;
    assert!(handled.is_ok());
    assert!(world.associate(&channel, &alice, &flow).await.is_ok());
    let failure = deletion.commit("DeleteChannelFlow").await.expect_err("it is in use by now");
    let error = crate::dispatch::refused(failure, &crate::Quotas::default()).into_wire();
    assert_eq!(error.code().exception(), "ConflictException");
    assert!(world.get(&path(&flow), "").await.is_ok());
    world.run_jobs().await;
}

#[tokio::test]
async fn nothing_of_a_deleted_flow_or_app_instance_is_left() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let tags = json!([{ "Key": "a", "Value": "b" }]);
    let tagged = try_create(&world, json!({ "Tags": tags })).await.expect("is created");
    let tagged = text(&tagged["ChannelFlowArn"]);
    assert_eq!(world.row_count(&tags::RESOURCE_TAG).await, 1);
    let channel = world.create_channel(&alice, json!({})).await;
    assert!(world.associate(&channel, &alice, &tagged).await.is_ok());
    assert!(world.delete(&format!("/channels/{}", label(&channel)), &alice).await.is_ok());
    assert!(world.delete(&path(&tagged), "").await.is_ok());
    world.run_jobs().await;
    assert_eq!(world.row_count(&tags::RESOURCE_TAG).await, 0);
    let flow = world.create_flow("ABORT").await;
    for _ in 0..20 {
        let channel = world.create_channel(&alice, json!({})).await;
        assert!(world.associate(&channel, &alice, &flow).await.is_ok());
    }
    let target = format!("/app-instances/{}", label(&world.app_instance));
    assert!(world.delete(&target, "").await.is_ok());
    assert_eq!(world.get(&path(&flow), "").await, FORBIDDEN);
    world.run_jobs().await;
    for table in [&CHANNEL_FLOW, &crate::messaging::channel::CHANNEL_BY_FLOW, &job::JOB] {
        assert_eq!(world.row_count(table).await, 0, "{}", table.name);
    }
    assert_eq!(world.row_count(&RESOURCE_COUNT).await, 1, "the app instances of the account");
}

#[tokio::test]
async fn tokens_of_the_list_belong_to_its_app_instance() {
    let mut world = World::new().await;
    for _ in 0..2 {
        world.create_flow("ABORT").await;
    }
    let other = world.create_app_instance("other").await;
    let target = |arn: &str| format!("/channel-flows?app-instance-arn={}", label(arn));
    let page = world.get(&format!("{}&max-results=1", target(&world.app_instance)), "").await;
    let page = page.expect("is readable");
    assert_eq!(array(&page["ChannelFlows"]).len(), 1);
    let token = text(&page["NextToken"]);
    let foreign = format!("{}&next-token={token}", target(&other));
    assert_eq!(world.get(&foreign, "").await, BAD_REQUEST);
    let nowhere = format!("{}/user/x", world.app_instance);
    assert_eq!(world.get(&target(&nowhere), "").await, BAD_REQUEST);
}

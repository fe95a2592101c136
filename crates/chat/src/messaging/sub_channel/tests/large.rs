//! What requests and steps cost does not depend on how many members an elastic channel has: held by
//! the rows that they visit.

use serde_json::json;

use super::{add, below, counts};
use crate::Step;
use crate::testing::{World, array, label, text};

const SUB_CHANNELS: usize = 20;
const BATCH: usize = 100;

/// A channel of so many full sub-channels, its owner and one of its members.
async fn full(target: usize) -> (World, String, String, String) {
    let mut world = World::new().await;
    let owner = world.create_user("owner").await;
    let elastic = json!({ "MaximumSubChannels": SUB_CHANNELS + 2,
        "TargetMembershipsPerSubChannel": target, "MinimumMembershipPercentage": 40 });
    let more = json!({ "ElasticChannelConfiguration": elastic });
    let channel = world.create_channel(&owner, more).await;
    let mut members = Vec::new();
    for index in 0..SUB_CHANNELS * target {
        members.push(world.create_user(&format!("member-{index}")).await);
        if index % BATCH == 0 {
            world.heard();
        }
    }
    let batch = below(&channel, "/memberships?operation=batch-create");
    for members in members.chunks(BATCH) {
        let body = json!({ "MemberArns": members });
        let answer = world.call("POST", &batch, &owner, body).await.expect("is answered");
        assert!(array(&answer["Errors"]).is_empty());
        world.heard();
    }
    while world.chat.run_job_step().await.expect("is done") == Step::Worked {}
    let target = i64::try_from(target).expect("is small");
    assert_eq!(counts(&world, &channel, &owner).await, vec![target; SUB_CHANNELS]);
    (world, channel, owner, members.remove(0))
}

/// Returns the rows that each of some operations visits.
async fn costs(target: usize) -> Vec<(&'static str, usize)> {
    let (mut world, channel, owner, member) = full(target).await;
    let mut costs = Vec::new();
    let late = [world.create_user("late").await, world.create_user("later").await];
    for (what, member) in ["join of a new sub-channel", "join"].into_iter().zip(&late) {
        world.engine.take_rows();
        add(&world, &channel, &owner, member).await;
        costs.push((what, world.engine.take_rows()));
    }
    assert_eq!(counts(&world, &channel, &owner).await[0], 2);
    world.engine.take_rows();
    assert_eq!(world.chat.run_job_step().await.expect("is done"), Step::Worked);
    costs.push(("move of a member", world.engine.take_rows()));
    assert_eq!(counts(&world, &channel, &owner).await[0], 3);
    let own =
        format!("?scope=app-instance-user-membership&app-instance-user-arn={}", label(&member));
    let own = world.get(&below(&channel, &own), &member).await.expect("is described");
    let summary = &own["ChannelMembership"]["AppInstanceUserMembershipSummary"];
    let sub_channel_id = text(&summary["SubChannelId"]);
    for what in ["first send", "send"] {
        world.engine.take_rows();
        let sent =
            world.send_with(&channel, &member, json!({ "SubChannelId": sub_channel_id })).await;
        assert!(sent.is_ok());
        costs.push((what, world.engine.take_rows()));
    }
    world.engine.take_rows();
    let page = world.get(&below(&channel, "/subchannels?max-results=10"), &owner).await;
    assert_eq!(array(&page.expect("is listed")["SubChannels"]).len(), 10);
    costs.push(("page of sub-channels", world.engine.take_rows()));
    assert!(world.leave(&channel, &member, &member).await.is_ok());
    costs.push(("leave", world.engine.take_rows()));
    assert_eq!(world.chat.check().await.expect("is read").findings, []);
    costs
}

#[tokio::test]
async fn operations_visit_no_more_rows_with_20_000_members_than_with_400() {
    let large = costs(1_000).await;
    println!("{large:?}");
    // Of the smaller one every leave is near the minimum, and leaves a job.
    for ((what, rows), (_, few)) in large.iter().zip(costs(20).await) {
        assert!(*rows <= few, "{what} visits {rows} rows where it visited {few}");
    }
    let rows = |what| large.iter().find(|(name, _)| *name == what).map(|(_, rows)| *rows);
    assert!(rows("join") < Some(40), "a join reads the counter of one sub-channel: {large:?}");
}

//! What joins, leaves and steps of balancing cost does not depend on how many sub-channels a channel
//! has: held by the rows that they visit and the bytes that they read and write.

use serde_json::json;

use super::{add, below, counts, subs};
use crate::Step;
use crate::limits::{BALANCE_DELAY_MS, SUB_CHANNELS_PER_LOOK};
use crate::testing::{World, array};

const TARGET: usize = 4;
/// The most that is visited of a sub-channel that is looked at: its place in the index, its record and
/// its counter.
const ROWS_EACH: usize = 3;
const BYTES_EACH: usize = 400;
/// What a few digits more in a row may take.
const BYTES_LEEWAY: usize = 16;

/// What one operation visited.
#[derive(Debug)]
struct Cost {
    what: &'static str,
    rows: usize,
    bytes: usize,
}

struct Channel {
    world: World,
    arn: String,
    owner: String,
    members: Vec<String>,
    costs: Vec<Cost>,
}

impl Channel {
    /// A channel of so many full sub-channels.
    async fn full(sub_channel_count: usize) -> Self {
        let mut world = World::new().await;
        let owner = world.create_user("owner").await;
        let elastic = json!({ "MaximumSubChannels": 100,
            "TargetMembershipsPerSubChannel": TARGET, "MinimumMembershipPercentage": 40 });
        let more = json!({ "ElasticChannelConfiguration": elastic });
        let arn = world.create_channel(&owner, more).await;
        let mut members = Vec::new();
        for index in 0..sub_channel_count * TARGET {
            members.push(world.create_user(&format!("member-{index:04}")).await);
        }
        for members in members.chunks(100) {
            let body = json!({ "MemberArns": members });
            let batch = below(&arn, "/memberships?operation=batch-create");
            let answer = world.call("POST", &batch, &owner, body).await.expect("is answered");
            assert!(array(&answer["Errors"]).is_empty());
            world.heard();
        }
        let mut channel = Self { world, arn, owner, members, costs: Vec::new() };
        channel.rest().await;
        assert_eq!(channel.counts().await, vec![4; sub_channel_count]);
        channel
    }

    async fn counts(&self) -> Vec<i64> {
        counts(&self.world, &self.arn, &self.owner).await
    }

    /// Runs the jobs to their end.
    async fn rest(&mut self) {
        while self.world.chat.run_job_step().await.expect("is done") == Step::Worked {
            self.world.heard();
        }
    }

    fn begin(&self) {
        self.world.engine.take_rows();
        self.world.engine.take_bytes();
    }

    fn note(&mut self, what: &'static str) {
        let engine = &self.world.engine;
        let (rows, bytes) = (engine.take_rows(), engine.take_bytes());
        self.costs.push(Cost { what, rows, bytes });
    }

    async fn join(&mut self, what: &'static str, id: &str) -> String {
        let member = self.world.create_user(id).await;
        self.begin();
        let sub_channel = add(&self.world, &self.arn, &self.owner, &member).await;
        self.note(what);
        self.members.push(member);
        sub_channel
    }

    async fn leave(&mut self, what: &'static str, member: &str) {
        self.begin();
        assert!(self.world.leave(&self.arn, member, member).await.is_ok());
        self.note(what);
    }

    async fn send(&mut self, what: &'static str, member: &str, sub_channel: &str) {
        self.begin();
        let to = json!({ "SubChannelId": sub_channel });
        assert!(self.world.send_with(&self.arn, member, to).await.is_ok());
        self.note(what);
    }

    async fn step(&mut self, what: &'static str) {
        self.begin();
        assert_eq!(self.world.chat.run_job_step().await.expect("is done"), Step::Worked, "{what}");
        self.note(what);
    }

    fn put_the_clock_forward(&self) {
        self.world.clock.advance(u64::try_from(BALANCE_DELAY_MS).expect("is positive"));
    }

    /// Returns a full sub-channel and its members.
    async fn one_that_is_full(&self) -> (String, Vec<String>) {
        let all = subs(&self.world, &self.arn, &self.owner).await;
        let (full, _) = all.into_iter().find(|(_, count)| *count == 4).expect("is there");
        let query = format!("?sub-channel-id={full}");
        let ids = self.world.members(&self.arn, &self.owner, &query).await;
        let is_one = |member: &&String| ids.iter().any(|id| member.ends_with(id));
        (full, self.members.iter().filter(is_one).cloned().collect())
    }
}

/// Lets everything happen that happens to members of an elastic channel, and returns its costs.
async fn costs(sub_channel_count: usize) -> Vec<Cost> {
    let mut channel = Channel::full(sub_channel_count).await;
    let (left, members) = channel.one_that_is_full().await;
    channel.leave("leave of a full sub-channel", &members[0]).await;
    assert_eq!(channel.join("join that takes the one free place", "late-0001").await, left);
    channel.put_the_clock_forward();
    channel.step("judgement of what is not small").await;
    let new = channel.join("join that makes a sub-channel", "late-0002").await;
    assert_eq!(channel.join("join", "late-0003").await, new);
    channel.step("step that moves a member in").await;
    channel.rest().await;
    let filled = channel.counts().await;
    assert_eq!((filled[0], filled[1], filled.len()), (3, 3, sub_channel_count + 1));
    let (small, members) = channel.one_that_is_full().await;
    channel.send("first send", &members[0], &small).await;
    channel.send("send", &members[0], &small).await;
    channel.begin();
    let page = below(&channel.arn, "/subchannels?max-results=2");
    assert!(channel.world.get(&page, &channel.owner).await.is_ok());
    channel.note("page of sub-channels");
    for member in &members[1..] {
        channel.leave("leave", member).await;
    }
    channel.put_the_clock_forward();
    channel.step("judgement that lets one go").await;
    channel.step("step that moves a member out").await;
    channel.step("step that removes a sub-channel").await;
    assert_eq!(channel.counts().await.len(), sub_channel_count);
    channel.rest().await;
    assert_eq!(channel.world.chat.check().await.expect("is read").findings, []);
    channel.costs
}

#[tokio::test]
async fn operations_cost_the_same_with_2_sub_channels_with_20_and_with_99() {
    let (few, some, many) = (costs(2).await, costs(20).await, costs(99).await);
    for ((many, some), few) in many.iter().zip(&some).zip(&few) {
        let what = many.what;
        println!(
            "{what}: {} rows, {} bytes; of 2: {}, {}",
            many.rows, many.bytes, few.rows, few.bytes
        );
        assert!(many.rows <= some.rows, "{what}: {many:?}, {some:?}");
        let looked_at = SUB_CHANNELS_PER_LOOK * ROWS_EACH;
        assert!(many.rows <= few.rows + looked_at, "{what}: {many:?}, {few:?}");
        // One that comes or goes changes the list of all.
        if what == "join that makes a sub-channel" || what == "step that removes a sub-channel" {
            continue;
        }
        assert!(many.bytes <= some.bytes + BYTES_LEEWAY, "{what}: {many:?}, {some:?}");
        let looked_at = SUB_CHANNELS_PER_LOOK * BYTES_EACH;
        assert!(many.bytes <= few.bytes + looked_at, "{what}: {many:?}, {few:?}");
    }
}

#[tokio::test]
async fn join_and_leave_look_at_no_sub_channel_but_the_one() {
    let rows = |costs: &[Cost], what| {
        let found = costs.iter().find(|cost| cost.what == what);
        found.map(|cost| (cost.rows, cost.bytes)).expect("was measured")
    };
    let (few, many) = (costs(2).await, costs(99).await);
    for what in
        ["join that takes the one free place", "leave of a full sub-channel", "leave", "send"]
    {
        let ((few_rows, few_bytes), (rows, bytes)) = (rows(&few, what), rows(&many, what));
        assert_eq!(rows, few_rows, "{what}");
        assert!(bytes <= few_bytes + BYTES_LEEWAY, "{what}: {bytes} bytes, {few_bytes} of 2");
    }
}

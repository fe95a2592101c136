//! A world in which anything may happen: seeded operations of every kind that tells of something.

use std::collections::HashSet;

use serde_json::json;
use store::{SeededEntropy, Uid};

use super::{Outcome, World, label, text};

/// A message that was sent.
struct Sent {
    channel: String,
    sub_channel: Option<String>,
    id: String,
    sender: String,
}

/// Users, channels and messages, and the dice that choose among them. The first user is an admin
/// and the creator of the channels.
pub(crate) struct Random {
    pub(crate) world: World,
    dice: SeededEntropy,
    pub(crate) users: Vec<String>,
    channels: Vec<String>,
    elastic: String,
    sub_channels: Vec<String>,
    flow: String,
    sent: Vec<Sent>,
}

const USERS: usize = 6;
const CHANNELS: usize = 3;

impl Random {
    pub(crate) async fn new(seed: u64) -> Self {
        let mut world = World::new().await;
        let mut users = Vec::new();
        for index in 0..USERS {
            users.push(world.create_user(&format!("user-{index}")).await);
        }
        assert!(world.create_admin(&users[0]).await.is_ok());
        let config = json!({ "MaximumSubChannels": 4, "TargetMembershipsPerSubChannel": 2,
            "MinimumMembershipPercentage": 10 });
        let elastic = json!({ "ElasticChannelConfiguration": config });
        let elastic = world.create_channel(&users[0], elastic).await;
        let flow = world.create_flow("ABORT").await;
        let dice = SeededEntropy::new(seed);
        let (channels, sub_channels, sent) = (Vec::new(), Vec::new(), Vec::new());
        let mut random = Self { world, dice, users, channels, elastic, sub_channels, flow, sent };
        for _ in 0..CHANNELS {
            random.create_channel().await;
        }
        random
    }

    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.dice.next_u64() % u64::try_from(bound).expect("is small"))
            .expect("below the bound")
    }

    fn user(&self) -> String {
        self.users[self.below(self.users.len())].clone()
    }

    fn channel(&self) -> String {
        match self.below(self.channels.len() + 1) {
            0 => self.elastic.clone(),
            index => self.channels[index - 1].clone(),
        }
    }

    fn sub_channel(&self, channel: &str) -> Option<String> {
        let is_elastic = channel == self.elastic && !self.sub_channels.is_empty();
        is_elastic.then(|| self.sub_channels[self.below(self.sub_channels.len())].clone())
    }

    /// Returns the sub-channels of the elastic channel.
    pub(crate) fn sub_channels(&self) -> HashSet<Uid> {
        self.sub_channels.iter().filter_map(|id| crate::ids::parse_uuid(id)).collect()
    }

    async fn create_channel(&mut self) {
        let (one, other) = (self.user(), self.user());
        let more = json!({ "Privacy": "PUBLIC", "MemberArns": [one], "ModeratorArns": [other] });
        let creator = self.users[0].clone();
        if let Ok(made) = self.world.try_create_channel(&creator, more).await {
            self.channels.push(text(&made["ChannelArn"]));
        }
    }

    /// Does something, or is refused.
    pub(crate) async fn step(&mut self) {
        let _ = match self.below(24) {
            0..7 => self.send().await,
            7 | 8 => self.change("PUT", "", json!({ "Content": "edited" })).await,
            9 => self.change("POST", "?operation=redact", json!({})).await,
            10 => self.delete_message().await,
            11 | 12 => self.join("DEFAULT").await,
            13 => self.join("HIDDEN").await,
            14 => self.leave().await,
            15 => self.moderators().await,
            16 => self.update_channel().await,
            17 => self.batch().await,
            18 => self.ban().await,
            19 => self.channels().await,
            20 => self.associate().await,
            21 => {
                self.world.run_jobs().await;
                Ok(json!(null))
            }
            _ => {
                let ms = 1 + self.below(3_000);
                self.world.clock.advance(u64::try_from(ms).expect("is small"));
                Ok(json!(null))
            }
        };
    }

    async fn send(&mut self) -> Outcome {
        let (channel, sender, target) = (self.channel(), self.user(), self.user());
        let sub_channel = self.sub_channel(&channel);
        let mut more = json!({ "Content": format!("{}", self.below(1_000)), "Metadata": "{}" });
        match self.below(8) {
            0 | 1 => more["Target"] = json!([{ "MemberArn": target }]),
            2 => {
                more["Type"] = json!("CONTROL");
                more["Metadata"] = json!("");
            }
            3 => more["Persistence"] = json!("NON_PERSISTENT"),
            _ => {}
        }
        if let Some(id) = &sub_channel {
            more["SubChannelId"] = json!(id);
        }
        let sent = self.world.send_with(&channel, &sender, more).await?;
        self.sent.push(Sent { channel, sub_channel, id: text(&sent["MessageId"]), sender });
        Ok(sent)
    }

    async fn change(&mut self, method: &str, query: &str, mut body: serde_json::Value) -> Outcome {
        if self.sent.is_empty() {
            return Ok(json!(null));
        }
        let message = &self.sent[self.below(self.sent.len())];
        if let Some(id) = &message.sub_channel {
            body["SubChannelId"] = json!(id);
        }
        let path = format!("/channels/{}/messages/{}{query}", label(&message.channel), message.id);
        self.world.call(method, &path, &message.sender, body).await
    }

    async fn delete_message(&mut self) -> Outcome {
        if self.sent.is_empty() {
            return Ok(json!(null));
        }
        let message = &self.sent[self.below(self.sent.len())];
        let query = message.sub_channel.iter().map(|id| format!("?sub-channel-id={id}"));
        let query: String = query.collect();
        let path = format!("/channels/{}/messages/{}{query}", label(&message.channel), message.id);
        self.world.delete(&path, &self.users[0]).await
    }

    async fn join(&mut self, r#type: &str) -> Outcome {
        let (channel, user) = (self.channel(), self.user());
        let body = json!({ "MemberArn": user, "Type": r#type });
        let mut answer = self.add(&channel, body.clone()).await;
        if answer.is_err()
            && let Some(id) = self.sub_channel(&channel)
        {
            let mut body = body;
            body["SubChannelId"] = json!(id);
            answer = self.add(&channel, body).await;
        }
        if let Ok(answer) = &answer
            && let Some(id) = answer["SubChannelId"].as_str()
            && !self.sub_channels.iter().any(|known| known == id)
        {
            self.sub_channels.push(id.to_owned());
        }
        answer
    }

    async fn add(&self, channel: &str, body: serde_json::Value) -> Outcome {
        let target = format!("/channels/{}/memberships", label(channel));
        self.world.call("POST", &target, &self.users[0], body).await
    }

    async fn leave(&mut self) -> Outcome {
        let (channel, user) = (self.channel(), self.user());
        self.world.leave(&channel, &self.users[0], &user).await
    }

    async fn moderators(&mut self) -> Outcome {
        let (channel, user) = (self.channel(), self.user());
        let target = format!("/channels/{}/moderators", label(&channel));
        let body = json!({ "ChannelModeratorArn": user });
        match self.below(2) {
            0 => self.world.call("POST", &target, &self.users[0], body).await,
            _ => self.world.delete(&format!("{target}/{}", label(&user)), &self.users[0]).await,
        }
    }

    async fn update_channel(&mut self) -> Outcome {
        let target = format!("/channels/{}", label(&self.channel()));
        let body = json!({ "Name": format!("name-{}", self.below(100)), "Metadata": "{}" });
        self.world.call("PUT", &target, &self.users[0], body).await
    }

    async fn batch(&mut self) -> Outcome {
        let members = [self.user(), self.user()];
        let target =
            format!("/channels/{}/memberships?operation=batch-create", label(&self.channel()));
        let r#type = ["DEFAULT", "HIDDEN"][self.below(2)];
        let body = json!({ "MemberArns": members, "Type": r#type });
        self.world.call("POST", &target, &self.users[0], body).await
    }

    async fn ban(&mut self) -> Outcome {
        let (channel, user) = (self.channel(), self.user());
        let target = format!("/channels/{}/bans", label(&channel));
        match self.below(2) {
            0 => {
                let body = json!({ "MemberArn": user });
                self.world.call("POST", &target, &self.users[0], body).await
            }
            _ => self.world.delete(&format!("{target}/{}", label(&user)), &self.users[0]).await,
        }
    }

    async fn channels(&mut self) -> Outcome {
        if self.channels.len() < CHANNELS {
            self.create_channel().await;
            return Ok(json!(null));
        }
        let channel = self.channels.remove(self.below(self.channels.len()));
        self.world.delete(&format!("/channels/{}", label(&channel)), &self.users[0]).await
    }

    /// Lets the messages of a channel fail, or pass again.
    async fn associate(&mut self) -> Outcome {
        let channel = self.channel();
        let flow = self.flow.clone();
        if self.below(3) == 0 {
            return self.world.associate(&channel, &self.users[0], &flow).await;
        }
        let target = format!("/channels/{}/channel-flow/{}", label(&channel), label(&flow));
        self.world.delete(&target, &self.users[0]).await
    }
}

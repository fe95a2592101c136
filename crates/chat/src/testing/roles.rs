//! Who is what in the world of a test: bots, moderators, the banned, and quotas that are used up.

use serde_json::json;
use store::{Add, Batch, Uid};
use wire::arn::Resource;

use super::{Outcome, World, label};
use crate::identity::app_instance_user::AppInstanceUser;
use crate::limits::Quota;
use crate::messaging::channel::Channel;

impl World {
    pub(crate) async fn promote(&self, channel: &str, bearer: &str, user: &str) -> Outcome {
        let target = format!("/channels/{}/moderators", label(channel));
        self.call("POST", &target, bearer, json!({ "ChannelModeratorArn": user })).await
    }

    pub(crate) async fn demote(&self, channel: &str, bearer: &str, user: &str) -> Outcome {
        let target = format!("/channels/{}/moderators/{}", label(channel), label(user));
        self.delete(&target, bearer).await
    }

    /// Adds a member to a sub-channel, if one is named.
    pub(crate) async fn join_at(
        &self,
        channel: &str,
        bearer: &str,
        member: &str,
        sub_channel: Option<&str>,
    ) -> Outcome {
        let mut body = json!({ "MemberArn": member, "Type": "DEFAULT" });
        if let Some(sub_channel) = sub_channel {
            body["SubChannelId"] = json!(sub_channel);
        }
        self.call("POST", &format!("/channels/{}/memberships", label(channel)), bearer, body).await
    }

    pub(crate) async fn ban(&self, channel: &str, bearer: &str, user: &str) -> Outcome {
        let target = format!("/channels/{}/bans", label(channel));
        self.call("POST", &target, bearer, json!({ "MemberArn": user })).await
    }

    pub(crate) async fn lift_ban(&self, channel: &str, bearer: &str, user: &str) -> Outcome {
        let target = format!("/channels/{}/bans/{}", label(channel), label(user));
        self.delete(&target, bearer).await
    }

    /// Returns the uid of a live user or channel.
    pub(crate) async fn uid_of(&self, arn: &str) -> Uid {
        let view = self.chat.0.store.view();
        match self.chat.0.place.parse_arn(arn).expect("is an ARN") {
            (app_instance, Resource::User(id)) => {
                let user = view.get(&AppInstanceUser::key_of(app_instance, &id)).await;
                let user: Option<AppInstanceUser> = user.expect("the store answers");
                user.expect("the user is there").uid
            }
            (app_instance, Resource::Channel(id)) => {
                let channel = view.get(&Channel::key_of(app_instance, &id)).await;
                let channel: Option<Channel> = channel.expect("the store answers");
                channel.expect("the channel is there").uid
            }
            _ => panic!("{arn} is neither of a user nor of a channel"),
        }
    }

    /// Makes the counter of a quota say that only `room` places are left.
    pub(crate) async fn leave_room(&self, quota: &Quota, owner: &str, room: i64) {
        let owner = self.uid_of(owner).await;
        let key = quota.key(owner);
        let count = self.chat.0.store.view().count(&key).await.expect("the store answers");
        let mut batch = Batch::new("leave_room", owner);
        batch.adds.push(Add { key, delta: quota.max - room - count, max: None });
        self.chat.0.store.engine().commit(batch).await.expect("is written");
    }
}

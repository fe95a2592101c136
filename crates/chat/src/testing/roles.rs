//! Who is what in the world of a test: bots, moderators, the banned, and quotas that are used up.

use serde_json::json;
use store::{Add, Batch, Put, Uid};
use wire::OperationId;
use wire::arn::Resource;

use super::{Outcome, START_MS, World, label, text};
use crate::identity::app_instance_bot::AppInstanceBot;
use crate::identity::app_instance_user::AppInstanceUser;
use crate::limits::Quota;
use crate::messaging::channel::Channel;

impl World {
    /// Creates a bot and returns its ARN.
    pub(crate) async fn create_bot(&mut self, name: &str) -> String {
        if !crate::dispatch::UNIMPLEMENTED.contains(&OperationId::CreateAppInstanceBot) {
            let alias = "arn:aws:lex:us-east-1:000000000000:bot-alias/ABCDEFGHIJ/KLMNOPQRST";
            let lex = json!({ "LexBotAliasArn": alias, "LocaleId": "en_US" });
            let body = json!({
                "AppInstanceArn": self.app_instance, "Name": name,
                "ClientRequestToken": self.token(), "Configuration": { "Lex": lex },
            });
            let answer = self.call("POST", "/app-instance-bots", "", body).await;
            return text(&answer.expect("is created")["AppInstanceBotArn"]);
        }
        self.put_bot(name).await
    }

    /// Writes the record of a bot as CreateAppInstanceBot will, once it is there.
    async fn put_bot(&mut self, name: &str) -> String {
        let app_instance = self.chat.0.place.parse_arn(&self.app_instance).expect("is an ARN").0;
        self.tokens += 1;
        let mut uid = [0xb0; 16];
        uid[15] = u8::try_from(self.tokens % 256).expect("fits");
        let bot = json!({
            "app_instance": app_instance, "id": name, "uid": Uid(uid), "name": name,
            "metadata": null, "created_ms": START_MS, "updated_ms": START_MS,
        });
        let mut batch = Batch::new("put_bot", app_instance);
        let key = AppInstanceBot::key_of(app_instance, name);
        batch.puts.push(Put { key, value: store::codec::encode(&bot) });
        let key = crate::limits::APP_INSTANCE_BOTS.key(app_instance);
        batch.adds.push(Add { key, delta: 1, max: None });
        self.chat.0.store.engine().commit(batch).await.expect("is written");
        format!("{}/bot/{name}", self.app_instance)
    }

    pub(crate) async fn promote(&self, channel: &str, bearer: &str, user: &str) -> Outcome {
        let target = format!("/channels/{}/moderators", label(channel));
        self.call("POST", &target, bearer, json!({ "ChannelModeratorArn": user })).await
    }

    pub(crate) async fn demote(&self, channel: &str, bearer: &str, user: &str) -> Outcome {
        let target = format!("/channels/{}/moderators/{}", label(channel), label(user));
        self.delete(&target, bearer).await
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

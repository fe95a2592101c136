//! Requests of the operations that have a bearer, and those of channel flows.

use serde_json::{Value, json};

use super::{CHANNELS, CONTENTS, Draw};
use crate::model::{Channel, app_instance_of, write_time};

impl Draw<'_> {
    pub(super) fn of_flow(&self) -> Option<Value> {
        Some(match self.operation.name {
            "CreateChannelFlow" => json!({
                "AppInstanceArn": self.app_instance(), "Name": self.name(),
                "Processors": self.processors(), "ClientRequestToken": self.token(),
                "Tags": self.tags(),
            }),
            "UpdateChannelFlow" => json!({
                "ChannelFlowArn": self.flow(), "Name": self.name(),
                "Processors": self.processors(),
            }),
            "DescribeChannelFlow"
            | "DeleteChannelFlow"
            | "ListChannelsAssociatedWithChannelFlow" => json!({ "ChannelFlowArn": self.flow() }),
            _ => return None,
        })
    }

    fn processors(&self) -> Value {
        let function = "arn:aws:lambda:us-east-1:000000000000:function:rules";
        json!([{
            "Name": self.name(), "ExecutionOrder": 1,
            "FallbackAction": self.dice.of(&["CONTINUE", "ABORT"]),
            "Configuration": { "Lambda": { "ResourceArn": function, "InvocationType": "ASYNC" } },
        }])
    }

    /// What is about more than one channel.
    pub(super) fn of_account(&self) -> Option<(String, Value)> {
        let home = self.home();
        let bearer = match self.dice.below(3) {
            0 => self.one_of(&home, self.model.admins.keys()),
            _ => self.person(&home),
        };
        let input = match self.operation.name {
            "CreateChannel" => self.new_channel(),
            "ListChannels" => json!({
                "AppInstanceArn": self.app_instance(),
                "Privacy": self.chance(2, || self.dice.of(&["PUBLIC", "PRIVATE"])),
            }),
            "ListChannelMembershipsForAppInstanceUser"
            | "ListChannelsModeratedByAppInstanceUser" => {
                json!({ "AppInstanceUserArn": self.chance(2, || self.subject(&bearer)) })
            }
            "SearchChannels" => {
                let fields: Vec<Value> =
                    (0..1 + self.dice.below(2)).map(|_| self.field(&bearer)).collect();
                json!({ "Fields": fields })
            }
            _ => return None,
        };
        Some((bearer, input))
    }

    fn new_channel(&self) -> Value {
        let app_instance = self.app_instance();
        let live = self.people(&app_instance);
        let id = self.chance(8, || None).unwrap_or_else(|| Some(self.dice.of(&CHANNELS)));
        // Whether a taken id or an unknown member is told first is nowhere written.
        let person = || match id {
            Some(_) => self.dice.pick(&live).cloned(),
            None => Some(self.person(&app_instance)),
        };
        let people = |chance| {
            let count = 1 + self.dice.below(3);
            let people: Vec<String> = (0..count).filter_map(|_| person()).collect();
            self.chance(chance, || people.clone()).filter(|people| !people.is_empty())
        };
        json!({
            "AppInstanceArn": app_instance, "Name": self.name(), "ChannelId": id,
            "Mode": self.chance(2, || self.dice.of(&["UNRESTRICTED", "RESTRICTED"])),
            "Privacy": self.chance(2, || self.dice.of(&["PUBLIC", "PRIVATE"])),
            "Metadata": self.maybe_text(), "ClientRequestToken": self.token(),
            "Tags": self.tags(), "MemberArns": people(2), "ModeratorArns": people(4),
        })
    }

    /// Returns whose channels are asked for: mostly the caller's own.
    fn subject(&self, bearer: &str) -> String {
        if self.dice.one_in(2) { bearer.to_owned() } else { self.person(&self.home()) }
    }

    fn field(&self, bearer: &str) -> Value {
        let channels: Vec<&Channel> = self.model.channels.values().collect();
        let exactly = self.dice.pick(&channels).filter(|_| self.dice.one_in(2));
        let members = exactly.map(|channel| {
            let visible = channel.members.iter().filter(|(_, membership)| !membership.hidden);
            visible.map(|(arn, _)| arn.clone()).collect::<Vec<_>>()
        });
        let some = || {
            let others = (0..self.dice.below(2)).map(|_| self.person(&self.home()));
            std::iter::once(bearer.to_owned()).chain(others).collect()
        };
        let values: Vec<String> =
            members.filter(|members| !members.is_empty()).unwrap_or_else(some);
        let operator = self.dice.of(&["EQUALS", "INCLUDES"]);
        json!({ "Key": "MEMBERS", "Operator": operator, "Values": values })
    }

    pub(super) fn of_channel(&self) -> (String, Value) {
        let arn = self.channel();
        let bearer = self.bearer_in(&arn);
        let channel = self.model.channels.get(&arn);
        let members = || channel.into_iter().flat_map(|channel| channel.members.keys());
        let moderators = || channel.into_iter().flat_map(|channel| channel.moderators.keys());
        let bans = || channel.into_iter().flat_map(|channel| channel.bans.keys());
        let anybody = || self.person(&app_instance_of(&arn));
        let himself = || self.chance(3, || bearer.clone());
        let r#type = || self.dice.of(&["DEFAULT", "DEFAULT", "HIDDEN"]);
        let more = match self.operation.name {
            "UpdateChannel" => json!({
                "Name": self.chance(2, || self.name()), "Metadata": self.maybe_text(),
                "Mode": self.chance(2, || self.dice.of(&["UNRESTRICTED", "RESTRICTED"])),
            }),
            "CreateChannelMembership" => json!({
                "MemberArn": himself().unwrap_or_else(anybody), "Type": r#type(),
            }),
            "BatchCreateChannelMembership" => {
                let members: Vec<String> = (0..1 + self.dice.below(4)).map(|_| anybody()).collect();
                json!({ "MemberArns": members, "Type": self.chance(2, r#type) })
            }
            "DescribeChannelMembership" | "DeleteChannelMembership" => json!({
                "MemberArn": himself().unwrap_or_else(|| self.one_of(&arn, members())),
            }),
            "ListChannelMemberships" => json!({ "Type": self.chance(2, r#type) }),
            "CreateChannelModerator" => json!({ "ChannelModeratorArn": anybody() }),
            "DescribeChannelModerator" | "DeleteChannelModerator" => {
                json!({ "ChannelModeratorArn": self.one_of(&arn, moderators()) })
            }
            "CreateChannelBan" => json!({ "MemberArn": anybody() }),
            "DescribeChannelBan" | "DeleteChannelBan" => {
                json!({ "MemberArn": self.one_of(&arn, bans()) })
            }
            "GetChannelMembershipPreferences" => json!({
                "MemberArn": self.chance(4, anybody).unwrap_or_else(|| bearer.clone()),
            }),
            "PutChannelMembershipPreferences" => json!({
                "MemberArn": self.chance(4, anybody).unwrap_or_else(|| bearer.clone()),
                "Preferences": self.preferences(),
            }),
            "DescribeChannelMembershipForAppInstanceUser"
            | "DescribeChannelModeratedByAppInstanceUser" => {
                json!({ "AppInstanceUserArn": self.subject(&bearer) })
            }
            "AssociateChannelFlow" => json!({ "ChannelFlowArn": self.flow() }),
            "DisassociateChannelFlow" => {
                let flow = channel.and_then(|channel| channel.flow.clone());
                let flow = flow.filter(|_| !self.dice.one_in(4));
                json!({ "ChannelFlowArn": flow.unwrap_or_else(|| self.flow()) })
            }
            name if name.contains("Message") => return self.about_message(&arn, bearer),
            _ => json!({}),
        };
        (bearer, with_channel(&arn, more))
    }

    fn preferences(&self) -> Value {
        let rule = "{\"k\":[\"v\"]}";
        let push = match self.dice.below(5) {
            0 => json!({ "AllowNotifications": "NONE", "FilterRule": rule }),
            1 => json!({ "AllowNotifications": "ALL" }),
            2 => json!({ "AllowNotifications": "FILTERED", "FilterRule": rule }),
            3 => json!({ "AllowNotifications": "FILTERED" }),
            _ => return json!({}),
        };
        json!({ "PushNotifications": push })
    }

    fn about_message(&self, arn: &str, bearer: String) -> (String, Value) {
        let (id, sender) = self.message(arn);
        let id = id.unwrap_or_else(|| "0".repeat(64));
        let by_sender = sender.filter(|_| !self.dice.one_in(4));
        match self.operation.name {
            "SendChannelMessage" => {
                let input = self.new_message(arn, &bearer);
                (bearer, with_channel(arn, input))
            }
            "ListChannelMessages" => (bearer, with_channel(arn, self.window())),
            "UpdateChannelMessage" => {
                let input = json!({
                    "MessageId": id, "Content": self.content(), "Metadata": self.maybe_text(),
                    "ContentType": self.chance(4, || "text/plain"),
                });
                (by_sender.unwrap_or(bearer), with_channel(arn, input))
            }
            "DeleteChannelMessage" => {
                let admin = self.dice.one_in(2);
                let bearer =
                    if admin { self.one_of(arn, self.model.admins.keys()) } else { bearer };
                (bearer, with_channel(arn, json!({ "MessageId": id })))
            }
            _ => (by_sender.unwrap_or(bearer), with_channel(arn, json!({ "MessageId": id }))),
        }
    }

    /// Returns the id of a message, mostly of a late one of the channel, and its sender.
    fn message(&self, arn: &str) -> (Option<String>, Option<String>) {
        let seen = self.dice.pick(&self.model.seen.messages).map(|(_, id)| id.clone());
        let messages = self.model.channels.get(arn).map(|channel| channel.messages.as_slice());
        let messages = messages.unwrap_or_default();
        let late = &messages[messages.len().saturating_sub(6)..];
        match self.dice.pick(late).filter(|_| !self.dice.one_in(10)) {
            Some(message) => (Some(message.id.clone()), Some(message.sender.arn.clone())),
            None => (seen, None),
        }
    }

    fn content(&self) -> String {
        match self.dice.below(16) {
            0 => "ü".repeat(2_049),
            1 => "ü".repeat(2_048),
            2 => "ü".repeat(16),
            _ => self.dice.of(&CONTENTS).to_owned(),
        }
    }

    fn new_message(&self, arn: &str, bearer: &str) -> Value {
        let members = self.model.channels.get(arn).into_iter();
        let members = members.flat_map(|channel| channel.members.keys());
        let target = self.chance(5, || {
            let himself = self.chance(6, || bearer.to_owned());
            json!([{ "MemberArn": himself.unwrap_or_else(|| self.one_of(arn, members)) }])
        });
        let kind = self.dice.of(&["STANDARD", "STANDARD", "STANDARD", "CONTROL"]);
        let metadata = self.chance(4, || self.text());
        let metadata = metadata.filter(|_| kind == "STANDARD" || self.dice.one_in(4));
        json!({
            "Content": self.content(), "Type": kind, "Metadata": metadata, "Target": target,
            "Persistence": self.dice.of(&["PERSISTENT", "PERSISTENT", "NON_PERSISTENT"]),
            "ClientRequestToken": self.token(),
            "ContentType": self.chance(6, || "text/markdown"),
            "MessageAttributes": self.chance(6, || json!({ "a": { "StringValues": ["ü", "v"] } })),
        })
    }

    /// Returns the part of the messages that is listed.
    fn window(&self) -> Value {
        let time = || {
            let messages = self.model.channels.values().flat_map(|channel| &channel.messages);
            let times: Vec<u64> = messages.map(|message| message.created_ms).collect();
            self.dice.pick(&times).map(|ms| write_time(*ms))
        };
        json!({
            "SortOrder": self.chance(2, || self.dice.of(&["ASCENDING", "DESCENDING"])),
            "NotBefore": self.chance(5, time), "NotAfter": self.chance(5, time),
        })
    }
}

fn with_channel(arn: &str, mut input: Value) -> Value {
    input["ChannelArn"] = json!(arn);
    input
}

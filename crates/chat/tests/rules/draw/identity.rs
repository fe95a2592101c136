//! Requests of the operations that have no bearer.

use serde_json::{Value, json};

use super::{APP_INSTANCES_MAX, Draw, USERS};

impl Draw<'_> {
    pub(super) fn of_identity(&self) -> Option<Value> {
        Some(match self.operation.name {
            "CreateAppInstance" => self.new_app_instance(),
            "ListAppInstances" | "GetMessagingSessionEndpoint" => json!({}),
            "DescribeAppInstance"
            | "GetMessagingStreamingConfigurations"
            | "DeleteMessagingStreamingConfigurations" => {
                json!({ "AppInstanceArn": self.any_app_instance() })
            }
            "PutMessagingStreamingConfigurations" => json!({
                "AppInstanceArn": self.app_instance(),
                "StreamingConfigurations": [{ "DataType": "Channel", "ResourceArn":
                    "arn:aws:kinesis:us-east-1:000000000000:stream/chime-messaging-rules" }],
            }),
            "UpdateAppInstance" => json!({
                "AppInstanceArn": self.any_app_instance(), "Name": self.name(),
                "Metadata": self.text(),
            }),
            "DeleteAppInstance" => json!({ "AppInstanceArn": self.doomed_app_instance() }),
            "ListAppInstanceUsers"
            | "ListAppInstanceBots"
            | "ListChannelFlows"
            | "ListAppInstanceAdmins" => json!({ "AppInstanceArn": self.app_instance() }),
            "CreateAppInstanceAdmin" | "DescribeAppInstanceAdmin" | "DeleteAppInstanceAdmin" => {
                self.about_admin()
            }
            "TagResource" => json!({ "ResourceARN": self.resource(), "Tags": self.new_tags() }),
            "UntagResource" => {
                json!({ "ResourceARN": self.resource(), "TagKeys": [self.tag_key()] })
            }
            "ListTagsForResource" => json!({ "ResourceARN": self.resource() }),
            name if name.contains("Endpoint") => self.about_endpoint(),
            name if name.contains("Bot") => self.about_bot(),
            name if name.contains("AppInstanceUser") => self.about_user(),
            _ => return None,
        })
    }

    fn new_app_instance(&self) -> Value {
        // Beyond a few, only repetitions are of use.
        let token = if self.model.app_instances.len() < APP_INSTANCES_MAX {
            self.token()
        } else {
            self.model.seen.tokens[0].needed("ClientRequestToken").to_owned()
        };
        json!({
            "Name": self.name(), "Metadata": self.maybe_text(), "ClientRequestToken": token,
            "Tags": self.tags(),
        })
    }

    /// Spares the oldest, in which most of what happens is.
    fn doomed_app_instance(&self) -> String {
        let spared = self.home();
        let arn = self.any_app_instance();
        if arn == spared && !self.dice.one_in(8) {
            super::UNKNOWN_APP_INSTANCE.to_owned()
        } else {
            arn
        }
    }

    fn about_user(&self) -> Value {
        let app_instance = self.app_instance();
        if self.operation.name == "CreateAppInstanceUser" {
            return json!({
                "AppInstanceArn": app_instance, "AppInstanceUserId": self.dice.of(&USERS),
                "Name": self.name(), "Metadata": self.maybe_text(),
                "ClientRequestToken": self.token(), "Tags": self.tags(),
            });
        }
        let mut input = json!({ "AppInstanceUserArn": self.user(&self.home()) });
        if self.dice.one_in(20) {
            input["AppInstanceUserArn"] = json!(self.channel());
        }
        if self.operation.name == "UpdateAppInstanceUser" {
            input["Name"] = json!(self.name());
            input["Metadata"] = json!(self.text());
        }
        input
    }

    fn about_admin(&self) -> Value {
        let app_instance = self.app_instance();
        let admins = self.model.admins.keys();
        let admin = match self.operation.name {
            "CreateAppInstanceAdmin" => self.person(&app_instance),
            _ => self.one_of(&app_instance, admins),
        };
        json!({ "AppInstanceArn": app_instance, "AppInstanceAdminArn": admin })
    }

    fn about_bot(&self) -> Value {
        let configuration = || {
            let locale = self.dice.of(&["en_US", "de_DE"]);
            let alias = "arn:aws:lex:us-east-1:000000000000:bot-alias/ABCDEFGHIJ/0123456789";
            let invoked_by = json!({ "StandardMessages": "MENTIONS", "TargetedMessages": "ALL" });
            json!({ "Lex": {
                "LexBotAliasArn": alias, "LocaleId": locale, "InvokedBy": invoked_by,
            } })
        };
        match self.operation.name {
            "CreateAppInstanceBot" => json!({
                "AppInstanceArn": self.app_instance(), "Name": self.chance(2, || self.name()),
                "Metadata": self.maybe_text(), "ClientRequestToken": self.token(),
                "Configuration": configuration(), "Tags": self.tags(),
            }),
            "UpdateAppInstanceBot" => json!({
                "AppInstanceBotArn": self.bot(), "Name": self.name(), "Metadata": self.text(),
                "Configuration": self.chance(2, configuration),
            }),
            _ => json!({ "AppInstanceBotArn": self.bot() }),
        }
    }

    fn about_endpoint(&self) -> Value {
        let user = self.user(&self.home());
        let allow = self.dice.of(&["ALL", "NONE"]);
        match self.operation.name {
            "RegisterAppInstanceUserEndpoint" => json!({
                "AppInstanceUserArn": user, "Name": self.chance(2, || self.name()),
                "Type": self.dice.of(&["APNS", "GCM"]),
                "ResourceArn": "arn:aws:mobiletargeting:us-east-1:000000000000:apps/rules",
                "EndpointAttributes": { "DeviceToken": self.dice.of(&["d1", "d2"]) },
                "AllowMessages": self.chance(2, || allow), "ClientRequestToken": self.token(),
            }),
            "ListAppInstanceUserEndpoints" => json!({ "AppInstanceUserArn": user }),
            name => {
                let (user, endpoint) = self.endpoint(user);
                let update = name == "UpdateAppInstanceUserEndpoint";
                json!({
                    "AppInstanceUserArn": user, "EndpointId": endpoint,
                    "Name": update.then(|| self.chance(2, || self.dice.of(&["", "tablet"]))),
                    "AllowMessages": update.then(|| self.chance(2, || allow)),
                })
            }
        }
    }

    /// Returns a device, mostly one that is registered, and its user.
    fn endpoint(&self, user: String) -> (String, String) {
        let people = self.model.people.iter();
        let registered: Vec<(&String, &String)> = people
            .flat_map(|(arn, person)| person.endpoints.keys().map(move |id| (arn, id)))
            .collect();
        let picked = self.dice.pick(&registered).filter(|_| !self.dice.one_in(4));
        match picked {
            Some((arn, id)) => ((*arn).clone(), (*id).clone()),
            None => {
                let seen = self.dice.pick(&self.model.seen.endpoints).cloned();
                (user, seen.unwrap_or_else(|| "none".to_owned()))
            }
        }
    }

    /// Returns anything that may have tags.
    fn resource(&self) -> String {
        match self.dice.below(6) {
            0 => self.any_app_instance(),
            1 => self.bot(),
            2 | 3 => self.channel(),
            4 => self.flow(),
            _ => self.user(&self.home()),
        }
    }

    fn new_tags(&self) -> Value {
        let count = if self.dice.one_in(4) { 20 } else { 1 };
        let tag = |number: u64| match number {
            0 => json!({ "Key": self.tag_key(), "Value": self.name() }),
            _ => json!({ "Key": format!("{}{number}", self.tag_key()), "Value": "v" }),
        };
        (0..count).map(tag).collect()
    }
}

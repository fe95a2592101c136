//! What is asked next: requests about few resources, so that they meet each other all the time.
//!
//! A request is drawn from its own seed and from what the model holds: mostly about what is there
//! and by somebody who may, at times about what is gone, foreign or of another kind.

mod identity;
mod messaging;

use serde_json::{Map, Value, json};

use crate::dice::Dice;
use crate::model::{Kind, Model, app_instance_of, kind_of};
use crate::operation::{Operation, Request};

/// Ids that callers choose; no two of them stand in the order of their creation for long.
const USERS: [&str; 6] = ["anna", "Z", "b.b@example.com", "us-east-1:0-1", "0", "zoe-y"];
const CHANNELS: [&str; 4] = ["general", "A", "c:1", "z.z"];
const NAMES: [&str; 5] = ["Anna", "Ünal", "🦀 crab", " spaced out ", "0"];
const TEXTS: [&str; 5] = ["{\"k\":1}", "m", "größer", "a longer text, with more words", ""];
const CONTENTS: [&str; 4] = ["hello", "🦀🦀🦀", "{\"a\":[1,2]}", "x"];

const UNKNOWN_APP_INSTANCE: &str =
    "arn:aws:chime:us-east-1:000000000000:app-instance/00000000-0000-4000-8000-000000000000";
const APP_INSTANCES_MAX: usize = 4;

/// Draws the request of one step.
pub(crate) fn request(operation: &'static Operation, seed: u64, model: &Model) -> Request {
    let dice = Dice::new(seed);
    let draw = Draw { dice: &dice, model, operation };
    if dice.one_in(6)
        && let Some(again) = draw.again()
    {
        return again;
    }
    let (bearer, input) = draw.first();
    let Value::Object(mut input) = input else { panic!("inputs are objects") };
    input.retain(|_, value| !value.is_null());
    draw.spoil(&mut input);
    let bearer = operation.bearer.then(|| draw.spoilt_bearer(bearer)).flatten();
    Request { operation, bearer, input }
}

struct Draw<'a> {
    dice: &'a Dice,
    model: &'a Model,
    operation: &'static Operation,
}

impl Draw<'_> {
    /// Returns a request with a token that was used before, with the same input or another.
    fn again(&self) -> Option<Request> {
        let used = self.model.seen.tokens.iter().rev();
        let used = used.filter(|request| request.operation.name == self.operation.name);
        let used: Vec<&Request> = used.take(8).collect();
        let mut again = (*self.dice.pick(&used)?).clone();
        match self.dice.below(6) {
            0 => {
                let member = if again.input.contains_key("Content") { "Content" } else { "Name" };
                again.input.insert(member.to_owned(), json!("other"));
            }
            1 if self.operation.bearer => again.bearer = Some(self.person(&self.app_instance())),
            _ => {}
        }
        Some(again)
    }

    /// Adds what makes no sense, now and then.
    fn spoil(&self, input: &mut Map<String, Value>) {
        if self.operation.list.is_some() && self.dice.one_in(20) {
            input.insert("NextToken".to_owned(), json!("bogus"));
        }
        let ordinary = [
            "CreateChannelMembership",
            "DescribeChannelMembership",
            "ListChannelMemberships",
            "SendChannelMessage",
            "GetChannelMessage",
            "ListChannelMessages",
        ];
        if ordinary.contains(&self.operation.name) && self.dice.one_in(40) {
            input.insert("SubChannelId".to_owned(), json!("sub"));
        }
    }

    fn spoilt_bearer(&self, bearer: String) -> Option<String> {
        match self.dice.below(60) {
            0 => None,
            1 => Some(format!("{UNKNOWN_APP_INSTANCE}/user/anna")),
            2 => Some(app_instance_of(&bearer)),
            3 if !self.model.seen.bots.is_empty() => Some(self.dice.of(&self.model.seen.bots)),
            _ => Some(bearer),
        }
    }

    /// Returns the bearer and input of a request that is no repetition.
    fn first(&self) -> (String, Value) {
        match self.operation.bearer {
            false => (String::new(), self.of_identity().or_else(|| self.of_flow()).expect("known")),
            true => self.of_account().unwrap_or_else(|| self.of_channel()),
        }
    }

    fn chance<T>(&self, chance: u64, make: impl FnOnce() -> T) -> Option<T> {
        self.dice.one_in(chance).then(make)
    }

    fn token(&self) -> String {
        format!("token-{:x}", self.dice.number())
    }

    fn name(&self) -> &'static str {
        self.dice.of(&NAMES)
    }

    fn text(&self) -> &'static str {
        self.dice.of(&TEXTS)
    }

    fn maybe_text(&self) -> Option<&'static str> {
        self.chance(2, || self.text())
    }

    fn tags(&self) -> Option<Value> {
        self.chance(3, || json!([{ "Key": self.tag_key(), "Value": self.name() }]))
    }

    fn tag_key(&self) -> &'static str {
        self.dice.of(&["team", "größe", "k"])
    }

    /// Returns the oldest app instance that is there: most of what happens is in it.
    fn home(&self) -> String {
        let mut seen = self.model.seen.app_instances.iter();
        let live = seen.find(|arn| self.model.app_instances.contains_key(*arn));
        live.map_or(UNKNOWN_APP_INSTANCE, String::as_str).to_owned()
    }

    fn app_instance(&self) -> String {
        match self.dice.below(30) {
            0 => Some(UNKNOWN_APP_INSTANCE.to_owned()),
            1 => self.dice.pick(&self.model.seen.app_instances).cloned(),
            2 => Some(format!("{}/user/anna", self.home())),
            _ => None,
        }
        .unwrap_or_else(|| self.home())
    }

    fn any_app_instance(&self) -> String {
        let seen = &self.model.seen.app_instances;
        let any = self.chance(2, || self.dice.pick(seen).cloned()).flatten();
        any.unwrap_or_else(|| self.app_instance())
    }

    fn user(&self, app_instance: &str) -> String {
        format!("{app_instance}/user/{}", self.dice.of(&USERS))
    }

    /// Returns the users and bots of an app instance who are there.
    fn people(&self, app_instance: &str) -> Vec<String> {
        let inside = format!("{app_instance}/");
        self.model.people.keys().filter(|arn| arn.starts_with(&inside)).cloned().collect()
    }

    /// Returns somebody who is mostly there.
    fn person(&self, app_instance: &str) -> String {
        let people = self.people(app_instance);
        match self.dice.below(24) {
            0 => Some(self.user(UNKNOWN_APP_INSTANCE)),
            1 => self.dice.pick(&self.model.seen.bots).cloned(),
            2 => Some(self.user(app_instance)),
            _ => self.dice.pick(&people).cloned(),
        }
        .unwrap_or_else(|| self.user(app_instance))
    }

    /// Returns a channel that is mostly there.
    fn channel(&self) -> String {
        let home = self.home();
        let live: Vec<&String> =
            self.model.channels.keys().filter(|arn| app_instance_of(arn) == home).collect();
        match self.dice.below(40) {
            0 => Some(home.clone()),
            1 => self.dice.pick(&self.model.seen.channels).cloned(),
            2 => Some(format!("{home}/channel/{}", self.dice.of(&CHANNELS))),
            _ => self.dice.pick(&live).map(|arn| (*arn).clone()),
        }
        .unwrap_or_else(|| format!("{home}/channel/{}", CHANNELS[0]))
    }

    /// Returns who asks something of a channel: mostly one who has a role in it.
    fn bearer_in(&self, channel: &str) -> String {
        let anybody = || self.person(&app_instance_of(channel));
        let Some(channel) = self.model.channels.get(channel) else { return anybody() };
        let roles: [Vec<&String>; 4] = [
            channel.members.keys().collect(),
            channel.moderators.keys().collect(),
            self.model.admins.keys().collect(),
            channel.bans.keys().collect(),
        ];
        let is_about = |words: &[&str]| {
            words.iter().any(|word| self.operation.name.contains(word)) && !self.dice.one_in(6)
        };
        let role = if is_about(&["Send", "ReadMarker", "Preferences"]) {
            0
        } else if is_about(&["Ban", "ChannelModerator", "ChannelFlow", "UpdateChannel"]) {
            1 + self.dice.index(2)
        } else {
            self.dice.index(4)
        };
        let with_role = self.dice.pick(&roles[role]);
        let picked = self.chance(4, || None).unwrap_or(with_role);
        picked.map_or_else(anybody, |arn| (*arn).clone())
    }

    /// Returns whom a request names: mostly one of these, who have some standing in the channel.
    fn one_of<'b>(&self, channel: &str, standing: impl Iterator<Item = &'b String>) -> String {
        let standing: Vec<&String> = standing.collect();
        let picked = self.chance(3, || None).unwrap_or_else(|| self.dice.pick(&standing));
        picked.map_or_else(|| self.person(&app_instance_of(channel)), |arn| (*arn).clone())
    }

    fn bot(&self) -> String {
        let home = self.home();
        let bots: Vec<String> =
            self.people(&home).into_iter().filter(|arn| kind_of(arn) == Kind::Bot).collect();
        match self.dice.below(16) {
            0 => self.dice.pick(&self.model.seen.bots).cloned(),
            1 => Some(self.user(&home)),
            _ => self.dice.pick(&bots).cloned(),
        }
        .unwrap_or_else(|| format!("{home}/bot/none"))
    }

    fn flow(&self) -> String {
        let flows: Vec<&String> = self.model.flows.keys().collect();
        match self.dice.below(16) {
            0 => self.dice.pick(&self.model.seen.flows).cloned(),
            1 => Some(self.user(&self.home())),
            _ => self.dice.pick(&flows).map(|arn| (*arn).clone()),
        }
        .unwrap_or_else(|| format!("{}/channel-flow/none", self.home()))
    }
}

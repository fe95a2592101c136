//! The oracle: what the service should remember and answer, in plain maps.
//!
//! It is written from docs/roles.md and docs/compatibility.md and shares nothing with the rules.
//! What a resource was deleted with goes at once; whoever is made again under the same ARN has
//! another `life`. Values that only the service can make are taken from its answer and checked.

mod belongings;
mod channel;
mod channel_flow;
mod channel_message;
mod identity;
mod membership;
mod resource;
mod roles;
mod standing;
mod views;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::operation::{ENDPOINT, Request};

pub(crate) use channel::Channel;
pub(crate) use channel_flow::ChannelFlow;
pub(crate) use channel_message::write_time;
pub(crate) use resource::{Kind, app_instance_of, kind_of};

/// The JSON of an answer, or the status and exception of a refusal.
pub(crate) type Outcome = Result<Value, Refusal>;
pub(crate) type Refusal = (u16, &'static str);

pub(crate) const FORBIDDEN: Refusal = (403, "ForbiddenException");
pub(crate) const BAD_REQUEST: Refusal = (400, "BadRequestException");
pub(crate) const CONFLICT: Refusal = (409, "ConflictException");
pub(crate) const NOT_FOUND: Refusal = (404, "NotFoundException");
pub(crate) const UNAUTHORIZED: Refusal = (401, "UnauthorizedClientException");
pub(crate) const LIMIT: Refusal = (400, "ResourceLimitExceededException");

/// How long a token is remembered at least; the clock of a sequence never stops between this and
/// twice as much.
const SEND_TOKEN_MS: u64 = 20 * 60 * 1_000;
const CREATE_TOKEN_MS: u64 = 24 * 60 * 60 * 1_000;

/// One user or bot.
pub(crate) struct Person {
    pub(crate) life: u64,
    name: Option<String>,
    metadata: Option<String>,
    created_ms: u64,
    updated_ms: u64,
    /// Of a bot.
    configuration: Option<Value>,
    /// Of a user: his devices by id.
    pub(crate) endpoints: BTreeMap<String, belongings::Endpoint>,
}

pub(crate) struct AppInstance {
    life: u64,
    name: String,
    metadata: Option<String>,
    created_ms: u64,
    updated_ms: u64,
}

/// Somebody as he is written into a record: who, and under which name at that time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Written {
    pub(crate) arn: String,
    pub(crate) life: u64,
    name: Option<String>,
}

impl Written {
    fn identity(&self) -> Value {
        json!({ "Arn": self.arn, "Name": self.name.as_deref().unwrap_or_default() })
    }
}

/// What a used token answers again.
#[derive(Clone)]
struct Used {
    at_ms: u64,
    input: Value,
    /// The ARN or id that was made, and its life.
    made: String,
    life: u64,
}

/// One who is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Audience {
    Members(String),
    Moderators(String),
    Users(BTreeSet<String>),
}

/// An event: its type, who hears it, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    pub(crate) event_type: String,
    pub(crate) audience: Audience,
    pub(crate) about: String,
}

/// The leave of somebody who was deleted, which the purge has not told yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owed {
    pub(crate) channel: String,
    pub(crate) member: String,
    life: u64,
    hidden: bool,
}

/// What was ever there, for requests that name what is gone.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) app_instances: Vec<String>,
    pub(crate) bots: Vec<String>,
    pub(crate) channels: Vec<String>,
    pub(crate) flows: Vec<String>,
    pub(crate) endpoints: Vec<String>,
    /// Channel and id.
    pub(crate) messages: Vec<(String, String)>,
    pub(crate) tokens: Vec<Request>,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) now_ms: u64,
    lives: u64,
    pub(crate) app_instances: BTreeMap<String, AppInstance>,
    pub(crate) people: BTreeMap<String, Person>,
    /// Since when.
    pub(crate) admins: BTreeMap<String, u64>,
    pub(crate) channels: BTreeMap<String, Channel>,
    pub(crate) flows: BTreeMap<String, ChannelFlow>,
    tags: BTreeMap<String, BTreeMap<String, String>>,
    tokens: BTreeMap<(&'static str, u64, u64, String), Used>,
    pub(crate) seen: Seen,
    /// What the last request told.
    pub(crate) told: Vec<Told>,
    /// Memberships of deleted people: each leave is told while the purge runs.
    pub(crate) owed: BTreeSet<Owed>,
}

impl Model {
    /// Does what a request should do, and returns what it should answer.
    pub(crate) fn apply(&mut self, r: &Request, found: &Outcome) -> Outcome {
        self.told.clear();
        if r.input.contains_key("ClientRequestToken") {
            self.seen.tokens.push(r.clone());
        }
        if !r.operation.bearer {
            return self.apply_by_nobody(r, found);
        }
        let bearer = r.bearer.as_deref().ok_or(UNAUTHORIZED)?;
        let caller = self.written(bearer).ok_or(UNAUTHORIZED)?;
        let listed = self.apply_to_account(r, &caller, found);
        if let Some(outcome) = listed {
            return outcome;
        }
        let channel = self.require_channel(&caller, r.needed("ChannelArn"))?;
        let outcome = self.apply_to_channel(r, &caller, &channel, found);
        outcome.or_else(|| self.apply_to_message(r, &caller, &channel, found)).expect("is known")
    }

    fn apply_by_nobody(&mut self, r: &Request, found: &Outcome) -> Outcome {
        match r.operation.name {
            "CreateAppInstance" => self.create_app_instance(r, found),
            "DescribeAppInstance" => self.describe_app_instance(r),
            "ListAppInstances" => self.list_app_instances(r),
            "UpdateAppInstance" => self.update_app_instance(r),
            "DeleteAppInstance" => self.delete_app_instance(r),
            "CreateAppInstanceUser" => self.create_user(r),
            "DescribeAppInstanceUser" => self.describe_user(r),
            "ListAppInstanceUsers" => self.list_users(r),
            "UpdateAppInstanceUser" => self.update_user(r),
            "DeleteAppInstanceUser" => self.delete_user(r),
            "CreateAppInstanceAdmin" => self.create_admin(r),
            "DescribeAppInstanceAdmin" => self.describe_admin(r),
            "ListAppInstanceAdmins" => self.list_admins(r),
            "DeleteAppInstanceAdmin" => self.delete_admin(r),
            "CreateAppInstanceBot" => self.create_bot(r, found),
            "DescribeAppInstanceBot" => self.describe_bot(r),
            "ListAppInstanceBots" => self.list_bots(r),
            "UpdateAppInstanceBot" => self.update_bot(r),
            "DeleteAppInstanceBot" => self.delete_bot(r),
            "RegisterAppInstanceUserEndpoint" => self.register_endpoint(r, found),
            "DescribeAppInstanceUserEndpoint" => self.describe_endpoint(r),
            "ListAppInstanceUserEndpoints" => self.list_endpoints(r),
            "UpdateAppInstanceUserEndpoint" => self.update_endpoint(r),
            "DeregisterAppInstanceUserEndpoint" => self.deregister_endpoint(r),
            "TagResource" => self.tag(r),
            "UntagResource" => self.untag(r),
            "ListTagsForResource" => self.list_tags(r),
            "CreateChannelFlow" => self.create_flow(r, found),
            "DescribeChannelFlow" => self.describe_flow(r),
            "ListChannelFlows" => self.list_flows(r),
            "UpdateChannelFlow" => self.update_flow(r),
            "DeleteChannelFlow" => self.delete_flow(r),
            "ListChannelsAssociatedWithChannelFlow" => self.list_channels_of_flow(r),
            "GetMessagingSessionEndpoint" => Ok(json!({ "Endpoint": { "Url": ENDPOINT } })),
            "GetMessagingStreamingConfigurations" => {
                self.require_app_instance(r.needed("AppInstanceArn")).and(Err(NOT_FOUND))
            }
            "PutMessagingStreamingConfigurations" => {
                self.require_app_instance(r.needed("AppInstanceArn")).and(Err(BAD_REQUEST))
            }
            "DeleteMessagingStreamingConfigurations" => {
                self.require_app_instance(r.needed("AppInstanceArn")).map(|_| Value::Null)
            }
            other => panic!("{other} has no rule in the model"),
        }
    }

    /// What has a bearer and is about more than one channel.
    fn apply_to_account(
        &mut self,
        r: &Request,
        caller: &Written,
        found: &Outcome,
    ) -> Option<Outcome> {
        Some(match r.operation.name {
            "CreateChannel" => self.create_channel(r, caller, found),
            "ListChannels" => self.list_channels(r, caller),
            "ListChannelMembershipsForAppInstanceUser" => self.list_of_user(r, caller),
            "ListChannelsModeratedByAppInstanceUser" => self.list_moderated(r, caller),
            "SearchChannels" => self.search(r, caller),
            _ => return None,
        })
    }

    fn apply_to_channel(
        &mut self,
        r: &Request,
        caller: &Written,
        channel: &str,
        _found: &Outcome,
    ) -> Option<Outcome> {
        Some(match r.operation.name {
            "DescribeChannel" => self.describe_channel(caller, channel),
            "UpdateChannel" => self.update_channel(r, caller, channel),
            "DeleteChannel" => self.delete_channel(caller, channel),
            "CreateChannelMembership" => self.create_membership(r, caller, channel),
            "BatchCreateChannelMembership" => self.create_memberships(r, caller, channel),
            "DescribeChannelMembership" => self.describe_membership(r, caller, channel),
            "ListChannelMemberships" => self.list_memberships(r, caller, channel),
            "DeleteChannelMembership" => self.delete_membership(r, caller, channel),
            "CreateChannelModerator" => self.create_moderator(r, caller, channel),
            "DescribeChannelModerator" => self.describe_moderator(r, caller, channel),
            "ListChannelModerators" => self.list_moderators(r, caller, channel),
            "DeleteChannelModerator" => self.delete_moderator(r, caller, channel),
            "CreateChannelBan" => self.create_ban(r, caller, channel),
            "DescribeChannelBan" => self.describe_ban(r, caller, channel),
            "ListChannelBans" => self.list_bans(r, caller, channel),
            "DeleteChannelBan" => self.delete_ban(r, caller, channel),
            "UpdateChannelReadMarker" => self.update_read_marker(caller, channel),
            "GetChannelMembershipPreferences" => self.get_preferences(r, caller, channel),
            "PutChannelMembershipPreferences" => self.put_preferences(r, caller, channel),
            "DescribeChannelMembershipForAppInstanceUser" => {
                self.describe_of_user(r, caller, channel)
            }
            "DescribeChannelModeratedByAppInstanceUser" => {
                self.describe_moderated(r, caller, channel)
            }
            "AssociateChannelFlow" => self.associate_flow(r, caller, channel),
            "DisassociateChannelFlow" => self.disassociate_flow(r, caller, channel),
            _ => return None,
        })
    }

    fn apply_to_message(
        &mut self,
        r: &Request,
        caller: &Written,
        channel: &str,
        found: &Outcome,
    ) -> Option<Outcome> {
        Some(match r.operation.name {
            "SendChannelMessage" => self.send(r, caller, channel, found),
            "GetChannelMessage" => self.get_message(r, caller, channel),
            "ListChannelMessages" => self.list_messages(r, caller, channel),
            "UpdateChannelMessage" => self.update_message(r, caller, channel),
            "RedactChannelMessage" => self.redact_message(r, caller, channel),
            "DeleteChannelMessage" => self.delete_message(r, caller, channel),
            "GetChannelMessageStatus" => self.message_status(r, caller, channel),
            _ => return None,
        })
    }

    fn new_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    fn tell(&mut self, event_type: &str, audience: Audience, about: &str) {
        let (event_type, about) = (event_type.to_owned(), about.to_owned());
        self.told.push(Told { event_type, audience, about });
    }

    /// Returns what this token made before.
    ///
    /// # Errors
    /// Conflict when it was used with other parameters.
    fn used(&self, r: &Request, parent: u64, actor: u64) -> Result<Option<Used>, Refusal> {
        let token = r.needed("ClientRequestToken").to_owned();
        let used = self.tokens.get(&(r.operation.name, parent, actor, token));
        let life =
            if r.operation.name == "SendChannelMessage" { SEND_TOKEN_MS } else { CREATE_TOKEN_MS };
        let Some(used) = used.filter(|used| self.now_ms - used.at_ms < life) else {
            return Ok(None);
        };
        if used.input != Value::Object(r.input.clone()) {
            return Err(CONFLICT);
        }
        Ok(Some(used.clone()))
    }

    fn remember(&mut self, r: &Request, parent: u64, actor: u64, made: &str, life: u64) {
        let token = r.needed("ClientRequestToken").to_owned();
        let input = Value::Object(r.input.clone());
        let used = Used { at_ms: self.now_ms, input, made: made.to_owned(), life };
        self.tokens.insert((r.operation.name, parent, actor, token), used);
    }
}

/// Returns what the service made, a text of the answer; a request that was refused made nothing.
fn made(found: &Outcome, member: &str) -> String {
    let text = found.as_ref().ok().and_then(|answer| answer[member].as_str());
    text.unwrap_or("<made by the service>").to_owned()
}

/// Returns the items of a list as all of its pages together should show them.
fn page(r: &Request, mut output: Value, items: Vec<Value>) -> Outcome {
    if r.input.contains_key("NextToken") {
        return Err(BAD_REQUEST);
    }
    output[r.operation.list.expect("is a list")] = Value::Array(items);
    Ok(output)
}

/// Leaves out the members that are null.
pub(crate) fn dense(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(members.map(|(name, value)| (name, dense(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(dense).collect()),
        other => other,
    }
}

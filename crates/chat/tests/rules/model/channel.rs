//! Channels.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::channel_message::Message;
use super::membership::Membership;
use super::{
    Audience, CONFLICT, FORBIDDEN, Model, Outcome, Written, app_instance_of, dense, made, page,
};
use crate::operation::Request;

/// One channel, with all that is in it.
pub(crate) struct Channel {
    pub(crate) life: u64,
    name: String,
    pub(crate) mode: String,
    pub(crate) privacy: String,
    metadata: Option<String>,
    created_by: Written,
    created_ms: u64,
    updated_ms: u64,
    pub(super) last_message_ms: Option<u64>,
    pub(crate) flow: Option<String>,
    pub(crate) members: BTreeMap<String, Membership>,
    /// By whom, and when.
    pub(crate) moderators: BTreeMap<String, (Written, u64)>,
    pub(crate) bans: BTreeMap<String, (Written, u64)>,
    /// In their order.
    pub(crate) messages: Vec<Message>,
}

impl Channel {
    fn described(&self, arn: &str) -> Value {
        json!({
            "Name": self.name, "ChannelArn": arn, "Mode": self.mode, "Privacy": self.privacy,
            "Metadata": self.metadata, "CreatedBy": self.created_by.identity(),
            "CreatedTimestamp": self.created_ms, "LastMessageTimestamp": self.last_message_ms,
            "LastUpdatedTimestamp": self.updated_ms, "ChannelFlowArn": self.flow,
        })
    }

    pub(super) fn summary(&self, arn: &str) -> Value {
        dense(json!({
            "Name": self.name, "ChannelArn": arn, "Mode": self.mode, "Privacy": self.privacy,
            "Metadata": self.metadata, "LastMessageTimestamp": self.last_message_ms,
        }))
    }
}

impl Model {
    pub(super) fn create_channel(
        &mut self,
        r: &Request,
        caller: &Written,
        found: &Outcome,
    ) -> Outcome {
        let app_instance = r.needed("AppInstanceArn");
        let parent = self.require_app_instance(app_instance)?;
        if app_instance_of(&caller.arn) != app_instance {
            return Err(FORBIDDEN);
        }
        if let Some(used) = self.used(r, parent, caller.life)?
            && self.channels.get(&used.made).is_some_and(|channel| channel.life == used.life)
        {
            return Ok(json!({ "ChannelArn": used.made }));
        }
        let arn = match r.text("ChannelId") {
            Some(id) => format!("{app_instance}/channel/{id}"),
            None => made(found, "ChannelArn"),
        };
        if self.channels.contains_key(&arn) {
            return Err(CONFLICT);
        }
        let mut moderators = vec![caller.clone()];
        let mut members = Vec::new();
        for moderator in r.texts("ModeratorArns") {
            moderators.push(self.require_person(app_instance, &moderator)?);
        }
        for member in r.texts("MemberArns") {
            members.push(self.require_person(app_instance, &member)?);
        }
        let life = self.new_life();
        self.channels.insert(arn.clone(), self.new_channel(r, caller, life));
        self.attach_tags(r, &arn);
        self.remember(r, parent, caller.life, &arn, life);
        self.seen.channels.push(arn.clone());
        for moderator in &moderators {
            let by = (caller.clone(), self.now_ms);
            self.channel(&arn).moderators.insert(moderator.arn.clone(), by);
        }
        for member in moderators.iter().chain(&members) {
            if !self.channels[&arn].members.contains_key(&member.arn) {
                self.enter(&arn, caller, member, false);
            }
        }
        Ok(json!({ "ChannelArn": arn }))
    }

    fn new_channel(&self, r: &Request, creator: &Written, life: u64) -> Channel {
        Channel {
            life,
            name: r.needed("Name").to_owned(),
            mode: r.text("Mode").unwrap_or("RESTRICTED").to_owned(),
            privacy: r.text("Privacy").unwrap_or("PRIVATE").to_owned(),
            metadata: r.filled("Metadata"),
            created_by: creator.clone(),
            created_ms: self.now_ms,
            updated_ms: self.now_ms,
            last_message_ms: None,
            flow: None,
            members: BTreeMap::new(),
            moderators: BTreeMap::new(),
            bans: BTreeMap::new(),
            messages: Vec::new(),
        }
    }

    /// Returns a channel that was required before.
    pub(super) fn channel(&mut self, arn: &str) -> &mut Channel {
        self.channels.get_mut(arn).expect("was required")
    }

    pub(super) fn describe_channel(&self, caller: &Written, channel: &str) -> Outcome {
        self.require_role(caller, channel, "describe the channel")?;
        Ok(dense(json!({ "Channel": self.channels[channel].described(channel) })))
    }

    pub(super) fn list_channels(&self, r: &Request, caller: &Written) -> Outcome {
        let app_instance = r.needed("AppInstanceArn");
        self.require_app_instance(app_instance)?;
        if app_instance_of(&caller.arn) != app_instance {
            return Err(FORBIDDEN);
        }
        let privacy = r.text("Privacy").unwrap_or("PUBLIC");
        if privacy == "PRIVATE" && !self.is_admin(caller) {
            return Err(FORBIDDEN);
        }
        let listed = self.channels.iter().filter(|(arn, channel)| {
            app_instance_of(arn) == app_instance && channel.privacy == privacy
        });
        page(r, json!({}), listed.map(|(arn, channel)| channel.summary(arn)).collect())
    }

    pub(super) fn update_channel(&mut self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "update the channel")?;
        if !["Name", "Mode", "Metadata"].iter().any(|member| r.input.contains_key(*member)) {
            return Ok(json!({ "ChannelArn": arn }));
        }
        let now_ms = self.now_ms;
        let channel = self.channel(arn);
        if let Some(name) = r.text("Name") {
            name.clone_into(&mut channel.name);
        }
        if let Some(mode) = r.text("Mode") {
            mode.clone_into(&mut channel.mode);
        }
        if r.input.contains_key("Metadata") {
            channel.metadata = r.filled("Metadata");
        }
        channel.updated_ms = now_ms;
        self.tell_of_channel("UPDATE_CHANNEL", arn);
        Ok(json!({ "ChannelArn": arn }))
    }

    /// Gives the channel another flow, or none.
    pub(super) fn change_flow(&mut self, arn: &str, flow: Option<String>) {
        let now_ms = self.now_ms;
        let channel = self.channel(arn);
        channel.flow = flow;
        channel.updated_ms = now_ms;
        self.tell_of_channel("UPDATE_CHANNEL", arn);
    }

    /// Tells the members what the channel is like.
    pub(super) fn tell_of_channel(&mut self, event_type: &str, arn: &str) {
        let channel = &self.channels[arn];
        let about = format!("{} {} {:?}", channel.name, channel.mode, channel.metadata);
        self.tell(event_type, Audience::Members(arn.to_owned()), &about);
    }

    pub(super) fn delete_channel(&mut self, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "delete the channel")?;
        self.tell_of_channel("DELETE_CHANNEL", arn);
        self.channels.remove(arn);
        self.tags.remove(arn);
        self.owed.retain(|owed| owed.channel != arn);
        Ok(Value::Null)
    }
}

//! The channels that somebody is in or moderates, and the search for channels by their members.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::membership::Membership;
use super::{Channel, FORBIDDEN, Model, Outcome, Refusal, Written, app_instance_of, dense, page};
use crate::operation::Request;

impl Model {
    /// Returns the person whose channels a request asks for: the caller, or for an admin anybody.
    fn require_subject(&self, r: &Request, caller: &Written) -> Result<String, Refusal> {
        let subject = r.text("AppInstanceUserArn").unwrap_or(&caller.arn);
        if subject != caller.arn && !self.is_admin(caller) {
            return Err(FORBIDDEN);
        }
        Ok(self.require_person(&app_instance_of(&caller.arn), subject)?.arn)
    }

    pub(super) fn list_of_user(&self, r: &Request, caller: &Written) -> Outcome {
        let subject = self.require_subject(r, caller)?;
        let item = |(arn, channel): (&String, &Channel)| {
            let membership = channel.members.get(&subject)?;
            Some(summary(arn, channel, membership))
        };
        page(r, json!({}), self.as_created().filter_map(item).collect())
    }

    pub(super) fn describe_of_user(&self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        let subject = self.require_subject(r, caller)?;
        let channel = &self.channels[arn];
        let membership = channel.members.get(&subject).ok_or(FORBIDDEN)?;
        Ok(json!({ "ChannelMembership": summary(arn, channel, membership) }))
    }

    pub(super) fn list_moderated(&self, r: &Request, caller: &Written) -> Outcome {
        let subject = self.require_subject(r, caller)?;
        let moderated =
            self.as_created().filter(|(_, channel)| channel.moderators.contains_key(&subject));
        let items =
            moderated.map(|(arn, channel)| json!({ "ChannelSummary": channel.summary(arn) }));
        page(r, json!({}), items.collect())
    }

    pub(super) fn describe_moderated(&self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        let subject = self.require_subject(r, caller)?;
        let channel = &self.channels[arn];
        if !channel.moderators.contains_key(&subject) {
            return Err(FORBIDDEN);
        }
        Ok(json!({ "Channel": { "ChannelSummary": channel.summary(arn) } }))
    }

    pub(super) fn search(&self, r: &Request, caller: &Written) -> Outcome {
        let fields = r.input["Fields"].as_array().cloned().unwrap_or_default();
        let admin = self.is_admin(caller);
        let found = self.as_created().filter(|(arn, channel)| {
            app_instance_of(arn) == app_instance_of(&caller.arn)
                && (admin || channel.members.contains_key(&caller.arn))
                && fields.iter().all(|field| self.matches(field, arn, channel))
        });
        page(r, json!({}), found.map(|(arn, channel)| channel.summary(arn)).collect())
    }

    /// Whether the visible members of a channel are, or include, those of a field. One who was
    /// deleted counts until his leave is told.
    fn matches(&self, field: &Value, arn: &str, channel: &Channel) -> bool {
        let values = field["Values"].as_array().into_iter().flatten();
        let values: BTreeSet<&str> = values.filter_map(Value::as_str).collect();
        let members = channel.members.iter().filter(|(_, membership)| !membership.hidden);
        let members: BTreeSet<&str> = members.map(|(arn, _)| arn.as_str()).collect();
        let owed = self.owed.iter().any(|owed| owed.channel == arn && !owed.hidden);
        match field["Operator"].as_str() {
            Some("EQUALS") => members == values && !owed,
            _ => members.is_superset(&values),
        }
    }

    /// Returns the channels in the order in which they were created.
    fn as_created(&self) -> impl Iterator<Item = (&String, &Channel)> {
        let mut channels: Vec<_> = self.channels.iter().collect();
        channels.sort_by_key(|(_, channel)| channel.life);
        channels.into_iter()
    }
}

fn summary(arn: &str, channel: &Channel, membership: &Membership) -> Value {
    dense(json!({
        "ChannelSummary": channel.summary(arn),
        "AppInstanceUserMembershipSummary": {
            "Type": membership.r#type(), "ReadMarkerTimestamp": membership.marker_ms,
        },
    }))
}

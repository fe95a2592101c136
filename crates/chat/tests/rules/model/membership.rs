//! Memberships, with the read marker and the preferences that belong to them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    Audience, BAD_REQUEST, CONFLICT, FORBIDDEN, Model, NOT_FOUND, Outcome, Refusal, Written,
    app_instance_of, page,
};
use crate::operation::Request;

/// One membership.
pub(crate) struct Membership {
    pub(crate) hidden: bool,
    invited_by: Written,
    created_ms: u64,
    /// The life of the member: lists show members in the order in which they were created.
    pub(super) life: u64,
    pub(super) marker_ms: Option<u64>,
    preferences: Value,
}

impl Membership {
    pub(super) fn r#type(&self) -> &'static str {
        if self.hidden { "HIDDEN" } else { "DEFAULT" }
    }
}

/// Refuses a SubChannelId, which only elastic channels have.
pub(super) fn refuse_sub_channel(r: &Request) -> Result<(), Refusal> {
    if r.input.contains_key("SubChannelId") { Err(BAD_REQUEST) } else { Ok(()) }
}

impl Model {
    /// Makes somebody a member and tells those who are to know.
    pub(super) fn enter(&mut self, arn: &str, inviter: &Written, member: &Written, hidden: bool) {
        self.put_membership(arn, inviter, member, hidden);
        self.tell_of_membership("CREATE_CHANNEL_MEMBERSHIP", arn, &member.arn, hidden);
    }

    fn put_membership(&mut self, arn: &str, inviter: &Written, member: &Written, hidden: bool) {
        let membership = Membership {
            hidden,
            invited_by: inviter.clone(),
            created_ms: self.now_ms,
            life: member.life,
            marker_ms: None,
            preferences: preferences_never_put(),
        };
        self.channel(arn).members.insert(member.arn.clone(), membership);
    }

    /// Ends a membership and tells those who are to know.
    pub(super) fn leave(&mut self, arn: &str, member: &str) -> Result<(), Refusal> {
        let membership = self.channel(arn).members.remove(member).ok_or(FORBIDDEN)?;
        self.tell_of_membership("DELETE_CHANNEL_MEMBERSHIP", arn, member, membership.hidden);
        Ok(())
    }

    /// All members hear of a member; of a hidden one the moderators and himself do.
    fn tell_of_membership(&mut self, event_type: &str, arn: &str, member: &str, hidden: bool) {
        if !hidden {
            return self.tell(event_type, Audience::Members(arn.to_owned()), member);
        }
        self.tell(event_type, Audience::Moderators(arn.to_owned()), member);
        if !self.channels[arn].moderators.contains_key(member) {
            let himself = BTreeSet::from([member.to_owned()]);
            self.tell(event_type, Audience::Users(himself), member);
        }
    }

    pub(super) fn create_membership(
        &mut self,
        r: &Request,
        caller: &Written,
        arn: &str,
    ) -> Outcome {
        let member = self.require_person(&app_instance_of(arn), r.needed("MemberArn"));
        let himself = r.needed("MemberArn") == caller.arn;
        let exists = self.channels[arn].members.contains_key(r.needed("MemberArn"));
        if himself && exists {
            return Err(CONFLICT);
        }
        let hidden = r.needed("Type") == "HIDDEN";
        self.require_role(caller, arn, adding(hidden, himself))?;
        refuse_sub_channel(r)?;
        let member = member?;
        if self.channels[arn].bans.contains_key(&member.arn) {
            return Err(FORBIDDEN);
        }
        if exists {
            return Err(CONFLICT);
        }
        self.enter(arn, caller, &member, hidden);
        Ok(json!({ "ChannelArn": arn, "Member": member.identity() }))
    }

    pub(super) fn create_memberships(
        &mut self,
        r: &Request,
        caller: &Written,
        arn: &str,
    ) -> Outcome {
        let hidden = r.text("Type") == Some("HIDDEN");
        let mut named: Vec<String> = Vec::new();
        for member in r.texts("MemberArns") {
            if !named.contains(&member) {
                named.push(member);
            }
        }
        let himself = named == [caller.arn.clone()];
        self.require_role(caller, arn, adding(hidden, himself))?;
        refuse_sub_channel(r)?;
        let (mut members, mut errors) = (Vec::new(), Vec::new());
        for member in named {
            let error = |code: &str| json!({ "MemberArn": member, "ErrorCode": code });
            let Ok(found) = self.require_person(&app_instance_of(arn), &member) else {
                errors.push(error("Forbidden"));
                continue;
            };
            if self.channels[arn].bans.contains_key(&member) {
                errors.push(error("Forbidden"));
            } else if self.channels[arn].members.contains_key(&member) {
                errors.push(error("Conflict"));
            } else {
                self.put_membership(arn, caller, &found, hidden);
                members.push(found);
            }
        }
        self.tell_of_memberships(arn, &members, hidden);
        let identities: Vec<Value> = members.iter().map(Written::identity).collect();
        let r#type = if hidden { "HIDDEN" } else { "DEFAULT" };
        let made = json!({
            "InvitedBy": caller.identity(), "Type": r#type, "Members": identities,
            "ChannelArn": arn,
        });
        Ok(json!({ "BatchChannelMemberships": made, "Errors": errors }))
    }

    fn tell_of_memberships(&mut self, arn: &str, members: &[Written], hidden: bool) {
        const EVENT: &str = "BATCH_CREATE_CHANNEL_MEMBERSHIP";
        if members.is_empty() {
            return;
        }
        let mut arns: Vec<String> = members.iter().map(|member| member.arn.clone()).collect();
        arns.sort();
        if !hidden {
            return self.tell(EVENT, Audience::Members(arn.to_owned()), &arns.join(" "));
        }
        self.tell(EVENT, Audience::Moderators(arn.to_owned()), &arns.join(" "));
        for member in arns {
            if !self.channels[arn].moderators.contains_key(&member) {
                self.tell(EVENT, Audience::Users(BTreeSet::from([member.clone()])), &member);
            }
        }
    }

    pub(super) fn describe_membership(&self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "read the members")?;
        refuse_sub_channel(r)?;
        let member = self.written(r.needed("MemberArn")).ok_or(NOT_FOUND)?;
        let membership = self.channels[arn].members.get(&member.arn).ok_or(NOT_FOUND)?;
        Ok(json!({ "ChannelMembership": {
            "InvitedBy": membership.invited_by.identity(), "Type": membership.r#type(),
            "Member": member.identity(), "ChannelArn": arn,
            "CreatedTimestamp": membership.created_ms,
            "LastUpdatedTimestamp": membership.created_ms,
        } }))
    }

    pub(super) fn list_memberships(&self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        let r#type = r.text("Type").unwrap_or("DEFAULT");
        let hidden = r#type == "HIDDEN";
        let action = if hidden { "read the hidden members" } else { "read the members" };
        self.require_role(caller, arn, action)?;
        refuse_sub_channel(r)?;
        let members = self.channels[arn].members.iter();
        let mut members: Vec<_> = members.filter(|(_, one)| one.r#type() == r#type).collect();
        members.sort_by_key(|(_, membership)| membership.life);
        let items = members.iter().filter_map(|(member, _)| self.written(member));
        let items = items.map(|member| json!({ "Member": member.identity() }));
        page(r, json!({ "ChannelArn": arn }), items.collect())
    }

    pub(super) fn delete_membership(
        &mut self,
        r: &Request,
        caller: &Written,
        arn: &str,
    ) -> Outcome {
        let member = r.needed("MemberArn");
        let action = if member == caller.arn { "leave" } else { "remove somebody else" };
        self.require_role(caller, arn, action)?;
        refuse_sub_channel(r)?;
        self.leave(arn, member)?;
        Ok(Value::Null)
    }

    pub(super) fn update_read_marker(&mut self, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "move his read marker")?;
        let now_ms = self.now_ms;
        let membership = self.channel(arn).members.get_mut(&caller.arn).ok_or(FORBIDDEN)?;
        membership.marker_ms = Some(now_ms);
        Ok(json!({ "ChannelArn": arn }))
    }

    /// Returns the caller's own membership, as preferences are nobody else's.
    fn own(
        &mut self,
        r: &Request,
        caller: &Written,
        arn: &str,
    ) -> Result<&mut Membership, Refusal> {
        if r.needed("MemberArn") != caller.arn {
            return Err(FORBIDDEN);
        }
        self.require_role(caller, arn, "read or put his preferences")?;
        self.channel(arn).members.get_mut(&caller.arn).ok_or(FORBIDDEN)
    }

    pub(super) fn get_preferences(&mut self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        let preferences = self.own(r, caller, arn)?.preferences.clone();
        let member = caller.identity();
        Ok(json!({ "ChannelArn": arn, "Member": member, "Preferences": preferences }))
    }

    pub(super) fn put_preferences(&mut self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        let mut preferences = r.input["Preferences"].clone();
        if preferences["PushNotifications"].is_null() {
            preferences = preferences_never_put();
        }
        let push = &preferences["PushNotifications"];
        let filtered = push["AllowNotifications"] == "FILTERED";
        let own = self.own(r, caller, arn)?;
        if filtered && push["FilterRule"].is_null() {
            return Err(BAD_REQUEST);
        }
        own.preferences = preferences.clone();
        let member = caller.identity();
        Ok(json!({ "ChannelArn": arn, "Member": member, "Preferences": preferences }))
    }
}

fn preferences_never_put() -> Value {
    json!({ "PushNotifications": { "AllowNotifications": "ALL" } })
}

/// Returns what the adding of somebody is called in docs/roles.md.
fn adding(hidden: bool, himself: bool) -> &'static str {
    match (hidden, himself) {
        (true, _) => "add a hidden member",
        (false, true) => "join by himself",
        (false, false) => "add somebody else",
    }
}

//! Moderators and bans of a channel.

use serde_json::{Value, json};

use super::{CONFLICT, FORBIDDEN, Model, NOT_FOUND, Outcome, Written, app_instance_of, page};
use crate::operation::Request;

impl Model {
    pub(super) fn create_moderator(&mut self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "make somebody a moderator")?;
        let one = self.require_person(&app_instance_of(arn), r.needed("ChannelModeratorArn"))?;
        if self.channels[arn].bans.contains_key(&one.arn) {
            return Err(FORBIDDEN);
        }
        if self.channels[arn].moderators.contains_key(&one.arn) {
            return Err(CONFLICT);
        }
        let by = (caller.clone(), self.now_ms);
        self.channel(arn).moderators.insert(one.arn.clone(), by);
        Ok(json!({ "ChannelArn": arn, "ChannelModerator": one.identity() }))
    }

    pub(super) fn describe_moderator(&self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "read the moderators")?;
        let one = r.needed("ChannelModeratorArn");
        let (by, created_ms) = self.channels[arn].moderators.get(one).ok_or(NOT_FOUND)?;
        let moderator = self.written(one).ok_or(NOT_FOUND)?;
        Ok(json!({ "ChannelModerator": {
            "Moderator": moderator.identity(), "ChannelArn": arn,
            "CreatedTimestamp": created_ms, "CreatedBy": by.identity(),
        } }))
    }

    pub(super) fn list_moderators(&self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "read the moderators")?;
        let moderators = self.channels[arn].moderators.keys();
        let items = moderators.filter_map(|one| self.written(one));
        let items = items.map(|one| json!({ "Moderator": one.identity() }));
        page(r, json!({ "ChannelArn": arn }), items.collect())
    }

    pub(super) fn delete_moderator(&mut self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "take the role from a moderator")?;
        let one = r.needed("ChannelModeratorArn");
        self.channel(arn).moderators.remove(one).map(|_| Value::Null).ok_or(FORBIDDEN)
    }

    pub(super) fn create_ban(&mut self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "ban somebody")?;
        let one = self.require_person(&app_instance_of(arn), r.needed("MemberArn"))?;
        let channel = &self.channels[arn];
        if self.is_admin(&one) || channel.moderators.contains_key(&one.arn) {
            return Err(FORBIDDEN);
        }
        if channel.bans.contains_key(&one.arn) {
            return Err(CONFLICT);
        }
        if channel.members.contains_key(&one.arn) {
            self.leave(arn, &one.arn)?;
        }
        let by = (caller.clone(), self.now_ms);
        self.channel(arn).bans.insert(one.arn.clone(), by);
        Ok(json!({ "ChannelArn": arn, "Member": one.identity() }))
    }

    pub(super) fn describe_ban(&self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "read the bans")?;
        let one = r.needed("MemberArn");
        let (by, created_ms) = self.channels[arn].bans.get(one).ok_or(NOT_FOUND)?;
        let member = self.written(one).ok_or(NOT_FOUND)?;
        Ok(json!({ "ChannelBan": {
            "Member": member.identity(), "ChannelArn": arn,
            "CreatedTimestamp": created_ms, "CreatedBy": by.identity(),
        } }))
    }

    pub(super) fn list_bans(&self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "read the bans")?;
        let items = self.channels[arn].bans.keys().filter_map(|one| self.written(one));
        let items = items.map(|one| json!({ "Member": one.identity() }));
        page(r, json!({ "ChannelArn": arn }), items.collect())
    }

    pub(super) fn delete_ban(&mut self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "lift a ban")?;
        let one = r.needed("MemberArn");
        self.channel(arn).bans.remove(one).map(|_| Value::Null).ok_or(FORBIDDEN)
    }
}

//! App instances, users, bots and admins.

use serde_json::{Value, json};

use super::{
    AppInstance, BAD_REQUEST, CONFLICT, FORBIDDEN, Kind, Model, NOT_FOUND, Outcome, Owed, Person,
    Refusal, Written, app_instance_of, dense, kind_of, made, page,
};
use crate::model::membership::Membership;
use crate::operation::Request;

impl Model {
    pub(super) fn create_app_instance(&mut self, r: &Request, found: &Outcome) -> Outcome {
        if let Some(used) = self.used(r, 0, 0)?
            && self.app_instances.get(&used.made).is_some_and(|one| one.life == used.life)
        {
            return Ok(json!({ "AppInstanceArn": used.made }));
        }
        let (arn, life) = (made(found, "AppInstanceArn"), self.new_life());
        let app_instance = AppInstance {
            life,
            name: r.needed("Name").to_owned(),
            metadata: r.filled("Metadata"),
            created_ms: self.now_ms,
            updated_ms: self.now_ms,
        };
        self.app_instances.insert(arn.clone(), app_instance);
        self.attach_tags(r, &arn);
        self.remember(r, 0, 0, &arn, life);
        self.seen.app_instances.push(arn.clone());
        Ok(json!({ "AppInstanceArn": arn }))
    }

    pub(super) fn describe_app_instance(&self, r: &Request) -> Outcome {
        let arn = r.needed("AppInstanceArn");
        self.require_app_instance(arn)?;
        let one = &self.app_instances[arn];
        Ok(dense(json!({ "AppInstance": {
            "AppInstanceArn": arn, "Name": one.name, "Metadata": one.metadata,
            "CreatedTimestamp": one.created_ms, "LastUpdatedTimestamp": one.updated_ms,
        } })))
    }

    pub(super) fn list_app_instances(&self, r: &Request) -> Outcome {
        let item = |(arn, one): (&String, &AppInstance)| {
            let item = json!({ "AppInstanceArn": arn, "Name": one.name, "Metadata": one.metadata });
            dense(item)
        };
        page(r, json!({}), self.app_instances.iter().map(item).collect())
    }

    pub(super) fn update_app_instance(&mut self, r: &Request) -> Outcome {
        let arn = r.needed("AppInstanceArn");
        self.require_app_instance(arn)?;
        let now_ms = self.now_ms;
        let one = self.app_instances.get_mut(arn).ok_or(FORBIDDEN)?;
        r.needed("Name").clone_into(&mut one.name);
        one.metadata = r.filled("Metadata");
        one.updated_ms = now_ms;
        Ok(json!({ "AppInstanceArn": arn }))
    }

    pub(super) fn delete_app_instance(&mut self, r: &Request) -> Outcome {
        let arn = r.needed("AppInstanceArn");
        self.require_app_instance(arn)?;
        let below = |other: &String| other == arn || other.starts_with(&format!("{arn}/"));
        self.app_instances.remove(arn);
        self.people.retain(|arn, _| !below(arn));
        self.admins.retain(|arn, _| !below(arn));
        self.channels.retain(|arn, _| !below(arn));
        self.flows.retain(|arn, _| !below(arn));
        self.tags.retain(|arn, _| !below(arn));
        self.owed.retain(|owed| !below(&owed.channel));
        Ok(Value::Null)
    }

    pub(super) fn create_user(&mut self, r: &Request) -> Outcome {
        let app_instance = r.needed("AppInstanceArn");
        let parent = self.require_app_instance(app_instance)?;
        let arn = format!("{app_instance}/user/{}", r.needed("AppInstanceUserId"));
        let used = self.used(r, parent, 0)?;
        let existing = self.people.get(&arn).map(|user| user.life);
        if used.is_some_and(|used| Some(used.life) == existing) {
            return Ok(json!({ "AppInstanceUserArn": arn }));
        }
        if existing.is_some() {
            return Err(CONFLICT);
        }
        let life = self.add_person(r, &arn);
        self.remember(r, parent, 0, &arn, life);
        Ok(json!({ "AppInstanceUserArn": arn }))
    }

    fn add_person(&mut self, r: &Request, arn: &str) -> u64 {
        let life = self.new_life();
        let person = Person {
            life,
            name: r.filled("Name"),
            metadata: r.filled("Metadata"),
            created_ms: self.now_ms,
            updated_ms: self.now_ms,
            configuration: r.input.get("Configuration").cloned(),
            endpoints: std::collections::BTreeMap::new(),
        };
        self.people.insert(arn.to_owned(), person);
        self.attach_tags(r, arn);
        life
    }

    pub(super) fn describe_user(&mut self, r: &Request) -> Outcome {
        let arn = r.needed("AppInstanceUserArn");
        let user = self.require_user(arn)?;
        Ok(dense(json!({ "AppInstanceUser": {
            "AppInstanceUserArn": arn, "Name": user.name, "Metadata": user.metadata,
            "CreatedTimestamp": user.created_ms, "LastUpdatedTimestamp": user.updated_ms,
        } })))
    }

    pub(super) fn list_users(&self, r: &Request) -> Outcome {
        self.list_people(r, Kind::User, "AppInstanceUserArn")
    }

    pub(super) fn list_bots(&self, r: &Request) -> Outcome {
        self.list_people(r, Kind::Bot, "AppInstanceBotArn")
    }

    fn list_people(&self, r: &Request, kind: Kind, member: &str) -> Outcome {
        let app_instance = r.needed("AppInstanceArn");
        self.require_app_instance(app_instance)?;
        let within = format!("{app_instance}/");
        let people =
            self.people.iter().filter(|(arn, _)| arn.starts_with(&within) && kind_of(arn) == kind);
        let item = |(arn, one): (&String, &Person)| {
            dense(json!({ member: arn, "Name": one.name, "Metadata": one.metadata }))
        };
        page(r, json!({ "AppInstanceArn": app_instance }), people.map(item).collect())
    }

    pub(super) fn update_user(&mut self, r: &Request) -> Outcome {
        let arn = r.needed("AppInstanceUserArn");
        let now_ms = self.now_ms;
        let user = self.require_user(arn)?;
        user.rename(r, now_ms);
        Ok(json!({ "AppInstanceUserArn": arn }))
    }

    pub(super) fn delete_user(&mut self, r: &Request) -> Outcome {
        let arn = r.needed("AppInstanceUserArn");
        self.require_user(arn)?;
        self.remove_person(arn);
        Ok(Value::Null)
    }

    /// Removes a user or bot with all that he is and has. The others in his channels are told of
    /// his leaves while the purge runs.
    fn remove_person(&mut self, arn: &str) {
        self.people.remove(arn);
        self.admins.remove(arn);
        self.tags.remove(arn);
        for (channel_arn, channel) in &mut self.channels {
            channel.moderators.remove(arn);
            channel.bans.remove(arn);
            if let Some(membership) = channel.members.remove(arn) {
                let (channel, member) = (channel_arn.clone(), arn.to_owned());
                let Membership { life, hidden, .. } = membership;
                self.owed.insert(Owed { channel, member, life, hidden });
            }
        }
    }

    fn require_bot(&mut self, arn: &str) -> Result<&mut Person, Refusal> {
        if !matches!(kind_of(arn), Kind::Bot | Kind::Other) {
            return Err(BAD_REQUEST);
        }
        self.people.get_mut(arn).ok_or(FORBIDDEN)
    }

    pub(super) fn create_bot(&mut self, r: &Request, found: &Outcome) -> Outcome {
        let app_instance = r.needed("AppInstanceArn");
        let parent = self.require_app_instance(app_instance)?;
        if let Some(used) = self.used(r, parent, 0)?
            && self.people.get(&used.made).is_some_and(|bot| bot.life == used.life)
        {
            return Ok(json!({ "AppInstanceBotArn": used.made }));
        }
        let arn = made(found, "AppInstanceBotArn");
        let life = self.add_person(r, &arn);
        self.remember(r, parent, 0, &arn, life);
        self.seen.bots.push(arn.clone());
        Ok(json!({ "AppInstanceBotArn": arn }))
    }

    pub(super) fn describe_bot(&mut self, r: &Request) -> Outcome {
        let arn = r.needed("AppInstanceBotArn");
        let inside = self.app_instances.contains_key(&app_instance_of(arn));
        let bot = self.require_bot(arn).map_err(|refusal| match refusal {
            FORBIDDEN if inside => NOT_FOUND,
            other => other,
        })?;
        Ok(dense(json!({ "AppInstanceBot": {
            "AppInstanceBotArn": arn, "Name": bot.name, "Metadata": bot.metadata,
            "Configuration": bot.configuration,
            "CreatedTimestamp": bot.created_ms, "LastUpdatedTimestamp": bot.updated_ms,
        } })))
    }

    pub(super) fn update_bot(&mut self, r: &Request) -> Outcome {
        let arn = r.needed("AppInstanceBotArn");
        let now_ms = self.now_ms;
        let bot = self.require_bot(arn)?;
        bot.rename(r, now_ms);
        Ok(json!({ "AppInstanceBotArn": arn }))
    }

    pub(super) fn delete_bot(&mut self, r: &Request) -> Outcome {
        let arn = r.needed("AppInstanceBotArn");
        self.require_bot(arn)?;
        self.remove_person(arn);
        Ok(Value::Null)
    }

    pub(super) fn create_admin(&mut self, r: &Request) -> Outcome {
        let app_instance = r.needed("AppInstanceArn");
        self.require_app_instance(app_instance)?;
        let admin = self.require_person(app_instance, r.needed("AppInstanceAdminArn"))?;
        if self.is_admin(&admin) {
            return Err(CONFLICT);
        }
        self.admins.insert(admin.arn.clone(), self.now_ms);
        Ok(json!({ "AppInstanceAdmin": admin.identity(), "AppInstanceArn": app_instance }))
    }

    pub(super) fn describe_admin(&self, r: &Request) -> Outcome {
        let app_instance = r.needed("AppInstanceArn");
        self.require_app_instance(app_instance)?;
        let admin = self.require_person(app_instance, r.needed("AppInstanceAdminArn"))?;
        let created_ms = self.admins.get(&admin.arn).ok_or(FORBIDDEN)?;
        Ok(json!({ "AppInstanceAdmin": {
            "Admin": admin.identity(), "AppInstanceArn": app_instance,
            "CreatedTimestamp": created_ms,
        } }))
    }

    pub(super) fn list_admins(&self, r: &Request) -> Outcome {
        let app_instance = r.needed("AppInstanceArn");
        self.require_app_instance(app_instance)?;
        let within = format!("{app_instance}/");
        let admins = self.admins.keys().filter(|arn| arn.starts_with(&within));
        let mut admins: Vec<Written> = admins.filter_map(|arn| self.written(arn)).collect();
        admins.sort_by_key(|admin| admin.life);
        let items = admins.iter().map(|admin| json!({ "Admin": admin.identity() }));
        page(r, json!({ "AppInstanceArn": app_instance }), items.collect())
    }

    pub(super) fn delete_admin(&mut self, r: &Request) -> Outcome {
        let app_instance = r.needed("AppInstanceArn");
        self.require_app_instance(app_instance)?;
        let admin = self.require_person(app_instance, r.needed("AppInstanceAdminArn"))?;
        self.admins.remove(&admin.arn).map(|_| Value::Null).ok_or(FORBIDDEN)
    }
}

impl Person {
    /// Replaces what an update names; all of it but a configuration must be given.
    fn rename(&mut self, r: &Request, now_ms: u64) {
        self.name = r.filled("Name");
        self.metadata = r.filled("Metadata");
        if let Some(configuration) = r.input.get("Configuration") {
            self.configuration = Some(configuration.clone());
        }
        self.updated_ms = now_ms;
    }
}

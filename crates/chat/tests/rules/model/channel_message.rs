//! Messages of a channel.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wire::time::Timestamp;

use super::membership::refuse_sub_channel;
use super::{
    Audience, BAD_REQUEST, CONFLICT, FORBIDDEN, Model, NOT_FOUND, Outcome, Refusal, Written,
    app_instance_of, dense, made, page,
};
use crate::operation::Request;

/// Bytes of content that a message may have.
const STANDARD_MAX: usize = 4_096;
const CONTROL_MAX: usize = 30;

/// One stored message.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    r#type: String,
    content: Option<String>,
    metadata: Option<String>,
    content_type: Option<String>,
    attributes: Option<Value>,
    pub(crate) sender: Written,
    target: Option<Written>,
    pub(crate) created_ms: u64,
    updated_ms: u64,
    edited_ms: Option<u64>,
    redacted: bool,
    status: &'static str,
}

impl Message {
    /// Whether this person may know of the message.
    fn is_for(&self, reader: &Written) -> bool {
        let sender = self.sender.life == reader.life;
        let target = self.target.as_ref().is_none_or(|target| target.life == reader.life);
        sender || (target && self.status == "SENT")
    }

    fn audience(&self, channel: &str) -> Audience {
        match &self.target {
            None => Audience::Members(channel.to_owned()),
            Some(target) => {
                Audience::Users(BTreeSet::from([self.sender.arn.clone(), target.arn.clone()]))
            }
        }
    }

    fn summary(&self) -> Value {
        let target = self.target.as_ref().map(|target| json!([{ "MemberArn": target.arn }]));
        json!({
            "MessageId": self.id, "Content": self.content, "Metadata": self.metadata,
            "Type": self.r#type, "CreatedTimestamp": self.created_ms,
            "LastEditedTimestamp": self.edited_ms, "LastUpdatedTimestamp": self.updated_ms,
            "Sender": self.sender.identity(), "Redacted": self.redacted,
            "Status": { "Value": self.status }, "MessageAttributes": self.attributes,
            "ContentType": self.content_type, "Target": target,
        })
    }

    fn about(&self) -> String {
        format!("{} {} {:?}", self.id, self.status, self.content)
    }
}

/// Refuses what is too long or does not fit the type.
fn check(r: &Request, r#type: &str) -> Result<(), Refusal> {
    let max = if r#type == "CONTROL" { CONTROL_MAX } else { STANDARD_MAX };
    let too_much = r#type == "CONTROL" && r.filled("Metadata").is_some();
    if r.needed("Content").len() > max || too_much {
        return Err(BAD_REQUEST);
    }
    refuse_sub_channel(r)
}

impl Model {
    pub(super) fn send(
        &mut self,
        r: &Request,
        caller: &Written,
        arn: &str,
        found: &Outcome,
    ) -> Outcome {
        let parent = self.channels[arn].life;
        let answer = |id: &str, status: &str| json!({ "ChannelArn": arn, "MessageId": id, "Status": { "Value": status } });
        if let Some(used) = self.used(r, parent, caller.life)? {
            let status = if used.life == 0 { "SENT" } else { "PENDING" };
            return Ok(answer(&used.made, status));
        }
        self.require_role(caller, arn, "send a message")?;
        check(r, r.needed("Type"))?;
        let target = self.require_target(r, arn)?;
        let fails = r.needed("Type") == "STANDARD" && self.aborts(arn);
        let id = made(found, "MessageId");
        let message = self.new_message(r, caller, target, id.clone());
        self.seen.messages.push((arn.to_owned(), id.clone()));
        let stored = r.needed("Persistence") == "PERSISTENT";
        if stored {
            self.remember(r, parent, caller.life, &id, u64::from(fails));
        }
        let targeted = message.target.is_some();
        let message = if fails {
            self.fail(arn, message, "CREATE")
        } else {
            self.tell("CREATE_CHANNEL_MESSAGE", message.audience(arn), &message.about());
            message
        };
        let now_ms = self.now_ms;
        let channel = self.channel(arn);
        if stored && !fails && !targeted {
            channel.last_message_ms = Some(now_ms);
        }
        if stored {
            channel.messages.push(message);
        }
        Ok(answer(&id, if fails { "PENDING" } else { "SENT" }))
    }

    /// Tells the sender alone, if he is a member, that a message waits for its flow, and that this
    /// has failed.
    fn fail(&mut self, arn: &str, mut message: Message, verb: &str) -> Message {
        let sender = message.sender.arn.clone();
        let is_member = self.channels[arn].members.contains_key(&sender);
        let sender = Audience::Users(BTreeSet::from([sender]));
        for status in ["PENDING", "FAILED"] {
            message.status = status;
            if is_member {
                let event_type = format!("{status}_{verb}_CHANNEL_MESSAGE");
                self.tell(&event_type, sender.clone(), &message.about());
            }
        }
        message
    }

    /// Returns whom a targeted message is for, a member.
    fn require_target(&self, r: &Request, arn: &str) -> Result<Option<Written>, Refusal> {
        let Some(target) = r.input.get("Target") else { return Ok(None) };
        let target = target[0]["MemberArn"].as_str().unwrap_or_default();
        let target = self.require_person(&app_instance_of(arn), target)?;
        if !self.channels[arn].members.contains_key(&target.arn) {
            return Err(FORBIDDEN);
        }
        Ok(Some(target))
    }

    fn new_message(
        &self,
        r: &Request,
        sender: &Written,
        target: Option<Written>,
        id: String,
    ) -> Message {
        let text = |member: &str| r.text(member).map(str::to_owned);
        Message {
            id,
            r#type: r.needed("Type").to_owned(),
            content: text("Content"),
            metadata: r.filled("Metadata"),
            content_type: text("ContentType"),
            attributes: r.input.get("MessageAttributes").cloned(),
            sender: sender.clone(),
            target,
            created_ms: self.now_ms,
            updated_ms: self.now_ms,
            edited_ms: None,
            redacted: false,
            status: "SENT",
        }
    }

    /// Returns the place of the message that a request is about, if the caller may know of it.
    fn find_message(&self, r: &Request, caller: &Written, arn: &str) -> Option<usize> {
        let id = r.needed("MessageId");
        let messages = &self.channels[arn].messages;
        messages.iter().position(|message| message.id == id && message.is_for(caller))
    }

    pub(super) fn get_message(&self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "read messages")?;
        refuse_sub_channel(r)?;
        let place = self.find_message(r, caller, arn).ok_or(NOT_FOUND)?;
        let mut message = self.channels[arn].messages[place].summary();
        message["ChannelArn"] = json!(arn);
        message["Persistence"] = json!("PERSISTENT");
        Ok(dense(json!({ "ChannelMessage": message })))
    }

    pub(super) fn list_messages(&self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "read messages")?;
        refuse_sub_channel(r)?;
        let bound = |member: &str| r.text(member).map(parse_time);
        let (from, to) = (bound("NotBefore"), bound("NotAfter"));
        let messages = self.channels[arn].messages.iter().filter(|message| {
            message.is_for(caller)
                && from.is_none_or(|from| message.created_ms >= from)
                && to.is_none_or(|to| message.created_ms <= to)
        });
        let mut items: Vec<Value> = messages.map(|message| dense(message.summary())).collect();
        if r.text("SortOrder") != Some("ASCENDING") {
            items.reverse();
        }
        page(r, json!({ "ChannelArn": arn }), items)
    }

    pub(super) fn update_message(&mut self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        let place = self.find_message(r, caller, arn);
        self.require_role(caller, arn, "update his own message")?;
        let mut message = self.channels[arn].messages[place.ok_or(FORBIDDEN)?].clone();
        if message.sender.life != caller.life {
            return Err(FORBIDDEN);
        }
        if message.redacted || message.status != "SENT" {
            return Err(CONFLICT);
        }
        check(r, &message.r#type)?;
        message.content = r.text("Content").map(str::to_owned);
        if r.input.contains_key("Metadata") {
            message.metadata = r.filled("Metadata");
        }
        if let Some(content_type) = r.text("ContentType") {
            message.content_type = Some(content_type.to_owned());
        }
        let id = message.id.clone();
        let fails = message.r#type == "STANDARD" && self.aborts(arn);
        if fails {
            self.fail(arn, message, "UPDATE");
        } else {
            message.edited_ms = Some(self.now_ms);
            self.change(arn, place.ok_or(FORBIDDEN)?, message, "UPDATE_CHANNEL_MESSAGE");
        }
        let status = if fails { "PENDING" } else { "SENT" };
        Ok(json!({ "ChannelArn": arn, "MessageId": id, "Status": { "Value": status } }))
    }

    /// Puts what became of a message and tells those who know of it.
    fn change(&mut self, arn: &str, place: usize, mut message: Message, event_type: &str) {
        message.updated_ms = self.now_ms;
        self.tell_of_change(event_type, arn, &message);
        self.channel(arn).messages[place] = message;
    }

    /// Tells the members; of a targeted message its sender and target, if they are members still.
    fn tell_of_change(&mut self, event_type: &str, arn: &str, message: &Message) {
        let Some(target) = &message.target else {
            return self.tell(event_type, Audience::Members(arn.to_owned()), &message.about());
        };
        let members = &self.channels[arn].members;
        // One who was deleted is a member until the purge comes to it; nobody is there to hear.
        let member = |one: &&Written| {
            members.get(&one.arn).is_some_and(|membership| membership.life == one.life)
                || self.owed.iter().any(|owed| owed.channel == arn && owed.life == one.life)
        };
        let told = [&message.sender, target].into_iter().filter(member);
        let told: BTreeSet<String> = told.map(|one| one.arn.clone()).collect();
        if !told.is_empty() {
            self.tell(event_type, Audience::Users(told), &message.about());
        }
    }

    pub(super) fn redact_message(&mut self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        refuse_sub_channel(r)?;
        let place = self.find_message(r, caller, arn).ok_or(FORBIDDEN)?;
        let mut message = self.channels[arn].messages[place].clone();
        let own = message.sender.life == caller.life;
        let action = if own { "redact his own message" } else { "redact somebody else's message" };
        self.require_role(caller, arn, action)?;
        if message.redacted || message.status != "SENT" {
            return Err(CONFLICT);
        }
        message.redacted = true;
        message.content = None;
        message.metadata = None;
        let id = message.id.clone();
        self.change(arn, place, message, "REDACT_CHANNEL_MESSAGE");
        Ok(json!({ "ChannelArn": arn, "MessageId": id }))
    }

    pub(super) fn delete_message(&mut self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "delete a message")?;
        refuse_sub_channel(r)?;
        let id = r.needed("MessageId");
        let messages = &mut self.channel(arn).messages;
        let sent = |message: &Message| message.id == id && message.status == "SENT";
        let place = messages.iter().position(sent).ok_or(FORBIDDEN)?;
        let mut message = messages.remove(place);
        message.content = None;
        self.tell_of_change("DELETE_CHANNEL_MESSAGE", arn, &message);
        Ok(Value::Null)
    }

    pub(super) fn message_status(&self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "read his own message's status")?;
        refuse_sub_channel(r)?;
        let place = self.find_message(r, caller, arn).ok_or(FORBIDDEN)?;
        let message = &self.channels[arn].messages[place];
        if message.sender.life != caller.life {
            return Err(FORBIDDEN);
        }
        Ok(json!({ "Status": { "Value": message.status } }))
    }
}

/// Writes a time as a query has it.
pub(crate) fn write_time(ms: u64) -> String {
    Timestamp(i64::try_from(ms).expect("is of this age")).to_iso()
}

fn parse_time(text: &str) -> u64 {
    let time = Timestamp::parse_query(text).expect("was written by `write_time`");
    u64::try_from(time.ms()).expect("is past 1970")
}

//! What belongs to a resource: the devices of a user, the tags of anything.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    BAD_REQUEST, CONFLICT, FORBIDDEN, Kind, LIMIT, Model, Outcome, Refusal, dense, kind_of, made,
    page,
};
use crate::operation::Request;

const ENDPOINTS_MAX: usize = 10;
const TAGS_MAX: usize = 50;

/// A device that wants push notifications.
#[derive(Clone)]
pub(crate) struct Endpoint {
    name: Option<String>,
    r#type: String,
    resource: String,
    attributes: Value,
    allow_messages: String,
    created_ms: u64,
    updated_ms: u64,
}

impl Endpoint {
    fn described(&self, user: &str, id: &str) -> Value {
        dense(json!({ "AppInstanceUserEndpoint": {
            "AppInstanceUserArn": user, "EndpointId": id, "Name": self.name, "Type": self.r#type,
            "ResourceArn": self.resource, "EndpointAttributes": self.attributes,
            "AllowMessages": self.allow_messages, "EndpointState": state(),
            "CreatedTimestamp": self.created_ms, "LastUpdatedTimestamp": self.updated_ms,
        } }))
    }
}

/// Nothing is delivered to devices yet.
fn state() -> Value {
    json!({ "Status": "INACTIVE", "StatusReason": "INVALID_PINPOINT_ARN" })
}

impl Model {
    pub(super) fn register_endpoint(&mut self, r: &Request, found: &Outcome) -> Outcome {
        let arn = r.needed("AppInstanceUserArn");
        let user = self.require_user(arn)?.life;
        let answer = |id: &str| json!({ "AppInstanceUserArn": arn, "EndpointId": id });
        if let Some(used) = self.used(r, user, 0)?
            && self.people[arn].endpoints.contains_key(&used.made)
        {
            return Ok(answer(&used.made));
        }
        let endpoint = Endpoint {
            name: r.filled("Name"),
            r#type: r.needed("Type").to_owned(),
            resource: r.needed("ResourceArn").to_owned(),
            attributes: r.input["EndpointAttributes"].clone(),
            allow_messages: r.text("AllowMessages").unwrap_or("ALL").to_owned(),
            created_ms: self.now_ms,
            updated_ms: self.now_ms,
        };
        let endpoints = &mut self.people.get_mut(arn).ok_or(FORBIDDEN)?.endpoints;
        let device = |one: &Endpoint| one.attributes["DeviceToken"].clone();
        let same = |other: &Endpoint| {
            other.r#type == endpoint.r#type && device(other) == device(&endpoint)
        };
        if endpoints.values().any(same) {
            return Err(CONFLICT);
        }
        if endpoints.len() == ENDPOINTS_MAX {
            return Err(LIMIT);
        }
        let id = made(found, "EndpointId");
        endpoints.insert(id.clone(), endpoint);
        self.remember(r, user, 0, &id, 0);
        self.seen.endpoints.push(id.clone());
        Ok(answer(&id))
    }

    pub(super) fn describe_endpoint(&mut self, r: &Request) -> Outcome {
        let (arn, id) = (r.needed("AppInstanceUserArn"), r.needed("EndpointId"));
        let endpoint = self.require_user(arn)?.endpoints.get(id).ok_or(FORBIDDEN)?;
        Ok(endpoint.described(arn, id))
    }

    pub(super) fn list_endpoints(&mut self, r: &Request) -> Outcome {
        let arn = r.needed("AppInstanceUserArn");
        let endpoints = &self.require_user(arn)?.endpoints;
        let item = |(id, one): (&String, &Endpoint)| {
            dense(json!({
                "AppInstanceUserArn": arn, "EndpointId": id, "Name": one.name, "Type": one.r#type,
                "AllowMessages": one.allow_messages, "EndpointState": state(),
            }))
        };
        page(r, json!({}), endpoints.iter().map(item).collect())
    }

    pub(super) fn update_endpoint(&mut self, r: &Request) -> Outcome {
        let (arn, id) = (r.needed("AppInstanceUserArn"), r.needed("EndpointId"));
        let now_ms = self.now_ms;
        let endpoint = self.require_user(arn)?.endpoints.get_mut(id).ok_or(FORBIDDEN)?;
        if r.input.contains_key("Name") {
            endpoint.name = r.filled("Name");
        }
        if let Some(allow) = r.text("AllowMessages") {
            allow.clone_into(&mut endpoint.allow_messages);
        }
        endpoint.updated_ms = now_ms;
        Ok(json!({ "AppInstanceUserArn": arn, "EndpointId": id }))
    }

    pub(super) fn deregister_endpoint(&mut self, r: &Request) -> Outcome {
        let (arn, id) = (r.needed("AppInstanceUserArn"), r.needed("EndpointId"));
        self.require_user(arn)?.endpoints.remove(id).map(|_| Value::Null).ok_or(FORBIDDEN)
    }

    /// Puts the tags that a create brings with it.
    pub(super) fn attach_tags(&mut self, r: &Request, arn: &str) {
        self.tags.insert(arn.to_owned(), tags_of(r));
    }

    fn require_tags(&mut self, r: &Request) -> Result<&mut BTreeMap<String, String>, Refusal> {
        let arn = r.needed("ResourceARN");
        let there = match kind_of(arn) {
            Kind::AppInstance => self.app_instances.contains_key(arn),
            Kind::User | Kind::Bot => self.people.contains_key(arn),
            Kind::Channel => self.channels.contains_key(arn),
            Kind::ChannelFlow => self.flows.contains_key(arn),
            Kind::Other => false,
        };
        if there { Ok(self.tags.entry(arn.to_owned()).or_default()) } else { Err(FORBIDDEN) }
    }

    pub(super) fn tag(&mut self, r: &Request) -> Outcome {
        let tags = self.require_tags(r)?;
        let mut merged = tags.clone();
        merged.extend(tags_of(r));
        if merged.len() > TAGS_MAX {
            return Err(LIMIT);
        }
        if merged.keys().any(|key| key.starts_with("aws:")) {
            return Err(BAD_REQUEST);
        }
        *tags = merged;
        Ok(Value::Null)
    }

    pub(super) fn untag(&mut self, r: &Request) -> Outcome {
        let tags = self.require_tags(r)?;
        let keys = r.texts("TagKeys");
        tags.retain(|key, _| !keys.contains(key));
        Ok(Value::Null)
    }

    pub(super) fn list_tags(&mut self, r: &Request) -> Outcome {
        let tags = self.require_tags(r)?;
        let item = |(key, value): (&String, &String)| json!({ "Key": key, "Value": value });
        Ok(json!({ "Tags": tags.iter().map(item).collect::<Vec<_>>() }))
    }
}

fn tags_of(r: &Request) -> BTreeMap<String, String> {
    let tags = r.input.get("Tags").and_then(Value::as_array).into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    tags.map(|tag| (text(&tag["Key"]), text(&tag["Value"]))).collect()
}

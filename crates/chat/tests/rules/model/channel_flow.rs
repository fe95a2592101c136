//! Channel flows. Nothing can be invoked yet: a flow that falls back on CONTINUE lets every message
//! pass, one that falls back on ABORT lets it fail.

use serde_json::{Value, json};

use super::{
    BAD_REQUEST, CONFLICT, FORBIDDEN, Kind, Model, NOT_FOUND, Outcome, Refusal, Written,
    app_instance_of, dense, kind_of, made, page,
};
use crate::operation::Request;

/// One channel flow.
pub(crate) struct ChannelFlow {
    life: u64,
    name: String,
    processors: Value,
    created_ms: u64,
    updated_ms: u64,
}

impl Model {
    /// Whether a message that goes through the channel's flow fails.
    pub(super) fn aborts(&self, channel: &str) -> bool {
        let flow = self.channels[channel].flow.as_ref();
        flow.is_some_and(|flow| self.flows[flow].processors[0]["FallbackAction"] == "ABORT")
    }

    fn require_flow(&mut self, arn: &str) -> Result<&mut ChannelFlow, Refusal> {
        if !matches!(kind_of(arn), Kind::ChannelFlow | Kind::Other) {
            return Err(BAD_REQUEST);
        }
        self.flows.get_mut(arn).ok_or(FORBIDDEN)
    }

    /// Returns the channels that go through a flow.
    fn channels_of(&self, flow: &str) -> impl Iterator<Item = (&String, &super::Channel)> {
        self.channels.iter().filter(move |(_, channel)| channel.flow.as_deref() == Some(flow))
    }

    pub(super) fn create_flow(&mut self, r: &Request, found: &Outcome) -> Outcome {
        let app_instance = r.needed("AppInstanceArn");
        let parent = self.require_app_instance(app_instance)?;
        if let Some(used) = self.used(r, parent, 0)?
            && self.flows.get(&used.made).is_some_and(|flow| flow.life == used.life)
        {
            return Ok(json!({ "ChannelFlowArn": used.made }));
        }
        let (arn, life) = (made(found, "ChannelFlowArn"), self.new_life());
        let flow = ChannelFlow {
            life,
            name: r.needed("Name").to_owned(),
            processors: r.input["Processors"].clone(),
            created_ms: self.now_ms,
            updated_ms: self.now_ms,
        };
        self.flows.insert(arn.clone(), flow);
        self.attach_tags(r, &arn);
        self.remember(r, parent, 0, &arn, life);
        self.seen.flows.push(arn.clone());
        Ok(json!({ "ChannelFlowArn": arn }))
    }

    pub(super) fn describe_flow(&mut self, r: &Request) -> Outcome {
        let arn = r.needed("ChannelFlowArn");
        let flow = self.require_flow(arn)?;
        Ok(json!({ "ChannelFlow": {
            "ChannelFlowArn": arn, "Processors": flow.processors, "Name": flow.name,
            "CreatedTimestamp": flow.created_ms, "LastUpdatedTimestamp": flow.updated_ms,
        } }))
    }

    pub(super) fn list_flows(&self, r: &Request) -> Outcome {
        let app_instance = r.needed("AppInstanceArn");
        self.require_app_instance(app_instance)?;
        let flows = self.flows.iter().filter(|(arn, _)| app_instance_of(arn) == app_instance);
        let item = |(arn, flow): (&String, &ChannelFlow)| json!({ "ChannelFlowArn": arn, "Name": flow.name, "Processors": flow.processors });
        page(r, json!({}), flows.map(item).collect())
    }

    pub(super) fn update_flow(&mut self, r: &Request) -> Outcome {
        let arn = r.needed("ChannelFlowArn");
        let now_ms = self.now_ms;
        let flow = self.require_flow(arn)?;
        r.needed("Name").clone_into(&mut flow.name);
        flow.processors = r.input["Processors"].clone();
        flow.updated_ms = now_ms;
        Ok(json!({ "ChannelFlowArn": arn }))
    }

    pub(super) fn delete_flow(&mut self, r: &Request) -> Outcome {
        let arn = r.needed("ChannelFlowArn");
        self.require_flow(arn)?;
        if self.channels_of(arn).next().is_some() {
            return Err(CONFLICT);
        }
        self.flows.remove(arn);
        self.tags.remove(arn);
        Ok(Value::Null)
    }

    pub(super) fn list_channels_of_flow(&mut self, r: &Request) -> Outcome {
        let arn = r.needed("ChannelFlowArn");
        self.require_flow(arn)?;
        let mut channels: Vec<_> = self.channels_of(arn).collect();
        channels.sort_by_key(|(_, channel)| channel.life);
        let items = channels.iter().map(|(channel_arn, channel)| {
            let mut item = channel.summary(channel_arn);
            item["LastMessageTimestamp"] = Value::Null;
            dense(item)
        });
        page(r, json!({}), items.collect())
    }

    pub(super) fn associate_flow(&mut self, r: &Request, caller: &Written, arn: &str) -> Outcome {
        self.require_role(caller, arn, "associate or disassociate a channel flow")?;
        let flow = r.needed("ChannelFlowArn");
        if kind_of(flow) != Kind::ChannelFlow {
            return Err(BAD_REQUEST);
        }
        let inside = app_instance_of(flow) == app_instance_of(arn);
        if !inside || !self.flows.contains_key(flow) {
            return Err(NOT_FOUND);
        }
        if self.channels[arn].flow.is_some() {
            return Err(CONFLICT);
        }
        self.change_flow(arn, Some(flow.to_owned()));
        Ok(Value::Null)
    }

    pub(super) fn disassociate_flow(
        &mut self,
        r: &Request,
        caller: &Written,
        arn: &str,
    ) -> Outcome {
        self.require_role(caller, arn, "associate or disassociate a channel flow")?;
        if kind_of(r.needed("ChannelFlowArn")) != Kind::ChannelFlow {
            return Err(BAD_REQUEST);
        }
        if self.channels[arn].flow.as_deref() != Some(r.needed("ChannelFlowArn")) {
            return Err(NOT_FOUND);
        }
        self.change_flow(arn, None);
        Ok(Value::Null)
    }
}

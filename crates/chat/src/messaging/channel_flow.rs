//! Channel flows of an app instance: what a message passes before it is sent.
//!
//! Key: app instance and the uid, which is also the id in the ARN and is never used again. The
//! counter of a flow's uses equals the channels whose records name it (`channel/flow.rs`); a flow
//! is deleted only where the commit finds nothing counted, so a channel's flow is always there.

use serde::{Deserialize, Serialize};
use store::{Direction, Key, Kind, Range, Record, Table, Txn, Uid};
use wire::arn::Resource;
use wire::messaging::{
    ChannelFlow as Described, ChannelFlowSummary, ChannelMessageType, CreateChannelFlow,
    CreateChannelFlowRequest, CreateChannelFlowResponse, DeleteChannelFlow,
    DeleteChannelFlowRequest, DescribeChannelFlow, DescribeChannelFlowRequest,
    DescribeChannelFlowResponse, FallbackAction, InvocationType, LambdaConfiguration,
    ListChannelFlows, ListChannelFlowsRequest, ListChannelFlowsResponse,
    Processor as WireProcessor, ProcessorConfiguration, UpdateChannelFlow,
    UpdateChannelFlowRequest, UpdateChannelFlowResponse,
};
use wire::time::Timestamp;

use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::idempotency::Token;
use crate::identity::app_instance::{self, AppInstance};
use crate::identity::tags;
use crate::job::{self, Doomed};
use crate::messaging::channel::Channel;
use crate::page::Walk;
use crate::{Chat, ids, limits};

pub(crate) static CHANNEL_FLOW: Table = Table {
    name: "channel_flow",
    kind: Kind::Record,
    columns: &["name", "processors", "uid", "created_ms"],
};

/// One channel flow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChannelFlow {
    pub(crate) app_instance: Uid,
    pub(crate) uid: Uid,
    name: String,
    processors: Vec<Processor>,
    created_ms: i64,
    updated_ms: i64,
}

/// One step of a flow.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Processor {
    name: String,
    lambda_arn: String,
    invocation_type: InvocationType,
    execution_order: i32,
    fallback_action: FallbackAction,
}

impl Record for ChannelFlow {
    const TABLE: &'static Table = &CHANNEL_FLOW;

    fn key(&self) -> Key {
        Self::key_of(self.app_instance, self.uid)
    }
}

impl Proof for ChannelFlow {
    fn counted(&self) -> Vec<Key> {
        vec![limits::CHANNEL_FLOWS.key(self.app_instance)]
    }

    fn refers_to(&self) -> Vec<Uid> {
        vec![self.app_instance]
    }

    fn uid(&self) -> Option<Uid> {
        Some(self.uid)
    }
}

impl ChannelFlow {
    pub(crate) fn key_of(app_instance: Uid, uid: Uid) -> Key {
        Key::new(&CHANNEL_FLOW).uid(app_instance).uid(uid)
    }

    fn arn(&self, cx: &Cx) -> String {
        cx.channel_flow_arn(self.app_instance, self.uid)
    }

    fn wire_processors(&self) -> Vec<WireProcessor> {
        self.processors.iter().map(Processor::described).collect()
    }

    /// What becomes of a message none of whose processors can be invoked.
    fn fallback(&self) -> FallbackAction {
        let mut actions = self.processors.iter().map(|processor| processor.fallback_action);
        let aborts = actions.any(|action| action == FallbackAction::Abort);
        if aborts { FallbackAction::Abort } else { FallbackAction::Continue }
    }
}

impl Processor {
    fn of(processor: &WireProcessor) -> Self {
        let lambda = &processor.configuration.lambda;
        Self {
            name: processor.name.clone(),
            lambda_arn: lambda.resource_arn.clone(),
            invocation_type: lambda.invocation_type,
            execution_order: processor.execution_order,
            fallback_action: processor.fallback_action,
        }
    }

    fn described(&self) -> WireProcessor {
        let lambda = LambdaConfiguration {
            resource_arn: self.lambda_arn.clone(),
            invocation_type: self.invocation_type,
        };
        WireProcessor {
            name: self.name.clone(),
            configuration: ProcessorConfiguration { lambda },
            execution_order: self.execution_order,
            fallback_action: self.fallback_action,
        }
    }
}

/// What the flow of a channel makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Send,
    Fail,
}

/// Returns the row on which the verdict about a message depends, to be loaded with others.
pub(crate) fn key_for(channel: &Channel, r#type: ChannelMessageType) -> Option<Key> {
    let flow = channel.flow.filter(|_| r#type == ChannelMessageType::Standard)?;
    Some(ChannelFlow::key_of(channel.app_instance, flow))
}

/// Passes a message, new or changed, through the flow of its channel.
///
/// No processor can be invoked by this version, so each invocation fails and the processor's
/// FallbackAction decides.
pub(crate) async fn judge(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    r#type: ChannelMessageType,
) -> Result<Verdict> {
    let Some(key) = key_for(channel, r#type) else { return Ok(Verdict::Send) };
    // A flow that is gone was taken from the channel since the channel was read.
    let Some(flow) = tx.get::<ChannelFlow>(&key).await? else { return Ok(Verdict::Send) };
    cx.note_failed_invocation();
    Ok(match flow.fallback() {
        FallbackAction::Continue => Verdict::Send,
        FallbackAction::Abort => Verdict::Fail,
    })
}

/// Returns the app instance and the uid that the ARN of a flow names; nothing where there can be
/// no such flow.
///
/// # Errors
/// BadRequest when it is the ARN of something else.
pub(crate) fn parse(cx: &Cx, arn: &str) -> Result<Option<(Uid, Uid)>> {
    let Some((app_instance, resource)) = cx.parse_arn(arn) else { return Ok(None) };
    let Resource::ChannelFlow(id) = resource else {
        return Err(Error::bad_request("The ARN does not name a channel flow"));
    };
    Ok(ids::parse_uuid(&id).map(|uid| (app_instance, uid)))
}

/// Returns the live flow that `arn` names as the resource of a request.
///
/// # Errors
/// BadRequest when it is the ARN of something else, Forbidden when there is none.
pub(crate) async fn require(cx: &Cx, tx: &mut Txn, arn: &str) -> Result<ChannelFlow> {
    let (app_instance, uid) = parse(cx, arn)?.ok_or_else(Error::forbidden)?;
    let keys = [AppInstance::key_of(app_instance), ChannelFlow::key_of(app_instance, uid)];
    tx.load(&keys).await?;
    if !tx.exists(&keys[0]).await? {
        return Err(Error::forbidden());
    }
    tx.get(&keys[1]).await?.ok_or_else(Error::forbidden)
}

/// Removes a flow that was got, and leaves its counter and tags to a job.
pub(crate) fn remove(cx: &Cx, tx: &mut Txn, flow: &ChannelFlow) {
    tx.delete(flow);
    tx.add(limits::CHANNEL_FLOWS.key(flow.app_instance), -1, None);
    job::purge(cx, tx, Doomed::ChannelFlow, flow.uid);
}

/// Whether there are more processors than the quota allows.
fn has_too_many(cx: &Cx, processors: &[WireProcessor]) -> bool {
    let count = i64::try_from(processors.len()).unwrap_or(i64::MAX);
    count > cx.max(&limits::PROCESSORS)
}

impl Handle<CreateChannelFlow> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &CreateChannelFlowRequest,
    ) -> Result<Reply<CreateChannelFlowResponse>> {
        let app_instance = app_instance::require(cx, tx, &input.app_instance_arn).await?.uid;
        let answer = |uid| {
            let channel_flow_arn = Some(cx.channel_flow_arn(app_instance, uid));
            Reply::Ready(CreateChannelFlowResponse { channel_flow_arn })
        };
        let life = &limits::CREATE_TOKENS;
        let token = &input.client_request_token;
        let token = Token::of::<CreateChannelFlow>(cx, app_instance, life, token, input);
        if let Some(first) = token.first(tx).await?
            && tx.exists(&ChannelFlow::key_of(app_instance, first.uid)).await?
        {
            return Ok(answer(first.uid));
        }
        if has_too_many(cx, &input.processors) {
            return Err(cx.over(&limits::PROCESSORS));
        }
        let flow = ChannelFlow {
            app_instance,
            uid: cx.new_uuid(),
            name: input.name.clone(),
            processors: input.processors.iter().map(Processor::of).collect(),
            created_ms: cx.now_ms,
            updated_ms: cx.now_ms,
        };
        tx.set_home(flow.uid);
        tx.hold(app_instance);
        tx.exists(&flow.key()).await?;
        tx.put(&flow);
        tags::attach(cx, tx, flow.uid, input.tags.as_deref().map(tags::of_messaging))?;
        tx.add(limits::CHANNEL_FLOWS.key(app_instance), 1, Some(cx.max(&limits::CHANNEL_FLOWS)));
        token.remember(tx, "", flow.uid);
        Ok(answer(flow.uid))
    }
}

impl Handle<DescribeChannelFlow> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DescribeChannelFlowRequest,
    ) -> Result<Reply<DescribeChannelFlowResponse>> {
        let flow = require(cx, tx, &input.channel_flow_arn).await?;
        let channel_flow = Some(Described {
            channel_flow_arn: Some(flow.arn(cx)),
            processors: Some(flow.wire_processors()),
            name: Some(flow.name),
            created_timestamp: Some(Timestamp(flow.created_ms)),
            last_updated_timestamp: Some(Timestamp(flow.updated_ms)),
        });
        Ok(Reply::Ready(DescribeChannelFlowResponse { channel_flow }))
    }
}

impl Handle<ListChannelFlows> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListChannelFlowsRequest,
    ) -> Result<Reply<ListChannelFlowsResponse>> {
        let app_instance = app_instance::require(cx, tx, &input.app_instance_arn).await?.uid;
        let mut walk = Walk::start(
            cx,
            &[b"ListChannelFlows", &app_instance.0],
            Range::prefix(Key::new(&CHANNEL_FLOW).uid(app_instance)),
            Direction::Forward,
            input.max_results,
            input.next_token.as_deref(),
        )?;
        let mut summaries = Vec::new();
        for row in walk.take(&tx.view()).await? {
            let flow: ChannelFlow = row.decode()?;
            summaries.push(ChannelFlowSummary {
                channel_flow_arn: Some(flow.arn(cx)),
                processors: Some(flow.wire_processors()),
                name: Some(flow.name),
            });
        }
        Ok(Reply::Ready(ListChannelFlowsResponse {
            channel_flows: Some(summaries),
            next_token: walk.next_token(cx),
        }))
    }
}

impl Handle<UpdateChannelFlow> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &UpdateChannelFlowRequest,
    ) -> Result<Reply<UpdateChannelFlowResponse>> {
        let mut flow = require(cx, tx, &input.channel_flow_arn).await?;
        if has_too_many(cx, &input.processors) {
            // The operation models no ResourceLimitExceeded.
            return Err(Error::bad_request("The channel flow has too many Processors"));
        }
        flow.name.clone_from(&input.name);
        flow.processors = input.processors.iter().map(Processor::of).collect();
        flow.updated_ms = cx.now_ms;
        tx.set_home(flow.uid);
        tx.put(&flow);
        let channel_flow_arn = Some(flow.arn(cx));
        Ok(Reply::Ready(UpdateChannelFlowResponse { channel_flow_arn }))
    }
}

impl Handle<DeleteChannelFlow> for Chat {
    async fn handle(cx: &Cx, tx: &mut Txn, input: &DeleteChannelFlowRequest) -> Result<Reply<()>> {
        let flow = require(cx, tx, &input.channel_flow_arn).await?;
        tx.set_home(flow.uid);
        limits::require_unused(tx, flow.uid);
        remove(cx, tx, &flow);
        Ok(Reply::Ready(()))
    }
}

#[cfg(test)]
mod tests;

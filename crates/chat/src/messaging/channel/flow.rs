//! Which channel flow a channel has.
//!
//! The record of the channel names its flow; from it follow the index row below the flow and the
//! count of the flow's uses. Whoever gives a channel a flow holds the flow's home, so the flow
//! cannot be deleted at the same moment.

use store::{Direction, Key, Kind, Parts, Range, Table, Txn};
use wire::messaging::{
    AssociateChannelFlow, AssociateChannelFlowRequest, ChannelAssociatedWithFlowSummary,
    DisassociateChannelFlow, DisassociateChannelFlowRequest, ListChannelsAssociatedWithChannelFlow,
    ListChannelsAssociatedWithChannelFlowRequest, ListChannelsAssociatedWithChannelFlowResponse,
};

use crate::access::{self, Action};
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::event;
use crate::messaging::channel::{self, Channel};
use crate::messaging::channel_flow::{self, ChannelFlow};
use crate::page::Walk;
use crate::{Chat, limits};

/// Flow, channel: the channels of a flow; the value is the channel's id.
pub(crate) static CHANNEL_BY_FLOW: Table =
    Table { name: "channel_by_flow", kind: Kind::Index, columns: &[] };

impl Channel {
    fn flow_summary(&self, cx: &Cx) -> ChannelAssociatedWithFlowSummary {
        ChannelAssociatedWithFlowSummary {
            name: Some(self.name.clone()),
            channel_arn: Some(self.arn(cx)),
            mode: Some(self.mode),
            privacy: Some(self.privacy),
            metadata: self.metadata.clone(),
        }
    }
}

/// Puts a channel whose flow was changed and tells its members.
async fn put(cx: &Cx, tx: &mut Txn, mut channel: Channel) -> Result<()> {
    channel.updated_ms = cx.now_ms;
    let home = tx.peek_entry(&Key::home(channel.uid)).await?.map(|home| home.home());
    tx.set_home(channel.uid);
    tx.put(&channel);
    let payload = channel.described(cx, home.as_ref());
    channel::tell(tx, &channel, event::Kind::UpdateChannel, &payload).await?;
    Ok(())
}

impl Handle<AssociateChannelFlow> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &AssociateChannelFlowRequest,
    ) -> Result<Reply<()>> {
        let mut channel = channel::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::ChangeFlow, &channel).await?;
        let absent = || Error::not_found("channel flow");
        let named = channel_flow::parse(cx, &input.channel_flow_arn)?;
        let (app_instance, flow) = named.ok_or_else(absent)?;
        let is_there = app_instance == channel.app_instance
            && tx.exists(&ChannelFlow::key_of(app_instance, flow)).await?;
        if !is_there {
            return Err(absent());
        }
        if channel.flow.is_some() {
            return Err(Error::conflict("The channel has a channel flow already"));
        }
        channel.flow = Some(flow);
        tx.hold(flow);
        tx.add(limits::uses_key(flow), 1, None);
        put(cx, tx, channel).await?;
        Ok(Reply::Ready(()))
    }
}

impl Handle<DisassociateChannelFlow> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DisassociateChannelFlowRequest,
    ) -> Result<Reply<()>> {
        let mut channel = channel::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::ChangeFlow, &channel).await?;
        let named = channel_flow::parse(cx, &input.channel_flow_arn)?;
        let named = named.filter(|(app_instance, flow)| {
            *app_instance == channel.app_instance && channel.flow == Some(*flow)
        });
        let (_, flow) = named.ok_or_else(|| Error::not_found("channel flow"))?;
        channel.flow = None;
        tx.add(limits::uses_key(flow), -1, None);
        put(cx, tx, channel).await?;
        Ok(Reply::Ready(()))
    }
}

impl Handle<ListChannelsAssociatedWithChannelFlow> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListChannelsAssociatedWithChannelFlowRequest,
    ) -> Result<Reply<ListChannelsAssociatedWithChannelFlowResponse>> {
        let flow = channel_flow::require(cx, tx, &input.channel_flow_arn).await?;
        let mut walk = Walk::start(
            cx,
            &[b"ListChannelsAssociatedWithChannelFlow", &flow.uid.0],
            Range::prefix(Key::new(&CHANNEL_BY_FLOW).uid(flow.uid)),
            Direction::Forward,
            input.max_results,
            input.next_token.as_deref(),
        )?;
        let view = tx.view();
        let rows = walk.take(&view).await?;
        let keys: Vec<Key> = rows
            .iter()
            .map(|row| Channel::key_of(flow.app_instance, &String::from_utf8_lossy(&row.value)))
            .collect();
        let found = view.get_many::<Channel>(&keys).await?;
        // The name may belong to another channel by now.
        let shown = rows.iter().zip(found).filter_map(|(row, channel)| {
            let mut parts = Parts::new(&row.key);
            let uid = parts.uid().and_then(|_| parts.uid())?;
            channel.filter(|channel| channel.uid == uid && channel.flow == Some(flow.uid))
        });
        let channels = Some(shown.map(|channel| channel.flow_summary(cx)).collect());
        let next_token = walk.next_token(cx);
        Ok(Reply::Ready(ListChannelsAssociatedWithChannelFlowResponse { channels, next_token }))
    }
}

#[cfg(test)]
mod tests;

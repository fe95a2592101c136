//! UpdateChannel: another name, mode or metadata.
//!
//! Invariant: what the request leaves out stays, and so do id, uid and privacy, so that no row of
//! an index moves. The members are told the whole channel by the commit that changes it.

use store::{Key, Txn};
use wire::messaging::{UpdateChannel, UpdateChannelRequest, UpdateChannelResponse};

use crate::Chat;
use crate::access::{self, Action};
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::Result;
use crate::event;
use crate::messaging::channel::{self, Channel};
use crate::messaging::sub_channel;

impl Handle<UpdateChannel> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &UpdateChannelRequest,
    ) -> Result<Reply<UpdateChannelResponse>> {
        let mut channel = channel::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::UpdateChannel, &channel).await?;
        let answer = Reply::Ready(UpdateChannelResponse { channel_arn: Some(channel.arn(cx)) });
        sub_channel::check_mode(&channel, input.mode)?;
        if is_empty(input) {
            return Ok(answer);
        }
        channel.change(cx, input);
        let home = tx.peek_entry(&Key::home(channel.uid)).await?.map(|home| home.home());
        tx.set_home(channel.uid);
        tx.put(&channel);
        let payload = channel.described(cx, home.as_ref());
        channel::tell(tx, &channel, event::Kind::UpdateChannel, &payload).await?;
        Ok(answer)
    }
}

/// Whether the request asks for nothing. One that repeats what is there is an update all the same:
/// its caller waits for the event.
fn is_empty(input: &UpdateChannelRequest) -> bool {
    input.name.is_none() && input.mode.is_none() && input.metadata.is_none()
}

impl Channel {
    fn change(&mut self, cx: &Cx, input: &UpdateChannelRequest) {
        if let Some(name) = &input.name {
            self.name.clone_from(name);
        }
        self.mode = input.mode.unwrap_or(self.mode);
        if let Some(metadata) = &input.metadata {
            // An empty text takes the metadata away, as it is none in creating.
            self.metadata = Some(metadata.clone()).filter(|metadata| !metadata.is_empty());
        }
        // Nodes may differ about the time.
        self.updated_ms = self.updated_ms.max(cx.now_ms);
    }
}

#[cfg(test)]
mod tests;

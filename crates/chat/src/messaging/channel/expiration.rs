//! PutChannelExpirationSettings: when a channel goes by itself.
//!
//! Days count from the channel's creation or from its last message, which is what
//! LastMessageTimestamp shows; from creation while there is none. Until the job has deleted it the
//! channel is like any other, and its settings may be changed or removed. Nobody is told of them.

use store::{HomeRow, Key, Txn, Uid};
use wire::messaging::{
    ExpirationCriterion, ExpirationSettings, PutChannelExpirationSettings,
    PutChannelExpirationSettingsRequest, PutChannelExpirationSettingsResponse,
};

use super::Channel;
use crate::Chat;
use crate::access::{self, Action};
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::Result;
use crate::expiration::{self, Expiration, Expires};
use crate::job::Expiring;

impl Expires for Channel {
    fn expiring(&self) -> (Uid, Expiring) {
        let (app_instance, id) = (self.app_instance, self.id.clone());
        (self.uid, Expiring::Channel { app_instance, id })
    }

    fn expiration(&mut self) -> &mut Option<Expiration> {
        &mut self.expiration
    }
}

impl Channel {
    /// Returns when the channel goes; never without settings.
    pub(crate) fn due_ms(&self, home: Option<&HomeRow>) -> i64 {
        self.expiration.as_ref().map_or(i64::MAX, |expiration| {
            expiration.due_ms(self.expires_since_ms(expiration.criterion, home))
        })
    }

    /// Returns when the days begin.
    fn expires_since_ms(&self, criterion: ExpirationCriterion, home: Option<&HomeRow>) -> i64 {
        let last_message = super::last_message(home).map(|time| time.ms());
        match criterion {
            ExpirationCriterion::CreatedTimestamp => self.created_ms,
            ExpirationCriterion::LastMessageTimestamp => last_message.unwrap_or(self.created_ms),
        }
    }

    /// Takes over settings, or their absence. The caller puts the channel.
    pub(super) fn set_expiration(
        &mut self,
        tx: &mut Txn,
        settings: Option<&ExpirationSettings>,
        home: Option<&HomeRow>,
    ) {
        let wanted = settings.map(expiration::wanted_of_channel);
        let since_ms = wanted.map_or(0, |(_, criterion)| self.expires_since_ms(criterion, home));
        expiration::set(tx, self, wanted, since_ms);
    }
}

impl Handle<PutChannelExpirationSettings> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &PutChannelExpirationSettingsRequest,
    ) -> Result<Reply<PutChannelExpirationSettingsResponse>> {
        // The model lets requests through that have none.
        cx.actor()?;
        let mut channel = super::require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::PutExpirationSettings, &channel).await?;
        let home = tx.peek_entry(&Key::home(channel.uid)).await?.map(|home| home.home());
        tx.set_home(channel.uid);
        channel.set_expiration(tx, input.expiration_settings.as_ref(), home.as_ref());
        tx.put(&channel);
        Ok(Reply::Ready(PutChannelExpirationSettingsResponse {
            channel_arn: Some(channel.arn(cx)),
            expiration_settings: input.expiration_settings.clone(),
        }))
    }
}

#[cfg(test)]
mod tests;

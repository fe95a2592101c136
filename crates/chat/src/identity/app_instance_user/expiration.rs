//! PutAppInstanceUserExpirationSettings: when a user goes by himself.
//!
//! Days count from his creation, whenever they are set. Until the job has deleted him he is like any
//! other, and his settings may be changed or removed.

use store::{Txn, Uid};
use wire::identity::{
    ExpirationSettings, PutAppInstanceUserExpirationSettings,
    PutAppInstanceUserExpirationSettingsRequest, PutAppInstanceUserExpirationSettingsResponse,
};

use super::AppInstanceUser;
use crate::Chat;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::Result;
use crate::expiration::{self, Expiration, Expires};
use crate::job::Expiring;

impl Expires for AppInstanceUser {
    fn expiring(&self) -> (Uid, Expiring) {
        let (app_instance, id) = (self.app_instance, self.id.clone());
        (self.uid, Expiring::AppInstanceUser { app_instance, id })
    }

    fn expiration(&mut self) -> &mut Option<Expiration> {
        &mut self.expiration
    }
}

impl AppInstanceUser {
    /// Returns when the user goes; never without settings.
    pub(crate) fn due_ms(&self) -> i64 {
        self.expiration.as_ref().map_or(i64::MAX, |settings| settings.due_ms(self.created_ms))
    }

    /// Takes over settings, or their absence. The caller puts the user.
    pub(super) fn set_expiration(&mut self, tx: &mut Txn, settings: Option<&ExpirationSettings>) {
        let since_ms = self.created_ms;
        expiration::set(tx, self, settings.map(expiration::wanted_of_user), since_ms);
    }
}

impl Handle<PutAppInstanceUserExpirationSettings> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &PutAppInstanceUserExpirationSettingsRequest,
    ) -> Result<Reply<PutAppInstanceUserExpirationSettingsResponse>> {
        let mut user = super::require(cx, tx, &input.app_instance_user_arn).await?;
        tx.set_home(user.uid);
        user.set_expiration(tx, input.expiration_settings.as_ref());
        tx.put(&user);
        Ok(Reply::Ready(PutAppInstanceUserExpirationSettingsResponse {
            app_instance_user_arn: Some(user.arn(cx)),
            expiration_settings: input.expiration_settings.clone(),
        }))
    }
}

#[cfg(test)]
mod tests;

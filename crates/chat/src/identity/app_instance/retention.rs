//! Retention settings of an app instance: how long the messages of its channels are kept.
//!
//! Invariant: what is hidden follows from the settings and the time alone and is written to no
//! message. A message is there for its days and not a millisecond longer; it can be brought back by
//! other settings until the grace after the last change is over, and from then on it is gone at the
//! moment at which it is hidden, whether or not the job (`job/retain.rs`) has come to it. What was
//! gone under earlier settings stays gone.

use serde::{Deserialize, Serialize};
use store::Txn;
use wire::identity::{
    AppInstanceRetentionSettings, ChannelRetentionSettings, GetAppInstanceRetentionSettings,
    GetAppInstanceRetentionSettingsRequest, GetAppInstanceRetentionSettingsResponse,
    PutAppInstanceRetentionSettings, PutAppInstanceRetentionSettingsRequest,
    PutAppInstanceRetentionSettingsResponse,
};
use wire::time::Timestamp;

use crate::Chat;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::Result;
use crate::job;
use crate::limits::{DAY_MS, RETENTION_GRACE_MS, RETENTION_PASS_MS};

/// The settings, and what they leave of earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retention {
    /// None: messages are kept for ever.
    days: Option<i32>,
    /// When the grace ends and messages begin to go for good.
    deletes_from_ms: i64,
    /// Messages from before this time went under earlier settings.
    went_before_ms: i64,
}

impl Retention {
    /// Returns what follows when `days` are set in place of `self`. Naming them again is no change.
    fn changed(this: Option<Self>, days: Option<i32>, now_ms: i64) -> Self {
        match this {
            Some(this) if this.days == days => this,
            _ => Self {
                days,
                deletes_from_ms: now_ms.saturating_add(RETENTION_GRACE_MS),
                went_before_ms: this.map_or(0, |this| this.gone_before_ms(now_ms)),
            },
        }
    }

    /// Returns the first moment whose messages are within their days.
    fn period_from_ms(&self, now_ms: i64) -> i64 {
        self.days.map_or(0, |days| now_ms.saturating_sub(i64::from(days) * DAY_MS) + 1)
    }

    /// Returns the time before which messages are hidden.
    pub(crate) fn kept_from_ms(&self, now_ms: i64) -> i64 {
        self.period_from_ms(now_ms).max(self.went_before_ms)
    }

    /// Returns the time before which messages are gone for good.
    pub(crate) fn gone_before_ms(&self, now_ms: i64) -> i64 {
        let is_over = now_ms >= self.deletes_from_ms;
        if is_over { self.kept_from_ms(now_ms) } else { self.went_before_ms }
    }

    /// Returns when the job looks again that has removed what is gone now.
    pub(crate) fn next_pass_ms(&self, now_ms: i64) -> i64 {
        if self.days.is_some() && now_ms < self.deletes_from_ms {
            return self.deletes_from_ms;
        }
        now_ms.saturating_add(RETENTION_PASS_MS)
    }

    fn described(&self) -> (AppInstanceRetentionSettings, Option<Timestamp>) {
        let channels = ChannelRetentionSettings { retention_days: self.days };
        let settings = AppInstanceRetentionSettings { channel_retention_settings: Some(channels) };
        (settings, self.days.map(|_| Timestamp(self.deletes_from_ms)))
    }
}

impl Handle<GetAppInstanceRetentionSettings> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &GetAppInstanceRetentionSettingsRequest,
    ) -> Result<Reply<GetAppInstanceRetentionSettingsResponse>> {
        let instance = super::require(cx, tx, &input.app_instance_arn).await?;
        let (settings, initiate_deletion_timestamp) =
            instance.retention.map(|retention| retention.described()).unwrap_or_default();
        Ok(Reply::Ready(GetAppInstanceRetentionSettingsResponse {
            app_instance_retention_settings: Some(settings),
            initiate_deletion_timestamp,
        }))
    }
}

impl Handle<PutAppInstanceRetentionSettings> for Chat {
    /// Settings without days switch retention off.
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &PutAppInstanceRetentionSettingsRequest,
    ) -> Result<Reply<PutAppInstanceRetentionSettingsResponse>> {
        let mut instance = super::require(cx, tx, &input.app_instance_arn).await?;
        let settings = &input.app_instance_retention_settings;
        let channels = settings.channel_retention_settings.as_ref();
        let days = channels.and_then(|channels| channels.retention_days);
        let retention = Retention::changed(instance.retention, days, cx.now_ms);
        tx.set_home(instance.uid);
        if instance.retention.is_none() {
            job::retain(tx, instance.uid, retention.deletes_from_ms);
        }
        instance.retention = Some(retention);
        tx.put(&instance);
        let (settings, initiate_deletion_timestamp) = retention.described();
        Ok(Reply::Ready(PutAppInstanceRetentionSettingsResponse {
            app_instance_retention_settings: Some(settings),
            initiate_deletion_timestamp,
        }))
    }
}

#[cfg(test)]
mod tests;

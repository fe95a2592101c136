//! Preferences of a membership: which messages of a channel its owner wants push notifications for.
//!
//! Key: channel and member. No row means ALL. Invariants: the owner alone reads and puts them; a
//! rule that is stored can be applied; they go with the membership.

mod filter_rule;

use serde::{Deserialize, Serialize};
use store::{Key, Kind, Parts, Record, Table, Txn, Uid, Version};
use wire::messaging::{
    AllowNotifications, ChannelMembershipPreferences as Described, GetChannelMembershipPreferences,
    GetChannelMembershipPreferencesRequest, GetChannelMembershipPreferencesResponse, Identity,
    PushNotificationPreferences, PutChannelMembershipPreferences,
    PutChannelMembershipPreferencesRequest, PutChannelMembershipPreferencesResponse,
};

use crate::Chat;
use crate::access::{self, Action};
use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::messaging::channel::{self, Channel};
use crate::messaging::channel_membership::ChannelMembership;
use crate::messaging::sub_channel;
use crate::principal;

pub(crate) static CHANNEL_MEMBERSHIP_PREFERENCES: Table = Table {
    name: "channel_membership_preferences",
    kind: Kind::Record,
    columns: &["allow_notifications"],
};

/// What counts when nothing was put. Undocumented.
const ALLOW_DEFAULT: AllowNotifications = AllowNotifications::All;

/// The preferences of one membership.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChannelMembershipPreferences {
    /// From the key.
    #[serde(skip)]
    channel: Uid,
    /// From the key.
    #[serde(skip)]
    member: Uid,
    allow_notifications: AllowNotifications,
    /// Kept beside ALL and NONE too, where it has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    filter_rule: Option<String>,
}

impl Record for ChannelMembershipPreferences {
    const TABLE: &'static Table = &CHANNEL_MEMBERSHIP_PREFERENCES;

    fn key(&self) -> Key {
        Self::key_of(self.channel, self.member)
    }

    fn located(&mut self, key: &[u8], _ver: Version) {
        let mut parts = Parts::new(key);
        self.channel = parts.uid().unwrap_or(Uid::NIL);
        self.member = parts.uid().unwrap_or(Uid::NIL);
    }
}

impl Proof for ChannelMembershipPreferences {
    fn refers_to(&self) -> Vec<Uid> {
        vec![self.channel, self.member]
    }

    fn beside(&self) -> Vec<Key> {
        vec![ChannelMembership::key_of(self.channel, self.member)]
    }
}

impl ChannelMembershipPreferences {
    pub(crate) fn key_of(channel: Uid, member: Uid) -> Key {
        Key::new(&CHANNEL_MEMBERSHIP_PREFERENCES).uid(channel).uid(member)
    }

    /// Returns what a member wants who never said so.
    fn new(channel: Uid, member: Uid) -> Self {
        Self { channel, member, allow_notifications: ALLOW_DEFAULT, filter_rule: None }
    }

    fn described(self) -> Described {
        Described {
            push_notifications: Some(PushNotificationPreferences {
                allow_notifications: self.allow_notifications,
                filter_rule: self.filter_rule,
            }),
        }
    }
}

/// Lets the owner of the membership pass, whose membership is got, and nobody else.
async fn require_owner(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    member_arn: &str,
) -> Result<(Uid, Identity)> {
    let member = principal::find(cx, tx, channel.app_instance, member_arn).await?;
    let actor = cx.actor()?.principal.uid;
    let member = member.filter(|member| member.uid == actor).ok_or_else(Error::forbidden)?;
    access::require(cx, tx, Action::ChangePreferences, channel).await?;
    sub_channel::refuse_elastic(channel, "membership preferences")?;
    Ok((member.uid, member.identity(cx, channel.app_instance)))
}

impl Handle<GetChannelMembershipPreferences> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &GetChannelMembershipPreferencesRequest,
    ) -> Result<Reply<GetChannelMembershipPreferencesResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        let (uid, member) = require_owner(cx, tx, &channel, &input.member_arn).await?;
        let key = ChannelMembershipPreferences::key_of(channel.uid, uid);
        let put: Option<ChannelMembershipPreferences> = tx.get(&key).await?;
        let preferences =
            put.unwrap_or_else(|| ChannelMembershipPreferences::new(channel.uid, uid));
        Ok(Reply::Ready(GetChannelMembershipPreferencesResponse {
            channel_arn: Some(channel.arn(cx)),
            member: Some(member),
            preferences: Some(preferences.described()),
        }))
    }
}

impl Handle<PutChannelMembershipPreferences> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &PutChannelMembershipPreferencesRequest,
    ) -> Result<Reply<PutChannelMembershipPreferencesResponse>> {
        let channel = channel::require(cx, tx, &input.channel_arn).await?;
        let (uid, member) = require_owner(cx, tx, &channel, &input.member_arn).await?;
        let mut preferences = ChannelMembershipPreferences::new(channel.uid, uid);
        tx.set_home(channel.uid);
        match &input.preferences.push_notifications {
            Some(push) => {
                check(push)?;
                preferences.allow_notifications = push.allow_notifications;
                preferences.filter_rule.clone_from(&push.filter_rule);
                tx.put_raw(preferences.key(), store::codec::encode(&preferences));
            }
            // A put replaces the whole.
            None => tx.delete_raw(preferences.key()),
        }
        Ok(Reply::Ready(PutChannelMembershipPreferencesResponse {
            channel_arn: Some(channel.arn(cx)),
            member: Some(member),
            preferences: Some(preferences.described()),
        }))
    }
}

fn check(push: &PushNotificationPreferences) -> Result<()> {
    if push.allow_notifications == AllowNotifications::Filtered && push.filter_rule.is_none() {
        return Err(Error::bad_request("FILTERED needs a FilterRule"));
    }
    push.filter_rule.as_deref().map_or(Ok(()), filter_rule::check)
}

#[cfg(test)]
mod tests;

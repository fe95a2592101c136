//! Messaging sessions: where to connect, who may, and which channels he hears.
//!
//! Invariant: a session hears the channels of a live user of a live app instance, each from the
//! commit of his membership on.

mod resume;

use std::collections::HashSet;

use store::{BoxFuture, Direction, Key, Range, Txn, Uid, View};
use wire::arn::Resource;
use wire::messaging::{
    GetMessagingSessionEndpoint, GetMessagingSessionEndpointRequest,
    GetMessagingSessionEndpointResponse, MessagingSessionEndpoint,
};

use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::Result;
use crate::identity::app_instance::AppInstance;
use crate::identity::app_instance_user::AppInstanceUser;
use crate::messaging::channel::Channel;
use crate::messaging::channel::lookup::Named;
use crate::messaging::channel_membership::CHANNEL_MEMBERSHIP_BY_MEMBER;
use crate::messaging::channel_moderator::CHANNEL_MODERATOR_BY_MODERATOR;
use crate::messaging::sub_channel::ElasticMember;
use crate::{Chat, ids, limits};

pub use resume::Missed;

/// The user of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionUser {
    /// His app instance.
    pub app_instance: Uid,
    /// The user.
    pub user: Uid,
}

/// A channel that a session hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The channel, or the sub-channel of an elastic one.
    pub channel: Uid,
    /// The seq of the commit that made the user a member: what is older is not for him.
    pub since_seq: u64,
    /// Whether he hears what only moderators hear.
    pub moderator: bool,
}

impl Handle<GetMessagingSessionEndpoint> for Chat {
    async fn handle(
        cx: &Cx,
        _tx: &mut Txn,
        _input: &GetMessagingSessionEndpointRequest,
    ) -> Result<Reply<GetMessagingSessionEndpointResponse>> {
        let endpoint = Some(MessagingSessionEndpoint { url: Some(cx.endpoint.clone()) });
        Ok(Reply::Ready(GetMessagingSessionEndpointResponse { endpoint }))
    }
}

impl Chat {
    /// Returns the live user that `user_arn` names, or nothing when the session is to be refused.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn connect<'a>(
        &'a self,
        user_arn: &'a str,
    ) -> BoxFuture<'a, std::result::Result<Option<SessionUser>, wire::Error>> {
        Box::pin(async { Ok(self.session_user(user_arn).await?) })
    }

    /// Tells whether another session of the user may be opened now.
    #[must_use]
    pub fn admits_session(&self, user: &SessionUser) -> bool {
        let now_ms = self.nobodys_cx(String::new()).now_ms;
        let rates = self.0.rates.as_ref();
        rates.is_none_or(|rates| rates.admit_session(now_ms, ids::hex(&user.user.0)))
    }

    /// Returns every channel that the user is a member of.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn memberships<'a>(
        &'a self,
        user: &'a SessionUser,
    ) -> BoxFuture<'a, std::result::Result<Vec<Subscription>, wire::Error>> {
        Box::pin(async { Ok(self.subscriptions(user).await?) })
    }

    async fn session_user(&self, user_arn: &str) -> Result<Option<SessionUser>> {
        let Some((app_instance, Resource::User(id))) = self.0.place.parse_arn(user_arn) else {
            return Ok(None);
        };
        let mut tx = self.0.store.begin();
        let user = AppInstanceUser::key_of(app_instance, &id);
        let instance = AppInstance::key_of(app_instance);
        tx.load(&[instance.clone(), user.clone()]).await?;
        if tx.get::<AppInstance>(&instance).await?.is_none() {
            return Ok(None);
        }
        let user: Option<AppInstanceUser> = tx.get(&user).await?;
        Ok(user.map(|user| SessionUser { app_instance, user: user.uid }))
    }

    async fn subscriptions(&self, user: &SessionUser) -> Result<Vec<Subscription>> {
        let view = self.0.store.view();
        let mut moderated = HashSet::new();
        let table = &CHANNEL_MODERATOR_BY_MODERATOR;
        for (channel, ..) in below(&view, Range::prefix(Key::new(table).uid(user.user))).await? {
            moderated.insert(channel);
        }
        let table = &CHANNEL_MEMBERSHIP_BY_MEMBER;
        let rows = below(&view, Range::prefix(Key::new(table).uid(user.user))).await?;
        let keys: Vec<Key> =
            rows.iter().map(|(_, _, id)| Channel::key_of(user.app_instance, id)).collect();
        let mut subscriptions = Vec::with_capacity(rows.len());
        for (keys, rows) in keys
            .chunks(limits::SESSION_ROWS_PER_READ)
            .zip(rows.chunks(limits::SESSION_ROWS_PER_READ))
        {
            let channels = view.get_many::<Channel>(keys).await?;
            let mut elastic = Vec::new();
            for (&(channel, since_seq, _), live) in rows.iter().zip(channels) {
                // The name may belong to another channel by now.
                let Some(live) = live.filter(|live| live.uid == channel) else { continue };
                let moderator = moderated.contains(&channel);
                match live.elastic {
                    Some(_) => elastic.push((channel, moderator)),
                    None => subscriptions.push(Subscription { channel, since_seq, moderator }),
                }
            }
            subscriptions.extend(of_elastic(&view, user.user, &elastic).await?);
        }
        Ok(subscriptions)
    }
}

/// Returns what the user hears of elastic channels. He may have come into a sub-channel by a commit of
/// another home, whose seq says nothing of it.
async fn of_elastic(view: &View, user: Uid, channels: &[(Uid, bool)]) -> Result<Vec<Subscription>> {
    let key = |&(channel, _): &(Uid, bool)| ElasticMember::key_of(channel, user);
    let keys: Vec<Key> = channels.iter().map(key).collect();
    let found = view.get_many::<ElasticMember>(&keys).await?;
    let mut subscriptions = Vec::new();
    for (&(_, moderator), member) in channels.iter().zip(found) {
        let sub_channels = member.into_iter().flat_map(|member| member.sub_channels);
        let heard = |channel| Subscription { channel, since_seq: 0, moderator };
        subscriptions.extend(sub_channels.map(heard));
    }
    Ok(subscriptions)
}

/// Returns channel, seq of the commit and channel id of every index row in `range`.
async fn below(view: &View, range: Range) -> Result<Vec<(Uid, u64, String)>> {
    let mut all = Vec::new();
    let mut rest = range.clone();
    loop {
        let rows = view.list(&rest, limits::SESSION_ROWS_PER_READ, Direction::Forward).await?;
        for row in &rows {
            let named = Named::of(row);
            all.extend(named.map(|Named { uid, id }| (uid, row.ver.stamp().seq, id)));
        }
        match rows.last() {
            Some(last) if rows.len() == limits::SESSION_ROWS_PER_READ => {
                rest = range.clone().after(&last.key);
            }
            _ => return Ok(all),
        }
    }
}

#[cfg(test)]
mod tests;

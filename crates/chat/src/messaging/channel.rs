//! Channels of an app instance.
//!
//! Key: app instance and the id that the creator chose or got; everything below is keyed by the
//! uid, which is also the home that orders the channel's messages and events. An id may be used
//! again after its channel was deleted. Indexes: app instance and privacy, for ListChannels, and
//! the channel flow (`channel/flow.rs`).

mod expiration;
mod flow;

pub(crate) mod lookup;
mod update;

use serde::{Deserialize, Serialize};
use store::{
    Audience, Direction, HomeRow, Index, Key, Kind, Parts, Range, Record, Table, Txn, Uid,
};
use wire::arn::Resource;
use wire::messaging::{
    Channel as Described, ChannelMembershipType, ChannelMode, ChannelPrivacy, ChannelSummary,
    CreateChannel, CreateChannelRequest, CreateChannelResponse, DeleteChannel,
    DeleteChannelRequest, DescribeChannel, DescribeChannelRequest, DescribeChannelResponse,
    ListChannels, ListChannelsRequest, ListChannelsResponse,
};
use wire::time::Timestamp;

use crate::access::{self, Action};
use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::event::{self, Effect};
use crate::expiration::Expiration;
use crate::history;
use crate::idempotency::Token;
use crate::identity::{app_instance, tags};
use crate::job::{self, Doomed};
use crate::messaging::channel_membership::{self, ChannelMembership};
use crate::messaging::channel_moderator;
use crate::messaging::sub_channel::{self, Elastic, SubChannelList};
use crate::page::Walk;
use crate::principal::{self, Principal};
use crate::{Chat, ids, limits};

pub(crate) use flow::CHANNEL_BY_FLOW;

pub(crate) static CHANNEL: Table = Table {
    name: "channel",
    kind: Kind::Record,
    columns: &["id", "name", "mode", "privacy", "uid", "created_ms"],
};

/// App instance, privacy, channel id: what ListChannels reads.
pub(crate) static CHANNEL_BY_PRIVACY: Table =
    Table { name: "channel_by_privacy", kind: Kind::Index, columns: &[] };

/// Mode of a channel when none is given. Undocumented.
const MODE_DEFAULT: ChannelMode = ChannelMode::Restricted;
/// Privacy of a channel when none is given, in creating. Undocumented.
const PRIVACY_DEFAULT: ChannelPrivacy = ChannelPrivacy::Private;
/// Privacy that ListChannels lists when none is given. Undocumented.
const PRIVACY_LISTED: ChannelPrivacy = ChannelPrivacy::Public;

/// One channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Channel {
    pub(crate) app_instance: Uid,
    pub(crate) id: String,
    pub(crate) uid: Uid,
    name: String,
    pub(crate) mode: ChannelMode,
    pub(crate) privacy: ChannelPrivacy,
    metadata: Option<String>,
    created_by: Principal,
    created_ms: i64,
    updated_ms: i64,
    /// The channel flow that its messages pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) flow: Option<Uid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiration: Option<Expiration>,
    /// What makes it an elastic channel; nothing in an ordinary one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) elastic: Option<Elastic>,
    /// The sub-channel that a request looks at; see `sub_channel::select`.
    #[serde(skip)]
    pub(crate) sub_channel: Option<Uid>,
}

impl Record for Channel {
    const TABLE: &'static Table = &CHANNEL;

    fn key(&self) -> Key {
        Self::key_of(self.app_instance, &self.id)
    }

    fn indexes(&self, out: &mut Vec<Index>) {
        let key = by_privacy(self.app_instance, self.privacy).text(&self.id);
        out.push(Index { key, value: Vec::new() });
        if let Some(flow) = self.flow {
            let key = Key::new(&CHANNEL_BY_FLOW).uid(flow).uid(self.uid);
            out.push(Index { key, value: self.id.clone().into_bytes() });
        }
    }
}

impl Proof for Channel {
    fn counted(&self) -> Vec<Key> {
        let flow = self.flow.map(limits::uses_key);
        let elastic = self.elastic.as_ref();
        let elastic = elastic.map(|_| limits::ELASTIC_CHANNELS.key(self.app_instance));
        let all = [Some(limits::CHANNELS.key(self.app_instance)), flow, elastic];
        all.into_iter().flatten().collect()
    }

    fn refers_to(&self) -> Vec<Uid> {
        [Some(self.app_instance), self.flow].into_iter().flatten().collect()
    }

    fn beside(&self) -> Vec<Key> {
        let job = self.expiration.iter().map(|expiration| expiration.job_key(self.uid));
        job.chain(self.elastic.iter().map(|_| SubChannelList::key_of(self.uid))).collect()
    }

    fn uid(&self) -> Option<Uid> {
        Some(self.uid)
    }
}

fn by_privacy(app_instance: Uid, privacy: ChannelPrivacy) -> Key {
    let privacy = u8::from(privacy == ChannelPrivacy::Private);
    Key::new(&CHANNEL_BY_PRIVACY).uid(app_instance).u8(privacy)
}

/// Reads the last part of a key that [`by_privacy`] begins.
fn channel_id(key: &[u8]) -> Option<String> {
    let mut parts = Parts::new(key);
    parts.uid()?;
    parts.u8()?;
    parts.text()
}

impl Channel {
    /// Returns the channel that a history names.
    pub(crate) fn imported(
        app_instance: Uid,
        uid: Uid,
        created_by: Principal,
        line: &history::Channel,
    ) -> Self {
        Self {
            app_instance,
            id: line.id.clone(),
            uid,
            name: line.name.clone(),
            mode: line.mode.unwrap_or(MODE_DEFAULT),
            privacy: line.privacy.unwrap_or(PRIVACY_DEFAULT),
            metadata: line.metadata.clone().filter(|metadata| !metadata.is_empty()),
            created_by,
            created_ms: line.created.0,
            updated_ms: line.updated.unwrap_or(line.created).0,
            flow: None,
            expiration: None,
            elastic: None,
            sub_channel: None,
        }
    }

    pub(crate) fn key_of(app_instance: Uid, id: &str) -> Key {
        Key::new(&CHANNEL).uid(app_instance).text(id)
    }

    pub(crate) fn arn(&self, cx: &Cx) -> String {
        cx.channel_arn(self.app_instance, &self.id)
    }

    /// Returns the channel as DescribeChannel and its events show it.
    fn described(&self, cx: &Cx, home: Option<&HomeRow>) -> Described {
        Described {
            name: Some(self.name.clone()),
            channel_arn: Some(self.arn(cx)),
            mode: Some(self.mode),
            privacy: Some(self.privacy),
            metadata: self.metadata.clone(),
            created_by: Some(self.created_by.identity(cx, self.app_instance)),
            created_timestamp: Some(Timestamp(self.created_ms)),
            last_message_timestamp: last_message(home),
            last_updated_timestamp: Some(Timestamp(self.updated_ms)),
            channel_flow_arn: self.flow.map(|flow| cx.channel_flow_arn(self.app_instance, flow)),
            expiration_settings: self.expiration.as_ref().map(Expiration::of_channel),
            elastic_channel_configuration: self.elastic.as_ref().map(Elastic::described),
        }
    }

    pub(crate) fn summary(&self, cx: &Cx, home: Option<&HomeRow>) -> ChannelSummary {
        ChannelSummary {
            name: Some(self.name.clone()),
            channel_arn: Some(self.arn(cx)),
            mode: Some(self.mode),
            privacy: Some(self.privacy),
            metadata: self.metadata.clone(),
            last_message_timestamp: last_message(home),
        }
    }
}

fn last_message(home: Option<&HomeRow>) -> Option<Timestamp> {
    let ms = home?.last_message_ms?;
    Some(Timestamp(i64::try_from(ms).unwrap_or(i64::MAX)))
}

/// Returns the live channel that `arn` names, if it is one of the caller's app instance.
///
/// # Errors
/// BadRequest when it is the ARN of something else, Forbidden when there is none.
pub(crate) async fn require(cx: &Cx, tx: &mut Txn, arn: &str) -> Result<Channel> {
    let (app_instance, resource) = cx.parse_arn(arn).ok_or_else(Error::forbidden)?;
    let Resource::Channel(id) = resource else {
        return Err(Error::bad_request("The ARN does not name a channel"));
    };
    if app_instance != cx.actor()?.app_instance {
        return Err(Error::forbidden());
    }
    tx.get(&Channel::key_of(app_instance, &id)).await?.ok_or_else(Error::forbidden)
}

/// Removes a channel that was got, and leaves what is below it to a job.
pub(crate) async fn remove(cx: &Cx, tx: &mut Txn, channel: &Channel) -> Result<()> {
    tx.delete(channel);
    tx.add(limits::CHANNELS.key(channel.app_instance), -1, None);
    if let Some(flow) = channel.flow {
        tx.add(limits::uses_key(flow), -1, None);
    }
    crate::expiration::forget(tx, channel.uid, channel.expiration.as_ref());
    if channel.elastic.is_some() {
        tx.add(limits::ELASTIC_CHANNELS.key(channel.app_instance), -1, None);
    }
    if let Some(list) = SubChannelList::of(tx, channel).await? {
        tx.delete(&list);
        for uid in list.sub_channels {
            // Joins and sends there belong to its home, and have checked that the channel is there.
            tx.hold(uid);
            job::purge(cx, tx, Doomed::SubChannel, uid);
        }
    }
    job::purge(cx, tx, Doomed::Channel, channel.uid);
    Ok(())
}

/// Deletes a channel that was got, and tells its members.
pub(crate) async fn delete(cx: &Cx, tx: &mut Txn, channel: &Channel) -> Result<()> {
    let home = tx.peek_entry(&Key::home(channel.uid)).await?.map(|home| home.home());
    tx.set_home(channel.uid);
    let payload = channel.described(cx, home.as_ref());
    tell(tx, channel, event::Kind::DeleteChannel, &payload).await?;
    remove(cx, tx, channel).await
}

/// Tells everybody in a channel of it, in whichever of its sub-channels; the last time when it is
/// gone.
pub(crate) async fn tell(
    tx: &mut Txn,
    channel: &Channel,
    kind: event::Kind,
    payload: &Described,
) -> Result<()> {
    for home in sub_channel::homes(tx, channel).await? {
        let effect =
            (kind == event::Kind::DeleteChannel).then_some(Effect::ChannelGone { channel: home });
        tx.emit(event::channel(Audience::Members(home), kind, payload.clone(), effect));
    }
    Ok(())
}

impl Handle<CreateChannel> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &CreateChannelRequest,
    ) -> Result<Reply<CreateChannelResponse>> {
        let app_instance = app_instance::require(cx, tx, &input.app_instance_arn).await?.uid;
        let actor = cx.actor()?;
        if app_instance != actor.app_instance {
            return Err(Error::forbidden());
        }
        let answer = |id: &str| {
            let channel_arn = Some(cx.channel_arn(app_instance, id));
            Reply::Ready(CreateChannelResponse { channel_arn })
        };
        let token = Token::of::<CreateChannel>(
            cx,
            app_instance,
            &limits::CREATE_TOKENS,
            &input.client_request_token,
            input,
        );
        if let Some(first) = token.first(tx).await? {
            let made: Option<Channel> =
                tx.get(&Channel::key_of(app_instance, &first.resource)).await?;
            if made.is_some_and(|channel| channel.uid == first.uid) {
                return Ok(answer(&first.resource));
            }
        }
        let mut channel = new_channel(cx, app_instance, &actor.principal, input)?;
        if tx.exists(&channel.key()).await? {
            return Err(Error::conflict("A channel with this id exists already"));
        }
        let members = members_of(cx, tx, app_instance, input.member_arns.as_deref()).await?;
        let moderators = members_of(cx, tx, app_instance, input.moderator_arns.as_deref()).await?;
        tx.set_home(channel.uid);
        tx.hold(app_instance);
        channel.set_expiration(tx, input.expiration_settings.as_ref(), None);
        tx.put(&channel);
        sub_channel::found(cx, tx, &channel).await?;
        tags::attach(cx, tx, channel.uid, input.tags.as_deref().map(tags::of_messaging))?;
        tx.add(limits::CHANNELS.key(app_instance), 1, Some(cx.max(&limits::CHANNELS)));
        if channel.elastic.is_some() {
            let quota = limits::ELASTIC_CHANNELS;
            tx.add(quota.key(app_instance), 1, Some(cx.max(&quota)));
        }
        found(cx, tx, &channel, moderators, members).await?;
        token.remember(tx, &channel.id, channel.uid);
        Ok(answer(&channel.id))
    }
}

fn new_channel(
    cx: &Cx,
    app_instance: Uid,
    creator: &Principal,
    input: &CreateChannelRequest,
) -> Result<Channel> {
    Ok(Channel {
        app_instance,
        id: input.channel_id.clone().unwrap_or_else(|| ids::uuid_text(cx.new_uuid())),
        uid: cx.new_uid(),
        name: input.name.clone(),
        mode: input.mode.unwrap_or(MODE_DEFAULT),
        privacy: input.privacy.unwrap_or(PRIVACY_DEFAULT),
        // Clients parse any Metadata that is there, and an empty text is no JSON.
        metadata: input.metadata.clone().filter(|metadata| !metadata.is_empty()),
        created_by: creator.clone(),
        created_ms: cx.now_ms,
        updated_ms: cx.now_ms,
        flow: None,
        expiration: None,
        elastic: Elastic::of(cx, input)?,
        sub_channel: None,
    })
}

/// Returns the live principals that the ARNs name, each once.
async fn members_of(
    cx: &Cx,
    tx: &mut Txn,
    app_instance: Uid,
    arns: Option<&[String]>,
) -> Result<Vec<Principal>> {
    let mut found: Vec<Principal> = Vec::new();
    for arn in arns.unwrap_or_default() {
        let principal = principal::require(cx, tx, app_instance, arn).await?;
        if !found.iter().any(|other| other.uid == principal.uid) {
            found.push(principal);
        }
    }
    Ok(found)
}

/// Puts the first moderators and members of a new channel: the creator is both, a moderator that
/// the creator names becomes a member too. In an elastic channel they are moderators alone.
async fn found(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    moderators: Vec<Principal>,
    members: Vec<Principal>,
) -> Result<()> {
    let creator = &channel.created_by;
    let others = |list: Vec<Principal>, known: &[Principal]| -> Vec<Principal> {
        list.into_iter().filter(|one| known.iter().all(|other| other.uid != one.uid)).collect()
    };
    let mut everyone = vec![creator.clone()];
    everyone.extend(others(moderators, &everyone));
    let moderator_count = everyone.len();
    everyone.extend(others(members, &everyone));
    for moderator in &everyone[..moderator_count] {
        channel_moderator::promote(cx, tx, channel, moderator).await?;
    }
    if channel.elastic.is_some() {
        return Ok(());
    }
    // All of them are members before any of them hears of it.
    for (index, member) in everyone.iter().enumerate() {
        let moderator = index < moderator_count;
        tx.emit(event::internal(Effect::Join {
            channel: channel.uid,
            user: member.uid,
            moderator,
        }));
    }
    for member in everyone {
        let r#type = ChannelMembershipType::Default;
        let membership = ChannelMembership::new(cx, channel, member, r#type)?;
        channel_membership::enter(cx, tx, channel, &membership, None).await?;
    }
    Ok(())
}

impl Handle<DescribeChannel> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DescribeChannelRequest,
    ) -> Result<Reply<DescribeChannelResponse>> {
        let channel = require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::DescribeChannel, &channel).await?;
        let home = tx.view().home(channel.uid).await?;
        let channel = Some(channel.described(cx, home.as_ref()));
        Ok(Reply::Ready(DescribeChannelResponse { channel }))
    }
}

impl Handle<ListChannels> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListChannelsRequest,
    ) -> Result<Reply<ListChannelsResponse>> {
        let app_instance = app_instance::require(cx, tx, &input.app_instance_arn).await?.uid;
        if app_instance != cx.actor()?.app_instance {
            return Err(Error::forbidden());
        }
        let privacy = input.privacy.unwrap_or(PRIVACY_LISTED);
        if privacy == ChannelPrivacy::Private && !access::is_admin(cx, tx).await? {
            return Err(Error::forbidden());
        }
        let mut walk = Walk::start(
            cx,
            &[b"ListChannels", &app_instance.0, privacy.as_str().as_bytes()],
            Range::prefix(by_privacy(app_instance, privacy)),
            Direction::Forward,
            input.max_results,
            input.next_token.as_deref(),
        )?;
        let view = tx.view();
        let mut channels = Vec::new();
        for row in walk.take(&view).await? {
            let id = channel_id(&row.key).unwrap_or_default();
            channels.push(Channel::key_of(app_instance, &id));
        }
        let channels: Vec<Channel> =
            view.get_many(&channels).await?.into_iter().flatten().collect();
        let homes: Vec<Key> = channels.iter().map(|channel| Key::home(channel.uid)).collect();
        let homes = view.entries(&homes).await?;
        let summaries = channels
            .iter()
            .zip(homes)
            .map(|(channel, home)| channel.summary(cx, home.map(|home| home.home()).as_ref()));
        Ok(Reply::Ready(ListChannelsResponse {
            channels: Some(summaries.collect()),
            next_token: walk.next_token(cx),
        }))
    }
}

impl Handle<DeleteChannel> for Chat {
    async fn handle(cx: &Cx, tx: &mut Txn, input: &DeleteChannelRequest) -> Result<Reply<()>> {
        let channel = require(cx, tx, &input.channel_arn).await?;
        access::require(cx, tx, Action::DeleteChannel, &channel).await?;
        delete(cx, tx, &channel).await?;
        Ok(Reply::Ready(()))
    }
}

#[cfg(test)]
mod tests;

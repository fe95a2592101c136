//! Tags of a resource, kept beside it.
//!
//! Key: the uid of the resource and a hash of the tag's key, so that tags of different keys do not
//! meet; they are purged with the resource, whose counter equals them. Both services have the same
//! three operations at the same paths, and one rule answers either: the ARN tells the resource. The
//! keys of a request are distinct and do not start with the reserved `aws:`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{Direction, Key, Kind, Range, Record, Table, Txn, Uid};
use wire::arn::Resource;
use wire::identity::{
    ListTagsForResource, ListTagsForResourceRequest, ListTagsForResourceResponse, Tag, TagResource,
    TagResourceRequest, UntagResource, UntagResourceRequest,
};

use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::identity::app_instance::AppInstance;
use crate::identity::app_instance_bot::AppInstanceBot;
use crate::identity::app_instance_user::AppInstanceUser;
use crate::messaging::channel::Channel;
use crate::messaging::channel_flow::ChannelFlow;
use crate::{Chat, ids, limits};

pub(crate) static RESOURCE_TAG: Table =
    Table { name: "resource_tag", kind: Kind::Record, columns: &["key", "value"] };

/// Bytes of a tag key's hash: far more than fifty keys of one resource need to be told apart.
const KEY_HASH_BYTES: usize = 16;

/// One tag of a resource.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ResourceTag {
    uid: Uid,
    key: String,
    value: String,
}

impl Record for ResourceTag {
    const TABLE: &'static Table = &RESOURCE_TAG;

    fn key(&self) -> Key {
        key_of(self.uid, &self.key)
    }
}

impl Proof for ResourceTag {
    fn counted(&self) -> Vec<Key> {
        vec![limits::RESOURCE_TAGS.key(self.uid)]
    }

    fn refers_to(&self) -> Vec<Uid> {
        vec![self.uid]
    }
}

pub(crate) fn key_of(uid: Uid, key: &str) -> Key {
    Key::new(&RESOURCE_TAG).uid(uid).raw(&Sha256::digest(key)[..KEY_HASH_BYTES])
}

pub(crate) fn of_identity(tags: &[wire::identity::Tag]) -> Vec<(&str, &str)> {
    tags.iter().map(|tag| (tag.key.as_str(), tag.value.as_str())).collect()
}

pub(crate) fn of_messaging(tags: &[wire::messaging::Tag]) -> Vec<(&str, &str)> {
    tags.iter().map(|tag| (tag.key.as_str(), tag.value.as_str())).collect()
}

/// Returns the tags of one request by their keys.
///
/// # Errors
/// BadRequest for a repeated or reserved key.
fn distinct(given: Vec<(&str, &str)>) -> Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for (key, value) in given {
        if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
            return Err(Error::bad_request("Tag keys that start with aws: are reserved"));
        }
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(Error::bad_request("A tag key is given more than once"));
        }
    }
    Ok(tags)
}

/// Puts the tags of a resource that this transaction makes, whose uid is new.
///
/// # Errors
/// BadRequest for a repeated or reserved key.
pub(crate) fn attach(
    cx: &Cx,
    tx: &mut Txn,
    uid: Uid,
    tags: Option<Vec<(&str, &str)>>,
) -> Result<()> {
    let Some(given) = tags else { return Ok(()) };
    let tags = distinct(given)?;
    count(cx, tx, uid, tags.len());
    for (key, value) in tags {
        let tag = ResourceTag { uid, key, value };
        tx.put_raw(tag.key(), store::codec::encode(&tag));
    }
    Ok(())
}

/// Counts tags that were not there.
fn count(cx: &Cx, tx: &mut Txn, uid: Uid, tag_count: usize) {
    let quota = limits::RESOURCE_TAGS;
    // A request has fifty of them at most.
    let tag_count = i64::try_from(tag_count).unwrap_or(i64::MAX);
    tx.add(quota.key(uid), tag_count, Some(cx.max(&quota)));
}

/// Returns the uid of the live resource that `arn` names. It is got, so that whoever writes tags
/// below it commits only while it is alive.
///
/// # Errors
/// Forbidden when there is none.
async fn tagged(cx: &Cx, tx: &mut Txn, arn: &str) -> Result<Uid> {
    let (app_instance, resource) = cx.parse_arn(arn).ok_or_else(Error::forbidden)?;
    let instance: Option<AppInstance> = tx.get(&AppInstance::key_of(app_instance)).await?;
    let instance = instance.ok_or_else(Error::forbidden)?.uid;
    let uid = match resource {
        Resource::AppInstance => Some(instance),
        Resource::User(id) => {
            let user: Option<AppInstanceUser> =
                tx.get(&AppInstanceUser::key_of(instance, &id)).await?;
            user.map(|user| user.uid)
        }
        Resource::Bot(id) => {
            let bot: Option<AppInstanceBot> =
                tx.get(&AppInstanceBot::key_of(instance, &id)).await?;
            bot.map(|bot| bot.uid)
        }
        Resource::Channel(id) => {
            let channel: Option<Channel> = tx.get(&Channel::key_of(instance, &id)).await?;
            channel.map(|channel| channel.uid)
        }
        Resource::ChannelFlow(id) => {
            let key = ids::parse_uuid(&id).map(|uid| ChannelFlow::key_of(instance, uid));
            let flow: Option<ChannelFlow> = match key {
                Some(key) => tx.get(&key).await?,
                None => None,
            };
            flow.map(|flow| flow.uid)
        }
    };
    uid.ok_or_else(Error::forbidden)
}

impl Handle<TagResource> for Chat {
    /// Adds tags; the value of a key that is there already is replaced.
    async fn handle(cx: &Cx, tx: &mut Txn, input: &TagResourceRequest) -> Result<Reply<()>> {
        let uid = tagged(cx, tx, &input.resource_arn).await?;
        let given = distinct(of_identity(&input.tags))?;
        let keys: Vec<Key> = given.keys().map(|key| key_of(uid, key)).collect();
        tx.load(&keys).await?;
        tx.set_home(uid);
        let mut new_count = 0;
        for (key, value) in given {
            let tag = ResourceTag { uid, key, value };
            new_count += usize::from(!tx.exists(&tag.key()).await?);
            tx.put(&tag);
        }
        count(cx, tx, uid, new_count);
        Ok(Reply::Ready(()))
    }
}

impl Handle<UntagResource> for Chat {
    /// Removes tags; a key that is not there is none the worse.
    async fn handle(cx: &Cx, tx: &mut Txn, input: &UntagResourceRequest) -> Result<Reply<()>> {
        let uid = tagged(cx, tx, &input.resource_arn).await?;
        let keys: Vec<Key> = input.tag_keys.iter().map(|key| key_of(uid, key)).collect();
        tx.load(&keys).await?;
        tx.set_home(uid);
        for key in &keys {
            // A key that is given twice is not there any more the second time.
            if let Some(tag) = tx.get::<ResourceTag>(key).await? {
                tx.delete(&tag);
                tx.add(limits::RESOURCE_TAGS.key(uid), -1, None);
            }
        }
        Ok(Reply::Ready(()))
    }
}

impl Handle<ListTagsForResource> for Chat {
    /// Lists the tags in the order of their keys; there are few enough for one answer.
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListTagsForResourceRequest,
    ) -> Result<Reply<ListTagsForResourceResponse>> {
        let uid = tagged(cx, tx, &input.resource_arn).await?;
        let all = Range::prefix(Key::new(&RESOURCE_TAG).uid(uid));
        let row_count_max = usize::try_from(cx.max(&limits::RESOURCE_TAGS)).unwrap_or(usize::MAX);
        let rows = tx.view().list(&all, row_count_max, Direction::Forward).await?;
        let mut tags = Vec::with_capacity(rows.len());
        for row in rows {
            let ResourceTag { key, value, .. } = row.decode()?;
            tags.push(Tag { key, value });
        }
        tags.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(Reply::Ready(ListTagsForResourceResponse { tags: Some(tags) }))
    }
}

#[cfg(test)]
mod tests;

//! Tags of a resource, kept beside it.
//!
//! Key: the uid of the resource; they are purged with it. Both services have the same three
//! operations at the same paths, and one rule answers either: the ARN tells the resource. At most
//! 50 of them; keys are distinct and do not start with the reserved `aws:`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use store::{Key, Kind, Record, Table, Txn, Uid};
use wire::arn::Resource;
use wire::identity::{
    ListTagsForResource, ListTagsForResourceRequest, ListTagsForResourceResponse, Tag, TagResource,
    TagResourceRequest, UntagResource, UntagResourceRequest,
};

use crate::Chat;
use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::identity::app_instance::AppInstance;
use crate::identity::app_instance_bot::AppInstanceBot;
use crate::identity::app_instance_user::AppInstanceUser;
use crate::limits::RESOURCE_TAGS_MAX;
use crate::messaging::channel::Channel;

pub(crate) static RESOURCE_TAG: Table =
    Table { name: "resource_tag", kind: Kind::Record, columns: &["tags"] };

/// The tags of one resource.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ResourceTags {
    uid: Uid,
    tags: BTreeMap<String, String>,
}

impl Record for ResourceTags {
    const TABLE: &'static Table = &RESOURCE_TAG;

    fn key(&self) -> Key {
        key_of(self.uid)
    }
}

impl Proof for ResourceTags {
    fn refers_to(&self) -> Vec<Uid> {
        vec![self.uid]
    }
}

pub(crate) fn key_of(uid: Uid) -> Key {
    Key::new(&RESOURCE_TAG).uid(uid)
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
pub(crate) fn attach(tx: &mut Txn, uid: Uid, tags: Option<Vec<(&str, &str)>>) -> Result<()> {
    let Some(given) = tags else { return Ok(()) };
    let record = ResourceTags { uid, tags: distinct(given)? };
    tx.put_raw(record.key(), store::codec::encode(&record));
    Ok(())
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
        // No channel flow can be made yet, so none is there.
        Resource::ChannelFlow(_) => None,
    };
    uid.ok_or_else(Error::forbidden)
}

/// Returns the tags of a resource; the commit checks them.
async fn of(tx: &mut Txn, uid: Uid) -> Result<BTreeMap<String, String>> {
    let record: Option<ResourceTags> = tx.get(&key_of(uid)).await?;
    Ok(record.map(|record| record.tags).unwrap_or_default())
}

impl Handle<TagResource> for Chat {
    /// Adds tags; the value of a key that is there already is replaced.
    async fn handle(cx: &Cx, tx: &mut Txn, input: &TagResourceRequest) -> Result<Reply<()>> {
        let uid = tagged(cx, tx, &input.resource_arn).await?;
        let given = distinct(of_identity(&input.tags))?;
        let mut tags = of(tx, uid).await?;
        tags.extend(given);
        if tags.len() > RESOURCE_TAGS_MAX {
            return Err(Error::too_many(RESOURCE_TAGS_MAX, "tags of the resource"));
        }
        tx.set_home(uid);
        tx.put(&ResourceTags { uid, tags });
        Ok(Reply::Ready(()))
    }
}

impl Handle<UntagResource> for Chat {
    /// Removes tags; a key that is not there is none the worse.
    async fn handle(cx: &Cx, tx: &mut Txn, input: &UntagResourceRequest) -> Result<Reply<()>> {
        let uid = tagged(cx, tx, &input.resource_arn).await?;
        let mut tags = of(tx, uid).await?;
        let tag_count = tags.len();
        tags.retain(|key, _| !input.tag_keys.contains(key));
        if tags.len() < tag_count {
            tx.set_home(uid);
            tx.put(&ResourceTags { uid, tags });
        }
        Ok(Reply::Ready(()))
    }
}

impl Handle<ListTagsForResource> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListTagsForResourceRequest,
    ) -> Result<Reply<ListTagsForResourceResponse>> {
        let uid = tagged(cx, tx, &input.resource_arn).await?;
        let tags = of(tx, uid).await?.into_iter().map(|(key, value)| Tag { key, value });
        Ok(Reply::Ready(ListTagsForResourceResponse { tags: Some(tags.collect()) }))
    }
}

#[cfg(test)]
mod tests;

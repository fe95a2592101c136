//! Tags of a resource, kept beside it.
//!
//! Key: the uid of the resource; they are purged with it. At most 50 of them, which the model
//! checks; keys are distinct and do not start with the reserved `aws:`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use store::{Key, Kind, Record, Table, Txn, Uid};

use crate::check::Proof;
use crate::error::{Error, Result};

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

/// Puts the tags of a resource that this transaction makes, whose uid is new.
///
/// # Errors
/// BadRequest for a repeated or reserved key.
pub(crate) fn attach(tx: &mut Txn, uid: Uid, tags: Option<Vec<(&str, &str)>>) -> Result<()> {
    let Some(given) = tags else { return Ok(()) };
    let mut tags = BTreeMap::new();
    for (key, value) in given {
        if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
            return Err(Error::bad_request("Tag keys that start with aws: are reserved"));
        }
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(Error::bad_request("A tag key is given more than once"));
        }
    }
    let record = ResourceTags { uid, tags };
    tx.put_raw(record.key(), store::codec::encode(&record));
    Ok(())
}

//! ClientRequestToken: a retried create or send answers its first result and changes nothing.
//!
//! Invariant: a token row is put by the commit that it stands for and by no other, and is checked
//! absent there, so of two racing twins exactly one takes effect. Only success is remembered. The
//! stamp of the first commit is read from the row's version, never from a value.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{Key, Kind, Range, Stamp, Table, Txn, Uid, codec};
use wire::Operation;

use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::ids;
use crate::limits::TokenLife;

/// Key: life, bucket of time, hash of what the token belongs to. Rows leave by time.
pub(crate) static REQUEST_TOKEN: Table =
    Table { name: "request_token", kind: Kind::Record, columns: &["resource"] };

/// Returns the key that all rows of a bucket begin with.
fn bucket_key(life: &TokenLife, bucket: i64) -> Key {
    let bucket = u32::try_from(bucket.max(0)).unwrap_or(u32::MAX);
    Key::new(&REQUEST_TOKEN).u8(life.tag).u32(bucket)
}

/// Returns the rows that no request looks up any more.
pub(crate) fn expired(life: &TokenLife, now_ms: i64) -> Range {
    let previous = now_ms.div_euclid(life.bucket_ms) - 1;
    Range::prefix(Key::new(&REQUEST_TOKEN).u8(life.tag)).before(bucket_key(life, previous))
}

/// Room for the text of a usual input.
const INPUT_BYTES_USUAL: usize = 1_024;

/// What a request token stands for, from the reading of the request to its commit.
pub(crate) struct Token {
    /// The rows of the current and of the previous time bucket.
    keys: [Key; 2],
    input_hash: String,
}

#[derive(Serialize, Deserialize)]
struct Row {
    input_hash: String,
    resource: String,
    uid: Uid,
}

/// The result of the first request with this token.
pub(crate) struct First {
    /// The id of the resource that was made, or what else the stamp does not tell of the answer.
    pub(crate) resource: String,
    /// The uid of the resource: a result is answered again only while this one is alive.
    pub(crate) uid: Uid,
    /// The stamp of the first commit.
    pub(crate) stamp: Stamp,
}

impl Token {
    /// Returns the token of a request of operation `O` below `home` by the acting principal.
    pub(crate) fn of<O: Operation>(
        cx: &Cx,
        home: Uid,
        life: &TokenLife,
        token: &str,
        input: &O::Input,
    ) -> Self {
        let mut body = Vec::with_capacity(INPUT_BYTES_USUAL);
        wire::rest_json::write(input, wire::rest_json::TimeFormat::EpochSeconds, &mut body);
        let actor = cx.actor.as_ref().map_or(Uid([0; 16]), |actor| actor.principal.uid);
        let mut hash = Sha256::new();
        hash.update(home.0);
        hash.update(actor.0);
        hash.update(O::NAME.as_bytes());
        hash.update([0]);
        hash.update(token.as_bytes());
        let name = hash.finalize();
        let bucket = cx.now_ms.div_euclid(life.bucket_ms);
        let key = |bucket| bucket_key(life, bucket).raw(&name[..16]);
        let input_hash = ids::hex(&Sha256::digest(&body)[..16]);
        Self { keys: [key(bucket), key(bucket - 1)], input_hash }
    }

    /// Returns the keys to load together with others.
    pub(crate) fn keys(&self) -> &[Key; 2] {
        &self.keys
    }

    /// Returns the first result when this token was used before.
    ///
    /// # Errors
    /// Conflict when it was used with other parameters.
    pub(crate) async fn first(&self, tx: &mut Txn) -> Result<Option<First>> {
        for key in &self.keys {
            let Some(entry) = tx.get_entry(key).await? else { continue };
            let row: Row = codec::decode(&entry.value).map_err(Error::corrupt)?;
            if row.input_hash != self.input_hash {
                return Err(Error::conflict(
                    "The ClientRequestToken was used before with other parameters",
                ));
            }
            return Ok(Some(First {
                resource: row.resource,
                uid: row.uid,
                stamp: entry.ver.stamp(),
            }));
        }
        Ok(None)
    }

    /// Remembers that this request made `resource`, or below `uid` what the stamp tells.
    pub(crate) fn remember(self, tx: &mut Txn, resource: &str, uid: Uid) {
        let row = Row { input_hash: self.input_hash, resource: resource.to_owned(), uid };
        let [current, _] = self.keys;
        tx.put_raw(current, codec::encode(&row));
    }
}

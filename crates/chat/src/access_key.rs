//! Access keys beside the root credential: each may act for one user, or for one app instance.
//!
//! Key: what was drawn of its id. Indexes: by owner, which is the uid of the user or app instance,
//! so that a key goes with its owner and never serves a successor; by expiry. What a key may do
//! says `policy`. One counter of the account equals the rows.

mod id;

use serde::{Deserialize, Serialize};
use store::{Direction, Failure, Index, Key, Kind, Range, Record, Table, Txn, Uid, View};
use wire::arn::Resource;
use wire::sigv4::SecretKey;

use crate::Chat;
use crate::check::Proof;
use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::identity::app_instance::AppInstance;
use crate::limits::{self, ACCOUNT};
use crate::policy::Scope;
use crate::principal;

pub(crate) use id::{Id, Issuer};

pub(crate) static ACCESS_KEY: Table =
    Table { name: "access_key", kind: Kind::Record, columns: &["created_ms", "expires_ms"] };

/// Owner, id: the keys of a user or app instance.
pub(crate) static ACCESS_KEY_BY_OWNER: Table =
    Table { name: "access_key_by_owner", kind: Kind::Index, columns: &[] };

/// Expiry, id: those that expire.
pub(crate) static ACCESS_KEY_BY_EXPIRY: Table =
    Table { name: "access_key_by_expiry", kind: Kind::Index, columns: &[] };

pub(crate) static TABLES: [&Table; 3] = [&ACCESS_KEY, &ACCESS_KEY_BY_OWNER, &ACCESS_KEY_BY_EXPIRY];

/// How long a key is kept beyond its expiry, so that who still uses it is told why he is refused.
const KEPT_EXPIRED_MS: i64 = 24 * 60 * 60 * 1_000;
/// Keys of one page of [`Chat::access_keys`].
pub const ACCESS_KEYS_PAGE: usize = 500;
/// Rows that go with one key: itself, two index rows, the counter.
pub(crate) const ROWS_PER_KEY: usize = 4;

/// For whom a key may act, as its maker names him.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The ARN of a user or bot.
    User(String),
    /// The ARN of an app instance: all of its users and bots.
    AppInstance(String),
}

/// An access key as its maker sees it. Its secret is asked for by its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// What stands in signatures.
    pub id: String,
    /// For whom it may act.
    pub owner: Owner,
    /// When it was made.
    pub created_ms: i64,
    /// From when on it is refused.
    pub expires_ms: Option<i64>,
}

/// What a key that is there may do, and how long.
#[derive(Clone, Debug)]
pub struct Grant {
    /// For whom it may act.
    pub scope: Scope,
    /// From when on it is refused.
    pub expires_ms: Option<i64>,
}

/// Why a key cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AccessKeyError {
    /// The ARN names no live user or app instance, or the wrong one of the two.
    #[error("there is no {0} of this ARN")]
    UnknownOwner(&'static str),
    /// The key would never be good for anything.
    #[error("the key would have expired already")]
    Expired,
    /// The quota is used up.
    #[error("the limit of {0} access keys is reached; delete some, or raise the quota access-keys")]
    Full(i64),
    /// The store does not answer.
    #[error("the store is not available")]
    Store(#[source] wire::Error),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    id: Id,
    scope: Scope,
    created_ms: i64,
    expires_ms: Option<i64>,
}

impl Record for Row {
    const TABLE: &'static Table = &ACCESS_KEY;

    fn key(&self) -> Key {
        key_of(self.id)
    }

    fn indexes(&self, out: &mut Vec<Index>) {
        let key = Key::new(&ACCESS_KEY_BY_OWNER).uid(self.scope.owner()).raw(&self.id.0);
        out.push(Index { key, value: Vec::new() });
        if let Some(expires_ms) = self.expires_ms {
            let key = expiry_key(expires_ms).raw(&self.id.0);
            out.push(Index { key, value: Vec::new() });
        }
    }
}

impl Proof for Row {
    fn counted(&self) -> Vec<Key> {
        vec![limits::ACCESS_KEYS.key(ACCOUNT)]
    }

    fn refers_to(&self) -> Vec<Uid> {
        vec![self.scope.owner()]
    }
}

fn key_of(id: Id) -> Key {
    Key::new(&ACCESS_KEY).raw(&id.0)
}

fn expiry_key(expires_ms: i64) -> Key {
    Key::new(&ACCESS_KEY_BY_EXPIRY).u64(u64::try_from(expires_ms).unwrap_or(0))
}

/// Removes a key that was got.
fn remove(tx: &mut Txn, row: &Row) {
    tx.delete(row);
    tx.add(limits::ACCESS_KEYS.key(ACCOUNT), -1, None);
}

/// Removes the first keys of a deleted owner, and tells how many that were.
pub(crate) async fn purge(view: &View, tx: &mut Txn, owner: Uid, limit: usize) -> Result<usize> {
    let range = Range::prefix(Key::new(&ACCESS_KEY_BY_OWNER).uid(owner));
    remove_listed(view, tx, &range, limit).await
}

/// Removes the first keys that expired long ago, and tells how many that were.
pub(crate) async fn sweep(view: &View, tx: &mut Txn, now_ms: i64, limit: usize) -> Result<usize> {
    let all = Range::prefix(Key::new(&ACCESS_KEY_BY_EXPIRY));
    let range = all.before(expiry_key(now_ms.saturating_sub(KEPT_EXPIRED_MS)));
    remove_listed(view, tx, &range, limit).await
}

/// Both indexes end with the id.
async fn remove_listed(view: &View, tx: &mut Txn, range: &Range, limit: usize) -> Result<usize> {
    let rows = view.keys(range, limit, Direction::Forward).await?;
    let id = |key: &[u8]| key.last_chunk().map(|id| key_of(Id(*id)));
    let keys: Vec<Key> = rows.iter().filter_map(|row| id(&row.key)).collect();
    tx.load(&keys).await?;
    for key in &keys {
        if let Some(row) = tx.get::<Row>(key).await? {
            remove(tx, &row);
        }
    }
    Ok(keys.len())
}

impl Chat {
    /// Makes a key.
    ///
    /// # Errors
    /// When there is no such owner, when the quota is used up, when the store does not answer.
    pub async fn create_access_key(
        &self,
        owner: &Owner,
        expires_ms: Option<i64>,
    ) -> std::result::Result<AccessKey, AccessKeyError> {
        for _ in 0..limits::ATTEMPTS_MAX {
            let cx = self.nobodys_cx(String::new());
            if expires_ms.is_some_and(|expires_ms| expires_ms <= cx.now_ms) {
                return Err(AccessKeyError::Expired);
            }
            let mut tx = self.0.store.begin();
            let scope = scope_of(&cx, &mut tx, owner).await?;
            let id = Id::draw(&*cx.entropy);
            let row = Row { id, scope, created_ms: cx.now_ms, expires_ms };
            if tx.exists(&row.key()).await.map_err(Error::from)? {
                continue;
            }
            tx.set_home(row.scope.owner());
            tx.put(&row);
            let max = cx.max(&limits::ACCESS_KEYS);
            tx.add(limits::ACCESS_KEYS.key(ACCOUNT), 1, Some(max));
            match tx.commit("create_access_key").await {
                Ok(_) => return Ok(self.shown(&cx, &row)),
                Err(Failure::Conflict(_)) => {}
                Err(Failure::Bound(_)) => return Err(AccessKeyError::Full(max)),
                Err(failure) => return Err(self.refused(failure).into()),
            }
        }
        Err(Error::from(wire::Error::unavailable()).into())
    }

    /// Returns the keys behind the id `after`, in the order of their ids, at most
    /// [`ACCESS_KEYS_PAGE`] of them. The last page is shorter.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn access_keys(
        &self,
        after: Option<&str>,
    ) -> std::result::Result<Vec<AccessKey>, wire::Error> {
        let mut range = Range::prefix(Key::new(&ACCESS_KEY));
        if let Some(last) = after.and_then(|after| self.0.issuer.parse(after)) {
            range = range.after(key_of(last).bytes());
        }
        let rows = self.0.store.view().list(&range, ACCESS_KEYS_PAGE, Direction::Forward).await;
        let cx = self.nobodys_cx(String::new());
        let show = |row: store::Entry| Ok(self.shown(&cx, &row.decode::<Row>()?));
        let keys: Result<_> = rows.map_err(Error::from)?.into_iter().map(show).collect();
        Ok(keys?)
    }

    /// Deletes a key and tells whether it was there.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn delete_access_key(&self, id: &str) -> std::result::Result<bool, wire::Error> {
        let Some(id) = self.0.issuer.parse(id) else { return Ok(false) };
        for _ in 0..limits::ATTEMPTS_MAX {
            let mut tx = self.0.store.begin();
            let row = tx.get::<Row>(&key_of(id)).await.map_err(Error::from)?;
            let Some(row) = row else { return Ok(false) };
            // The owner may be purged at this moment, and his home must not come back.
            tx.set_home(Uid::NIL);
            remove(&mut tx, &row);
            match tx.commit("delete_access_key").await {
                Ok(_) => return Ok(true),
                Err(Failure::Conflict(_)) => {}
                Err(failure) => return Err(self.refused(failure).into()),
            }
        }
        Err(Error::from(wire::Error::unavailable()).into())
    }

    /// Returns the secret of an id that this store has made, whether or not the key is still there.
    /// Reads nothing.
    #[must_use]
    pub fn access_key_secret(&self, id: &str) -> Option<SecretKey> {
        Some(self.0.issuer.secret(self.0.issuer.parse(id)?))
    }

    /// Returns what the key `id` may do, if it is there.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn access_key_grant(
        &self,
        id: &str,
    ) -> std::result::Result<Option<Grant>, wire::Error> {
        let Some(id) = self.0.issuer.parse(id) else { return Ok(None) };
        let row = self.0.store.view().get::<Row>(&key_of(id)).await.map_err(Error::from)?;
        Ok(row.map(|Row { scope, expires_ms, .. }| Grant { scope, expires_ms }))
    }

    fn shown(&self, cx: &Cx, row: &Row) -> AccessKey {
        AccessKey {
            id: self.0.issuer.text(row.id),
            owner: row.scope.owner_arn(cx),
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
        }
    }
}

/// Returns the scope of a live owner.
async fn scope_of(
    cx: &Cx,
    tx: &mut Txn,
    owner: &Owner,
) -> std::result::Result<Scope, AccessKeyError> {
    let (Owner::User(arn) | Owner::AppInstance(arn)) = owner;
    let noun = match owner {
        Owner::User(_) => "user or bot",
        Owner::AppInstance(_) => "app instance",
    };
    let unknown = || AccessKeyError::UnknownOwner(noun);
    let (app_instance, resource) = cx.parse_arn(arn).ok_or_else(unknown)?;
    let instance = AppInstance::key_of(app_instance);
    if tx.get::<AppInstance>(&instance).await.map_err(Error::from)?.is_none() {
        return Err(unknown());
    }
    match (owner, resource) {
        (Owner::AppInstance(_), Resource::AppInstance) => Ok(Scope::AppInstance(app_instance)),
        (Owner::User(_), _) => {
            let principal = principal::find(cx, tx, app_instance, arn).await?;
            let principal = principal.ok_or_else(unknown)?;
            Ok(Scope::principal(app_instance, &principal))
        }
        (Owner::AppInstance(_), _) => Err(unknown()),
    }
}

impl From<Error> for AccessKeyError {
    fn from(error: Error) -> Self {
        Self::Store(error.into_wire())
    }
}

#[cfg(test)]
mod tests;

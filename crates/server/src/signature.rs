//! Who signed a request, and what he may do: the front of `wire::sigv4`, with the server's clock and
//! keys.
//!
//! Invariants: nothing is read for a request whose signature is wrong, and nothing for the root
//! credential; a key that was deleted is refused within [`GRANT_LIFE`] on every node; what is
//! remembered is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chat::{Chat, Grant, Scope};
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use store::Clock;
use tokio::time::Instant;
use wire::error::text;
use wire::sigv4::{Head, KeyRing, SecretKey, Verifier};
use wire::{Error, ErrorCode};

use crate::credentials::Credential;

/// How long it is believed that a key is there, or is not.
const GRANT_LIFE: Duration = Duration::from_secs(5);
/// Most keys of which that is remembered. Only ids whose secret is known get that far.
const GRANTS_MAX: usize = 10_000;

/// Checks signatures of requests and of handshakes.
pub(crate) struct Signatures {
    verifier: Verifier,
    keys: Keys,
    clock: Arc<dyn Clock>,
    grants: Mutex<HashMap<String, Known>>,
}

/// Tells secrets by access key ids, without a read.
struct Keys {
    root: Credential,
    chat: Chat,
}

impl KeyRing for Keys {
    fn secret(&self, access_key_id: &str) -> Option<SecretKey> {
        let root = self.root.secret(access_key_id);
        root.or_else(|| self.chat.access_key_secret(access_key_id))
    }
}

/// What a read said of a key.
struct Known {
    grant: Option<Grant>,
    until: Instant,
}

impl Signatures {
    pub(crate) fn new(region: &str, root: Credential, chat: Chat, clock: Arc<dyn Clock>) -> Self {
        let keys = Keys { root, chat };
        Self { verifier: Verifier::new(region), keys, clock, grants: Mutex::default() }
    }

    /// Checks a request and returns what its credentials allow.
    pub(crate) async fn check(&self, parts: &Parts, body: &[u8]) -> Result<Grant, Error> {
        if is_presigned(parts) {
            return self.check_presigned(parts, body).await;
        }
        let signer = with_head(parts, |head| {
            self.verifier.verify_header(head, body, self.now_ms(), &self.keys)
        })?;
        self.grant(&signer.access_key_id).await
    }

    /// Checks a handshake, or another request that carries its signature in the query.
    pub(crate) async fn check_presigned(&self, parts: &Parts, body: &[u8]) -> Result<Grant, Error> {
        let signer = with_head(parts, |head| {
            self.verifier.verify_presigned(head, body, self.now_ms(), &self.keys)
        })?;
        self.grant(&signer.access_key_id).await
    }

    /// Returns what the owner of a secret may do now.
    async fn grant(&self, access_key_id: &str) -> Result<Grant, Error> {
        if self.keys.root.secret(access_key_id).is_some() {
            return Ok(Grant { scope: Scope::Root, expires_ms: None });
        }
        let grant = match self.known(access_key_id) {
            Some(known) => known,
            None => self.read(access_key_id).await?,
        };
        let unknown = || Error::new(ErrorCode::UnrecognizedClient, text::TOKEN_INVALID);
        let grant = grant.ok_or_else(unknown)?;
        if grant.expires_ms.is_some_and(|expires_ms| expires_ms <= self.now_ms()) {
            return Err(Error::new(ErrorCode::ExpiredToken, text::TOKEN_EXPIRED));
        }
        Ok(grant)
    }

    fn known(&self, access_key_id: &str) -> Option<Option<Grant>> {
        let grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let known = grants.get(access_key_id)?;
        (known.until > Instant::now()).then(|| known.grant.clone())
    }

    async fn read(&self, access_key_id: &str) -> Result<Option<Grant>, Error> {
        // Counted from before the read, so that nothing older is believed for longer.
        let until = Instant::now() + GRANT_LIFE;
        let grant = self.keys.chat.access_key_grant(access_key_id).await?;
        let known = Known { grant: grant.clone(), until };
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        if grants.len() >= GRANTS_MAX {
            let now = Instant::now();
            grants.retain(|_, known| known.until > now);
            if grants.len() >= GRANTS_MAX {
                grants.clear();
            }
        }
        grants.insert(access_key_id.to_owned(), known);
        Ok(grant)
    }

    /// Returns how long it is until `expires_ms`.
    pub(crate) fn left(&self, expires_ms: i64) -> Duration {
        let left_ms = expires_ms.saturating_sub(self.now_ms());
        Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now_ms()).unwrap_or(i64::MAX)
    }
}

/// Whether a request has its signature in the query and nowhere else.
fn is_presigned(parts: &Parts) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    !parts.headers.contains_key(AUTHORIZATION)
        && query.split('&').any(|pair| pair.starts_with("X-Amz-Signature="))
}

/// Shows a request to the verifier as it was received; HTTP/1.1 has the host among its headers.
fn with_head<T>(parts: &Parts, check: impl FnOnce(&Head<'_>) -> T) -> T {
    let headers: Vec<(&str, &[u8])> =
        parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    check(&Head {
        method: parts.method.as_str(),
        raw_path: parts.uri.path(),
        raw_query: parts.uri.query(),
        headers: &headers,
        host: None,
    })
}

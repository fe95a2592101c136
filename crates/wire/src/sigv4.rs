//! Signature version 4: who sent a request, and that nobody changed it on the way.
//!
//! Invariants: a request is accepted only if its signature matches one of the spellings that real
//! clients sign (see `canonical`), over the body that we received, within the time window; every
//! comparison with a secret takes constant time; the clock is a parameter. The path is used as
//! received: nothing is decoded or cleaned up first. `sign` is the other side, for tests and tools.

mod canonical;
mod claim;
mod escape;
mod key;
mod sign;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
mod window;

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::{Error, ErrorCode, text};
use canonical::QueryForm;
use claim::{Claim, Scope};
use key::KeyCache;

pub use key::SecretKey;
pub use sign::Signer;
pub use window::{EXPIRES_SECONDS_MAX, SKEW_SECONDS};

/// The name under which both services and the WebSocket are signed.
pub const SERVICE: &str = "chime";
/// The only algorithm; `AWS4-ECDSA-P256-SHA256` has no user among the clients of this API.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The last element of every credential scope.
const TERMINATOR: &str = "aws4_request";
/// Most names in SignedHeaders. Real clients sign fewer than twenty; the work per request is this
/// number times that of its headers.
const SIGNED_HEADERS_MAX: usize = 100;
/// Room for the canonical form of a usual request, so that it is built without growing.
const CANONICAL_BYTES_USUAL: usize = 1024;
/// Acts for a user, so it must be signed: otherwise one captured request could act as any user.
const BEARER_HEADER: &str = "x-amz-chime-bearer";
const DATE_HEADER: &str = "x-amz-date";
const CONTENT_HASH_HEADER: &str = "x-amz-content-sha256";
const TOKEN_HEADER: &str = "x-amz-security-token";

/// SHA-256 in lower-case hex, as it stands in canonical requests.
type HexHash = [u8; 64];

/// What of a request is signed, as received. `headers` hold names in any case; `host` is the
/// `:authority` of HTTP/2 and takes the place of the Host header when given.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a str,
    pub raw_path: &'a str,
    pub raw_query: Option<&'a str>,
    pub headers: &'a [(&'a str, &'a [u8])],
    pub host: Option<&'a str>,
}

impl<'a> Head<'a> {
    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }
}

/// The access keys that a server knows.
pub trait KeyRing {
    /// Returns the secret of a permanent access key.
    fn secret(&self, access_key_id: &str) -> Option<SecretKey>;

    /// Judges temporary credentials; a ring that issues none knows none.
    fn session(&self, _access_key_id: &str, _token: &str) -> Session {
        Session::Unknown
    }
}

/// What a ring says about temporary credentials.
#[derive(Debug, Clone)]
pub enum Session {
    Live(SecretKey),
    Expired,
    Unknown,
}

/// Who signed a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub access_key_id: String,
    pub credential: Credential,
}

/// With what kind of key a request was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    Permanent,
    Session,
}

/// Checks signatures for one region.
pub struct Verifier {
    region: String,
    service: &'static str,
    keys: KeyCache,
}

impl Verifier {
    /// Makes a verifier for requests that are scoped to `region` and to this service.
    pub fn new(region: impl Into<String>) -> Self {
        Self { region: region.into(), service: SERVICE, keys: KeyCache::default() }
    }

    /// Checks a request that carries its signature in the Authorization header.
    pub fn verify_header(
        &self,
        head: &Head<'_>,
        body: &[u8],
        now_ms: i64,
        keys: &dyn KeyRing,
    ) -> Result<Principal, Error> {
        let claim = Claim::from_header(head)?;
        let scope = claim.scope()?;
        self.check_scope(&scope, &claim.date)?;
        let (secret, credential) = find_secret(&scope, claim.token.as_deref(), keys)?;
        window::check_header(&claim.date, now_ms)?;
        check_signed_headers(head, &claim.signed_headers, &["host", DATE_HEADER])?;
        let payload_hash = content_hash(head, body)?;
        self.check_signature(head, &claim, &scope, &secret, &payload_hash, &[QueryForm::Whole])?;
        Ok(Principal { access_key_id: scope.access_key_id.to_owned(), credential })
    }

    /// Checks a request that carries its signature in the query.
    pub fn verify_presigned(
        &self,
        head: &Head<'_>,
        body: &[u8],
        now_ms: i64,
        keys: &dyn KeyRing,
    ) -> Result<Principal, Error> {
        let claim = Claim::from_query(head)?;
        let scope = claim.scope()?;
        self.check_scope(&scope, &claim.date)?;
        let (secret, credential) = find_secret(&scope, claim.token.as_deref(), keys)?;
        window::check_presigned(&claim.date, &claim.expires, now_ms)?;
        check_signed_headers(head, &claim.signed_headers, &["host"])?;
        let payload_hash = content_hash(head, body)?;
        let forms = canonical::presigned_forms(head.raw_query.unwrap_or(""));
        self.check_signature(head, &claim, &scope, &secret, &payload_hash, forms)?;
        Ok(Principal { access_key_id: scope.access_key_id.to_owned(), credential })
    }

    fn check_scope(&self, scope: &Scope<'_>, date: &str) -> Result<(), Error> {
        if scope.region != self.region {
            return Err(invalid("Credential should be scoped to a valid region."));
        }
        if scope.service != self.service {
            let service = self.service;
            return Err(invalid(format!(
                "Credential should be scoped to correct service: '{service}'."
            )));
        }
        if scope.terminator != TERMINATOR {
            return Err(invalid(
                "Credential should be scoped with a valid terminator: 'aws4_request'.",
            ));
        }
        // The date text is checked by `window`; here only that both name the same day.
        if date.split_once('T').is_none_or(|(day, _)| day != scope.day) {
            return Err(invalid(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
                 from HTTP.",
            ));
        }
        Ok(())
    }

    /// Compares the claimed signature with that of each spelling which the client may have signed.
    fn check_signature(
        &self,
        head: &Head<'_>,
        claim: &Claim<'_>,
        scope: &Scope<'_>,
        secret: &SecretKey,
        payload_hash: &HexHash,
        queries: &[QueryForm],
    ) -> Result<(), Error> {
        let key = self.keys.signing_key(scope, secret);
        let mut request = Vec::with_capacity(CANONICAL_BYTES_USUAL);
        for path in canonical::path_forms(head.raw_path) {
            for query in queries {
                request.clear();
                let names = &claim.signed_headers;
                canonical::write(head, names, payload_hash, *path, *query, &mut request)
                    .ok_or_else(mismatch)?;
                let expected = key.sign(scope, &claim.date, &request);
                if expected.ct_eq(claim.signature.as_bytes()).into() {
                    return Ok(());
                }
            }
        }
        Err(mismatch())
    }
}

/// Finds the secret that belongs to the credentials; an empty token counts as none.
fn find_secret(
    scope: &Scope<'_>,
    token: Option<&str>,
    keys: &dyn KeyRing,
) -> Result<(SecretKey, Credential), Error> {
    let unknown = || Error::new(ErrorCode::UnrecognizedClient, text::TOKEN_INVALID);
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        let secret = keys.secret(scope.access_key_id).ok_or_else(unknown)?;
        return Ok((secret, Credential::Permanent));
    };
    match keys.session(scope.access_key_id, token) {
        Session::Live(secret) => Ok((secret, Credential::Session)),
        Session::Expired => Err(Error::new(ErrorCode::ExpiredToken, text::TOKEN_EXPIRED)),
        Session::Unknown => Err(unknown()),
    }
}

/// Demands the signature of the given headers, and of the bearer when the request has one.
fn check_signed_headers(head: &Head<'_>, signed: &str, required: &[&str]) -> Result<(), Error> {
    if signed.split(';').count() > SIGNED_HEADERS_MAX {
        return Err(incomplete("Authorization names too many SignedHeaders."));
    }
    let bearer = head.has(BEARER_HEADER).then_some(BEARER_HEADER);
    for name in required.iter().copied().chain(bearer) {
        if !signed.split(';').any(|given| given == name) {
            return Err(invalid(format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            )));
        }
    }
    Ok(())
}

/// Returns the hash of the body; a client that states the hash must state this one. Without that,
/// `UNSIGNED-PAYLOAD` would let anyone on the path change the body.
fn content_hash(head: &Head<'_>, body: &[u8]) -> Result<HexHash, Error> {
    let hash = escape::hex(&Sha256::digest(body).into());
    if head.values(CONTENT_HASH_HEADER).all(|stated| stated == hash) {
        Ok(hash)
    } else {
        Err(invalid("The provided 'x-amz-content-sha256' header does not match the body."))
    }
}

fn invalid(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorCode::InvalidSignature, message)
}

fn incomplete(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorCode::IncompleteSignature, message)
}

fn missing() -> Error {
    Error::new(ErrorCode::MissingAuthenticationToken, text::TOKEN_MISSING)
}

fn mismatch() -> Error {
    invalid(text::SIGNATURE_MISMATCH)
}

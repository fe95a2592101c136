//! Who signed a request: the front of `wire::sigv4`, with the server's clock and its one key.

use std::sync::Arc;

use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use store::Clock;
use wire::Error;
use wire::sigv4::{Head, Verifier};

use crate::credentials::Credential;

/// Checks signatures of requests and of handshakes.
pub(crate) struct Signatures {
    verifier: Verifier,
    credential: Credential,
    clock: Arc<dyn Clock>,
}

impl Signatures {
    pub(crate) fn new(region: &str, credential: Credential, clock: Arc<dyn Clock>) -> Self {
        Self { verifier: Verifier::new(region), credential, clock }
    }

    /// Checks a request. The root credential may do everything, so that who signed is not asked
    /// any further.
    pub(crate) fn check(&self, parts: &Parts, body: &[u8]) -> Result<(), Error> {
        if is_presigned(parts) {
            return self.check_presigned(parts, body);
        }
        with_head(parts, |head| {
            self.verifier.verify_header(head, body, self.now_ms(), &self.credential)
        })?;
        Ok(())
    }

    /// Checks a handshake, or another request that carries its signature in the query.
    pub(crate) fn check_presigned(&self, parts: &Parts, body: &[u8]) -> Result<(), Error> {
        with_head(parts, |head| {
            self.verifier.verify_presigned(head, body, self.now_ms(), &self.credential)
        })?;
        Ok(())
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

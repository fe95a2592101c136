//! The published vectors, every refusal, the habits of real clients, and seeded round trips.

mod habits;
mod published;
mod refusals;
mod round_trip;

use super::*;

const REGION: &str = "us-east-1";
const KEY_ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2024-05-01T17:13:59Z
const SIGNED_MS: i64 = 1_714_583_639_000;
const SKEW_MS: i64 = SKEW_SECONDS as i64 * 1000;

/// Knows one permanent key, and one live and one expired session of it.
struct Ring;

impl KeyRing for Ring {
    fn secret(&self, access_key_id: &str) -> Option<SecretKey> {
        (access_key_id == KEY_ID).then(|| SecretKey::new(SECRET))
    }

    fn session(&self, access_key_id: &str, token: &str) -> Session {
        match token {
            "live" if access_key_id == KEY_ID => Session::Live(SecretKey::new(SECRET)),
            "expired" if access_key_id == KEY_ID => Session::Expired,
            _ => Session::Unknown,
        }
    }
}

/// A request that owns its parts, so that a test can change any of them after signing.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    host: Option<String>,
    body: Vec<u8>,
}

impl Request {
    fn new(method: &str, target: &str) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let headers = vec![("Host".to_owned(), b"localhost:8080".to_vec())];
        let (method, path) = (method.to_owned(), path.to_owned());
        Self { method, path, query, headers, host: None, body: Vec::new() }
    }

    fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(given, _)| !given.eq_ignore_ascii_case(name));
        self
    }

    fn replace(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).header(name, value)
    }

    fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    fn get(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        std::str::from_utf8(&found.expect("the header is there").1).unwrap()
    }

    fn with_head<T>(&self, run: impl FnOnce(&Head<'_>) -> T) -> T {
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        run(&Head {
            method: &self.method,
            raw_path: &self.path,
            raw_query: self.query.as_deref(),
            headers: &headers,
            host: self.host.as_deref(),
        })
    }

    fn sign_with(mut self, signer: &Signer<'_>) -> Self {
        let added = self.with_head(|head| signer.sign_header(head, &self.body, SIGNED_MS));
        for (name, value) in added {
            self = self.header(name, value);
        }
        self
    }

    fn sign(self) -> Self {
        self.sign_with(&Signer::new(REGION, KEY_ID, &SecretKey::new(SECRET)))
    }

    fn presign_with(mut self, signer: &Signer<'_>, expires_seconds: u32) -> Self {
        let query = self.with_head(|head| signer.presign(head, expires_seconds, SIGNED_MS));
        self.query = Some(query);
        self
    }

    fn presign(self, expires_seconds: u32) -> Self {
        self.presign_with(&Signer::new(REGION, KEY_ID, &SecretKey::new(SECRET)), expires_seconds)
    }

    /// Signs the canonical request that a hand-written or unusual client would have made: `names`
    /// are signed, the rest of the text in front of them is given.
    fn sign_text(self, names: &str, canonical: &str) -> Self {
        let scope = scope();
        let key = key::SigningKey::derive(&scope, &SecretKey::new(SECRET));
        let signature = key.sign(&scope, "20240501T171359Z", canonical.as_bytes());
        let signature = std::str::from_utf8(&signature).unwrap();
        self.header(
            "Authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential={KEY_ID}/20240501/us-east-1/chime/aws4_request, \
                 SignedHeaders={names}, Signature={signature}"
            ),
        )
    }

    fn verify_at(&self, now_ms: i64) -> Result<Principal, Error> {
        let verifier = Verifier::new(REGION);
        self.with_head(|head| verifier.verify_header(head, &self.body, now_ms, &Ring))
    }

    fn verify(&self) -> Result<Principal, Error> {
        self.verify_at(SIGNED_MS)
    }

    fn verify_presigned_at(&self, now_ms: i64) -> Result<Principal, Error> {
        self.with_head(|head| Verifier::new(REGION).verify_presigned(head, &[], now_ms, &Ring))
    }

    fn verify_presigned(&self) -> Result<Principal, Error> {
        self.verify_presigned_at(SIGNED_MS)
    }
}

fn scope() -> Scope<'static> {
    Scope {
        access_key_id: KEY_ID,
        day: "20240501",
        region: REGION,
        service: SERVICE,
        terminator: TERMINATOR,
    }
}

fn hash(body: &[u8]) -> String {
    String::from_utf8(escape::hex(&Sha256::digest(body).into()).to_vec()).unwrap()
}

#[track_caller]
fn assert_refused(result: Result<Principal, Error>, code: ErrorCode, message: &str) {
    let error = result.expect_err("the request must be refused");
    assert_eq!((error.code(), error.message()), (code, message));
}

#[track_caller]
fn assert_mismatch(result: Result<Principal, Error>) {
    assert_refused(result, ErrorCode::InvalidSignature, text::SIGNATURE_MISMATCH);
}

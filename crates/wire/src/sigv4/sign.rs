//! The client's side: signs requests the way the official SDKs do.
//!
//! Invariant: what a `Signer` signs, a `Verifier` of the same region with the same key accepts
//! within the time window. Used by tests, the load generator and tools; the server only verifies.

use super::canonical::{self, PathForm, QueryForm};
use super::claim::Scope;
use super::escape::{self, encode_byte};
use super::key::SigningKey;
use super::{ALGORITHM, DATE_HEADER, Head, HexHash, SERVICE, SecretKey, TERMINATOR, TOKEN_HEADER};
use crate::time::Timestamp;

use sha2::{Digest, Sha256};

/// Signs with one access key for one region.
pub struct Signer<'a> {
    access_key_id: &'a str,
    secret: &'a SecretKey,
    session_token: Option<&'a str>,
    region: &'a str,
    pub(super) service: &'a str,
}

impl<'a> Signer<'a> {
    /// Makes a signer of a permanent access key.
    pub fn new(region: &'a str, access_key_id: &'a str, secret: &'a SecretKey) -> Self {
        Self { access_key_id, secret, session_token: None, region, service: SERVICE }
    }

    /// Signs with temporary credentials, to which this token belongs.
    #[must_use]
    pub fn with_session_token(mut self, token: &'a str) -> Self {
        self.session_token = Some(token);
        self
    }

    /// Returns the headers to add to the request. All headers of `head` are signed.
    pub fn sign_header(
        &self,
        head: &Head<'_>,
        body: &[u8],
        now_ms: i64,
    ) -> Vec<(&'static str, String)> {
        let date = Timestamp::from_ms(now_ms).to_basic();
        let mut added = vec![(DATE_HEADER, date.clone())];
        added.extend(self.session_token.map(|token| (TOKEN_HEADER, token.to_owned())));
        let headers: Vec<(&str, &[u8])> = head
            .headers
            .iter()
            .copied()
            .chain(added.iter().map(|(name, value)| (*name, value.as_bytes())))
            .collect();
        let head = Head { headers: &headers, ..*head };
        let names = header_names(&head);
        let signature = self.sign(&head, &names, body, QueryForm::Whole, &date);
        let credential = self.credential(&date);
        added.push((
            "authorization",
            format!(
                "{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
            ),
        ));
        added
    }

    /// Returns the whole query of the presigned request: that of `head`, the parameters of the
    /// signature, and the signature. All headers of `head` are signed.
    pub fn presign(&self, head: &Head<'_>, expires_seconds: u32, now_ms: i64) -> String {
        let date = Timestamp::from_ms(now_ms).to_basic();
        let names = header_names(head);
        let mut query = head.raw_query.unwrap_or("").to_owned();
        let expires = expires_seconds.to_string();
        let credential = self.credential(&date);
        let parameters = [
            ("X-Amz-Algorithm", Some(ALGORITHM)),
            ("X-Amz-Credential", Some(&*credential)),
            ("X-Amz-Date", Some(&*date)),
            ("X-Amz-Expires", Some(&*expires)),
            ("X-Amz-Security-Token", self.session_token),
            ("X-Amz-SignedHeaders", Some(&*names)),
        ];
        for (name, value) in parameters {
            if let Some(value) = value {
                push_parameter(&mut query, name, value);
            }
        }
        let signed = Head { raw_query: Some(&query), ..*head };
        let signature = self.sign(&signed, &names, &[], QueryForm::Presigned, &date);
        push_parameter(&mut query, "X-Amz-Signature", &signature);
        query
    }

    fn sign(
        &self,
        head: &Head<'_>,
        names: &str,
        body: &[u8],
        query: QueryForm,
        date: &str,
    ) -> String {
        let payload_hash: HexHash = escape::hex(&Sha256::digest(body).into());
        let mut request = Vec::new();
        canonical::write(head, names, &payload_hash, PathForm::Encoded, query, &mut request)
            .expect("the names are those of the headers");
        let scope = self.scope(date);
        let signature = SigningKey::derive(&scope, self.secret).sign(&scope, date, &request);
        String::from_utf8(signature.to_vec()).expect("hex is ASCII")
    }

    fn scope<'s>(&'s self, date: &'s str) -> Scope<'s> {
        Scope {
            access_key_id: self.access_key_id,
            day: &date[..8],
            region: self.region,
            service: self.service,
            terminator: TERMINATOR,
        }
    }

    fn credential(&self, date: &str) -> String {
        let Scope { access_key_id, day, region, service, terminator } = self.scope(date);
        format!("{access_key_id}/{day}/{region}/{service}/{terminator}")
    }
}

/// The names to sign: those of all headers and `host`, in lower case, sorted, each once.
fn header_names(head: &Head<'_>) -> String {
    let mut names: Vec<String> =
        head.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.extend(head.host.map(|_| "host".to_owned()));
    names.sort_unstable();
    names.dedup();
    names.join(";")
}

fn push_parameter(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(name);
    query.push('=');
    let mut encoded = Vec::with_capacity(value.len() * 3);
    value.bytes().for_each(|byte| encode_byte(byte, &mut encoded));
    query.push_str(std::str::from_utf8(&encoded).expect("percent encoding is ASCII"));
}

//! What a request claims about its signature, read from the Authorization header or the query.
//!
//! Invariant: each part is given exactly once; a repeated part is refused, since two readers
//! could otherwise each take another one. Nothing here is trusted yet.

use std::borrow::Cow;

use super::{ALGORITHM, DATE_HEADER, Head, TOKEN_HEADER, incomplete, missing};
use crate::error::Error;
use crate::percent;

/// The unproven statements of a signed request.
pub(super) struct Claim<'a> {
    credential: Cow<'a, str>,
    pub(super) signed_headers: Cow<'a, str>,
    pub(super) signature: Cow<'a, str>,
    pub(super) date: Cow<'a, str>,
    /// Seconds of life; empty in the header form.
    pub(super) expires: Cow<'a, str>,
    pub(super) token: Option<Cow<'a, str>>,
}

/// The parts of a credential: whose key, and for which day, region and service it was derived.
pub(super) struct Scope<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) day: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) terminator: &'a str,
}

impl<'a> Claim<'a> {
    /// Reads the Authorization, date and token headers.
    pub(super) fn from_header(head: &Head<'a>) -> Result<Self, Error> {
        let authorization = single(head, "authorization")?.ok_or_else(missing)?;
        if authorization.is_empty() {
            return Err(missing());
        }
        let parts = authorization
            .strip_prefix(ALGORITHM)
            .filter(|rest| rest.starts_with([' ', '\t']))
            .ok_or_else(|| incomplete("Authorization header requires 'AWS4-HMAC-SHA256'."))?;
        let [mut credential, mut signed_headers, mut signature] = [None; 3];
        for part in parts.split(',') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let slot = match name.trim() {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return Err(incomplete("Authorization header has an unknown parameter.")),
            };
            if slot.replace(value.trim()).is_some() {
                return Err(incomplete("Authorization header repeats a parameter."));
            }
        }
        let require = |part: Option<&'a str>, name| {
            part.filter(|part| !part.is_empty()).map(Cow::Borrowed).ok_or_else(|| {
                incomplete(format!("Authorization header requires '{name}' parameter."))
            })
        };
        let date = single(head, DATE_HEADER)?.ok_or_else(|| {
            incomplete("Authorization header requires existence of a 'X-Amz-Date' header.")
        })?;
        Ok(Self {
            credential: require(credential, "Credential")?,
            signed_headers: require(signed_headers, "SignedHeaders")?,
            signature: require(signature, "Signature")?,
            date: Cow::Borrowed(date),
            expires: Cow::Borrowed(""),
            token: single(head, TOKEN_HEADER)?.map(Cow::Borrowed),
        })
    }

    /// Reads the `X-Amz-` parameters of a presigned query.
    pub(super) fn from_query(head: &Head<'a>) -> Result<Self, Error> {
        let mut parts = QueryParts::default();
        for (raw_name, raw_value) in percent::pairs(head.raw_query.unwrap_or("")) {
            let Some(slot) = percent::decode(raw_name).and_then(|name| parts.slot(&name)) else {
                continue;
            };
            let value = percent::decode(raw_value)
                .ok_or_else(|| incomplete("A signature parameter is not percent-encoded UTF-8."))?;
            if slot.replace(value).is_some() {
                return Err(incomplete("The query repeats a signature parameter."));
            }
        }
        parts.finish()
    }

    /// Splits the credential into its five parts.
    pub(super) fn scope(&self) -> Result<Scope<'_>, Error> {
        let malformed = || {
            incomplete(
                "Credential must have exactly 5 slash-delimited elements, e.g. \
                 keyid/date/region/service/term.",
            )
        };
        let mut parts = self.credential.split('/');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or_else(malformed);
        let scope = Scope {
            access_key_id: part()?,
            day: part()?,
            region: part()?,
            service: part()?,
            terminator: part()?,
        };
        if parts.next().is_some() { Err(malformed()) } else { Ok(scope) }
    }
}

/// The parameters of a presigned query, as far as they are found.
#[derive(Default)]
struct QueryParts {
    algorithm: Option<String>,
    credential: Option<String>,
    date: Option<String>,
    expires: Option<String>,
    signed_headers: Option<String>,
    signature: Option<String>,
    token: Option<String>,
}

impl QueryParts {
    fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "X-Amz-Algorithm" => Some(&mut self.algorithm),
            "X-Amz-Credential" => Some(&mut self.credential),
            "X-Amz-Date" => Some(&mut self.date),
            "X-Amz-Expires" => Some(&mut self.expires),
            "X-Amz-SignedHeaders" => Some(&mut self.signed_headers),
            "X-Amz-Signature" => Some(&mut self.signature),
            "X-Amz-Security-Token" => Some(&mut self.token),
            _ => None,
        }
    }

    fn finish(self) -> Result<Claim<'static>, Error> {
        if self.algorithm.is_none() && self.credential.is_none() && self.signature.is_none() {
            return Err(missing());
        }
        let require = |part: Option<String>, name| {
            part.filter(|part| !part.is_empty())
                .map(Cow::Owned)
                .ok_or_else(|| incomplete(format!("The query requires '{name}'.")))
        };
        if require(self.algorithm, "X-Amz-Algorithm")? != ALGORITHM {
            return Err(incomplete("X-Amz-Algorithm must be 'AWS4-HMAC-SHA256'."));
        }
        Ok(Claim {
            credential: require(self.credential, "X-Amz-Credential")?,
            signed_headers: require(self.signed_headers, "X-Amz-SignedHeaders")?,
            signature: require(self.signature, "X-Amz-Signature")?,
            date: require(self.date, "X-Amz-Date")?,
            expires: require(self.expires, "X-Amz-Expires")?,
            token: self.token.map(Cow::Owned),
        })
    }
}

/// Returns the trimmed value of a header that may be given once.
fn single<'a>(head: &Head<'a>, name: &str) -> Result<Option<&'a str>, Error> {
    let mut values = head.values(name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match std::str::from_utf8(value) {
        Ok(value) if values.next().is_none() => Ok(Some(value.trim())),
        _ => Err(incomplete(format!("The '{name}' header must be given once, as text."))),
    }
}

//! Secrets, the signing keys derived from them, and a small cache of these.
//!
//! Invariant: a secret is never printed, leaves memory wiped, and is compared in constant time. A
//! cached key is used only while the ring still gives the secret that it was derived from, so a
//! changed or withdrawn secret counts at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::claim::Scope;
use super::{ALGORITHM, HexHash, TERMINATOR, escape};

/// Most access keys whose signing key is kept. Only known access keys get that far.
const CACHED_KEYS_MAX: usize = 1024;

/// Room for what is signed in the end, with the name of any region.
const STRING_TO_SIGN_BYTES_USUAL: usize = 192;

/// A secret access key. Clones share the text, which is wiped with the last of them.
#[derive(Clone)]
pub struct SecretKey(Arc<Zeroizing<String>>);

impl SecretKey {
    /// Takes over the text of a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(secret.into())))
    }

    /// Returns the text, to be stored or shown to its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Signs for one day, region and service.
#[derive(Clone)]
pub(super) struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    pub(super) fn derive(scope: &Scope<'_>, secret: &SecretKey) -> Self {
        let mut seed = Zeroizing::new(Vec::with_capacity(4 + secret.expose().len()));
        seed.extend_from_slice(b"AWS4");
        seed.extend_from_slice(secret.expose().as_bytes());
        let mut mac = hmac(&seed);
        for part in [scope.day, scope.region, scope.service, TERMINATOR] {
            mac.update(part.as_bytes());
            let link: Zeroizing<[u8; 32]> = Zeroizing::new(mac.finalize().into_bytes().into());
            mac = hmac(link.as_slice());
        }
        Self(mac)
    }

    /// Signs a canonical request; the signature is lower-case hex.
    pub(super) fn sign(&self, scope: &Scope<'_>, date: &str, canonical: &[u8]) -> HexHash {
        let hash = escape::hex(&Sha256::digest(canonical).into());
        let Scope { day, region, service, .. } = scope;
        let mut text = Vec::with_capacity(STRING_TO_SIGN_BYTES_USUAL);
        for line in [ALGORITHM, "\n", date, "\n", day, "/", region, "/", service, "/", TERMINATOR] {
            text.extend_from_slice(line.as_bytes());
        }
        text.push(b'\n');
        text.extend_from_slice(&hash);
        let mut mac = self.0.clone();
        mac.update(&text);
        escape::hex(&mac.finalize().into_bytes().into())
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// The latest signing key of each access key. One entry each is enough: around midnight the days
/// take turns, which costs a derivation (some microseconds) and nothing else.
#[derive(Default)]
pub(super) struct KeyCache(RwLock<HashMap<String, Entry>>);

struct Entry {
    day: String,
    secret: SecretKey,
    key: SigningKey,
}

impl KeyCache {
    /// Returns the signing key of a scope; the caller has checked its region and service, which
    /// are the same in every call.
    pub(super) fn signing_key(&self, scope: &Scope<'_>, secret: &SecretKey) -> SigningKey {
        {
            let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = entries.get(scope.access_key_id)
                && entry.day == scope.day
                && entry.secret.same(secret)
            {
                return entry.key.clone();
            }
        }
        let key = SigningKey::derive(scope, secret);
        let entry = Entry { day: scope.day.to_owned(), secret: secret.clone(), key: key.clone() };
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CACHED_KEYS_MAX && !entries.contains_key(scope.access_key_id) {
            entries.clear();
        }
        entries.insert(scope.access_key_id.to_owned(), entry);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope<'a>(access_key_id: &'a str, day: &'a str) -> Scope<'a> {
        Scope { access_key_id, day, region: "us-east-1", service: "iam", terminator: TERMINATOR }
    }

    fn sign(key: &SigningKey) -> String {
        let signature = key.sign(&scope("AKID", "20150830"), "20150830T123600Z", b"request");
        String::from_utf8(signature.to_vec()).unwrap()
    }

    #[test]
    fn published_example_of_a_derived_key_is_matched() {
        let secret = SecretKey::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let key = SigningKey::derive(&scope("AKIDEXAMPLE", "20150830"), &secret);
        let mut mac = key.0;
        mac.update(
            b"AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
              f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59",
        );
        assert_eq!(
            escape::hex(&mac.finalize().into_bytes().into()).as_slice(),
            b"5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    #[test]
    fn cache_follows_a_changed_secret_and_another_day() {
        let cache = KeyCache::default();
        let (old, new) = (SecretKey::new("old"), SecretKey::new("new"));
        for (day, secret) in
            [("20150830", &old), ("20150830", &new), ("20150831", &new), ("20150830", &old)]
        {
            let scope = scope("AKID", day);
            let derived = sign(&SigningKey::derive(&scope, secret));
            assert_eq!(sign(&cache.signing_key(&scope, secret)), derived);
            assert_eq!(sign(&cache.signing_key(&scope, &secret.clone())), derived);
        }
    }

    #[test]
    fn cache_stays_within_its_bound() {
        let cache = KeyCache::default();
        let secret = SecretKey::new("secret");
        for n in 0..CACHED_KEYS_MAX + 10 {
            cache.signing_key(&scope(&format!("AKID{n}"), "20150830"), &secret);
            assert!(cache.0.read().unwrap().len() <= CACHED_KEYS_MAX);
        }
        assert_eq!(cache.0.read().unwrap().len(), 10);
    }

    #[test]
    fn secret_is_not_printed() {
        assert_eq!(format!("{:?}", SecretKey::new("hunter2")), "***");
    }
}

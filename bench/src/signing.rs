//! What the signature of a request costs on one thread: its verification, with the signing key
//! known, and the bare hashing that no verification can go without.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use store::{Clock as _, SystemClock};
use wire::sigv4::{Head, KeyRing, SecretKey, Verifier};

use crate::cpu::Whose;
use crate::http::Client;
use crate::world::Request;

/// Verifications of one round, and rounds, of which the best counts.
const TIMES: u32 = 50_000;
const ROUNDS: usize = 3;
/// What is signed in the end: algorithm, date, scope and a hash.
const STRING_TO_SIGN_BYTES: usize = 130;

/// CPU time of one request's signature.
pub(crate) struct Cost {
    pub(crate) verify: Duration,
    pub(crate) hashing: Duration,
}

struct Ring(SecretKey);

impl KeyRing for Ring {
    fn secret(&self, _access_key_id: &str) -> Option<SecretKey> {
        Some(self.0.clone())
    }
}

/// Measures the signature of a request.
pub(crate) fn measure(client: &Client, request: &Request) -> Result<Cost> {
    let now_ms = SystemClock.now_ms();
    let signed = client.signed(request, now_ms);
    let text = std::str::from_utf8(&signed).context("the request is text")?;
    let (head, body) = text.split_once("\r\n\r\n").context("the head ends")?;
    let headers: Vec<(&str, &[u8])> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name, value.as_bytes()))
        .collect();
    let head = Head {
        method: request.method,
        raw_path: &request.path,
        raw_query: request.query.as_deref(),
        headers: &headers,
        host: None,
    };
    let (verifier, ring) = (Verifier::new(client.region), Ring(client.secret.clone()));
    let now_ms = i64::try_from(now_ms)?;
    let check = || verifier.verify_header(&head, body.as_bytes(), now_ms, &ring).is_ok();
    ensure!(check(), "the signature is refused");
    let verify = each(|| assert!(std::hint::black_box(check())));
    let canonical = vec![b'a'; canonical_bytes(request, &headers)];
    let string_to_sign = [b'a'; STRING_TO_SIGN_BYTES];
    let keyed = Hmac::<Sha256>::new_from_slice(b"key").context("any key will do")?;
    let hashing = each(|| {
        let hashes = (Sha256::digest(body.as_bytes()), Sha256::digest(&canonical));
        let mut mac = keyed.clone();
        mac.update(&string_to_sign);
        std::hint::black_box((hashes, mac.finalize()));
    });
    Ok(Cost { verify, hashing })
}

/// Returns how long the canonical request is: each percent sign of the path is encoded once more.
fn canonical_bytes(request: &Request, headers: &[(&str, &[u8])]) -> usize {
    let path = request.path.len() + 2 * request.path.matches('%').count();
    let signed =
        headers.iter().filter(|(name, _)| !matches!(*name, "authorization" | "content-length"));
    let lines: usize = signed.map(|(name, value)| 2 * name.len() + value.len() + 3).sum();
    request.method.len() + path + request.query.as_ref().map_or(0, String::len) + lines + 64 + 4
}

fn each(mut work: impl FnMut()) -> Duration {
    let round = |_| {
        let before = Whose::Own.used();
        (0..TIMES).for_each(|_| work());
        (Whose::Own.used() - before) / TIMES
    };
    (0..ROUNDS).map(round).min().unwrap_or_default()
}

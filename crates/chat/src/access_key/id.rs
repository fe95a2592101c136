//! Ids and secrets of access keys.
//!
//! Invariants: a secret is not stored anywhere, it follows from the id and a key of the store, so
//! that every node of the store knows it; an id carries a proof that this store made it, so that
//! made-up ids are told from real ones without a read.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use store::Entropy;
use subtle::ConstantTimeEq;
use wire::sigv4::SecretKey;

/// What every id begins with, as that of the root credential does.
const PREFIX: &str = "CAMPANILE";
const ID_BYTES: usize = 10;
const PROOF_BYTES: usize = 5;
/// Of a secret: 240 bits.
const SECRET_BYTES: usize = 30;
/// 32 characters, five bits each.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The part of an id that was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Id(pub(super) [u8; ID_BYTES]);

impl Id {
    pub(super) fn draw(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; ID_BYTES];
        entropy.fill(&mut bytes);
        Self(bytes)
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        encode(&id.0)
    }
}

impl TryFrom<String> for Id {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        decode(&text).map(Self).ok_or("not the id of an access key")
    }
}

/// Writes and reads ids, and tells their secrets.
pub(crate) struct Issuer(Hmac<Sha256>);

impl Issuer {
    /// Derives its own key from a secret of the store.
    pub(crate) fn new(master: &[u8; 32]) -> Self {
        let mut mac = keyed(master);
        mac.update(b"campanile access keys");
        Self(keyed(&mac.finalize().into_bytes().into()))
    }

    /// Returns the id as clients send it.
    pub(super) fn text(&self, id: Id) -> String {
        format!("{PREFIX}{}{}", encode(&id.0), encode(&self.proof(id)))
    }

    /// Returns the id that this store has made and written as `text`.
    pub(super) fn parse(&self, text: &str) -> Option<Id> {
        let (id, proof) = text.strip_prefix(PREFIX)?.split_at_checked(ID_BYTES / 5 * 8)?;
        let (id, proof) = (Id(decode(id)?), decode::<PROOF_BYTES>(proof)?);
        let is_ours: bool = self.proof(id).ct_eq(&proof).into();
        is_ours.then_some(id)
    }

    pub(super) fn secret(&self, id: Id) -> SecretKey {
        SecretKey::new(encode(&self.derive::<SECRET_BYTES>(b"secret", id)))
    }

    fn proof(&self, id: Id) -> [u8; PROOF_BYTES] {
        self.derive(b"proof", id)
    }

    fn derive<const N: usize>(&self, purpose: &[u8], id: Id) -> [u8; N] {
        let mut mac = self.0.clone();
        mac.update(purpose);
        mac.update(&id.0);
        let digest = mac.finalize().into_bytes();
        let mut bytes = [0; N];
        bytes.copy_from_slice(&digest[..N]);
        bytes
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // A key is filled up to a block with zeros.
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    Hmac::new(&block.into())
}

/// Writes groups of five bytes as eight characters.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() / 5 * 8);
    for group in bytes.chunks_exact(5) {
        let bits = group.iter().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
        for shift in (0..8).rev() {
            // Five bits always fit.
            let digit = usize::try_from(bits >> (shift * 5) & 31).unwrap_or_default();
            text.push(char::from(ALPHABET[digit]));
        }
    }
    text
}

/// Reads exactly what [`encode`] writes of `N` bytes.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N / 5 * 8 {
        return None;
    }
    let mut bytes = [0; N];
    for (group, chars) in bytes.chunks_exact_mut(5).zip(text.as_bytes().chunks_exact(8)) {
        let mut bits = 0_u64;
        for char in chars {
            let digit = ALPHABET.iter().position(|known| known == char)?;
            bits = bits << 5 | u64::try_from(digit).ok()?;
        }
        group.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use store::SeededEntropy;

    use super::*;

    #[test]
    fn an_id_is_read_back_by_its_own_store_alone() {
        let (ours, theirs) = (Issuer::new(&[1; 32]), Issuer::new(&[2; 32]));
        let entropy = SeededEntropy::new(1);
        for _ in 0..100 {
            let id = Id::draw(&entropy);
            let text = ours.text(id);
            assert_eq!(text.len(), 33);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert_eq!(ours.parse(&text), Some(id));
            assert_eq!(theirs.parse(&text), None);
            assert_ne!(ours.secret(id).expose(), theirs.secret(id).expose());
            assert_eq!(Id::try_from(String::from(id)), Ok(id));
        }
    }

    #[test]
    fn each_changed_cut_or_added_character_is_refused() {
        let issuer = Issuer::new(&[1; 32]);
        let text = issuer.text(Id([7; ID_BYTES]));
        for at in 0..text.len() {
            for change in ["A", "7", "a", "0", "é", ""] {
                let changed = format!("{}{change}{}", &text[..at], &text[at + 1..]);
                assert!(changed == text || issuer.parse(&changed).is_none(), "{changed}");
            }
        }
        for other in ["", "AKIDEXAMPLE", PREFIX, &format!("{text}A")] {
            assert_eq!(issuer.parse(other), None, "{other}");
        }
    }

    #[test]
    fn every_id_has_its_own_secret() {
        let issuer = Issuer::new(&[1; 32]);
        let one = issuer.secret(Id([1; ID_BYTES]));
        assert_eq!(one.expose().len(), 48);
        assert_eq!(one.expose(), issuer.secret(Id([1; ID_BYTES])).expose());
        assert_ne!(one.expose(), issuer.secret(Id([2; ID_BYTES])).expose());
    }
}

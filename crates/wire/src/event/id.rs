//! Event ids: from which moment on a session that lost its socket wants to be told again.
//!
//! Invariant: an id is 24 characters that only a node of this store can make; it tells the time of
//! an event and, beside it, what tells events of one time apart. It holds no secret and no name, and
//! does not depend on who is told.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The header that holds the id of an event.
pub const EVENT_ID: &str = "x-campanile-event-id";

/// Bytes of each of the three fields: time, distinction, tag.
const FIELD_BYTES: usize = 6;
const ID_BYTES: usize = 3 * FIELD_BYTES;
/// Characters of an id; three bytes are four of them.
pub const EVENT_ID_CHARS: usize = ID_BYTES / 3 * 4;
/// Keeps these tags apart from whatever else is made with the key.
const PURPOSE: &[u8] = b"event id";

/// Makes and reads event ids.
pub struct EventIds {
    keyed: Hmac<Sha256>,
}

impl std::fmt::Debug for EventIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventIds(***)")
    }
}

impl EventIds {
    /// Returns the maker of the store whose nodes share `key`.
    pub fn new(key: &[u8; 32]) -> EventIds {
        let mut keyed = Hmac::new_from_slice(key).expect("HMAC takes a key of any length");
        Mac::update(&mut keyed, PURPOSE);
        EventIds { keyed }
    }

    /// Returns the id of the event of that time, in milliseconds, and distinction, of which 48 bits
    /// count.
    pub fn of(&self, ms: u64, distinction: u64) -> String {
        let mut bytes = [0; ID_BYTES];
        bytes[..FIELD_BYTES].copy_from_slice(&ms.to_be_bytes()[2..]);
        bytes[FIELD_BYTES..2 * FIELD_BYTES].copy_from_slice(&distinction.to_be_bytes()[2..]);
        let tag = self.tagged(&bytes).finalize().into_bytes();
        bytes[2 * FIELD_BYTES..].copy_from_slice(&tag[..FIELD_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Returns the time of an id that was made with the same key.
    pub fn ms(&self, id: &str) -> Option<u64> {
        if id.len() != EVENT_ID_CHARS {
            return None;
        }
        let mut bytes = [0; ID_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(id, &mut bytes).ok()?;
        if length != ID_BYTES {
            return None;
        }
        self.tagged(&bytes).verify_truncated_left(&bytes[2 * FIELD_BYTES..]).ok()?;
        Some(bytes[..FIELD_BYTES].iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte)))
    }

    fn tagged(&self, bytes: &[u8; ID_BYTES]) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        mac.update(&bytes[..2 * FIELD_BYTES]);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;

    #[test]
    fn time_comes_back_and_events_of_one_time_differ() {
        let ids = EventIds::new(&[7; 32]);
        for ms in [0, 1, 1_625_097_600_000, (1 << 48) - 1] {
            let id = ids.of(ms, 5);
            assert_eq!(id.len(), EVENT_ID_CHARS);
            assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            assert_eq!(ids.ms(&id), Some(ms));
            assert_ne!(id, ids.of(ms, 6));
        }
    }

    #[test]
    fn id_of_another_store_is_none() {
        let id = EventIds::new(&[7; 32]).of(9, 9);
        assert_eq!(EventIds::new(&[8; 32]).ms(&id), None);
    }

    #[test]
    fn whatever_is_not_an_id_is_none() {
        let ids = EventIds::new(&[7; 32]);
        let good = ids.of(1_625_097_600_000, 77);
        for text in ["", "x", &good[1..], &format!("{good}A"), &"é".repeat(12), &"=".repeat(24)] {
            assert_eq!(ids.ms(text), None, "{text}");
        }
        let mut seeded = Seeded::new(4);
        for _ in 0..2_000 {
            let mut bytes = good.clone().into_bytes();
            let at = seeded.below(bytes.len());
            bytes[at] = u8::try_from(seeded.below(256)).expect("below 256");
            if let Ok(text) = String::from_utf8(bytes)
                && text != good
            {
                assert_eq!(ids.ms(&text), None, "{text}");
            }
        }
    }

    #[test]
    fn debug_does_not_show_the_key() {
        assert_eq!(format!("{:?}", EventIds::new(&[7; 32])), "EventIds(***)");
    }
}

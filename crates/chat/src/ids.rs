//! Ids that the server makes: uids, UUIDs, and message ids.
//!
//! Invariant: a message id is a pure function of the channel, the stamp and the store's secret, so
//! it is never stored; ids of one channel increase in commit order; nobody can guess the next one.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use store::{Entropy, Stamp, Uid};
use subtle::ConstantTimeEq;

/// Bytes of a message id behind its stamp.
const TAIL_BYTES: usize = 20;
const STAMP_BYTES: usize = 12;
const ID_BYTES: usize = STAMP_BYTES + TAIL_BYTES;

/// Returns a fresh uid: milliseconds first, so that lists in key order are in order of creation.
pub(crate) fn uid(now_ms: i64, entropy: &dyn Entropy) -> Uid {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes[6..]);
    bytes[..6].copy_from_slice(&now_ms.unsigned_abs().to_be_bytes()[2..]);
    Uid(bytes)
}

/// Returns a fresh random (version 4) UUID as bytes.
pub(crate) fn uuid(entropy: &dyn Entropy) -> Uid {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    Uid(bytes)
}

/// Characters of the text of a UUID.
pub(crate) const UUID_CHARS: usize = 36;
/// Where in it each byte has its two digits; a hyphen stands wherever they leave one out.
const UUID_PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
const UUID_HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// Returns the hyphenated lower-case form.
pub(crate) fn uuid_text(uid: Uid) -> String {
    let mut text = String::with_capacity(UUID_CHARS);
    push_uuid(&mut text, uid);
    text
}

/// Appends the hyphenated lower-case form.
pub(crate) fn push_uuid(text: &mut String, uid: Uid) {
    let mut chars = [b'-'; UUID_CHARS];
    for (byte, at) in uid.0.into_iter().zip(UUID_PLACES) {
        [chars[at], chars[at + 1]] = hex_digits(byte);
    }
    text.push_str(ascii(&chars));
}

/// Parses exactly the form that [`uuid_text`] writes.
pub(crate) fn parse_uuid(text: &str) -> Option<Uid> {
    let chars: &[u8; UUID_CHARS] = text.as_bytes().try_into().ok()?;
    if UUID_HYPHENS.iter().any(|&at| chars[at] != b'-') {
        return None;
    }
    let mut uid = Uid([0; 16]);
    // One look at the end in place of one at each digit: ids are parsed several times a request.
    let mut wrong = 0;
    for (byte, at) in uid.0.iter_mut().zip(UUID_PLACES) {
        let (high, low) = (NIBBLES[usize::from(chars[at])], NIBBLES[usize::from(chars[at + 1])]);
        wrong |= high | low;
        *byte = high << 4 | low;
    }
    (wrong & NO_NIBBLE == 0).then_some(uid)
}

/// Returns lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits: Vec<u8> = bytes.iter().flat_map(|byte| hex_digits(*byte)).collect();
    String::from_utf8(digits).expect("digits are text")
}

fn hex_digits(byte: u8) -> [u8; 2] {
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

fn ascii(chars: &[u8]) -> &str {
    std::str::from_utf8(chars).expect("digits and hyphens are text")
}

/// What each character is worth as a digit of lower-case hex.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [NO_NIBBLE; 256];
    let mut digit = 0;
    while digit < 16 {
        nibbles[DIGITS[digit] as usize] = digit as u8;
        digit += 1;
    }
    nibbles
};
const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// A bit that no digit has.
const NO_NIBBLE: u8 = 0x80;

fn nibble(digit: u8) -> Option<u8> {
    let nibble = NIBBLES[usize::from(digit)];
    (nibble != NO_NIBBLE).then_some(nibble)
}

/// Parses lower-case hex of exactly `N` bytes.
fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

/// Makes and reads message ids: 64 hex digits, the stamp and a keyed tail.
pub(crate) struct MessageIds {
    keyed: Hmac<Sha256>,
}

impl std::fmt::Debug for MessageIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MessageIds(***)")
    }
}

impl MessageIds {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { keyed: Hmac::new_from_slice(&key).expect("HMAC takes keys of every length") }
    }

    /// Returns the id of the message that was committed in `channel` at `stamp`.
    pub(crate) fn of(&self, channel: Uid, stamp: Stamp) -> String {
        let mut id = [0; ID_BYTES];
        id[..STAMP_BYTES].copy_from_slice(&stamp.to_bytes());
        id[STAMP_BYTES..].copy_from_slice(&self.tail(channel, stamp));
        hex(&id)
    }

    /// Returns the id of a message that is not stored: its tail is `nonce`, since stamps of such
    /// messages may repeat.
    pub(crate) fn unstored(stamp: Stamp, nonce: [u8; TAIL_BYTES]) -> String {
        let mut id = [0; ID_BYTES];
        id[..STAMP_BYTES].copy_from_slice(&stamp.to_bytes());
        id[STAMP_BYTES..].copy_from_slice(&nonce);
        hex(&id)
    }

    /// Returns the stamp that `id` names, if it is an id of this channel.
    pub(crate) fn stamp(&self, channel: Uid, id: &str) -> Option<Stamp> {
        let bytes = unhex::<ID_BYTES>(id.as_bytes())?;
        let mut stamp = [0; STAMP_BYTES];
        stamp.copy_from_slice(&bytes[..STAMP_BYTES]);
        let stamp = Stamp::from_bytes(stamp);
        let genuine = self.tail(channel, stamp).ct_eq(&bytes[STAMP_BYTES..]);
        bool::from(genuine).then_some(stamp)
    }

    fn tail(&self, channel: Uid, stamp: Stamp) -> [u8; TAIL_BYTES] {
        let mut mac = self.keyed.clone();
        mac.update(&channel.0);
        mac.update(&stamp.to_bytes());
        let full = mac.finalize().into_bytes();
        let mut tail = [0; TAIL_BYTES];
        tail.copy_from_slice(&full[..TAIL_BYTES]);
        tail
    }
}

#[cfg(test)]
mod tests {
    use store::SeededEntropy;

    use super::*;

    #[test]
    fn message_ids_are_64_hex_digits_and_increase_with_the_stamp() {
        let ids = MessageIds::new([7; 32]);
        let channel = Uid([1; 16]);
        let stamps = [(5, 1), (5, 2), (6, 2), (7, 300), (70_000, 301)];
        let texts: Vec<String> =
            stamps.iter().map(|&(ms, seq)| ids.of(channel, Stamp { ms, seq })).collect();
        assert!(texts.iter().all(|text| text.len() == 64));
        assert!(texts.is_sorted());
    }

    #[test]
    fn message_id_of_another_channel_or_key_names_nothing() {
        let ids = MessageIds::new([7; 32]);
        let stamp = Stamp { ms: 5, seq: 9 };
        let id = ids.of(Uid([1; 16]), stamp);
        assert_eq!(ids.stamp(Uid([1; 16]), &id), Some(stamp));
        assert_eq!(ids.stamp(Uid([2; 16]), &id), None);
        assert_eq!(MessageIds::new([8; 32]).stamp(Uid([1; 16]), &id), None);
        assert_eq!(ids.stamp(Uid([1; 16]), &id.to_uppercase()), None);
        assert_eq!(ids.stamp(Uid([1; 16]), "short"), None);
    }

    #[test]
    fn uuid_reads_back_and_only_its_own_form() {
        let uid = uuid(&SeededEntropy::new(3));
        let text = uuid_text(uid);
        assert_eq!(parse_uuid(&text), Some(uid));
        assert_eq!(&text[14..15], "4");
        for wrong in ["", "x", &text[1..], &text.to_uppercase(), &text.replace('-', "")] {
            assert_eq!(parse_uuid(wrong), None, "{wrong}");
        }
        // Of the right length, one byte being something else, wherever it stands.
        for at in 0..text.len() {
            for byte in ["-", "g", "A", " ", "0"] {
                let mut other = text.clone();
                other.replace_range(at..=at, byte);
                let is_legal = (&text[at..=at] == "-") == (byte == "-") && "-0".contains(byte);
                assert_eq!(parse_uuid(&other).map(uuid_text), is_legal.then_some(other));
            }
        }
    }

    #[test]
    fn uids_sort_by_the_time_of_their_making() {
        let entropy = SeededEntropy::new(4);
        let uids: Vec<Uid> = (1_000..1_050).map(|ms| uid(ms, &entropy)).collect();
        assert!(uids.is_sorted());
    }
}

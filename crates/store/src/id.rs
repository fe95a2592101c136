//! The three values that give rows their identity and order: uid, stamp and version.
//!
//! Invariant: the byte form of a stamp orders like the stamp, and no version is ever given twice.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::entropy::Entropy;

/// Bytes of a stamp in a key.
pub const STAMP_BYTES: usize = 12;

/// The greatest value of either field of a stamp: 48 bits.
const STAMP_FIELD_MAX: u64 = (1 << 48) - 1;

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Names a thing for ever: drawn at random, never reused, unlike the ids that callers choose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uid(pub [u8; 16]);

impl Uid {
    /// The home of what belongs to the store as a whole.
    pub const NIL: Uid = Uid([0; 16]);

    /// Draws a new uid.
    pub fn random(entropy: &dyn Entropy) -> Uid {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        Uid(bytes)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// Says that a text is not 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a uid is 32 hex digits")]
pub struct NotAUid;

impl FromStr for Uid {
    type Err = NotAUid;

    fn from_str(text: &str) -> Result<Uid, NotAUid> {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 16 || !rest.is_empty() {
            return Err(NotAUid);
        }
        let mut uid = Uid::NIL;
        for (byte, [high, low]) in uid.0.iter_mut().zip(pairs) {
            let (high, low) = digit(*high).zip(digit(*low)).ok_or(NotAUid)?;
            *byte = high << 4 | low;
        }
        Ok(uid)
    }
}

impl Serialize for Uid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 32];
        for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [HEX_DIGITS[usize::from(byte >> 4)], HEX_DIGITS[usize::from(byte & 15)]];
        }
        serializer.serialize_str(std::str::from_utf8(&text).expect("hex digits are text"))
    }
}

impl<'de> Deserialize<'de> for Uid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Uid, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Uid;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("32 hex digits")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Uid, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// The place of a commit in its home: time, then sequence number.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch; never decreases within a home.
    pub ms: u64,
    /// Number of the commit within its home, from 1; 0 for what was published and not committed.
    pub seq: u64,
}

impl Stamp {
    /// The greatest stamp, as an upper bound in ranges.
    pub const MAX: Stamp = Stamp { ms: STAMP_FIELD_MAX, seq: STAMP_FIELD_MAX };

    /// Returns the form that keys hold; values past 48 bits count as the greatest.
    pub fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[..6].copy_from_slice(&self.ms.min(STAMP_FIELD_MAX).to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&self.seq.min(STAMP_FIELD_MAX).to_be_bytes()[2..]);
        bytes
    }

    /// Reads the form that keys hold.
    pub fn from_bytes(bytes: [u8; STAMP_BYTES]) -> Stamp {
        let field = |from: usize| {
            bytes[from..from + 6].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
        };
        Stamp { ms: field(0), seq: field(6) }
    }
}

/// Tells one writing of a row from every other: the stamp of its batch and 32 random bits.
///
/// The random bits keep a version from coming back when a home's row is removed and made again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u128);

impl Version {
    /// Joins the stamp of a batch and its random bits.
    pub fn new(stamp: Stamp, random: u32) -> Version {
        let ms = u128::from(stamp.ms.min(STAMP_FIELD_MAX));
        let seq = u128::from(stamp.seq.min(STAMP_FIELD_MAX));
        Version(ms << 80 | seq << 32 | u128::from(random))
    }

    /// Returns the stamp of the batch that wrote the row.
    pub fn stamp(self) -> Stamp {
        let field = |shift: u32| {
            u64::try_from(self.0 >> shift & u128::from(STAMP_FIELD_MAX)).unwrap_or(STAMP_FIELD_MAX)
        };
        Stamp { ms: field(80), seq: field(32) }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0.to_be_bytes())
    }
}

/// Writes bytes as hex digits.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for byte in bytes {
        f.write_char(char::from(HEX_DIGITS[usize::from(byte >> 4)]))?;
        f.write_char(char::from(HEX_DIGITS[usize::from(byte & 15)]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn uid_is_32_hex_digits_in_text_and_json() {
        let uid = Uid::random(&SeededEntropy::new(1));
        let text = uid.to_string();
        assert_eq!(text.len(), 32);
        assert_eq!(text.parse(), Ok(uid));
        assert_eq!(serde_json::to_string(&uid).expect("serialises"), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Uid>(&format!("\"{text}\"")).expect("parses"), uid);
    }

    #[test]
    fn uid_text_of_another_form_is_refused() {
        for text in ["", "00", "+0000000000000000000000000000001", &"g".repeat(32), &"0".repeat(34)]
        {
            assert_eq!(text.parse::<Uid>(), Err(NotAUid), "{text}");
        }
        let text = "0123456789abcdef".repeat(2);
        for at in 0..32 {
            for byte in ["-", "+", "g", " ", "\u{0}"] {
                let mut other = text.clone();
                other.replace_range(at..=at, byte);
                assert_eq!(other.parse::<Uid>(), Err(NotAUid), "{other}");
            }
        }
        assert_eq!("é".repeat(16).parse::<Uid>(), Err(NotAUid));
    }

    #[test]
    fn uid_text_may_have_digits_of_either_case() {
        let text = "0123456789abcdef".repeat(2);
        assert_eq!(text.to_uppercase().parse::<Uid>(), Ok(text.parse().expect("parses")));
    }

    #[test]
    fn stamp_bytes_order_like_the_stamp_and_come_back() {
        let random = SeededEntropy::new(2);
        let draw = || Stamp { ms: random.next_u64() >> 60, seq: random.next_u64() >> 16 };
        for _ in 0..10_000 {
            let (left, right) = (draw(), draw());
            assert_eq!(left.to_bytes().cmp(&right.to_bytes()), left.cmp(&right));
            assert_eq!(Stamp::from_bytes(left.to_bytes()), left);
        }
    }

    #[test]
    fn version_tells_its_stamp_and_orders_by_it() {
        let early = Stamp { ms: 1_700_000_000_000, seq: 9 };
        let late = Stamp { ms: 1_700_000_000_000, seq: 10 };
        assert_eq!(Version::new(early, u32::MAX).stamp(), early);
        assert!(Version::new(early, u32::MAX) < Version::new(late, 0));
    }
}

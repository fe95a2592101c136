//! Percent encoding as RFC 3986 and the signature want it, and hex.
//!
//! Invariant: `encode` leaves only the unreserved characters bare and writes upper-case hex, so
//! that every byte string has exactly one encoding.

const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";
const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";

/// Whether RFC 3986 lets the byte stand for itself everywhere.
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Appends one byte, encoded unless it is unreserved.
pub(super) fn encode_byte(byte: u8, out: &mut Vec<u8>) {
    if is_unreserved(byte) {
        out.push(byte);
    } else {
        let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
        out.extend_from_slice(&[b'%', HEX_UPPER[high], HEX_UPPER[low]]);
    }
}

/// Decodes each `%XX`; a `%` that no two hex digits follow stands for itself, since what a client
/// signs need not be well formed (`crate::percent` is for what we then read, and is strict).
pub(super) fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut index = 0;
    std::iter::from_fn(move || {
        let byte = *text.get(index)?;
        if byte == b'%'
            && let Some([high, low]) = text.get(index + 1..index + 3)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            index += 3;
            return Some(high << 4 | low);
        }
        index += 1;
        Some(byte)
    })
}

/// Writes a hash in lower-case hex.
pub(super) fn hex(hash: &[u8; 32]) -> [u8; 64] {
    let mut out = [0; 64];
    for (pair, byte) in out.chunks_exact_mut(2).zip(hash) {
        pair[0] = HEX_LOWER[usize::from(byte >> 4)];
        pair[1] = HEX_LOWER[usize::from(byte & 15)];
    }
    out
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

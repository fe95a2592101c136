//! Opaque page tokens: a position in a list that only this deployment can make.
//!
//! Invariant: `open` returns a position only if `seal` made the token with the same key for the
//! same context (operation and filters), so a client can neither forge a position nor carry one
//! into another list. The position is sealed against change, not hidden: put no secret in it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Longest token, as the model bounds `NextToken`; longer ones are refused unread.
pub const TOKEN_CHARS_MAX: usize = 2048;
/// Layout of the token; another layout gets another number, and old tokens end.
const VERSION: u8 = 1;
/// The version in front.
const HEAD_BYTES: usize = 1;
/// Bytes kept of the HMAC-SHA256.
const MAC_BYTES: usize = 16;
/// Longest position whose token is within `TOKEN_CHARS_MAX` (three bytes are four characters).
pub const POSITION_BYTES_MAX: usize = TOKEN_CHARS_MAX / 4 * 3 - HEAD_BYTES - MAC_BYTES;

/// Makes the token that continues the list `context` after `position`, which is at most
/// `POSITION_BYTES_MAX` bytes.
pub fn seal(key: &[u8; 32], context: &[u8], position: &[u8]) -> String {
    debug_assert!(position.len() <= POSITION_BYTES_MAX, "positions are short keys");
    let mut sealed = Vec::with_capacity(HEAD_BYTES + position.len() + MAC_BYTES);
    sealed.push(VERSION);
    sealed.extend_from_slice(position);
    let tag = mac(key, context, &sealed).finalize().into_bytes();
    sealed.extend_from_slice(&tag[..MAC_BYTES]);
    URL_SAFE_NO_PAD.encode(sealed)
}

/// Returns the position of a token that `seal` made with this key for this context.
pub fn open(key: &[u8; 32], context: &[u8], token: &str) -> Option<Vec<u8>> {
    if token.len() > TOKEN_CHARS_MAX {
        return None;
    }
    let mut sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
    let body_bytes = sealed.len().checked_sub(MAC_BYTES)?;
    let (body, tag) = sealed.split_at(body_bytes);
    if body.first() != Some(&VERSION) {
        return None;
    }
    mac(key, context, body).verify_truncated_left(tag).ok()?;
    sealed.truncate(body_bytes);
    sealed.drain(..HEAD_BYTES);
    Some(sealed)
}

/// The length in front of the context keeps its end apart from the start of the body.
fn mac(key: &[u8; 32], context: &[u8], body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(&(context.len() as u64).to_be_bytes());
    mac.update(context);
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn positions_of_every_length_come_back() {
        for length in (0..80).chain([POSITION_BYTES_MAX]) {
            let position: Vec<u8> = (0..length).map(|n| (n * 37) as u8).collect();
            let token = seal(&KEY, b"ListChannels", &position);
            assert!(token.len() <= TOKEN_CHARS_MAX);
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            assert_eq!(open(&KEY, b"ListChannels", &token), Some(position));
        }
    }

    #[test]
    fn token_of_another_list_is_refused() {
        let token = seal(&KEY, b"ListChannels", b"position");
        for context in [&b""[..], b"ListChannel", b"ListChannelsp", b"ListChannelBans"] {
            assert_eq!(open(&KEY, context, &token), None);
        }
    }

    #[test]
    fn bytes_cannot_move_between_context_and_position() {
        // The version byte stands at the seam, so the moved byte has to look like one.
        let token = seal(&KEY, b"list\x01", b"\x01position");
        assert_eq!(open(&KEY, b"list", &token), None);
        assert_eq!(open(&KEY, b"list\x01\x01", &token), None);
    }

    #[test]
    fn token_of_another_key_is_refused() {
        let mut other = KEY;
        other[31] ^= 1;
        assert_eq!(open(&other, b"list", &seal(&KEY, b"list", b"position")), None);
    }

    #[test]
    fn each_changed_cut_or_added_character_is_refused() {
        let token = seal(&KEY, b"list", b"position");
        for index in 0..token.len() {
            for replacement in ["A", "B", "_", "="] {
                let mut changed = token.clone();
                changed.replace_range(index..=index, replacement);
                if changed != token {
                    assert_eq!(open(&KEY, b"list", &changed), None, "{index} {replacement}");
                }
            }
            assert_eq!(open(&KEY, b"list", &token[..index]), None, "cut at {index}");
        }
        assert_eq!(open(&KEY, b"list", &format!("{token}A")), None);
        assert_eq!(open(&KEY, b"list", &format!("{token}==")), None);
    }

    #[test]
    fn garbage_is_refused() {
        let long = "A".repeat(TOKEN_CHARS_MAX + 1);
        for token in ["", "A", "AQ", "null", "not a token", "AAAAAAAAAAAAAAAAAAAAAAA", "é", &long]
        {
            assert_eq!(open(&KEY, b"list", token), None, "{token}");
        }
    }

    #[test]
    fn token_of_another_layout_is_refused_though_its_seal_is_right() {
        let mut sealed = vec![VERSION + 1, b'p'];
        let tag = mac(&KEY, b"list", &sealed).finalize().into_bytes();
        sealed.extend_from_slice(&tag[..MAC_BYTES]);
        assert_eq!(open(&KEY, b"list", &URL_SAFE_NO_PAD.encode(sealed)), None);
    }
}

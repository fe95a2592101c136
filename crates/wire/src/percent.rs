//! Percent escapes of paths and queries.

/// Decodes `%XX` once; `None` when an escape is broken or the result is not UTF-8.
///
/// A `+` stays a plus: clients write a space as `%20`, and times carry a plus in their offset.
pub(crate) fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.as_bytes().split(|byte| *byte == b'%');
    bytes.extend_from_slice(parts.next()?);
    for part in parts {
        let ([high, low], plain) = part.split_first_chunk()?;
        bytes.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
        bytes.extend_from_slice(plain);
    }
    String::from_utf8(bytes).ok()
}

/// Splits a raw query into its raw names and values; a parameter without `=` has an empty value.
pub(crate) fn pairs(raw_query: &str) -> impl Iterator<Item = (&str, &str)> {
    raw_query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Tells whether a raw name spells this name once it is decoded.
pub(crate) fn is_name(raw: &str, name: &str) -> bool {
    raw == name || raw.contains('%') && decode(raw).is_some_and(|decoded| decoded == name)
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(decode("a%2Fb%252F+%c3%A9"), Some("a/b%2F+é".to_owned()));
    }

    #[test]
    fn broken_escapes_are_refused() {
        for text in ["%", "%2", "%zz", "%+1", "a%ff", "%c3"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn parameter_without_equals_sign_is_empty() {
        let pairs: Vec<_> = pairs("a=1&&b&=c&d=e=f").collect();
        assert_eq!(pairs, [("a", "1"), ("b", ""), ("", "c"), ("d", "e=f")]);
    }
}

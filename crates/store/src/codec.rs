//! The one value format: a format byte, then JSON.
//!
//! Invariant: a value begins with a byte that names its format, so another format can be added
//! beside this one and old rows stay readable.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Names JSON as the format of a value.
pub const FORMAT_JSON: u8 = 1;

/// Says why a value cannot be read; never shows the value.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The value begins with a format byte that this release does not know, or with none.
    #[error("value of an unknown format")]
    Format,
    /// The value is not the record that its table holds.
    #[error("value is not a record of its table (line {}, column {})", .0.line(), .0.column())]
    Json(serde_json::Error),
}

/// Encodes a record's value.
pub fn encode<R: Serialize>(record: &R) -> Vec<u8> {
    let mut value = Vec::with_capacity(256);
    value.push(FORMAT_JSON);
    serde_json::to_writer(&mut value, record)
        .expect("records are plain structs with text keys and writing to memory cannot fail");
    value
}

/// Decodes a record's value.
pub fn decode<R: DeserializeOwned>(value: &[u8]) -> Result<R, Unreadable> {
    match value.split_first() {
        Some((&FORMAT_JSON, json)) => serde_json::from_slice(json).map_err(Unreadable::Json),
        _ => Err(Unreadable::Format),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::entropy::{Entropy as _, SeededEntropy};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
        count: Option<u64>,
    }

    #[test]
    fn value_is_a_format_byte_and_json() {
        let note = Note { text: "a".into(), count: None };
        assert_eq!(encode(&note), b"\x01{\"text\":\"a\",\"count\":null}");
    }

    #[test]
    fn any_text_and_number_come_back() {
        let random = SeededEntropy::new(3);
        for _ in 0..5_000 {
            let mut bytes = vec![0; usize::try_from(random.next_u64() % 40).expect("below 40")];
            random.fill(&mut bytes);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let count = Some(random.next_u64()).filter(|count| count % 3 > 0);
            let note = Note { text, count };
            assert_eq!(decode::<Note>(&encode(&note)).expect("decodes"), note);
        }
    }

    #[test]
    fn unknown_formats_and_damaged_values_are_refused() {
        assert!(matches!(decode::<Note>(b""), Err(Unreadable::Format)));
        assert!(matches!(decode::<Note>(b"\x02{}"), Err(Unreadable::Format)));
        assert!(matches!(decode::<Note>(b"\x01{\"text\":7}"), Err(Unreadable::Json(_))));
    }

    #[test]
    fn refusal_does_not_show_the_value() {
        let refusal =
            decode::<Note>(b"\x01{\"text\":\"a\",\"count\":\"hush\"}").expect_err("refused");
        assert!(!refusal.to_string().contains("hush"));
    }
}

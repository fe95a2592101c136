//! What hyper refuses by itself, dressed like every other answer.
//!
//! hyper answers a head that it cannot parse with a bare status line, before anything of ours sees
//! it; clients choke on an error without a JSON body. Invariant: only what is written while no
//! request is owed an answer is looked at, so an answer of ours is never touched.

use std::io::Write as _;
use std::sync::Arc;

use wire::{Error, ErrorCode};

use crate::answer::{self, RequestId};

/// Makes the full text of a refusal from its status and the Date that hyper wrote.
pub(crate) type Dresser = Arc<dyn Fn(&Bare<'_>) -> Option<Vec<u8>> + Send + Sync>;

/// A bare answer of hyper.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bare<'a> {
    status: &'a str,
    date: &'a str,
}

impl<'a> Bare<'a> {
    /// Reads an answer that has a status of 4xx, and nothing but headers.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let head = text.strip_prefix("HTTP/1.1 ")?.strip_suffix("\r\n\r\n")?;
        let status = head.get(..3).filter(|status| status.starts_with('4'))?;
        let header = |line: &'a str| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("date").then_some(value)
        };
        Some(Self { status, date: head.split("\r\n").find_map(header)? })
    }

    fn error(&self) -> Error {
        match self.status {
            "414" => Error::new(ErrorCode::UriTooLong, "the URI is too long"),
            "431" => Error::new(ErrorCode::HeadersTooLarge, "the headers are too large"),
            _ => Error::new(ErrorCode::Serialization, "the head of the request is not HTTP/1.1"),
        }
    }
}

/// Returns the refusal as it is sent; the connection ends with it.
pub(crate) fn dress(bare: &Bare<'_>, id: &RequestId) -> Vec<u8> {
    let error = bare.error();
    let body = error.to_body(false);
    let mut response = answer::finish(answer::error(&error, false), id);
    response.headers_mut().remove(hyper::header::CONNECTION);
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut text = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in response.headers() {
        text.extend_from_slice(title_case(name.as_str()).as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    let (date, length) = (bare.date, body.len());
    write!(text, "Connection: close\r\nContent-Length: {length}\r\nDate: {date}\r\n\r\n")
        .expect("memory takes what is written to it");
    text.extend_from_slice(&body);
    text
}

/// Spells a header's name as hyper spells those of our answers.
fn title_case(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use store::SeededEntropy;

    use super::*;

    const BARE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\
        Content-Length: 0\r\nDate: Fri, 20 Nov 2026 18:29:40 GMT\r\n\r\n";

    #[test]
    fn a_bare_refusal_gets_what_every_error_has() {
        let bare = Bare::parse(BARE).expect("it is one");
        let id = RequestId::new(&SeededEntropy::new(1));
        let text = String::from_utf8(dress(&bare, &id)).expect("it is text");
        let (head, body) = text.split_once("\r\n\r\n").expect("it has a body");
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{head}");
        let expected = [
            "Content-Type: application/json",
            "X-Amzn-Errortype: RequestHeaderFieldsTooLargeException",
            &format!("X-Amzn-Requestid: {}", id.as_str()),
            "Access-Control-Allow-Origin: *",
            "Connection: close",
            &format!("Content-Length: {}", body.len()),
            "Date: Fri, 20 Nov 2026 18:29:40 GMT",
        ];
        for line in expected {
            assert_eq!(head.split("\r\n").filter(|it| *it == line).count(), 1, "{line} in {head}");
        }
        assert_eq!(body, r#"{"message":"the headers are too large"}"#);
    }

    #[test]
    fn other_answers_are_left_alone() {
        let other: [&[u8]; 5] = [
            b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\nDate: x\r\n\r\n{}",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"\xff",
        ];
        for bytes in other {
            assert_eq!(Bare::parse(bytes), None);
        }
    }
}

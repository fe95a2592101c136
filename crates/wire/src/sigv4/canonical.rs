//! The canonical request: the text whose hash is signed.
//!
//! Clients disagree in two places, so each has a short list of forms that are tried in order.
//! Path: official clients encode each received segment once more, hand-written signers take it as
//! it is. Query of a presigned request: some leave reserved characters bare, some write `+` for a
//! space. Invariant: a form only ever re-spells what was received; it never drops or adds a part
//! (but for the signature itself, which cannot sign itself).

use super::escape::{decoded, encode_byte, is_unreserved};
use super::{Head, HexHash};

/// How the received path is spelled in the canonical request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathForm {
    /// Each segment encoded once more; slashes stay.
    Encoded,
    AsReceived,
}

/// How the received query is spelled in the canonical request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueryForm {
    /// All parameters, decoded and encoded anew, sorted.
    Whole,
    /// Like `Whole`, without the signature.
    Presigned,
    /// Parameters as received without the signature, sorted.
    PresignedAsReceived,
    /// Like `Presigned`, but `+` means a space.
    PresignedPlusAsSpace,
}

const PRESIGNED_SIGNATURE: &[u8] = b"X-Amz-Signature";

/// Returns the path forms that differ for this path.
pub(super) fn path_forms(raw_path: &str) -> &'static [PathForm] {
    if raw_path.bytes().all(|byte| byte == b'/' || is_unreserved(byte)) {
        &[PathForm::Encoded]
    } else {
        &[PathForm::Encoded, PathForm::AsReceived]
    }
}

/// Returns the query forms that may differ for this presigned query.
pub(super) fn presigned_forms(raw_query: &str) -> &'static [QueryForm] {
    use QueryForm::{Presigned, PresignedAsReceived, PresignedPlusAsSpace};
    if raw_query.contains('+') {
        &[Presigned, PresignedAsReceived, PresignedPlusAsSpace]
    } else {
        &[Presigned, PresignedAsReceived]
    }
}

/// Appends the canonical request; `None` if a signed header is not in the request.
pub(super) fn write(
    head: &Head<'_>,
    signed_headers: &str,
    payload_hash: &HexHash,
    path: PathForm,
    query: QueryForm,
    out: &mut Vec<u8>,
) -> Option<()> {
    out.extend_from_slice(head.method.as_bytes());
    out.push(b'\n');
    write_path(head.raw_path, path, out);
    out.push(b'\n');
    write_query(head.raw_query.unwrap_or(""), query, out);
    out.push(b'\n');
    for name in signed_headers.split(';').filter(|name| !name.is_empty()) {
        write_header(head, name, out)?;
    }
    out.push(b'\n');
    out.extend_from_slice(signed_headers.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(payload_hash);
    Some(())
}

fn write_path(raw_path: &str, form: PathForm, out: &mut Vec<u8>) {
    match form {
        _ if raw_path.is_empty() => out.push(b'/'),
        PathForm::AsReceived => out.extend_from_slice(raw_path.as_bytes()),
        PathForm::Encoded => {
            let mut rest = raw_path.as_bytes();
            let stays = |byte: &u8| *byte == b'/' || is_unreserved(*byte);
            while let Some(at) = rest.iter().position(|byte| !stays(byte)) {
                out.extend_from_slice(&rest[..at]);
                encode_byte(rest[at], out);
                rest = &rest[at + 1..];
            }
            out.extend_from_slice(rest);
        }
    }
}

/// Where a parameter lies in the scratch text; `equals` is `end` if it has no `=`.
struct Parameter {
    start: usize,
    equals: usize,
    end: usize,
}

impl Parameter {
    /// Name before value: `a-b=1` sorts behind `a=2`, though `-` comes before `=`.
    fn order<'t>(&self, text: &'t [u8]) -> (&'t [u8], &'t [u8]) {
        let value = (self.equals + 1).min(self.end);
        (&text[self.start..self.equals], &text[value..self.end])
    }
}

fn write_query(raw_query: &str, form: QueryForm, out: &mut Vec<u8>) {
    if raw_query.is_empty() {
        return;
    }
    let mut text = Vec::with_capacity(raw_query.len() * 2);
    let mut parameters = Vec::new();
    for raw in raw_query.split('&').filter(|raw| !raw.is_empty()) {
        let start = text.len();
        let equals = write_parameter(raw, form, &mut text);
        if form != QueryForm::Whole && text[start..equals] == *PRESIGNED_SIGNATURE {
            text.truncate(start);
        } else {
            parameters.push(Parameter { start, equals, end: text.len() });
        }
    }
    parameters.sort_by(|a, b| a.order(&text).cmp(&b.order(&text)));
    for (index, parameter) in parameters.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(&text[parameter.start..parameter.end]);
    }
}

/// Appends one parameter and returns where its name ends.
fn write_parameter(raw: &str, form: QueryForm, text: &mut Vec<u8>) -> usize {
    if form == QueryForm::PresignedAsReceived {
        let name_bytes = raw.find('=').unwrap_or(raw.len());
        let equals = text.len() + name_bytes;
        text.extend_from_slice(raw.as_bytes());
        return equals;
    }
    let (name, value) = raw.split_once('=').unwrap_or((raw, ""));
    write_component(name, form, text);
    let equals = text.len();
    text.push(b'=');
    write_component(value, form, text);
    equals
}

fn write_component(raw: &str, form: QueryForm, text: &mut Vec<u8>) {
    if form == QueryForm::PresignedPlusAsSpace {
        for (index, part) in raw.split('+').enumerate() {
            if index > 0 {
                encode_byte(b' ', text);
            }
            decoded(part.as_bytes()).for_each(|byte| encode_byte(byte, text));
        }
    } else {
        decoded(raw.as_bytes()).for_each(|byte| encode_byte(byte, text));
    }
}

/// Appends `name:value,value` of all headers of that name; `None` if there is none.
fn write_header(head: &Head<'_>, name: &str, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    match head.host {
        Some(host) if name == "host" => write_folded(host.as_bytes(), out),
        _ => {
            let mut values = head.values(name);
            write_folded(values.next()?, out);
            for value in values {
                out.push(b',');
                write_folded(value, out);
            }
        }
    }
    out.push(b'\n');
    Some(())
}

/// Appends a value without outer white space and with single spaces inside, folded lines joined.
fn write_folded(value: &[u8], out: &mut Vec<u8>) {
    // Most values have no white space at all.
    if !value.iter().any(u8::is_ascii_whitespace) {
        out.extend_from_slice(value);
        return;
    }
    let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

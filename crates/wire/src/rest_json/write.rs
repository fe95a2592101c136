//! Writes shapes as JSON: members in the order of the model, those that are absent left out.

use crate::shape::{Shape, View};

/// How times are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// A number of seconds, as answers have it.
    EpochSeconds,
    /// A text with three decimals, as events have it.
    Iso,
}

/// Appends a shape as a JSON object.
pub fn write<S: Shape>(value: &S, times: TimeFormat, out: &mut Vec<u8>) {
    write_shape(value, times, out);
}

fn write_shape(shape: &dyn Shape, times: TimeFormat, out: &mut Vec<u8>) {
    let mut separator = b'{';
    shape.each(&mut |member, field| {
        let Some(view) = field.view() else { return };
        out.push(separator);
        separator = b',';
        // Names of members are letters and digits, so they need no escape.
        out.push(b'"');
        out.extend_from_slice(member.name.as_bytes());
        out.extend_from_slice(b"\":");
        write_view(&view, times, out);
    });
    close(separator, b'{', b'}', out);
}

fn write_view(view: &View<'_>, times: TimeFormat, out: &mut Vec<u8>) {
    match view {
        View::Text(text) => write_text(text, out),
        View::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        View::Boolean(true) => out.extend_from_slice(b"true"),
        View::Boolean(false) => out.extend_from_slice(b"false"),
        View::Time(time) if times == TimeFormat::EpochSeconds => time.write_epoch_seconds(out),
        View::Time(time) => {
            out.push(b'"');
            time.write_iso(out);
            out.push(b'"');
        }
        View::List(list) => {
            let mut separator = b'[';
            list.each(&mut |item| {
                out.push(separator);
                separator = b',';
                write_view(&item, times, out);
            });
            close(separator, b'[', b']', out);
        }
        View::Map(map) => {
            let mut separator = b'{';
            map.each(&mut |key, value| {
                out.push(separator);
                separator = b',';
                write_text(key, out);
                out.push(b':');
                write_view(&value, times, out);
            });
            close(separator, b'{', b'}', out);
        }
        View::Structure(shape) => write_shape(*shape, times, out),
    }
}

/// Appends a closing bracket, and the opening one if nothing was written that would have done it.
fn close(separator: u8, opening: u8, closing: u8, out: &mut Vec<u8>) {
    if separator == opening {
        out.push(opening);
    }
    out.push(closing);
}

/// Appends a JSON string.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    // Nearly all texts are written as they are. Looking at all bytes in one go, without an end on
    // the way, is what the compiler makes wide instructions of.
    if text.bytes().fold(false, |found, byte| found | is_escaped(byte)) {
        serde_json::to_writer(out, text).expect("a vector takes every write");
        return;
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Tells whether JSON has a byte of a text written otherwise.
fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_as_any_other_writer_of_json_does() {
        let ends = ["", "plain", "\u{1f514} grüße\u{2028}"];
        for middle in (0..=0x2ff).filter_map(char::from_u32) {
            for (begin, end) in ends.iter().flat_map(|begin| ends.map(|end| (begin, end))) {
                let text = format!("{begin}{middle}{end}");
                let mut out = b"before".to_vec();
                write_text(&text, &mut out);
                let expected = format!("before{}", serde_json::to_string(&text).unwrap());
                assert_eq!(String::from_utf8(out).unwrap(), expected);
            }
        }
    }
}

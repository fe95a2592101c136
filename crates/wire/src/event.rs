//! The frames that a WebSocket session sends: an envelope of headers around a JSON text.
//!
//! Invariant: every header is a string and `Payload` is a string that holds JSON, or null; clients
//! parse it twice and expect ISO times in it where answers have numbers. What a header of ours
//! says, clients that do not know it pass over.

mod id;

use crate::constraint::Rule;
use crate::messaging::{ChannelMembershipSummary, ChannelMessageSummary, ChannelSummary};
use crate::rest_json::{TimeFormat, write, write_text};
use crate::shape::{Shape, body, shape};
use crate::time::Timestamp;

pub use id::{EVENT_ID, EVENT_ID_CHARS, EventIds};

/// The header that names what happened.
const EVENT_TYPE: &str = "x-amz-chime-event-type";
/// The header that tells messages from notices of the service.
const MESSAGE_TYPE: &str = "x-amz-chime-message-type";

shape! {
    ChannelDetails {
        channel: Option<ChannelSummary> = body("Channel", &Rule::ANY),
        channel_messages: Option<Vec<ChannelMessageSummary>> =
            body("ChannelMessages", &Rule::ANY),
        channel_messages_has_more: Option<bool> = body("ChannelMessagesHasMore", &Rule::ANY),
        channel_memberships: Option<Vec<ChannelMembershipSummary>> =
            body("ChannelMemberships", &Rule::ANY),
        read_marker_timestamp: Option<Timestamp> = body("ReadMarkerTimestamp", &Rule::ANY),
        sub_channel_id: Option<String> = body("SubChannelId", &Rule::ANY),
    }
}

/// Returns the frame that tells what a channel has, to a session that asked for it.
pub fn channel_details(details: &ChannelDetails) -> Vec<u8> {
    frame("CHANNEL_DETAILS", "SYSTEM", &[], Some(details))
}

/// Returns the text of a frame.
pub fn frame<S: Shape>(
    event_type: &str,
    message_type: &str,
    extra_headers: &[(&str, &str)],
    payload: Option<&S>,
) -> Vec<u8> {
    let payload = payload.map(payload_text);
    frame_of_text(event_type, message_type, extra_headers, payload.as_deref())
}

/// Returns the text that stands in a frame for a payload.
pub fn payload_text<S: Shape>(payload: &S) -> String {
    let mut text = Vec::new();
    write(payload, TimeFormat::Iso, &mut text);
    String::from_utf8(text).expect("texts and ASCII in between are UTF-8")
}

/// Returns the text of a frame whose payload is JSON text already.
pub fn frame_of_text(
    event_type: &str,
    message_type: &str,
    extra_headers: &[(&str, &str)],
    payload: Option<&str>,
) -> Vec<u8> {
    let mut out = b"{\"Headers\":".to_vec();
    let headers = [(EVENT_TYPE, event_type), (MESSAGE_TYPE, message_type)];
    let mut separator = b'{';
    for (name, value) in headers.iter().chain(extra_headers) {
        out.push(separator);
        separator = b',';
        write_text(name, &mut out);
        out.push(b':');
        write_text(value, &mut out);
    }
    out.extend_from_slice(b"},\"Payload\":");
    match payload {
        Some(payload) => write_text(payload, &mut out),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messaging::{ChannelMessage, ChannelMessageType};
    use crate::time::Timestamp;

    #[test]
    fn payload_is_a_json_string_with_iso_times() {
        let message = ChannelMessage {
            content: Some("\"é".to_owned()),
            created_timestamp: Some(Timestamp(1_622_737_591_000)),
            r#type: Some(ChannelMessageType::Standard),
            ..ChannelMessage::default()
        };
        let frame = frame("CREATE_CHANNEL_MESSAGE", "STANDARD", &[("x-id", "7")], Some(&message));
        assert_eq!(
            String::from_utf8(frame).expect("JSON is UTF-8"),
            concat!(
                r#"{"Headers":{"x-amz-chime-event-type":"CREATE_CHANNEL_MESSAGE","#,
                r#""x-amz-chime-message-type":"STANDARD","x-id":"7"},"#,
                r#""Payload":"{\"Content\":\"\\\"é\",\"Type\":\"STANDARD\","#,
                r#"\"CreatedTimestamp\":\"2021-06-03T16:26:31.000Z\"}"}"#
            )
        );
    }

    #[test]
    fn frame_without_payload_has_null() {
        let frame = frame::<()>("SESSION_ESTABLISHED", "SYSTEM", &[], None);
        assert_eq!(
            String::from_utf8(frame).expect("JSON is UTF-8"),
            concat!(
                r#"{"Headers":{"x-amz-chime-event-type":"SESSION_ESTABLISHED","#,
                r#""x-amz-chime-message-type":"SYSTEM"},"Payload":null}"#
            )
        );
    }
}

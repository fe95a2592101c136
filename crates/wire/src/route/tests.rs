//! Every operation is reachable by its own template, and nothing else reaches it.

use super::*;
use crate::operation::Operation;
use crate::seeded::Seeded;
use crate::{identity, messaging};

const CHANNEL: &str = "arn:aws:chime:us-east-1:111122223333:app-instance/0a1b/channel/c@1:x.y_z";

fn find(method: &str, path: &str, query: Option<&str>) -> Result<OperationId, ErrorCode> {
    route(method, path, query).map(|route| route.operation).map_err(|error| error.code())
}

/// Escapes all bytes that are not unreserved.
fn escape_fully(text: &str) -> String {
    escape(text, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// Escapes what has to be in a segment, as the Java clients do.
fn escape_slashes(text: &str) -> String {
    escape(text, |byte| !b"/%?#".contains(&byte) && byte.is_ascii_graphic())
}

fn escape(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    text.bytes()
        .map(
            |byte| {
                if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
            },
        )
        .collect()
}

/// Fills the template of an operation with labels and checks that the result leads back to it.
fn assert_routable<O: Operation>(escape: fn(&str) -> String) {
    let (template, query) = match O::URI.split_once('?') {
        Some((template, query)) => (template, Some(query)),
        None => (O::URI, None),
    };
    let mut path = String::new();
    let mut expected = Vec::new();
    for (index, segment) in template.split('/').skip(1).enumerate() {
        let name = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
        let value = format!("{CHANNEL}/é %{index}+");
        path = format!("{path}/{}", name.map_or(segment.to_owned(), |_| escape(&value)));
        expected.extend(name.map(|name| (name, value)));
    }
    let route = route(O::METHOD.as_str(), &path, query).expect(O::NAME);
    assert_eq!(route.operation, O::ID);
    let labels: Vec<(&str, String)> = route.labels;
    assert_eq!(labels, expected);
}

macro_rules! assert_all_routable {
    ($($service:ident::$name:ident),*) => {
        $(
            assert_routable::<$service::$name>(escape_fully);
            assert_routable::<$service::$name>(escape_slashes);
        )*
        assert_eq!(OperationId::ALL, [$(OperationId::$name),*]);
    };
}

#[test]
fn every_operation_is_routable_however_its_arns_are_escaped() {
    crate::for_each_operation!(assert_all_routable);
}

#[test]
fn parameter_tells_operations_of_one_path_apart() {
    let path = format!("/channels/{}", escape_fully(CHANNEL));
    let cases = [
        (None, Ok(OperationId::DescribeChannel)),
        (Some("max-results=1&x"), Ok(OperationId::DescribeChannel)),
        (Some("operation=redact"), Ok(OperationId::DescribeChannel)),
        (
            Some("scope=app-instance-user-membership"),
            Ok(OperationId::DescribeChannelMembershipForAppInstanceUser),
        ),
        (
            Some("x=1&sc%6Fpe=app%2Dinstance-user-membership"),
            Ok(OperationId::DescribeChannelMembershipForAppInstanceUser),
        ),
        (Some("scope=other"), Err(ErrorCode::UnknownOperation)),
        (Some("scope=%ff"), Err(ErrorCode::UnknownOperation)),
    ];
    for (query, expected) in cases {
        assert_eq!(find("GET", &path, query), expected, "{query:?}");
    }
    assert_eq!(find("POST", &path, None), Err(ErrorCode::UnknownOperation));
}

#[test]
fn other_request_lines_are_unknown_operations() {
    let cases = [
        ("GET", ""),
        ("GET", "/"),
        ("GET", "channels"),
        ("GET", "*"),
        ("GET", "/channels/"),
        ("GET", "/channels//memberships"),
        ("GET", "/channels/c/memberships/"),
        ("GET", "//channels"),
        ("GET", "/Channels"),
        ("GET", "/channels/arn:aws:chime:us-east-1:1:app-instance/a/channel/c"),
        ("GET", "/channels/a/b/c/d/e/f/g/h/i/j"),
        ("PATCH", "/channels/c"),
        ("get", "/channels/c"),
        ("OPTIONS", "/channels"),
        ("DELETE", "/channels"),
    ];
    for (method, path) in cases {
        assert_eq!(find(method, path, None), Err(ErrorCode::UnknownOperation), "{method} {path}");
    }
}

#[test]
fn labels_are_decoded_once_and_a_plus_stays() {
    let route = route("GET", "/channels/a%252Fb+c%2f", None).expect("a channel");
    assert_eq!(route.labels, [("channelArn", "a%2Fb+c/".to_owned())]);
}

#[test]
fn label_that_is_no_text_is_a_serialization_error() {
    for label in ["%", "%4", "%zz", "%ff", "a%c3"] {
        let path = format!("/channels/{label}");
        assert_eq!(find("GET", &path, None), Err(ErrorCode::Serialization), "{label}");
    }
}

#[test]
fn random_request_lines_never_panic_and_labels_hold_what_was_sent() {
    let mut random = Seeded::new(17);
    let pieces = ["/", "channels", "messages", "%2F", "%", "arn:aws", "é", "?", "scope", "=", "&"];
    let mut routed_count = 0;
    for _ in 0..200_000 {
        let method = random.pick(&["GET", "POST", "PUT", "DELETE", "HEAD"]);
        let mut path = String::from("/");
        for _ in 0..random.below(8) {
            path += random.pick(&pieces);
        }
        let query = format!("scope={}", random.pick(&pieces));
        if let Ok(route) = route(method, &path, Some(&query)) {
            routed_count += 1;
            for (_, label) in &route.labels {
                assert!(!label.is_empty());
            }
        }
    }
    assert!(routed_count > 100, "the pieces make some paths of the API");
}

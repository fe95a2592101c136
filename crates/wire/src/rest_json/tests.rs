//! What a request may look like, what is refused and with which words, and that what is written
//! reads back.

mod constraints;
mod round_trip;

use super::*;
use crate::identity::{CreateAppInstance, ListAppInstanceUsers};
use crate::messaging::{
    ChannelFlowCallback, ChannelMode, CreateChannel, DescribeChannel, GetMessagingSessionEndpoint,
    ListChannelMessages, PutChannelMembershipPreferences, SearchChannels, SendChannelMessage,
    SortOrder, UpdateChannelReadMarker,
};
use crate::seeded::Seeded;
use crate::time::Timestamp;

const CHANNEL: &str = "arn:aws:chime:us-east-1:111122223333:app-instance/0a1b/channel/c1";
const APP_INSTANCE: &str = "arn:aws:chime:us-east-1:111122223333:app-instance/0a1b";

fn labels() -> Vec<(&'static str, String)> {
    vec![("channelArn", CHANNEL.to_owned()), ("memberArn", CHANNEL.to_owned())]
}

fn code<O: Operation>(raw_query: Option<&str>, body: &[u8]) -> Option<ErrorCode> {
    decode::<O>(&labels(), raw_query, body).err().map(|error| error.code())
}

fn message<O: Operation>(raw_query: Option<&str>, body: &str) -> String {
    let answer = decode::<O>(&labels(), raw_query, body.as_bytes());
    answer.err().expect("the request is refused").message().to_owned()
}

fn send(members: &str) -> String {
    let rest = r#""Type":"STANDARD","Persistence":"PERSISTENT","ClientRequestToken":"t1""#;
    format!("{{{rest}{}{members}}}", if members.is_empty() { "" } else { "," })
}

#[test]
fn labels_query_and_body_fill_one_input() {
    let query = "sort-order=ASCENDING&max-results=7&next-token=a%2Bb&not-before=1625101323.456\
                 &not-after=2021-07-01T01:02:03.456000Z&sub-channel-id=s&scope=ignored&x";
    let input = decode::<ListChannelMessages>(&labels(), Some(query), b"").expect("valid");
    assert_eq!(input.channel_arn, CHANNEL);
    assert_eq!(input.sort_order, Some(SortOrder::Ascending));
    assert_eq!(input.max_results, Some(7));
    assert_eq!(input.next_token.as_deref(), Some("a+b"));
    assert_eq!(input.not_before, Some(Timestamp(1_625_101_323_456)));
    assert_eq!(input.not_after, Some(Timestamp(1_625_101_323_456)));
    assert_eq!(input.sub_channel_id.as_deref(), Some("s"));
}

#[test]
fn body_fills_nested_members() {
    let body = send(
        r#""Content":"a\u0000\ud83d\udd14","PushNotification":{"Title":"t","Body":"b","Type":"VOIP"},
           "MessageAttributes":{"k":{"StringValues":["v","w"]},"l":{}},
           "Target":[{"MemberArn":"arn:aws:chime:::m"}]"#,
    );
    let input = decode::<SendChannelMessage>(&labels(), None, body.as_bytes()).expect("valid");
    assert_eq!(input.content, "a\0🔔");
    let push = input.push_notification.expect("is there");
    assert_eq!(push.title.as_deref(), Some("t"));
    let attributes = input.message_attributes.expect("is there");
    assert_eq!(attributes.len(), 2);
    assert_eq!(attributes["k"].string_values.as_deref(), Some(["v".into(), "w".into()].as_slice()));
    assert_eq!(attributes["l"].string_values, None);
    assert_eq!(input.target.expect("is there")[0].member_arn.as_deref(), Some("arn:aws:chime:::m"));
}

#[test]
fn body_that_carries_nothing_is_accepted() {
    for body in ["", "{}", " {\n} ", r#"{"Unknown":[1.5e3,{"a":null}],"ChannelArn":7}"#] {
        let input = decode::<UpdateChannelReadMarker>(&labels(), None, body.as_bytes());
        assert_eq!(input.expect("valid").channel_arn, CHANNEL, "{body}");
    }
}

#[test]
fn null_member_is_an_absent_one() {
    let body = send(r#""Content":"c","Metadata":null,"Target":null,"PushNotification":null"#);
    let input = decode::<SendChannelMessage>(&labels(), None, body.as_bytes()).expect("valid");
    assert_eq!((input.metadata, input.target), (None, None));
    assert_eq!(input.push_notification, None);
    assert_eq!(
        message::<SendChannelMessage>(None, &send(r#""Content":null"#)),
        "1 validation error detected: Value null at 'content' failed to satisfy constraint: \
         Member must not be null"
    );
}

#[test]
fn of_two_members_with_one_name_the_last_counts() {
    let long = "x".repeat(60);
    let body = send(&format!(
        r#""Content":"a","Content":"b","ContentType":"{long}","ContentType":"t",
           "Target":[],"Target":[{{"MemberArn":"arn:aws:chime:::m"}}],
           "PushNotification":{{"Title":""}},"PushNotification":{{}},
           "MessageAttributes":{{"k":{{"StringValues":[""]}},"k":{{}}}},"Metadata":"m","Metadata":null"#
    ));
    let input = decode::<SendChannelMessage>(&labels(), None, body.as_bytes()).expect("valid");
    assert_eq!(input.content, "b");
    assert_eq!(input.content_type.as_deref(), Some("t"));
    assert_eq!(input.target.map(|target| target.len()), Some(1));
    assert_eq!(input.push_notification.expect("is there").title, None);
    assert_eq!(input.message_attributes.expect("is there")["k"].string_values, None);
    assert_eq!(input.metadata, None);
}

#[test]
fn of_two_parameters_with_one_name_the_last_counts() {
    let query = Some("max-results=no&max-results=51&ma%78-results=5");
    let input = decode::<ListChannelMessages>(&labels(), query, b"").expect("valid");
    assert_eq!(input.max_results, Some(5));
}

#[test]
fn body_that_is_no_json_object_of_the_input_is_a_serialization_error() {
    let deep = "[".repeat(200_000);
    let members = [
        r#""Content":5"#,
        r#""Content":["c"]"#,
        r#""Content":{}"#,
        r#""Content":true"#,
        r#""Content":"\ud800""#,
        "\"Content\":\"a\nb\"",
        r#""Content":"c","Target":"t""#,
        r#""Content":"c","Target":{}"#,
        r#""Content":"c","Target":[null]"#,
        r#""Content":"c","Target":[[]]"#,
        r#""Content":"c","PushNotification":[]"#,
        r#""Content":"c","PushNotification":"p""#,
        r#""Content":"c","MessageAttributes":{"k":null}"#,
        r#""Content":"c","MessageAttributes":[]"#,
        r#""Content":"c","MessageAttributes":{"k":{"StringValues":[null]}}"#,
        r#""Content":"c","Type":1"#,
        r#""Content":"c",}"#,
    ];
    for members in members {
        let body = send(members);
        let refused = code::<SendChannelMessage>(None, body.as_bytes());
        assert_eq!(refused, Some(ErrorCode::Serialization), "{body}");
    }
    for body in ["[]", "null", "1", "\"\"", " ", "{", "{}x", "{}{}", "{\"a\":}", "{\"a\":1", &deep]
    {
        let refused = code::<UpdateChannelReadMarker>(None, body.as_bytes());
        assert_eq!(refused, Some(ErrorCode::Serialization), "{}", &body[..body.len().min(20)]);
    }
    for body in [&b"\xff"[..], b"{\"a\":\"\xc3\"}", b"{\"a\":\"\xed\xa0\x80\"}"] {
        let refused = code::<UpdateChannelReadMarker>(None, body);
        assert_eq!(refused, Some(ErrorCode::Serialization), "{body:?}");
    }
}

#[test]
fn number_that_is_no_integer_is_a_serialization_error() {
    for number in ["1.0", "1.5", "1e0", "\"1\"", "2147483648", "99999999999999999999", "true"] {
        let body = format!(
            r#"{{"Name":"n","AppInstanceArn":"{APP_INSTANCE}","ClientRequestToken":"t1",
                "ElasticChannelConfiguration":{{"MaximumSubChannels":{number}}}}}"#
        );
        let refused = code::<CreateChannel>(None, body.as_bytes());
        assert_eq!(refused, Some(ErrorCode::Serialization), "{number}");
    }
    for boolean in ["1", "\"true\"", "\"\""] {
        let body = format!(r#"{{"DeleteResource":{boolean}}}"#);
        let refused = code::<ChannelFlowCallback>(None, body.as_bytes());
        assert_eq!(refused, Some(ErrorCode::Serialization), "{boolean}");
    }
}

#[test]
fn deep_nesting_in_an_unknown_member_does_not_recurse() {
    let depth = 100_000;
    let body = format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(code::<UpdateChannelReadMarker>(None, body.as_bytes()), None);
}

#[test]
fn unreadable_parameter_is_a_serialization_error() {
    let queries = [
        "max-results=",
        "max-results=x",
        "max-results=1.0",
        "max-results=99999999999",
        "not-before=yesterday",
        "not-before=",
        "next-token=%zz",
        "next-token=%ff",
    ];
    for query in queries {
        let refused = code::<ListChannelMessages>(Some(query), b"");
        assert_eq!(refused, Some(ErrorCode::Serialization), "{query}");
    }
    assert_eq!(code::<ListChannelMessages>(Some("x=%zz&%zz=1&&=&="), b""), None);
}

#[test]
fn serialization_error_comes_before_violations_and_shows_no_value() {
    let text = message::<SendChannelMessage>(None, r#"{"Content":"","Metadata":["secret"]}"#);
    assert_eq!(
        text,
        "The body is not a JSON object of the operation's input: see line 1, column 26."
    );
}

#[test]
fn violation_is_a_bad_request_where_the_operation_declares_it() {
    assert_eq!(code::<SendChannelMessage>(None, b""), Some(ErrorCode::BadRequest));
    let refused = code::<GetMessagingSessionEndpoint>(Some("network-type=FAX"), b"");
    assert_eq!(refused, Some(ErrorCode::Validation));
}

#[test]
fn answer_has_its_members_in_the_order_of_the_model_and_no_absent_ones() {
    let output = crate::messaging::ListChannelMessagesResponse {
        channel_arn: Some(CHANNEL.to_owned()),
        channel_messages: Some(vec![crate::messaging::ChannelMessageSummary {
            content: Some("\"\\\u{1}\u{7f}é🔔</".to_owned()),
            created_timestamp: Some(Timestamp(1_625_101_323_450)),
            redacted: Some(false),
            message_attributes: Some(Default::default()),
            ..Default::default()
        }]),
        ..Default::default()
    };
    let text = String::from_utf8(encode(&output)).expect("JSON is UTF-8");
    assert_eq!(
        text,
        format!(
            "{{\"ChannelArn\":\"{CHANNEL}\",\"ChannelMessages\":[{{\
             \"Content\":\"\\\"\\\\\\u0001\u{7f}é🔔</\",\"CreatedTimestamp\":1625101323.45,\
             \"Redacted\":false,\"MessageAttributes\":{{}}}}]}}"
        )
    );
}

#[test]
fn operation_without_output_answers_an_empty_body() {
    assert_eq!(encode(&()), b"");
    assert_eq!(encode(&crate::messaging::SearchChannelsResponse::default()), b"{}");
}

#[test]
fn debug_text_hides_what_is_sensitive() {
    let body = send(r#""Content":"secret","MessageAttributes":{"secret":{}}"#);
    let input = decode::<SendChannelMessage>(&labels(), None, body.as_bytes()).expect("valid");
    let text = format!("{input:?}");
    assert!(text.contains("Content: ***") && text.contains("Metadata: None"), "{text}");
    assert!(text.contains(CHANNEL) && !text.contains("secret"), "{text}");
}

#[test]
fn enumeration_reads_and_writes_the_spelling_of_the_model() {
    for mode in ChannelMode::ALL {
        assert_eq!(mode.as_str().parse(), Ok(*mode));
        let stored = serde_json::to_string(mode).expect("a value is stored as its text");
        assert_eq!(stored, format!("\"{}\"", mode.as_str()));
    }
    assert!("restricted".parse::<ChannelMode>().is_err());
}

macro_rules! decode_all {
    ($($service:ident::$name:ident),*) => {
        [$((stringify!($name), is_accepted::<crate::$service::$name> as Decode)),*]
    };
}

/// Decoding without the type of the operation, so that one list holds them all.
type Decode = fn(&[(&'static str, String)], &str, &[u8]) -> bool;

fn is_accepted<O: Operation>(labels: &[(&'static str, String)], query: &str, body: &[u8]) -> bool {
    decode::<O>(labels, Some(query), body).is_ok()
}

#[test]
fn no_operation_panics_on_empty_input_and_those_without_members_accept_it() {
    let all = crate::for_each_operation!(decode_all);
    let accepted: Vec<_> =
        all.iter().filter(|(_, decode)| decode(&[], "", b"")).map(|(name, _)| *name).collect();
    assert_eq!(
        accepted,
        [
            "ListAppInstances",
            "GetMessagingSessionEndpoint",
            "ListChannelMembershipsForAppInstanceUser",
            "ListChannelsModeratedByAppInstanceUser",
        ]
    );
}

#[test]
fn random_bodies_never_panic() {
    let all = crate::for_each_operation!(decode_all);
    let mut random = Seeded::new(29);
    let pieces: [&[u8]; 24] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"\"",
        b"null",
        b"true",
        b"1",
        b"-1.5e9",
        b"\\u00",
        b"\"Content\":",
        b"\"Name\":",
        b"\"Tags\":[{\"Key\":",
        b"\"Type\":",
        b"\"STANDARD\"",
        b"\"MessageAttributes\":{",
        b"\"Processors\":[{",
        b"\xff",
        b" ",
        b"\"a\"",
        b"\xf0\x9f\x94\x94",
        b"\"MaximumSubChannels\":",
    ];
    let mut accepted_count = 0;
    for round in 0..300_000 {
        let (_, decode) = all[round % all.len()];
        let mut body = if round % 3 == 0 { Vec::new() } else { b"{".to_vec() };
        for _ in 0..random.below(12) {
            body.extend_from_slice(random.pick(&pieces));
        }
        if round % 2 == 0 {
            body.push(b'}');
        }
        accepted_count += usize::from(decode(&labels(), "max-results=1&next-token=%", &body));
        accepted_count += usize::from(decode(&labels(), "", &body));
    }
    assert!(accepted_count > 1000, "some of the bodies are good: {accepted_count}");
}

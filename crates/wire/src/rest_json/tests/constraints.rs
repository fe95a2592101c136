//! Each kind of constraint, at its bounds and beyond them, with the words that a client gets.

use super::*;

/// Returns what comes behind `n validation errors detected: `.
fn violations<O: Operation>(raw_query: Option<&str>, body: &str) -> String {
    let message = message::<O>(raw_query, body);
    let (_, violations) = message.split_once(" detected: ").expect("the message counts");
    violations.to_owned()
}

fn named(name: &str) -> String {
    format!(r#"{{"Name":"{name}","ClientRequestToken":"t1"}}"#)
}

#[test]
fn length_counts_characters() {
    for name in ["n".repeat(256), "é".repeat(256), "🔔".repeat(256)] {
        assert_eq!(code::<CreateAppInstance>(None, named(&name).as_bytes()), None);
        assert_eq!(
            violations::<CreateAppInstance>(None, &named(&format!("{name}n"))),
            "Value at 'name' failed to satisfy constraint: \
             Member must have length less than or equal to 256"
        );
    }
    assert_eq!(
        violations::<CreateAppInstance>(None, &named("")),
        "Value at 'name' failed to satisfy constraint: \
         Member must have length greater than or equal to 1"
    );
}

#[test]
fn length_of_metadata_counts_bytes() {
    let body = |metadata: &str| send(&format!(r#""Content":"c","Metadata":"{metadata}""#));
    assert_eq!(code::<SendChannelMessage>(None, body(&"é".repeat(512)).as_bytes()), None);
    assert_eq!(
        violations::<SendChannelMessage>(None, &body(&format!("{}n", "é".repeat(512)))),
        "Value at 'metadata' failed to satisfy constraint: \
         Member must have length less than or equal to 1024"
    );
}

#[test]
fn content_has_no_upper_bound_here() {
    let content = "c".repeat(200_000);
    let body = send(&format!(r#""Content":"{content}""#));
    assert_eq!(code::<SendChannelMessage>(None, body.as_bytes()), None);
}

#[test]
fn value_that_is_not_sensitive_is_shown_and_cut() {
    let token = |token: &str| format!(r#"{{"Name":"n","ClientRequestToken":"{token}"}}"#);
    assert_eq!(
        violations::<CreateAppInstance>(None, &token("t")),
        "Value 't' at 'clientRequestToken' failed to satisfy constraint: \
         Member must have length greater than or equal to 2"
    );
    assert_eq!(
        violations::<CreateAppInstance>(None, &token(&"🔔t".repeat(32))),
        format!(
            "Value '{}' at 'clientRequestToken' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [-_a-zA-Z0-9]*",
            "🔔t".repeat(32)
        )
    );
    assert_eq!(
        violations::<CreateAppInstance>(None, &token(&"t".repeat(65))),
        format!(
            "Value '{}...' at 'clientRequestToken' failed to satisfy constraint: \
             Member must have length less than or equal to 64",
            "t".repeat(64)
        )
    );
}

#[test]
fn pattern_takes_the_whole_text() {
    let text = violations::<ListAppInstanceUsers>(Some("app-instance-arn=xarn:aws:chime:::m"), "");
    assert_eq!(
        text,
        "Value 'xarn:aws:chime:::m' at 'appInstanceArn' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: arn:[a-z0-9-\\.]{1,63}:\
         [a-z0-9-\\.]{0,63}:[a-z0-9-\\.]{0,63}:[a-z0-9-\\.]{0,63}:[^/].{0,1023}"
    );
}

#[test]
fn enumeration_takes_only_its_values() {
    let body = |mode: &str| {
        format!(
            r#"{{"AppInstanceArn":"{APP_INSTANCE}","Name":"n","ClientRequestToken":"t1","Mode":"{mode}"}}"#
        )
    };
    assert_eq!(code::<CreateChannel>(None, body("RESTRICTED").as_bytes()), None);
    assert_eq!(
        violations::<CreateChannel>(None, &body("Open")),
        "Value 'Open' at 'mode' failed to satisfy constraint: \
         Member must satisfy enum value set: [RESTRICTED, UNRESTRICTED]"
    );
}

#[test]
fn range_holds_for_numbers() {
    for max_results in [1, 50] {
        let query = format!("max-results={max_results}");
        assert_eq!(code::<ListChannelMessages>(Some(&query), b""), None);
    }
    assert_eq!(
        violations::<ListChannelMessages>(Some("max-results=51"), ""),
        "Value '51' at 'maxResults' failed to satisfy constraint: \
         Member must have value less than or equal to 50"
    );
    assert_eq!(
        violations::<ListChannelMessages>(Some("max-results=-0"), ""),
        "Value '0' at 'maxResults' failed to satisfy constraint: \
         Member must have value greater than or equal to 1"
    );
}

#[test]
fn list_has_bounds_and_so_have_its_items() {
    let body = |arns: &str| {
        format!(
            r#"{{"AppInstanceArn":"{APP_INSTANCE}","Name":"n","ClientRequestToken":"t1","MemberArns":[{arns}]}}"#
        )
    };
    assert_eq!(
        violations::<CreateChannel>(None, &body("")),
        "Value '[]' at 'memberArns' failed to satisfy constraint: \
         Member must have length greater than or equal to 1"
    );
    let eleven = [r#""arn:aws:chime:::m""#; 11].join(",");
    assert_eq!(
        violations::<CreateChannel>(None, &body(&eleven)),
        "Value '[arn:aws:chime:::m, arn:aws:chime:::m, arn:aws:chime:::m, arn:aw...' at \
         'memberArns' failed to satisfy constraint: \
         Member must have length less than or equal to 10"
    );
    assert_eq!(
        violations::<CreateChannel>(None, &body(r#""arn:aws:chime:::m","arn""#)),
        "Value 'arn' at 'memberArns.2.member' failed to satisfy constraint: Member must have \
         length greater than or equal to 5; Value 'arn' at 'memberArns.2.member' failed to satisfy \
         constraint: Member must satisfy regular expression pattern: arn:[a-z0-9-\\.]{1,63}:\
         [a-z0-9-\\.]{0,63}:[a-z0-9-\\.]{0,63}:[a-z0-9-\\.]{0,63}:[^/].{0,1023}"
    );
}

#[test]
fn nested_members_are_named_by_their_path() {
    let preferences = r#"{"Preferences":{"PushNotifications":{"AllowNotifications":"SOME"}}}"#;
    assert_eq!(
        violations::<PutChannelMembershipPreferences>(None, preferences),
        "Value 'SOME' at 'preferences.pushNotifications.allowNotifications' failed to satisfy \
         constraint: Member must satisfy enum value set: [ALL, FILTERED, NONE]"
    );
    let fields = r#"{"Fields":[{"Key":"MEMBERS","Operator":"EQUALS","Values":["v",""]}]}"#;
    assert_eq!(
        violations::<SearchChannels>(None, fields),
        "Value '' at 'fields.1.member.values.2.member' failed to satisfy constraint: \
         Member must have length greater than or equal to 1"
    );
    let tags = r#"{"Name":"n","ClientRequestToken":"t1","Tags":[{"Key":"k"},{"Value":"v"}]}"#;
    assert_eq!(
        violations::<CreateAppInstance>(None, tags),
        "Value null at 'tags.1.member.value' failed to satisfy constraint: Member must not be \
         null; Value null at 'tags.2.member.key' failed to satisfy constraint: Member must not be \
         null"
    );
}

#[test]
fn entries_of_a_map_are_named_by_position_and_never_by_their_sensitive_key() {
    let body = send(r#""Content":"c","MessageAttributes":{"":{"StringValues":[""]}}"#);
    assert_eq!(
        violations::<SendChannelMessage>(None, &body),
        "Value at 'messageAttributes.1.key' failed to satisfy constraint: Member must have length \
         greater than or equal to 1; Value at 'messageAttributes.1.value.stringValues.1.member' \
         failed to satisfy constraint: Member must have length greater than or equal to 1"
    );
}

#[test]
fn required_member_may_not_be_missing_wherever_it_belongs() {
    let answer = decode::<DescribeChannel>(&[], None, b"");
    assert_eq!(
        answer.expect_err("the label is missing").message(),
        "1 validation error detected: Value null at 'channelArn' failed to satisfy constraint: \
         Member must not be null"
    );
    assert_eq!(
        violations::<ListAppInstanceUsers>(None, ""),
        "Value null at 'appInstanceArn' failed to satisfy constraint: Member must not be null"
    );
}

#[test]
fn violations_come_in_the_order_of_the_model_and_all_are_counted() {
    assert_eq!(
        message::<SendChannelMessage>(None, r#"{"ContentType":null,"Persistence":"NO"}"#),
        "4 validation errors detected: \
         Value null at 'content' failed to satisfy constraint: Member must not be null; \
         Value null at 'type' failed to satisfy constraint: Member must not be null; \
         Value 'NO' at 'persistence' failed to satisfy constraint: \
         Member must satisfy enum value set: [NON_PERSISTENT, PERSISTENT]; \
         Value null at 'clientRequestToken' failed to satisfy constraint: Member must not be null"
    );
}

#[test]
fn message_stays_short_however_much_is_wrong() {
    let arns = vec!["\"x\""; 50_000].join(",");
    let text = message::<CreateChannel>(None, &format!("{{\"MemberArns\":[{arns}]}}"));
    // Three members are missing, the list is too long, and each item breaks two rules.
    assert!(text.starts_with("100004 validation errors detected: "), "{text}");
    assert!(text.len() < 4096, "{} bytes", text.len());
}

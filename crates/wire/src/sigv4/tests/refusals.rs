//! Each refusal with its code and text, and the exact edges of the time window.

use super::*;
use ErrorCode::{
    ExpiredToken, IncompleteSignature, InvalidSignature, MissingAuthenticationToken,
    UnrecognizedClient,
};

fn signed() -> Request {
    Request::new("POST", "/channels?scope=a").body("{}").sign()
}

fn with_authorization(value: &str) -> Result<Principal, Error> {
    signed().replace("authorization", value).verify()
}

/// Changes one part of the Authorization header.
fn edited(from: &str, to: &str) -> Result<Principal, Error> {
    let value = signed().get("authorization").replace(from, to);
    with_authorization(&value)
}

/// Changes one part of a presigned query.
fn edited_query(from: &str, to: &str) -> Result<Principal, Error> {
    let mut request = Request::new("GET", "/connect?sessionId=1").presign(10);
    request.query = request.query.map(|query| query.replace(from, to));
    request.verify_presigned()
}

#[test]
fn unsigned_request_misses_its_token() {
    let unsigned = Request::new("GET", "/channels");
    assert_refused(unsigned.verify(), MissingAuthenticationToken, "Missing Authentication Token");
    assert_refused(
        unsigned.verify_presigned(),
        MissingAuthenticationToken,
        "Missing Authentication Token",
    );
    assert_refused(with_authorization(""), MissingAuthenticationToken, text::TOKEN_MISSING);
}

#[test]
fn unreadable_authorization_is_incomplete() {
    for value in ["Bearer abc", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256x Credential=a", "AWS a:b"] {
        assert_refused(
            with_authorization(value),
            IncompleteSignature,
            "Authorization header requires 'AWS4-HMAC-SHA256'.",
        );
    }
    for value in ["AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 a,b,c", "AWS4-HMAC-SHA256 A=1"] {
        assert!(with_authorization(value).is_err_and(|e| matches!(e.code(), IncompleteSignature)));
    }
    assert!(signed().header("Authorization", "x").verify().is_err());
    let binary = signed().replace("authorization", b"AWS4-HMAC-SHA256 \xff").verify();
    assert_refused(
        binary,
        IncompleteSignature,
        "The 'authorization' header must be given once, as text.",
    );
}

#[test]
fn each_missing_part_of_the_authorization_is_named() {
    let value = signed().get("authorization").to_owned();
    for name in ["Credential", "SignedHeaders", "Signature"] {
        let start = value.find(&format!("{name}=")).unwrap();
        let end = value[start..].find(", ").map_or(value.len(), |at| start + at + 2);
        let cut = format!("{}{}", &value[..start], &value[end..]);
        assert_refused(
            with_authorization(cut.trim_end_matches([',', ' '])),
            IncompleteSignature,
            &format!("Authorization header requires '{name}' parameter."),
        );
    }
}

#[test]
fn repeated_parts_are_refused() {
    assert_refused(
        edited("SignedHeaders=", "Credential=x, SignedHeaders="),
        IncompleteSignature,
        "Authorization header repeats a parameter.",
    );
    assert_refused(
        edited_query("X-Amz-Expires=10", "X-Amz-Expires=10&X-Amz%2DExpires=604800"),
        IncompleteSignature,
        "The query repeats a signature parameter.",
    );
    for name in ["x-amz-date", "x-amz-security-token"] {
        let request = signed().header("x-amz-security-token", "a").header(name, "b");
        assert!(request.verify().is_err_and(|e| e.code() == IncompleteSignature), "{name}");
    }
}

#[test]
fn credential_has_five_parts() {
    for credential in ["AKIDEXAMPLE", "AKIDEXAMPLE/20240501/us-east-1/chime", "a/b/c/d/e/f", "////"]
    {
        assert_refused(
            edited("AKIDEXAMPLE/20240501/us-east-1/chime/aws4_request", credential),
            IncompleteSignature,
            "Credential must have exactly 5 slash-delimited elements, e.g. \
             keyid/date/region/service/term.",
        );
    }
}

#[test]
fn credential_is_scoped_to_region_service_and_day() {
    assert_refused(
        edited("/us-east-1/", "/eu-central-1/"),
        InvalidSignature,
        "Credential should be scoped to a valid region.",
    );
    assert_refused(
        edited("/chime/", "/execute-api/"),
        InvalidSignature,
        "Credential should be scoped to correct service: 'chime'.",
    );
    assert_refused(
        edited("aws4_request", "aws4"),
        InvalidSignature,
        "Credential should be scoped with a valid terminator: 'aws4_request'.",
    );
    let other_day = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of \
                     date from HTTP.";
    assert_refused(edited("/20240501/", "/20240502/"), InvalidSignature, other_day);
    let request = signed().replace("x-amz-date", "Wed, 01 May 2024 17:13:59 GMT");
    assert_refused(request.verify(), InvalidSignature, other_day);
}

#[test]
fn unknown_key_and_token_of_a_permanent_key_are_unrecognized() {
    let text = "The security token included in the request is invalid.";
    assert_refused(edited("AKIDEXAMPLE", "AKIDOTHER"), UnrecognizedClient, text);
    let request = Request::new("GET", "/channels").header("X-Amz-Security-Token", "foreign");
    assert_refused(request.sign().verify(), UnrecognizedClient, text);
    let request = Request::new("GET", "/connect?X-Amz-Security-Token=foreign").presign(10);
    assert_refused(request.verify_presigned(), UnrecognizedClient, text);
}

#[test]
fn ring_without_sessions_knows_none() {
    struct Permanent;
    impl KeyRing for Permanent {
        fn secret(&self, _: &str) -> Option<SecretKey> {
            Some(SecretKey::new(SECRET))
        }
    }
    let request = Request::new("GET", "/").header("X-Amz-Security-Token", "live").sign();
    let result = request.with_head(|head| {
        Verifier::new(REGION).verify_header(head, &request.body, SIGNED_MS, &Permanent)
    });
    assert_refused(result, UnrecognizedClient, text::TOKEN_INVALID);
}

#[test]
fn expired_session_is_told_so() {
    let request = Request::new("GET", "/").header("X-Amz-Security-Token", "expired").sign();
    let text = "The security token included in the request is expired";
    assert_refused(request.verify(), ExpiredToken, text);
}

#[test]
fn host_date_and_bearer_must_be_signed() {
    let must = |name: &str| format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.");
    assert_refused(edited("=host;", "="), InvalidSignature, &must("host"));
    assert_refused(edited(";x-amz-date", ""), InvalidSignature, &must("x-amz-date"));
    let request = signed().header("X-Amz-Chime-Bearer", "arn");
    assert_refused(request.verify(), InvalidSignature, &must("x-amz-chime-bearer"));
    let request = Request::new("GET", "/connect").presign(10).header("x-amz-chime-bearer", "arn");
    assert_refused(request.verify_presigned(), InvalidSignature, &must("x-amz-chime-bearer"));
    let presigned = edited_query("SignedHeaders=host", "SignedHeaders=accept");
    assert_refused(presigned, InvalidSignature, &must("host"));
}

#[test]
fn signed_header_that_is_not_there_is_a_mismatch() {
    assert_mismatch(edited("host;x-amz-date", "accept;host;x-amz-date"));
    assert_mismatch(signed().without("host").verify());
}

#[test]
fn work_per_request_is_bounded() {
    let names = format!("host;x-amz-date{}", ";a".repeat(SIGNED_HEADERS_MAX - 1));
    assert_refused(
        edited("host;x-amz-date", &names),
        IncompleteSignature,
        "Authorization names too many SignedHeaders.",
    );
}

#[test]
fn stated_content_hash_must_be_that_of_the_body() {
    let text = "The provided 'x-amz-content-sha256' header does not match the body.";
    for stated in ["UNSIGNED-PAYLOAD", "", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", &hash(b"{ }")] {
        let request = Request::new("POST", "/channels").header("x-amz-content-sha256", stated);
        assert_refused(request.body("{}").sign().verify(), InvalidSignature, text);
    }
    let request =
        Request::new("GET", "/connect").header("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD");
    assert_refused(request.presign(10).verify_presigned(), InvalidSignature, text);
}

#[test]
fn request_without_a_date_is_incomplete() {
    assert_refused(
        signed().without("x-amz-date").header("Date", "20240501T171359Z").verify(),
        IncompleteSignature,
        "Authorization header requires existence of a 'X-Amz-Date' header.",
    );
}

#[test]
fn unreadable_date_is_refused() {
    for date in ["20240501T", "20240501T171359", "20240501T996099Z", "20240501T171359+0000"] {
        assert_refused(
            signed().replace("x-amz-date", date).verify(),
            InvalidSignature,
            "Date must be in ISO-8601 'basic format'.",
        );
    }
}

#[test]
fn header_form_is_valid_within_the_skew_and_not_a_millisecond_longer() {
    for offset_ms in [-SKEW_MS, 0, SKEW_MS] {
        assert!(signed().verify_at(SIGNED_MS + offset_ms).is_ok(), "{offset_ms}");
    }
    assert_refused(
        signed().verify_at(SIGNED_MS + SKEW_MS + 1),
        InvalidSignature,
        "Signature expired: 20240501T171359Z is now earlier than 20240501T171359Z \
         (20240501T171859Z - 5 min.)",
    );
    assert_refused(
        signed().verify_at(SIGNED_MS - SKEW_MS - 1000),
        InvalidSignature,
        "Signature not yet current: 20240501T171359Z is still later than 20240501T171358Z \
         (20240501T170858Z + 5 min.)",
    );
    assert!(signed().verify_at(SIGNED_MS - SKEW_MS - 1).is_err());
    assert!(signed().verify_at(i64::MAX).is_err());
    assert!(signed().verify_at(i64::MIN).is_err());
}

#[test]
fn presigned_form_is_valid_until_its_end_and_one_skew() {
    for expires_seconds in [1, 10, 500, EXPIRES_SECONDS_MAX] {
        let request = Request::new("GET", "/connect?sessionId=1").presign(expires_seconds);
        let end_ms = SIGNED_MS + i64::from(expires_seconds) * 1000;
        for now_ms in [SIGNED_MS - SKEW_MS, SIGNED_MS, end_ms, end_ms + SKEW_MS] {
            assert!(request.verify_presigned_at(now_ms).is_ok(), "{expires_seconds} {now_ms}");
        }
        for now_ms in [SIGNED_MS - SKEW_MS - 1, end_ms + SKEW_MS + 1, i64::MIN, i64::MAX] {
            let error = request.verify_presigned_at(now_ms).unwrap_err();
            assert_eq!(error.code(), InvalidSignature);
            assert!(error.message().starts_with("Signature "));
        }
    }
    let request = Request::new("GET", "/connect").presign(10);
    assert_refused(
        request.verify_presigned_at(SIGNED_MS + 10_000 + SKEW_MS + 1000),
        InvalidSignature,
        "Signature expired: 20240501T171409Z is now earlier than 20240501T171410Z \
         (20240501T171910Z - 5 min.)",
    );
}

#[test]
fn life_of_a_presigned_request_is_bounded() {
    let text = "X-Amz-Expires must be a number from 1 to 604800 (seconds).";
    for expires in ["0", "604801", "-1", "%2B10", "1e1", "10.0", "4294967297", "x"] {
        let result = edited_query("X-Amz-Expires=10", &format!("X-Amz-Expires={expires}"));
        assert_refused(result, InvalidSignature, text);
    }
}

#[test]
fn each_missing_part_of_a_presigned_query_is_named() {
    for name in ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"] {
        assert_refused(
            edited_query(&format!("X-Amz-{name}="), "other="),
            IncompleteSignature,
            &format!("The query requires 'X-Amz-{name}'."),
        );
    }
    assert_refused(
        edited_query("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        IncompleteSignature,
        "X-Amz-Algorithm must be 'AWS4-HMAC-SHA256'.",
    );
    assert_refused(
        edited_query("Date=2024", "Date=%ff2024"),
        IncompleteSignature,
        "A signature parameter is not percent-encoded UTF-8.",
    );
}

#[test]
fn signature_is_taken_to_the_letter() {
    let value = signed().get("authorization").to_owned();
    let (head, signature) = value.split_once("Signature=").unwrap();
    for wrong in [
        signature.to_ascii_uppercase(),
        signature[..63].to_owned(),
        format!("{signature}0"),
        "0".repeat(64),
        "not hex".to_owned(),
    ] {
        assert_mismatch(with_authorization(&format!("{head}Signature={wrong}")));
    }
}

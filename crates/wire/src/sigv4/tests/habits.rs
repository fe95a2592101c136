//! What real clients do, each of which must be accepted.

use super::*;

const ARN_PATH: &str =
    "/channels/arn%3Aaws%3Achime%3Aus-east-1%3A111122223333%3Aapp-instance%2Fa%2Fchannel%2Fc";
const USER_ARN: &str = "arn:aws:chime:us-east-1:111122223333:app-instance/a/user/alice@example.com";
const CONNECT: &str = "/connect?sessionId=3056170243&userArn=arn%3Aaws%3Achime%3Aus-east-1%3A\
    111122223333%3Aapp-instance%2Fa%2Fuser%2Falice&prefetch-on=connect\
    &X-Amzn-User-Agent=chrome-104";

fn empty_hash() -> String {
    hash(b"")
}

/// A canonical request over host and date with an empty body.
fn canonical_text(method: &str, path: &str, query: &str) -> String {
    let empty = empty_hash();
    format!(
        "{method}\n{path}\n{query}\nhost:localhost:8080\nx-amz-date:20240501T171359Z\n\n\
         host;x-amz-date\n{empty}"
    )
}

fn dated(method: &str, target: &str) -> Request {
    Request::new(method, target).header("X-Amz-Date", "20240501T171359Z")
}

#[test]
fn signer_of_the_request_is_named() {
    let principal = Request::new("GET", ARN_PATH).sign().verify().unwrap();
    let expected =
        Principal { access_key_id: KEY_ID.to_owned(), credential: Credential::Permanent };
    assert_eq!(principal, expected);
}

#[test]
fn official_clients_encode_each_segment_once_more() {
    let path = ARN_PATH.replace('%', "%25");
    let text = canonical_text("GET", &path, "");
    assert!(dated("GET", ARN_PATH).sign_text("host;x-amz-date", &text).verify().is_ok());
}

#[test]
fn hand_written_signers_take_the_path_as_received() {
    let text = canonical_text("GET", ARN_PATH, "");
    assert!(dated("GET", ARN_PATH).sign_text("host;x-amz-date", &text).verify().is_ok());
}

#[test]
fn there_is_no_third_spelling_of_the_path() {
    for path in [
        "/channels/arn:aws:chime:us-east-1:111122223333:app-instance/a/channel/c".to_owned(),
        ARN_PATH.replace("%3A", ":"),
        ARN_PATH.replace('%', "%2525"),
        ARN_PATH.to_ascii_lowercase(),
    ] {
        let text = canonical_text("GET", &path, "");
        assert_mismatch(dated("GET", ARN_PATH).sign_text("host;x-amz-date", &text).verify());
    }
}

#[test]
fn authorization_parts_are_read_with_and_without_spaces_in_any_order() {
    let request = Request::new("GET", "/channels").sign();
    let value = request.get("authorization").to_owned();
    let [credential, names, signature] =
        value["AWS4-HMAC-SHA256 ".len()..].split(", ").collect::<Vec<_>>()[..]
    else {
        panic!("three parts");
    };
    for parts in [
        format!("{credential},{names},{signature}"),
        format!("{credential} ,  {names} ,\t{signature}"),
        format!(" {signature}, {credential},{names} "),
    ] {
        let request = request.clone().replace("AUTHORIZATION", format!("AWS4-HMAC-SHA256 {parts}"));
        assert!(request.verify().is_ok(), "{parts}");
    }
}

#[test]
fn host_is_taken_as_received() {
    for host in ["localhost:8080", "LOCALHOST", "chat.example.org", "10.0.0.7:443"] {
        let request = Request::new("GET", "/channels").replace("HOST", host).sign();
        assert!(request.verify().is_ok(), "{host}");
        assert_mismatch(request.replace("host", "other.example.org").verify());
    }
}

#[test]
fn authority_stands_for_the_host_under_http2() {
    let mut request = Request::new("GET", "/channels").without("host");
    request.host = Some("chat.example.org:8443".to_owned());
    let mut request = request.sign();
    assert!(request.verify().is_ok());
    assert_mismatch(request.clone().header("Host", "x").verify_without_authority());
    request.host = Some("chat.example.org".to_owned());
    assert_mismatch(request.verify());
}

impl Request {
    fn verify_without_authority(mut self) -> Result<Principal, Error> {
        self.host = None;
        self.verify()
    }
}

#[test]
fn headers_that_a_proxy_adds_need_no_signature() {
    let request = Request::new("GET", "/channels").sign();
    let request = request
        .header("x-amzn-trace-id", "Root=1-2-3")
        .header("x-amz-cf-id", "abc")
        .header("X-Forwarded-For", "10.0.0.1");
    assert!(request.verify().is_ok());
}

#[test]
fn white_space_in_headers_is_folded() {
    let text = "GET\n/\n\nhost:localhost:8080\nmy-header:a b c,d,\nx-amz-date:20240501T171359Z\n\n\
                host;my-header;x-amz-date\n"
        .to_owned()
        + &empty_hash();
    let request = dated("GET", "/")
        .header("My-Header", "  a   b \t c ")
        .header("my-header", "\td")
        .header("MY-HEADER", "");
    assert!(request.sign_text("host;my-header;x-amz-date", &text).verify().is_ok());
}

#[test]
fn stated_content_hash_is_accepted_when_right() {
    let body = r#"{"Name":"x"}"#;
    let request = Request::new("POST", "/channels")
        .header("x-amz-content-sha256", hash(body.as_bytes()))
        .body(body)
        .sign();
    assert!(request.verify().is_ok());
}

#[test]
fn signed_bearer_is_accepted() {
    let request = Request::new("GET", "/channels").header("x-amz-chime-bearer", USER_ARN).sign();
    assert!(request.verify().is_ok());
}

#[test]
fn empty_security_token_counts_as_none() {
    let request = Request::new("GET", "/channels").header("X-Amz-Security-Token", "").sign();
    assert_eq!(request.verify().unwrap().credential, Credential::Permanent);
    let request = Request::new("GET", &format!("{CONNECT}&X-Amz-Security-Token=")).presign(10);
    assert_eq!(request.verify_presigned().unwrap().credential, Credential::Permanent);
}

#[test]
fn live_session_is_accepted_in_both_forms() {
    let secret = SecretKey::new(SECRET);
    let signer = Signer::new(REGION, KEY_ID, &secret).with_session_token("live");
    let request = Request::new("GET", "/channels").sign_with(&signer);
    assert_eq!(request.verify().unwrap().credential, Credential::Session);
    let request = Request::new("GET", CONNECT).presign_with(&signer, 10);
    assert_eq!(request.verify_presigned().unwrap().credential, Credential::Session);
}

#[test]
fn query_is_signed_decoded_encoded_anew_and_sorted() {
    let cases = [
        ("b=2&a=1", "a=1&b=2"),
        ("a=2&a=1&a=10", "a=1&a=10&a=2"),
        ("scope", "scope="),
        ("scope=&&operation=search&", "operation=search&scope="),
        ("=x", "=x"),
        ("a-b=1&a=2", "a=2&a-b=1"),
        ("t=2021-07-01T01:02:03Z", "t=2021-07-01T01%3A02%3A03Z"),
        ("t=%7e%2d%41", "t=~-A"),
        ("t=a+b", "t=a%2Bb"),
        ("t=%", "t=%25"),
        ("t=%4", "t=%254"),
        ("t=%zz", "t=%25zz"),
        ("t=%ff", "t=%FF"),
        ("t=a=b", "t=a%3Db"),
        ("k%3D=v", "k%3D=v"),
        ("X-Amz-Signature=f", "X-Amz-Signature=f"),
    ];
    for (received, canonical) in cases {
        let text = canonical_text("GET", "/channels", canonical);
        let request = dated("GET", &format!("/channels?{received}"));
        let result = request.sign_text("host;x-amz-date", &text).verify();
        assert!(result.is_ok(), "{received}");
    }
}

/// Presigns the way a client does that writes `query` and signs `canonical`; `<auth>` stands for
/// the parameters of the signature in both.
fn connect(query: &str, canonical: &str) -> Request {
    let auth = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20240501%2F\
                us-east-1%2Fchime%2Faws4_request&X-Amz-Date=20240501T171359Z&X-Amz-Expires=10\
                &X-Amz-SignedHeaders=host";
    let canonical = canonical.replace("<auth>", auth);
    let empty = empty_hash();
    let text = format!("GET\n/connect\n{canonical}\nhost:localhost:8080\n\nhost\n{empty}");
    let scope = scope();
    let key = key::SigningKey::derive(&scope, &SecretKey::new(SECRET));
    let signature = key.sign(&scope, "20240501T171359Z", text.as_bytes());
    let signature = std::str::from_utf8(&signature).unwrap();
    let query = query.replace("<auth>", auth);
    Request::new("GET", &format!("/connect?{query}&X-Amz-Signature={signature}"))
}

#[test]
fn presigned_connect_is_accepted_with_unknown_parameters() {
    assert!(Request::new("GET", CONNECT).presign(10).verify_presigned().is_ok());
}

#[test]
fn presigned_query_may_leave_reserved_characters_bare() {
    // JavaScript leaves ! ' ( ) * bare in the text that it sends and signs.
    let query = "<auth>&sessionId=a!'()*b";
    assert!(connect(query, query).verify_presigned().is_ok());
    // A client may also sign the encoded form of what it sends bare.
    let encoded = "<auth>&sessionId=a%21%27%28%29%2Ab";
    assert!(connect(query, encoded).verify_presigned().is_ok());
    // The text as sent is sorted, too.
    assert!(connect("z=!&<auth>&b=(", "<auth>&b=(&z=!").verify_presigned().is_ok());
}

#[test]
fn presigned_plus_is_a_plus_or_a_space() {
    let query = "<auth>&sessionId=a+b*c";
    for signed in ["<auth>&sessionId=a%2Bb%2Ac", "<auth>&sessionId=a%20b%2Ac", query] {
        assert!(connect(query, signed).verify_presigned().is_ok(), "{signed}");
    }
    assert_mismatch(connect(query, "<auth>&sessionId=a%2520b%2Ac").verify_presigned());
}

#[test]
fn presigned_parameters_stand_in_any_order() {
    let canonical = "<auth>&sessionId=1&userArn=u";
    for query in ["userArn=u&<auth>&sessionId=1", "userArn=u&sessionId=1&<auth>"] {
        assert!(connect(query, canonical).verify_presigned().is_ok(), "{query}");
    }
}

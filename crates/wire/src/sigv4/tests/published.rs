//! The published vectors, through the signer and through the verifier.
//!
//! Left out, with the reason: vectors that clean up dot segments and double slashes, because the
//! path is signed as received here (they are shown to be refused); `post-sts-header-after`,
//! because it adds the token after signing, which no client of this API does; the presigned form
//! of requests with a body, because a presigned request here has none.

use super::super::vectors::{ACCEPTED, NORMALIZED, Vector};
use super::*;

/// 2015-08-30T12:36:00Z
const VECTOR_MS: i64 = 1_440_938_160_000;
const EXPIRES_SECONDS: u32 = 3600;
/// The suite expects the path that was decoded first; our signer encodes `%20` once more, as the
/// clients of this API do. The verifier accepts it by its second form.
const PATH_AS_RECEIVED: &str = "get-space-normalized";

/// Knows the key of the suite, and takes any token for one of its sessions.
struct SuiteRing;

impl KeyRing for SuiteRing {
    fn secret(&self, access_key_id: &str) -> Option<SecretKey> {
        (access_key_id == KEY_ID).then(|| SecretKey::new(SECRET))
    }

    fn session(&self, access_key_id: &str, _token: &str) -> Session {
        self.secret(access_key_id).map_or(Session::Unknown, Session::Live)
    }
}

fn verifier() -> Verifier {
    Verifier { service: "service", ..Verifier::new(REGION) }
}

fn request(vector: &Vector) -> Request {
    let mut request = Request::new(vector.method(), vector.target).without("host");
    for (name, value) in vector.headers {
        request = request.header(name, value);
    }
    request.body(vector.body)
}

fn signed_names(request: &Request) -> String {
    let mut names: Vec<_> =
        request.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    names.dedup();
    names.join(";")
}

fn with_published_authorization(vector: &Vector) -> Request {
    let mut request = request(vector).header("X-Amz-Date", "20150830T123600Z");
    if let Some(token) = vector.token {
        request = request.header("X-Amz-Security-Token", token);
    }
    let names = signed_names(&request);
    let signature = vector.header_signature;
    request.header(
        "Authorization",
        format!(
            "AWS4-HMAC-SHA256 Credential={KEY_ID}/20150830/us-east-1/service/aws4_request, \
             SignedHeaders={names}, Signature={signature}"
        ),
    )
}

fn with_published_query(vector: &Vector) -> Request {
    let mut request = request(vector);
    let query = match request.query.take() {
        Some(query) => format!("{query}&"),
        None => String::new(),
    };
    let token = vector.token.map_or(String::new(), |token| {
        let token = token.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
        format!("&X-Amz-Security-Token={token}")
    });
    let names = signed_names(&request).replace(';', "%3B");
    let signature = vector.query_signature;
    request.query = Some(format!(
        "{query}X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2Faws4_request\
         &X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders={names}\
         &X-Amz-Expires={EXPIRES_SECONDS}{token}&X-Amz-Signature={signature}"
    ));
    request
}

fn verify_header(vector: &Vector) -> Result<Principal, Error> {
    let request = with_published_authorization(vector);
    request.with_head(|head| verifier().verify_header(head, &request.body, VECTOR_MS, &SuiteRing))
}

fn verify_query(vector: &Vector) -> Result<Principal, Error> {
    let request = with_published_query(vector);
    request.with_head(|head| verifier().verify_presigned(head, &[], VECTOR_MS, &SuiteRing))
}

#[test]
fn published_header_signatures_are_accepted() {
    for vector in ACCEPTED {
        let principal = verify_header(vector).unwrap_or_else(|e| panic!("{}: {e}", vector.name));
        assert_eq!(principal.access_key_id, KEY_ID);
    }
}

#[test]
fn published_query_signatures_are_accepted() {
    for vector in ACCEPTED.iter().filter(|vector| vector.body.is_empty()) {
        let principal = verify_query(vector).unwrap_or_else(|e| panic!("{}: {e}", vector.name));
        assert_eq!(principal.access_key_id, KEY_ID);
    }
}

#[test]
fn signatures_over_a_cleaned_up_path_are_refused() {
    for vector in NORMALIZED {
        assert_mismatch(verify_header(vector));
        assert_mismatch(verify_query(vector));
    }
}

#[test]
fn signer_makes_the_published_signatures() {
    let secret = SecretKey::new(SECRET);
    for vector in ACCEPTED.iter().filter(|vector| vector.name != PATH_AS_RECEIVED) {
        let mut signer = Signer::new(REGION, KEY_ID, &secret);
        signer.service = "service";
        if let Some(token) = vector.token {
            signer = signer.with_session_token(token);
        }
        let request = request(vector);
        let added = request.with_head(|head| signer.sign_header(head, &request.body, VECTOR_MS));
        let (_, authorization) = added.last().unwrap();
        assert!(authorization.ends_with(vector.header_signature), "{}", vector.name);
        if vector.body.is_empty() {
            let query = request.with_head(|head| signer.presign(head, EXPIRES_SECONDS, VECTOR_MS));
            assert!(query.ends_with(vector.query_signature), "{}", vector.name);
        }
    }
}

#[test]
fn arn_in_the_path_is_encoded_once_more() {
    // The suite's own example of a path that arrives encoded: another service and region.
    let arn = "arn%3Aaws%3Alambda%3Aus-west-2%3A892717189312%3Afunction%3Amy-rusty-fun";
    let request = Request::new("POST", &format!("/2015-03-31/functions/{arn}/invocations"))
        .replace("Host", "lambda.us-east-2.amazonaws.com")
        .header("X-Amz-Date", "20210511T154045Z");
    let mut text = Vec::new();
    let names = "host;x-amz-date";
    let empty = escape::hex(&Sha256::digest(b"").into());
    let (path, query) = (canonical::PathForm::Encoded, QueryForm::Whole);
    let written =
        request.with_head(|head| canonical::write(head, names, &empty, path, query, &mut text));
    assert_eq!(written, Some(()));
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "POST\n\
         /2015-03-31/functions/arn%253Aaws%253Alambda%253Aus-west-2%253A892717189312%253Afunction\
         %253Amy-rusty-fun/invocations\n\
         \n\
         host:lambda.us-east-2.amazonaws.com\n\
         x-amz-date:20210511T154045Z\n\
         \n\
         host;x-amz-date\n\
         e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

//! Seeded round trips: what the signer signs is accepted, and refused once any part is changed.

use super::*;

const ROUNDS: u64 = 400;

/// A small generator with a fixed sequence per seed (splitmix64).
struct Sequence(u64);

impl Sequence {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Up to `count_max` of the given pieces.
    fn text(&mut self, pieces: &[&str], count_max: usize) -> String {
        (0..self.below(count_max + 1)).map(|_| pieces[self.below(pieces.len())]).collect()
    }
}

const PATH_PIECES: &[&str] = &[
    "/", "//", ".", "..", "a", "Z", "0", "%2F", "%3A", "%40", "%25", "%", "%zz", "%2f", ":", "@",
    "~", "+", "!", "'", "(", "*", ";", ",", "é", "日", "-", "_",
];
const QUERY_PIECES: &[&str] = &[
    "&",
    "&",
    "=",
    "=",
    "a",
    "b",
    "Z",
    "-",
    "~",
    "%20",
    "%2B",
    "%3D",
    "%26",
    "%",
    "%g",
    "%7e",
    ":",
    "/",
    "!",
    "*",
    "é",
    "scope",
    "X-Amz-Date",
];
const VALUE_PIECES: &[&str] =
    &[" ", "  ", "\t", "a", "b", "\"", ",", ";", "=", ":", "é", "arn:aws:chime", "0"];

fn odd_request(sequence: &mut Sequence) -> Request {
    let method = ["GET", "POST", "PUT", "DELETE"][sequence.below(4)];
    let path = format!("/{}", sequence.text(PATH_PIECES, 12));
    let query = sequence.text(QUERY_PIECES, 12);
    let mut request = Request::new(method, &path);
    request.query = (sequence.below(4) > 0).then_some(query);
    for name in ["x-amz-chime-bearer", "Content-Type", "content-type", "X-Custom-A"] {
        if sequence.below(2) == 0 {
            request = request.header(name, sequence.text(VALUE_PIECES, 8));
        }
    }
    let length = sequence.below(40);
    let body: Vec<u8> = (0..length).map(|_| sequence.next() as u8).collect();
    request.body(body)
}

/// A request and its verdict must change together with each signed part.
fn tampered(request: &Request) -> Vec<Request> {
    let change = |edit: &dyn Fn(&mut Request)| {
        let mut changed = request.clone();
        edit(&mut changed);
        changed
    };
    let mut all = vec![
        change(&|r| r.method.push('X')),
        change(&|r| r.path.push('x')),
        change(&|r| r.path.insert(0, '/')),
        change(&|r| r.query = Some(format!("{}&x", r.query.as_deref().unwrap_or("")))),
    ];
    for (index, (name, _)) in request.headers.iter().enumerate() {
        if name != "authorization" {
            all.push(change(&|r| r.headers[index].1.push(b'x')));
            let renamed = format!("{name}x");
            all.push(change(&|r| r.headers[index].0.clone_from(&renamed)));
            all.push(change(&|r| r.headers.push((name.clone(), b"x".to_vec()))));
        }
    }
    all
}

#[test]
fn odd_requests_are_accepted_as_signed_and_refused_once_changed() {
    let mut sequence = Sequence(1);
    for round in 0..ROUNDS {
        let request = odd_request(&mut sequence).sign();
        assert!(request.verify().is_ok(), "{round}: {request:?}");
        let mut body_changed = request.clone();
        body_changed.body.push(0);
        assert_mismatch(body_changed.verify());
        for changed in tampered(&request) {
            assert!(changed.verify().is_err(), "{round}: {changed:?}");
        }
    }
}

#[test]
fn odd_presigned_requests_are_accepted_as_signed_and_refused_once_changed() {
    let mut sequence = Sequence(2);
    for round in 0..ROUNDS {
        let mut request = odd_request(&mut sequence).body("");
        request.query = request.query.map(|query| query.replace("X-Amz-Date", "date"));
        let request = request.presign(10);
        assert!(request.verify_presigned().is_ok(), "{round}: {request:?}");
        for changed in tampered(&request) {
            assert!(changed.verify_presigned().is_err(), "{round}: {changed:?}");
        }
    }
}

#[test]
fn each_character_of_the_authorization_counts() {
    let request = Request::new("PUT", "/channels/c?operation=search").body("{}").sign();
    let value = request.get("authorization").to_owned();
    for index in 0..value.len() {
        for replacement in ["0", "x", ";"] {
            let mut changed = value.clone();
            changed.replace_range(index..=index, replacement);
            if changed != value {
                let verdict = request.clone().replace("authorization", &changed).verify();
                assert!(verdict.is_err(), "{changed}");
            }
        }
    }
}

#[test]
fn other_secret_is_refused() {
    let secret = SecretKey::new("another");
    let signer = Signer::new(REGION, KEY_ID, &secret);
    assert_mismatch(Request::new("GET", "/channels").sign_with(&signer).verify());
    assert_mismatch(Request::new("GET", "/connect").presign_with(&signer, 10).verify_presigned());
}

#[test]
fn no_garbage_makes_the_verifier_panic() {
    let pieces = &[
        "AWS4-HMAC-SHA256",
        " ",
        "Credential=",
        "SignedHeaders=",
        "Signature=",
        ",",
        "/",
        ";",
        "=",
        "host",
        "x-amz-date",
        "AKIDEXAMPLE/20240501/us-east-1/chime/aws4_request",
        "é",
        "%",
        "%4",
        "&",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "X-Amz-Credential=",
        "X-Amz-Expires=9",
        "X-Amz-Date=20240501T171359Z",
        "X-Amz-SignedHeaders=host",
        "X-Amz-Signature=",
    ];
    let mut sequence = Sequence(3);
    for _ in 0..5000 {
        let mut request = Request::new("GET", "/")
            .header("authorization", sequence.text(pieces, 14))
            .header("x-amz-date", "20240501T171359Z");
        request.query = Some(sequence.text(pieces, 24));
        assert!(request.verify().is_err());
        assert!(request.verify_presigned().is_err());
    }
}

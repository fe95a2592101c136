//! How answers look: the headers that all of them carry, errors, preflights, upgrades.
//!
//! Invariants: every answer carries a request id and lets any web page read it; every error has a
//! JSON body and names its exception; an answer without a body has no Content-Type. Names are in
//! lower case here and leave the server in title case (see `http`).

use bytes::Bytes;
use hyper::header::{
    self, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{HeaderMap, Response, StatusCode};
use store::Entropy;
use wire::{Error, ErrorCode};

use crate::http::Body;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("x-amz-retry-after");
const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");

const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const WEBSOCKET_VERSION: HeaderValue = HeaderValue::from_static("13");
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS");
/// What a web page may read beside the body; with `date` it can mend a wrong clock.
const EXPOSED: HeaderValue = HeaderValue::from_static("x-amzn-errortype, x-amzn-requestid, date");
/// Every path with an ARN has its own preflight, so that browsers should keep them for a day.
const PREFLIGHT_AGE_S: HeaderValue = HeaderValue::from_static("86400");
/// When a client that was told to come back should do so.
const RETRY_AFTER_VALUES: (HeaderValue, HeaderValue) =
    (HeaderValue::from_static("1"), HeaderValue::from_static("1000"));

/// The id of one request, in the answer and in the log. Has the form of a UUID.
pub(crate) struct RequestId(String);

impl RequestId {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        // Version 4, variant 1: what parsers of UUIDs expect of a random one.
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
        let mut text = String::with_capacity(36);
        for (at, byte) in bytes.into_iter().enumerate() {
            if [4, 6, 8, 10].contains(&at) {
                text.push('-');
            }
            text.push(digit(byte >> 4));
            text.push(digit(byte & 15));
        }
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns an answer with a status and a JSON body, which may be empty.
pub(crate) fn json(status: u16, body: Vec<u8>) -> Response<Body> {
    let is_empty = body.is_empty();
    let mut response = Response::new(Body::new(Bytes::from(body)));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !is_empty {
        response.headers_mut().insert(CONTENT_TYPE, JSON);
    }
    response
}

/// Returns the answer for an error; `android` is whether the official SDK of that name asks.
pub(crate) fn error(error: &Error, android: bool) -> Response<Body> {
    let mut response = json(error.code().status(), error.to_body(android));
    let headers = response.headers_mut();
    headers.insert(ERROR_TYPE, HeaderValue::from_static(error.code().exception()));
    match error.code() {
        ErrorCode::Throttled | ErrorCode::ServiceUnavailable => {
            headers.insert(RETRY_AFTER, RETRY_AFTER_VALUES.0);
            headers.insert(RETRY_AFTER_MS, RETRY_AFTER_VALUES.1);
        }
        // The rest of such a request was not read.
        ErrorCode::RequestEntityTooLarge
        | ErrorCode::UriTooLong
        | ErrorCode::HeadersTooLarge
        | ErrorCode::RequestTimeout => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

/// Returns what a browser must hear before it sends the request itself.
pub(crate) fn preflight(asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE_S);
    if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    if asked.get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == TRUE) {
        headers.insert(ALLOW_PRIVATE_NETWORK, TRUE);
    }
    response
}

/// Returns the answer that turns the connection into a WebSocket. It names no subprotocol and no
/// extension: none is spoken.
pub(crate) fn switching_protocols(accept: &str) -> Option<Response<Body>> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
    headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(accept).ok()?);
    Some(response)
}

/// Returns the answer for a request that should have been a WebSocket handshake.
pub(crate) fn upgrade_required(android: bool) -> Response<Body> {
    let text = "this path takes WebSocket handshakes of version 13 only";
    let mut response = error(&Error::new(ErrorCode::Validation, text), android);
    *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
    headers.insert(SEC_WEBSOCKET_VERSION, WEBSOCKET_VERSION);
    response
}

/// Adds what every answer carries.
pub(crate) fn finish(mut response: Response<Body>, id: &RequestId) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    let value = HeaderValue::from_str(id.as_str());
    headers.insert(REQUEST_ID, value.expect("hex digits and dashes are a header value"));
    response
}

/// Returns whether the official Android SDK asks: it alone needs the exception in the body.
pub(crate) fn is_android(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT);
    agent.is_some_and(|agent| agent.as_bytes().starts_with(b"aws-sdk-android"))
}

#[cfg(test)]
mod tests {
    use store::SeededEntropy;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn get<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
        response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    #[test]
    fn a_preflight_echoes_what_was_asked() {
        let asked = headers(&[
            ("access-control-request-headers", "authorization,x-amz-chime-bearer"),
            ("access-control-request-private-network", "true"),
        ]);
        let response = preflight(&asked);
        assert_eq!(response.status(), 204);
        let allowed = get(&response, "access-control-allow-headers");
        assert_eq!(allowed, Some("authorization,x-amz-chime-bearer"));
        assert_eq!(get(&response, "access-control-max-age"), Some("86400"));
        assert_eq!(get(&response, "access-control-allow-private-network"), Some("true"));
        assert!(get(&response, "access-control-allow-methods").unwrap().contains("DELETE"));
        assert_eq!(get(&response, "content-type"), None);
    }

    #[test]
    fn a_preflight_allows_nothing_that_was_not_asked() {
        let response = preflight(&headers(&[]));
        assert_eq!(get(&response, "access-control-allow-headers"), None);
        assert_eq!(get(&response, "access-control-allow-private-network"), None);
    }

    #[test]
    fn errors_name_their_exception_and_every_answer_is_readable_by_pages() {
        let id = RequestId::new(&SeededEntropy::new(1));
        let response = finish(error(&Error::forbidden(), false), &id);
        assert_eq!(response.status(), 403);
        assert_eq!(get(&response, "x-amzn-errortype"), Some("ForbiddenException"));
        assert_eq!(get(&response, "content-type"), Some("application/json"));
        assert_eq!(get(&response, "access-control-allow-origin"), Some("*"));
        let exposed = get(&response, "access-control-expose-headers");
        assert_eq!(exposed, Some("x-amzn-errortype, x-amzn-requestid, date"));
        assert_eq!(get(&response, "x-amzn-requestid"), Some(id.as_str()));
    }

    #[test]
    fn clients_are_told_when_to_come_back() {
        let response = error(&Error::unavailable(), false);
        assert_eq!(get(&response, "retry-after"), Some("1"));
        assert_eq!(get(&response, "x-amz-retry-after"), Some("1000"));
        assert_eq!(get(&error(&Error::forbidden(), false), "retry-after"), None);
    }

    #[test]
    fn an_empty_body_has_no_content_type() {
        assert_eq!(get(&json(204, Vec::new()), "content-type"), None);
        assert_eq!(get(&json(201, b"{}".to_vec()), "content-type"), Some("application/json"));
    }

    #[test]
    fn request_ids_have_the_form_of_a_random_uuid() {
        let id = RequestId::new(&SeededEntropy::new(7));
        let groups: Vec<usize> = id.as_str().split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert_eq!(id.as_str().as_bytes()[14], b'4');
        assert!(b"89ab".contains(&id.as_str().as_bytes()[19]));
    }

    #[test]
    fn android_is_told_by_its_user_agent() {
        assert!(is_android(&headers(&[("user-agent", "aws-sdk-android/2.22 Linux")])));
        assert!(!is_android(&headers(&[("user-agent", "Boto3/1.44")])));
        assert!(!is_android(&headers(&[])));
    }
}

//! `/connect`: the handshake of a WebSocket session and who is let in.
//!
//! Invariant: the connection is upgraded first and judged afterwards. Clients take a refusal with
//! an HTTP status for a broken network and try for ever; a close frame with 4401 stops them.

use std::sync::Arc;

use chat::{Chat, Grant, PrefetchSort, SessionUser};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Method, Request, Response, Version};
use tokio::time::Instant;
use tungstenite::handshake::derive_accept_key;
use wire::event::EVENT_ID_CHARS;
use wire::{Error, ErrorCode};

use crate::answer;
use crate::drain::Tasks;
use crate::frame::Close;
use crate::http::{Body, Connection, Stream};
use crate::hub::{Registration, Wanted};
use crate::metrics::Metrics;
use crate::signature::Signatures;
use crate::{logging, relay, socket};

mod places;

pub(crate) use places::Places;

/// The path that clients append to the endpoint.
pub(crate) const PATH: &str = "/connect";
const USER_ARN: &str = "userArn";
const SESSION_ID: &str = "sessionId";
const SESSION_ID_CHARS_MAX: usize = 128;
const PREFETCH_ON: &str = "prefetch-on";
const PREFETCH_SORT_BY: &str = "prefetch-sort-by";
/// Beyond the service: the id of the event behind which the client wants to go on.
const RESUME_AFTER: &str = "resume-after";

/// Opens sockets.
pub(crate) struct Connect {
    pub(crate) chat: Chat,
    pub(crate) signatures: Arc<Signatures>,
    pub(crate) relay: relay::Handle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) sockets: Tasks,
    /// Where several nodes serve the users.
    pub(crate) places: Option<Arc<Places>>,
}

impl Connect {
    /// Answers a request for `PATH`; a handshake goes on in a task of its own.
    pub(crate) fn answer(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        connection: &Connection,
    ) -> Result<Response<Body>, Error> {
        if request.method() != Method::GET {
            return Err(Error::new(ErrorCode::UnknownOperation, "unknown operation"));
        }
        let android = answer::is_android(request.headers());
        let accept = accept_key(&request);
        let Some(response) = accept.and_then(|accept| answer::switching_protocols(&accept)) else {
            return Ok(answer::upgrade_required(android));
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let (parts, _) = request.into_parts();
        let (connect, place) = (self.clone(), connection.held.clone());
        let guard = self.sockets.guard();
        tokio::spawn(async move {
            let Some(session) = connect.open(upgrade, parts).await else { return };
            // What it took to let the session in is not kept as long as the session.
            tokio::spawn(async move {
                session.await;
                drop((place, guard));
            });
        });
        Ok(response)
    }

    /// Lets a socket in, or closes it. Returns what serves it to its end.
    async fn open(
        &self,
        upgrade: OnUpgrade,
        parts: Parts,
    ) -> Option<impl Future<Output = ()> + use<>> {
        // Without one the client went away before it read the answer.
        let upgraded = upgrade.await.ok()?;
        let Ok(upgraded) = upgraded.downcast::<Stream>() else {
            debug_assert!(false, "the API listener has one kind of stream");
            return None;
        };
        let stream = upgraded.io.into_inner().into_inner();
        let admitted = self.admit(&parts).await;
        let wanted = wanted(parts.uri.query().unwrap_or_default());
        drop(parts);
        let Admitted { user, user_arn, session, expiry } = match admitted {
            Ok(admitted) => admitted,
            Err(why) => {
                self.metrics.socket_refused();
                socket::refuse(stream, why).await;
                return None;
            }
        };
        let (outbox, inbox) = self.relay.outbox();
        let id = self.relay.next_socket();
        if let Some(places) = &self.places
            && let Err(why) = places.take(&user, &user_arn, id, &session).await
        {
            self.metrics.socket_refused();
            socket::refuse(stream, why).await;
            return None;
        }
        let registration = Registration { id, user, user_arn, session, outbox, wanted };
        self.relay.register(registration).await;
        let served = socket::serve(stream, &upgraded.read_buf, inbox, expiry);
        let (relay, places) = (self.relay.clone(), self.places.clone());
        Some(async move {
            served.await;
            relay.unregister(user.user, id).await;
            if let Some(places) = places {
                places.give_back(&user, id).await;
            }
        })
    }

    /// Returns who is let in, or how the socket is to be closed.
    async fn admit(&self, parts: &Parts) -> Result<Admitted, Close> {
        let grant = self.signatures.check_presigned(parts, &[]).await;
        let Grant { scope, expires_ms } = grant.map_err(|error| refused(&error))?;
        let query = parts.uri.query().unwrap_or_default();
        let user_arn = parameter(query, USER_ARN).ok_or(Close::Unauthorized)?;
        let session = parameter(query, SESSION_ID).ok_or(Close::Unauthorized)?;
        if session.is_empty() || session.chars().count() > SESSION_ID_CHARS_MAX {
            return Err(Close::Unauthorized);
        }
        match self.chat.connect(&user_arn).await {
            Ok(Some(user)) if scope.may_connect(&user) => {
                if !self.chat.admits_session(&user) {
                    return Err(Close::Throttled);
                }
                let left = expires_ms.map(|expires_ms| self.signatures.left(expires_ms));
                // What is too far away to be reckoned with never comes.
                let expiry = left.and_then(|left| Instant::now().checked_add(left));
                Ok(Admitted { user, user_arn, session, expiry })
            }
            Ok(_) => Err(Close::Unauthorized),
            Err(error) => Err(refused(&error)),
        }
    }
}

/// Who is let in.
struct Admitted {
    user: SessionUser,
    user_arn: String,
    session: String,
    /// When his credentials end.
    expiry: Option<Instant>,
}

/// Tells a client that may not connect from a server that cannot say.
fn refused(error: &Error) -> Close {
    if error.code().status() < 500 {
        tracing::debug!(error = error.code().exception(), "session refused");
        return Close::Unauthorized;
    }
    tracing::error!(error = %logging::chain(error), "cannot admit a session");
    Close::Failure
}

/// Returns the value of Sec-WebSocket-Accept, if the request is a handshake that we speak.
fn accept_key<B>(request: &Request<B>) -> Option<String> {
    let headers = request.headers();
    let is_handshake = request.version() == Version::HTTP_11
        && has_token(headers, CONNECTION.as_str(), "upgrade")
        && has_token(headers, UPGRADE.as_str(), "websocket")
        && headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_handshake)?;
    Some(derive_accept_key(key.as_bytes()))
}

fn has_token(headers: &HeaderMap, name: &str, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|it| it.trim().eq_ignore_ascii_case(token))
}

/// Returns what the client asks to be told before the events of the present. A value that means
/// nothing asks for no prefetch; an id that means nothing is told so.
fn wanted(query: &str) -> Option<Wanted> {
    let is_prefetch = parameter(query, PREFETCH_ON).is_some_and(|on| on == "connect");
    let prefetch = is_prefetch.then(|| match parameter(query, PREFETCH_SORT_BY).as_deref() {
        Some("last-message-timestamp") => PrefetchSort::LastMessageTimestamp,
        _ => PrefetchSort::Unread,
    });
    let mut names = query.split('&').map(|pair| pair.split('=').next());
    let is_resumed = names.any(|name| name == Some(RESUME_AFTER));
    let id = || parameter(query, RESUME_AFTER).filter(|id| id.len() <= EVENT_ID_CHARS);
    let resume_after = is_resumed.then(|| id().unwrap_or_default());
    let is_wanted = prefetch.is_some() || resume_after.is_some();
    is_wanted.then_some(Wanted { prefetch, resume_after })
}

/// Returns the decoded value of a parameter that stands in the query exactly once.
fn parameter(query: &str, name: &str) -> Option<String> {
    let mut values = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut values = values.by_ref().filter(|(key, _)| *key == name);
    let (_, value) = values.next()?;
    if values.next().is_some() { None } else { decode(value) }
}

/// Decodes `%XX`. A plus stays a plus: no client writes a space here.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(pairs: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(PATH);
        for (name, value) in pairs {
            request = request.header(*name, *value);
        }
        request.body(()).expect("the parts are well formed")
    }

    const HANDSHAKE: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn a_handshake_is_accepted_with_the_key_of_the_rfc() {
        let accept = accept_key(&request(&HANDSHAKE));
        assert_eq!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn anything_less_than_a_handshake_is_none() {
        for (index, (missing, _)) in HANDSHAKE.iter().enumerate() {
            let mut pairs = HANDSHAKE.to_vec();
            pairs.remove(index);
            assert_eq!(accept_key(&request(&pairs)), None, "without {missing}");
        }
        let mut pairs = HANDSHAKE;
        pairs[2].1 = "8";
        assert_eq!(accept_key(&request(&pairs)), None);
        let mut old = request(&HANDSHAKE);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(accept_key(&old), None);
    }

    #[test]
    fn prefetch_is_wanted_by_one_value_and_sorted_by_unread_unless_told() {
        let sort = |query: &str| wanted(query).and_then(|wanted| wanted.prefetch);
        let newest = "prefetch-on=connect&prefetch-sort-by=last-message-timestamp";
        assert_eq!(sort(newest), Some(PrefetchSort::LastMessageTimestamp));
        for query in ["", "&prefetch-sort-by=unread", "&prefetch-sort-by=", "&prefetch-sort-by=x"] {
            let query = format!("prefetch-on=connect{query}");
            assert_eq!(sort(&query), Some(PrefetchSort::Unread), "{query}");
        }
        for query in ["", "prefetch-sort-by=unread", "prefetch-on=", "prefetch-on=CONNECT"] {
            assert_eq!(sort(query), None, "{query}");
        }
    }

    #[test]
    fn parameters_are_decoded_once_and_stand_once() {
        let query = "sessionId=a%2Bb+c&userArn=arn%3Aaws%3Achime&x&empty=";
        assert_eq!(parameter(query, SESSION_ID).as_deref(), Some("a+b+c"));
        assert_eq!(parameter(query, USER_ARN).as_deref(), Some("arn:aws:chime"));
        assert_eq!(parameter(query, "empty").as_deref(), Some(""));
        assert_eq!(parameter(query, "missing"), None);
        assert_eq!(parameter("a=1&a=2", "a"), None);
        for broken in ["a=%", "a=%2", "a=%zz", "a=%+1", "a=%ff"] {
            assert_eq!(parameter(broken, "a"), None, "{broken}");
        }
    }
}

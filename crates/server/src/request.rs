//! A request of the API, from its head to its answer, in one function.
//!
//! Invariant: the order of refusals is the order of `Api::judge`: preflight, limits, route, too
//! many at one time, signature, then whatever the rules of the operation say. Nothing that a client
//! chose (URI, names, content) reaches the log.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use chat::{Call, Chat};
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, Uri};
use store::Entropy;
use wire::route::route;
use wire::{Error, ErrorCode, OperationId};

use crate::admission::Admission;
use crate::answer::{self, RequestId};
use crate::connect::{self, Connect};
use crate::endpoint::{Arrival, PublicEndpoint, messaging_endpoint};
use crate::failure_log::FailureLog;
use crate::http::{Body, Connection, Service};
use crate::metrics::Metrics;
use crate::refusal::{self, Bare};
use crate::signature::Signatures;
use crate::{body, logging};

/// Longest path and query.
const URI_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of header names and values.
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// What a header line has beside its name and its value: colon, space, line end.
const HEADER_LINE_BYTES: usize = 4;
/// The names of what is not an operation of the model.
const NO_OPERATION: &str = "none";
const CONNECT: &str = "Connect";
const BEARER: &str = "x-amz-chime-bearer";

/// Answers the API listener.
pub(crate) struct Api {
    pub(crate) chat: Chat,
    pub(crate) admission: Admission,
    pub(crate) signatures: Arc<Signatures>,
    pub(crate) connect: Arc<Connect>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) failures: FailureLog,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The address that the listener was bound to.
    pub(crate) listener: SocketAddr,
    /// The port of the TLS listener, when there is one.
    pub(crate) tls_port: Option<u16>,
    pub(crate) public_endpoint: Option<PublicEndpoint>,
}

/// What is known of a request beside its answer.
struct Exchange {
    id: RequestId,
    android: bool,
    /// The operation's name, for the log and the figures.
    operation: &'static str,
}

impl Service for Api {
    async fn answer(&self, request: Request<Incoming>, connection: &Connection) -> Response<Body> {
        let start = Instant::now();
        let mut exchange = Exchange {
            id: RequestId::new(&*self.entropy),
            android: answer::is_android(request.headers()),
            operation: NO_OPERATION,
        };
        let outcome = self.judge(request, connection, &mut exchange).await;
        let mut refused = None;
        let response = match outcome {
            Ok(response) => {
                let (operation, request_id) = (exchange.operation, exchange.id.as_str());
                let status = response.status().as_u16();
                tracing::debug!(operation, request_id, status, "answered");
                response
            }
            Err(error) => {
                self.log(&exchange, &error);
                refused = Some(error.code());
                answer::error(&error, exchange.android)
            }
        };
        self.metrics.answered(exchange.operation, response.status().as_u16(), start.elapsed());
        if let Some(code) = refused {
            self.admission.rest(code, &connection.turn).await;
        }
        answer::finish(response, &exchange.id)
    }

    fn refuse(&self, bare: &Bare<'_>) -> Option<Vec<u8>> {
        Some(refusal::dress(bare, &RequestId::new(&*self.entropy)))
    }
}

impl Api {
    async fn judge(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Error> {
        if request.method() == Method::OPTIONS {
            return Ok(answer::preflight(request.headers()));
        }
        check_head(request.uri(), request.headers())?;
        if request.uri().path() == connect::PATH {
            exchange.operation = CONNECT;
            return self.connect.answer(request, connection);
        }
        let (parts, body) = request.into_parts();
        let body = body::read(body, self.admission.room()).await?;
        let route = route(parts.method.as_str(), parts.uri.path(), parts.uri.query())?;
        exchange.operation = route.operation.name();
        let _place = self.admission.admit()?;
        let grant = self.signatures.check(&parts, &body).await?;
        let endpoint = match route.operation {
            OperationId::GetMessagingSessionEndpoint => self.endpoint(&parts, connection),
            // Nobody else tells it.
            _ => String::new(),
        };
        let call = Call {
            route,
            scope: grant.scope,
            raw_query: parts.uri.query().map(str::to_owned),
            body,
            bearer: header(&parts, BEARER),
            endpoint,
            request_id: exchange.id.as_str().to_owned(),
        };
        let answer = self.chat.call(call).await?;
        Ok(answer::json(answer.status, answer.body))
    }

    /// Writes a failure of ours as an error with all that led to it, and a refusal for whoever
    /// debugs. What cannot be served for the moment comes in crowds, so not each has a line.
    fn log(&self, exchange: &Exchange, error: &Error) {
        let (operation, request_id) = (exchange.operation, exchange.id.as_str());
        let status = error.code().status();
        if status < 500 {
            let exception = error.code().exception();
            tracing::debug!(operation, request_id, status, error = exception, "refused");
            return;
        }
        let chain = logging::chain(error);
        if error.code() != ErrorCode::ServiceUnavailable {
            tracing::error!(operation, request_id, status, error = %chain, "failed");
        } else if let Some(untold) = self.failures.admit(&chain, Instant::now()) {
            tracing::error!(operation, request_id, status, untold, error = %chain, "failed");
        } else {
            tracing::debug!(operation, request_id, status, error = %chain, "failed");
        }
    }

    fn endpoint(&self, parts: &Parts, connection: &Connection) -> String {
        let arrival = Arrival {
            host: parts.headers.get(HOST).and_then(|host| host.to_str().ok()),
            listener: self.listener,
            local: connection.local,
            tls_port: self.tls_port,
        };
        messaging_endpoint(self.public_endpoint.as_ref(), &arrival)
    }
}

/// Returns a header as text, as it is signed: given more than once its values are joined. What is
/// not text, or several ARNs, is kept in a form that names nobody.
fn header(parts: &Parts, name: &str) -> Option<String> {
    let values = parts.headers.get_all(name).into_iter();
    let texts = values.map(|value| match value.to_str() {
        Ok(text) => Cow::from(text),
        Err(_) => String::from_utf8_lossy(value.as_bytes()),
    });
    texts.reduce(|given, more| format!("{given},{more}").into()).map(Cow::into_owned)
}

fn check_head(uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
    let uri_bytes = uri.path_and_query().map_or(0, |it| it.as_str().len());
    if uri_bytes > URI_BYTES_MAX {
        let text = format!("the URI is longer than {URI_BYTES_MAX} bytes");
        return Err(Error::new(ErrorCode::UriTooLong, text));
    }
    let line = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        name.as_str().len() + value.len() + HEADER_LINE_BYTES
    };
    if headers.iter().map(line).sum::<usize>() > HEADER_BYTES_MAX {
        let text = format!("the headers are longer than {HEADER_BYTES_MAX} bytes");
        return Err(Error::new(ErrorCode::HeadersTooLarge, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn code(uri: &str, headers: &HeaderMap) -> Option<ErrorCode> {
        check_head(&uri.parse().unwrap(), headers).err().map(|error| error.code())
    }

    #[test]
    fn the_uri_is_limited_to_16_kib() {
        let longest = format!("/{}", "a".repeat(URI_BYTES_MAX - 1));
        assert_eq!(code(&longest, &HeaderMap::new()), None);
        let longer = format!("{longest}?");
        assert_eq!(code(&longer, &HeaderMap::new()), Some(ErrorCode::UriTooLong));
    }

    #[test]
    fn the_headers_are_limited_to_32_kib_together() {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&"a".repeat(HEADER_BYTES_MAX / 2 - 5)).unwrap();
        headers.append(HeaderName::from_static("a"), value.clone());
        headers.append(HeaderName::from_static("a"), value);
        assert_eq!(code("/", &headers), None);
        headers.append(HeaderName::from_static("b"), HeaderValue::from_static(""));
        assert_eq!(code("/", &headers), Some(ErrorCode::HeadersTooLarge));
    }
}

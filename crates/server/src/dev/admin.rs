//! The admin listener of `dev`: its own pages, and below them those of `serve`.
//!
//! Invariant: a wrong request changes nothing and is told what is wrong with it.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use wire::time::Timestamp;

use super::clock::{Pace, parse_duration};
use super::{AdvanceError, Dev};
use crate::admin::{Admin, PLAIN};
use crate::admission::Room;
use crate::drain::Drain;
use crate::http::{Body, Connection, Service};
use crate::{body, logging};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PEM: HeaderValue = HeaderValue::from_static("application/x-pem-file");

/// Answers probes, scrapers and tests.
pub(crate) struct DevAdmin {
    pub(crate) dev: Arc<Dev>,
    pub(crate) drain: Drain,
    /// What clients are to trust, in PEM.
    pub(crate) authority: Option<String>,
}

/// The body of `/clock`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance: String,
    /// Whether it stands still from then on; left out, nothing changes.
    then: Option<Pace>,
}

impl Service for DevAdmin {
    async fn answer(&self, request: Request<Incoming>, connection: &Connection) -> Response<Body> {
        let is_post = request.method() == Method::POST;
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match (request.uri().path(), &self.authority) {
            ("/clock" | "/reset", _) if !is_post => {
                let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "POST only");
                refused.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
                refused
            }
            ("/clock", _) => self.clock(request).await.unwrap_or_else(|refusal| refusal),
            ("/reset", _) => self.reset().await,
            ("/tls-ca.pem", Some(pem)) if is_read => page(StatusCode::OK, PEM, pem.clone()),
            _ => {
                let stack = self.dev.stack();
                let (chat, metrics) = (stack.chat.clone(), stack.metrics.clone());
                let below = Admin { chat, metrics, drain: self.drain.clone() };
                below.answer(request, connection).await
            }
        }
    }
}

impl DevAdmin {
    async fn clock(&self, request: Request<Incoming>) -> Result<Response<Body>, Response<Body>> {
        let wrong = |problem: String| plain(StatusCode::BAD_REQUEST, &problem);
        let bytes = body::read(request.into_body(), Room::alone()).await;
        let bytes = bytes.map_err(|error| wrong(error.to_string()))?;
        let asked: Advance = serde_json::from_slice(&bytes)
            .map_err(|_| wrong(r#"the body is not like {"advance": "31d"}"#.to_owned()))?;
        let by_ms = parse_duration(&asked.advance).map_err(wrong)?;
        match self.dev.advance(by_ms, asked.then).await {
            Ok(now_ms) => Ok(now(now_ms)),
            Err(AdvanceError::TooFar(problem)) => Err(wrong(problem)),
            Err(AdvanceError::Failed(error)) => {
                let chain = logging::chain(&error);
                tracing::error!(error = %chain, "what is due could not be done");
                let text = "the clock was advanced, and what is due could not be done: see the log";
                Err(plain(StatusCode::INTERNAL_SERVER_ERROR, text))
            }
        }
    }

    async fn reset(&self) -> Response<Body> {
        match self.dev.reset().await {
            Ok(now_ms) => now(now_ms),
            Err(error) => {
                let chain = logging::chain(&error);
                tracing::error!(error = %chain, "the store could not be emptied");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "not reset: see the log")
            }
        }
    }
}

/// Tells what the clock shows.
fn now(now_ms: u64) -> Response<Body> {
    let iso = Timestamp::from_ms(i64::try_from(now_ms).unwrap_or(i64::MAX)).to_iso();
    page(StatusCode::OK, JSON, serde_json::json!({ "now": iso }).to_string())
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    page(status, PLAIN, format!("{text}\n"))
}

fn page(status: StatusCode, content_type: HeaderValue, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

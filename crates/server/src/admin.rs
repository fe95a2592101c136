//! The admin listener: is the process alive, is it ready, what has it done.

use std::sync::Arc;

use chat::Chat;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::drain::Drain;
use crate::http::{Body, Connection, Service};
use crate::metrics::Metrics;

/// Connections of probes and scrapers.
pub(crate) const CONNECTIONS_MAX: usize = 64;
pub(crate) const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The type that Prometheus expects of this format.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Answers probes and scrapers.
pub(crate) struct Admin {
    pub(crate) chat: Chat,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) drain: Drain,
}

impl Admin {
    async fn get(&self, path: &str) -> Option<(StatusCode, HeaderValue, String)> {
        Some(match path {
            "/healthz" => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
            "/readyz" if self.drain.is_started() => {
                (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "draining\n".to_owned())
            }
            "/readyz" => (StatusCode::OK, PLAIN, "ready\n".to_owned()),
            "/metrics" => {
                self.metrics.look_at_backlog(&self.chat).await;
                (StatusCode::OK, OPEN_METRICS, self.metrics.to_text())
            }
            _ => return None,
        })
    }
}

impl Service for Admin {
    async fn answer(&self, request: Request<Incoming>, _: &Connection) -> Response<Body> {
        let found = self.get(request.uri().path()).await;
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let is_refused = found.is_some() && !is_read;
        let (status, content_type, text) = match found {
            Some(_) if is_refused => {
                (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "GET only\n".to_owned())
            }
            Some(page) => page,
            None => (StatusCode::NOT_FOUND, PLAIN, "not found\n".to_owned()),
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        if is_refused {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn readiness_ends_with_the_drain_and_health_does_not() {
        let (trigger, drain) = Drain::new();
        let (chat, _) = testing::chat().await;
        let admin = Admin { chat, metrics: Arc::new(Metrics::new()), drain };
        let status = async |path| admin.get(path).await.map(|(status, ..)| status.as_u16());
        assert_eq!(status("/readyz").await, Some(200));
        trigger.start();
        assert_eq!(status("/readyz").await, Some(503));
        assert_eq!(status("/healthz").await, Some(200));
        assert_eq!(status("/metrics").await, Some(200));
        assert_eq!(status("/").await, None);
    }
}

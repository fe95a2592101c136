//! The admin listener: is the process alive, is it ready, what has it done.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::drain::Drain;
use crate::http::{Body, Connection, Service};
use crate::metrics::Metrics;

/// Connections of probes and scrapers.
pub(crate) const CONNECTIONS_MAX: usize = 64;
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The type that Prometheus expects of this format.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Answers probes and scrapers.
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) drain: Drain,
}

impl Admin {
    fn get(&self, path: &str) -> (StatusCode, HeaderValue, String) {
        match path {
            "/healthz" => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
            "/readyz" if self.drain.is_started() => {
                (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "draining\n".to_owned())
            }
            "/readyz" => (StatusCode::OK, PLAIN, "ready\n".to_owned()),
            "/metrics" => (StatusCode::OK, OPEN_METRICS, self.metrics.to_text()),
            _ => (StatusCode::NOT_FOUND, PLAIN, "not found\n".to_owned()),
        }
    }
}

impl Service for Admin {
    async fn answer(&self, request: Request<Incoming>, _: &Connection) -> Response<Body> {
        let (status, content_type, text) = match *request.method() {
            Method::GET | Method::HEAD => self.get(request.uri().path()),
            _ => (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "GET only\n".to_owned()),
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_ends_with_the_drain_and_health_does_not() {
        let (trigger, drain) = Drain::new();
        let admin = Admin { metrics: Arc::new(Metrics::new()), drain };
        assert_eq!(admin.get("/readyz").0, 200);
        trigger.start();
        assert_eq!(admin.get("/readyz").0, 503);
        assert_eq!(admin.get("/healthz").0, 200);
        assert_eq!(admin.get("/metrics").0, 200);
        assert_eq!(admin.get("/").0, 404);
    }
}

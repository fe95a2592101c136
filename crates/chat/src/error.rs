//! How a rule refuses: one wire error, made by a small function for each kind of refusal.
//!
//! Invariant: `?` turns a store that is away into 503 everywhere, and nothing else is turned into
//! an answer by accident.

use std::fmt;

use wire::error::text;

/// What a rule answers instead of its output.
#[derive(Debug)]
pub(crate) struct Error(wire::Error);

/// The result of a rule.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The resource is not there for this caller, or his role does not allow it.
    pub(crate) fn forbidden() -> Self {
        Self(wire::Error::forbidden())
    }

    /// The credentials of the request do not allow it, whatever the role of its bearer.
    pub(crate) fn unauthorized_action() -> Self {
        Self(wire::Error::forbidden_with(text::AUTHORIZATION_FAILED))
    }

    /// A user or bot named in the input is not a live one of the app instance.
    pub(crate) fn unknown_member() -> Self {
        Self(wire::Error::forbidden_with(text::BAD_MEMBER))
    }

    /// The bearer is missing, or not a live user or bot.
    pub(crate) fn unauthorized() -> Self {
        Self(wire::Error::unauthorized())
    }

    /// A sub-object that the caller might have seen is not there.
    pub(crate) fn not_found(noun: &str) -> Self {
        Self(wire::Error::not_found(format!("The {noun} was not found")))
    }

    /// The request contradicts what is there.
    pub(crate) fn conflict(message: &'static str) -> Self {
        Self(wire::Error::conflict(message))
    }

    /// The request is well formed and still makes no sense.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self(wire::Error::bad_request(message.into()))
    }

    /// A count quota is used up.
    pub(crate) fn limit_exceeded(quota: Option<(i64, &'static str)>) -> Self {
        let message = quota.map_or_else(
            || "A limit was exceeded".to_owned(),
            |(max, noun)| format!("The limit of {max} {noun} was exceeded"),
        );
        Self(wire::Error::limit_exceeded(message))
    }

    /// A stored row cannot be read.
    pub(crate) fn corrupt(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(wire::Error::service_failure().with_source(cause))
    }

    /// Whether it says nothing of the request: the store is away or a row cannot be read.
    pub(crate) fn is_of_the_store(&self) -> bool {
        self.0.code().status() >= 500
    }

    pub(crate) fn into_wire(self) -> wire::Error {
        self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<wire::Error> for Error {
    fn from(error: wire::Error) -> Self {
        Self(error)
    }
}

impl From<store::Unavailable> for Error {
    fn from(cause: store::Unavailable) -> Self {
        Self(wire::Error::unavailable().with_source(cause))
    }
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> Self {
        error.0
    }
}

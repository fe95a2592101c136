//! The one error that reaches a client, and how each kind of it looks on the wire.
//!
//! Invariant: the pairing of exception name, `Code` and status stands here and nowhere else, and a
//! message never carries its source: the source is for the log, the message for the client.
//! Modelled errors answer `{"Code","Message"}`; front errors (signature, route, size) answer
//! `{"message"}` alone, because a `Code` there stops old clients from renewing their credentials.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// Texts of the real service that clients and users know by heart.
pub mod text {
    /// The actor's role does not allow the operation.
    pub const NO_ACCESS: &str = "You do not have sufficient access to perform this action";
    /// The acting user or bot is missing, malformed, unknown or deleted.
    pub const BAD_BEARER: &str =
        "An invalid app instance user ARN was supplied for the x-amz-chime-bearer HTTP header.";
    /// A user or bot that the input names is of no use.
    pub const BAD_MEMBER: &str =
        "An invalid app instance user ARN was supplied for the input parameter.";
    /// The policy of the credentials does not allow the action.
    pub const AUTHORIZATION_FAILED: &str = "AWS authorization failed";
    /// The content of a message is over its limit.
    pub const MESSAGE_TOO_LONG: &str = "Channel Messages size limit exceeded";
    /// The temporary credentials are past their end.
    pub const TOKEN_EXPIRED: &str = "The security token included in the request is expired";
    /// The access key is unknown, or the token does not belong to it.
    pub const TOKEN_INVALID: &str = "The security token included in the request is invalid.";
    /// The request is not signed at all.
    pub const TOKEN_MISSING: &str = "Missing Authentication Token";
    /// The signature is well formed and not the one that we compute.
    pub const SIGNATURE_MISMATCH: &str = "The request signature we calculated does not match the \
        signature you provided. Check your AWS Secret Access Key and signing method. Consult the \
        service documentation for details.";
    /// Something failed that the client cannot mend.
    pub const SERVICE_FAILURE: &str = "The service encountered an unexpected error.";
    /// The request may succeed when it is sent again.
    pub const SERVICE_UNAVAILABLE: &str = "The service is currently unavailable. Try again later.";
}

/// What kind of error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    // Modelled: an operation declares which of these it may answer.
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    ResourceLimitExceeded,
    Unauthorized,
    Throttled,
    ServiceFailure,
    ServiceUnavailable,
    // Front: answered before or beside the operation, never declared by one.
    Validation,
    Serialization,
    UnknownOperation,
    MissingAuthenticationToken,
    IncompleteSignature,
    UnrecognizedClient,
    InvalidSignature,
    ExpiredToken,
    RequestEntityTooLarge,
    UriTooLong,
    HeadersTooLarge,
    RequestTimeout,
}

impl ErrorCode {
    /// Returns the HTTP status.
    pub const fn status(self) -> u16 {
        self.row().0
    }

    /// Returns the value of `x-amzn-ErrorType`, by which clients choose the exception class.
    pub const fn exception(self) -> &'static str {
        self.row().1
    }

    /// Returns the `Code` member of the body; front errors have none.
    pub const fn wire_code(self) -> Option<&'static str> {
        self.row().2
    }

    /// The table: status, exception, `Code`.
    const fn row(self) -> (u16, &'static str, Option<&'static str>) {
        match self {
            Self::BadRequest => (400, "BadRequestException", Some("BadRequest")),
            Self::Conflict => (409, "ConflictException", Some("Conflict")),
            Self::Forbidden => (403, "ForbiddenException", Some("Forbidden")),
            Self::NotFound => (404, "NotFoundException", Some("NotFound")),
            Self::ResourceLimitExceeded => {
                (400, "ResourceLimitExceededException", Some("ResourceLimitExceeded"))
            }
            Self::Unauthorized => (401, "UnauthorizedClientException", Some("Unauthorized")),
            Self::Throttled => (429, "ThrottledClientException", Some("Throttled")),
            Self::ServiceFailure => (500, "ServiceFailureException", Some("ServiceFailure")),
            Self::ServiceUnavailable => {
                (503, "ServiceUnavailableException", Some("ServiceUnavailable"))
            }
            Self::Validation => (400, "ValidationException", None),
            Self::Serialization => (400, "SerializationException", None),
            Self::UnknownOperation => (404, "UnknownOperationException", None),
            Self::MissingAuthenticationToken => (403, "MissingAuthenticationTokenException", None),
            Self::IncompleteSignature => (403, "IncompleteSignatureException", None),
            Self::UnrecognizedClient => (403, "UnrecognizedClientException", None),
            Self::InvalidSignature => (403, "InvalidSignatureException", None),
            Self::ExpiredToken => (403, "ExpiredTokenException", None),
            Self::RequestEntityTooLarge => (413, "RequestEntityTooLargeException", None),
            Self::UriTooLong => (414, "RequestUriTooLongException", None),
            Self::HeadersTooLarge => (431, "RequestHeaderFieldsTooLargeException", None),
            Self::RequestTimeout => (408, "RequestTimeoutException", None),
        }
    }
}

/// An error as a client sees it, with what led to it for the log. As small as a pointer, so that
/// the `Result`s of the request path stay small.
pub struct Error(Box<Inner>);

struct Inner {
    code: ErrorCode,
    message: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error of any code.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { code, message: message.into(), source: None }))
    }

    /// The input breaks a rule of the operation.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    /// The state of a resource does not allow the change.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Conflict, message)
    }

    /// The actor may not do this, or the resource does not exist for the actor.
    pub fn forbidden() -> Self {
        Self::new(ErrorCode::Forbidden, text::NO_ACCESS)
    }

    /// Like `forbidden`, with another text.
    pub fn forbidden_with(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    /// The named part of a resource does not exist.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// A count quota is used up.
    pub fn limit_exceeded(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::ResourceLimitExceeded, message)
    }

    /// The bearer is not a live user or bot.
    pub fn unauthorized() -> Self {
        Self::new(ErrorCode::Unauthorized, text::BAD_BEARER)
    }

    /// A defect or a broken part of the server; add what happened with `with_source`.
    pub fn service_failure() -> Self {
        Self::new(ErrorCode::ServiceFailure, text::SERVICE_FAILURE)
    }

    /// A passing condition; add what happened with `with_source`.
    pub fn unavailable() -> Self {
        Self::new(ErrorCode::ServiceUnavailable, text::SERVICE_UNAVAILABLE)
    }

    /// Keeps what led to this error, for the log only.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Returns the kind of error.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// Returns the text for the client.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the body of the answer. `android` adds `__type`: that SDK looks for the exception
    /// in a case-sensitive header map, does not find it there, and then reads this member.
    pub fn to_body(&self, android: bool) -> Vec<u8> {
        let message = serde_json::Value::from(self.message());
        let mut body = match self.0.code.wire_code() {
            Some(code) => format!(r#"{{"Code":"{code}","Message":{message}"#),
            None => format!(r#"{{"message":{message}"#),
        };
        if android {
            body.push_str(r#","__type":""#);
            body.push_str(self.0.code.exception());
            body.push('"');
        }
        body.push('}');
        body.into_bytes()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALL: [ErrorCode; 21] = [
        ErrorCode::BadRequest,
        ErrorCode::Conflict,
        ErrorCode::Forbidden,
        ErrorCode::NotFound,
        ErrorCode::ResourceLimitExceeded,
        ErrorCode::Unauthorized,
        ErrorCode::Throttled,
        ErrorCode::ServiceFailure,
        ErrorCode::ServiceUnavailable,
        ErrorCode::Validation,
        ErrorCode::Serialization,
        ErrorCode::UnknownOperation,
        ErrorCode::MissingAuthenticationToken,
        ErrorCode::IncompleteSignature,
        ErrorCode::UnrecognizedClient,
        ErrorCode::InvalidSignature,
        ErrorCode::ExpiredToken,
        ErrorCode::RequestEntityTooLarge,
        ErrorCode::UriTooLong,
        ErrorCode::HeadersTooLarge,
        ErrorCode::RequestTimeout,
    ];

    fn body(error: &Error, android: bool) -> String {
        String::from_utf8(error.to_body(android)).unwrap()
    }

    #[test]
    fn modelled_errors_carry_code_and_message() {
        let error = Error::forbidden();
        assert_eq!(
            body(&error, false),
            r#"{"Code":"Forbidden","Message":"You do not have sufficient access to perform this action"}"#
        );
        assert_eq!(error.code().status(), 403);
        assert_eq!(error.code().exception(), "ForbiddenException");
    }

    #[test]
    fn front_errors_carry_only_a_lower_case_message() {
        let error = Error::new(ErrorCode::ExpiredToken, text::TOKEN_EXPIRED);
        assert_eq!(
            body(&error, false),
            r#"{"message":"The security token included in the request is expired"}"#
        );
    }

    #[test]
    fn android_reads_the_exception_from_the_body() {
        let error = Error::not_found("gone");
        assert_eq!(
            body(&error, true),
            r#"{"Code":"NotFound","Message":"gone","__type":"NotFoundException"}"#
        );
        let error = Error::new(ErrorCode::UnknownOperation, "no");
        assert_eq!(body(&error, true), r#"{"message":"no","__type":"UnknownOperationException"}"#);
    }

    #[test]
    fn messages_are_escaped_as_json() {
        assert_eq!(
            body(&Error::bad_request("a \"b\"\n\u{0}é"), false),
            "{\"Code\":\"BadRequest\",\"Message\":\"a \\\"b\\\"\\n\\u0000é\"}"
        );
    }

    #[test]
    fn exceptions_are_distinct_and_front_codes_have_no_wire_code() {
        let names: BTreeSet<_> = ALL.iter().map(|code| code.exception()).collect();
        assert_eq!(names.len(), ALL.len());
        let modelled = ALL.iter().filter(|code| code.wire_code().is_some()).count();
        assert_eq!(modelled, 9);
        for code in ALL {
            assert!(code.exception().ends_with("Exception"));
            assert!((400..=503).contains(&code.status()));
        }
    }

    #[test]
    fn display_leaves_the_source_to_the_chain() {
        let error = Error::unavailable().with_source("disk full");
        assert_eq!(error.to_string(), text::SERVICE_UNAVAILABLE);
        assert_eq!(StdError::source(&error).unwrap().to_string(), "disk full");
        assert!(!body(&error, true).contains("disk"));
        assert!(StdError::source(&Error::forbidden()).is_none());
    }

    #[test]
    fn error_is_one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
    }
}

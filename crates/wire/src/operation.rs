//! One operation of the API as a type: where it is bound, what goes in and out, how it may fail.
//!
//! Every operation is a unit struct in `identity` or `messaging` that implements `Operation`.
//! Invariant: only generated code implements it, so the facts of an operation are those of model/.

use crate::error::ErrorCode;
use crate::shape::Shape;

pub use crate::generated::OperationId;

/// An HTTP method that an operation is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Method {
    /// Returns the method as it stands in a request line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// Returns the method of a request line; `None` when no operation is bound to it.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "GET" => Some(Self::Get),
            "POST" => Some(Self::Post),
            "PUT" => Some(Self::Put),
            "DELETE" => Some(Self::Delete),
            _ => None,
        }
    }
}

/// Whether an operation reads its actor from the bearer header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bearer {
    None,
    Optional,
    Required,
}

/// The namespace that an operation belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Identity,
    Messaging,
}

/// The facts of one operation.
pub trait Operation: Send + Sync + 'static {
    const ID: OperationId;
    const NAME: &'static str;
    const SERVICE: Service;
    const METHOD: Method;
    /// The path with its `{labels}`, and behind a `?` the query that tells it from its neighbours.
    const URI: &'static str;
    /// The status of success.
    const STATUS: u16;
    /// The errors that a handler may answer.
    const ERRORS: &'static [ErrorCode];
    const BEARER: Bearer;
    type Input: Shape + Default + Send + Sync;
    type Output: Shape + Send;
}

/// Makes the unit struct of one operation.
macro_rules! operation {
    (
        $service:ident $name:ident($input:ty) -> $output:ty;
        $method:ident $uri:literal, $status:literal, bearer $bearer:ident;
        errors $($error:ident)*;
    ) => {
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl $crate::operation::Operation for $name {
            const ID: $crate::operation::OperationId = $crate::operation::OperationId::$name;
            const NAME: &'static str = stringify!($name);
            const SERVICE: $crate::operation::Service = $crate::operation::Service::$service;
            const METHOD: $crate::operation::Method = $crate::operation::Method::$method;
            const URI: &'static str = $uri;
            const STATUS: u16 = $status;
            const ERRORS: &'static [$crate::error::ErrorCode] =
                &[$($crate::error::ErrorCode::$error),*];
            const BEARER: $crate::operation::Bearer = $crate::operation::Bearer::$bearer;
            type Input = $input;
            type Output = $output;
        }
    };
}

/// Makes the enum that names every operation.
macro_rules! operation_ids {
    ($($name:ident,)*) => {
        /// An operation as a value: what a route leads to, what logs and metrics count by.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum OperationId {
            $($name,)*
        }

        impl OperationId {
            /// All operations, by service and name.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the name that the API gives the operation.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

pub(crate) use {operation, operation_ids};

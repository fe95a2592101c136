//! The wire contract: what a request and an answer look like, byte for byte.
//!
//! Invariant: nothing here does IO, awaits, or reads a clock; every function is a pure function
//! of its arguments. The operations and shapes in `generated/` come from the facts in `model/`.

pub mod arn;
mod constraint;
pub mod error;
pub mod event;
mod generated;
pub mod operation;
mod percent;
pub mod rest_json;
pub mod route;
#[cfg(test)]
mod seeded;
pub mod shape;
pub mod sigv4;
pub mod time;
pub mod token;

pub use error::{Error, ErrorCode};
pub use generated::{identity, messaging};
pub use operation::{Operation, OperationId};

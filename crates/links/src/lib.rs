//! Everything that Campanile calls: other services, each behind a small type of its own.
//!
//! Invariant: a link knows nothing of the store or of the rules; it carries bytes, says whether the
//! other side is there, and never holds up whoever uses it.
#![deny(missing_docs)]

pub mod nats;

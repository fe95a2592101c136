//! An ordered key-value store with atomic, checked batches.
//!
//! It knows homes, keys, rows and events, and nothing about chat. `engine` is the contract that
//! every engine keeps and `conformance` its executable form; `group` is the judgement that the
//! engines share; `txn` is what callers use. Invariant: within a home, stamps, versions and the
//! events in the sink follow one order, the order of the commits.
#![deny(missing_docs)]

pub mod clock;
pub mod codec;
pub mod engine;
pub mod entropy;
pub mod figures;
pub mod key;
pub mod memory;
pub mod moving;
pub mod postgres;
pub mod sqlite;
pub mod table;
pub mod txn;

mod cache;
mod group;
mod hash;
mod id;
mod publish;
mod queue;
mod range;
mod view;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

pub use clock::{Clock, MockClock, SystemClock};
pub use engine::{
    Add, Audience, Batch, BoxFuture, Check, Committed, Engine, Entry, Event, Failure, Floor,
    GroupNumber, HomeRow, Options, Priority, Put, Sink, Unavailable,
};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use figures::Figures;
pub use key::{Direction, Key, KeyBytes, Parts, Range, Stamp, Uid, Version};
pub use table::{Index, Kind, Record, Table};
pub use txn::{Store, Txn, View};

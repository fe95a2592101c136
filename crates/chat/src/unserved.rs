//! Counts of what was accepted, or asked for, and needs a service that is not connected: Lex, push,
//! Kinesis.
//!
//! Invariant: each is counted once, when the request that asks for it is settled, and leaves one
//! line in the log that says nothing of what was asked.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Chat;

/// What was not served, since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Unserved {
    bot_invocations: AtomicU64,
    endpoints: AtomicU64,
    streams: AtomicU64,
}

impl Unserved {
    /// A message was sent that calls this many bots.
    pub(crate) fn bots_invoked(&self, bot_count: u64) {
        if bot_count > 0 {
            self.bot_invocations.fetch_add(bot_count, Ordering::Relaxed);
            tracing::info!(
                bot_count,
                "bots that a message calls do not answer: Lex is not connected"
            );
        }
    }

    /// A device was registered.
    pub(crate) fn endpoint_registered(&self) {
        self.endpoints.fetch_add(1, Ordering::Relaxed);
        tracing::info!("a device was registered and will get nothing: push is not connected");
    }

    /// A stream was asked for.
    pub(crate) fn stream_refused(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
        tracing::info!("streaming configurations were refused: Kinesis is not connected");
    }
}

impl Chat {
    /// Returns how many bots were called by messages and could not answer. A bot that hears every
    /// message of its channel is counted where a message mentions it or is for it alone.
    #[must_use]
    pub fn failed_bot_invocation_count(&self) -> u64 {
        self.0.place.unserved.bot_invocations.load(Ordering::Relaxed)
    }

    /// Returns how many devices were registered to which nothing is pushed.
    #[must_use]
    pub fn undeliverable_endpoint_count(&self) -> u64 {
        self.0.place.unserved.endpoints.load(Ordering::Relaxed)
    }

    /// Returns how many requests for a stream were refused.
    #[must_use]
    pub fn refused_stream_count(&self) -> u64 {
        self.0.place.unserved.streams.load(Ordering::Relaxed)
    }
}

//! Time as a parameter.
//!
//! `SystemClock` is the only reader of the machine's clock; every rule and engine takes a `Clock`,
//! so that a test decides what time it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Returns the milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
}

/// Reads the machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one reader of the machine's clock")]
    fn now_ms(&self) -> u64 {
        // A clock set before 1970 counts as 1970: stamps then follow their homes alone.
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Stands still until a test moves it.
#[derive(Debug, Default)]
pub struct MockClock {
    now_ms: AtomicU64,
}

impl MockClock {
    /// Creates a clock that shows `now_ms`.
    pub fn new(now_ms: u64) -> MockClock {
        MockClock { now_ms: AtomicU64::new(now_ms) }
    }

    /// Sets the clock, backwards too.
    pub fn set(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::SeqCst);
    }

    /// Moves the clock forward.
    pub fn advance(&self, by_ms: u64) {
        self.now_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for MockClock {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_clock_is_past_the_year_2020() {
        assert!(SystemClock.now_ms() > 1_577_836_800_000);
    }

    #[test]
    fn mock_clock_shows_what_it_was_told() {
        let clock = MockClock::new(5);
        clock.advance(7);
        assert_eq!(clock.now_ms(), 12);
        clock.set(3);
        assert_eq!(clock.now_ms(), 3);
    }
}

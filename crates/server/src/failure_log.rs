//! How often the log tells of requests that the store could not serve.
//!
//! While a disk is full or a database is away every request fails for the same few reasons; a line
//! for each of them would fill the disk further and say nothing new. Invariants: the first failure
//! of a cause is told at once and each second again, with all that led to it; what is told is
//! bounded, and every failure is counted in one line.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a cause that was told is not told again.
const SILENCE: Duration = Duration::from_secs(1);
/// Causes that are told in such a time.
const CAUSES_MAX: usize = 8;

/// See the head of this file.
#[derive(Default)]
pub(crate) struct FailureLog {
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    /// When the first of the causes was told.
    begin: Option<Instant>,
    causes: Vec<String>,
    /// Failures since the last line.
    untold: u64,
}

impl FailureLog {
    /// Takes note of a failure. If it is to be told, returns how many others were not since the
    /// last line.
    pub(crate) fn admit(&self, cause: &str, now: Instant) -> Option<u64> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.begin.is_none_or(|begin| now.saturating_duration_since(begin) >= SILENCE) {
            recent.begin = Some(now);
            recent.causes.clear();
        }
        if recent.causes.len() == CAUSES_MAX || recent.causes.iter().any(|told| told == cause) {
            recent.untold += 1;
            return None;
        }
        recent.causes.push(cause.to_owned());
        Some(std::mem::take(&mut recent.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_of_each_cause_is_told_and_each_second_again_with_a_count() {
        let (log, start) = (FailureLog::default(), Instant::now());
        assert_eq!(log.admit("full", start), Some(0));
        for ms in [0, 1, 998] {
            assert_eq!(log.admit("full", start + Duration::from_millis(ms)), None);
        }
        assert_eq!(log.admit("away", start + Duration::from_millis(999)), Some(3));
        assert_eq!(log.admit("away", start + Duration::from_millis(999)), None);
        assert_eq!(log.admit("full", start + SILENCE), Some(1));
        assert_eq!(log.admit("full", start + SILENCE * 5), Some(0));
    }

    #[test]
    fn causes_without_end_are_told_at_a_bounded_rate_and_all_counted() {
        let (log, start) = (FailureLog::default(), Instant::now());
        let (mut told, mut counted) = (0, 0);
        for number in 0..1_000 {
            let now = start + Duration::from_millis(number);
            if let Some(untold) = log.admit(&format!("cause {number}"), now) {
                told += 1;
                counted += 1 + untold;
            }
        }
        assert_eq!(told, CAUSES_MAX);
        counted += 1 + log.admit("the last", start + SILENCE).expect("a second has passed");
        assert_eq!(counted, 1_001);
    }
}

//! The clock of `dev`, which runs like any other, can be put forward and can be stopped, so that a test
//! meets the very millisecond at which something ends.
//!
//! Invariant: it never goes back, and stays within what the rules can reckon with.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use store::{Clock, SystemClock};

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// How far it may be ahead: no rule looks further than the fifteen years of a retention.
const AHEAD_DAYS_MAX: u64 = 36_500;

/// The machine's clock, ahead by what it was advanced.
#[derive(Debug, Default)]
pub(crate) struct DevClock(Mutex<Hands>);

#[derive(Debug, Default)]
struct Hands {
    ahead_ms: u64,
    /// What it shows as long as it is stopped.
    stopped_ms: Option<u64>,
}

/// Whether the clock goes on by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pace {
    Run,
    Stop,
}

impl Hands {
    fn now_ms(&self) -> u64 {
        self.stopped_ms.unwrap_or_else(|| SystemClock.now_ms().saturating_add(self.ahead_ms))
    }
}

impl DevClock {
    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the clock forward, and stops it there or lets it run from there.
    pub(crate) fn advance(&self, by_ms: u64, pace: Option<Pace>) -> Result<(), String> {
        let mut hands = self.hands();
        let ahead_ms = hands.ahead_ms.checked_add(by_ms);
        let ahead_ms = ahead_ms.filter(|sum| *sum <= AHEAD_DAYS_MAX * DAY_MS);
        let too_far = || format!("the clock goes at most {AHEAD_DAYS_MAX} days ahead");
        let ahead_ms = ahead_ms.ok_or_else(too_far)?;
        let now_ms = hands.now_ms().saturating_add(by_ms);
        let stops = match pace {
            Some(pace) => pace == Pace::Stop,
            None => hands.stopped_ms.is_some(),
        };
        hands.ahead_ms = ahead_ms;
        if hands.stopped_ms.is_some() && !stops {
            // It goes on from where it stood, unless the machine's clock is further.
            hands.ahead_ms = now_ms.saturating_sub(SystemClock.now_ms());
        }
        hands.stopped_ms = stops.then_some(now_ms);
        Ok(())
    }
}

impl Clock for DevClock {
    fn now_ms(&self) -> u64 {
        self.hands().now_ms()
    }
}

/// Reads a duration: a whole number and its unit, like `31d`.
pub(crate) fn parse_duration(text: &str) -> Result<u64, String> {
    let refuse = || format!("{text} is not a whole number and ms, s, m, h or d, like 31d");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => SECOND_MS,
        "m" => MINUTE_MS,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        _ => return Err(refuse()),
    };
    let number: u64 = number.parse().map_err(|_| refuse())?;
    // What no number holds is too far ahead for any clock.
    Ok(number.saturating_mul(unit_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, ms) in
            [("250ms", 250), ("0s", 0), ("90s", 90_000), ("3m", 180_000), ("36h", 129_600_000)]
        {
            assert_eq!(parse_duration(text), Ok(ms), "{text}");
        }
        assert_eq!(parse_duration("31d"), Ok(2_678_400_000));
        for text in ["", "d", "31", "-1d", "+1d", "1.5h", "1 d", "1D", "1w", "1h30m", "٣d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_clock_goes_forward_and_not_out_of_reach() {
        let clock = DevClock::default();
        let before_ms = SystemClock.now_ms();
        clock.advance(DAY_MS, None).unwrap();
        clock.advance(DAY_MS, None).unwrap();
        assert!(clock.now_ms() >= before_ms + 2 * DAY_MS);
        let there_ms = clock.now_ms();
        for by_ms in [
            parse_duration("36499d").unwrap(),
            parse_duration("99999999999999999d").unwrap_or(u64::MAX),
            u64::MAX,
        ] {
            assert!(clock.advance(by_ms, None).is_err());
        }
        assert!(clock.now_ms() < there_ms + DAY_MS);
        clock.advance(36_498 * DAY_MS, None).unwrap();
    }

    #[test]
    fn a_stopped_clock_moves_by_what_it_is_advanced_alone() {
        let clock = DevClock::default();
        clock.advance(DAY_MS, Some(Pace::Stop)).unwrap();
        let there_ms = clock.now_ms();
        for (by_ms, pace, expected_ms) in
            [(0, None, there_ms), (1, None, there_ms + 1), (2, Some(Pace::Stop), there_ms + 3)]
        {
            clock.advance(by_ms, pace).unwrap();
            assert_eq!(clock.now_ms(), expected_ms);
        }
        clock.advance(5, Some(Pace::Run)).unwrap();
        assert!(clock.now_ms() >= there_ms + 8, "it goes on from where it stood");
        assert!(clock.now_ms() < there_ms + DAY_MS);
    }
}

//! `--resume-window`: for how long a session that was away can be told what it missed.
//!
//! Invariant: the rows from which events are told again stay for the window and little longer, so
//! that the store's size is bounded by it.

/// The name of the setting.
pub(super) const WINDOW: &str = "resume-window";
/// The window where nothing is said; the same as `chat::RESUME_WINDOW_MS`.
pub(super) const WINDOW_DEFAULT: &str = "15m";
/// The longest window. Rows of a day are as many as its messages.
const SECONDS_MAX: u64 = 24 * 60 * 60;
/// The shortest: less than clients take to come back is of no use.
const SECONDS_MIN: u64 = 60;

/// Reads a count of seconds, minutes or hours.
pub(super) fn window_ms(value: &str) -> Result<u64, String> {
    let refuse = || format!("{value} is not a duration from 1m to 24h, like 90s, 15m or 2h");
    let (digits, unit) = value.split_at_checked(value.len().wrapping_sub(1)).ok_or_else(refuse)?;
    let unit_seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        _ => return Err(refuse()),
    };
    let is_plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    let count: Option<u64> = digits.parse().ok().filter(|_| is_plain);
    let seconds = count.and_then(|count| count.checked_mul(unit_seconds));
    let seconds = seconds.filter(|seconds| (SECONDS_MIN..=SECONDS_MAX).contains(seconds));
    seconds.map(|seconds| seconds * 1_000).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_a_count_of_seconds_minutes_or_hours_up_to_a_day() {
        let texts = ["60s", "90s", "1m", "15m", "1440m", "1h", "24h"];
        let seconds = texts.map(|text| window_ms(text).map(|ms| ms / 1_000));
        assert_eq!(seconds, [60, 90, 60, 900, 86_400, 3_600, 86_400].map(Ok));
        for text in [
            "",
            "m",
            "15",
            "59s",
            "0m",
            "25h",
            "1d",
            "-1h",
            "+1h",
            "1.5h",
            "é",
            "9999999999999999999h",
        ] {
            let refusal = format!("{text} is not a duration from 1m to 24h, like 90s, 15m or 2h");
            assert_eq!(window_ms(text), Err(refusal));
        }
    }

    #[test]
    fn the_default_is_that_of_the_rules() {
        assert_eq!(window_ms(WINDOW_DEFAULT), Ok(chat::RESUME_WINDOW_MS));
    }
}

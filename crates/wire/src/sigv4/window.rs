//! When a signature is valid.
//!
//! Invariant: one skew for both forms and both directions. Clients correct their clock when they
//! read these texts beside the Date header, so the texts are those of the real service.

use super::invalid;
use crate::error::Error;
use crate::time::Timestamp;

/// How far the clock of a client may be off.
pub const SKEW_SECONDS: u32 = 300;
/// Longest life of a presigned request, that of signature version 4 itself: seven days.
pub const EXPIRES_SECONDS_MAX: u32 = 604_800;

const SKEW_MS: i64 = SKEW_SECONDS as i64 * 1000;

/// The header form is valid from one skew before its date to one skew after it.
pub(super) fn check_header(date: &str, now_ms: i64) -> Result<(), Error> {
    let signed_ms = parse(date)?;
    check_started(signed_ms, now_ms)?;
    check_not_over(signed_ms, now_ms)
}

/// The presigned form is valid from one skew before its date to one skew after its end.
pub(super) fn check_presigned(date: &str, expires: &str, now_ms: i64) -> Result<(), Error> {
    let signed_ms = parse(date)?;
    let expires_seconds = expires
        .parse::<u32>()
        .ok()
        .filter(|seconds| (1..=EXPIRES_SECONDS_MAX).contains(seconds))
        .filter(|_| expires.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| invalid("X-Amz-Expires must be a number from 1 to 604800 (seconds)."))?;
    check_started(signed_ms, now_ms)?;
    check_not_over(signed_ms + i64::from(expires_seconds) * 1000, now_ms)
}

fn parse(date: &str) -> Result<i64, Error> {
    Timestamp::parse_basic(date)
        .map(Timestamp::ms)
        .ok_or_else(|| invalid("Date must be in ISO-8601 'basic format'."))
}

fn check_started(start_ms: i64, now_ms: i64) -> Result<(), Error> {
    let limit_ms = now_ms.saturating_add(SKEW_MS);
    if start_ms <= limit_ms {
        return Ok(());
    }
    let [start, limit, now] = [start_ms, limit_ms, now_ms].map(basic);
    Err(invalid(format!(
        "Signature not yet current: {start} is still later than {limit} ({now} + 5 min.)"
    )))
}

fn check_not_over(end_ms: i64, now_ms: i64) -> Result<(), Error> {
    let limit_ms = now_ms.saturating_sub(SKEW_MS);
    if end_ms >= limit_ms {
        return Ok(());
    }
    let [end, limit, now] = [end_ms, limit_ms, now_ms].map(basic);
    Err(invalid(format!("Signature expired: {end} is now earlier than {limit} ({now} - 5 min.)")))
}

fn basic(ms: i64) -> String {
    Timestamp::from_ms(ms).to_basic()
}

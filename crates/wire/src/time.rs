//! Points in time, in the four spellings that the API uses.
//!
//! Bodies carry epoch seconds, events carry ISO-8601, queries carry either, signatures carry the
//! basic form. Invariant: no text and no number makes a function here panic, and what is written
//! never has an exponent. The clock itself is a parameter everywhere; nothing here reads one.

use std::fmt;

use ::time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// The first instant that has an ISO text with a four digit year: 0000-01-01T00:00:00.000Z.
const MS_MIN: i64 = -62_167_219_200_000;
/// The last such instant: 9999-12-31T23:59:59.999Z.
const MS_MAX: i64 = 253_402_300_799_999;
/// Most digits that a query time may carry behind the point; all beyond three are dropped.
const FRACTION_DIGITS_MAX: usize = 9;
/// Most digits of whole epoch seconds: those of `MS_MAX`.
const EPOCH_DIGITS_MAX: usize = 12;
/// Characters of `20240501T171359Z`.
const BASIC_CHARS: usize = 16;

/// A point in time: milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Takes milliseconds since the epoch.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Returns milliseconds since the epoch.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Appends epoch seconds as a plain JSON number with at most three decimals.
    pub fn write_epoch_seconds(self, out: &mut Vec<u8>) {
        if self.0 < 0 {
            out.push(b'-');
        }
        let ms = self.0.unsigned_abs();
        write_decimal(out, ms / 1000);
        let mut fraction = ms % 1000;
        if fraction == 0 {
            return;
        }
        let mut digits = 3;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            digits -= 1;
        }
        out.push(b'.');
        write_padded(out, fraction, digits);
    }

    /// Appends `2021-06-03T16:26:31.013Z`, always with three decimals.
    pub fn write_iso(self, out: &mut Vec<u8>) {
        let parts = self.calendar();
        write_padded(out, year_of(parts), 4);
        out.push(b'-');
        write_padded(out, u64::from(u8::from(parts.month())), 2);
        out.push(b'-');
        write_padded(out, u64::from(parts.day()), 2);
        out.push(b'T');
        write_padded(out, u64::from(parts.hour()), 2);
        out.push(b':');
        write_padded(out, u64::from(parts.minute()), 2);
        out.push(b':');
        write_padded(out, u64::from(parts.second()), 2);
        out.push(b'.');
        write_padded(out, u64::from(parts.millisecond()), 3);
        out.push(b'Z');
    }

    /// Returns the ISO text that `write_iso` appends.
    pub fn to_iso(self) -> String {
        let mut out = Vec::with_capacity(24);
        self.write_iso(&mut out);
        String::from_utf8(out).expect("digits and separators are ASCII")
    }

    /// Returns the basic form of signatures, `20240501T171359Z`; milliseconds are dropped.
    pub fn to_basic(self) -> String {
        let parts = self.calendar();
        let mut out = Vec::with_capacity(BASIC_CHARS);
        write_padded(&mut out, year_of(parts), 4);
        write_padded(&mut out, u64::from(u8::from(parts.month())), 2);
        write_padded(&mut out, u64::from(parts.day()), 2);
        out.push(b'T');
        write_padded(&mut out, u64::from(parts.hour()), 2);
        write_padded(&mut out, u64::from(parts.minute()), 2);
        write_padded(&mut out, u64::from(parts.second()), 2);
        out.push(b'Z');
        String::from_utf8(out).expect("digits and separators are ASCII")
    }

    /// Reads the basic form of signatures; anything else is `None`.
    pub fn parse_basic(text: &str) -> Option<Self> {
        if text.len() != BASIC_CHARS {
            return None;
        }
        let mut rest = Cursor(text.as_bytes());
        let date = rest.date("")?;
        rest.expect(b'T')?;
        let time = rest.time("")?;
        rest.expect(b'Z')?;
        at(date, time, 0, 0)
    }

    /// Reads a time of a query: ISO-8601 with `Z` or an offset, or epoch seconds.
    pub fn parse_query(text: &str) -> Option<Self> {
        if text.as_bytes().get(4) == Some(&b'-') { parse_iso(text) } else { parse_epoch(text) }
    }

    /// Splits into calendar fields; instants without a four digit year give the nearest that has.
    fn calendar(self) -> OffsetDateTime {
        let ms = self.0.clamp(MS_MIN, MS_MAX);
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
            .expect("the clamped range lies within that of the calendar")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_iso())
    }
}

fn year_of(parts: OffsetDateTime) -> u64 {
    u64::try_from(parts.year()).unwrap_or(0)
}

/// Reads `YYYY-MM-DDThh:mm:ss[.f]` and then `Z`, `+hh:mm` or `+hhmm`.
fn parse_iso(text: &str) -> Option<Timestamp> {
    let mut rest = Cursor(text.as_bytes());
    let date = rest.date("-")?;
    rest.expect(b'T')?;
    let time = rest.time(":")?;
    let fraction_ms = rest.fraction_ms()?;
    let offset_seconds = rest.offset_seconds()?;
    if rest.0.is_empty() { at(date, time, fraction_ms, offset_seconds) } else { None }
}

/// Reads `[-]seconds[.f]`.
fn parse_epoch(text: &str) -> Option<Timestamp> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let mut rest = Cursor(digits.as_bytes());
    let count = rest.digit_count();
    if count == 0 || count > EPOCH_DIGITS_MAX {
        return None;
    }
    let seconds = rest.number(count)?;
    let fraction_ms = rest.fraction_ms()?;
    if !rest.0.is_empty() {
        return None;
    }
    within(sign * (seconds * 1000 + fraction_ms))
}

fn at(date: Date, time: Time, fraction_ms: i64, offset_seconds: i64) -> Option<Timestamp> {
    let seconds = PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp();
    within((seconds - offset_seconds) * 1000 + fraction_ms)
}

fn within(ms: i64) -> Option<Timestamp> {
    (MS_MIN..=MS_MAX).contains(&ms).then_some(Timestamp(ms))
}

/// The unread rest of a time text.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        if *first != byte {
            return None;
        }
        self.0 = rest;
        Some(())
    }

    fn digit_count(&self) -> usize {
        self.0.iter().take_while(|byte| byte.is_ascii_digit()).count()
    }

    /// Reads exactly `digits` digits; callers pass at most `EPOCH_DIGITS_MAX`.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (head, rest) = self.0.split_at_checked(digits)?;
        let mut value = 0;
        for byte in head {
            if !byte.is_ascii_digit() {
                return None;
            }
            value = value * 10 + i64::from(byte - b'0');
        }
        self.0 = rest;
        Some(value)
    }

    /// Reads one two digit field of a date, time or offset.
    fn pair(&mut self) -> Option<u8> {
        self.number(2).and_then(|value| u8::try_from(value).ok())
    }

    fn separator(&mut self, text: &str) -> Option<()> {
        text.bytes().try_for_each(|byte| self.expect(byte))
    }

    fn date(&mut self, separator: &str) -> Option<Date> {
        let year = i32::try_from(self.number(4)?).ok()?;
        self.separator(separator)?;
        let month = Month::try_from(self.pair()?).ok()?;
        self.separator(separator)?;
        Date::from_calendar_date(year, month, self.pair()?).ok()
    }

    fn time(&mut self, separator: &str) -> Option<Time> {
        let hour = self.pair()?;
        self.separator(separator)?;
        let minute = self.pair()?;
        self.separator(separator)?;
        Time::from_hms(hour, minute, self.pair()?).ok()
    }

    /// Reads an optional point and its digits; what is finer than a millisecond is cut off.
    fn fraction_ms(&mut self) -> Option<i64> {
        if self.0.first() != Some(&b'.') {
            return Some(0);
        }
        self.expect(b'.')?;
        let count = self.digit_count();
        if count == 0 || count > FRACTION_DIGITS_MAX {
            return None;
        }
        let kept = count.min(3);
        let mut ms = self.number(kept)?;
        for _ in kept..3 {
            ms *= 10;
        }
        self.0 = self.0.get(count - kept..)?;
        Some(ms)
    }

    fn offset_seconds(&mut self) -> Option<i64> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        let sign = match first {
            b'Z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.number(2)?;
        if self.0.first() == Some(&b':') {
            self.expect(b':')?;
        }
        let minutes = self.number(2)?;
        (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
    }
}

fn write_decimal(out: &mut Vec<u8>, value: u64) {
    let mut digits = 1;
    let mut rest = value;
    while rest > 9 {
        rest /= 10;
        digits += 1;
    }
    write_padded(out, value, digits);
}

/// Appends the last `digits` decimal digits of `value`, with leading zeros.
fn write_padded(out: &mut Vec<u8>, value: u64, digits: usize) {
    let start = out.len();
    out.resize(start + digits, b'0');
    let mut rest = value;
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(ms: i64) -> String {
        let mut out = Vec::new();
        Timestamp(ms).write_epoch_seconds(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn query(text: &str) -> Option<i64> {
        Timestamp::parse_query(text).map(Timestamp::ms)
    }

    #[test]
    fn epoch_seconds_are_plain_decimals_without_trailing_zeros() {
        let cases = [
            (1_625_101_323_456, "1625101323.456"),
            (1_625_101_323_000, "1625101323"),
            (1_625_101_323_450, "1625101323.45"),
            (1_625_101_323_400, "1625101323.4"),
            (1_625_101_323_006, "1625101323.006"),
            (1_625_101_323_060, "1625101323.06"),
            (0, "0"),
            (7, "0.007"),
            (-1, "-0.001"),
            (-1500, "-1.5"),
            (i64::MAX, "9223372036854775.807"),
            (i64::MIN, "-9223372036854775.808"),
        ];
        for (ms, text) in cases {
            assert_eq!(epoch(ms), text);
        }
    }

    #[test]
    fn iso_text_always_has_three_decimals() {
        assert_eq!(Timestamp(1_622_737_591_013).to_iso(), "2021-06-03T16:26:31.013Z");
        assert_eq!(Timestamp(1_622_737_591_000).to_iso(), "2021-06-03T16:26:31.000Z");
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(-1).to_iso(), "1969-12-31T23:59:59.999Z");
        assert_eq!(Timestamp(951_782_400_000).to_iso(), "2000-02-29T00:00:00.000Z");
    }

    #[test]
    fn instants_outside_the_calendar_are_written_as_its_edges() {
        assert_eq!(Timestamp(i64::MAX).to_iso(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp(i64::MIN).to_iso(), "0000-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(i64::MIN).to_basic(), "00000101T000000Z");
    }

    #[test]
    fn query_times_are_read_in_every_form_that_clients_send() {
        let cases = [
            ("2021-07-01T01:02:03Z", 1_625_101_323_000),
            ("2021-07-01T01:02:03.4Z", 1_625_101_323_400),
            ("2021-07-01T01:02:03.456Z", 1_625_101_323_456),
            ("2021-07-01T01:02:03.456000Z", 1_625_101_323_456),
            ("2021-07-01T01:02:03.456999999Z", 1_625_101_323_456),
            ("2021-07-01T03:02:03+02:00", 1_625_101_323_000),
            ("2021-06-30T21:32:03.456-0330", 1_625_101_323_456),
            ("1625101323", 1_625_101_323_000),
            ("1625101323.4", 1_625_101_323_400),
            ("1625101323.456789012", 1_625_101_323_456),
            ("0", 0),
            ("-0.5", -500),
            ("-1625101323", -1_625_101_323_000),
        ];
        for (text, ms) in cases {
            assert_eq!(query(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn other_texts_are_not_query_times() {
        let cases = [
            "",
            "-",
            ".5",
            "1.",
            "1e9",
            "+1",
            "--1",
            " 1",
            "1 ",
            "9999999999999",
            "999999999999",
            "1.1234567890",
            "2021-07-01",
            "2021-07-01T01:02:03",
            "2021-07-01 01:02:03Z",
            "2021-07-01T01:02:03.Z",
            "2021-07-01T01:02:03.1234567890Z",
            "2021-07-01T01:02:03Zz",
            "2021-07-01T01:02Z",
            "2021-02-29T01:02:03Z",
            "2021-13-01T01:02:03Z",
            "2021-00-01T01:02:03Z",
            "2021-07-01T24:00:00Z",
            "2021-07-01T01:60:03Z",
            "2021-07-01T01:02:60Z",
            "2021-07-01T01:02:03+24:00",
            "2021-07-01T01:02:03+02:60",
            "2021-07-01T01:02:03+2",
            "2021-07-01T01:02:03 02:00",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2021-٠7-01T01:02:03Z",
            "日本語日本語",
        ];
        for text in cases {
            assert_eq!(query(text), None, "{text}");
        }
    }

    #[test]
    fn iso_text_reads_back_as_the_same_instant() {
        let step = (MS_MAX - MS_MIN) / 9973;
        for n in 0..=9973 {
            let instant = Timestamp(MS_MIN + n * step);
            assert_eq!(Timestamp::parse_query(&instant.to_iso()), Some(instant));
        }
    }

    #[test]
    fn basic_form_round_trips_and_nothing_else_is_read() {
        let instant = Timestamp(1_714_583_639_000);
        assert_eq!(instant.to_basic(), "20240501T171359Z");
        assert_eq!(Timestamp::parse_basic("20240501T171359Z"), Some(instant));
        for text in [
            "",
            "20240501T171359",
            "20240501T171359z",
            "2024-05-01T17:13:59Z",
            "20240532T171359Z",
            "20240501T251359Z",
            "20240501 171359Z",
            "20240501T1713591",
            "2024050éT171359Z",
        ] {
            assert_eq!(Timestamp::parse_basic(text), None, "{text}");
        }
    }
}

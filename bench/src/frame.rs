//! Frames as a client sees them: a header of a server, which is never masked, and what to answer.

use std::time::Duration;

use anyhow::{Result, ensure};

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
/// The answer to an empty ping, masked with zeros.
pub(crate) const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];
/// The longest frame that a server of ours writes.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// Begins and ends the number of a message within its content. JSON leaves both as they are.
const MARK: u8 = b'#';
const DIGITS: usize = 10;
/// Bytes of a numbered mark.
const MARKED: usize = DIGITS + 2;

/// Returns opcode, and where the payload begins and ends, once the header is there.
pub(crate) fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (start, length) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            (10, usize::try_from(length).unwrap_or(usize::MAX))
        }
        (126 | 127, _) => return None,
        (length, _) => (2, usize::from(length)),
    };
    Some((first & 0x0f, start, start.saturating_add(length)))
}

/// Takes the first frame off the bytes, once it is complete.
pub(crate) fn split(bytes: &mut Vec<u8>) -> Result<Option<(u8, Vec<u8>)>> {
    let Some((opcode, start, end)) = header(bytes) else { return Ok(None) };
    ensure!(end <= PAYLOAD_BYTES_MAX, "a frame of {end} bytes");
    if bytes.len() < end {
        return Ok(None);
    }
    let payload = bytes[start..end].to_vec();
    bytes.drain(..end);
    Ok(Some((opcode, payload)))
}

/// Returns the code of a close frame; 1005 stands for none.
pub(crate) fn close_code(payload: &[u8]) -> u16 {
    match payload {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 1005,
    }
}

/// Returns what a message is marked with.
pub(crate) fn mark(number: u32) -> String {
    format!("#{number:0DIGITS$}#")
}

/// Finds marks in frames, which stand in the same place in most of them.
#[derive(Default)]
pub(crate) struct Marks {
    place: usize,
}

impl Marks {
    /// Returns the number of a marked frame.
    pub(crate) fn number(&mut self, payload: &[u8]) -> Option<u32> {
        if let Some(number) = payload.get(self.place..).and_then(number) {
            return Some(number);
        }
        let (place, number) = find(payload)?;
        self.place = place;
        Some(number)
    }
}

/// Returns where the mark stands, and its number.
pub(crate) fn find(payload: &[u8]) -> Option<(usize, u32)> {
    let mut places = (0..payload.len()).filter(|place| payload[*place] == MARK);
    places.find_map(|place| Some((place, number(&payload[place..])?)))
}

fn number(bytes: &[u8]) -> Option<u32> {
    let [MARK, digits @ .., MARK] = bytes.get(..MARKED)? else { return None };
    digits.iter().try_fold(0_u32, |number, digit| {
        let value = u32::from(digit.wrapping_sub(b'0'));
        (value < 10).then(|| number.checked_mul(10)?.checked_add(value))?
    })
}

/// Times in steps of a hundredth of a millisecond, so that millions of them cost little.
pub(crate) struct Spread {
    steps: Vec<u32>,
    count: u64,
}

const STEP_US: u128 = 10;
const STEPS: usize = 300_000;

impl Spread {
    pub(crate) fn new() -> Spread {
        Spread { steps: vec![0; STEPS], count: 0 }
    }

    pub(crate) fn add(&mut self, time: Duration) {
        let step = usize::try_from(time.as_micros() / STEP_US).unwrap_or(STEPS);
        self.steps[step.min(STEPS - 1)] += 1;
        self.count += 1;
    }

    pub(crate) fn join(&mut self, other: &Spread) {
        self.steps.iter_mut().zip(&other.steps).for_each(|(step, more)| *step += more);
        self.count += other.count;
    }

    /// Returns the time that this share did not pass.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count as f64 * share) as u64;
        let mut seen = 0;
        let step = self.steps.iter().position(|count| {
            seen += u64::from(*count);
            seen > wanted
        });
        Duration::from_micros(step.unwrap_or_default() as u64 * STEP_US as u64)
    }
}

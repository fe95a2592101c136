//! Randomness as a parameter.
//!
//! `SystemEntropy` is the only caller of the operating system's random source; `SeededEntropy`
//! gives tests the same ids in every run and must never make a key or an id in production.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Gives random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `buf` with random bytes.
    fn fill(&self, buf: &mut [u8]);
}

/// Bytes that a thread takes from the operating system at once: an id of a request or a version
/// needs few, and each call costs as much as a hash.
const STOCK_BYTES: usize = 512;

/// Takes bytes from the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buf: &mut [u8]) {
        if buf.len() > STOCK_BYTES / 8 {
            return fill_from_system(buf);
        }
        STOCK.with_borrow_mut(|stock| stock.take(buf));
    }
}

thread_local! {
    static STOCK: RefCell<Stock> =
        const { RefCell::new(Stock { bytes: [0; STOCK_BYTES], left: 0 }) };
}

/// Random bytes that nobody has had.
struct Stock {
    bytes: [u8; STOCK_BYTES],
    left: usize,
}

impl Stock {
    /// Hands out bytes, of which no copy stays: they may become a key.
    fn take(&mut self, buf: &mut [u8]) {
        if self.left < buf.len() {
            fill_from_system(&mut self.bytes);
            self.left = STOCK_BYTES;
        }
        let taken = &mut self.bytes[self.left - buf.len()..self.left];
        buf.copy_from_slice(taken);
        taken.fill(0);
        self.left -= buf.len();
    }
}

#[expect(clippy::disallowed_methods, reason = "the one caller of the system's random source")]
fn fill_from_system(buf: &mut [u8]) {
    getrandom::fill(buf).expect("supported systems always have a random source once booted");
}

/// The step between two states of SplitMix64 (2^64 divided by the golden ratio).
const SPLITMIX_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Repeats one sequence per seed (SplitMix64). For tests: it is predictable.
#[derive(Debug)]
pub struct SeededEntropy {
    state: AtomicU64,
}

impl SeededEntropy {
    /// Creates the sequence of `seed`.
    pub fn new(seed: u64) -> SeededEntropy {
        SeededEntropy { state: AtomicU64::new(seed) }
    }

    /// Returns the next number of the sequence.
    pub fn next_u64(&self) -> u64 {
        let state = self.state.fetch_add(SPLITMIX_STEP, Ordering::Relaxed);
        let mut mixed = state.wrapping_add(SPLITMIX_STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut left, mut right, mut other) = ([0; 20], [0; 20], [0; 20]);
        SeededEntropy::new(7).fill(&mut left);
        SeededEntropy::new(7).fill(&mut right);
        SeededEntropy::new(8).fill(&mut other);
        assert_eq!(left, right);
        assert_ne!(left, other);
    }

    #[test]
    fn splitmix_matches_its_published_vector() {
        assert_eq!(SeededEntropy::new(1_234_567).next_u64(), 6_457_827_717_110_365_317);
    }

    #[test]
    fn system_entropy_does_not_repeat() {
        let (mut left, mut right) = ([0; 16], [0; 16]);
        SystemEntropy.fill(&mut left);
        SystemEntropy.fill(&mut right);
        assert_ne!(left, right);
    }

    #[test]
    fn system_entropy_gives_each_byte_once_whatever_was_asked_before() {
        let draw = |length: usize| {
            let mut bytes = vec![0; length];
            SystemEntropy.fill(&mut bytes);
            bytes
        };
        // Several stocks long, with lengths that do not divide one.
        let drawn: Vec<Vec<u8>> = (0..400).map(|turn| draw(16 + turn % 60)).collect();
        let mut parts: Vec<&[u8]> = drawn.iter().flat_map(|bytes| bytes.windows(16)).collect();
        let count = parts.len();
        parts.sort_unstable();
        parts.dedup();
        assert_eq!(parts.len(), count);
    }

    #[test]
    fn a_stock_keeps_nothing_of_what_it_gave() {
        let mut stock = Stock { bytes: [0; STOCK_BYTES], left: 0 };
        for _ in 0..STOCK_BYTES / 32 {
            stock.take(&mut [0; 32]);
        }
        assert_eq!((stock.left, stock.bytes), (0, [0; STOCK_BYTES]));
    }
}

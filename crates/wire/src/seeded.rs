//! A small generator of repeatable random values for tests (SplitMix64).

/// The state of the generator; the same seed gives the same values on every machine.
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below the bound, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Returns a short text of letters that are awkward in JSON, paths and terminals.
    pub(crate) fn text(&mut self) -> String {
        const LETTERS: [char; 16] = [
            'a', 'Z', '0', ' ', '"', '\\', '/', '\0', '\n', '\u{7f}', '\u{85}', 'é', '\u{2028}',
            '\u{d7ff}', '\u{fffd}', '🔔',
        ];
        (0..self.below(12)).map(|_| self.pick(&LETTERS)).collect()
    }
}

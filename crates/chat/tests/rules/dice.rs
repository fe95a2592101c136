//! Draws that a seed repeats.

use store::SeededEntropy;

/// A source of numbers; one for each step, so that leaving steps out changes no other's draws.
pub(crate) struct Dice(SeededEntropy);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    pub(crate) fn number(&self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number from 0 to `top - 1`.
    pub(crate) fn below(&self, top: u64) -> u64 {
        self.number() % top
    }

    pub(crate) fn one_in(&self, chance: u64) -> bool {
        self.below(chance) == 0
    }

    /// Returns an index into something of this length, which is not empty.
    pub(crate) fn index(&self, length: usize) -> usize {
        let length = u64::try_from(length).expect("lengths are small");
        usize::try_from(self.below(length)).expect("below a length")
    }

    /// Returns one of the items, or nothing when there is none.
    pub(crate) fn pick<'a, T>(&self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.index(items.len())) }
    }

    /// Returns one of the items, of which there is one at least.
    pub(crate) fn of<T: Clone>(&self, items: &[T]) -> T {
        items[self.index(items.len())].clone()
    }
}

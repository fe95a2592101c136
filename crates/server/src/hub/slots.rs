//! Rows that are found by their uid and referred to by small numbers.
//!
//! A channel names its local members and a user his channels; with uids of 16 bytes, and hashing at
//! each step from one to the other, that would be most of what an idle socket costs. Invariant:
//! whoever keeps a slot lets go of it before its row is removed, since the slot is used again.

use std::collections::HashMap;

use store::Uid;

/// Names a row as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(u32);

/// See the head of this file.
pub(super) struct Slots<T> {
    by_uid: HashMap<Uid, Slot>,
    rows: Vec<Option<(Uid, T)>>,
    free: Vec<Slot>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { by_uid: HashMap::new(), rows: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(super) fn slot(&self, uid: Uid) -> Option<Slot> {
        self.by_uid.get(&uid).copied()
    }

    pub(super) fn get(&self, uid: Uid) -> Option<&T> {
        self.at(self.slot(uid)?)
    }

    pub(super) fn get_mut(&mut self, uid: Uid) -> Option<&mut T> {
        let slot = self.slot(uid)?;
        self.at_mut(slot).map(|(_, row)| row)
    }

    pub(super) fn at(&self, slot: Slot) -> Option<&T> {
        self.rows.get(index(slot))?.as_ref().map(|(_, row)| row)
    }

    pub(super) fn at_mut(&mut self, slot: Slot) -> Option<(Uid, &mut T)> {
        self.rows.get_mut(index(slot))?.as_mut().map(|(uid, row)| (*uid, row))
    }

    /// Returns the slot of `uid`, whose row `make` makes when there is none.
    pub(super) fn ensure(&mut self, uid: Uid, make: impl FnOnce() -> T) -> Slot {
        *self.by_uid.entry(uid).or_insert_with(|| {
            let row = Some((uid, make()));
            if let Some(slot) = self.free.pop() {
                self.rows[index(slot)] = row;
                return slot;
            }
            let next = u32::try_from(self.rows.len()).expect("fewer rows fit into memory");
            self.rows.push(row);
            Slot(next)
        })
    }

    /// Removes the row of `uid`; nobody may keep its slot.
    pub(super) fn remove(&mut self, uid: Uid) -> Option<(Slot, T)> {
        let slot = self.by_uid.remove(&uid)?;
        let (_, row) = self.rows[index(slot)].take()?;
        self.free.push(slot);
        Some((slot, row))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Uid, &T)> {
        self.rows.iter().flatten().map(|(uid, row)| (*uid, row))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_uid.is_empty() && self.rows.iter().all(Option::is_none)
    }
}

fn index(slot: Slot) -> usize {
    slot.0 as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(byte: u8) -> Uid {
        Uid([byte; 16])
    }

    #[test]
    fn rows_are_found_both_ways_until_they_are_removed() {
        let mut slots = Slots::default();
        let one = slots.ensure(uid(1), || "one");
        let two = slots.ensure(uid(2), || "two");
        assert_eq!(slots.ensure(uid(1), || "another"), one);
        assert_eq!((slots.get(uid(1)), slots.at(two)), (Some(&"one"), Some(&"two")));
        assert_eq!(slots.at_mut(one), Some((uid(1), &mut "one")));
        assert_eq!(slots.remove(uid(1)), Some((one, "one")));
        assert_eq!((slots.get(uid(1)), slots.at(one)), (None, None));
        assert_eq!(slots.remove(uid(1)), None);
        assert_eq!(slots.iter().collect::<Vec<_>>(), [(uid(2), &"two")]);
    }

    #[test]
    fn slots_that_are_free_are_taken_first() {
        let mut slots = Slots::default();
        let one = slots.ensure(uid(1), || 1);
        slots.ensure(uid(2), || 2);
        slots.remove(uid(1));
        assert_eq!(slots.ensure(uid(3), || 3), one);
        assert_eq!(slots.at(one), Some(&3));
        slots.remove(uid(2));
        slots.remove(uid(3));
        assert!(slots.is_empty());
    }
}

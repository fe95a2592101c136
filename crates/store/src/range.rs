//! Ranges of keys within one table.
//!
//! A range begins as everything below a prefix and each further step can only narrow it, so a
//! continue position that a client sent can never lead a scan out of its prefix.

use crate::key::{Key, KeyBytes};
use crate::table::Table;

/// The order in which a scan returns its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys.
    Backward,
}

/// A range of keys of one table.
#[derive(Debug, Clone)]
pub struct Range {
    table: &'static Table,
    /// Inclusive.
    low: KeyBytes,
    /// Exclusive; none = the end of the table.
    high: Option<KeyBytes>,
    /// Exclusive, on the side where the scan begins.
    after: Option<KeyBytes>,
}

/// A range as the engines read it: from `low` (inclusive) to `high` (exclusive, none = the end).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) low: KeyBytes,
    pub(crate) high: Option<KeyBytes>,
}

impl Range {
    /// Returns all keys that begin with `key`; a bare `Key::new(table)` means the whole table.
    pub fn prefix(key: Key) -> Range {
        let table = key.table();
        let low = key.into_bytes();
        Range { table, high: after_prefix(&low), low, after: None }
    }

    /// Leaves out the keys before `key`.
    #[must_use]
    pub fn from(mut self, key: Key) -> Range {
        debug_assert_eq!(key.table().name, self.table.name, "a range stays in its table");
        self.low = self.low.max(key.into_bytes());
        self
    }

    /// Leaves out the keys after `key` and those that begin with it.
    #[must_use]
    pub fn to(mut self, key: Key) -> Range {
        debug_assert_eq!(key.table().name, self.table.name, "a range stays in its table");
        self.limit(after_prefix(&key.into_bytes()));
        self
    }

    /// Leaves out `key` and the keys after it.
    #[must_use]
    pub fn before(mut self, key: Key) -> Range {
        debug_assert_eq!(key.table().name, self.table.name, "a range stays in its table");
        self.limit(Some(key.into_bytes()));
        self
    }

    /// Continues past the key `position`, in whichever direction the scan goes.
    #[must_use]
    pub fn after(mut self, position: &[u8]) -> Range {
        self.after = Some(KeyBytes::from(position));
        self
    }

    /// Returns the table.
    pub fn table(&self) -> &'static Table {
        self.table
    }

    fn limit(&mut self, high: Option<KeyBytes>) {
        self.high = match (self.high.take(), high) {
            (Some(old), Some(new)) => Some(old.min(new)),
            (old, new) => old.or(new),
        };
    }

    /// Resolves the range for a direction; none when no key can lie in it.
    pub(crate) fn span(&self, direction: Direction) -> Option<Span> {
        let mut range = self.clone();
        match (range.after.take(), direction) {
            (None, _) => {}
            (Some(mut after), Direction::Forward) => {
                // The least key above `after` is `after` and a zero byte.
                after.extend(&[0]);
                range.low = range.low.max(after);
            }
            (Some(after), Direction::Backward) => range.limit(Some(after)),
        }
        let empty = range.high.as_ref().is_some_and(|high| *high <= range.low);
        (!empty).then_some(Span { low: range.low, high: range.high })
    }
}

/// Returns the least key above all that begin with `prefix`; none when there is no such key.
fn after_prefix(prefix: &[u8]) -> Option<KeyBytes> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut key = KeyBytes::from(&prefix[..last]);
    key.extend(&[prefix[last] + 1]);
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Kind;

    static ROW: Table = Table { name: "row", kind: Kind::Record, columns: &[] };

    fn key(bytes: &[u8]) -> Key {
        Key::new(&ROW).raw(bytes)
    }

    fn span(range: &Range, direction: Direction) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let span = range.span(direction)?;
        Some((span.low.to_vec(), span.high.map(|high| high.to_vec())))
    }

    #[test]
    fn prefix_ends_before_the_next_prefix() {
        let cases: [(&[u8], Option<&[u8]>); 4] =
            [(b"", None), (b"\xff\xff", None), (b"ab", Some(b"ac")), (b"a\xff\xff", Some(b"b"))];
        for (prefix, high) in cases {
            let (_, found) = span(&Range::prefix(key(prefix)), Direction::Forward)
                .expect("a prefix is not empty");
            assert_eq!(found.as_deref(), high, "{prefix:?}");
        }
    }

    #[test]
    fn steps_only_narrow() {
        let narrowed = Range::prefix(key(b"m")).from(key(b"a")).to(key(b"z")).before(key(b"zz"));
        assert_eq!(span(&narrowed, Direction::Forward), Some((b"m".to_vec(), Some(b"n".to_vec()))));
    }

    #[test]
    fn upper_bound_includes_what_lies_below_it_unless_it_is_exclusive() {
        let whole = Range::prefix(key(b""));
        let inclusive = whole.clone().to(key(b"mm"));
        assert_eq!(span(&inclusive, Direction::Forward), Some((vec![], Some(b"mn".to_vec()))));
        let exclusive = whole.before(key(b"mm"));
        assert_eq!(span(&exclusive, Direction::Forward), Some((vec![], Some(b"mm".to_vec()))));
    }

    #[test]
    fn continue_position_follows_the_direction() {
        let range = Range::prefix(key(b"m")).after(b"mk");
        assert_eq!(span(&range, Direction::Forward), Some((b"mk\0".to_vec(), Some(b"n".to_vec()))));
        assert_eq!(span(&range, Direction::Backward), Some((b"m".to_vec(), Some(b"mk".to_vec()))));
    }

    #[test]
    fn continue_position_outside_the_prefix_never_widens_it() {
        let range = Range::prefix(key(b"m"));
        assert_eq!(span(&range.clone().after(b"z"), Direction::Forward), None);
        assert_eq!(span(&range.clone().after(b"a"), Direction::Backward), None);
        let whole = Some((b"m".to_vec(), Some(b"n".to_vec())));
        assert_eq!(span(&range.clone().after(b"a"), Direction::Forward), whole);
        assert_eq!(span(&range.after(b"z"), Direction::Backward), whole);
    }
}

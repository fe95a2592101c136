//! The row that a group keeps where several nodes tell each other of their commits.
//!
//! It is the outbox: written by the group's own transaction, in the place of the lane's row, and
//! removed some time after the group was told. It names commits and holds none of their content,
//! which stands in the `event` table. Invariant: keys of a lane order like the numbers of its groups.

use crate::engine::{Committed, GroupNumber};
use crate::id::{STAMP_BYTES, Stamp, Uid};
use crate::key::{Key, Parts};
use crate::postgres::schema::COMMIT_GROUP;

/// The one format of the value.
const FORMAT: u8 = 1;

/// The place of a commit that had events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The home.
    pub home: Uid,
    /// The sequence number of the home's commit with events before this one; 0 for the first.
    pub prev_seq: u64,
    /// The commit's stamp.
    pub stamp: Stamp,
}

/// What a group's row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRow {
    /// The group.
    pub group: GroupNumber,
    /// What it wrote, in order.
    pub places: Vec<Place>,
}

pub(super) fn key(node: Uid, group: GroupNumber) -> Key {
    Key::new(&COMMIT_GROUP).uid(node).u8(group.lane).u64(group.number)
}

pub(super) fn value(committed: &[Committed]) -> Vec<u8> {
    let mut out = vec![FORMAT];
    for Committed { home, prev_seq, stamp, .. } in committed {
        out.extend_from_slice(&home.0);
        out.extend_from_slice(&prev_seq.to_be_bytes());
        out.extend_from_slice(&stamp.to_bytes());
    }
    out
}

impl GroupRow {
    /// Reads a row; none if it has another form.
    pub(super) fn read(key: &[u8], value: &[u8]) -> Option<GroupRow> {
        let group = group(key)?;
        let mut rest = value.strip_prefix(&[FORMAT])?;
        let mut places = Vec::with_capacity(rest.len() / (16 + 8 + STAMP_BYTES));
        while !rest.is_empty() {
            let (home, after) = rest.split_first_chunk()?;
            let (prev_seq, after) = after.split_first_chunk()?;
            let (stamp, after) = after.split_first_chunk()?;
            rest = after;
            places.push(Place {
                home: Uid(*home),
                prev_seq: u64::from_be_bytes(*prev_seq),
                stamp: Stamp::from_bytes(*stamp),
            });
        }
        Some(GroupRow { group, places })
    }
}

/// Reads the group that a key names.
pub(super) fn group(key: &[u8]) -> Option<GroupNumber> {
    let (_, rest) = key.split_at_checked(16)?;
    let (lane, rest) = rest.split_first()?;
    Some(GroupNumber { lane: *lane, number: Parts::new(rest).u64()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(home: u8, prev_seq: u64, seq: u64) -> Committed {
        let stamp = Stamp { ms: 1_700_000_000_000, seq };
        Committed { home: Uid([home; 16]), prev_seq, stamp, events: Vec::new(), group: None }
    }

    #[test]
    fn row_names_every_commit_of_its_group() {
        let group = GroupNumber { lane: 3, number: 70_000 };
        let commits = [committed(1, 0, 1), committed(2, 8, 11), committed(1, 1, 2)];
        let key = key(Uid([9; 16]), group);
        let row = GroupRow::read(key.bytes(), &value(&commits)).expect("is a row");
        assert_eq!(row.group, group);
        let told: Vec<(Uid, u64, Stamp)> =
            row.places.iter().map(|place| (place.home, place.prev_seq, place.stamp)).collect();
        let written: Vec<(Uid, u64, Stamp)> =
            commits.iter().map(|commit| (commit.home, commit.prev_seq, commit.stamp)).collect();
        assert_eq!(told, written);
    }

    #[test]
    fn row_of_another_form_is_none() {
        let key = key(Uid([9; 16]), GroupNumber { lane: 3, number: 7 });
        let value = value(&[committed(1, 0, 1)]);
        assert_eq!(GroupRow::read(&key.bytes()[..20], &value), None);
        assert_eq!(GroupRow::read(key.bytes(), &value[..20]), None);
        assert_eq!(GroupRow::read(key.bytes(), &[2]), None);
        assert_eq!(GroupRow::read(key.bytes(), &[]), None);
    }

    #[test]
    fn keys_of_a_lane_order_like_its_numbers() {
        let key = |lane, number| key(Uid([9; 16]), GroupNumber { lane, number });
        assert!(key(1, 255).bytes() < key(1, 256).bytes());
        assert!(key(1, u64::MAX).bytes() < key(2, 1).bytes());
    }
}

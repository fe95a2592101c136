//! Which groups of other nodes this one has heard: every lane of a node numbers them without a gap.
//!
//! Invariant: a number counts as done when all parts of its group were taken, or when its row was
//! read and told; what is not done after a while is asked of the database. Bounded by the number of
//! nodes and lanes.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use store::{GroupNumber, Uid};
use tokio::time::Instant;

/// How long a group may be missing while later ones are there.
const MISSING_MAX: Duration = Duration::from_millis(200);
/// Groups of a lane that are remembered beyond a missing one; those after them are read anew.
const LATER_MAX: usize = 1_024;

/// Where a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) lane: u8,
    /// All numbers up to this one are done.
    pub(super) done: u64,
    /// The greatest number that was heard of: it was committed.
    pub(super) known: u64,
}

#[derive(Default)]
struct Lane {
    /// All numbers up to this one are done.
    done: u64,
    /// Later ones, and the parts of each that are still to come.
    later: BTreeMap<u64, u16>,
    /// The greatest number that was heard of.
    known: u64,
    /// Since when one is missing.
    since: Option<Instant>,
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct Lanes {
    nodes: HashMap<Uid, BTreeMap<u8, Lane>>,
}

impl Lanes {
    /// Begins a node's lane behind what it did before this node was there to hear it.
    pub(super) fn begin(&mut self, node: Uid, last: GroupNumber) {
        let lane = self.lane(node, last.lane);
        lane.done = lane.done.max(last.number);
        lane.settle();
    }

    pub(super) fn forget(&mut self, node: Uid) {
        self.nodes.remove(&node);
    }

    /// Notes one of the parts of a group; tells whether it may be of use.
    pub(super) fn heard(
        &mut self,
        node: Uid,
        group: GroupNumber,
        parts: u16,
        now: Instant,
    ) -> bool {
        let lane = self.lane(node, group.lane);
        lane.known = lane.known.max(group.number);
        let is_new = group.number > lane.done && lane.later.get(&group.number) != Some(&0);
        if is_new && (lane.later.len() < LATER_MAX || group.number == lane.done + 1) {
            let missing = lane.later.entry(group.number).or_insert(parts);
            *missing = missing.saturating_sub(1);
        }
        lane.settle();
        lane.look(now);
        is_new
    }

    /// Notes that a node has told its groups up to these.
    pub(super) fn announced(&mut self, node: Uid, last: &[GroupNumber], now: Instant) {
        for group in last {
            let lane = self.lane(node, group.lane);
            lane.known = lane.known.max(group.number);
            lane.look(now);
        }
    }

    /// Notes that a group was read from its row and told.
    pub(super) fn repaired(&mut self, node: Uid, group: GroupNumber, now: Instant) {
        let lane = self.lane(node, group.lane);
        lane.known = lane.known.max(group.number);
        if group.number > lane.done && lane.later.len() < LATER_MAX + 1 {
            lane.later.insert(group.number, 0);
        }
        lane.settle();
        lane.look(now);
    }

    /// Gives up on what is before a group, whose rows are gone.
    pub(super) fn skip_to(&mut self, node: Uid, group: GroupNumber) {
        let lane = self.lane(node, group.lane);
        lane.done = lane.done.max(group.number.saturating_sub(1));
        lane.settle();
    }

    /// Returns where the lanes of a node are, those of `lane_count` lanes at least.
    pub(super) fn places(&self, node: Uid, lane_count: u8) -> Vec<Place> {
        let lanes = self.nodes.get(&node);
        let greatest = lanes.and_then(|lanes| lanes.keys().next_back()).copied().unwrap_or(0);
        let count = lane_count.max(greatest.saturating_add(1));
        let place = |lane| {
            let found = lanes.and_then(|lanes| lanes.get(&lane));
            let (done, known) = found.map_or((0, 0), |found| (found.done, found.known));
            Place { lane, done, known }
        };
        (0..count).map(place).collect()
    }

    /// Tells whether a group is done; of a node that is gone all are.
    pub(super) fn has_done(&self, node: Uid, group: GroupNumber) -> bool {
        let Some(lanes) = self.nodes.get(&node) else { return true };
        lanes.get(&group.lane).is_some_and(|lane| lane.done >= group.number)
    }

    /// Returns the nodes of which groups have been missing for too long.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Uid> {
        let is_overdue = |lane: &Lane| lane.since.is_some_and(|since| now - since >= MISSING_MAX);
        let nodes = self.nodes.iter().filter(|(_, lanes)| lanes.values().any(is_overdue));
        nodes.map(|(node, _)| *node).collect()
    }

    fn lane(&mut self, node: Uid, lane: u8) -> &mut Lane {
        self.nodes.entry(node).or_default().entry(lane).or_default()
    }
}

impl Lane {
    /// Moves on over what is complete.
    fn settle(&mut self) {
        while let Some(entry) = self.later.first_entry() {
            let number = *entry.key();
            let is_next = number == self.done + 1 && *entry.get() == 0;
            if number > self.done && !is_next {
                break;
            }
            entry.remove();
            self.done = self.done.max(number);
        }
        self.known = self.known.max(self.done);
    }

    fn look(&mut self, now: Instant) {
        if self.known <= self.done {
            self.since = None;
        } else if self.since.is_none() {
            self.since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Uid = Uid([3; 16]);

    fn group(number: u64) -> GroupNumber {
        GroupNumber { lane: 2, number }
    }

    fn done(lanes: &Lanes) -> u64 {
        lanes.places(NODE, 1)[2].done
    }

    #[test]
    fn numbers_are_done_in_order_and_each_is_taken_once() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        assert!(lanes.heard(NODE, group(1), 1, now));
        assert!(!lanes.heard(NODE, group(1), 1, now));
        assert!(lanes.heard(NODE, group(3), 1, now));
        assert!(!lanes.heard(NODE, group(3), 1, now));
        assert_eq!(done(&lanes), 1);
        assert!(lanes.heard(NODE, group(2), 1, now));
        assert_eq!(done(&lanes), 3);
        assert_eq!(lanes.overdue(now + MISSING_MAX), []);
    }

    #[test]
    fn a_group_is_done_with_the_last_of_its_parts() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        assert!(lanes.heard(NODE, group(1), 2, now));
        assert_eq!(done(&lanes), 0);
        assert_eq!(lanes.overdue(now + MISSING_MAX), [NODE]);
        assert!(lanes.heard(NODE, group(1), 2, now));
        assert_eq!(done(&lanes), 1);
        assert_eq!(lanes.overdue(now + MISSING_MAX), []);
    }

    #[test]
    fn a_hole_is_overdue_after_a_while_and_a_repair_closes_it() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        lanes.begin(NODE, group(4));
        assert!(!lanes.heard(NODE, group(4), 1, now));
        assert!(lanes.heard(NODE, group(6), 1, now));
        assert_eq!(lanes.overdue(now), []);
        assert_eq!(lanes.overdue(now + MISSING_MAX), [NODE]);
        assert_eq!(lanes.places(NODE, 3)[2], Place { lane: 2, done: 4, known: 6 });
        assert!(lanes.has_done(NODE, group(4)) && !lanes.has_done(NODE, group(5)));
        lanes.repaired(NODE, group(5), now);
        assert_eq!(done(&lanes), 6);
        assert_eq!(lanes.overdue(now + MISSING_MAX), []);
    }

    #[test]
    fn a_group_that_was_announced_and_never_came_is_overdue() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        lanes.announced(NODE, &[group(2)], now);
        assert_eq!(lanes.overdue(now + MISSING_MAX), [NODE]);
        lanes.skip_to(NODE, group(2));
        assert_eq!(done(&lanes), 1);
        lanes.repaired(NODE, group(2), now);
        assert_eq!(lanes.overdue(now + MISSING_MAX), []);
    }

    #[test]
    fn what_is_remembered_beyond_a_hole_is_bounded() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        for number in 2..(LATER_MAX as u64 + 100) {
            lanes.heard(NODE, group(number), 1, now);
        }
        assert_eq!(lanes.nodes[&NODE][&2].later.len(), LATER_MAX);
        lanes.heard(NODE, group(1), 1, now);
        assert_eq!(done(&lanes), LATER_MAX as u64 + 1);
        // The rest was not remembered, and is read.
        assert_eq!(lanes.overdue(now + MISSING_MAX), [NODE]);
    }
}

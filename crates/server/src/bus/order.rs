//! The order of commits below each home, whichever node they come from.
//!
//! Every commit says which one came before it in its home. One whose predecessor is still on its
//! way is held back for a moment; if that does not come, the home is repaired from the event table
//! and what was held follows. Invariants: what is handed out of a home has rising seqs, each once;
//! what is held is bounded; nothing here waits.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use store::{Stamp, Uid};
use tokio::time::Instant;

use super::message::Commit;

/// How long a commit waits for the one before it, which comes from another node or lane.
const HOLD: Duration = Duration::from_millis(200);
/// The same for the first commit of a home that this node hears of: mostly its predecessor was
/// heard by nobody here.
const FIRST_HOLD: Duration = Duration::from_millis(25);
/// How long a repair is awaited before it is asked for again.
const REPAIR_PATIENCE: Duration = Duration::from_secs(2);
/// Commits that may be held in all; with more of them the node has lost its way.
const HELD_MAX: usize = 8_192;
/// Homes of one generation whose last commit is known, some 100 bytes each.
const HOMES_MAX: usize = 200_000;

/// A home of which commits are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) home: Uid,
    /// The last commit that was handed out.
    pub(crate) after: Stamp,
}

/// Says that too much is held: what is missing cannot be told in order any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

struct Home {
    /// The least seq that was handed out. What is before it was never heard here.
    first_seq: u64,
    /// The last commit that was handed out; none while the first one is held.
    last: Option<Stamp>,
    /// By seq.
    held: BTreeMap<u64, Commit>,
    /// When something is done about what is held.
    due: Option<Instant>,
}

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Order {
    young: HashMap<Uid, Home>,
    old: HashMap<Uid, Home>,
    held_count: usize,
    /// Homes that hold something.
    waiting: Vec<Uid>,
}

impl Order {
    /// Takes a commit and adds what may be told now to `out`.
    pub(crate) fn accept(
        &mut self,
        commit: Commit,
        now: Instant,
        out: &mut Vec<Commit>,
    ) -> Result<(), Overflow> {
        let seq = commit.stamp.seq;
        if seq == 0 {
            // It was published and has no place in the order.
            out.push(commit);
            return Ok(());
        }
        let home = Self::home(&mut self.young, &mut self.old, commit.home);
        if home.last.is_some_and(|last| seq <= last.seq) {
            if seq < home.first_seq {
                home.first_seq = seq;
                out.push(commit);
            }
            return Ok(());
        }
        let follows = match home.last {
            Some(last) => commit.prev_seq <= last.seq,
            None => commit.prev_seq == 0,
        };
        if follows {
            home.take(commit, out);
            self.held_count -= home.drain(out, Gaps::Wait);
            return Ok(());
        }
        if home.held.is_empty() {
            let hold = if home.last.is_some() { HOLD } else { FIRST_HOLD };
            home.due = Some(now + hold);
            self.waiting.push(commit.home);
        }
        if home.held.insert(seq, commit).is_none() {
            self.held_count += 1;
        }
        if self.held_count > HELD_MAX { Err(Overflow) } else { Ok(()) }
    }

    fn home<'a>(
        young: &'a mut HashMap<Uid, Home>,
        old: &mut HashMap<Uid, Home>,
        uid: Uid,
    ) -> &'a mut Home {
        young.entry(uid).or_insert_with(|| {
            old.remove(&uid).unwrap_or_else(|| Home {
                first_seq: u64::MAX,
                last: None,
                held: BTreeMap::new(),
                due: None,
            })
        })
    }

    /// Hands out what has waited as long as it may, and returns the homes that need a repair.
    pub(crate) fn turn(&mut self, now: Instant, out: &mut Vec<Commit>) -> Vec<Missing> {
        let mut missing = Vec::new();
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|uid| {
            let home = Self::home(&mut self.young, &mut self.old, *uid);
            if home.held.is_empty() {
                home.due = None;
                return false;
            }
            if home.due.is_some_and(|due| due > now) {
                return true;
            }
            match home.last {
                None => {
                    self.held_count -= home.drain(out, Gaps::Pass);
                    false
                }
                Some(after) => {
                    home.due = Some(now + REPAIR_PATIENCE);
                    missing.push(Missing { home: *uid, after });
                    true
                }
            }
        });
        self.waiting = waiting;
        if self.young.len() > HOMES_MAX {
            self.turn_generation();
        }
        missing
    }

    /// Forgets homes that were not heard of for long. Those that hold something stay.
    fn turn_generation(&mut self) {
        let keeps = |home: &Home| !home.held.is_empty();
        let mut kept: HashMap<Uid, Home> = HashMap::new();
        for uid in &self.waiting {
            let found = self.young.remove(uid).or_else(|| self.old.remove(uid));
            kept.extend(found.filter(keeps).map(|home| (*uid, home)));
        }
        self.old = std::mem::replace(&mut self.young, kept);
    }

    /// Hands out what a home holds: the repair has told all that there is.
    pub(crate) fn repaired(&mut self, uid: Uid, out: &mut Vec<Commit>) {
        let home = Self::home(&mut self.young, &mut self.old, uid);
        self.held_count -= home.drain(out, Gaps::Pass);
    }

    /// Begins anew: nobody is there any more who would miss something.
    pub(crate) fn forget_held(&mut self) {
        for uid in std::mem::take(&mut self.waiting) {
            let home = Self::home(&mut self.young, &mut self.old, uid);
            if let Some((_, last)) = home.held.pop_last() {
                home.last = Some(last.stamp);
                home.first_seq = home.first_seq.min(last.stamp.seq);
            }
            home.held.clear();
            home.due = None;
        }
        self.held_count = 0;
    }

    /// Returns how many commits wait for others.
    pub(crate) fn held_count(&self) -> usize {
        self.held_count
    }
}

/// What becomes of a commit whose predecessor was not told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gaps {
    Wait,
    Pass,
}

impl Home {
    fn take(&mut self, commit: Commit, out: &mut Vec<Commit>) {
        self.first_seq = self.first_seq.min(commit.stamp.seq);
        self.last = Some(commit.stamp);
        out.push(commit);
    }

    /// Hands out what is held, in order, and returns how many held ones are gone.
    fn drain(&mut self, out: &mut Vec<Commit>, gaps: Gaps) -> usize {
        let before = self.held.len();
        while let Some(entry) = self.held.first_entry() {
            let last_seq = self.last.map_or(0, |last| last.seq);
            if *entry.key() <= last_seq {
                entry.remove();
                continue;
            }
            if gaps == Gaps::Wait && entry.get().prev_seq > last_seq {
                break;
            }
            let commit = entry.remove();
            self.take(commit, out);
        }
        if self.held.is_empty() {
            self.due = None;
        }
        before - self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Uid = Uid([7; 16]);
    const NONE: [u64; 0] = [];

    fn commit(prev_seq: u64, seq: u64) -> Commit {
        Commit { home: HOME, prev_seq, stamp: Stamp { ms: 1_000 + seq, seq }, events: Vec::new() }
    }

    struct Hearer {
        order: Order,
        now: Instant,
    }

    impl Hearer {
        /// A node that has heard the first commit of the home.
        fn new() -> Hearer {
            let mut hearer = Hearer { order: Order::default(), now: Instant::now() };
            assert_eq!(hearer.hear(0, 1), [1]);
            hearer
        }

        fn hear(&mut self, prev_seq: u64, seq: u64) -> Vec<u64> {
            let mut out = Vec::new();
            self.order.accept(commit(prev_seq, seq), self.now, &mut out).expect("has room");
            out.iter().map(|commit| commit.stamp.seq).collect()
        }

        fn wait(&mut self, time: Duration) -> (Vec<u64>, Vec<u64>) {
            self.now += time;
            let mut out = Vec::new();
            let missing = self.order.turn(self.now, &mut out);
            let seqs = out.iter().map(|commit| commit.stamp.seq).collect();
            (seqs, missing.iter().map(|missing| missing.after.seq).collect())
        }

        fn repaired(&mut self) -> Vec<u64> {
            let mut out = Vec::new();
            self.order.repaired(HOME, &mut out);
            out.iter().map(|commit| commit.stamp.seq).collect()
        }
    }

    #[test]
    fn commits_are_handed_out_in_the_order_of_their_home() {
        let mut hearer = Hearer::new();
        assert_eq!(hearer.hear(4, 5), NONE);
        assert_eq!(hearer.hear(2, 4), NONE);
        assert_eq!(hearer.order.held_count(), 2);
        assert_eq!(hearer.hear(1, 2), [2, 4, 5]);
        assert_eq!(hearer.hear(5, 9), [9]);
        assert_eq!(hearer.order.held_count(), 0);
        assert_eq!(hearer.wait(HOLD * 2), (vec![], vec![]));
    }

    #[test]
    fn what_was_handed_out_is_not_handed_out_again() {
        let mut hearer = Hearer::new();
        assert_eq!(hearer.hear(1, 3), [3]);
        assert_eq!(hearer.hear(1, 3), NONE);
        assert_eq!(hearer.hear(0, 1), NONE);
        assert_eq!(hearer.hear(4, 6), NONE);
        assert_eq!(hearer.hear(4, 6), NONE);
        assert_eq!(hearer.hear(3, 4), [4, 6]);
    }

    #[test]
    fn a_hole_that_lasts_asks_for_a_repair_and_what_was_held_follows_it() {
        let mut hearer = Hearer::new();
        assert_eq!(hearer.hear(3, 4), NONE);
        assert_eq!(hearer.wait(HOLD / 2), (vec![], vec![]));
        assert_eq!(hearer.wait(HOLD), (vec![], vec![1]));
        assert_eq!(hearer.wait(HOLD), (vec![], vec![]));
        assert_eq!(hearer.hear(1, 2), [2]);
        assert_eq!(hearer.hear(2, 3), [3, 4]);
        assert_eq!(hearer.repaired(), NONE);
    }

    #[test]
    fn a_repair_that_does_not_come_is_asked_for_again() {
        let mut hearer = Hearer::new();
        hearer.hear(3, 4);
        assert_eq!(hearer.wait(HOLD), (vec![], vec![1]));
        assert_eq!(hearer.wait(REPAIR_PATIENCE), (vec![], vec![1]));
        assert_eq!(hearer.repaired(), [4]);
        assert_eq!(hearer.wait(REPAIR_PATIENCE), (vec![], vec![]));
    }

    #[test]
    fn the_first_commit_heard_of_a_home_waits_a_moment_and_no_repair() {
        let mut hearer = Hearer { order: Order::default(), now: Instant::now() };
        assert_eq!(hearer.hear(8, 9), NONE);
        assert_eq!(hearer.hear(6, 8), NONE);
        assert_eq!(hearer.wait(FIRST_HOLD), (vec![8, 9], vec![]));
        // What comes late all the same is not lost.
        assert_eq!(hearer.hear(5, 6), [6]);
        assert_eq!(hearer.hear(5, 6), NONE);
    }

    #[test]
    fn what_was_published_waits_for_nobody() {
        let mut hearer = Hearer::new();
        assert_eq!(hearer.hear(3, 4), NONE);
        assert_eq!(hearer.hear(0, 0), [0]);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut hearer = Hearer::new();
        let mut out = Vec::new();
        let outcomes: Vec<bool> = (3..)
            .take(HELD_MAX + 1)
            .map(|seq| hearer.order.accept(commit(seq - 1, seq), hearer.now, &mut out).is_ok())
            .collect();
        assert_eq!(outcomes.iter().filter(|is_held| !**is_held).count(), 1);
        hearer.order.forget_held();
        assert_eq!(hearer.order.held_count(), 0);
        let next = 4 + HELD_MAX as u64;
        assert_eq!(hearer.hear(next - 1, next), [next]);
        assert!(out.is_empty());
    }

    #[test]
    fn homes_are_forgotten_by_generations_and_those_that_hold_something_stay() {
        let mut hearer = Hearer::new();
        hearer.hear(3, 4);
        let mut out = Vec::new();
        for number in 0..=HOMES_MAX as u128 {
            let home = Uid((number + 1).to_be_bytes());
            let commit = Commit { home, ..commit(0, 1) };
            hearer.order.accept(commit, hearer.now, &mut out).expect("has room");
        }
        hearer.wait(Duration::ZERO);
        assert_eq!(hearer.order.young.len(), 1);
        assert_eq!(hearer.hear(1, 3), [3, 4]);
    }
}

//! The order of commits below each home, whichever node they come from.
//!
//! Every commit says which one came before it in its home. One whose predecessor is still on its
//! way is held back for a moment; if that does not come, the home is repaired from the event table
//! and what was held follows. Of a home that is new here nobody knows whether the predecessor was
//! told: its first commit waits until all is known that was committed before it came (`fence.rs`).
//! Invariants: what is handed out of a home has rising seqs, each once, and nothing is passed over
//! that can still come; what is held is bounded; nothing here waits.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use store::{Stamp, Uid};
use tokio::time::Instant;

use super::message::Commit;

/// How long a commit waits for the one before it, which comes from another node or lane.
const HOLD: Duration = Duration::from_millis(200);
/// How long an answer is awaited before it is asked for again.
const PATIENCE: Duration = Duration::from_secs(2);
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
    /// The last commit that is held. All before it can be read; what comes later may have holes
    /// of its own.
    pub(crate) until_seq: u64,
}

/// Says that too much is held: what is missing cannot be told in order any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

#[derive(Default)]
struct Home {
    /// The last commit that was handed out; none while the first one is held.
    last: Option<Stamp>,
    /// By seq.
    held: BTreeMap<u64, Commit>,
    /// When something is done about what is held.
    due: Option<Instant>,
    /// What the first commit waits for.
    first: Option<First>,
    /// Whether it is among those that hold something.
    is_listed: bool,
}

/// The commit of a home that came first.
#[derive(Clone, Copy)]
struct First {
    seq: u64,
    /// The question that has to be answered.
    question: u64,
}

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Order {
    young: HashMap<Uid, Home>,
    old: HashMap<Uid, Home>,
    held_count: usize,
    /// Homes that hold something.
    waiting: Vec<Uid>,
    /// Questions that were asked.
    asked: u64,
    is_to_ask: bool,
}

impl Order {
    /// Takes a commit and adds what may be told now to `out`.
    pub(crate) fn accept(
        &mut self,
        commit: Commit,
        now: Instant,
        out: &mut Vec<Commit>,
    ) -> Result<(), Overflow> {
        let (uid, seq) = (commit.home, commit.stamp.seq);
        if seq == 0 {
            // It was published and has no place in the order.
            out.push(commit);
            return Ok(());
        }
        let home = Self::home(&mut self.young, &mut self.old, uid);
        let last_seq = home.last_seq();
        if seq <= last_seq {
            return Ok(());
        }
        if commit.prev_seq <= last_seq {
            home.take(commit, out);
            self.held_count -= home.drain(0, out);
            return Ok(());
        }
        if home.held.is_empty() {
            let patience = if home.last.is_some() { HOLD } else { PATIENCE };
            home.due = Some(now + patience);
        }
        if home.last.is_none() && home.first.is_none() {
            home.first = Some(First { seq, question: self.asked + 1 });
            self.is_to_ask = true;
        }
        if !std::mem::replace(&mut home.is_listed, true) {
            self.waiting.push(uid);
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
        young.entry(uid).or_insert_with(|| old.remove(&uid).unwrap_or_default())
    }

    /// Returns a question to be asked: is all known that was committed before now?
    pub(crate) fn question(&mut self) -> Option<u64> {
        if !std::mem::take(&mut self.is_to_ask) {
            return None;
        }
        self.asked += 1;
        Some(self.asked)
    }

    /// Takes the answer to all questions up to one: yes. What is before a first commit was told, or
    /// nobody is here who would have to hear it.
    pub(crate) fn answered(&mut self, question: u64, now: Instant, out: &mut Vec<Commit>) {
        for uid in &self.waiting {
            let home = Self::home(&mut self.young, &mut self.old, *uid);
            let first = home.first.filter(|first| first.question <= question);
            if let Some(first) = first {
                self.held_count -= home.pass(first.seq, now, out);
            }
        }
    }

    /// Returns the homes that need a repair.
    pub(crate) fn turn(&mut self, now: Instant) -> Vec<Missing> {
        let mut missing = Vec::new();
        let (young, old) = (&mut self.young, &mut self.old);
        self.waiting.retain(|uid| {
            let home = Self::home(young, old, *uid);
            let Some((&until_seq, _)) = home.held.last_key_value() else {
                home.is_listed = false;
                return false;
            };
            if home.due.is_none_or(|due| due <= now) {
                home.due = Some(now + PATIENCE);
                match home.last {
                    Some(after) => missing.push(Missing { home: *uid, after, until_seq }),
                    None => self.is_to_ask = true,
                }
            }
            true
        });
        if self.young.len() > HOMES_MAX {
            self.turn_generation();
        }
        missing
    }

    /// Forgets homes that were not heard of for long. Those that hold something stay.
    fn turn_generation(&mut self) {
        let mut kept: HashMap<Uid, Home> = HashMap::new();
        for uid in &self.waiting {
            let found = self.young.remove(uid).or_else(|| self.old.remove(uid));
            kept.extend(found.map(|home| (*uid, home)));
        }
        self.old = std::mem::replace(&mut self.young, kept);
    }

    /// Hands out what a home holds: the repair has told all that there is before a commit.
    pub(crate) fn repaired(&mut self, missing: Missing, now: Instant, out: &mut Vec<Commit>) {
        let home = Self::home(&mut self.young, &mut self.old, missing.home);
        self.held_count -= home.pass(missing.until_seq, now, out);
    }

    /// Begins anew: nobody is there any more who would miss something.
    pub(crate) fn forget_held(&mut self) {
        for uid in std::mem::take(&mut self.waiting) {
            let home = Self::home(&mut self.young, &mut self.old, uid);
            let last = home.held.pop_last().map(|(_, last)| last.stamp).or(home.last);
            *home = Home { last, ..Home::default() };
        }
        self.held_count = 0;
    }

    /// Returns how many commits wait for others.
    pub(crate) fn held_count(&self) -> usize {
        self.held_count
    }
}

impl Home {
    fn last_seq(&self) -> u64 {
        self.last.map_or(0, |last| last.seq)
    }

    fn take(&mut self, commit: Commit, out: &mut Vec<Commit>) {
        self.last = Some(commit.stamp);
        self.first = None;
        out.push(commit);
    }

    /// Hands out what is held up to a commit and what follows it; what has a hole before it then
    /// waits anew. Returns how many held ones are gone.
    fn pass(&mut self, until_seq: u64, now: Instant, out: &mut Vec<Commit>) -> usize {
        let count = self.drain(until_seq, out);
        if !self.held.is_empty() {
            self.due = Some(now + HOLD);
        }
        count
    }

    /// Hands out what is held, in order, as far as it follows what was handed out or is not after
    /// `until_seq`, and returns how many held ones are gone.
    fn drain(&mut self, until_seq: u64, out: &mut Vec<Commit>) -> usize {
        let before = self.held.len();
        while let Some(entry) = self.held.first_entry() {
            let (seq, last_seq) = (*entry.key(), self.last.map_or(0, |last| last.seq));
            if seq <= last_seq {
                entry.remove();
                continue;
            }
            if entry.get().prev_seq > last_seq && seq > until_seq {
                break;
            }
            let commit = entry.remove();
            self.take(commit, out);
        }
        before - self.held.len()
    }
}

#[cfg(test)]
mod tests;

//! What is told to sockets waits while this node does not know what the others have committed.
//!
//! A socket that is cut off resumes from the last event that it was told, a few seconds back. So
//! nothing may be told that is much newer than something that is still on its way from elsewhere: a
//! node that stood still, or hears nothing of the others, tells nothing before it has caught up, its
//! own commits included. Invariants: what waits is told in the order of its time, and in each home
//! in its order; what waits is bounded.

use std::time::Duration;

use tokio::time::Instant;

use super::fence::Certain;
use super::message::{Commit, weight};
use super::order::Overflow;

/// How far what is told may be ahead of what is certain. With the time that a commit takes and what
/// the clocks of nodes are apart it is less than what a session that resumes goes back.
const AHEAD_MAX: Duration = Duration::from_secs(1);
/// Bytes that may wait.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// See the head of this file.
pub(crate) struct Gate {
    certain: Certain,
    waiting: Vec<Commit>,
    bytes: usize,
}

impl Gate {
    /// Makes the gate of a node that is certain of what was committed before it began.
    pub(crate) fn new(certain: Certain) -> Self {
        Self { certain, waiting: Vec::new(), bytes: 0 }
    }

    /// Moves on to what is certain now; what may be told then comes with the next call of `pass`.
    pub(crate) fn open_up_to(&mut self, certain: Certain) {
        self.certain = certain;
    }

    /// Returns whether whatever comes may be told at once.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.certain.at) < AHEAD_MAX
    }

    /// Returns the time, by this node's clock, up to which anything may be told.
    pub(crate) fn last_ms(&self) -> u64 {
        let ahead_ms = u64::try_from(AHEAD_MAX.as_millis()).unwrap_or(u64::MAX);
        self.certain.at_ms.saturating_add(ahead_ms)
    }

    /// Takes commits in the order of their homes and returns what may be told now.
    pub(crate) fn pass(
        &mut self,
        commits: Vec<Commit>,
        now: Instant,
    ) -> Result<Vec<Commit>, Overflow> {
        let is_open = self.is_open(now);
        if is_open && self.waiting.is_empty() {
            return Ok(commits);
        }
        self.bytes += commits.iter().map(weight).sum::<usize>();
        self.waiting.extend(commits);
        // The sort keeps the order of a home, whose times never fall.
        self.waiting.sort_by_key(|commit| commit.stamp.ms);
        let last_ms = self.last_ms();
        let count = if is_open {
            self.waiting.len()
        } else {
            self.waiting.partition_point(|commit| commit.stamp.ms <= last_ms)
        };
        let passed: Vec<Commit> = self.waiting.drain(..count).collect();
        self.bytes -= passed.iter().map(weight).sum::<usize>();
        if self.bytes > BYTES_MAX { Err(Overflow) } else { Ok(passed) }
    }

    /// Begins anew: nobody is there any more who would miss something.
    pub(crate) fn forget(&mut self) {
        (self.waiting, self.bytes) = (Vec::new(), 0);
    }

    /// Returns how many commits wait.
    pub(crate) fn count(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use store::{Stamp, Uid};

    use super::*;

    const BEGIN_MS: u64 = 1_700_000_000_000;
    const NONE: [u64; 0] = [];

    struct Passage {
        gate: Gate,
        begin: Instant,
    }

    impl Passage {
        /// The gate of a node that has just begun.
        fn new() -> Passage {
            let begin = Instant::now();
            Passage { gate: Gate::new(certain(begin, 0)), begin }
        }

        /// Brings commits, each a time after the beginning and a seq, at `at_ms`, and returns the seqs
        /// that pass.
        fn bring(&mut self, at_ms: u64, commits: &[(u64, u64)]) -> Vec<u64> {
            let commit = |&(ms, seq): &(u64, u64)| Commit {
                home: Uid([u8::try_from(seq / 100).expect("is small"); 16]),
                prev_seq: seq - 1,
                stamp: Stamp { ms: BEGIN_MS + ms, seq },
                events: Vec::new(),
            };
            let now = self.begin + Duration::from_millis(at_ms);
            let passed = self.gate.pass(commits.iter().map(commit).collect(), now);
            passed.expect("has room").iter().map(|commit| commit.stamp.seq).collect()
        }
    }

    fn certain(begin: Instant, ms: u64) -> Certain {
        Certain { at: begin + Duration::from_millis(ms), at_ms: BEGIN_MS + ms, question: 0 }
    }

    #[test]
    fn everything_passes_while_the_node_knows_what_the_others_do() {
        let mut passage = Passage::new();
        assert_eq!(passage.bring(999, &[(999, 1), (990, 101)]), [1, 101]);
        passage.gate.open_up_to(certain(passage.begin, 900));
        assert_eq!(passage.bring(1_899, &[(1_899, 2)]), [2]);
        assert_eq!(passage.gate.count(), 0);
    }

    #[test]
    fn a_node_that_stood_still_tells_its_own_commits_after_those_that_it_has_missed() {
        let mut passage = Passage::new();
        assert_eq!(passage.bring(20_000, &[(20_000, 101), (20_001, 102)]), NONE);
        assert_eq!(passage.bring(20_005, &[(4_000, 1), (9_000, 2)]), NONE);
        assert_eq!(passage.gate.count(), 4);
        passage.gate.open_up_to(certain(passage.begin, 19_900));
        assert_eq!(passage.bring(20_010, &[(15_000, 3)]), [1, 2, 3, 101, 102]);
        assert_eq!(passage.gate.count(), 0);
    }

    #[test]
    fn a_node_that_stays_behind_tells_what_is_not_far_ahead_of_what_is_certain() {
        let mut passage = Passage::new();
        assert_eq!(passage.bring(8_000, &[(8_000, 101), (900, 1), (4_900, 2)]), [1]);
        passage.gate.open_up_to(certain(passage.begin, 4_000));
        assert_eq!(passage.bring(8_100, &[(5_100, 3)]), [2]);
        passage.gate.open_up_to(certain(passage.begin, 4_500));
        assert_eq!(passage.bring(8_200, &[]), [3]);
        assert_eq!(passage.gate.count(), 1);
    }

    #[test]
    fn what_waits_is_bounded_and_forgotten_when_all_sockets_are_closed() {
        let mut passage = Passage::new();
        passage.gate.bytes = BYTES_MAX;
        let commit = Commit {
            home: Uid([1; 16]),
            prev_seq: 0,
            stamp: Stamp { ms: BEGIN_MS + 9_000, seq: 1 },
            events: Vec::new(),
        };
        let late = passage.begin + Duration::from_secs(9);
        assert_eq!(passage.gate.pass(vec![commit], late), Err(Overflow));
        passage.gate.forget();
        assert_eq!(passage.bring(9_000, &[(9_000, 2)]), NONE);
        passage.gate.open_up_to(certain(passage.begin, 9_000));
        assert_eq!(passage.bring(9_000, &[]), [2]);
    }
}

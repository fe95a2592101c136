//! When this node knows what all nodes have committed.
//!
//! The database is asked again and again for the last group of every lane of every node. Once all
//! of these were heard, read or committed here, whatever was committed before the question has been
//! told to the relay: that is certain then, whether the bus is there or not. Invariants: one
//! question at a time; a question of the relay is answered only by what was asked after it.

use std::time::Duration;

use store::{GroupNumber, Uid};
use tokio::time::Instant;

/// How often the database is asked where nobody waits for it.
const PAUSE: Duration = Duration::from_millis(250);
/// The same where somebody waits: others who come at the same time wait with him.
const PAUSE_IF_WANTED: Duration = Duration::from_millis(10);

/// What is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Certain {
    /// The moment up to which everything that was committed has been told.
    pub(crate) at: Instant,
    /// The same by this node's clock.
    pub(crate) at_ms: u64,
    /// The last of the relay's questions that is answered.
    pub(crate) question: u64,
}

enum State {
    /// When the database may be asked next.
    Idle(Instant),
    Asking(Certain),
    /// Not all of these groups were told.
    Behind(Certain, Vec<(Uid, GroupNumber)>),
}

/// See the head of this file.
pub(super) struct Fence {
    state: State,
    /// The last question of the relay.
    wanted: u64,
    answered: u64,
}

impl Fence {
    pub(super) fn new(now: Instant) -> Self {
        Self { state: State::Idle(now), wanted: 0, answered: 0 }
    }

    /// Takes a question of the relay.
    pub(super) fn want(&mut self, question: u64) {
        self.wanted = self.wanted.max(question);
    }

    /// Returns when the database is to be asked; none while its last answer is not dealt with.
    pub(super) fn due(&self) -> Option<Instant> {
        let State::Idle(since) = self.state else { return None };
        let is_wanted = self.wanted > self.answered;
        Some(since + if is_wanted { PAUSE_IF_WANTED } else { PAUSE })
    }

    /// Notes that the database is asked.
    pub(super) fn begin(&mut self, now: Instant, now_ms: u64) {
        self.state = State::Asking(Certain { at: now, at_ms: now_ms, question: self.wanted });
    }

    /// Takes the answer of the database; none if it gave none.
    pub(super) fn read(&mut self, last: Option<Vec<(Uid, GroupNumber)>>, now: Instant) {
        let State::Asking(certain) = self.state else { return };
        self.state = match last {
            Some(last) => State::Behind(certain, last),
            None => State::Idle(now),
        };
    }

    /// Returns what has become certain, once: when all groups are told that the database named.
    pub(super) fn passed(
        &mut self,
        now: Instant,
        mut is_told: impl FnMut(Uid, GroupNumber) -> bool,
    ) -> Option<Certain> {
        let State::Behind(certain, last) = &mut self.state else { return None };
        last.retain(|(node, group)| !is_told(*node, *group));
        if !last.is_empty() {
            return None;
        }
        let certain = *certain;
        self.state = State::Idle(now);
        self.answered = certain.question;
        Some(certain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Uid = Uid([5; 16]);

    fn last(number: u64) -> Option<Vec<(Uid, GroupNumber)>> {
        Some(vec![(NODE, GroupNumber { lane: 1, number })])
    }

    #[test]
    fn what_was_committed_before_the_question_is_certain_when_it_was_told() {
        let begin = Instant::now();
        let mut fence = Fence::new(begin);
        assert_eq!(fence.due(), Some(begin + PAUSE));
        fence.begin(begin, 7);
        assert_eq!((fence.due(), fence.passed(begin, |_, _| true)), (None, None));
        let now = begin + PAUSE;
        fence.read(last(4), now);
        assert_eq!(fence.passed(now, |_, group| group.number < 4), None);
        assert_eq!(fence.due(), None);
        let certain = Certain { at: begin, at_ms: 7, question: 0 };
        let is_told = |node, group: GroupNumber| (node, group.number) == (NODE, 4);
        assert_eq!(fence.passed(now, is_told), Some(certain));
        assert_eq!(fence.passed(now, |_, _| true), None);
        assert_eq!(fence.due(), Some(now + PAUSE));
    }

    #[test]
    fn a_question_is_answered_by_what_is_asked_after_it() {
        let now = Instant::now();
        let mut fence = Fence::new(now);
        let ask = |fence: &mut Fence| {
            fence.begin(now, 1);
            fence.want(1);
            fence.read(last(1), now);
            fence.passed(now, |_, _| true).map(|certain| certain.question)
        };
        assert_eq!(ask(&mut fence), Some(0));
        assert_eq!(fence.due(), Some(now + PAUSE_IF_WANTED));
        assert_eq!(ask(&mut fence), Some(1));
        assert_eq!(fence.due(), Some(now + PAUSE));
    }

    #[test]
    fn a_database_that_does_not_answer_is_asked_again() {
        let now = Instant::now();
        let mut fence = Fence::new(now);
        fence.begin(now, 1);
        fence.read(None, now);
        assert_eq!(fence.passed(now, |_, _| true), None);
        assert_eq!(fence.due(), Some(now + PAUSE));
    }
}

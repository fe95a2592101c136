//! When this node knows what all nodes have committed.
//!
//! The database is asked again and again for the last group of every lane of every node. Once all
//! of these were heard, read or committed here, whatever was committed before the question has been
//! told to the relay: that is certain then, whether the bus is there or not. A transaction that was
//! open at the question may still commit what it stamped at its beginning, so nothing later is
//! certain. Invariants: one question at a time; a question of the relay is answered only by what was
//! asked after it; what is certain never falls.

use std::time::Duration;

use store::postgres::Progress;
use store::{GroupNumber, Uid};
use tokio::time::Instant;

/// How often the database is asked where nobody waits for it.
const PAUSE: Duration = Duration::from_millis(250);
/// The same where somebody waits: others who come at the same time wait with him.
const PAUSE_IF_WANTED: Duration = Duration::from_millis(10);

/// What is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Certain {
    /// The moment up to which everything that was stamped has been told, if it was committed.
    pub(crate) at: Instant,
    /// The same by this node's clock.
    pub(crate) at_ms: u64,
    /// The last of the relay's questions that is answered.
    pub(crate) question: u64,
}

impl Certain {
    /// Goes back behind what was open when the database was asked.
    pub(super) fn before(self, open_for: Duration) -> Self {
        let open_ms = u64::try_from(open_for.as_millis()).unwrap_or(u64::MAX);
        let at = self.at.checked_sub(open_for).unwrap_or(self.at);
        Self { at, at_ms: self.at_ms.saturating_sub(open_ms), ..self }
    }

    /// Returns what is certain if both are.
    fn or_later(self, other: Self) -> Self {
        let later = if other.at > self.at { other } else { self };
        Self { question: self.question.max(other.question), ..later }
    }
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
    /// What was certain last.
    certain: Certain,
    /// The last question of the relay.
    wanted: u64,
}

impl Fence {
    /// Makes the fence of a node that is certain of what was before it began.
    pub(super) fn new(certain: Certain, now: Instant) -> Self {
        Self { state: State::Idle(now), certain, wanted: 0 }
    }

    /// Takes a question of the relay.
    pub(super) fn want(&mut self, question: u64) {
        self.wanted = self.wanted.max(question);
    }

    /// Returns when the database is to be asked; none while its last answer is not dealt with.
    pub(super) fn due(&self) -> Option<Instant> {
        let State::Idle(since) = self.state else { return None };
        let is_wanted = self.wanted > self.certain.question;
        Some(since + if is_wanted { PAUSE_IF_WANTED } else { PAUSE })
    }

    /// Notes that the database is asked.
    pub(super) fn begin(&mut self, now: Instant, now_ms: u64) {
        self.state = State::Asking(Certain { at: now, at_ms: now_ms, question: self.wanted });
    }

    /// Takes the answer of the database; none if it gave none.
    pub(super) fn read(&mut self, progress: Option<Progress>, now: Instant) {
        let State::Asking(certain) = self.state else { return };
        self.state = match progress {
            Some(Progress { last, open_for }) => State::Behind(certain.before(open_for), last),
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
        self.certain = self.certain.or_later(*certain);
        self.state = State::Idle(now);
        Some(self.certain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Uid = Uid([5; 16]);

    fn certain(at: Instant, at_ms: u64) -> Certain {
        Certain { at, at_ms, question: 0 }
    }

    fn last(number: u64) -> Option<Progress> {
        open_for(Duration::ZERO, number)
    }

    fn open_for(open_for: Duration, number: u64) -> Option<Progress> {
        Some(Progress { last: vec![(NODE, GroupNumber { lane: 1, number })], open_for })
    }

    #[test]
    fn what_was_committed_before_the_question_is_certain_when_it_was_told() {
        let begin = Instant::now();
        let mut fence = Fence::new(certain(begin, 0), begin);
        assert_eq!(fence.due(), Some(begin + PAUSE));
        let asked = begin + PAUSE;
        fence.begin(asked, 7);
        assert_eq!((fence.due(), fence.passed(asked, |_, _| true)), (None, None));
        let now = asked + PAUSE;
        fence.read(last(4), now);
        assert_eq!(fence.passed(now, |_, group| group.number < 4), None);
        assert_eq!(fence.due(), None);
        let is_told = |node, group: GroupNumber| (node, group.number) == (NODE, 4);
        assert_eq!(fence.passed(now, is_told), Some(certain(asked, 7)));
        assert_eq!(fence.passed(now, |_, _| true), None);
        assert_eq!(fence.due(), Some(now + PAUSE));
    }

    #[test]
    fn nothing_later_than_the_beginning_of_an_open_transaction_is_certain() {
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        let mut fence = Fence::new(certain(begin, 50_000), begin);
        let mut ask = |after: u32, open: Duration| {
            let asked = begin + second * after;
            fence.begin(asked, 50_000 + u64::from(after) * 1_000);
            fence.read(open_for(open, 1), asked);
            fence.passed(asked, |_, _| true)
        };
        assert_eq!(ask(4, second * 2), Some(certain(begin + second * 2, 52_000)));
        assert_eq!(ask(5, second * 3), Some(certain(begin + second * 2, 52_000)));
        // One that waited for a lock had no stamps then: what was certain remains so.
        assert_eq!(ask(6, second * 5), Some(certain(begin + second * 2, 52_000)));
        assert_eq!(ask(7, Duration::ZERO), Some(certain(begin + second * 7, 57_000)));
    }

    #[test]
    fn a_question_is_answered_by_what_is_asked_after_it() {
        let now = Instant::now();
        let mut fence = Fence::new(certain(now, 0), now);
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
        let mut fence = Fence::new(certain(now, 0), now);
        fence.begin(now, 1);
        fence.read(None, now);
        assert_eq!(fence.passed(now, |_, _| true), None);
        assert_eq!(fence.due(), Some(now + PAUSE));
    }
}

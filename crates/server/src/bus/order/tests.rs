use super::*;

const HOME: Uid = Uid([7; 16]);
const NONE: [u64; 0] = [];

fn commit(prev_seq: u64, seq: u64) -> Commit {
    Commit { home: HOME, prev_seq, stamp: Stamp { ms: 1_000 + seq, seq }, events: Vec::new() }
}

fn seqs(commits: &[Commit]) -> Vec<u64> {
    commits.iter().map(|commit| commit.stamp.seq).collect()
}

struct Hearer {
    order: Order,
    now: Instant,
}

impl Hearer {
    /// A node that has heard the first commit of the home.
    fn new() -> Hearer {
        let mut hearer = Hearer::stranger();
        assert_eq!(hearer.hear(0, 1), [1]);
        hearer
    }

    /// A node that has heard nothing of the home.
    fn stranger() -> Hearer {
        Hearer { order: Order::default(), now: Instant::now() }
    }

    fn hear(&mut self, prev_seq: u64, seq: u64) -> Vec<u64> {
        let mut out = Vec::new();
        self.order.accept(commit(prev_seq, seq), self.now, &mut out).expect("has room");
        seqs(&out)
    }

    fn wait(&mut self, time: Duration) -> Vec<Missing> {
        self.now += time;
        self.order.turn(self.now)
    }

    /// Waits until something is missing behind a commit.
    fn misses(&mut self, after_seq: u64) -> Missing {
        let missing = self.wait(HOLD);
        assert_eq!(missing.iter().map(|it| it.after.seq).collect::<Vec<u64>>(), [after_seq]);
        missing[0]
    }

    fn repaired(&mut self, missing: Missing) -> Vec<u64> {
        let mut out = Vec::new();
        self.order.repaired(missing, self.now, &mut out);
        seqs(&out)
    }

    fn answered(&mut self, question: u64) -> Vec<u64> {
        let mut out = Vec::new();
        self.order.answered(question, self.now, &mut out);
        seqs(&out)
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
    assert_eq!(hearer.wait(HOLD * 2), []);
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
    assert_eq!(hearer.wait(HOLD / 2), []);
    let missing = hearer.misses(1);
    assert_eq!(hearer.wait(HOLD), []);
    assert_eq!(hearer.hear(1, 2), [2]);
    assert_eq!(hearer.hear(2, 3), [3, 4]);
    assert_eq!(hearer.repaired(missing), NONE);
}

#[test]
fn a_repair_that_does_not_come_is_asked_for_again() {
    let mut hearer = Hearer::new();
    hearer.hear(3, 4);
    hearer.misses(1);
    let missing = hearer.wait(PATIENCE)[0];
    // What is before it has no row and is not told again.
    assert_eq!(hearer.repaired(missing), [4]);
    assert_eq!(hearer.wait(PATIENCE), []);
}

#[test]
fn a_repair_says_nothing_of_what_came_after_it_was_asked_for() {
    let mut hearer = Hearer::new();
    hearer.hear(2, 3);
    let missing = hearer.misses(1);
    // What the repair reads, then one whose predecessors were committed behind its back.
    assert_eq!(hearer.hear(1, 2), [2, 3]);
    assert_eq!(hearer.hear(5, 6), NONE);
    assert_eq!(hearer.repaired(missing), NONE);
    assert_eq!(hearer.hear(3, 4), [4]);
    assert_eq!(hearer.hear(4, 5), [5, 6]);
}

#[test]
fn what_a_repair_leaves_behind_another_hole_is_repaired_in_its_turn() {
    let mut hearer = Hearer::new();
    hearer.hear(2, 3);
    let missing = hearer.misses(1);
    hearer.hear(5, 6);
    assert_eq!(hearer.repaired(missing), [3]);
    assert_eq!(hearer.wait(HOLD / 2), []);
    let missing = hearer.misses(3);
    assert_eq!((missing.after.seq, missing.until_seq), (3, 6));
    assert_eq!(hearer.repaired(missing), [6]);
    assert_eq!(hearer.order.held_count(), 0);
}

#[test]
fn the_first_commit_heard_of_a_home_waits_until_all_before_it_is_known() {
    let mut hearer = Hearer::stranger();
    assert_eq!(hearer.order.question(), None);
    assert_eq!(hearer.hear(9, 10), NONE);
    assert_eq!(hearer.order.question(), Some(1));
    assert_eq!(hearer.order.question(), None);
    // Late, and in the order in which another node has committed them.
    assert_eq!(hearer.hear(7, 8), NONE);
    assert_eq!(hearer.hear(8, 9), NONE);
    assert_eq!(hearer.wait(HOLD * 2), []);
    assert_eq!(hearer.answered(0), NONE);
    assert_eq!(hearer.answered(1), [8, 9, 10]);
    assert_eq!(hearer.hear(8, 9), NONE);
    assert_eq!(hearer.hear(10, 11), [11]);
    assert_eq!(hearer.order.held_count(), 0);
}

#[test]
fn an_answer_says_nothing_of_what_came_after_the_question() {
    let mut hearer = Hearer::stranger();
    assert_eq!(hearer.hear(9, 10), NONE);
    assert_eq!(hearer.order.question(), Some(1));
    assert_eq!(hearer.hear(12, 13), NONE);
    assert_eq!(hearer.answered(1), [10]);
    assert_eq!(hearer.hear(10, 12), [12, 13]);
}

#[test]
fn a_question_without_an_answer_is_asked_again() {
    let mut hearer = Hearer::stranger();
    hearer.hear(9, 10);
    assert_eq!(hearer.order.question(), Some(1));
    assert_eq!(hearer.wait(PATIENCE), []);
    assert_eq!(hearer.order.question(), Some(2));
    assert_eq!(hearer.answered(2), [10]);
    assert_eq!(hearer.wait(PATIENCE), []);
    assert_eq!(hearer.order.question(), None);
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

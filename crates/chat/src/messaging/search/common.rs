//! What ordered lists have in common, as far as they have been read.
//!
//! Invariant: steps that each begin behind the place that the last one reached find every common
//! channel once, in order, and come to an end.

use store::Uid;

use crate::messaging::channel::lookup::Named;

/// What one step found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Channels that are in all lists, in the order of their uids.
    pub(super) channels: Vec<Named>,
    /// The place behind which the next step begins; nothing when there is none.
    pub(super) reached: Option<Uid>,
}

/// Compares the next rows of each list; one with `limit` rows may go on behind its last. At most
/// `most` channels are returned.
pub(super) fn step(lists: &[Vec<Named>], limit: usize, most: usize) -> Step {
    let Some((first, others)) = lists.split_first() else {
        return Step { channels: Vec::new(), reached: None };
    };
    let ends = |list: &&Vec<Named>| list.len() < limit;
    let last = |list: &Vec<Named>| list.last().map(|one| one.uid);
    // All lists are known up to the horizon, and one of those that end may end before it.
    let horizon = lists.iter().filter(|list| !ends(list)).filter_map(last).min();
    let end = lists.iter().filter(ends).map(last).min();
    let is_known = |uid: Uid| horizon.is_none_or(|horizon| uid <= horizon);
    let has = |list: &Vec<Named>, uid: Uid| list.binary_search_by_key(&uid, |one| one.uid).is_ok();
    let common = |one: &&Named| is_known(one.uid) && others.iter().all(|list| has(list, one.uid));
    let mut channels: Vec<Named> = first.iter().filter(common).take(most + 1).cloned().collect();
    if channels.len() > most {
        channels.truncate(most);
        let reached = channels.last().map(|one| one.uid);
        return Step { channels, reached };
    }
    let is_over = |horizon: Uid| end.is_some_and(|end| end.is_none_or(|end| end <= horizon));
    let reached = horizon.filter(|&horizon| !is_over(horizon));
    // Nothing is in common before the list that begins last.
    let begin = lists.iter().filter_map(|list| list.first()).map(|one| before(one.uid)).max();
    let reached = reached.map(|horizon| begin.map_or(horizon, |begin| begin.max(horizon)));
    Step { channels, reached }
}

/// Returns the uid before this one.
fn before(uid: Uid) -> Uid {
    Uid(u128::from_be_bytes(uid.0).saturating_sub(1).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use store::{Entropy, SeededEntropy};

    use super::*;

    fn named(number: u128) -> Named {
        Named { uid: Uid(number.to_be_bytes()), id: number.to_string() }
    }

    /// Takes steps over whole lists as a search does, and returns what was found and their count.
    fn search(lists: &[Vec<u128>], limit: usize, most: usize) -> (Vec<u128>, usize) {
        let (mut found, mut behind, mut step_count) = (Vec::new(), None, 0);
        loop {
            step_count += 1;
            let next = |list: &Vec<u128>| {
                let rows = list.iter().filter(|&&number| behind.is_none_or(|last| number > last));
                rows.take(limit).map(|&number| named(number)).collect::<Vec<_>>()
            };
            let step = step(&lists.iter().map(next).collect::<Vec<_>>(), limit, most);
            assert!(step.channels.len() <= most);
            found.extend(step.channels.iter().map(|one| u128::from_be_bytes(one.uid.0)));
            let Some(reached) = step.reached else { return (found, step_count) };
            let reached = u128::from_be_bytes(reached.0);
            assert!(behind.is_none_or(|last| reached > last), "each step gets on");
            behind = Some(reached);
        }
    }

    #[test]
    fn random_lists_have_in_common_what_their_sets_have() {
        let entropy = SeededEntropy::new(11);
        let random = || {
            let mut bytes = [0; 1];
            entropy.fill(&mut bytes);
            usize::from(bytes[0])
        };
        for _ in 0..500 {
            let lists: Vec<Vec<u128>> = (0..1 + random() % 4)
                .map(|_| {
                    let (size, sparse) = (random() % 60, 1 + random() % 3);
                    let numbers = (0..size).map(|_| 1 + (random() % 40 * sparse) as u128);
                    numbers.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
                })
                .collect();
            let all = |number: &&u128| lists.iter().all(|list| list.contains(number));
            let expected: Vec<u128> = lists[0].iter().filter(all).copied().collect();
            for (limit, most) in [(1, 1), (2, 3), (7, 2), (7, 100), (100, 100)] {
                let (found, _) = search(&lists, limit, most);
                assert_eq!(found, expected, "{limit} {most} {lists:?}");
            }
        }
    }

    #[test]
    fn long_stretch_that_another_list_lacks_is_leapt_over() {
        let busy: Vec<u128> = (1..=20_000).collect();
        let rare = vec![5, 19_999];
        let (found, step_count) = search(&[busy, rare], 10, 10);
        assert_eq!(found, [5, 19_999]);
        assert!(step_count <= 3, "{step_count}");
    }

    #[test]
    fn empty_list_ends_the_search_at_once() {
        let busy: Vec<u128> = (1..=100).collect();
        assert_eq!(search(&[busy, Vec::new()], 10, 10), (Vec::new(), 1));
        assert_eq!(step(&[], 10, 10), Step { channels: Vec::new(), reached: None });
    }
}

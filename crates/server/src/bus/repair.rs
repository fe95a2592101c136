//! Reading what was missed: rows of groups, then the events that they name.
//!
//! Invariants: what is read is handed to the relay like what was heard, which tells each commit once
//! and in order; a group counts as told when all its commits were handed over; a row that is gone
//! means that nobody can say what was missed.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use chat::{Chat, Told};
use store::postgres::{GroupRow, Nodes, Place};
use store::{GroupNumber, Stamp, Uid};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::message::{Commit, Telling};
use super::order::Missing;
use super::{Figures, Heard, lanes};

/// Rows of one lane that one read takes.
const ROWS_MAX: usize = 64;
/// Homes that one read tells at a time.
const HOMES_MAX: usize = 8;

/// What came of a read.
#[derive(Default)]
pub(super) struct Outcome {
    /// Groups that were told.
    pub(super) told: Vec<GroupNumber>,
    /// The first group that is there of each lane of which rows are gone.
    pub(super) first_there: Vec<GroupNumber>,
    pub(super) end: End,
}

/// How far a read came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum End {
    /// Not all that was found was told.
    #[default]
    Failed,
    /// There may be more.
    Part,
    /// There was no more.
    Whole,
    /// There was nothing.
    Empty,
}

/// See the head of this file.
pub(super) struct Reader {
    chat: Chat,
    nodes: Arc<Nodes>,
    heard: mpsc::Sender<Heard>,
    homes: Arc<Semaphore>,
    figures: Arc<Figures>,
}

impl Reader {
    pub(super) fn new(
        chat: Chat,
        nodes: Arc<Nodes>,
        heard: mpsc::Sender<Heard>,
        figures: Arc<Figures>,
    ) -> Self {
        Self { chat, nodes, heard, homes: Arc::new(Semaphore::new(HOMES_MAX)), figures }
    }

    /// Tells the groups of a node after those that are done.
    pub(super) async fn groups(self: &Arc<Self>, node: Uid, lanes: Vec<lanes::Place>) -> Outcome {
        let done = |place: &lanes::Place| GroupNumber { lane: place.lane, number: place.done };
        let done: Vec<GroupNumber> = lanes.iter().map(done).collect();
        let rows = match self.nodes.groups_after(node, &done, ROWS_MAX).await {
            Ok(rows) => rows,
            Err(error) => {
                let error = crate::logging::chain(&error);
                tracing::debug!(error, "cannot read the groups of a node");
                return Outcome::default();
            }
        };
        let mut outcome = Outcome { first_there: gone(&rows, &lanes), ..Outcome::default() };
        if !outcome.first_there.is_empty() {
            tracing::warn!("events were missed for too long to be told: the sockets are closed");
            self.figures.lost.inc();
            let _ = self.heard.send(Heard::Lost).await;
        }
        if self.tell(first_places(&rows)).await {
            outcome.told = rows.iter().map(|row| row.group).collect();
            outcome.end = match rows.len() {
                0 => End::Empty,
                1..ROWS_MAX => End::Whole,
                _ => End::Part,
            };
        }
        outcome
    }

    /// Tells what each home has had since its place; returns whether all of it was told.
    async fn tell(self: &Arc<Self>, places: Vec<Place>) -> bool {
        let mut tasks = JoinSet::new();
        for place in places {
            let (reader, homes) = (self.clone(), self.homes.clone());
            tasks.spawn(async move {
                // The semaphore is never closed.
                let _place = homes.acquire().await;
                let after = Stamp { ms: place.stamp.ms, seq: place.prev_seq };
                reader.since(place.home, after).await
            });
        }
        let mut is_all = true;
        while let Some(told) = tasks.join_next().await {
            is_all &= told.unwrap_or(false);
        }
        is_all
    }

    /// Tells what a home has had after a commit that was told. What fails is asked for again.
    pub(super) async fn home(&self, missing: Missing) {
        if self.since(missing.home, missing.after).await {
            self.figures.repaired_homes.inc();
            let _ = self.heard.send(Heard::Repaired(missing)).await;
        }
    }

    /// Hands over the commits of a home after a seq, none of which is older than the time.
    async fn since(&self, home: Uid, after: Stamp) -> bool {
        let mut retelling = self.chat.retell(home, after);
        let mut prev_seq = after.seq;
        let mut open: Option<Commit> = None;
        loop {
            let told = match retelling.next().await {
                Ok(told) => told,
                Err(error) => {
                    let error = crate::logging::chain(&error);
                    tracing::debug!(error, "cannot tell the events of a home again");
                    return false;
                }
            };
            let is_end = told.is_empty();
            let mut commits = Vec::new();
            for told in told {
                let stamp = told.place.stamp;
                if open.as_ref().is_none_or(|open| open.stamp != stamp) {
                    let events = Vec::new();
                    let next = Commit { home, prev_seq, stamp, events };
                    prev_seq = stamp.seq;
                    commits.extend(open.replace(next));
                }
                if let Some(open) = &mut open {
                    open.events.push(telling(told));
                }
            }
            if is_end {
                commits.extend(open.take());
            }
            if !commits.is_empty() && self.heard.send(Heard::Commits(commits)).await.is_err() {
                return false;
            }
            if is_end {
                return true;
            }
        }
    }
}

fn telling(told: Told) -> Telling {
    let Told { audience, effect, frame, .. } = told;
    Telling { audience, effect, is_durable: true, text: frame.map(Bytes::from) }
}

/// Returns the first group that is there, or would be, of each lane whose next rows are gone.
fn gone(rows: &[GroupRow], lanes: &[lanes::Place]) -> Vec<GroupNumber> {
    let mut gone = Vec::new();
    for &lanes::Place { lane, done, known } in lanes {
        let numbers = rows.iter().map(|row| row.group).filter(|group| group.lane == lane);
        // A group that was heard of was committed, so its row has been there.
        let first = numbers.map(|group| group.number).min().unwrap_or(known + 1);
        if first > done + 1 {
            gone.push(GroupNumber { lane, number: first });
        }
    }
    gone
}

/// Returns the first place of each home in the groups.
fn first_places(rows: &[GroupRow]) -> Vec<Place> {
    let mut first: HashMap<Uid, Place> = HashMap::new();
    for place in rows.iter().flat_map(|row| &row.places) {
        let known = first.entry(place.home).or_insert(*place);
        if place.stamp.seq < known.stamp.seq {
            *known = *place;
        }
    }
    first.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(lane: u8, number: u64, seqs: &[u64]) -> GroupRow {
        let place = |seq: &u64| Place {
            home: Uid([lane; 16]),
            prev_seq: seq - 1,
            stamp: Stamp { ms: 1_000, seq: *seq },
        };
        let group = GroupNumber { lane, number };
        GroupRow { group, places: seqs.iter().map(place).collect() }
    }

    #[test]
    fn rows_that_are_gone_are_noticed_by_lane() {
        let place = |lane, known| lanes::Place { lane, done: 10, known };
        let rows = [row(0, 11, &[1]), row(0, 12, &[2]), row(1, 13, &[1]), row(1, 12, &[1])];
        let first = |lane, number| GroupNumber { lane, number };
        let places: Vec<lanes::Place> = (0..4).map(|lane| place(lane, 10)).collect();
        assert_eq!(gone(&rows, &places), [first(1, 12)]);
        assert_eq!(gone(&[], &places), []);
        // Of the third lane it is known that there was more.
        assert_eq!(gone(&rows, &[place(0, 12), place(2, 14)]), [first(2, 15)]);
    }

    #[test]
    fn a_home_is_told_from_its_first_place_on() {
        let rows = [row(0, 12, &[8, 9]), row(0, 11, &[5]), row(1, 3, &[2])];
        let mut first = first_places(&rows);
        first.sort_by_key(|place| place.home);
        let seqs: Vec<(u64, u64)> =
            first.iter().map(|place| (place.prev_seq, place.stamp.seq)).collect();
        assert_eq!(seqs, [(4, 5), (1, 2)]);
    }
}

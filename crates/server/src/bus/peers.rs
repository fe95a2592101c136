//! The other nodes: who is there, who is silent, and whose rows are to be read.
//!
//! Invariants: the rows of a node that is silent on the bus are read again and again until it speaks
//! or is dead and has no more; what is remembered is bounded by the number of nodes and by time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use store::postgres::Lease;
use store::{GroupNumber, Uid};
use tokio::time::Instant;

use super::repair::End;
use super::{ROWS_KEPT, UNTOLD_ROWS_KEPT};

/// A node that was not heard for so long is silent: it beats every second.
const SILENCE: Duration = Duration::from_millis(2_500);
/// How often the rows of a silent node are read.
const READ_PAUSE: Duration = Duration::from_millis(1_000);
/// How soon rows are read again that could not be read or told.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How long the rows of a dead node are kept, and after which time nobody remembers it.
pub(super) const DEAD_ROWS_KEPT: Duration = Duration::from_secs(300);
pub(super) const DEAD_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The nodes that are known to have ended: what they held is free.
#[derive(Clone, Default)]
pub(crate) struct Dead(Arc<RwLock<HashSet<Uid>>>);

impl Dead {
    pub(crate) fn all(&self) -> HashSet<Uid> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, dead: HashSet<Uid>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = dead;
    }
}

struct Peer {
    heard_at: Instant,
    is_live: bool,
    /// Something of it may be missing.
    is_doubted: bool,
    is_being_read: bool,
    /// The last read has not told what it should have.
    has_failed: bool,
    read_at: Option<Instant>,
    /// It is dead, and its rows were read to the end since.
    is_over: bool,
}

/// See the head of this file.
pub(super) struct Peers {
    own: Uid,
    peers: HashMap<Uid, Peer>,
    dead: Dead,
    /// Where this node's own lanes were, and when.
    spoken: VecDeque<(Instant, Vec<GroupNumber>)>,
    /// Up to where NATS has all of it.
    told: Vec<GroupNumber>,
    /// The bus when it was looked at last: whether it was there, and how often this node was too slow
    /// for what it said.
    was_connected: bool,
    dropped: u64,
}

impl Peers {
    pub(super) fn new(own: Uid) -> Self {
        let (peers, dead) = (HashMap::new(), Dead::default());
        let (spoken, told) = (VecDeque::new(), Vec::new());
        Self { own, peers, dead, spoken, told, was_connected: false, dropped: 0 }
    }

    pub(super) fn dead(&self) -> Dead {
        self.dead.clone()
    }

    /// Takes the list of the database; returns the nodes that are gone from it.
    pub(super) fn note(&mut self, leases: &[Lease], now: Instant) -> Vec<Uid> {
        for lease in leases.iter().filter(|lease| lease.node != self.own) {
            let peer = self.peers.entry(lease.node).or_insert_with(|| Peer::new(now));
            if peer.is_live && !lease.is_live {
                // Whatever it has left is read at once.
                peer.is_doubted = true;
            }
            peer.is_live = lease.is_live;
            peer.is_over &= !lease.is_live;
        }
        let dead = leases.iter().filter(|lease| !lease.is_live).map(|lease| lease.node);
        self.dead.set(dead.collect());
        let listed: HashSet<Uid> = leases.iter().map(|lease| lease.node).collect();
        let gone: Vec<Uid> =
            self.peers.keys().filter(|node| !listed.contains(node)).copied().collect();
        for node in &gone {
            self.peers.remove(node);
        }
        gone
    }

    /// Notes that a node is there.
    pub(super) fn meet(&mut self, node: Uid, now: Instant) {
        self.peers.entry(node).or_insert_with(|| Peer::new(now));
    }

    /// Notes a sign of life.
    pub(super) fn heard(&mut self, node: Uid, now: Instant) {
        let peer = self.peers.entry(node).or_insert_with(|| Peer::new(now));
        peer.heard_at = now;
        peer.is_over = false;
    }

    pub(super) fn doubt(&mut self, node: Uid) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.is_doubted = true;
        }
    }

    /// Looks at the bus: when it is there again, or messages were dropped, nobody knows what is
    /// missing before all were asked.
    pub(super) fn look_at(&mut self, is_connected: bool, dropped: u64) {
        if (is_connected && !self.was_connected) || dropped != self.dropped {
            self.doubt_all();
        }
        (self.was_connected, self.dropped) = (is_connected, dropped);
    }

    fn doubt_all(&mut self) {
        for peer in self.peers.values_mut() {
            peer.is_doubted = true;
        }
    }

    /// Returns the nodes whose rows are to be read now, and counts them as being read.
    pub(super) fn due(&mut self, is_connected: bool, now: Instant) -> Vec<Uid> {
        let mut nodes = Vec::new();
        for (node, peer) in &mut self.peers {
            let is_silent = !is_connected || now - peer.heard_at >= SILENCE;
            let has_rested = |pause| peer.read_at.is_none_or(|at| now - at >= pause);
            let is_due = (peer.is_doubted && (!peer.has_failed || has_rested(RETRY_PAUSE)))
                || (is_silent && has_rested(READ_PAUSE) && !peer.is_over);
            if is_due && !peer.is_being_read {
                peer.is_being_read = true;
                peer.is_doubted = false;
                nodes.push(*node);
            }
        }
        nodes
    }

    /// Notes the end of a read.
    pub(super) fn has_read(&mut self, node: Uid, end: End, now: Instant) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.is_being_read = false;
        peer.read_at = Some(now);
        peer.has_failed = end == End::Failed;
        // There may be more at once, and what failed is tried again.
        peer.is_doubted |= matches!(end, End::Part | End::Failed);
        peer.is_over = !peer.is_live && end == End::Empty;
    }

    /// Notes that a beat told the own groups up to these.
    pub(super) fn spoke(&mut self, last: Vec<GroupNumber>, now: Instant) {
        self.spoken.push_back((now, last));
    }

    /// Notes that NATS has the own groups up to these.
    pub(super) fn told(&mut self, last: Vec<GroupNumber>, _now: Instant) {
        self.told = last;
    }

    /// Returns the first own group of each lane whose row is still needed.
    pub(super) fn first_kept(&mut self, now: Instant) -> Vec<GroupNumber> {
        let mut kept: HashMap<u8, u64> = HashMap::new();
        let told = |lane| {
            let told = self.told.iter().find(|group| group.lane == lane);
            told.map_or(0, |group| group.number)
        };
        for (at, last) in &self.spoken {
            for group in last {
                let number = if now - *at >= UNTOLD_ROWS_KEPT {
                    group.number
                } else if now - *at >= ROWS_KEPT {
                    group.number.min(told(group.lane))
                } else {
                    continue;
                };
                let kept = kept.entry(group.lane).or_default();
                *kept = number.max(*kept);
            }
        }
        // What was waited for longest is of no more use.
        while self.spoken.front().is_some_and(|(at, _)| now - *at > UNTOLD_ROWS_KEPT) {
            self.spoken.pop_front();
        }
        let mut kept: Vec<GroupNumber> =
            kept.into_iter().map(|(lane, number)| GroupNumber { lane, number }).collect();
        kept.sort_unstable();
        kept
    }
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self {
            heard_at: now,
            is_live: true,
            is_doubted: false,
            is_being_read: false,
            has_failed: false,
            read_at: None,
            is_over: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Uid = Uid([1; 16]);
    const OTHER: Uid = Uid([2; 16]);
    const MOMENT: Duration = Duration::from_millis(10);

    fn leases(is_live: bool) -> Vec<Lease> {
        vec![Lease { node: OWN, is_live: true }, Lease { node: OTHER, is_live }]
    }

    fn peers(now: Instant) -> Peers {
        let mut peers = Peers::new(OWN);
        assert_eq!(peers.note(&leases(true), now), []);
        peers
    }

    #[test]
    fn a_node_that_is_heard_is_not_read_unless_it_is_doubted() {
        let mut now = Instant::now();
        let mut peers = peers(now);
        assert_eq!(peers.due(true, now), []);
        now += SILENCE - MOMENT;
        peers.heard(OTHER, now);
        now += SILENCE - MOMENT;
        assert_eq!(peers.due(true, now), []);
        peers.doubt(OTHER);
        assert_eq!(peers.due(true, now), [OTHER]);
        // One read at a time.
        peers.doubt_all();
        assert_eq!(peers.due(true, now), []);
        peers.has_read(OTHER, End::Empty, now);
        assert_eq!(peers.due(true, now), [OTHER]);
    }

    #[test]
    fn all_are_read_once_when_messages_were_dropped_and_when_the_bus_is_there_again() {
        let now = Instant::now();
        let mut peers = peers(now);
        let mut read_after = |is_connected, dropped| {
            peers.look_at(is_connected, dropped);
            let due = peers.due(true, now);
            due.iter().for_each(|node| peers.has_read(*node, End::Empty, now));
            due
        };
        let none: [Uid; 0] = [];
        assert_eq!(read_after(true, 0), [OTHER]);
        assert_eq!(read_after(true, 0), none);
        assert_eq!(read_after(true, 3), [OTHER]);
        assert_eq!(read_after(true, 3), none);
        assert_eq!(read_after(false, 3), none);
        assert_eq!(read_after(true, 3), [OTHER]);
        assert_eq!(read_after(true, 3), none);
    }

    #[test]
    fn a_silent_node_is_read_again_and_again_and_all_are_without_the_bus() {
        let mut now = Instant::now();
        let mut peers = peers(now);
        assert_eq!(peers.due(false, now), [OTHER]);
        peers.has_read(OTHER, End::Empty, now);
        assert_eq!(peers.due(false, now), []);
        now += SILENCE;
        assert_eq!(peers.due(true, now), [OTHER]);
        peers.has_read(OTHER, End::Whole, now);
        assert_eq!(peers.due(true, now + MOMENT), []);
        assert_eq!(peers.due(true, now + READ_PAUSE), [OTHER]);
        // What had no place in one read follows at once.
        peers.has_read(OTHER, End::Part, now);
        assert_eq!(peers.due(true, now), [OTHER]);
    }

    #[test]
    fn what_could_not_be_told_is_read_again_of_a_dead_node_too() {
        let mut now = Instant::now();
        let mut peers = peers(now);
        peers.note(&leases(false), now);
        assert_eq!(peers.due(true, now), [OTHER]);
        peers.has_read(OTHER, End::Failed, now);
        assert_eq!(peers.due(true, now), []);
        now += RETRY_PAUSE;
        assert_eq!(peers.due(true, now), [OTHER]);
        peers.has_read(OTHER, End::Empty, now);
        assert_eq!(peers.due(false, now + READ_PAUSE), []);
    }

    #[test]
    fn a_dead_node_is_read_to_its_end_and_once_more_when_it_comes_back() {
        let mut now = Instant::now();
        let mut peers = peers(now);
        peers.note(&leases(false), now);
        assert_eq!(peers.dead().all(), HashSet::from([OTHER]));
        assert_eq!(peers.due(true, now), [OTHER]);
        peers.has_read(OTHER, End::Whole, now);
        now += SILENCE;
        assert_eq!(peers.due(true, now), [OTHER]);
        peers.has_read(OTHER, End::Empty, now);
        now += READ_PAUSE;
        assert_eq!(peers.due(false, now), []);
        peers.note(&leases(true), now);
        assert_eq!(peers.dead().all(), HashSet::new());
        assert_eq!(peers.due(true, now), [OTHER]);
        assert_eq!(peers.note(&leases(true)[..1], now), [OTHER]);
        assert_eq!(peers.due(false, now), []);
    }

    #[test]
    fn rows_are_kept_for_a_while_and_longer_where_nats_did_not_take_them() {
        let now = Instant::now();
        let mut peers = peers(now);
        let at = |number| vec![GroupNumber { lane: 4, number }];
        peers.spoke(at(7), now);
        peers.told(at(5), now);
        assert_eq!(peers.first_kept(now), []);
        assert_eq!(peers.first_kept(now + ROWS_KEPT), at(5));
        peers.told(at(9), now);
        assert_eq!(peers.first_kept(now + ROWS_KEPT), at(7));
        peers.told(at(5), now);
        assert_eq!(peers.first_kept(now + UNTOLD_ROWS_KEPT), at(7));
        peers.first_kept(now + UNTOLD_ROWS_KEPT + MOMENT);
        assert!(peers.spoken.is_empty());
    }
}

//! The relay of a node among several: what it commits is told to all, what others commit is
//! delivered here.
//!
//! Invariants: a commit of this node goes the same way as one of another, through the order of its
//! home, so that every socket hears the commits of a home in the order of their seqs, and through the
//! gate, so that none is told far ahead of what is still on its way; the text of an event is built
//! once, for the sockets of all nodes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat::{Effect, Event, Place};
use store::{Committed, Uid};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::Relay;
use crate::bus::{Commit, Ends, Figures, Gate, Heard, Order, Overflow, Telling, Voice};
use crate::hub::{At, Open, SocketId};

/// How often it is looked whether a commit has waited for long enough.
const TURN: Duration = Duration::from_millis(10);

/// See the head of this file.
pub(super) struct Others {
    node: Uid,
    voice: Voice,
    ear: mpsc::Receiver<Heard>,
    order: Order,
    gate: Gate,
    figures: Arc<Figures>,
    turns: Interval,
    /// Openings of sessions that resume: what they would be told must not be far ahead either.
    openings: Vec<Open>,
}

impl Others {
    pub(super) fn new(ends: Ends) -> Self {
        let Ends { node, voice, ear, figures, certain } = ends;
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (order, gate) = (Order::default(), Gate::new(certain));
        Self { node, voice, ear, order, gate, figures, turns, openings: Vec::new() }
    }

    /// Returns the time up to which anything may be told.
    pub(super) fn last_ms(&self) -> u64 {
        self.gate.last_ms()
    }

    /// Keeps an opening that has to wait; returns it if it has not.
    pub(super) fn hold_opening(&mut self, open: Open) -> Option<Open> {
        if open.wanted.resume_after.is_none() || self.gate.is_open(Instant::now()) {
            return Some(open);
        }
        self.openings.push(open);
        None
    }

    /// Returns the openings that need not wait any more.
    fn take_openings(&mut self) -> Vec<Open> {
        if self.gate.is_open(Instant::now()) {
            std::mem::take(&mut self.openings)
        } else {
            Vec::new()
        }
    }

    /// Takes commits and returns what may be told now.
    fn accept(&mut self, commits: Vec<Commit>, now: Instant) -> Result<Vec<Commit>, Overflow> {
        let mut ready = Vec::with_capacity(commits.len());
        let mut overflow = Ok(());
        for commit in commits {
            overflow = overflow.and(self.order.accept(commit, now, &mut ready));
        }
        self.ask();
        overflow.and(self.gate.pass(ready, now))
    }

    /// Asks what the order has to know.
    fn ask(&mut self) {
        if let Some(question) = self.order.question() {
            self.voice.ask(question);
        }
    }
}

/// What a relay among several waits for.
pub(super) enum News {
    Heard(Heard),
    /// Something that is held may have waited for long enough.
    Turn,
}

/// The next news; never, where there is no other node.
pub(super) async fn next(others: &mut Option<Others>) -> News {
    let Some(others) = others else { return std::future::pending().await };
    let holds = others.order.held_count() > 0;
    tokio::select! {
        // A bus that has ended says nothing more.
        Some(heard) = others.ear.recv() => News::Heard(heard),
        _ = others.turns.tick(), if holds => News::Turn,
        else => std::future::pending().await,
    }
}

impl Relay {
    /// Tells the other nodes what this one has committed, and the sockets here what is in order.
    pub(super) fn relay_to_all(&mut self, group: &[Committed]) {
        let commits: Vec<Commit> = group.iter().map(|committed| self.commit(committed)).collect();
        if let Some(others) = &self.others {
            let number = group.first().and_then(|first| first.group);
            others.voice.tell(number, commits.clone());
        }
        self.take(commits);
    }

    fn commit(&self, committed: &Committed) -> Commit {
        let Committed { home, prev_seq, stamp, .. } = *committed;
        let mut events = Vec::with_capacity(committed.events.len());
        for (event, index) in committed.events.iter().zip(0..) {
            let Some(body) = event.body.downcast_ref::<Event>() else {
                debug_assert!(false, "every event of this program is one of chat");
                continue;
            };
            events.push(Telling {
                audience: event.audience.clone(),
                effect: body.effect(),
                is_durable: event.reference.is_some(),
                text: self.chat.frame(body, Place { home, stamp, index }).map(Bytes::from),
            });
        }
        Commit { home, prev_seq, stamp, events }
    }

    pub(super) fn take_news(&mut self, news: News) {
        match news {
            News::Heard(heard) => self.hear(heard),
            News::Turn => self.look_for_missing(),
        }
        self.hub.flush_if_due();
    }

    fn hear(&mut self, heard: Heard) {
        let Some(others) = &mut self.others else { return };
        let (now, mut ready) = (Instant::now(), Vec::new());
        match heard {
            Heard::Commits(commits) => return self.take(commits),
            Heard::Repaired(missing) => others.order.repaired(missing, now, &mut ready),
            Heard::Certain(certain) => {
                others.order.answered(certain.question, now, &mut ready);
                others.gate.open_up_to(certain);
            }
            Heard::Lost => return self.lose(),
        }
        let passed = others.gate.pass(ready, now);
        let openings = others.take_openings();
        self.hand_out_or_lose(passed);
        for open in openings {
            self.begin(open);
        }
    }

    fn take(&mut self, commits: Vec<Commit>) {
        let Some(others) = &mut self.others else { return };
        let passed = others.accept(commits, Instant::now());
        self.hand_out_or_lose(passed);
    }

    fn hand_out_or_lose(&mut self, passed: Result<Vec<Commit>, Overflow>) {
        match passed {
            Ok(commits) => self.hand_out(&commits),
            Err(Overflow) => {
                if let Some(others) = &self.others {
                    others.figures.overflowed();
                }
                tracing::warn!("too much waits for other nodes, so all sockets are closed");
                self.lose();
            }
        }
    }

    /// Asks for what has been missing for long enough.
    fn look_for_missing(&mut self) {
        let Some(others) = &mut self.others else { return };
        for missing in others.order.turn(Instant::now()) {
            others.voice.ask_for(missing);
        }
        others.ask();
    }

    /// What was missed cannot be told: the clients come back and resume.
    fn lose(&mut self) {
        if let Some(others) = &mut self.others {
            others.order.forget_held();
            others.gate.forget();
        }
        self.hub.flush();
        self.hub.close_all();
    }

    fn hand_out(&mut self, commits: &[Commit]) {
        for commit in commits {
            for event in &commit.events {
                let (home, seq) = (commit.home, commit.stamp.seq);
                self.deliver(event, At { home, seq, is_durable: event.is_durable });
            }
        }
        if let Some(others) = &self.others {
            others.figures.holds(others.order.held_count() + others.gate.count());
        }
    }

    fn deliver(&mut self, event: &Telling, at: At) {
        if let Some(effect) = event.effect {
            self.hub.before(effect, at);
        }
        self.hub.deliver(&event.audience, at, || event.text.clone());
        let Some(effect) = event.effect else { return };
        self.hub.after(effect);
        if let Effect::SocketReplaced { user, node, socket } = effect
            && self.others.as_ref().is_some_and(|others| others.node == node)
        {
            self.hub.replace(user, SocketId(socket));
        }
    }
}

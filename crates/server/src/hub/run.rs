//! Messages of one channel that follow each other, on their way to its members together.
//!
//! Many commits make one group. A socket that hears several of its events gets them as one piece of
//! memory that all sockets share, with one wake and one write. Invariants: a run holds only events
//! for the members of one channel, and nothing changes who they are before it has left; a member
//! hears the end of it that begins with what is for him.

use bytes::Bytes;
use store::{Audience, Uid};

use super::{At, Member};
use crate::frame::{self, Frames};

/// Bytes at which a run leaves. One frame may be longer.
const BYTES_MAX: usize = 128 * 1024;
/// Frames at which a run leaves: a queue that is half empty takes it.
const FRAMES_MAX: usize = 256;

/// See the head of this file.
#[derive(Default)]
pub(super) struct Run {
    channel: Option<Uid>,
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

/// Where a frame stands in a run.
#[derive(Clone, Copy)]
struct Mark {
    at: At,
    /// Who became a member by a later commit does not hear it.
    for_since: u64,
    begin: usize,
}

/// The least seq that an event has for members: what has no order in its channel is for everybody.
pub(super) fn for_since(channel: Uid, at: At) -> u64 {
    // What all sub-channels hear of has the order of their channel.
    let is_ordered = at.seq != 0 && at.home == channel;
    if is_ordered { at.seq } else { u64::MAX }
}

impl Run {
    /// Returns whether an event may be added behind the others.
    pub(super) fn takes(&self, audience: &Audience, at: At) -> bool {
        let Audience::Members(channel) = audience else { return false };
        let Some(last) = self.marks.last() else { return false };
        self.channel == Some(*channel)
            && last.for_since <= for_since(*channel, at)
            && self.marks.len() < FRAMES_MAX
            && self.bytes.len() < BYTES_MAX
    }

    /// Adds an event for the members of a channel.
    pub(super) fn add(&mut self, channel: Uid, at: At, text: &[u8]) {
        self.channel = Some(channel);
        let mark = Mark { at, for_since: for_since(channel, at), begin: self.bytes.len() };
        self.marks.push(mark);
        frame::append_text(text, &mut self.bytes);
    }

    /// Returns what leaves now, and to whom.
    pub(super) fn take(&mut self) -> Option<(Uid, Whole)> {
        let channel = self.channel.take()?;
        let bytes = std::mem::take(&mut self.bytes);
        let marks = std::mem::take(&mut self.marks);
        Some((channel, Whole { bytes: bytes.into(), marks }))
    }
}

/// A run that leaves.
pub(super) struct Whole {
    bytes: Bytes,
    marks: Vec<Mark>,
}

impl Whole {
    /// Returns a single frame for named users or moderators.
    pub(super) fn single(at: At, text: &[u8]) -> Self {
        let marks = vec![Mark { at, for_since: u64::MAX, begin: 0 }];
        Self { bytes: frame::text(text), marks }
    }

    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// Returns everything.
    pub(super) fn all(&self) -> Part<'_> {
        Part { whole: self, first: 0 }
    }

    /// Returns what a member hears, if he hears anything.
    pub(super) fn part_for(&self, member: &Member) -> Option<Part<'_>> {
        let first = self.marks.iter().position(|mark| member.since_seq <= mark.for_since)?;
        Some(Part { whole: self, first })
    }
}

/// The end of a run.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    whole: &'a Whole,
    first: usize,
}

impl Part<'_> {
    pub(super) fn count(&self) -> usize {
        self.whole.marks.len() - self.first
    }

    /// Returns all frames in one piece.
    pub(super) fn frames(&self) -> Frames {
        let begin = self.whole.marks.get(self.first).map_or(0, |mark| mark.begin);
        Frames::of(self.whole.bytes.slice(begin..), self.count())
    }

    /// Returns each frame with its place.
    pub(super) fn each(&self) -> impl Iterator<Item = (At, Bytes)> {
        let Whole { bytes, marks } = self.whole;
        (self.first..marks.len()).map(|index| {
            let Mark { at, begin, .. } = marks[index];
            let end = marks.get(index + 1).map_or(bytes.len(), |next| next.begin);
            (at, bytes.slice(begin..end))
        })
    }
}

//! What nodes say to each other: the one form of every message on the bus.
//!
//! A message begins with a format byte, its kind and the node that speaks. Invariants: the bytes of a
//! frame are those that the speaker's own sockets get; what cannot be read is no message, whatever
//! its bytes are; a group that is too large for one message goes in parts.

use bytes::{BufMut as _, Bytes, BytesMut};
use chat::Effect;
use store::{Audience, GroupNumber, Stamp, Uid};

/// The one format. A node passes over messages of another one and reads what it missed.
const FORMAT: u8 = 1;
const KIND_GROUP: u8 = 1;
const KIND_PUBLISHED: u8 = 2;
const KIND_BEAT: u8 = 3;
/// Format, kind, node, group, place among the parts.
pub(super) const HEAD_BYTES_MAX: usize = 2 + 16 + 9 + 4 + 4;
/// What every commit takes beside its events.
const COMMIT_BYTES: usize = 16 + 8 + 16 + 2;

/// An event as the hub takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Telling {
    pub(crate) audience: Audience,
    pub(crate) effect: Option<Effect>,
    /// Whether a row keeps it.
    pub(crate) is_durable: bool,
    /// The WebSocket text; none for what only nodes hear.
    pub(crate) text: Option<Bytes>,
}

/// The events of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) home: Uid,
    /// The commit with events before this one; 0 = none.
    pub(crate) prev_seq: u64,
    pub(crate) stamp: Stamp,
    pub(crate) events: Vec<Telling>,
}

/// What arrives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// One of the parts of a group of commits.
    Group { node: Uid, group: GroupNumber, parts: u16, commits: Vec<Commit> },
    /// What was said and is kept nowhere.
    Published { node: Uid, commits: Vec<Commit> },
    /// A node lives, and has told its groups up to these.
    Beat { node: Uid, last: Vec<GroupNumber> },
}

impl Message {
    pub(super) fn node(&self) -> Uid {
        match self {
            Self::Group { node, .. } | Self::Published { node, .. } | Self::Beat { node, .. } => {
                *node
            }
        }
    }
}

/// Returns a node's group in as many messages as it needs; none if one of its commits is too large
/// for any, and the others are to read it.
pub(super) fn group(
    node: Uid,
    group: GroupNumber,
    commits: &[Commit],
    bytes_max: usize,
) -> Option<Vec<Bytes>> {
    let parts = parts(commits, bytes_max)?;
    let count = u16::try_from(parts.len()).ok()?;
    let message = |commits: &[Commit]| {
        let mut out = head(KIND_GROUP, node, weight_of(commits));
        out.put_u8(group.lane);
        out.put_u64(group.number);
        out.put_u16(count);
        put_commits(&mut out, commits);
        out.freeze()
    };
    Some(parts.into_iter().map(message).collect())
}

/// Returns what was published, in as many messages as it needs.
pub(super) fn published(node: Uid, commits: &[Commit], bytes_max: usize) -> Option<Vec<Bytes>> {
    let message = |commits: &[Commit]| {
        let mut out = head(KIND_PUBLISHED, node, weight_of(commits));
        put_commits(&mut out, commits);
        out.freeze()
    };
    Some(parts(commits, bytes_max)?.into_iter().map(message).collect())
}

/// Returns a sign of life.
pub(super) fn beat(node: Uid, last: &[GroupNumber]) -> Bytes {
    let mut out = head(KIND_BEAT, node, last.len() * 9);
    for group in last {
        out.put_u8(group.lane);
        out.put_u64(group.number);
    }
    out.freeze()
}

fn head(kind: u8, node: Uid, rest_bytes: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(HEAD_BYTES_MAX + rest_bytes);
    out.put_u8(FORMAT);
    out.put_u8(kind);
    out.put_slice(&node.0);
    out
}

/// Cuts commits into runs that fit a message each.
fn parts(commits: &[Commit], bytes_max: usize) -> Option<Vec<&[Commit]>> {
    let room = bytes_max.checked_sub(HEAD_BYTES_MAX)?;
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, commit) in commits.iter().enumerate() {
        let weight = weight(commit);
        if weight > room {
            return None;
        }
        if bytes + weight > room {
            parts.push(&commits[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += weight;
    }
    parts.push(&commits[start..]);
    Some(parts)
}

fn weight_of(commits: &[Commit]) -> usize {
    commits.iter().map(weight).sum()
}

/// The most bytes that a commit takes.
pub(super) fn weight(commit: &Commit) -> usize {
    /// Longer than any effect in its text form.
    const EFFECT_BYTES_MAX: usize = 256;
    let of = |event: &Telling| {
        let audience = match &event.audience {
            Audience::Users(users) => 4 + users.len() * 16,
            _ => 16,
        };
        let effect = event.effect.map_or(0, |_| EFFECT_BYTES_MAX);
        16 + audience + effect + event.text.as_ref().map_or(0, Bytes::len)
    };
    COMMIT_BYTES + commit.events.iter().map(of).sum::<usize>()
}

fn put_commits(out: &mut BytesMut, commits: &[Commit]) {
    for commit in commits {
        out.put_slice(&commit.home.0);
        out.put_u64(commit.prev_seq);
        out.put_u64(commit.stamp.ms);
        out.put_u64(commit.stamp.seq);
        // A batch has fewer events than fit here.
        out.put_u16(u16::try_from(commit.events.len()).unwrap_or(u16::MAX));
        for event in commit.events.iter().take(usize::from(u16::MAX)) {
            put_event(out, event);
        }
    }
}

fn put_event(out: &mut BytesMut, event: &Telling) {
    let effect = event.effect.map(|effect| serde_json::to_vec(&effect).unwrap_or_default());
    let flags = u8::from(event.is_durable)
        | u8::from(event.text.is_some()) << 1
        | u8::from(effect.is_some()) << 2;
    out.put_u8(flags);
    match &event.audience {
        Audience::Members(home) => {
            out.put_u8(0);
            out.put_slice(&home.0);
        }
        Audience::Moderators(home) => {
            out.put_u8(1);
            out.put_slice(&home.0);
        }
        Audience::Users(users) => {
            out.put_u8(2);
            // Batches are bounded far below.
            out.put_u32(u32::try_from(users.len()).unwrap_or(u32::MAX));
            for user in users {
                out.put_slice(&user.0);
            }
        }
        Audience::Internal => out.put_u8(3),
    }
    for bytes in effect.as_deref().into_iter().chain(event.text.as_deref()) {
        out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        out.put_slice(bytes);
    }
}

/// Reads a message; nothing if it is none of ours.
pub(super) fn read(payload: &Bytes) -> Option<Message> {
    let mut reader = Reader { rest: payload.clone() };
    if reader.u8()? != FORMAT {
        return None;
    }
    let kind = reader.u8()?;
    let node = reader.uid()?;
    Some(match kind {
        KIND_GROUP => {
            let group = reader.group()?;
            let parts = reader.u16()?;
            Message::Group { node, group, parts, commits: reader.commits()? }
        }
        KIND_PUBLISHED => Message::Published { node, commits: reader.commits()? },
        KIND_BEAT => {
            let mut last = Vec::new();
            while !reader.rest.is_empty() {
                last.push(reader.group()?);
            }
            Message::Beat { node, last }
        }
        _ => return None,
    })
}

/// Takes a message apart; what it hands out shares the message's bytes.
struct Reader {
    rest: Bytes,
}

impl Reader {
    fn bytes(&mut self, count: usize) -> Option<Bytes> {
        (count <= self.rest.len()).then(|| self.rest.split_to(count))
    }

    fn array<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        self.bytes(COUNT)?.as_ref().try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn uid(&mut self) -> Option<Uid> {
        self.array().map(Uid)
    }

    fn group(&mut self) -> Option<GroupNumber> {
        Some(GroupNumber { lane: self.u8()?, number: self.u64()? })
    }

    /// Reads bytes behind their count.
    fn counted(&mut self) -> Option<Bytes> {
        let count = self.array().map(u32::from_be_bytes)?;
        self.bytes(usize::try_from(count).ok()?)
    }

    fn commits(&mut self) -> Option<Vec<Commit>> {
        let mut commits = Vec::new();
        while !self.rest.is_empty() {
            let (home, prev_seq) = (self.uid()?, self.u64()?);
            let stamp = Stamp { ms: self.u64()?, seq: self.u64()? };
            let count = self.u16()?;
            let events = (0..count).map(|_| self.event()).collect::<Option<Vec<Telling>>>()?;
            commits.push(Commit { home, prev_seq, stamp, events });
        }
        Some(commits)
    }

    fn event(&mut self) -> Option<Telling> {
        let flags = self.u8()?;
        let audience = match self.u8()? {
            0 => Audience::Members(self.uid()?),
            1 => Audience::Moderators(self.uid()?),
            2 => {
                let count = self.array().map(u32::from_be_bytes)?;
                let mut users = Vec::new();
                for _ in 0..count {
                    users.push(self.uid()?);
                }
                Audience::Users(users)
            }
            3 => Audience::Internal,
            _ => return None,
        };
        let effect = if flags & 4 == 0 { None } else { Some(self.counted()?) };
        let effect = effect.map(|effect| serde_json::from_slice(&effect)).transpose().ok()?;
        let text = if flags & 2 == 0 { None } else { Some(self.counted()?) };
        Some(Telling { audience, effect, is_durable: flags & 1 == 1, text })
    }
}

#[cfg(test)]
mod tests {
    use store::{Entropy as _, SeededEntropy};

    use super::*;

    const NODE: Uid = Uid([9; 16]);
    const GROUP: GroupNumber = GroupNumber { lane: 5, number: 1 << 40 };

    fn commit(seq: u64, text_bytes: usize) -> Commit {
        let (channel, user) = (Uid([1; 16]), Uid([2; 16]));
        let text = Some(Bytes::from(vec![b'x'; text_bytes]));
        let effect = Some(Effect::Join { channel, user, moderator: true });
        let telling = |audience, effect, text: &Option<Bytes>| Telling {
            audience,
            effect,
            is_durable: seq != 0,
            text: text.clone(),
        };
        let events = vec![
            telling(Audience::Members(channel), None, &text),
            telling(Audience::Moderators(channel), effect, &text),
            telling(Audience::Users(vec![user, channel]), None, &None),
            telling(Audience::Internal, Some(Effect::UserGone { user }), &None),
        ];
        let stamp = Stamp { ms: 1_700_000_000_000, seq };
        Commit { home: channel, prev_seq: seq.saturating_sub(1), stamp, events }
    }

    fn read_group(messages: &[Bytes]) -> Vec<Commit> {
        let mut all = Vec::new();
        for message in messages {
            let Some(Message::Group { node, group, parts, commits }) = read(message) else {
                panic!("is a group");
            };
            assert_eq!((node, group, usize::from(parts)), (NODE, GROUP, messages.len()));
            all.extend(commits);
        }
        all
    }

    #[test]
    fn a_group_is_read_as_it_was_written() {
        let commits = vec![commit(1, 10), commit(2, 0), commit(3, 3_000)];
        let messages = group(NODE, GROUP, &commits, 1 << 20).expect("fits");
        assert_eq!(messages.len(), 1);
        assert_eq!(read_group(&messages), commits);
    }

    #[test]
    fn a_large_group_goes_in_parts_that_each_fit() {
        let commits: Vec<Commit> = (1..=20).map(|seq| commit(seq, 1_000)).collect();
        let messages = group(NODE, GROUP, &commits, 8_000).expect("fits");
        assert!(messages.len() > 4);
        assert!(messages.iter().all(|message| message.len() <= 8_000));
        assert_eq!(read_group(&messages), commits);
        assert_eq!(group(NODE, GROUP, &[commit(1, 8_000)], 8_000), None);
        assert_eq!(group(NODE, GROUP, &commits, 10), None);
    }

    #[test]
    fn the_other_kinds_are_read_as_they_were_written() {
        let commits = vec![commit(0, 100)];
        let messages = published(NODE, &commits, 1 << 20).expect("fits");
        assert_eq!(read(&messages[0]), Some(Message::Published { node: NODE, commits }));
        let last = vec![GROUP, GroupNumber { lane: 0, number: 0 }];
        assert_eq!(read(&beat(NODE, &last)), Some(Message::Beat { node: NODE, last }));
    }

    #[test]
    fn no_bytes_bring_the_reader_down() {
        let whole = group(NODE, GROUP, &[commit(1, 50)], 1 << 20).expect("fits").remove(0);
        for end in 0..whole.len() {
            // A cut between two commits is a shorter group, which this one does not have.
            let cut = read(&whole.slice(..end));
            assert!(cut.is_none_or(
                |cut| matches!(cut, Message::Group { commits, .. } if commits.is_empty())
            ));
        }
        let random = SeededEntropy::new(5);
        for _ in 0..20_000 {
            let mut bytes = whole.to_vec();
            for _ in 0..3 {
                let at = usize::try_from(random.next_u64() % bytes.len() as u64).expect("fits");
                bytes[at] = u8::try_from(random.next_u64() & 255).expect("fits");
            }
            let _ = read(&bytes.into());
            let mut noise = vec![0; 64];
            random.fill(&mut noise);
            noise[..2].copy_from_slice(&[FORMAT, KIND_GROUP]);
            let _ = read(&noise.into());
        }
    }
}

//! WebSocket frames: what the server writes, as shared bytes, and what it hears, as signals.
//!
//! Invariants: a frame for clients is encoded once, header included, and then only shared; what
//! clients send is never kept: data is counted and dropped, control frames fit a small buffer.

use std::collections::VecDeque;
use std::io::{Cursor, IoSlice};
use std::ops::Range;

use bytes::Bytes;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// Most bytes that a message of a client may have. Clients have nothing to say here.
const MESSAGE_BYTES_MAX: u64 = 64 * 1024;
/// Most bytes of a control frame's payload, by RFC 6455.
const CONTROL_BYTES_MAX: u64 = 125;
/// The longest header of a frame that is not masked.
const HEADER_BYTES_MAX: usize = 10;

/// Why a socket is closed. The codes that make clients come back are 1001, 1011, 1012 and 1013.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// The client closed first; its code is answered with the same.
    Echo(Option<u16>),
    /// The client stopped answering pings.
    Silent,
    /// The credentials of the handshake are past their end; with new ones the client comes back.
    Expired,
    /// The client breaks the protocol.
    Protocol,
    /// The client sent more than it may.
    TooBig,
    /// Something failed here.
    Failure,
    /// The server ends.
    Restart,
    /// The client takes its events too slowly.
    Slow,
    /// The user connects too often.
    Throttled,
    /// Another socket took this one's place, or the user is gone.
    Kicked,
    /// The handshake was not signed by somebody who may connect.
    Unauthorized,
}

impl Close {
    const fn parts(self) -> Option<(u16, &'static str)> {
        Some(match self {
            Self::Echo(None) => return None,
            Self::Echo(Some(code)) => (code, ""),
            Self::Silent => (1001, "No answer to pings"),
            Self::Expired => (1001, "Credentials expired"),
            Self::Protocol => (1002, "Protocol error"),
            Self::TooBig => (1009, "Message too big"),
            Self::Failure => (1011, "Internal error"),
            Self::Restart => (1012, "Service restart"),
            Self::Slow => (1013, "Too slow"),
            Self::Throttled => (1013, "Rate exceeded"),
            Self::Kicked => (4003, "Forbidden"),
            Self::Unauthorized => (4401, "Unauthorized"),
        })
    }
}

/// Returns the frame of a text.
pub(crate) fn text(payload: &[u8]) -> Bytes {
    encode(OpCode::Data(Data::Text), payload)
}

/// Adds the frame of a text to others.
pub(crate) fn append_text(payload: &[u8], frames: &mut Vec<u8>) {
    append(OpCode::Data(Data::Text), payload, frames);
}

/// Returns the frame of a ping, which needs no payload.
pub(crate) fn ping() -> Bytes {
    encode(OpCode::Control(Control::Ping), &[])
}

/// Returns the frame of the answer to a ping.
pub(crate) fn pong(payload: &[u8]) -> Bytes {
    encode(OpCode::Control(Control::Pong), payload)
}

/// Returns the frame that ends a socket.
pub(crate) fn close(why: Close) -> Bytes {
    let payload = why.parts().map_or_else(Vec::new, |(code, reason)| {
        [code.to_be_bytes().as_slice(), reason.as_bytes()].concat()
    });
    encode(OpCode::Control(Control::Close), &payload)
}

fn encode(opcode: OpCode, payload: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(HEADER_BYTES_MAX + payload.len());
    append(opcode, payload, &mut frame);
    frame.into()
}

fn append(opcode: OpCode, payload: &[u8], frames: &mut Vec<u8>) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    header.format(payload.len() as u64, frames).expect("a Vec takes what is written to it");
    frames.extend_from_slice(payload);
}

/// Complete frames that follow each other in one piece of memory, which many sockets share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frames {
    bytes: Bytes,
    count: usize,
}

impl Frames {
    /// Takes `bytes` for so many frames.
    pub(crate) fn of(bytes: Bytes, count: usize) -> Self {
        Self { bytes, count }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl From<Bytes> for Frames {
    /// Takes one frame.
    fn from(frame: Bytes) -> Self {
        Self::of(frame, 1)
    }
}

/// Frames on their way into the stream, the first perhaps written in part.
#[derive(Default)]
pub(crate) struct Backlog {
    pieces: VecDeque<Bytes>,
    /// Bytes of the first piece that are written.
    written: usize,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Returns how many pieces there are.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(crate) fn push(&mut self, frames: impl Into<Frames>) {
        self.pieces.push_back(frames.into().bytes);
    }

    /// Drops every frame but one that is already written in part.
    pub(crate) fn drop_unbegun(&mut self) {
        self.pieces.truncate(1);
        let Some(piece) = self.pieces.front_mut() else { return };
        let mut end = 0;
        while end < self.written {
            // What cannot be taken apart is not cut.
            end = frame_bytes(&piece[end..]).map_or(piece.len(), |bytes| end + bytes);
        }
        piece.truncate(end);
        if end == self.written {
            self.pieces.clear();
            self.written = 0;
        }
    }

    /// Returns what is to be written next, if it is in one piece.
    pub(crate) fn only(&self) -> Option<&[u8]> {
        let only = self.pieces.front().filter(|_| self.pieces.len() == 1);
        only.map(|piece| &piece[self.written..])
    }

    /// Fills `slices` with what is to be written next and returns how many it filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        let mut begin = self.written;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(&piece[begin..]);
            begin = 0;
            count += 1;
        }
        count
    }

    /// Drops the `written` bytes from the front.
    pub(crate) fn advance(&mut self, written: usize) {
        self.written += written;
        while let Some(first) = self.pieces.front() {
            if self.written < first.len() {
                return;
            }
            self.written -= first.len();
            self.pieces.pop_front();
        }
        // Most sockets are idle most of the time, and there are many of them.
        self.pieces = VecDeque::new();
    }

    /// Returns what is still to be written.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pieces.iter().flatten().skip(self.written).copied().collect()
    }
}

/// Returns how long the first frame is that a server wrote.
fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    let (_, payload) = parts(bytes)?;
    Some(payload.end)
}

/// Returns the kind of the first frame and where its payload stands.
fn parts(bytes: &[u8]) -> Option<(OpCode, Range<usize>)> {
    let mut cursor = Cursor::new(bytes);
    let (header, payload_bytes) = FrameHeader::parse(&mut cursor).ok()??;
    let start = usize::try_from(cursor.position()).ok()?;
    let end = start.checked_add(usize::try_from(payload_bytes).ok()?)?;
    (end <= bytes.len()).then_some((header.opcode, start..end))
}

/// Takes the first frame off, and returns whether it is a ping, its payload, and the rest.
#[cfg(test)]
pub(crate) fn first(bytes: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let (opcode, payload) = parts(bytes)?;
    let is_ping = opcode == OpCode::Control(Control::Ping);
    Some((is_ping, &bytes[payload.clone()], &bytes[payload.end..]))
}

/// What a client can say that matters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

/// Takes apart what a client sends.
#[derive(Default)]
pub(crate) struct Inbound {
    /// The beginning of a frame that is not complete.
    pending: Vec<u8>,
    /// Bytes of the current data frame that are still to come.
    skip: u64,
    /// Bytes of the current message so far; none is open without one.
    message_bytes: Option<u64>,
}

impl Inbound {
    /// Takes the next bytes and adds the signals in them to `signals`.
    pub(crate) fn feed(&mut self, bytes: &[u8], signals: &mut Vec<Signal>) -> Result<(), Close> {
        let rest = self.skipped(bytes.len()).map_or(&[][..], |skipped| &bytes[skipped..]);
        self.pending.extend_from_slice(rest);
        while !self.pending.is_empty() {
            let mut cursor = Cursor::new(&self.pending);
            let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Close::Protocol)?;
            let Some((header, payload_bytes)) = parsed else { break };
            let start = usize::try_from(cursor.position()).map_err(|_| Close::Protocol)?;
            let mask = header.mask.ok_or(Close::Protocol)?;
            if header.rsv1 || header.rsv2 || header.rsv3 {
                return Err(Close::Protocol);
            }
            let taken = match header.opcode {
                OpCode::Data(kind) => {
                    self.count(kind, header.is_final, payload_bytes)?;
                    self.skip = payload_bytes;
                    let rest = self.pending.len() - start;
                    start + self.skipped(rest).unwrap_or(rest)
                }
                OpCode::Control(kind) => {
                    if payload_bytes > CONTROL_BYTES_MAX || !header.is_final {
                        return Err(Close::Protocol);
                    }
                    let end = start + payload_bytes as usize;
                    let Some(masked) = self.pending.get(start..end) else { break };
                    signals.extend(control(kind, unmasked(masked, mask))?);
                    end
                }
            };
            self.pending.drain(..taken);
        }
        Ok(())
    }

    /// Drops what belongs to the current data frame out of `available` bytes; returns how many
    /// that were, or nothing when all of them were.
    fn skipped(&mut self, available: usize) -> Option<usize> {
        let available_bytes = available as u64;
        if self.skip >= available_bytes {
            self.skip -= available_bytes;
            return None;
        }
        // Less than `available`, so that it fits.
        let skipped = usize::try_from(self.skip).unwrap_or(available);
        self.skip = 0;
        Some(skipped)
    }

    fn count(&mut self, kind: Data, is_final: bool, payload_bytes: u64) -> Result<(), Close> {
        let before = match (kind, self.message_bytes) {
            (Data::Continue, Some(before)) => before,
            (Data::Text | Data::Binary, None) => 0,
            _ => return Err(Close::Protocol),
        };
        let total = before.saturating_add(payload_bytes);
        if total > MESSAGE_BYTES_MAX {
            return Err(Close::TooBig);
        }
        self.message_bytes = (!is_final).then_some(total);
        Ok(())
    }
}

fn unmasked(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

fn control(kind: Control, payload: Vec<u8>) -> Result<Option<Signal>, Close> {
    Ok(match kind {
        Control::Ping => Some(Signal::Ping(payload)),
        Control::Pong => Some(Signal::Pong),
        Control::Close => match payload.as_slice() {
            [] => Some(Signal::Close(None)),
            [high, low, ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !CloseCode::from(code).is_allowed() {
                    return Err(Close::Protocol);
                }
                Some(Signal::Close(Some(code)))
            }
            [_] => return Err(Close::Protocol),
        },
        Control::Reserved(_) => return Err(Close::Protocol),
    })
}

#[cfg(test)]
mod tests;

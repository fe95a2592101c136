//! Telling events again, from their rows and what is stored now.
//!
//! Invariants: what is told of a message is its state of now, and of one that is gone nothing but its
//! end, so that nobody learns from an old event what was redacted or deleted since. Events of one
//! home come in the order of their commits. Rows are read in pages, the messages of a page in one
//! call.

use std::collections::VecDeque;

use store::table::{EVENT, event_bucket};
use store::{Audience, Direction, Entry, Key, Parts, Range, Stamp, Uid};
use wire::event::EVENT_ID;
use wire::messaging::{ChannelMessage as Described, ChannelMessageStatus};

use super::reference::{self, Reference, Telling};
use super::{EVENT_REASON, Effect, Event, Place, SYSTEM, type_of};
use crate::Chat;
use crate::cx::Cx;
use crate::error::Result;
use crate::limits::{CLOCKS_APART_MS_MAX, RETOLD_ROWS_PER_READ};
use crate::messaging::channel_message::{self, ChannelMessage};

/// An event that is told again.
#[derive(Debug)]
pub struct Told {
    /// Which event it is.
    pub place: Place,
    /// Who was told.
    pub audience: Audience,
    /// What it changed about who hears what.
    pub effect: Option<Effect>,
    /// Its WebSocket text; nothing for an internal event, and for one about a message that is gone.
    pub frame: Option<Vec<u8>>,
}

/// A row as it is read.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) place: Place,
    reference: Reference,
}

impl Row {
    pub(crate) fn audience(&self) -> &Audience {
        &self.reference.audience
    }

    pub(crate) fn effect(&self) -> Option<Effect> {
        self.reference.effect
    }

    /// Returns the stamp of the stored message that the event is about.
    pub(crate) fn message(&self) -> Option<Stamp> {
        match self.reference.told {
            Telling::Message { of, .. } => Some(of),
            _ => None,
        }
    }
}

impl Chat {
    /// Returns the WebSocket text of an event, or nothing for an internal one.
    #[must_use]
    pub fn frame(&self, event: &Event, place: Place) -> Option<Vec<u8>> {
        event.frame(&self.0.place.event_ids, place)
    }

    /// Tells the events below `home` again whose commits came after `after`. One who knows the seq
    /// alone asks with the time 0.
    #[must_use]
    pub fn retell(&self, home: Uid, after: Stamp) -> Retelling {
        let now_ms = self.0.clock.now_ms();
        let from_ms = after.ms.max(self.kept_from_ms());
        let ranges = below(home, from_ms, now_ms.saturating_add(CLOCKS_APART_MS_MAX));
        Retelling { chat: self.clone(), ranges, from_ms, after_seq: after.seq }
    }

    /// Tells the events of all homes again that were committed at `from_ms` or later, those of one
    /// home in their order.
    #[must_use]
    pub fn retell_all(&self, from_ms: u64) -> Retelling {
        let from_ms = from_ms.max(self.kept_from_ms());
        let first = Key::new(&EVENT).u32(event_bucket(from_ms));
        let ranges = VecDeque::from([Range::prefix(Key::new(&EVENT)).from(first)]);
        Retelling { chat: self.clone(), ranges, from_ms, after_seq: 0 }
    }

    /// Returns the time from which on every event can be told again; of what is older the rows may be
    /// gone.
    #[must_use]
    pub fn kept_from_ms(&self) -> u64 {
        self.0.clock.now_ms().saturating_sub(self.0.place.resume_window_ms)
    }

    /// Returns what is told again of events whose rows were read.
    pub(crate) async fn tell_again(&self, rows: Vec<Row>) -> Result<Vec<Told>> {
        let message = |row: &Row| Some(channel_message::key_of(row.place.home, row.message()?));
        let keys: Vec<Key> = rows.iter().filter_map(message).collect();
        let messages = self.0.store.view().get_many::<ChannelMessage>(&keys).await?;
        let (cx, mut messages) = (self.nobodys_cx(String::new()), messages.into_iter());
        let told = rows.into_iter().map(|row| {
            let message = row.message().and_then(|_| messages.next().flatten());
            tell(&cx, row, message.as_ref())
        });
        Ok(told.collect())
    }
}

/// Returns the rows of a home in the buckets of that time, a range each.
pub(crate) fn below(home: Uid, from_ms: u64, to_ms: u64) -> VecDeque<Range> {
    let bucket = |bucket| Range::prefix(Key::new(&EVENT).u32(bucket).uid(home));
    (event_bucket(from_ms)..=event_bucket(to_ms)).map(bucket).collect()
}

/// Returns the rows of one commit.
pub(crate) fn of_commit(home: Uid, stamp: Stamp) -> Range {
    Range::prefix(Key::new(&EVENT).u32(event_bucket(stamp.ms)).uid(home).stamp(stamp))
}

/// Reads a row of the table; one that cannot be read is passed over and told to the operator.
pub(crate) fn row(entry: &Entry) -> Option<Row> {
    let read = || {
        let mut parts = Parts::new(&entry.key);
        parts.u32()?;
        let place = Place { home: parts.uid()?, stamp: parts.stamp()?, index: parts.u16()? };
        let reference = reference::read(&entry.value, place.home, place.stamp)?;
        Some(Row { place, reference })
    };
    let row = read();
    if row.is_none() {
        tracing::error!("an event row cannot be read");
    }
    row
}

fn tell(cx: &Cx, row: Row, message: Option<&ChannelMessage>) -> Told {
    let Row { place, reference: Reference { audience, effect, told } } = row;
    let id = place.id(&cx.place.event_ids);
    let id = id.as_deref().map(|id| (EVENT_ID, id));
    let frame = |event: &str, kind: &str, payload: Option<&str>| {
        wire::event::frame_of_text(event, kind, id.as_slice(), payload)
    };
    let of_message = |event: &str, message: &Described| {
        let payload = wire::event::payload_text(message);
        frame(event, type_of(message), Some(&payload))
    };
    let frame = match told {
        Telling::Nothing => None,
        Telling::Payload { event, reason, payload } => {
            let reason = reason.as_deref().map(|reason| (EVENT_REASON, reason));
            let headers: Vec<_> = id.into_iter().chain(reason).collect();
            Some(wire::event::frame_of_text(&event, SYSTEM, &headers, Some(&payload)))
        }
        Telling::Deleted { event, kind, payload, .. } => {
            payload.map(|payload| frame(&event, &kind, Some(&payload)))
        }
        Telling::Message { event, channel, is_sub, .. } => message.zip(channel).map(|found| {
            let (message, channel) = found;
            let mut described = message.retold(cx, &channel, is_sub);
            if event.starts_with("PENDING_") {
                described.status = Some(channel_message::status(ChannelMessageStatus::Pending));
            }
            of_message(&event, &described)
        }),
    };
    Told { place, audience, effect, frame }
}

/// Reads event rows page by page.
pub struct Retelling {
    chat: Chat,
    /// What is still to be read, in order.
    ranges: VecDeque<Range>,
    from_ms: u64,
    after_seq: u64,
}

impl Retelling {
    /// Returns the next events; none when all were told.
    ///
    /// # Errors
    /// When the store does not answer. The same events are asked for again then.
    pub async fn next(&mut self) -> std::result::Result<Vec<Told>, wire::Error> {
        Ok(self.page().await?)
    }

    async fn page(&mut self) -> Result<Vec<Told>> {
        let view = self.chat.0.store.view();
        while let Some(range) = self.ranges.front() {
            let rows = view.list(range, RETOLD_ROWS_PER_READ, Direction::Forward).await?;
            let rest = rows.last().filter(|_| rows.len() == RETOLD_ROWS_PER_READ);
            let rest = rest.map(|last| range.clone().after(&last.key));
            let is_asked_for = |row: &Row| {
                row.place.stamp.ms >= self.from_ms && row.place.stamp.seq > self.after_seq
            };
            let rows: Vec<Row> = rows.iter().filter_map(row).filter(is_asked_for).collect();
            let told = self.chat.tell_again(rows).await?;
            self.ranges.pop_front();
            rest.into_iter().for_each(|rest| self.ranges.push_front(rest));
            if !told.is_empty() {
                return Ok(told);
            }
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests;

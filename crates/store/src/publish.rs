//! The time of stamps, and the way of events into the sink.
//!
//! Invariants: a home's stamps never go back, whatever the clock does, and are at most
//! `LEAD_MS_MAX` ahead of it on their own account; two published stamps of a home differ as long
//! as that allows it. Engines share one `Publisher` between commits and publishes.

use std::sync::{Mutex, PoisonError, RwLock};

use tokio::sync::mpsc::Permit;

use crate::clock::Clock;
use crate::engine::{Committed, Event, Failure, Sink, Unavailable};
use crate::id::{Stamp, Uid};

/// How far stamps may run ahead of the clock to keep their times distinct.
pub(crate) const LEAD_MS_MAX: u64 = 1_000;

/// How many homes' last times a node remembers apart; homes that share a place only keep each
/// other's times distinct.
const MARK_COUNT: usize = 1_024;

/// Returns the time after `last_ms`: the clock's, or the next millisecond if the clock is not
/// past it, or the same one if the clock is far behind.
pub(crate) fn next_ms(last_ms: u64, now_ms: u64) -> u64 {
    if now_ms > last_ms {
        now_ms
    } else if last_ms < now_ms.saturating_add(LEAD_MS_MAX) {
        last_ms + 1
    } else {
        last_ms
    }
}

/// The last time that this node gave to each home, committed or published.
pub(crate) struct Marks {
    last_ms: Box<[Mutex<u64>]>,
}

impl Marks {
    pub(crate) fn new() -> Marks {
        Marks { last_ms: (0..MARK_COUNT).map(|_| Mutex::new(0)).collect() }
    }

    /// Returns the time of a commit that follows `last_ms` in its home.
    pub(crate) fn commit_ms(&self, home: Uid, last_ms: u64, now_ms: u64) -> u64 {
        self.update(home, |mark| {
            let own = next_ms(last_ms, now_ms);
            let past_mark = next_ms(*mark, now_ms);
            // A mark that has run too far ahead may be another home's: only what is near counts.
            let near = past_mark > *mark && past_mark <= now_ms.saturating_add(LEAD_MS_MAX);
            let ms = if *mark >= own && near { past_mark } else { own };
            *mark = ms.max(*mark);
            ms
        })
    }

    /// Gives a published event its stamp and hands it on before another can take a later one.
    fn publish(&self, home: Uid, now_ms: u64, send: impl FnOnce(Stamp)) -> Stamp {
        self.update(home, |mark| {
            *mark = next_ms(*mark, now_ms);
            let stamp = Stamp { ms: *mark, seq: 0 };
            send(stamp);
            stamp
        })
    }

    fn update<T>(&self, home: Uid, change: impl FnOnce(&mut u64) -> T) -> T {
        let [.., high, low] = home.0;
        let place = usize::from(u16::from_be_bytes([high, low])) % MARK_COUNT;
        let mut mark = self.last_ms[place].lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut mark)
    }
}

/// The sink and the marks of an engine.
pub(crate) struct Publisher {
    pub(crate) marks: Marks,
    /// None when there is no reader, or no longer.
    sink: RwLock<Option<Sink>>,
}

impl Publisher {
    pub(crate) fn new(sink: Option<Sink>) -> Publisher {
        Publisher { marks: Marks::new(), sink: RwLock::new(sink) }
    }

    pub(crate) fn sink(&self) -> Option<Sink> {
        self.sink.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how many messages wait in the sink for its reader.
    pub(crate) fn waiting(&self) -> u64 {
        let waiting = self.sink().map_or(0, |sink| sink.max_capacity() - sink.capacity());
        u64::try_from(waiting).unwrap_or(u64::MAX)
    }

    /// Lets go of the sink, so that its reader comes to the end.
    pub(crate) fn close(&self) {
        *self.sink.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) async fn publish(
        &self,
        clock: &dyn Clock,
        home: Uid,
        events: Vec<Event>,
    ) -> Result<Stamp, Failure> {
        let sink = self.sink();
        // The place in the sink comes first: between stamp and sending there is no wait, so that
        // published events of a home leave in the order of their stamps.
        let place = match &sink {
            None => None,
            Some(sink) => Some(sink.reserve().await.map_err(|_| nobody_listens())?),
        };
        let stamp = self.marks.publish(home, clock.now_ms(), |stamp| {
            if let Some(place) = place.filter(|_| !events.is_empty()) {
                place.send(vec![Committed { home, prev_seq: 0, stamp, events, group: None }]);
            }
        });
        Ok(stamp)
    }
}

/// Sends a group's events through a reserved place, if there are any.
pub(crate) fn send_group(place: Option<Permit<'_, Vec<Committed>>>, group: Vec<Committed>) {
    if let Some(place) = place.filter(|_| !group.is_empty()) {
        place.send(group);
    }
}

fn nobody_listens() -> Failure {
    Failure::Unavailable(Unavailable::new("the reader of the events is gone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Uid = Uid([7; 16]);

    #[test]
    fn time_follows_the_clock_and_is_distinct_within_the_lead() {
        assert_eq!(next_ms(10, 20), 20);
        assert_eq!(next_ms(20, 20), 21);
        assert_eq!(next_ms(20, 15), 21);
        assert_eq!(next_ms(5_000 + LEAD_MS_MAX - 1, 5_000), 5_000 + LEAD_MS_MAX);
        assert_eq!(next_ms(5_000 + LEAD_MS_MAX, 5_000), 5_000 + LEAD_MS_MAX);
        assert_eq!(next_ms(90_000, 5_000), 90_000);
        assert_eq!(next_ms(u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn commit_passes_what_was_published_nearby() {
        let marks = Marks::new();
        let published = marks.publish(HOME, 100, |_| {});
        assert_eq!(marks.commit_ms(HOME, 0, 100), published.ms + 1);
        assert_eq!(marks.publish(HOME, 100, |_| {}).ms, published.ms + 2);
    }

    #[test]
    fn commit_ignores_a_mark_that_is_far_ahead() {
        let marks = Marks::new();
        marks.publish(HOME, 100_000, |_| {});
        assert_eq!(marks.commit_ms(HOME, 0, 50_000), 50_000);
        assert_eq!(marks.publish(HOME, 50_000, |_| {}).ms, 100_000);
    }

    #[test]
    fn commit_never_falls_below_its_home() {
        let marks = Marks::new();
        assert_eq!(marks.commit_ms(HOME, 70_000, 50_000), 70_000);
        assert_eq!(marks.commit_ms(HOME, 50_400, 50_000), 50_401);
    }
}

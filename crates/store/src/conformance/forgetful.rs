//! An engine with a defect, to prove that the judge finds one.

use std::sync::Arc;

use crate::engine::{Batch, BoxFuture, Engine, Entry, Event, Failure, Unavailable};
use crate::id::{Stamp, Uid};
use crate::key::Key;
use crate::range::{Direction, Range};

/// Forgets the deletes of every batch.
pub struct Forgetful(pub Arc<dyn Engine>);

impl Engine for Forgetful {
    fn get<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Option<Entry>>, Unavailable>> {
        self.0.get(keys)
    }

    fn scan<'a>(
        &'a self,
        ranges: &'a [Range],
        limit: usize,
        direction: Direction,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Vec<Vec<Entry>>, Unavailable>> {
        self.0.scan(ranges, limit, direction, keys_only)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Stamp, Failure>> {
        self.0.commit(Batch { deletes: Vec::new(), ..batch })
    }

    fn publish(&self, home: Uid, events: Vec<Event>) -> BoxFuture<'_, Result<Stamp, Failure>> {
        self.0.publish(home, events)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}

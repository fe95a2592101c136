//! The model test itself: a defect is found, and shortened to what it takes to show it.

use super::*;
use crate::conformance::options;
use crate::engine::{BoxFuture, Event, Unavailable};
use crate::memory;

/// An engine that forgets the deletes of every batch.
struct Forgetful(Arc<dyn Engine>);

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

#[tokio::test]
async fn defect_is_found_and_shortened_to_a_put_and_a_delete() {
    let found = batches(async || {
        let clock = Arc::new(MockClock::new(START_MS));
        let sound = memory::open(options(&clock, None, 1));
        let broken = Forgetful(memory::open(options(&clock, None, 1)));
        Engines { clock, named: vec![("sound", sound), ("broken", Arc::new(broken))] }
    })
    .await;
    let text = found.expect_err("deletes are missed");
    assert!(text.contains("seed 101: broken, step "), "{text}");
    assert!(text.contains("shortened to 2 steps: broken, step 1: "), "{text}");
}

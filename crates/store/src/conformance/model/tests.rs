//! The model test itself: a defect is found, and shortened to what it takes to show it.

use super::*;
use crate::conformance::{Forgetful, options};
use crate::memory;

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

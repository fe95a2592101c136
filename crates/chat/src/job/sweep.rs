//! Rows that leave by time: request tokens that no request looks up, events and departures that no
//! session asks for, access keys that expired.
//!
//! Invariant: all but the keys leave by whole buckets of time, which their keys begin with, so that
//! a sweep reads nothing that stays; a row stays at least as long as its life says.

use store::table::{EVENT, event_bucket};
use store::{Direction, Key, Range, Txn, Uid, View};

use crate::access_key;
use crate::cx::Cx;
use crate::error::Result;
use crate::idempotency;
use crate::limits::{RESUME_GRACE_MS, STEP_ROWS_MAX, TOKEN_LIVES};
use crate::messaging::channel_membership::departure;

/// Fills `tx` with the removal of the first rows whose time is over and returns their count.
pub(super) async fn step(cx: &Cx, view: &View, tx: &mut Txn) -> Result<usize> {
    let now_ms = cx.now_ms;
    for range in expired(cx) {
        let rows = view.keys(&range, STEP_ROWS_MAX, Direction::Forward).await?;
        if rows.is_empty() {
            continue;
        }
        let key = |bytes: &[u8]| Key::new(range.table()).raw(bytes);
        let keys: Vec<Key> = rows.iter().map(|row| key(&row.key)).collect();
        let count = keys.len();
        // The rows have many homes and no order among them any more.
        tx.set_home(Uid::NIL);
        tx.load(&keys).await?;
        for key in keys {
            tx.exists(&key).await?;
            tx.delete_raw(key);
        }
        return Ok(count);
    }
    tx.set_home(Uid::NIL);
    access_key::sweep(view, tx, now_ms, STEP_ROWS_MAX / access_key::ROWS_PER_KEY).await
}

fn expired(cx: &Cx) -> Vec<Range> {
    let tokens = TOKEN_LIVES.into_iter().map(|life| idempotency::expired(life, cx.now_ms));
    let now_ms = u64::try_from(cx.now_ms).unwrap_or(0);
    let kept_from_ms = now_ms.saturating_sub(cx.place.resume_window_ms + RESUME_GRACE_MS);
    tokens.chain([expired_events(kept_from_ms), departure::expired(kept_from_ms)]).collect()
}

/// Returns the event rows of buckets whose last moment is out of the resume window.
fn expired_events(kept_from_ms: u64) -> Range {
    Range::prefix(Key::new(&EVENT)).before(Key::new(&EVENT).u32(event_bucket(kept_from_ms)))
}

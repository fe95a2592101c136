//! Memberships that ended a while ago, from the member's side.
//!
//! Key: bucket of time, the former member, the channel or sub-channel, the stamp of the commit that
//! removed his membership: stamps of two homes may be the same. Invariant: whatever removes a
//! membership of a user puts a row with it, so that a session which was away finds what told of the
//! end below homes that its user no longer belongs to. Rows leave by time, as events do.

use serde::{Deserialize, Serialize};
use store::table::event_bucket;
use store::{Direction, Key, Kind, Parts, Range, Stamp, Table, Txn, Uid, View};

use super::ChannelMembership;
use crate::cx::Cx;
use crate::error::Result;
use crate::limits::CLOCKS_APART_MS_MAX;
use crate::principal;

pub(crate) static DEPARTURE: Table =
    Table { name: "departure", kind: Kind::Record, columns: &["channel"] };

/// The end of one membership, of which the key tells the rest.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    /// The channel, where the key names a sub-channel of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<Uid>,
}

/// What a row tells.
#[derive(Debug)]
pub(crate) struct Departure {
    /// The channel, or the sub-channel of an elastic one.
    pub(crate) home: Uid,
    /// The channel.
    pub(crate) channel: Uid,
    /// The commit that removed the membership: the one that told of it, or that of a purge.
    pub(crate) stamp: Stamp,
}

/// Notes that this transaction removes a membership. Bots have no sessions.
pub(super) fn note(cx: &Cx, tx: &mut Txn, membership: &ChannelMembership) {
    let member = &membership.member;
    if member.kind != principal::Kind::User {
        return;
    }
    let bucket = event_bucket(u64::try_from(cx.now_ms).unwrap_or(0));
    let key = Key::new(&DEPARTURE).u32(bucket).uid(member.uid).uid(membership.home()).stamped();
    let row = Row { channel: membership.sub_channel.map(|_| membership.channel) };
    tx.put_raw(key, store::codec::encode(&row));
}

/// Returns the departures of a user since `from_ms`, the last of which may be one of `limit` + 1 and
/// then tells that there are more.
pub(crate) async fn since(
    view: &View,
    user: Uid,
    from_ms: u64,
    to_ms: u64,
    limit: usize,
) -> Result<Vec<Departure>> {
    // The bucket is that of the clock before the commit, whose stamp may be of the next one.
    let first = event_bucket(from_ms.saturating_sub(CLOCKS_APART_MS_MAX));
    let last = event_bucket(to_ms.saturating_add(CLOCKS_APART_MS_MAX));
    let of_bucket = |bucket| Range::prefix(Key::new(&DEPARTURE).u32(bucket).uid(user));
    let ranges: Vec<Range> = (first..=last).map(of_bucket).collect();
    let lists = view.lists(&ranges, limit + 1, Direction::Forward).await?;
    let mut departures = Vec::new();
    for entry in lists.into_iter().flatten() {
        let mut parts = Parts::new(&entry.key);
        let home = parts.u32().and_then(|_| parts.uid()).and_then(|_| parts.uid());
        let row: Option<Row> = store::codec::decode(&entry.value).ok();
        let (Some(home), Some(stamp), Some(row)) = (home, parts.stamp(), row) else {
            tracing::error!("a departure row cannot be read");
            continue;
        };
        if stamp.ms >= from_ms {
            departures.push(Departure { home, channel: row.channel.unwrap_or(home), stamp });
        }
    }
    departures.truncate(limit + 1);
    Ok(departures)
}

/// Returns the rows of buckets whose last moment is before `kept_from_ms`.
pub(crate) fn expired(kept_from_ms: u64) -> Range {
    Range::prefix(Key::new(&DEPARTURE)).before(Key::new(&DEPARTURE).u32(event_bucket(kept_from_ms)))
}

//! Balancing: which sub-channels of an elastic channel give members and which take them.
//!
//! These are the rules; `job/balance.rs` carries them out, one member a step. SCALE_OUT: a new
//! sub-channel is filling until no other has two members more than it. SCALE_IN: one that has fewer
//! than the minimum is draining while the others have room for its members, then it goes. Both
//! states stand in the sub-channel's record, so that whoever assigns a member has checked them.
//! Invariant: no request and no step looks at all sub-channels.

use store::{Txn, Uid};

use super::Elastic;
use super::rows::{State, SubChannel, count_key};
use crate::cx::Cx;
use crate::error::Result;
use crate::job;
use crate::limits;
use crate::messaging::channel::Channel;

/// How many members more than the new one a sub-channel may keep when SCALE_OUT is over.
pub(crate) const UNEVEN_MAX: i64 = 1;

impl Elastic {
    /// Returns how many members a sub-channel is to have.
    pub(crate) fn target(&self) -> i64 {
        i64::from(self.target_memberships)
    }

    /// Returns the least members that keep a sub-channel: the percentage of the target, rounded up.
    fn minimum(&self) -> i64 {
        (self.target() * i64::from(self.minimum_percentage) + 99) / 100
    }

    /// Whether that is fewer members than the channel wants of a sub-channel.
    pub(crate) fn is_small(&self, count: i64) -> bool {
        count < self.minimum()
    }
}

/// Takes note of somebody who goes from a sub-channel in this transaction: his place is free, and if
/// there are too few left then, a job judges the sub-channel. What the counter says is a hint: the
/// job reads it again.
pub(crate) async fn note_leave(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    sub_channel: Uid,
) -> Result<()> {
    let Some(elastic) = &channel.elastic else { return Ok(()) };
    let key = SubChannel::key_of(channel.uid, sub_channel);
    let Some(mut record) = tx.get::<SubChannel>(&key).await? else { return Ok(()) };
    record.open(tx);
    // Another state has a job of its own.
    if record.state != State::Active || is_alone(tx, channel.uid).await? {
        return Ok(());
    }
    let count = tx.peek_count(&count_key(sub_channel)).await?;
    if count <= elastic.minimum() + limits::BALANCE_LEAVES_AT_ONCE {
        job::judge_later(cx, tx, channel, sub_channel);
    }
    Ok(())
}

/// Whether the channel has one sub-channel alone, which always stays.
pub(crate) async fn is_alone(tx: &mut Txn, channel: Uid) -> Result<bool> {
    Ok(tx.peek_count(&limits::SUB_CHANNELS.key(channel)).await? < 2)
}

//! Balancing: which sub-channels of an elastic channel give members and which take them.
//!
//! These are all the choices; `job/balance.rs` carries them out, one member a step. SCALE_OUT: a new
//! sub-channel is filling until no other has two members more than it. SCALE_IN: one that has fewer
//! than the minimum is draining while the others have room for its members, then it goes. Both
//! states stand in the channel's record, so that whoever assigns a member has checked them.

use store::{Key, Txn, Uid};

use super::Elastic;
use crate::cx::Cx;
use crate::error::Result;
use crate::job;
use crate::limits;
use crate::messaging::channel::Channel;

/// How many members more than the new one a sub-channel may keep when SCALE_OUT is over.
const UNEVEN_MAX: i64 = 1;

impl Elastic {
    /// Whether members are moved into the sub-channel until it has as many as the others.
    pub(crate) fn is_filling(&self, sub_channel: Uid) -> bool {
        self.filling.contains(&sub_channel)
    }

    /// Whether the sub-channel takes nobody and goes once all are moved out of it.
    pub(crate) fn is_draining(&self, sub_channel: Uid) -> bool {
        self.draining.contains(&sub_channel)
    }

    /// Returns those that members may be assigned to.
    pub(super) fn active(&self) -> impl Iterator<Item = Uid> {
        self.sub_channels.iter().copied().filter(|uid| !self.is_draining(*uid))
    }

    /// Adds a sub-channel, which is to be filled.
    pub(super) fn grow(&mut self, sub_channel: Uid) {
        self.sub_channels.push(sub_channel);
        self.filling.push(sub_channel);
    }

    pub(crate) fn stop_filling(&mut self, sub_channel: Uid) {
        self.filling.retain(|uid| *uid != sub_channel);
    }

    pub(crate) fn start_draining(&mut self, sub_channel: Uid) {
        self.draining.push(sub_channel);
    }

    /// Makes the sub-channel an ordinary one again.
    pub(crate) fn stop_draining(&mut self, sub_channel: Uid) {
        self.draining.retain(|uid| *uid != sub_channel);
    }

    /// Removes a sub-channel whose last message was sent at `message_ms`.
    pub(crate) fn remove(&mut self, sub_channel: Uid, message_ms: Option<u64>) {
        self.stop_filling(sub_channel);
        self.stop_draining(sub_channel);
        self.sub_channels.retain(|uid| *uid != sub_channel);
        self.gone_message_ms = self.gone_message_ms.max(message_ms);
    }

    pub(crate) fn target(&self) -> i64 {
        i64::from(self.target_memberships)
    }

    /// Returns the least members that keep a sub-channel: the percentage of the target, rounded up.
    fn minimum(&self) -> i64 {
        (self.target() * i64::from(self.minimum_percentage) + 99) / 100
    }
}

/// The memberships of each sub-channel, as they were read.
pub(crate) struct Counts(Vec<(Uid, i64)>);

impl Counts {
    /// Reads the counts of all sub-channels.
    pub(crate) async fn of(tx: &mut Txn, elastic: &Elastic) -> Result<Self> {
        let key = |uid: &Uid| limits::SUB_CHANNEL_MEMBERSHIPS.key(*uid);
        tx.load(&elastic.sub_channels.iter().map(key).collect::<Vec<Key>>()).await?;
        let mut counts = Vec::new();
        for uid in &elastic.sub_channels {
            counts.push((*uid, tx.peek_count(&key(uid)).await?));
        }
        Ok(Self(counts))
    }

    fn get(&self, sub_channel: Uid) -> i64 {
        self.0.iter().find(|(uid, _)| *uid == sub_channel).map_or(0, |(_, count)| *count)
    }

    fn active_but<'a>(
        &'a self,
        elastic: &'a Elastic,
        sub_channel: Uid,
    ) -> impl Iterator<Item = (Uid, i64)> + 'a {
        let all = self.0.iter().copied();
        all.filter(move |(uid, _)| *uid != sub_channel && !elastic.is_draining(*uid))
    }

    /// Returns the sub-channel that gives the next member to one that is filling: the fullest but
    /// for those that have `spent` theirs; nothing when they are even.
    pub(crate) fn giver(&self, elastic: &Elastic, into: Uid, spent: &[Uid]) -> Option<Uid> {
        let count = self.get(into);
        let others = self.active_but(elastic, into).filter(|(uid, _)| !spent.contains(uid));
        let fullest = others.max_by_key(|(_, count)| *count);
        let is_fuller = |(_, fullest): &(Uid, i64)| fullest - count > UNEVEN_MAX;
        fullest.filter(|_| count < elastic.target()).filter(is_fuller).map(|(uid, _)| uid)
    }

    /// Returns the sub-channel that takes the next member of one that is draining: the fullest that
    /// has room.
    pub(crate) fn taker(&self, elastic: &Elastic, from: Uid) -> Option<Uid> {
        let others = self.active_but(elastic, from);
        let with_room = others.filter(|(_, count)| *count < elastic.target());
        with_room.max_by_key(|(_, count)| *count).map(|(uid, _)| uid)
    }

    /// Whether the sub-channel has fewer members than the channel wants.
    pub(crate) fn is_small(&self, elastic: &Elastic, sub_channel: Uid) -> bool {
        self.get(sub_channel) < elastic.minimum()
    }

    /// Returns a sub-channel that rests, has fewer members than the channel wants and whose members
    /// the others have room for: this one, or else any other.
    pub(crate) fn dispensable(&self, elastic: &Elastic, first: Uid) -> Option<Uid> {
        let others = elastic.active().filter(|uid| *uid != first);
        let resting = std::iter::once(first).chain(others).filter(|uid| !elastic.is_filling(*uid));
        let mut small = resting.filter(|uid| self.is_small(elastic, *uid));
        small.find(|uid| self.is_dispensable(elastic, *uid))
    }

    /// Whether the others have room for all members of a sub-channel. The last one always stays.
    fn is_dispensable(&self, elastic: &Elastic, sub_channel: Uid) -> bool {
        let others = self.active_but(elastic, sub_channel);
        let room: Vec<i64> = others.map(|(_, count)| (elastic.target() - count).max(0)).collect();
        !room.is_empty() && room.iter().sum::<i64>() >= self.get(sub_channel)
    }
}

/// Leaves it to a job to judge a sub-channel from which somebody goes in this transaction, if it has
/// too few members then. What the counter says is a hint: the job reads it again.
pub(crate) async fn note_leave(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    sub_channel: Uid,
) -> Result<()> {
    let Some(elastic) = &channel.elastic else { return Ok(()) };
    let has_a_job = elastic.is_filling(sub_channel) || elastic.is_draining(sub_channel);
    if has_a_job || elastic.sub_channels.len() < 2 {
        return Ok(());
    }
    let count = tx.peek_count(&limits::SUB_CHANNEL_MEMBERSHIPS.key(sub_channel)).await?;
    if count <= elastic.minimum() + limits::BALANCE_LEAVES_AT_ONCE {
        job::judge_later(cx, tx, channel, sub_channel);
    }
    Ok(())
}

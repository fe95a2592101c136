//! Expiration settings: after how many days a channel or a user goes by itself.
//!
//! Invariant: a record with settings has exactly one job, which stands at the time and the uid that
//! the record names; both are put, moved and removed in one commit that checks the record. The job
//! judges again when it is due (`job/expire.rs`), so that a time may only be too early.

use serde::{Deserialize, Serialize};
use store::{Key, Record, Txn, Uid};
use wire::messaging::ExpirationCriterion;
use wire::{identity, messaging};

use crate::job::{self, Expiring};
use crate::limits::DAY_MS;

/// The settings of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expiration {
    days: i32,
    pub(crate) criterion: ExpirationCriterion,
    /// When the job judges.
    judged_ms: i64,
}

impl Expiration {
    /// Returns when a resource goes whose days began at `since_ms`: not a millisecond before.
    pub(crate) fn due_ms(&self, since_ms: i64) -> i64 {
        since_ms.saturating_add(i64::from(self.days) * DAY_MS)
    }

    /// Returns where the job stands.
    pub(crate) fn job_key(&self, uid: Uid) -> Key {
        job::key_of(self.judged_ms, uid)
    }

    pub(crate) fn of_channel(&self) -> messaging::ExpirationSettings {
        messaging::ExpirationSettings {
            expiration_days: self.days,
            expiration_criterion: self.criterion,
        }
    }

    /// Users have one criterion alone.
    pub(crate) fn of_user(&self) -> identity::ExpirationSettings {
        identity::ExpirationSettings {
            expiration_days: self.days,
            expiration_criterion: identity::ExpirationCriterion::CreatedTimestamp,
        }
    }
}

/// What a request asks for: days and from when they count.
pub(crate) type Wanted = (i32, ExpirationCriterion);

pub(crate) fn wanted_of_channel(settings: &messaging::ExpirationSettings) -> Wanted {
    (settings.expiration_days, settings.expiration_criterion)
}

pub(crate) fn wanted_of_user(settings: &identity::ExpirationSettings) -> Wanted {
    (settings.expiration_days, ExpirationCriterion::CreatedTimestamp)
}

/// A record that may have expiration settings.
pub(crate) trait Expires: Record {
    /// The uid under which the job stands, and how the job finds the record.
    fn expiring(&self) -> (Uid, Expiring);

    fn expiration(&mut self) -> &mut Option<Expiration>;
}

/// Gives a record other settings, or none, and its job with them. `since_ms` is when the days began,
/// as far as that is known now. The caller puts the record.
pub(crate) fn set(tx: &mut Txn, record: &mut impl Expires, wanted: Option<Wanted>, since_ms: i64) {
    let (uid, expiring) = record.expiring();
    forget(tx, uid, record.expiration().as_ref());
    *record.expiration() = wanted.map(|(days, criterion)| {
        let mut expiration = Expiration { days, criterion, judged_ms: 0 };
        expiration.judged_ms = expiration.due_ms(since_ms);
        job::expire(tx, uid, expiring, expiration.judged_ms);
        expiration
    });
}

/// Moves the job of a record to another time. The caller puts the record.
pub(crate) fn move_to(tx: &mut Txn, record: &mut impl Expires, judged_ms: i64) {
    let (uid, expiring) = record.expiring();
    forget(tx, uid, record.expiration().as_ref());
    if let Some(expiration) = record.expiration() {
        expiration.judged_ms = judged_ms;
        job::expire(tx, uid, expiring, judged_ms);
    }
}

/// Removes the job of a record that was got: before anything else is put for its uid, which may be
/// due at the same time.
pub(crate) fn forget(tx: &mut Txn, uid: Uid, expiration: Option<&Expiration>) {
    if let Some(expiration) = expiration {
        tx.delete_raw(expiration.job_key(uid));
    }
}

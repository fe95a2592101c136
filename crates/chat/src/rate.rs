//! Request rates as the service has them: token buckets by account, app instance, user and channel.
//!
//! Invariants: a request takes from all of its buckets or from none, so that what one scope refuses
//! costs another nothing; a request that runs again after a conflict pays once; what is remembered
//! is bounded, and a bucket that is full again is forgotten first. Off unless `--aws-quotas` asks.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use wire::ErrorCode;
use wire::operation::{Operation, Service};

use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::ids;
use crate::policy::texts;

mod table;

use table::{CONNECTS, IDENTITY_BY_ACCOUNT, MESSAGING_BY_BEARER, RATES, Rate};

/// Most buckets that are remembered.
const BUCKETS_MAX: usize = 100_000;
const US_PER_SECOND: i64 = 1_000_000;

/// For whom the requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Per {
    Account,
    AppInstance,
    /// The user whom the request names.
    User,
    /// The user or bot who makes the request.
    Bearer,
    /// The channel, or the sub-channel where there is one.
    Channel,
}

/// The buckets of one node.
pub(crate) struct Rates {
    is_eu_central: bool,
    /// When each bucket is full again, in microseconds. It is empty one second before.
    full_at: Mutex<HashMap<BucketKey, i64>>,
}

/// A row of the table, and whose bucket of it.
type BucketKey = (&'static str, String);

/// One bucket that a request takes from.
struct Draw {
    key: BucketKey,
    per_second: u32,
}

impl Rates {
    pub(crate) fn new(region: &str) -> Self {
        Self { is_eu_central: region == "eu-central-1", full_at: Mutex::default() }
    }

    /// Takes one request from its buckets.
    ///
    /// # Errors
    /// Throttled when one of them is empty; then nothing was taken.
    pub(crate) fn admit<O: Operation>(&self, cx: &Cx, input: &O::Input) -> Result<()> {
        let named = texts(input, |name| name.ends_with("Arn") || name == "SubChannelId");
        let whose = |per: Per| whose(per, cx, &named);
        let general = match O::SERVICE {
            Service::Identity => &IDENTITY_BY_ACCOUNT,
            Service::Messaging => &MESSAGING_BY_BEARER,
        };
        let own = RATES.iter().filter(|rate| rate.operations.contains(&O::ID));
        let draws = own.chain([general]).filter_map(|rate| Some(self.draw(rate, whose(rate.per)?)));
        self.take(cx.now_ms, &draws.collect::<Vec<_>>())
    }

    /// Takes one handshake of a user; tells whether he may connect now.
    pub(crate) fn admit_session(&self, now_ms: i64, user: String) -> bool {
        self.take(now_ms, &[self.draw(&CONNECTS, user)]).is_ok()
    }

    fn draw(&self, rate: &Rate, owner: String) -> Draw {
        let per_second = if self.is_eu_central { rate.eu_central_1 } else { rate.us_east_1 };
        Draw { key: (rate.name, owner), per_second }
    }

    fn take(&self, now_ms: i64, draws: &[Draw]) -> Result<()> {
        let now_us = now_ms.saturating_mul(1_000);
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let after = |draw: &Draw| {
            let before_us = full_at.get(&draw.key).copied().unwrap_or(now_us).max(now_us);
            before_us + US_PER_SECOND / i64::from(draw.per_second.max(1))
        };
        let after: Vec<i64> = draws.iter().map(after).collect();
        if after.iter().any(|full_us| full_us - now_us > US_PER_SECOND) {
            return Err(Error::throttled());
        }
        make_room(&mut full_at, now_us);
        full_at.extend(draws.iter().map(|draw| draw.key.clone()).zip(after));
        Ok(())
    }
}

/// Forgets full buckets, which are as good as new ones, and all of them where that does not help.
fn make_room(full_at: &mut HashMap<BucketKey, i64>, now_us: i64) {
    if full_at.len() < BUCKETS_MAX {
        return;
    }
    full_at.retain(|_, full_us| *full_us > now_us);
    if full_at.len() >= BUCKETS_MAX / 2 {
        full_at.clear();
    }
}

/// Returns whose bucket a request takes from; nothing when it names nobody of that kind.
fn whose(per: Per, cx: &Cx, texts: &[(&'static str, String)]) -> Option<String> {
    let named = |name: &str| texts.iter().find(|(found, _)| *found == name).map(|(_, text)| text);
    match per {
        Per::Account => Some(String::new()),
        Per::User => named("AppInstanceUserArn").cloned(),
        Per::Bearer => cx.actor.as_ref().map(|actor| ids::hex(&actor.principal.uid.0)),
        Per::AppInstance => {
            let (app_instance, _) = texts.iter().find_map(|(_, arn)| cx.parse_arn(arn))?;
            Some(ids::hex(&app_instance.0))
        }
        Per::Channel => {
            let sub_channel = named("SubChannelId").map(String::as_str).unwrap_or_default();
            Some(format!("{}/{sub_channel}", named("ChannelArn")?))
        }
    }
}

impl Error {
    fn throttled() -> Self {
        Self::from(wire::Error::new(ErrorCode::Throttled, "Rate exceeded"))
    }
}

#[cfg(test)]
mod tests;

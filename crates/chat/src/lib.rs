//! The rules of identity and messaging: who may do what, and what it changes.
//!
//! Invariants: no IO but through `store`; no rule waits on the network; time and ids come from
//! [`Cx`](cx::Cx); a rule reads points, a list reads ranges. A request handler is one transaction:
//! it reads and writes through a `Txn` and `dispatch` commits it, so a handler may run twice.
//! Read `dispatch.rs` first, then a slice, for example `messaging/channel_membership.rs`.

mod access;
mod access_key;
mod check;
mod cx;
mod dispatch;
mod error;
mod event;
mod expiration;
pub mod history;
mod idempotency;
mod identity;
mod ids;
mod job;
mod limits;
mod messaging;
mod page;
mod policy;
mod principal;
mod rate;
mod unserved;

#[cfg(test)]
mod testing;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use store::{BoxFuture, Clock, Engine, Entropy, Key, Range, Store, Table, Uid};

pub use access_key::{ACCESS_KEYS_PAGE, AccessKey, AccessKeyError, Grant, Owner};
pub use check::{FINDINGS_SHOWN_MAX, Finding, Report};
pub use dispatch::Answering;
pub use event::{Effect, Event, Place, Retelling, Told};
pub use job::{Backlog, Step};
pub use limits::{NamedQuota, QuotaError, Quotas, RESUME_WINDOW_MS};
pub use messaging::prefetch::{Details, Prefetch, PrefetchSort};
pub use messaging::session::{Missed, SessionUser, Subscription};
pub use messaging::session_place::SessionPlace;
pub use policy::Scope;

use ids::MessageIds;

/// The settings of a store: whose it is, and the keys that its page tokens and message ids depend on.
const REGION_ACCOUNT: &str = "region_account";
const PAGE_TOKEN_KEY: &str = "page_token_key";
const MESSAGE_ID_KEY: &str = "message_id_key";
/// Bytes of such a key.
const SECRET_BYTES: usize = 32;

/// What a [`Chat`] is opened with.
#[derive(Clone)]
pub struct Options {
    /// The region that stands in every ARN.
    pub region: String,
    /// The account id that stands in every ARN.
    pub account: String,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The source of ids.
    pub entropy: Arc<dyn Entropy>,
    /// The count quotas.
    pub quotas: Quotas,
    /// How long events are kept, to be told again to whoever was away.
    pub resume_window_ms: u64,
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store was made for another region or account, so its ARNs would no longer match.
    #[error("the store was made for {made_for}, not for {asked_for}")]
    Mismatch {
        /// `region/account` of the store.
        made_for: String,
        /// `region/account` that was asked for.
        asked_for: String,
    },
    /// The store does not answer.
    #[error("the store is not available")]
    Unavailable(#[source] store::Unavailable),
}

/// One request whose signature was verified.
pub struct Call {
    /// The operation and its decoded labels.
    pub route: wire::route::Route,
    /// The query string as received.
    pub raw_query: Option<String>,
    /// The body as received.
    pub body: Bytes,
    /// What the credentials that signed it allow.
    pub scope: Scope,
    /// The `x-amz-chime-bearer` header.
    pub bearer: Option<String>,
    /// The `host[:port]` that GetMessagingSessionEndpoint answers.
    pub endpoint: String,
    /// The id under which this request is logged.
    pub request_id: String,
}

/// A successful answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body, empty where the model has none.
    pub body: Vec<u8>,
}

/// The rules over one store. Cheap to clone.
#[derive(Clone)]
pub struct Chat(Arc<Inner>);

struct Inner {
    store: Store,
    place: Arc<cx::Place>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    issuer: access_key::Issuer,
    /// Request rates, where they are limited.
    rates: Option<rate::Rates>,
    /// Transactions of each operation that met a changed row, guesses included.
    conflicts: Mutex<BTreeMap<&'static str, u64>>,
    /// Messages for which a processor of a channel flow could not be invoked.
    failed_invocations: AtomicU64,
}

/// Returns every table that the rules use; an engine is opened with these.
#[must_use]
pub fn tables() -> Vec<&'static Table> {
    let mut all = vec![&limits::RESOURCE_COUNT, &idempotency::REQUEST_TOKEN, &job::JOB];
    all.extend(access_key::TABLES);
    all.extend(identity::TABLES);
    all.extend(messaging::TABLES);
    all
}

impl Chat {
    /// Opens the rules over `engine`, making the store's keys at its first use.
    ///
    /// # Errors
    /// When the store belongs to another region or account, or does not answer.
    #[must_use]
    pub fn open(
        engine: Arc<dyn Engine>,
        options: Options,
    ) -> BoxFuture<'static, Result<Self, OpenError>> {
        Box::pin(Self::open_on(engine, options))
    }

    async fn open_on(engine: Arc<dyn Engine>, options: Options) -> Result<Self, OpenError> {
        let store = Store::new(engine);
        let asked_for = format!("{}/{}", options.region, options.account);
        let made_for = setting(&store, REGION_ACCOUNT, || asked_for.clone().into_bytes()).await?;
        if made_for != asked_for.as_bytes() {
            let made_for = String::from_utf8_lossy(&made_for).into_owned();
            return Err(OpenError::Mismatch { made_for, asked_for });
        }
        let token_key = secret(&store, PAGE_TOKEN_KEY, &*options.entropy).await?;
        let message_id_key = secret(&store, MESSAGE_ID_KEY, &*options.entropy).await?;
        let rates = options.quotas.limits_rates().then(|| rate::Rates::new(&options.region));
        let place = cx::Place {
            arn_prefix: format!(
                "arn:aws:chime:{}:{}:app-instance/",
                options.region, options.account
            ),
            region: options.region,
            account: options.account,
            token_key,
            message_ids: Arc::new(MessageIds::new(message_id_key)),
            event_ids: wire::event::EventIds::new(&message_id_key),
            resume_window_ms: options.resume_window_ms,
            quotas: options.quotas,
            unserved: Arc::default(),
        };
        Ok(Self(Arc::new(Inner {
            store,
            place: Arc::new(place),
            clock: options.clock,
            entropy: options.entropy,
            rates,
            issuer: access_key::Issuer::new(&message_id_key),
            conflicts: Mutex::default(),
            failed_invocations: AtomicU64::new(0),
        })))
    }

    /// Returns the name of the store, made at its first use: it tells stores apart where several meet,
    /// and is no secret.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn store_id(&self) -> Result<String, wire::Error> {
        let made = || ids::hex(&Uid::random(&*self.0.entropy).0).into_bytes();
        let id = self.0.store.setting("store_id", made).await.map_err(error::Error::from)?;
        Ok(String::from_utf8_lossy(&id).into_owned())
    }

    /// Returns how many transactions were run again because a row that they had read or guessed has
    /// changed.
    #[must_use]
    pub fn conflict_count(&self) -> u64 {
        self.conflicts().values().sum()
    }

    /// Returns the same for each operation that met one.
    #[must_use]
    pub fn conflicts(&self) -> BTreeMap<&'static str, u64> {
        self.0.conflicts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what the engine tells of its work.
    #[must_use]
    pub fn store_figures(&self) -> store::Figures {
        self.0.store.engine().figures()
    }

    /// Returns how many sockets a user may have open.
    #[must_use]
    pub fn connections_per_user_max(&self) -> usize {
        let max = self.0.place.quotas.max(&limits::CONNECTIONS);
        usize::try_from(max).unwrap_or(usize::MAX)
    }

    /// Returns for how many messages a processor of a channel flow could not be invoked.
    #[must_use]
    pub fn failed_invocation_count(&self) -> u64 {
        self.0.failed_invocations.load(Ordering::Relaxed)
    }
}

impl Chat {
    /// Returns the context of what nobody asked for, which starts now.
    fn nobodys_cx(&self, endpoint: String) -> cx::Cx {
        let inner = &self.0;
        cx::Cx {
            place: inner.place.clone(),
            now_ms: i64::try_from(inner.clock.now_ms()).unwrap_or(i64::MAX),
            entropy: inner.entropy.clone(),
            actor: None,
            endpoint,
            invocation_failed: AtomicBool::new(false),
        }
    }
}

/// Returns the region and the account that a store was made for; nothing when it was never used.
///
/// # Errors
/// When the store does not answer.
pub async fn made_for(
    source: &mut dyn store::moving::Source,
) -> Result<Option<(String, String)>, store::Unavailable> {
    let key = Key::new(&store::table::SETTING).text(REGION_ACCOUNT);
    let found = source.rows(&Range::prefix(key), 1).await?.pop();
    Ok(found.and_then(|row| {
        let text = String::from_utf8_lossy(&row.value).into_owned();
        text.split_once('/').map(|(region, account)| (region.to_owned(), account.to_owned()))
    }))
}

async fn setting(
    store: &Store,
    name: &str,
    make: impl FnOnce() -> Vec<u8> + Send,
) -> Result<Vec<u8>, OpenError> {
    store.setting(name, make).await.map_err(OpenError::Unavailable)
}

/// A 256-bit key that is made once and shared by every node of the store.
async fn secret(
    store: &Store,
    name: &str,
    entropy: &dyn Entropy,
) -> Result<[u8; SECRET_BYTES], OpenError> {
    let bytes = setting(store, name, || {
        let mut key = vec![0; SECRET_BYTES];
        entropy.fill(&mut key);
        key
    })
    .await?;
    let mut key = [0; SECRET_BYTES];
    key.copy_from_slice(&bytes[..SECRET_BYTES.min(bytes.len())]);
    Ok(key)
}

//! From a verified request to its answer: decode, bearer, policy, rate, rule,
//! commit.
//!
//! Invariants: the order of refusals is the order of this file; a handler answers only errors that
//! its operation declares; a handler whose commit met a conflict is run again on fresh reads, and
//! one that keeps meeting it answers 503, never 409.

use std::future::Future;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use store::{BoxFuture, Failure, Key, Stamp, Txn, Uid};
use wire::arn::Resource;
use wire::operation::Bearer;
use wire::{Error as WireError, ErrorCode, Operation, OperationId, rest_json};

use crate::cx::{Actor, Cx};
use crate::error::{Error, Result};
use crate::identity::app_instance::AppInstance;
use crate::identity::app_instance_bot::AppInstanceBot;
use crate::identity::app_instance_user::AppInstanceUser;
use crate::limits::{self, Quota, Quotas};
use crate::messaging::channel::Channel;
use crate::{Answer, Call, Chat, policy, principal};

/// The rule of one operation.
pub(crate) trait Handle<O: Operation> {
    /// Whether the rule is run first on rows as they were seen lately. Worth it for what nearly
    /// always commits; a guess leads to nothing but a commit.
    const GUESSES: bool = false;

    /// Reads and writes through `tx`, which is committed afterwards. May run more than once.
    fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &O::Input,
    ) -> impl Future<Output = Result<Reply<O::Output>>> + Send;
}

/// An answer that is on its way. Its type is erased here, so that the rules are compiled with this
/// crate, once, and not with each program and test that calls them.
pub type Answering<'a> = BoxFuture<'a, std::result::Result<Answer, WireError>>;

/// What a handler answers.
pub(crate) enum Reply<T> {
    /// The output, whatever the commit's stamp is.
    Ready(T),
    /// An output that tells the stamp.
    Stamped(Box<dyn FnOnce(Stamp) -> T + Send>),
    /// Nothing is stored: the events go to those who are connected.
    Published { home: Uid, events: Vec<store::Event>, output: Box<dyn FnOnce(Stamp) -> T + Send> },
}

impl<T> Reply<T> {
    pub(crate) fn stamped(output: impl FnOnce(Stamp) -> T + Send + 'static) -> Self {
        Self::Stamped(Box::new(output))
    }
}

macro_rules! dispatch {
    ($($service:ident :: $operation:ident),* $(,)?) => {
        impl Chat {
            /// Answers one request whose signature was verified.
            ///
            /// # Errors
            /// What the client is to be told, always one of the errors that the operation declares
            /// or of the front's own.
            #[must_use]
            pub fn call(&self, call: Call) -> Answering<'_> {
                match call.route.operation {
                    $(OperationId::$operation => {
                        Box::pin(self.serve::<wire::$service::$operation>(call))
                    })*
                }
            }
        }
    };
}
wire::for_each_operation!(dispatch);

impl Chat {
    async fn serve<O: Operation>(&self, call: Call) -> std::result::Result<Answer, WireError>
    where
        Self: Handle<O>,
    {
        let call = &call;
        let query = call.raw_query.as_deref();
        let input = rest_json::decode::<O>(&call.route.labels, query, &call.body)?;
        let output =
            self.run::<O>(call, &input).await.map_err(|error| declared::<O>(error, call))?;
        Ok(Answer { status: O::STATUS, body: rest_json::encode(&output) })
    }

    async fn run<O: Operation>(&self, call: &Call, input: &O::Input) -> Result<O::Output>
    where
        Self: Handle<O>,
    {
        // A request that runs again takes from its rates once.
        let paid = AtomicBool::new(self.0.rates.is_none());
        if <Self as Handle<O>>::GUESSES
            && let Some(output) = self.guess::<O>(call, input, &paid).await?
        {
            return Ok(output);
        }
        let mut exhausted = Error::from(WireError::unavailable());
        for attempt in 0..limits::ATTEMPTS_MAX {
            self.stand_back(attempt).await;
            let mut tx = self.begin::<O>();
            let cx = self.cx::<O>(&mut tx, call, input, &paid).await?;
            let reply = <Self as Handle<O>>::handle(&cx, &mut tx, input).await?;
            if let Reply::Published { home, events, output } = reply {
                let stamp = self.0.store.engine().publish(home, events).await;
                let stamp = stamp.map_err(|failure| self.refused(failure))?;
                self.settle::<O>(&cx, call);
                return Ok(output(stamp));
            }
            match tx.commit(O::NAME).await {
                Ok(stamp) => {
                    self.settle::<O>(&cx, call);
                    return Ok(finish(reply, stamp));
                }
                Err(failure @ Failure::Conflict(_)) => {
                    self.count_conflict::<O>(call);
                    exhausted = self.refused(failure);
                }
                Err(failure) => return Err(self.refused(failure)),
            }
        }
        Err(exhausted)
    }

    /// Waits before a run that others have been in the way of more than once, each for a time of
    /// its own: who reads at the same moment as the others again and again may never be the first
    /// to commit.
    async fn stand_back(&self, attempt: usize) {
        let Some(exponent) = attempt.checked_sub(limits::ATTEMPTS_AT_ONCE) else { return };
        let mut drawn = [0; 2];
        self.0.entropy.fill(&mut drawn);
        let pause_ms_max = limits::PAUSE_MS_MAX.min(1 << exponent.min(8));
        let pause_ms = u64::from(u16::from_be_bytes(drawn)) % (pause_ms_max + 1);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }

    fn begin<O: Operation>(&self) -> Txn
    where
        Self: Handle<O>,
    {
        if <Self as Handle<O>>::GUESSES {
            return self.0.store.begin_fresh();
        }
        self.0.store.begin()
    }

    pub(crate) fn refused(&self, failure: Failure) -> Error {
        refused(failure, &self.0.place.quotas)
    }

    /// Runs the rule on what is known without a read; nothing comes of it but a commit.
    async fn guess<O: Operation>(
        &self,
        call: &Call,
        input: &O::Input,
        paid: &AtomicBool,
    ) -> Result<Option<O::Output>>
    where
        Self: Handle<O>,
    {
        let mut tx = self.0.store.begin_guessing();
        let Ok(cx) = self.cx::<O>(&mut tx, call, input, paid).await else { return Ok(None) };
        let reply = <Self as Handle<O>>::handle(&cx, &mut tx, input).await;
        let Ok(reply @ Reply::Stamped(_)) = reply else { return Ok(None) };
        match tx.commit(O::NAME).await {
            Ok(stamp) => {
                self.settle::<O>(&cx, call);
                Ok(Some(finish(reply, stamp)))
            }
            Err(Failure::Conflict(_)) => {
                self.count_conflict::<O>(call);
                Ok(None)
            }
            Err(failure) => Err(self.refused(failure)),
        }
    }

    fn count_conflict<O: Operation>(&self, call: &Call) {
        let mut conflicts = self.0.conflicts.lock().unwrap_or_else(PoisonError::into_inner);
        *conflicts.entry(O::NAME).or_default() += 1;
        drop(conflicts);
        tracing::debug!(operation = O::NAME, request_id = call.request_id, "conflict");
    }

    /// Counts and logs what a run has noted, now that its answer stands.
    fn settle<O: Operation>(&self, cx: &Cx, call: &Call) {
        if cx.invocation_failed.load(Ordering::Relaxed) {
            self.0.failed_invocations.fetch_add(1, Ordering::Relaxed);
            let (operation, request_id) = (O::NAME, &call.request_id);
            tracing::warn!(operation, request_id, "a channel flow's processor cannot be invoked");
        }
    }

    /// Returns the context of a request whose bearer is live and whose credentials allow it.
    async fn cx<O: Operation>(
        &self,
        tx: &mut Txn,
        call: &Call,
        input: &O::Input,
        paid: &AtomicBool,
    ) -> Result<Cx> {
        let mut cx = self.nobodys_cx(call.endpoint.clone());
        let bearer = call.bearer.as_deref();
        cx.actor = match (O::BEARER, bearer) {
            (Bearer::None, _) | (Bearer::Optional, None) => None,
            (Bearer::Required, None) => return Err(Error::unauthorized()),
            (_, Some(bearer)) => Some(actor(&cx, tx, bearer, call).await?),
        };
        policy::require::<O>(&cx, tx, &call.scope, input).await?;
        if !paid.load(Ordering::Relaxed)
            && let Some(rates) = &self.0.rates
        {
            rates.admit::<O>(&cx, input)?;
            paid.store(true, Ordering::Relaxed);
        }
        Ok(cx)
    }
}

/// Returns the live principal that the bearer header names, loading what the rule will ask for
/// next in the same read.
async fn actor(cx: &Cx, tx: &mut Txn, bearer: &str, call: &Call) -> Result<Actor> {
    let Some((app_instance, resource)) = cx.parse_arn(bearer) else {
        return Err(Error::unauthorized());
    };
    let mut keys = vec![AppInstance::key_of(app_instance)];
    match &resource {
        Resource::User(id) => keys.push(AppInstanceUser::key_of(app_instance, id)),
        Resource::Bot(id) => keys.push(AppInstanceBot::key_of(app_instance, id)),
        Resource::AppInstance | Resource::Channel(_) | Resource::ChannelFlow(_) => {}
    }
    keys.extend(call.route.labels.iter().filter_map(|(label, arn)| channel_key(cx, label, arn)));
    tx.load(&keys).await?;
    if !tx.exists(&keys[0]).await? {
        return Err(Error::unauthorized());
    }
    let principal = principal::find(cx, tx, app_instance, bearer).await?;
    Ok(Actor { app_instance, principal: principal.ok_or_else(Error::unauthorized)? })
}

fn channel_key(cx: &Cx, label: &str, arn: &str) -> Option<Key> {
    let (app_instance, resource) = (label == "channelArn").then(|| cx.parse_arn(arn))??;
    match resource {
        Resource::Channel(id) => Some(Channel::key_of(app_instance, &id)),
        _ => None,
    }
}

fn finish<T>(reply: Reply<T>, stamp: Option<Stamp>) -> T {
    match reply {
        Reply::Ready(output) => output,
        Reply::Stamped(output) | Reply::Published { output, .. } => {
            debug_assert!(stamp.is_some(), "a stamped reply belongs to a batch that was committed");
            output(stamp.unwrap_or(Stamp { ms: 0, seq: 0 }))
        }
    }
}

/// Turns a failed commit into its answer. A conflict comes here when it was the last that may be
/// met. Whatever is no fault of the request keeps what led to it, for the log.
pub(crate) fn refused(failure: Failure, quotas: &Quotas) -> Error {
    match failure {
        Failure::Bound(key) if limits::counts_uses(&key) => {
            Error::conflict("The resource is in use")
        }
        Failure::Bound(key) => {
            let quota = Quota::of(&key).map(|quota| (quotas.max(quota), quota.noun));
            Error::limit_exceeded(quota)
        }
        Failure::Unavailable(cause) => Error::from(cause),
        Failure::Conflict(_) | Failure::Unknown(_) => {
            Error::from(WireError::unavailable().with_source(failure))
        }
    }
}

/// The errors that every operation may answer, though not each model lists them.
const ALWAYS_DECLARED: [ErrorCode; 4] = [
    ErrorCode::Unauthorized,
    ErrorCode::Throttled,
    ErrorCode::ServiceFailure,
    ErrorCode::ServiceUnavailable,
];

/// Lets only errors through that the operation declares; anything else is a defect of a handler.
fn declared<O: Operation>(error: Error, call: &Call) -> WireError {
    let error = error.into_wire();
    if O::ERRORS.contains(&error.code()) || ALWAYS_DECLARED.contains(&error.code()) {
        return error;
    }
    tracing::error!(
        operation = O::NAME,
        request_id = call.request_id,
        error = error.code().exception(),
        "a handler answered an error that its operation does not declare"
    );
    debug_assert!(false, "{} does not declare {}", O::NAME, error.code().exception());
    WireError::service_failure()
}

/// Operations that are routed, decoded and checked, and whose rule is not written yet.
macro_rules! unimplemented {
    ($($service:ident :: $operation:ident),* $(,)?) => {
        /// What the tests of operations that are written pass over.
        #[cfg(test)]
        pub(crate) const UNIMPLEMENTED: &[OperationId] = &[$(OperationId::$operation),*];

        $(impl Handle<wire::$service::$operation> for Chat {
            async fn handle(
                _cx: &Cx,
                _tx: &mut Txn,
                _input: &<wire::$service::$operation as Operation>::Input,
            ) -> Result<Reply<<wire::$service::$operation as Operation>::Output>> {
                let name = wire::$service::$operation::NAME;
                Err(Error::bad_request(format!("{name} is not available in this version")))
            }
        })*
    };
}

unimplemented! {
    messaging::ChannelFlowCallback,
}

#[cfg(test)]
mod tests;

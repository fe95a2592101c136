//! The context of one request: who acts, when, and the source of ids.
//!
//! Invariant: a rule learns the time and draws ids from here alone, so that every test can set
//! them. The context of a request does not change while its handler is run again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use store::{Entropy, Stamp, Uid};
use wire::arn::Resource;
use wire::event::EventIds;

use crate::error::{Error, Result};
use crate::ids::{self, MessageIds};
use crate::limits::{Quota, Quotas};
use crate::principal::{Kind, Principal};
use crate::unserved::Unserved;

/// Room for an ARN with an id that a client made of a UUID.
const ARN_BYTES_USUAL: usize = 144;

/// What is the same for every request of this store: the place in its ARNs and its keys; and what
/// this process counts.
pub(crate) struct Place {
    pub(crate) region: String,
    pub(crate) account: String,
    /// What the ARNs of this place have before the id of their app instance.
    pub(crate) arn_prefix: String,
    pub(crate) token_key: [u8; 32],
    pub(crate) message_ids: Arc<MessageIds>,
    pub(crate) event_ids: EventIds,
    /// How long events can be told again.
    pub(crate) resume_window_ms: u64,
    pub(crate) quotas: Quotas,
    pub(crate) unserved: Arc<Unserved>,
}

/// The live user or bot in whose name a request is made.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) app_instance: Uid,
    pub(crate) principal: Principal,
}

/// The context of one request.
pub(crate) struct Cx {
    pub(crate) place: Arc<Place>,
    pub(crate) now_ms: i64,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) actor: Option<Actor>,
    pub(crate) endpoint: String,
    /// Whether this run of the handler found that a processor cannot be invoked.
    pub(crate) invocation_failed: AtomicBool,
}

impl Cx {
    /// Returns the bearer.
    ///
    /// # Errors
    /// Unauthorized when the request has none.
    pub(crate) fn actor(&self) -> Result<&Actor> {
        self.actor.as_ref().ok_or_else(Error::unauthorized)
    }

    /// Returns the most that may exist by `quota`, which is the bound of the add that counts it.
    pub(crate) fn max(&self, quota: &Quota) -> i64 {
        self.place.quotas.max(quota)
    }

    /// Returns the refusal of what would pass `quota`.
    pub(crate) fn over(&self, quota: &Quota) -> Error {
        Error::limit_exceeded(Some((self.max(quota), quota.noun)))
    }

    /// Takes note that a processor of a channel flow cannot be invoked: counted and logged once the
    /// handler's answer stands.
    pub(crate) fn note_failed_invocation(&self) {
        self.invocation_failed.store(true, Ordering::Relaxed);
    }

    /// Draws a uid that no other resource has or will have.
    pub(crate) fn new_uid(&self) -> Uid {
        ids::uid(self.now_ms, &*self.entropy)
    }

    /// Draws the id of an app instance or a channel.
    pub(crate) fn new_uuid(&self) -> Uid {
        ids::uuid(&*self.entropy)
    }

    /// Draws the tail of a message id that is not stored.
    pub(crate) fn new_nonce(&self) -> [u8; 20] {
        let mut nonce = [0; 20];
        self.entropy.fill(&mut nonce);
        nonce
    }

    /// Returns the id of a stored message.
    pub(crate) fn message_id(&self, channel: Uid, stamp: Stamp) -> String {
        self.place.message_ids.of(channel, stamp)
    }

    /// Returns the app instance and resource of an ARN of this region and account.
    pub(crate) fn parse_arn(&self, text: &str) -> Option<(Uid, Resource)> {
        self.place.parse_arn(text)
    }

    pub(crate) fn app_instance_arn(&self, app_instance: Uid) -> String {
        self.place.app_instance_arn(app_instance)
    }

    pub(crate) fn channel_arn(&self, app_instance: Uid, id: &str) -> String {
        self.place.channel_arn(app_instance, id)
    }

    pub(crate) fn channel_flow_arn(&self, app_instance: Uid, flow: Uid) -> String {
        self.place.below(app_instance, "channel-flow", &ids::uuid_text(flow))
    }

    pub(crate) fn principal_arn(&self, app_instance: Uid, kind: Kind, id: &str) -> String {
        match kind {
            Kind::User => self.place.below(app_instance, "user", id),
            Kind::Bot => self.place.below(app_instance, "bot", id),
        }
    }
}

impl Place {
    pub(crate) fn parse_arn(&self, text: &str) -> Option<(Uid, Resource)> {
        // Each request names some resources several times, so no more is parsed than may differ.
        let path = text.strip_prefix(&*self.arn_prefix)?;
        let (app_instance, below) = path.split_at_checked(ids::UUID_CHARS)?;
        let resource = match below.strip_prefix('/') {
            Some(below) => Resource::below(below)?,
            None if below.is_empty() => Resource::AppInstance,
            None => return None,
        };
        Some((ids::parse_uuid(app_instance)?, resource))
    }

    fn app_instance_arn(&self, app_instance: Uid) -> String {
        // Answers hold hundreds of ARNs, so they are joined without formatting.
        let mut arn = String::with_capacity(ARN_BYTES_USUAL);
        arn.push_str(&self.arn_prefix);
        ids::push_uuid(&mut arn, app_instance);
        arn
    }

    fn channel_arn(&self, app_instance: Uid, id: &str) -> String {
        self.below(app_instance, "channel", id)
    }

    fn below(&self, app_instance: Uid, kind: &str, id: &str) -> String {
        let mut arn = self.app_instance_arn(app_instance);
        arn.extend(["/", kind, "/", id]);
        arn
    }
}

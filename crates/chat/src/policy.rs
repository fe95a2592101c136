//! What the credentials that signed a request allow, whatever the role of its bearer.
//!
//! Invariants: this is the one place that binds credentials to users; it is asked after signature
//! and bearer are known and before the rule; what it does not name is refused. People are compared
//! by uid, so that a key never serves a successor. An identity policy would be evaluated here.

use serde::{Deserialize, Serialize};
use store::{Txn, Uid};
use wire::OperationId;
use wire::arn::Resource;
use wire::operation::Operation;
use wire::shape::{Shape, View};

use crate::access_key::Owner;
use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::identity::app_instance::AppInstance;
use crate::messaging::session::SessionUser;
use crate::principal::{self, Kind, Principal};

/// For whom a request may act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// For everybody: the root credential.
    Root,
    /// For the users and bots of an app instance, which it manages.
    AppInstance(Uid),
    /// For one user or bot.
    Principal {
        /// His app instance.
        app_instance: Uid,
        /// The user or bot.
        uid: Uid,
        /// Whether he is a bot.
        is_bot: bool,
        /// His id, under which he is looked up.
        id: String,
    },
}

impl Scope {
    pub(crate) fn principal(app_instance: Uid, principal: &Principal) -> Self {
        let Principal { uid, id, kind, .. } = principal;
        Self::Principal { app_instance, uid: *uid, is_bot: *kind == Kind::Bot, id: id.clone() }
    }

    /// Whether a session of `user` may be opened.
    #[must_use]
    pub fn may_connect(&self, user: &SessionUser) -> bool {
        match self {
            Self::Root => true,
            Self::AppInstance(app_instance) => *app_instance == user.app_instance,
            Self::Principal { uid, .. } => *uid == user.user,
        }
    }

    /// Returns the uid with which the scope ends.
    pub(crate) fn owner(&self) -> Uid {
        match self {
            Self::Root => Uid::NIL,
            Self::AppInstance(uid) | Self::Principal { uid, .. } => *uid,
        }
    }

    pub(crate) fn owner_arn(&self, cx: &Cx) -> Owner {
        match self {
            // No row holds it.
            Self::Root => Owner::AppInstance(String::new()),
            Self::AppInstance(uid) => Owner::AppInstance(cx.app_instance_arn(*uid)),
            Self::Principal { app_instance, is_bot, id, .. } => {
                let kind = if *is_bot { Kind::Bot } else { Kind::User };
                Owner::User(cx.principal_arn(*app_instance, kind, id))
            }
        }
    }
}

/// Lets a request pass that its credentials allow.
///
/// # Errors
/// Forbidden with the service's text.
pub(crate) async fn require<O: Operation>(
    cx: &Cx,
    tx: &mut Txn,
    scope: &Scope,
    input: &O::Input,
) -> Result<()> {
    let allowed = match scope {
        Scope::Root => true,
        // Tells an address and nothing else.
        _ if O::ID == OperationId::GetMessagingSessionEndpoint => true,
        Scope::AppInstance(app_instance) => of_app_instance::<O>(cx, *app_instance, input),
        Scope::Principal { uid, .. } if cx.actor.is_some() => cx.actor()?.principal.uid == *uid,
        Scope::Principal { .. } => of_principal::<O>(cx, tx, scope, input).await?,
    };
    if allowed { Ok(()) } else { Err(Error::unauthorized_action()) }
}

/// Whether a request stays within an app instance: its bearer and every ARN that it names do, and
/// it names one at least. So it can neither make nor list app instances.
fn of_app_instance<O: Operation>(cx: &Cx, app_instance: Uid, input: &O::Input) -> bool {
    if is_of_the_account(O::ID) {
        return false;
    }
    let is_within = |arn: &str| cx.parse_arn(arn).is_some_and(|(found, _)| found == app_instance);
    let arns = arns(input);
    match &cx.actor {
        Some(actor) => actor.app_instance == app_instance,
        None => !arns.is_empty() && arns.iter().all(|(_, arn)| is_within(arn)),
    }
}

/// What reaches out of the app instance to other services of the account.
fn is_of_the_account(operation: OperationId) -> bool {
    matches!(
        operation,
        OperationId::DeleteMessagingStreamingConfigurations
            | OperationId::GetMessagingStreamingConfigurations
            | OperationId::PutMessagingStreamingConfigurations
    )
}

/// Whether a user may make a request that has no bearer: what the service's policies for end users
/// give him on himself, and the list of the others.
async fn of_principal<O: Operation>(
    cx: &Cx,
    tx: &mut Txn,
    scope: &Scope,
    input: &O::Input,
) -> Result<bool> {
    let Scope::Principal { app_instance, uid, .. } = scope else { return Ok(false) };
    let Owner::User(own) = scope.owner_arn(cx) else { return Ok(false) };
    let named = match O::ID {
        OperationId::ListAppInstanceUsers => "AppInstanceArn",
        OperationId::DescribeAppInstanceUser
        | OperationId::UpdateAppInstanceUser
        | OperationId::RegisterAppInstanceUserEndpoint
        | OperationId::DescribeAppInstanceUserEndpoint
        | OperationId::ListAppInstanceUserEndpoints
        | OperationId::UpdateAppInstanceUserEndpoint
        | OperationId::DeregisterAppInstanceUserEndpoint => "AppInstanceUserArn",
        _ => return Ok(false),
    };
    let is_own = arns(input).iter().any(|(name, arn)| {
        *name == named
            && match cx.parse_arn(arn) {
                Some((found, Resource::AppInstance)) => found == *app_instance,
                Some(_) => *arn == own,
                None => false,
            }
    });
    if !is_own || !tx.exists(&AppInstance::key_of(*app_instance)).await? {
        return Ok(false);
    }
    let live = principal::find(cx, tx, *app_instance, &own).await?;
    Ok(live.is_some_and(|live| live.uid == *uid))
}

/// Returns the members of an input that name a resource of ours. `ResourceArn` does not: it is the
/// application of another service, through which a device is reached.
fn arns<I: Shape>(input: &I) -> Vec<(&'static str, String)> {
    texts(input, |name| (name.ends_with("Arn") && name != "ResourceArn") || name == "ResourceARN")
}

/// Returns the texts that an input holds in members of wanted names, wherever they stood.
pub(crate) fn texts<I: Shape>(
    input: &I,
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<(&'static str, String)> {
    let mut texts = Vec::new();
    input.each(&mut |member, field| {
        if is_wanted(member.name())
            && let Some(View::Text(text)) = field.view()
        {
            texts.push((member.name(), text.to_owned()));
        }
    });
    texts
}

#[cfg(test)]
mod tests;

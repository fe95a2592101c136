//! People and bots as the rules see them, and as they stay written in records.
//!
//! Invariant: "the same one" always means the same uid; id and name are for showing. A name in a
//! record is the name at the time of writing.

use serde::{Deserialize, Serialize};
use store::{Key, Record, Txn, Uid, Unavailable, View};
use wire::arn::Resource;
use wire::{identity, messaging};

use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::identity::app_instance_bot::AppInstanceBot;
use crate::identity::app_instance_user::AppInstanceUser;
use crate::page::Walk;

/// Which kind of principal an ARN names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    User,
    Bot,
}

/// One user or bot: who, and under which name when this was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Principal {
    pub(crate) uid: Uid,
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) name: String,
}

impl Principal {
    /// Returns the identity as the messaging service writes it.
    pub(crate) fn identity(&self, cx: &Cx, app_instance: Uid) -> messaging::Identity {
        messaging::Identity {
            arn: Some(cx.principal_arn(app_instance, self.kind, &self.id)),
            name: Some(self.name.clone()),
        }
    }

    /// Returns the identity as the identity service writes it.
    pub(crate) fn identity_of_admin(&self, cx: &Cx, app_instance: Uid) -> identity::Identity {
        identity::Identity {
            arn: Some(cx.principal_arn(app_instance, self.kind, &self.id)),
            name: Some(self.name.clone()),
        }
    }
}

/// Returns the live user or bot of `app_instance` that `arn` names.
pub(crate) async fn find(
    cx: &Cx,
    tx: &mut Txn,
    app_instance: Uid,
    arn: &str,
) -> Result<Option<Principal>> {
    let Some((found_in, resource)) = cx.parse_arn(arn) else { return Ok(None) };
    if found_in != app_instance {
        return Ok(None);
    }
    match resource {
        Resource::User(id) => {
            let user: Option<AppInstanceUser> =
                tx.get(&AppInstanceUser::key_of(app_instance, &id)).await?;
            Ok(user.map(AppInstanceUser::into_principal))
        }
        Resource::Bot(id) => {
            let bot: Option<AppInstanceBot> =
                tx.get(&AppInstanceBot::key_of(app_instance, &id)).await?;
            Ok(bot.map(AppInstanceBot::into_principal))
        }
        Resource::AppInstance | Resource::Channel(_) | Resource::ChannelFlow(_) => Ok(None),
    }
}

/// Returns for each ARN the live user or bot of `app_instance` that it names, in one read.
pub(crate) async fn find_all(
    cx: &Cx,
    tx: &mut Txn,
    app_instance: Uid,
    arns: &[impl AsRef<str> + Sync],
) -> Result<Vec<Option<Principal>>> {
    let key = |arn: &_| match cx.parse_arn(AsRef::as_ref(arn))? {
        (found_in, _) if found_in != app_instance => None,
        (_, Resource::User(id)) => Some(AppInstanceUser::key_of(app_instance, &id)),
        (_, Resource::Bot(id)) => Some(AppInstanceBot::key_of(app_instance, &id)),
        _ => None,
    };
    tx.load(&arns.iter().filter_map(key).collect::<Vec<_>>()).await?;
    let mut found = Vec::with_capacity(arns.len());
    for arn in arns {
        found.push(find(cx, tx, app_instance, arn.as_ref()).await?);
    }
    Ok(found)
}

/// Returns each principal under his name of today; nothing for one who was deleted, or whose id is
/// another's by now. Only for showing: no rule is to stand on it.
pub(crate) async fn live(
    view: &View,
    app_instance: Uid,
    principals: &[Option<Principal>],
) -> Result<Vec<Option<Principal>>> {
    let ids = |kind| {
        let of_kind = principals.iter().flatten().filter(move |one| one.kind == kind);
        of_kind.map(|one| one.id.as_str())
    };
    let users: Vec<Key> =
        ids(Kind::User).map(|id| AppInstanceUser::key_of(app_instance, id)).collect();
    let bots: Vec<Key> =
        ids(Kind::Bot).map(|id| AppInstanceBot::key_of(app_instance, id)).collect();
    let mut users = view.get_many::<AppInstanceUser>(&users).await?.into_iter();
    let mut bots = view.get_many::<AppInstanceBot>(&bots).await?.into_iter();
    let mut today = |one: &Principal| match one.kind {
        Kind::User => users.next().flatten().map(AppInstanceUser::into_principal),
        Kind::Bot => bots.next().flatten().map(AppInstanceBot::into_principal),
    };
    let mut same = |one: &Principal| today(one).filter(|found| found.uid == one.uid);
    Ok(principals.iter().map(|one| one.as_ref().and_then(&mut same)).collect())
}

/// Reads a page of records and returns the live principals that they name, each under his name of
/// today.
pub(crate) async fn page<R: Record>(
    view: &View,
    walk: &mut Walk,
    app_instance: Uid,
    named: fn(R) -> Principal,
) -> Result<Vec<Principal>> {
    let mut page = Vec::new();
    loop {
        let rows = walk.read(view).await?;
        if rows.is_empty() {
            return Ok(page);
        }
        let named = rows.iter().map(|row| row.decode().map(|record| Some(named(record))));
        let named = named.collect::<std::result::Result<Vec<_>, Unavailable>>()?;
        page.extend(walk.sift(&rows, live(view, app_instance, &named).await?));
    }
}

/// Returns the live principal that an input member names.
///
/// # Errors
/// Forbidden with the service's known text when there is none.
pub(crate) async fn require(
    cx: &Cx,
    tx: &mut Txn,
    app_instance: Uid,
    arn: &str,
) -> Result<Principal> {
    find(cx, tx, app_instance, arn).await?.ok_or_else(Error::unknown_member)
}

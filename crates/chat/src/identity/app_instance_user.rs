//! Users of an app instance.
//!
//! Key: app instance and the id that the creator chose. An id may be used again after its user was
//! deleted; the uid in the record is not, and everything below a user is keyed by the uid.

mod expiration;

use serde::{Deserialize, Serialize};
use store::{Direction, Key, Range, Record, Table, Txn, Uid};
use wire::arn::Resource;
use wire::identity::{
    AppInstanceUser as Described, AppInstanceUserSummary, CreateAppInstanceUser,
    CreateAppInstanceUserRequest, CreateAppInstanceUserResponse, DeleteAppInstanceUser,
    DeleteAppInstanceUserRequest, DescribeAppInstanceUser, DescribeAppInstanceUserRequest,
    DescribeAppInstanceUserResponse, ListAppInstanceUsers, ListAppInstanceUsersRequest,
    ListAppInstanceUsersResponse, UpdateAppInstanceUser, UpdateAppInstanceUserRequest,
    UpdateAppInstanceUserResponse,
};
use wire::time::Timestamp;

use crate::Chat;
use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::event::{self, Effect};
use crate::expiration::Expiration;
use crate::history;
use crate::idempotency::Token;
use crate::identity::app_instance::{self, AppInstance};
use crate::identity::{self, app_instance_admin, tags};
use crate::job::{self, Doomed};
use crate::limits;
use crate::page::Walk;
use crate::principal::{Kind, Principal};

pub(crate) static APP_INSTANCE_USER: Table = Table {
    name: "app_instance_user",
    kind: store::Kind::Record,
    columns: &["id", "name", "uid", "created_ms"],
};

/// One user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AppInstanceUser {
    app_instance: Uid,
    id: String,
    pub(crate) uid: Uid,
    name: String,
    metadata: Option<String>,
    created_ms: i64,
    updated_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiration: Option<Expiration>,
}

impl Record for AppInstanceUser {
    const TABLE: &'static Table = &APP_INSTANCE_USER;

    fn key(&self) -> Key {
        Self::key_of(self.app_instance, &self.id)
    }
}

impl Proof for AppInstanceUser {
    fn counted(&self) -> Vec<Key> {
        vec![limits::APP_INSTANCE_USERS.key(self.app_instance)]
    }

    fn refers_to(&self) -> Vec<Uid> {
        vec![self.app_instance]
    }

    fn beside(&self) -> Vec<Key> {
        self.expiration.iter().map(|expiration| expiration.job_key(self.uid)).collect()
    }

    fn uid(&self) -> Option<Uid> {
        Some(self.uid)
    }
}

impl AppInstanceUser {
    /// Returns the user whom a history names.
    pub(crate) fn imported(app_instance: Uid, uid: Uid, line: &history::User) -> Self {
        Self {
            app_instance,
            id: line.id.clone(),
            uid,
            name: line.name.clone(),
            metadata: line.metadata.clone(),
            created_ms: line.created.0,
            updated_ms: line.updated.unwrap_or(line.created).0,
            expiration: None,
        }
    }

    pub(crate) fn key_of(app_instance: Uid, id: &str) -> Key {
        Key::new(&APP_INSTANCE_USER).uid(app_instance).text(id)
    }

    pub(crate) fn into_principal(self) -> Principal {
        Principal { uid: self.uid, kind: Kind::User, id: self.id, name: self.name }
    }

    pub(crate) fn arn(&self, cx: &Cx) -> String {
        cx.principal_arn(self.app_instance, Kind::User, &self.id)
    }
}

/// Returns the live user that `arn` names as the resource of a request.
///
/// # Errors
/// BadRequest when it is the ARN of something else, Forbidden when there is none.
pub(crate) async fn require(cx: &Cx, tx: &mut Txn, arn: &str) -> Result<AppInstanceUser> {
    let (app_instance, resource) = cx.parse_arn(arn).ok_or_else(Error::forbidden)?;
    let Resource::User(id) = resource else {
        return Err(Error::bad_request("The ARN does not name an app instance user"));
    };
    let keys = [AppInstance::key_of(app_instance), AppInstanceUser::key_of(app_instance, &id)];
    tx.load(&keys).await?;
    if tx.get::<AppInstance>(&keys[0]).await?.is_none() {
        return Err(Error::forbidden());
    }
    tx.get(&keys[1]).await?.ok_or_else(Error::forbidden)
}

/// Removes a user that was got, and leaves what is below him to a job.
pub(crate) fn remove(cx: &Cx, tx: &mut Txn, user: &AppInstanceUser) {
    let app_instance = user.app_instance;
    tx.delete(user);
    tx.add(limits::APP_INSTANCE_USERS.key(app_instance), -1, None);
    crate::expiration::forget(tx, user.uid, user.expiration.as_ref());
    job::purge(cx, tx, Doomed::AppInstanceUser { app_instance }, user.uid);
}

/// Deletes a user that was got, takes his role and closes his sockets.
pub(crate) async fn delete(cx: &Cx, tx: &mut Txn, user: &AppInstanceUser) -> Result<()> {
    app_instance_admin::remove_of(tx, user.app_instance, user.uid).await?;
    tx.set_home(user.uid);
    remove(cx, tx, user);
    tx.emit(event::internal(Effect::UserGone { user: user.uid }));
    Ok(())
}

impl Handle<CreateAppInstanceUser> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &CreateAppInstanceUserRequest,
    ) -> Result<Reply<CreateAppInstanceUserResponse>> {
        let id = &input.app_instance_user_id;
        let app_instance = app_instance::require(cx, tx, &input.app_instance_arn).await?.uid;
        let answer = Reply::Ready(CreateAppInstanceUserResponse {
            app_instance_user_arn: Some(cx.principal_arn(app_instance, Kind::User, id)),
        });
        let token = Token::of::<CreateAppInstanceUser>(
            cx,
            app_instance,
            &limits::CREATE_TOKENS,
            &input.client_request_token,
            input,
        );
        let first = token.first(tx).await?;
        let existing: Option<AppInstanceUser> =
            tx.get(&AppInstanceUser::key_of(app_instance, id)).await?;
        if let (Some(first), Some(user)) = (first, &existing)
            && first.uid == user.uid
        {
            return Ok(answer);
        }
        if existing.is_some() {
            return Err(Error::conflict("An app instance user with this id exists already"));
        }
        let mut user = AppInstanceUser {
            app_instance,
            id: id.clone(),
            uid: cx.new_uid(),
            name: input.name.clone(),
            metadata: identity::metadata(input.metadata.as_deref()),
            created_ms: cx.now_ms,
            updated_ms: cx.now_ms,
            expiration: None,
        };
        tx.set_home(app_instance);
        user.set_expiration(tx, input.expiration_settings.as_ref());
        tx.put(&user);
        tags::attach(cx, tx, user.uid, input.tags.as_deref().map(tags::of_identity))?;
        let quota = limits::APP_INSTANCE_USERS;
        tx.add(quota.key(app_instance), 1, Some(cx.max(&quota)));
        token.remember(tx, id, user.uid);
        Ok(answer)
    }
}

impl Handle<DescribeAppInstanceUser> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DescribeAppInstanceUserRequest,
    ) -> Result<Reply<DescribeAppInstanceUserResponse>> {
        let user = require(cx, tx, &input.app_instance_user_arn).await?;
        Ok(Reply::Ready(DescribeAppInstanceUserResponse {
            app_instance_user: Some(Described {
                app_instance_user_arn: Some(user.arn(cx)),
                name: Some(user.name),
                metadata: user.metadata,
                created_timestamp: Some(Timestamp(user.created_ms)),
                last_updated_timestamp: Some(Timestamp(user.updated_ms)),
                expiration_settings: user.expiration.as_ref().map(Expiration::of_user),
            }),
        }))
    }
}

impl Handle<ListAppInstanceUsers> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListAppInstanceUsersRequest,
    ) -> Result<Reply<ListAppInstanceUsersResponse>> {
        let app_instance = app_instance::require(cx, tx, &input.app_instance_arn).await?.uid;
        let mut walk = Walk::start(
            cx,
            &[b"ListAppInstanceUsers", &app_instance.0],
            Range::prefix(Key::new(&APP_INSTANCE_USER).uid(app_instance)),
            Direction::Forward,
            input.max_results,
            input.next_token.as_deref(),
        )?;
        let mut summaries = Vec::new();
        for row in walk.take(&tx.view()).await? {
            let user: AppInstanceUser = row.decode()?;
            summaries.push(AppInstanceUserSummary {
                app_instance_user_arn: Some(user.arn(cx)),
                name: Some(user.name),
                metadata: user.metadata,
            });
        }
        Ok(Reply::Ready(ListAppInstanceUsersResponse {
            app_instance_arn: Some(cx.app_instance_arn(app_instance)),
            app_instance_users: Some(summaries),
            next_token: walk.next_token(cx),
        }))
    }
}

impl Handle<UpdateAppInstanceUser> for Chat {
    /// Replaces name and metadata, both of which a request must have.
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &UpdateAppInstanceUserRequest,
    ) -> Result<Reply<UpdateAppInstanceUserResponse>> {
        let mut user = require(cx, tx, &input.app_instance_user_arn).await?;
        user.name.clone_from(&input.name);
        user.metadata = identity::metadata(Some(&input.metadata));
        user.updated_ms = cx.now_ms;
        tx.set_home(user.uid);
        tx.put(&user);
        let app_instance_user_arn = Some(user.arn(cx));
        Ok(Reply::Ready(UpdateAppInstanceUserResponse { app_instance_user_arn }))
    }
}

impl Handle<DeleteAppInstanceUser> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DeleteAppInstanceUserRequest,
    ) -> Result<Reply<()>> {
        let user = require(cx, tx, &input.app_instance_user_arn).await?;
        delete(cx, tx, &user).await?;
        Ok(Reply::Ready(()))
    }
}

#[cfg(test)]
mod tests;

//! Admins of an app instance: users or bots who may act as moderators everywhere in it.
//!
//! Key: app instance and the uid of the admin, so a re-created user of the same id is none. The
//! counter of the app instance equals the rows.

use serde::{Deserialize, Serialize};
use store::{Direction, Key, Kind, Range, Record, Table, Txn, Uid};
use wire::identity::{
    AppInstanceAdmin as Described, AppInstanceAdminSummary, CreateAppInstanceAdmin,
    CreateAppInstanceAdminRequest, CreateAppInstanceAdminResponse, DeleteAppInstanceAdmin,
    DeleteAppInstanceAdminRequest, DescribeAppInstanceAdmin, DescribeAppInstanceAdminRequest,
    DescribeAppInstanceAdminResponse, ListAppInstanceAdmins, ListAppInstanceAdminsRequest,
    ListAppInstanceAdminsResponse,
};
use wire::time::Timestamp;

use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::history::Moment;
use crate::identity::app_instance;
use crate::page::Walk;
use crate::principal::{self, Principal};
use crate::{Chat, limits};

pub(crate) static APP_INSTANCE_ADMIN: Table =
    Table { name: "app_instance_admin", kind: Kind::Record, columns: &["admin", "created_ms"] };

/// One admin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AppInstanceAdmin {
    app_instance: Uid,
    admin: Principal,
    created_ms: i64,
}

impl Record for AppInstanceAdmin {
    const TABLE: &'static Table = &APP_INSTANCE_ADMIN;

    fn key(&self) -> Key {
        key_of(self.app_instance, self.admin.uid)
    }
}

impl Proof for AppInstanceAdmin {
    fn counted(&self) -> Vec<Key> {
        vec![limits::APP_INSTANCE_ADMINS.key(self.app_instance)]
    }

    fn refers_to(&self) -> Vec<Uid> {
        vec![self.app_instance, self.admin.uid]
    }
}

impl AppInstanceAdmin {
    /// Returns the admin whom a history names.
    pub(crate) fn imported(app_instance: Uid, admin: Principal, created: Moment) -> Self {
        Self { app_instance, admin, created_ms: created.0 }
    }
}

fn key_of(app_instance: Uid, admin: Uid) -> Key {
    Key::new(&APP_INSTANCE_ADMIN).uid(app_instance).uid(admin)
}

/// Whether `principal` is an admin.
pub(crate) async fn is(tx: &mut Txn, app_instance: Uid, principal: Uid) -> Result<bool> {
    Ok(tx.exists(&key_of(app_instance, principal)).await?)
}

/// Takes the role from an admin that was got.
pub(crate) fn remove(tx: &mut Txn, admin: &AppInstanceAdmin) {
    // His own delete takes the role too, below another home.
    tx.hold(admin.admin.uid);
    tx.delete(admin);
    tx.add(limits::APP_INSTANCE_ADMINS.key(admin.app_instance), -1, None);
}

/// Returns the admin that `arn` names, under his name of today.
///
/// # Errors
/// Forbidden when there is none: the operations model no NotFound.
async fn require(cx: &Cx, tx: &mut Txn, app_instance: Uid, arn: &str) -> Result<AppInstanceAdmin> {
    let admin = principal::find(cx, tx, app_instance, arn).await?.ok_or_else(Error::forbidden)?;
    let record: Option<AppInstanceAdmin> = tx.get(&key_of(app_instance, admin.uid)).await?;
    Ok(AppInstanceAdmin { admin, ..record.ok_or_else(Error::forbidden)? })
}

/// Takes the role from a principal who is being deleted, if he has it.
pub(crate) async fn remove_of(tx: &mut Txn, app_instance: Uid, principal: Uid) -> Result<()> {
    let admin: Option<AppInstanceAdmin> = tx.get(&key_of(app_instance, principal)).await?;
    if let Some(admin) = admin {
        remove(tx, &admin);
    }
    Ok(())
}

impl Handle<CreateAppInstanceAdmin> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &CreateAppInstanceAdminRequest,
    ) -> Result<Reply<CreateAppInstanceAdminResponse>> {
        let app_instance = app_instance::require(cx, tx, &input.app_instance_arn).await?.uid;
        let admin = principal::require(cx, tx, app_instance, &input.app_instance_admin_arn).await?;
        if is(tx, app_instance, admin.uid).await? {
            return Err(Error::conflict("The user or bot is an app instance admin already"));
        }
        let record = AppInstanceAdmin { app_instance, admin, created_ms: cx.now_ms };
        tx.set_home(app_instance);
        tx.hold(record.admin.uid);
        tx.put(&record);
        let quota = limits::APP_INSTANCE_ADMINS;
        tx.add(quota.key(app_instance), 1, Some(cx.max(&quota)));
        Ok(Reply::Ready(CreateAppInstanceAdminResponse {
            app_instance_admin: Some(record.admin.identity_of_admin(cx, app_instance)),
            app_instance_arn: Some(cx.app_instance_arn(app_instance)),
        }))
    }
}

impl Handle<DescribeAppInstanceAdmin> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DescribeAppInstanceAdminRequest,
    ) -> Result<Reply<DescribeAppInstanceAdminResponse>> {
        let app_instance = app_instance::require(cx, tx, &input.app_instance_arn).await?.uid;
        let admin = require(cx, tx, app_instance, &input.app_instance_admin_arn).await?;
        Ok(Reply::Ready(DescribeAppInstanceAdminResponse {
            app_instance_admin: Some(Described {
                admin: Some(admin.admin.identity_of_admin(cx, app_instance)),
                app_instance_arn: Some(cx.app_instance_arn(app_instance)),
                created_timestamp: Some(Timestamp(admin.created_ms)),
            }),
        }))
    }
}

impl Handle<ListAppInstanceAdmins> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListAppInstanceAdminsRequest,
    ) -> Result<Reply<ListAppInstanceAdminsResponse>> {
        let app_instance = app_instance::require(cx, tx, &input.app_instance_arn).await?.uid;
        let mut walk = Walk::start(
            cx,
            &[b"ListAppInstanceAdmins", &app_instance.0],
            Range::prefix(Key::new(&APP_INSTANCE_ADMIN).uid(app_instance)),
            Direction::Forward,
            input.max_results,
            input.next_token.as_deref(),
        )?;
        let named = |record: AppInstanceAdmin| record.admin;
        let admins = principal::page(&tx.view(), &mut walk, app_instance, named).await?;
        let summary = |admin: Principal| AppInstanceAdminSummary {
            admin: Some(admin.identity_of_admin(cx, app_instance)),
        };
        Ok(Reply::Ready(ListAppInstanceAdminsResponse {
            app_instance_arn: Some(cx.app_instance_arn(app_instance)),
            app_instance_admins: Some(admins.into_iter().map(summary).collect()),
            next_token: walk.next_token(cx),
        }))
    }
}

impl Handle<DeleteAppInstanceAdmin> for Chat {
    /// Takes the role; the user or bot stays.
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DeleteAppInstanceAdminRequest,
    ) -> Result<Reply<()>> {
        let app_instance = app_instance::require(cx, tx, &input.app_instance_arn).await?.uid;
        let admin = require(cx, tx, app_instance, &input.app_instance_admin_arn).await?;
        tx.set_home(app_instance);
        remove(tx, &admin);
        Ok(Reply::Ready(()))
    }
}

#[cfg(test)]
mod tests;

//! Admins of an app instance: users or bots who may act as moderators everywhere in it.
//!
//! Key: app instance and the uid of the admin, so a re-created user of the same id is none. The
//! counter of the app instance equals the rows.

use serde::{Deserialize, Serialize};
use store::{Key, Kind, Record, Table, Txn, Uid};
use wire::identity::{
    CreateAppInstanceAdmin, CreateAppInstanceAdminRequest, CreateAppInstanceAdminResponse,
};

use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::identity::app_instance;
use crate::principal::{self, Principal};
use crate::{Chat, limits};

pub(crate) static APP_INSTANCE_ADMIN: Table =
    Table { name: "app_instance_admin", kind: Kind::Record, columns: &["admin", "created_ms"] };

/// One admin.
#[derive(Debug, Serialize, Deserialize)]
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

fn key_of(app_instance: Uid, admin: Uid) -> Key {
    Key::new(&APP_INSTANCE_ADMIN).uid(app_instance).uid(admin)
}

/// Whether `principal` is an admin.
pub(crate) async fn is(tx: &mut Txn, app_instance: Uid, principal: Uid) -> Result<bool> {
    Ok(tx.exists(&key_of(app_instance, principal)).await?)
}

/// Takes the role from an admin that was got.
pub(crate) fn remove(tx: &mut Txn, admin: &AppInstanceAdmin) {
    tx.delete(admin);
    tx.add(limits::APP_INSTANCE_ADMINS.key(admin.app_instance), -1, None);
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

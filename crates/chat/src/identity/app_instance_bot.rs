//! Bots of an app instance.
//!
//! Key: app instance and the id that the service made. A bot is a principal as a user is; everything
//! below it is keyed by its uid.

use serde::{Deserialize, Serialize};
use store::{Key, Record, Table, Uid};

use crate::check::Proof;
use crate::limits;
use crate::principal::{Kind, Principal};

pub(crate) static APP_INSTANCE_BOT: Table = Table {
    name: "app_instance_bot",
    kind: store::Kind::Record,
    columns: &["id", "name", "uid", "created_ms"],
};

/// One bot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AppInstanceBot {
    app_instance: Uid,
    id: String,
    pub(crate) uid: Uid,
    /// Empty when none was given.
    name: String,
    metadata: Option<String>,
    created_ms: i64,
    updated_ms: i64,
}

impl Record for AppInstanceBot {
    const TABLE: &'static Table = &APP_INSTANCE_BOT;

    fn key(&self) -> Key {
        Self::key_of(self.app_instance, &self.id)
    }
}

impl Proof for AppInstanceBot {
    fn counted(&self) -> Vec<Key> {
        vec![limits::APP_INSTANCE_BOTS.key(self.app_instance)]
    }

    fn refers_to(&self) -> Vec<Uid> {
        vec![self.app_instance]
    }

    fn uid(&self) -> Option<Uid> {
        Some(self.uid)
    }
}

impl AppInstanceBot {
    pub(crate) fn key_of(app_instance: Uid, id: &str) -> Key {
        Key::new(&APP_INSTANCE_BOT).uid(app_instance).text(id)
    }

    pub(crate) fn into_principal(self) -> Principal {
        Principal { uid: self.uid, kind: Kind::Bot, id: self.id, name: self.name }
    }
}

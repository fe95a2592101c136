//! The identity service: app instances, their users, bots and admins.

pub(crate) mod app_instance;
pub(crate) mod app_instance_admin;
pub(crate) mod app_instance_bot;
pub(crate) mod app_instance_user;
pub(crate) mod tags;

use store::Table;

pub(crate) static TABLES: [&Table; 5] = [
    &app_instance::APP_INSTANCE,
    &app_instance_user::APP_INSTANCE_USER,
    &app_instance_bot::APP_INSTANCE_BOT,
    &app_instance_admin::APP_INSTANCE_ADMIN,
    &tags::RESOURCE_TAG,
];

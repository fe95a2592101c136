//! The identity service: app instances, their users and their admins.

pub(crate) mod app_instance;
pub(crate) mod app_instance_admin;
pub(crate) mod app_instance_user;
pub(crate) mod tags;

use store::Table;

pub(crate) static TABLES: [&Table; 4] = [
    &app_instance::APP_INSTANCE,
    &app_instance_user::APP_INSTANCE_USER,
    &app_instance_admin::APP_INSTANCE_ADMIN,
    &tags::RESOURCE_TAG,
];

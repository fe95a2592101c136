//! The identity service: app instances, their users, bots and admins, devices and tags.

pub(crate) mod app_instance;
pub(crate) mod app_instance_admin;
pub(crate) mod app_instance_bot;
pub(crate) mod app_instance_user;
pub(crate) mod app_instance_user_endpoint;
pub(crate) mod tags;

use store::Table;

pub(crate) static TABLES: [&Table; 7] = [
    &app_instance::APP_INSTANCE,
    &app_instance_user::APP_INSTANCE_USER,
    &app_instance_user_endpoint::APP_INSTANCE_USER_ENDPOINT,
    &app_instance_user_endpoint::APP_INSTANCE_USER_ENDPOINT_BY_DEVICE,
    &app_instance_bot::APP_INSTANCE_BOT,
    &app_instance_admin::APP_INSTANCE_ADMIN,
    &tags::RESOURCE_TAG,
];

/// Returns the metadata that is kept: clients parse any that is there, and an empty text is none.
fn metadata(given: Option<&str>) -> Option<String> {
    given.filter(|text| !text.is_empty()).map(str::to_owned)
}

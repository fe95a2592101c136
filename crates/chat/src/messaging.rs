//! The messaging service: channels, who is in them, what is said there, and who listens.

pub(crate) mod app_instance_user_channels;
pub(crate) mod bot_invocation;
pub(crate) mod channel;
pub(crate) mod channel_ban;
pub(crate) mod channel_flow;
pub(crate) mod channel_membership;
pub(crate) mod channel_membership_preferences;
pub(crate) mod channel_message;
pub(crate) mod channel_moderator;
pub(crate) mod channel_read_marker;
pub(crate) mod prefetch;
pub(crate) mod search;
pub(crate) mod session;
pub(crate) mod session_place;
pub(crate) mod streaming_configurations;
pub(crate) mod sub_channel;

use store::Table;

pub(crate) static TABLES: [&Table; 21] = [
    &channel::CHANNEL,
    &channel::CHANNEL_BY_PRIVACY,
    &channel::CHANNEL_BY_FLOW,
    &channel_flow::CHANNEL_FLOW,
    &channel_membership::CHANNEL_MEMBERSHIP,
    &channel_membership::CHANNEL_MEMBERSHIP_HIDDEN,
    &channel_membership::CHANNEL_MEMBERSHIP_BY_MEMBER,
    &channel_membership::departure::DEPARTURE,
    &channel_read_marker::CHANNEL_READ_MARKER,
    &channel_membership_preferences::CHANNEL_MEMBERSHIP_PREFERENCES,
    &channel_moderator::CHANNEL_MODERATOR,
    &channel_moderator::CHANNEL_MODERATOR_BY_MODERATOR,
    &channel_ban::CHANNEL_BAN,
    &channel_ban::CHANNEL_BAN_BY_MEMBER,
    &channel_message::CHANNEL_MESSAGE,
    &channel_message::CHANNEL_MESSAGE_BY_FOREIGN_ID,
    &sub_channel::ELASTIC_MEMBER,
    &sub_channel::SUB_CHANNEL,
    &sub_channel::SUB_CHANNEL_BY_USE,
    &sub_channel::SUB_CHANNEL_LIST,
    &session_place::MESSAGING_SESSION,
];

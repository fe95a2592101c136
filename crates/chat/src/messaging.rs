//! The messaging service: channels, who is in them, what is said there, and who listens.

pub(crate) mod channel;
pub(crate) mod channel_ban;
pub(crate) mod channel_membership;
pub(crate) mod channel_message;
pub(crate) mod channel_moderator;
pub(crate) mod session;

use store::Table;

pub(crate) static TABLES: [&Table; 10] = [
    &channel::CHANNEL,
    &channel::CHANNEL_BY_PRIVACY,
    &channel_membership::CHANNEL_MEMBERSHIP,
    &channel_membership::CHANNEL_MEMBERSHIP_HIDDEN,
    &channel_membership::CHANNEL_MEMBERSHIP_BY_MEMBER,
    &channel_moderator::CHANNEL_MODERATOR,
    &channel_moderator::CHANNEL_MODERATOR_BY_MODERATOR,
    &channel_ban::CHANNEL_BAN,
    &channel_ban::CHANNEL_BAN_BY_MEMBER,
    &channel_message::CHANNEL_MESSAGE,
];

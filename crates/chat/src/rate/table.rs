//! The request rates, from the service quotas page (endpoints and quotas of the SDK, both regions).
//!
//! Invariant: each number stands here once. A row without a second number has one for all regions.

use wire::OperationId;
use wire::OperationId::{
    BatchCreateChannelMembership, ChannelFlowCallback, CreateAppInstance, CreateAppInstanceUser,
    CreateChannel, CreateChannelBan, CreateChannelMembership, CreateChannelModerator,
    DeleteAppInstance, DeleteAppInstanceUser, DeleteChannel, DeleteChannelBan,
    DeleteChannelMembership, DeleteChannelMessage, DeleteChannelModerator, DescribeAppInstance,
    DescribeAppInstanceUser, DescribeChannel, GetChannelMessage, ListAppInstanceUsers,
    ListAppInstances, ListChannelBans, ListChannelMemberships,
    ListChannelMembershipsForAppInstanceUser, ListChannelMessages, ListChannelModerators,
    ListChannels, ListChannelsModeratedByAppInstanceUser, ListSubChannels, RedactChannelMessage,
    SendChannelMessage, UpdateAppInstance, UpdateAppInstanceUser, UpdateChannel,
    UpdateChannelMessage,
};

use super::Per;

/// Requests in a second, of these operations together.
#[derive(Clone, Copy)]
pub(super) struct Rate {
    /// Tells the buckets of one row from those of another.
    pub(super) name: &'static str,
    pub(super) per: Per,
    pub(super) us_east_1: u32,
    pub(super) eu_central_1: u32,
    pub(super) operations: &'static [OperationId],
}

const fn rate(
    name: &'static str,
    per: Per,
    per_second: u32,
    operations: &'static [OperationId],
) -> Rate {
    Rate { name, per, us_east_1: per_second, eu_central_1: per_second, operations }
}

const fn lower_in_eu_central(rate: Rate, eu_central_1: u32) -> Rate {
    Rate { eu_central_1, ..rate }
}

/// All requests of the identity service.
pub(super) const IDENTITY_BY_ACCOUNT: Rate = rate("identity", Per::Account, 50, &[]);
/// All requests of the messaging service.
pub(super) const MESSAGING_BY_BEARER: Rate =
    lower_in_eu_central(rate("bearer", Per::Bearer, 10, &[]), 5);
/// Handshakes of a user; fixed.
pub(super) const CONNECTS: Rate = rate("connects", Per::User, 1, &[]);

#[rustfmt::skip]
pub(super) const RATES: &[Rate] = &[
    // Identity.
    rate("app-instances", Per::Account, 5,
        &[CreateAppInstance, UpdateAppInstance, DeleteAppInstance]),
    rate("users", Per::AppInstance, 10,
        &[CreateAppInstanceUser, UpdateAppInstanceUser, DeleteAppInstanceUser]),
    rate("describe-app-instance", Per::AppInstance, 20, &[DescribeAppInstance]),
    rate("describe-user", Per::User, 20, &[DescribeAppInstanceUser]),
    rate("list-app-instances", Per::Account, 10, &[ListAppInstances]),
    // The page does not say for whom; for the app instance, as the other rates of users.
    rate("list-users", Per::AppInstance, 10, &[ListAppInstanceUsers]),
    // Messaging.
    rate("channels", Per::AppInstance, 15, &[CreateChannel, UpdateChannel, DeleteChannel]),
    rate("list-channels", Per::AppInstance, 10, &[ListChannels]),
    rate("describe-channel", Per::Channel, 20, &[DescribeChannel]),
    lower_in_eu_central(
        rate("members", Per::Channel, 15, &[
            CreateChannelMembership, DeleteChannelMembership, CreateChannelBan, DeleteChannelBan,
            CreateChannelModerator, DeleteChannelModerator,
        ]), 10),
    rate("list-members", Per::Channel, 15,
        &[ListChannelMemberships, ListChannelBans, ListChannelModerators]),
    lower_in_eu_central(
        rate("messages", Per::Channel, 30, &[
            SendChannelMessage, UpdateChannelMessage, RedactChannelMessage, DeleteChannelMessage,
            ChannelFlowCallback,
        ]), 10),
    rate("list-messages", Per::Channel, 30, &[ListChannelMessages]),
    rate("get-message", Per::Channel, 30, &[GetChannelMessage]),
    rate("user-channels", Per::Bearer, 15,
        &[ListChannelMembershipsForAppInstanceUser, ListChannelsModeratedByAppInstanceUser]),
    rate("sub-channels", Per::Channel, 15, &[ListSubChannels]),
    // Fixed.
    rate("batch", Per::Channel, 1, &[BatchCreateChannelMembership]),
];

//! Who may do what in a channel: the role table, readable beside docs/roles.md.
//!
//! Invariant: every channel operation asks [`require`] and nothing else decides about roles. What
//! the caller is in the channel is read by points, and each point that was read is checked again
//! by the commit, so a member who is removed at the same moment does not slip through.

use store::Txn;
use wire::messaging::{ChannelMembershipType, ChannelMode, ChannelPrivacy};

use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::identity::app_instance_admin;
use crate::messaging::channel::Channel;
use crate::messaging::channel_membership;
use crate::messaging::channel_moderator;

/// What a caller wants to do in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    DescribeChannel,
    UpdateChannel,
    DeleteChannel,
    PutExpirationSettings,
    /// Associate a channel flow, or take it away.
    ChangeFlow,
    ReadSubChannels,
    /// Add somebody else.
    AddMember,
    /// Add somebody else whom the others do not see.
    AddHiddenMember,
    /// Add oneself.
    Join,
    ReadMembers,
    ReadHiddenMembers,
    /// Remove somebody else.
    RemoveMember,
    /// Remove oneself.
    Leave,
    AddModerator,
    RemoveModerator,
    ReadModerators,
    AddBan,
    RemoveBan,
    ReadBans,
    SendMessage,
    ReadMessages,
    /// Change what one wrote.
    UpdateOwnMessage,
    /// Redact what one wrote.
    RedactOwnMessage,
    /// Redact what somebody else wrote.
    RedactMessage,
    DeleteMessage,
    /// Ask what became of what one wrote.
    ReadOwnMessageStatus,
    UpdateReadMarker,
    /// Read or set one's own preferences.
    ChangePreferences,
}

/// On what a permission depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    Yes,
    No,
    /// Only where the channel is PUBLIC.
    Public,
    /// Only where the channel is UNRESTRICTED.
    Unrestricted,
    /// Only where the channel is not an elastic one.
    Ordinary,
    /// Only for one who is a member too.
    Joined,
}

use Grant::{Joined, No, Ordinary, Public, Unrestricted, Yes};

/// The grants of one action, by what the caller is in the channel; the best of them counts.
struct Row {
    admin: Grant,
    moderator: Grant,
    member: Grant,
    hidden: Grant,
    stranger: Grant,
}

const fn row(admin: Grant, moderator: Grant, member: Grant, hidden: Grant, stranger: Grant) -> Row {
    Row { admin, moderator, member, hidden, stranger }
}

impl Action {
    #[rustfmt::skip]
    const fn row(self) -> Row {
        match self {
            //                                 admin     moderator member        hidden  stranger
            Self::DescribeChannel      => row(Yes,      Yes,      Yes,          Yes,    Public),
            Self::UpdateChannel        => row(Yes,      Yes,      No,           No,     No),
            Self::DeleteChannel        => row(Yes,      Yes,      No,           No,     No),
            Self::PutExpirationSettings=> row(Yes,      Yes,      No,           No,     No),
            Self::ChangeFlow           => row(Yes,      Yes,      No,           No,     No),
            Self::ReadSubChannels      => row(Yes,      Yes,      No,           No,     No),
            Self::AddMember            => row(Yes,      Yes,      Unrestricted, No,     No),
            Self::AddHiddenMember      => row(Yes,      Yes,      No,           No,     No),
            Self::Join                 => row(Yes,      Yes,      No,           No,     Public),
            Self::ReadMembers          => row(Yes,      Yes,      Yes,          Yes,    Public),
            Self::ReadHiddenMembers    => row(Yes,      Yes,      No,           No,     No),
            Self::RemoveMember         => row(Yes,      Yes,      No,           No,     No),
            Self::Leave                => row(Yes,      Yes,      Yes,          Yes,    No),
            Self::AddModerator         => row(Yes,      Joined,   No,           No,     No),
            Self::RemoveModerator      => row(Yes,      Yes,      No,           No,     No),
            Self::ReadModerators       => row(Yes,      Yes,      No,           No,     No),
            Self::AddBan               => row(Yes,      Yes,      No,           No,     No),
            Self::RemoveBan            => row(Yes,      Yes,      No,           No,     No),
            Self::ReadBans             => row(Yes,      Yes,      No,           No,     No),
            Self::SendMessage          => row(No,       No,       Yes,          No,     No),
            Self::ReadMessages         => row(Yes,      Yes,      Yes,          Yes,    Public),
            Self::UpdateOwnMessage     => row(Ordinary, Ordinary, Yes,          No,     No),
            Self::RedactOwnMessage     => row(Yes,      Yes,      Yes,          No,     No),
            Self::RedactMessage        => row(Yes,      Yes,      No,           No,     No),
            Self::DeleteMessage        => row(Yes,      No,       No,           No,     No),
            Self::ReadOwnMessageStatus => row(Yes,      Yes,      Yes,          Yes,    Yes),
            Self::UpdateReadMarker     => row(No,       No,       Yes,          Yes,    No),
            Self::ChangePreferences    => row(No,       No,       Yes,          Yes,    No),
        }
    }
}

impl Grant {
    fn holds(self, channel: &Channel) -> bool {
        match self {
            Yes => true,
            No => false,
            Public => channel.privacy == ChannelPrivacy::Public,
            Unrestricted => channel.mode == ChannelMode::Unrestricted,
            Ordinary => channel.elastic.is_none(),
            // A member is one who is a member too.
            Joined => true,
        }
    }
}

/// Lets the caller pass when one of his roles allows `action` in `channel`.
///
/// Roles are asked for in the order in which they are commonest, and no further than needed.
///
/// # Errors
/// Forbidden when no role allows it.
pub(crate) async fn require(
    cx: &Cx,
    tx: &mut Txn,
    action: Action,
    channel: &Channel,
) -> Result<()> {
    let actor = cx.actor()?;
    let uid = actor.principal.uid;
    let row = action.row();
    if row.stranger.holds(channel) {
        return Ok(());
    }
    if row.member.holds(channel) || row.hidden.holds(channel) {
        let grant = match channel_membership::type_of(tx, channel, uid).await? {
            Some(ChannelMembershipType::Default) => row.member,
            Some(ChannelMembershipType::Hidden) => row.hidden,
            None => No,
        };
        if grant.holds(channel) {
            return Ok(());
        }
    }
    if row.moderator.holds(channel)
        && channel_moderator::is(tx, channel.uid, uid).await?
        && (row.moderator != Joined
            || channel_membership::type_of(tx, channel, uid).await?.is_some())
    {
        return Ok(());
    }
    if row.admin.holds(channel) && is_admin(cx, tx).await? {
        return Ok(());
    }
    Err(Error::forbidden())
}

/// Whether the caller is an admin of his app instance.
pub(crate) async fn is_admin(cx: &Cx, tx: &mut Txn) -> Result<bool> {
    let actor = cx.actor()?;
    app_instance_admin::is(tx, actor.app_instance, actor.principal.uid).await
}

#[cfg(test)]
mod cells;

#[cfg(test)]
mod tests {
    use super::*;

    /// Each action as docs/roles.md calls it.
    const NAMES: [(Action, &str); 28] = [
        (Action::DescribeChannel, "describe the channel"),
        (Action::UpdateChannel, "update the channel"),
        (Action::DeleteChannel, "delete the channel"),
        (Action::PutExpirationSettings, "put expiration settings"),
        (Action::ChangeFlow, "associate or disassociate a channel flow"),
        (Action::ReadSubChannels, "list the sub-channels"),
        (Action::AddMember, "add somebody else"),
        (Action::AddHiddenMember, "add a hidden member"),
        (Action::Join, "join by himself"),
        (Action::ReadMembers, "read the members"),
        (Action::ReadHiddenMembers, "read the hidden members"),
        (Action::RemoveMember, "remove somebody else"),
        (Action::Leave, "leave"),
        (Action::AddModerator, "make somebody a moderator"),
        (Action::RemoveModerator, "take the role from a moderator"),
        (Action::ReadModerators, "read the moderators"),
        (Action::AddBan, "ban somebody"),
        (Action::RemoveBan, "lift a ban"),
        (Action::ReadBans, "read the bans"),
        (Action::SendMessage, "send a message"),
        (Action::ReadMessages, "read messages"),
        (Action::UpdateOwnMessage, "update his own message"),
        (Action::RedactOwnMessage, "redact his own message"),
        (Action::RedactMessage, "redact somebody else's message"),
        (Action::DeleteMessage, "delete a message"),
        (Action::ReadOwnMessageStatus, "read his own message's status"),
        (Action::UpdateReadMarker, "move his read marker"),
        (Action::ChangePreferences, "read or put his preferences"),
    ];

    #[test]
    fn role_table_is_the_documented_one() {
        let documented = include_str!("../../../docs/roles.md");
        let word = |grant| match grant {
            Yes => "yes",
            No => "no",
            Public => "public",
            Unrestricted => "unrestricted",
            Ordinary => "ordinary",
            Joined => "as a member",
        };
        for (action, name) in NAMES {
            let Row { admin, moderator, member, hidden, stranger } = action.row();
            let grants = [admin, moderator, member, hidden, stranger].map(word).join(" | ");
            let line = format!("\n| {name} | {grants} | ");
            assert!(documented.contains(&line), "docs/roles.md lacks:{line}");
        }
        assert_eq!(documented.matches("\n| ").count(), NAMES.len() + 1, "one line an action");
    }
}

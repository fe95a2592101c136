//! What the cells ask: each operation that names a channel, with the row of the table that decides.
//!
//! Invariant: what a case asks for depends on the scene alone, so that it fits every kind of channel;
//! the SubChannelId is put into the request by whoever plays it.

use serde_json::{Value, json};
use wire::OperationId::{self, *};

use super::{Banned, Role, Scene};
use crate::testing::{CONFLICT, FORBIDDEN, Outcome, label};

/// Who may.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// Those whom this row of the table names.
    Row(&'static str),
    /// Nobody, though the request looks like one of this row.
    Nobody(&'static str),
    /// Those of the lines below the table.
    Those(fn(Role) -> bool),
}

impl Rule {
    pub(super) fn row(self) -> Option<&'static str> {
        match self {
            Self::Row(action) | Self::Nobody(action) => Some(action),
            Self::Those(_) => None,
        }
    }
}

/// Method, target and body.
pub(super) type Request = (&'static str, String, Value);

#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) operation: OperationId,
    pub(super) rule: Rule,
    pub(super) request: fn(&Scene) -> Request,
    /// What the owner does before.
    pub(super) before: Option<fn(&Scene) -> Request>,
    /// What is answered whatever the role allows, because of what the caller is.
    pub(super) whatever: fn(Role) -> Option<Outcome>,
    /// What is answered to those who may, where it is another refusal.
    pub(super) instead: fn(Role) -> Option<Outcome>,
    /// Whether the one who is added is a moderator, who chooses his sub-channel.
    pub(super) chooses: fn(Role) -> bool,
}

const fn case_by(operation: OperationId, rule: Rule, request: fn(&Scene) -> Request) -> Case {
    Case {
        operation,
        rule,
        request,
        before: None,
        whatever: |_| None,
        instead: |_| None,
        chooses: |_| false,
    }
}

const fn case(
    operation: OperationId,
    action: &'static str,
    request: fn(&Scene) -> Request,
) -> Case {
    case_by(operation, Rule::Row(action), request)
}

/// A request that looks like one of a row, and is nobody's.
const fn case_of_nobody(
    operation: OperationId,
    action: &'static str,
    request: fn(&Scene) -> Request,
) -> Case {
    case_by(operation, Rule::Nobody(action), request)
}

const fn case_of(
    operation: OperationId,
    those: fn(Role) -> bool,
    request: fn(&Scene) -> Request,
) -> Case {
    case_by(operation, Rule::Those(those), request)
}

fn is_admin(role: Role) -> bool {
    role == Role::Admin
}

fn below(scene: &Scene, rest: &str) -> String {
    format!("/channels/{}{rest}", label(&scene.channel))
}

fn get(scene: &Scene, rest: &str) -> Request {
    ("GET", below(scene, rest), Value::Null)
}

fn post(scene: &Scene, rest: &str, body: Value) -> Request {
    ("POST", below(scene, rest), body)
}

fn put(scene: &Scene, rest: &str, body: Value) -> Request {
    ("PUT", below(scene, rest), body)
}

fn delete(scene: &Scene, rest: &str) -> Request {
    ("DELETE", below(scene, rest), Value::Null)
}

fn add(scene: &Scene, member: &str, r#type: &str) -> Request {
    post(scene, "/memberships", json!({ "MemberArn": member, "Type": r#type }))
}

fn add_batch(scene: &Scene, member: &str, r#type: &str) -> Request {
    let body = json!({ "MemberArns": [member], "Type": r#type });
    post(scene, "/memberships?operation=batch-create", body)
}

/// What somebody hears who adds himself, though he may.
fn joining(role: Role) -> Option<Outcome> {
    match role {
        Banned => Some(FORBIDDEN),
        _ => is_told(role),
    }
}

/// What a member hears who adds himself: that he is there.
fn is_told(role: Role) -> Option<Outcome> {
    role.is_member().then_some(CONFLICT)
}

fn of(parent: &str, arn: &str) -> String {
    format!("/{parent}/{}", label(arn))
}

/// A request of the caller about a user.
fn about(scene: &Scene, scope: &str, user: &str) -> Request {
    get(scene, &format!("?scope={scope}&app-instance-user-arn={}", label(user)))
}

const MEMBERSHIP: &str = "app-instance-user-membership";
const MODERATED: &str = "app-instance-user-moderated-channel";

fn associate(scene: &Scene) -> Request {
    put(scene, "/channel-flow", json!({ "ChannelFlowArn": scene.flow }))
}

pub(super) static CASES: &[Case] = &[
    case(DescribeChannel, "describe the channel", |s| get(s, "")),
    case(UpdateChannel, "update the channel", |s| put(s, "", json!({ "Name": "new" }))),
    case(DeleteChannel, "delete the channel", |s| delete(s, "")),
    case(PutChannelExpirationSettings, "put expiration settings", |s| {
        let settings = json!({ "ExpirationDays": 9, "ExpirationCriterion": "CREATED_TIMESTAMP" });
        put(s, "/expiration-settings", json!({ "ExpirationSettings": settings }))
    }),
    case(AssociateChannelFlow, "associate or disassociate a channel flow", associate),
    Case {
        before: Some(associate),
        ..case(DisassociateChannelFlow, "associate or disassociate a channel flow", |s| {
            delete(s, &of("channel-flow", &s.flow))
        })
    },
    case(ListSubChannels, "list the sub-channels", |s| get(s, "/subchannels")),
    case(CreateChannelMembership, "add somebody else", |s| add(s, &s.newcomer, "DEFAULT")),
    case(BatchCreateChannelMembership, "add somebody else", |s| {
        add_batch(s, &s.newcomer, "DEFAULT")
    }),
    Case {
        // A moderator may be in several sub-channels.
        instead: |_| Some(CONFLICT),
        chooses: |_| true,
        ..case(CreateChannelMembership, "add somebody else", |s| add(s, &s.owner, "DEFAULT"))
    },
    Case {
        instead: |_| Some(CONFLICT),
        chooses: |_| true,
        ..case(BatchCreateChannelMembership, "add somebody else", |s| {
            add_batch(s, &s.owner, "DEFAULT")
        })
    },
    case(CreateChannelMembership, "add a hidden member", |s| add(s, &s.newcomer, "HIDDEN")),
    case(BatchCreateChannelMembership, "add a hidden member", |s| {
        add_batch(s, &s.newcomer, "HIDDEN")
    }),
    Case {
        whatever: is_told,
        instead: joining,
        chooses: Role::is_moderator,
        ..case(CreateChannelMembership, "join by himself", |s| add(s, &s.actor, "DEFAULT"))
    },
    Case {
        instead: joining,
        chooses: Role::is_moderator,
        ..case(BatchCreateChannelMembership, "join by himself", |s| {
            add_batch(s, &s.actor, "DEFAULT")
        })
    },
    case(ListChannelMemberships, "read the members", |s| get(s, "/memberships")),
    case(DescribeChannelMembership, "read the members", |s| get(s, &of("memberships", &s.guest))),
    case(ListChannelMemberships, "read the hidden members", |s| get(s, "/memberships?type=HIDDEN")),
    case(DeleteChannelMembership, "remove somebody else", |s| {
        delete(s, &of("memberships", &s.guest))
    }),
    Case {
        // Who is no member has nothing to leave.
        whatever: |role| (!role.is_member()).then_some(FORBIDDEN),
        ..case(DeleteChannelMembership, "leave", |s| delete(s, &of("memberships", &s.actor)))
    },
    case(CreateChannelModerator, "make somebody a moderator", |s| {
        post(s, "/moderators", json!({ "ChannelModeratorArn": s.newcomer }))
    }),
    case(DeleteChannelModerator, "take the role from a moderator", |s| {
        delete(s, &of("moderators", &s.owner))
    }),
    case(ListChannelModerators, "read the moderators", |s| get(s, "/moderators")),
    case(DescribeChannelModerator, "read the moderators", |s| get(s, &of("moderators", &s.owner))),
    case(CreateChannelBan, "ban somebody", |s| post(s, "/bans", json!({ "MemberArn": s.guest }))),
    case(DeleteChannelBan, "lift a ban", |s| delete(s, &of("bans", &s.culprit))),
    case(ListChannelBans, "read the bans", |s| get(s, "/bans")),
    case(DescribeChannelBan, "read the bans", |s| get(s, &of("bans", &s.culprit))),
    case(SendChannelMessage, "send a message", |s| {
        let body = json!({
            "Content": "hello", "Type": "STANDARD", "Persistence": "PERSISTENT",
            "ClientRequestToken": "token-of-the-cell",
        });
        post(s, "/messages", body)
    }),
    case(ListChannelMessages, "read messages", |s| get(s, "/messages")),
    case(GetChannelMessage, "read messages", |s| get(s, &format!("/messages/{}", s.message))),
    case(UpdateChannelMessage, "update his own message", |s| {
        put(s, &format!("/messages/{}", s.own_message), json!({ "Content": "new" }))
    }),
    case(RedactChannelMessage, "redact his own message", |s| {
        post(s, &format!("/messages/{}?operation=redact", s.own_message), json!({}))
    }),
    case(RedactChannelMessage, "redact somebody else's message", |s| {
        post(s, &format!("/messages/{}?operation=redact", s.message), json!({}))
    }),
    case(DeleteChannelMessage, "delete a message", |s| {
        delete(s, &format!("/messages/{}", s.message))
    }),
    case(GetChannelMessageStatus, "read his own message's status", |s| {
        get(s, &format!("/messages/{}?scope=message-status", s.own_message))
    }),
    case(UpdateChannelReadMarker, "move his read marker", |s| put(s, "/readMarker", Value::Null)),
    case(GetChannelMembershipPreferences, "read or put his preferences", |s| {
        get(s, &format!("{}/preferences", of("memberships", &s.actor)))
    }),
    case(PutChannelMembershipPreferences, "read or put his preferences", |s| {
        let preferences = json!({ "PushNotifications": { "AllowNotifications": "NONE" } });
        let target = format!("{}/preferences", of("memberships", &s.actor));
        put(s, &target, json!({ "Preferences": preferences }))
    }),
    case_of_nobody(GetChannelMembershipPreferences, "read or put his preferences", |s| {
        get(s, &format!("{}/preferences", of("memberships", &s.guest)))
    }),
    case_of_nobody(UpdateChannelMessage, "update his own message", |s| {
        put(s, &format!("/messages/{}", s.message), json!({ "Content": "new" }))
    }),
    case_of_nobody(GetChannelMessageStatus, "read his own message's status", |s| {
        get(s, &format!("/messages/{}?scope=message-status", s.message))
    }),
    case_of(DescribeChannelMembershipForAppInstanceUser, Role::is_member, |s| {
        about(s, MEMBERSHIP, &s.actor)
    }),
    case_of(DescribeChannelMembershipForAppInstanceUser, is_admin, |s| {
        about(s, MEMBERSHIP, &s.guest)
    }),
    case_of(DescribeChannelModeratedByAppInstanceUser, Role::is_moderator, |s| {
        about(s, MODERATED, &s.actor)
    }),
    case_of(DescribeChannelModeratedByAppInstanceUser, is_admin, |s| about(s, MODERATED, &s.owner)),
];

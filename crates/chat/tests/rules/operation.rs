//! The operations that the sequences are made of, and where the members of their inputs go on the
//! wire. Typed here by hand from the documentation, so that a slip of the generated routes shows.

use bytes::Bytes;
use chat::Call;
use serde_json::{Map, Value};

/// One operation.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    method: &'static str,
    /// Names in braces are members of the input.
    path: &'static str,
    /// Names that the members have in the query.
    query: &'static [(&'static str, &'static str)],
    /// The status of success.
    pub(crate) status: u16,
    /// Whether a request needs a bearer.
    pub(crate) bearer: bool,
    /// The member of the output that holds the items, if it comes in pages.
    pub(crate) list: Option<&'static str>,
    /// Whether the order of the items is documented.
    pub(crate) ordered: bool,
    /// How often it is drawn.
    pub(crate) weight: u64,
}

const fn op(
    weight: u64,
    name: &'static str,
    method: &'static str,
    path: &'static str,
    status: u16,
) -> Operation {
    Operation {
        name,
        method,
        path,
        query: &[],
        status,
        bearer: false,
        list: None,
        ordered: false,
        weight,
    }
}

impl Operation {
    const fn b(self) -> Self {
        Self { bearer: true, ..self }
    }

    const fn query(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }

    const fn list(self, items: &'static str) -> Self {
        Self { list: Some(items), ordered: true, ..self }
    }

    const fn set(self, items: &'static str) -> Self {
        Self { list: Some(items), ..self }
    }
}

const IN_APP_INSTANCE: &[(&str, &str)] = &[("app-instance-arn", "AppInstanceArn")];
const OF_USER: &[(&str, &str)] = &[("app-instance-user-arn", "AppInstanceUserArn")];
const SUB: &[(&str, &str)] = &[("sub-channel-id", "SubChannelId")];

#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    op(4, "CreateAppInstance", "POST", "/app-instances", 201),
    op(2, "DescribeAppInstance", "GET", "/app-instances/{AppInstanceArn}", 200),
    op(1, "ListAppInstances", "GET", "/app-instances", 200).set("AppInstances"),
    op(1, "UpdateAppInstance", "PUT", "/app-instances/{AppInstanceArn}", 200),
    op(1, "DeleteAppInstance", "DELETE", "/app-instances/{AppInstanceArn}", 204),
    op(12, "CreateAppInstanceUser", "POST", "/app-instance-users", 201),
    op(3, "DescribeAppInstanceUser", "GET", "/app-instance-users/{AppInstanceUserArn}", 200),
    op(2, "ListAppInstanceUsers", "GET", "/app-instance-users", 200).query(IN_APP_INSTANCE).list("AppInstanceUsers"),
    op(4, "UpdateAppInstanceUser", "PUT", "/app-instance-users/{AppInstanceUserArn}", 200),
    op(5, "DeleteAppInstanceUser", "DELETE", "/app-instance-users/{AppInstanceUserArn}", 204),
    op(4, "CreateAppInstanceAdmin", "POST", "/app-instances/{AppInstanceArn}/admins", 201),
    op(2, "DescribeAppInstanceAdmin", "GET", "/app-instances/{AppInstanceArn}/admins/{AppInstanceAdminArn}", 200),
    op(2, "ListAppInstanceAdmins", "GET", "/app-instances/{AppInstanceArn}/admins", 200).list("AppInstanceAdmins"),
    op(3, "DeleteAppInstanceAdmin", "DELETE", "/app-instances/{AppInstanceArn}/admins/{AppInstanceAdminArn}", 204),
    op(5, "CreateAppInstanceBot", "POST", "/app-instance-bots", 201),
    op(2, "DescribeAppInstanceBot", "GET", "/app-instance-bots/{AppInstanceBotArn}", 200),
    op(2, "ListAppInstanceBots", "GET", "/app-instance-bots", 200).query(IN_APP_INSTANCE).list("AppInstanceBots"),
    op(2, "UpdateAppInstanceBot", "PUT", "/app-instance-bots/{AppInstanceBotArn}", 200),
    op(2, "DeleteAppInstanceBot", "DELETE", "/app-instance-bots/{AppInstanceBotArn}", 204),
    op(4, "RegisterAppInstanceUserEndpoint", "POST", "/app-instance-users/{AppInstanceUserArn}/endpoints", 201),
    op(2, "DescribeAppInstanceUserEndpoint", "GET", "/app-instance-users/{AppInstanceUserArn}/endpoints/{EndpointId}", 200),
    op(2, "ListAppInstanceUserEndpoints", "GET", "/app-instance-users/{AppInstanceUserArn}/endpoints", 200).list("AppInstanceUserEndpoints"),
    op(2, "UpdateAppInstanceUserEndpoint", "PUT", "/app-instance-users/{AppInstanceUserArn}/endpoints/{EndpointId}", 200),
    op(2, "DeregisterAppInstanceUserEndpoint", "DELETE", "/app-instance-users/{AppInstanceUserArn}/endpoints/{EndpointId}", 204),
    op(4, "TagResource", "POST", "/tags?operation=tag-resource", 204),
    op(3, "UntagResource", "POST", "/tags?operation=untag-resource", 204),
    op(3, "ListTagsForResource", "GET", "/tags", 200).query(&[("arn", "ResourceARN")]),
    op(1, "GetMessagingStreamingConfigurations", "GET", "/app-instances/{AppInstanceArn}/streaming-configurations", 200),
    op(1, "PutMessagingStreamingConfigurations", "PUT", "/app-instances/{AppInstanceArn}/streaming-configurations", 200),
    op(1, "DeleteMessagingStreamingConfigurations", "DELETE", "/app-instances/{AppInstanceArn}/streaming-configurations", 204),
    op(1, "GetMessagingSessionEndpoint", "GET", "/endpoints/messaging-session", 200),
    op(10, "CreateChannel", "POST", "/channels", 201).b(),
    op(4, "DescribeChannel", "GET", "/channels/{ChannelArn}", 200).b(),
    op(3, "ListChannels", "GET", "/channels", 200).b().query(&[("app-instance-arn", "AppInstanceArn"), ("privacy", "Privacy")]).list("Channels"),
    op(5, "UpdateChannel", "PUT", "/channels/{ChannelArn}", 200).b(),
    op(3, "DeleteChannel", "DELETE", "/channels/{ChannelArn}", 204).b(),
    op(12, "CreateChannelMembership", "POST", "/channels/{ChannelArn}/memberships", 201).b(),
    op(5, "BatchCreateChannelMembership", "POST", "/channels/{ChannelArn}/memberships?operation=batch-create", 200).b(),
    op(4, "DescribeChannelMembership", "GET", "/channels/{ChannelArn}/memberships/{MemberArn}", 200).b().query(SUB),
    op(4, "ListChannelMemberships", "GET", "/channels/{ChannelArn}/memberships", 200).b().query(&[("type", "Type"), ("sub-channel-id", "SubChannelId")]).list("ChannelMemberships"),
    op(6, "DeleteChannelMembership", "DELETE", "/channels/{ChannelArn}/memberships/{MemberArn}", 204).b().query(SUB),
    op(6, "CreateChannelModerator", "POST", "/channels/{ChannelArn}/moderators", 201).b(),
    op(3, "DescribeChannelModerator", "GET", "/channels/{ChannelArn}/moderators/{ChannelModeratorArn}", 200).b(),
    op(3, "ListChannelModerators", "GET", "/channels/{ChannelArn}/moderators", 200).b().set("ChannelModerators"),
    op(4, "DeleteChannelModerator", "DELETE", "/channels/{ChannelArn}/moderators/{ChannelModeratorArn}", 204).b(),
    op(6, "CreateChannelBan", "POST", "/channels/{ChannelArn}/bans", 201).b(),
    op(3, "DescribeChannelBan", "GET", "/channels/{ChannelArn}/bans/{MemberArn}", 200).b(),
    op(3, "ListChannelBans", "GET", "/channels/{ChannelArn}/bans", 200).b().set("ChannelBans"),
    op(4, "DeleteChannelBan", "DELETE", "/channels/{ChannelArn}/bans/{MemberArn}", 204).b(),
    op(4, "UpdateChannelReadMarker", "PUT", "/channels/{ChannelArn}/readMarker", 200).b(),
    op(3, "GetChannelMembershipPreferences", "GET", "/channels/{ChannelArn}/memberships/{MemberArn}/preferences", 200).b(),
    op(4, "PutChannelMembershipPreferences", "PUT", "/channels/{ChannelArn}/memberships/{MemberArn}/preferences", 200).b(),
    op(4, "ListChannelMembershipsForAppInstanceUser", "GET", "/channels?scope=app-instance-user-memberships", 200).b().query(OF_USER).list("ChannelMemberships"),
    op(3, "DescribeChannelMembershipForAppInstanceUser", "GET", "/channels/{ChannelArn}?scope=app-instance-user-membership", 200).b().query(OF_USER),
    op(3, "ListChannelsModeratedByAppInstanceUser", "GET", "/channels?scope=app-instance-user-moderated-channels", 200).b().query(OF_USER).list("Channels"),
    op(3, "DescribeChannelModeratedByAppInstanceUser", "GET", "/channels/{ChannelArn}?scope=app-instance-user-moderated-channel", 200).b().query(OF_USER),
    op(5, "SearchChannels", "POST", "/channels?operation=search", 200).b().list("Channels"),
    op(20, "SendChannelMessage", "POST", "/channels/{ChannelArn}/messages", 201).b(),
    op(6, "GetChannelMessage", "GET", "/channels/{ChannelArn}/messages/{MessageId}", 200).b().query(SUB),
    op(6, "ListChannelMessages", "GET", "/channels/{ChannelArn}/messages", 200).b()
        .query(&[("sort-order", "SortOrder"), ("not-before", "NotBefore"), ("not-after", "NotAfter"), ("sub-channel-id", "SubChannelId")]).list("ChannelMessages"),
    op(8, "UpdateChannelMessage", "PUT", "/channels/{ChannelArn}/messages/{MessageId}", 200).b(),
    op(5, "RedactChannelMessage", "POST", "/channels/{ChannelArn}/messages/{MessageId}?operation=redact", 200).b(),
    op(4, "DeleteChannelMessage", "DELETE", "/channels/{ChannelArn}/messages/{MessageId}", 204).b().query(SUB),
    op(4, "GetChannelMessageStatus", "GET", "/channels/{ChannelArn}/messages/{MessageId}?scope=message-status", 200).b().query(SUB),
    op(4, "CreateChannelFlow", "POST", "/channel-flows", 201),
    op(2, "DescribeChannelFlow", "GET", "/channel-flows/{ChannelFlowArn}", 200),
    op(2, "ListChannelFlows", "GET", "/channel-flows", 200).query(IN_APP_INSTANCE).list("ChannelFlows"),
    op(2, "UpdateChannelFlow", "PUT", "/channel-flows/{ChannelFlowArn}", 200),
    op(2, "DeleteChannelFlow", "DELETE", "/channel-flows/{ChannelFlowArn}", 204),
    op(4, "AssociateChannelFlow", "PUT", "/channels/{ChannelArn}/channel-flow", 200).b(),
    op(3, "DisassociateChannelFlow", "DELETE", "/channels/{ChannelArn}/channel-flow/{ChannelFlowArn}", 204).b(),
    op(2, "ListChannelsAssociatedWithChannelFlow", "GET", "/channels?scope=channel-flow-associations", 200).query(&[("channel-flow-arn", "ChannelFlowArn")]).list("Channels"),
];

/// One request: an operation, in whose name, and the members of its input by their own names.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) operation: &'static Operation,
    pub(crate) bearer: Option<String>,
    pub(crate) input: Map<String, Value>,
}

impl Request {
    /// Returns a member that is a text, or nothing.
    pub(crate) fn text(&self, member: &str) -> Option<&str> {
        self.input.get(member)?.as_str()
    }

    /// Returns a text that is not empty, or nothing.
    pub(crate) fn filled(&self, member: &str) -> Option<String> {
        self.text(member).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Returns a text that every request of the operation has.
    pub(crate) fn needed(&self, member: &str) -> &str {
        self.text(member).unwrap_or_else(|| panic!("{} has {member}", self.operation.name))
    }

    /// Returns a list of texts; empty when it is absent.
    pub(crate) fn texts(&self, member: &str) -> Vec<String> {
        let items = self.input.get(member).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Returns the request on the wire; `page` holds MaxResults and NextToken of a list.
    pub(crate) fn call(&self, page: &[(&str, &str)]) -> Call {
        let mut body = self.input.clone();
        let mut take = |member: &str| match body.remove(member) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (path, scope) = match self.operation.path.split_once('?') {
            Some((path, scope)) => (path, Some(scope.to_owned())),
            None => (self.operation.path, None),
        };
        let label = |part: &str| match part.strip_prefix('{') {
            Some(member) => encode(&take(member.trim_end_matches('}')).unwrap_or_default()),
            None => part.to_owned(),
        };
        let path = path.split('/').map(label).collect::<Vec<_>>().join("/");
        let mut query: Vec<String> = scope.into_iter().collect();
        for (name, member) in self.operation.query {
            query.extend(take(member).map(|value| format!("{name}={}", encode(&value))));
        }
        query.extend(take("NextToken").map(|token| format!("next-token={}", encode(&token))));
        query.extend(page.iter().map(|(name, value)| format!("{name}={}", encode(value))));
        let query = (!query.is_empty()).then(|| query.join("&"));
        let route = wire::route::route(self.operation.method, &path, query.as_deref());
        let bodyless = body.is_empty() && self.operation.method != "POST";
        Call {
            route: route.unwrap_or_else(|_| panic!("{} has a route", self.operation.name)),
            raw_query: query,
            body: if bodyless { Bytes::new() } else { Value::Object(body).to_string().into() },
            scope: chat::Scope::Root,
            bearer: self.bearer.clone(),
            endpoint: ENDPOINT.to_owned(),
            request_id: "rules".to_owned(),
        }
    }
}

/// What GetMessagingSessionEndpoint answers.
pub(crate) const ENDPOINT: &str = "localhost:8080";

/// Encodes a text as SDKs do in paths and queries.
fn encode(text: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.operation.name;
        match &self.bearer {
            Some(bearer) => write!(f, "{name} by {bearer}: ")?,
            None => write!(f, "{name}: ")?,
        }
        write!(f, "{}", Value::Object(self.input.clone()))
    }
}

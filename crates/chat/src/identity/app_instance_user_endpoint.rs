//! Endpoints of a user: the devices that he wants to be pushed to.
//!
//! Key: the user's uid and the id that the service made. Index: the user and a hash of the device's
//! type and token, which tells a device that is registered already without keeping its token in a
//! key. Nothing is delivered yet, so every endpoint is INACTIVE; they go with their user.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{Direction, Index, Key, Kind, Range, Record, Table, Txn, Uid};
use wire::identity::{
    AllowMessages, AppInstanceUserEndpoint as Described, AppInstanceUserEndpointSummary,
    AppInstanceUserEndpointType, DeregisterAppInstanceUserEndpoint,
    DeregisterAppInstanceUserEndpointRequest, DescribeAppInstanceUserEndpoint,
    DescribeAppInstanceUserEndpointRequest, DescribeAppInstanceUserEndpointResponse,
    EndpointAttributes, EndpointState, EndpointStatus, EndpointStatusReason,
    ListAppInstanceUserEndpoints, ListAppInstanceUserEndpointsRequest,
    ListAppInstanceUserEndpointsResponse, RegisterAppInstanceUserEndpoint,
    RegisterAppInstanceUserEndpointRequest, RegisterAppInstanceUserEndpointResponse,
    UpdateAppInstanceUserEndpoint, UpdateAppInstanceUserEndpointRequest,
    UpdateAppInstanceUserEndpointResponse,
};
use wire::time::Timestamp;

use crate::Chat;
use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::idempotency::Token;
use crate::identity::app_instance_user::{self, AppInstanceUser};
use crate::page::Walk;
use crate::{ids, limits};

pub(crate) static APP_INSTANCE_USER_ENDPOINT: Table = Table {
    name: "app_instance_user_endpoint",
    kind: Kind::Record,
    columns: &["type", "allow_messages", "created_ms"],
};

/// User, hash of type and device token; the value is the endpoint's id.
pub(crate) static APP_INSTANCE_USER_ENDPOINT_BY_DEVICE: Table =
    Table { name: "app_instance_user_endpoint_by_device", kind: Kind::Index, columns: &[] };

/// Bytes of a device's hash: far more than ten devices of one user need to be told apart.
const DEVICE_HASH_BYTES: usize = 16;

/// One endpoint.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AppInstanceUserEndpoint {
    user: Uid,
    id: Uid,
    r#type: AppInstanceUserEndpointType,
    name: Option<String>,
    resource_arn: String,
    device_token: String,
    voip_device_token: Option<String>,
    allow_messages: AllowMessages,
    created_ms: i64,
    updated_ms: i64,
}

impl Record for AppInstanceUserEndpoint {
    const TABLE: &'static Table = &APP_INSTANCE_USER_ENDPOINT;

    fn key(&self) -> Key {
        key_of(self.user, self.id)
    }

    fn indexes(&self, out: &mut Vec<Index>) {
        out.push(Index { key: self.device_key(), value: self.id.0.to_vec() });
    }
}

impl Proof for AppInstanceUserEndpoint {
    fn counted(&self) -> Vec<Key> {
        vec![limits::USER_ENDPOINTS.key(self.user)]
    }

    fn refers_to(&self) -> Vec<Uid> {
        vec![self.user]
    }
}

fn key_of(user: Uid, id: Uid) -> Key {
    Key::new(&APP_INSTANCE_USER_ENDPOINT).uid(user).uid(id)
}

impl AppInstanceUserEndpoint {
    /// A device is one type and token of one user, whatever else is said of it.
    fn device_key(&self) -> Key {
        let mut hash = Sha256::new();
        hash.update(self.r#type.as_str());
        hash.update([0]);
        hash.update(&self.device_token);
        let hash = hash.finalize();
        Key::new(&APP_INSTANCE_USER_ENDPOINT_BY_DEVICE)
            .uid(self.user)
            .raw(&hash[..DEVICE_HASH_BYTES])
    }

    fn described(self, cx: &Cx, user: &AppInstanceUser) -> Described {
        Described {
            app_instance_user_arn: Some(user.arn(cx)),
            endpoint_id: Some(ids::uuid_text(self.id)),
            name: self.name,
            r#type: Some(self.r#type),
            resource_arn: Some(self.resource_arn),
            endpoint_attributes: Some(EndpointAttributes {
                device_token: self.device_token,
                voip_device_token: self.voip_device_token,
            }),
            created_timestamp: Some(Timestamp(self.created_ms)),
            last_updated_timestamp: Some(Timestamp(self.updated_ms)),
            allow_messages: Some(self.allow_messages),
            endpoint_state: Some(state()),
        }
    }

    fn summary(self, cx: &Cx, user: &AppInstanceUser) -> AppInstanceUserEndpointSummary {
        AppInstanceUserEndpointSummary {
            app_instance_user_arn: Some(user.arn(cx)),
            endpoint_id: Some(ids::uuid_text(self.id)),
            name: self.name,
            r#type: Some(self.r#type),
            allow_messages: Some(self.allow_messages),
            endpoint_state: Some(state()),
        }
    }
}

/// No push service is reached from here, so no endpoint is ever active.
fn state() -> EndpointState {
    EndpointState {
        status: EndpointStatus::Inactive,
        status_reason: Some(EndpointStatusReason::InvalidPinpointArn),
    }
}

fn shown(name: Option<&String>) -> Option<String> {
    name.filter(|name| !name.is_empty()).cloned()
}

/// Returns the endpoint that user and id name.
///
/// # Errors
/// Forbidden when there is none: the operations model no NotFound.
async fn require(
    cx: &Cx,
    tx: &mut Txn,
    user_arn: &str,
    id: &str,
) -> Result<(AppInstanceUser, AppInstanceUserEndpoint)> {
    let user = app_instance_user::require(cx, tx, user_arn).await?;
    let id = ids::parse_uuid(id).ok_or_else(Error::forbidden)?;
    let endpoint = tx.get(&key_of(user.uid, id)).await?.ok_or_else(Error::forbidden)?;
    Ok((user, endpoint))
}

/// Removes an endpoint that was got.
pub(crate) fn remove(tx: &mut Txn, endpoint: &AppInstanceUserEndpoint) {
    tx.delete(endpoint);
    tx.add(limits::USER_ENDPOINTS.key(endpoint.user), -1, None);
}

fn new_endpoint(
    cx: &Cx,
    user: &AppInstanceUser,
    input: &RegisterAppInstanceUserEndpointRequest,
) -> AppInstanceUserEndpoint {
    let EndpointAttributes { device_token, voip_device_token } = input.endpoint_attributes.clone();
    AppInstanceUserEndpoint {
        user: user.uid,
        id: cx.new_uuid(),
        r#type: input.r#type,
        name: shown(input.name.as_ref()),
        resource_arn: input.resource_arn.clone(),
        device_token,
        voip_device_token,
        allow_messages: input.allow_messages.unwrap_or(AllowMessages::All),
        created_ms: cx.now_ms,
        updated_ms: cx.now_ms,
    }
}

impl Handle<RegisterAppInstanceUserEndpoint> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &RegisterAppInstanceUserEndpointRequest,
    ) -> Result<Reply<RegisterAppInstanceUserEndpointResponse>> {
        let user = app_instance_user::require(cx, tx, &input.app_instance_user_arn).await?;
        let app_instance_user_arn = Some(user.arn(cx));
        let answer = |id| RegisterAppInstanceUserEndpointResponse {
            app_instance_user_arn,
            endpoint_id: Some(ids::uuid_text(id)),
        };
        let token = Token::of::<RegisterAppInstanceUserEndpoint>(
            cx,
            user.uid,
            &limits::CREATE_TOKENS,
            &input.client_request_token,
            input,
        );
        if let Some(first) = token.first(tx).await?
            && tx.exists(&key_of(user.uid, first.uid)).await?
        {
            return Ok(Reply::Ready(answer(first.uid)));
        }
        let endpoint = new_endpoint(cx, &user, input);
        if tx.exists(&endpoint.device_key()).await? {
            return Err(Error::conflict("The device is registered for the user already"));
        }
        tx.set_home(user.uid);
        tx.exists(&endpoint.key()).await?;
        tx.put(&endpoint);
        let quota = limits::USER_ENDPOINTS;
        tx.add(quota.key(user.uid), 1, Some(cx.max(&quota)));
        token.remember(tx, "", endpoint.id);
        let (output, unserved) = (answer(endpoint.id), cx.place.unserved.clone());
        Ok(Reply::stamped(move |_| {
            unserved.endpoint_registered();
            output
        }))
    }
}

impl Handle<DescribeAppInstanceUserEndpoint> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DescribeAppInstanceUserEndpointRequest,
    ) -> Result<Reply<DescribeAppInstanceUserEndpointResponse>> {
        let (user, endpoint) =
            require(cx, tx, &input.app_instance_user_arn, &input.endpoint_id).await?;
        let app_instance_user_endpoint = Some(endpoint.described(cx, &user));
        Ok(Reply::Ready(DescribeAppInstanceUserEndpointResponse { app_instance_user_endpoint }))
    }
}

impl Handle<ListAppInstanceUserEndpoints> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListAppInstanceUserEndpointsRequest,
    ) -> Result<Reply<ListAppInstanceUserEndpointsResponse>> {
        let user = app_instance_user::require(cx, tx, &input.app_instance_user_arn).await?;
        let mut walk = Walk::start(
            cx,
            &[b"ListAppInstanceUserEndpoints", &user.uid.0],
            Range::prefix(Key::new(&APP_INSTANCE_USER_ENDPOINT).uid(user.uid)),
            Direction::Forward,
            input.max_results,
            input.next_token.as_deref(),
        )?;
        let mut summaries = Vec::new();
        for row in walk.take(&tx.view()).await? {
            let endpoint: AppInstanceUserEndpoint = row.decode()?;
            summaries.push(endpoint.summary(cx, &user));
        }
        Ok(Reply::Ready(ListAppInstanceUserEndpointsResponse {
            app_instance_user_endpoints: Some(summaries),
            next_token: walk.next_token(cx),
        }))
    }
}

impl Handle<UpdateAppInstanceUserEndpoint> for Chat {
    /// Changes what is given of name and AllowMessages.
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &UpdateAppInstanceUserEndpointRequest,
    ) -> Result<Reply<UpdateAppInstanceUserEndpointResponse>> {
        let (user, mut endpoint) =
            require(cx, tx, &input.app_instance_user_arn, &input.endpoint_id).await?;
        if input.name.is_some() {
            endpoint.name = shown(input.name.as_ref());
        }
        endpoint.allow_messages = input.allow_messages.unwrap_or(endpoint.allow_messages);
        endpoint.updated_ms = cx.now_ms;
        tx.set_home(user.uid);
        tx.put(&endpoint);
        Ok(Reply::Ready(UpdateAppInstanceUserEndpointResponse {
            app_instance_user_arn: Some(user.arn(cx)),
            endpoint_id: Some(input.endpoint_id.clone()),
        }))
    }
}

impl Handle<DeregisterAppInstanceUserEndpoint> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DeregisterAppInstanceUserEndpointRequest,
    ) -> Result<Reply<()>> {
        let (user, endpoint) =
            require(cx, tx, &input.app_instance_user_arn, &input.endpoint_id).await?;
        tx.set_home(user.uid);
        remove(tx, &endpoint);
        Ok(Reply::Ready(()))
    }
}

#[cfg(test)]
mod tests;

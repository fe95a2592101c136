//! App instances: the walls between applications of one account.
//!
//! Key: the id's sixteen bytes, which is also the uid of everything below; ids are made here and
//! never used again. Deleting one hides all that is below at once and purges it later.

mod retention;

use serde::{Deserialize, Serialize};
use store::{Direction, Key, Kind, Range, Record, Table, Txn, Uid};
use wire::arn::Resource;
use wire::identity::{
    AppInstance as Described, AppInstanceSummary, CreateAppInstance, CreateAppInstanceRequest,
    CreateAppInstanceResponse, DeleteAppInstance, DeleteAppInstanceRequest, DescribeAppInstance,
    DescribeAppInstanceRequest, DescribeAppInstanceResponse, ListAppInstances,
    ListAppInstancesRequest, ListAppInstancesResponse, UpdateAppInstance, UpdateAppInstanceRequest,
    UpdateAppInstanceResponse,
};
use wire::time::Timestamp;

use crate::Chat;
use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::event::{self, Effect};
use crate::history;
use crate::idempotency::Token;
use crate::identity::{self, tags};
use crate::job::{self, Doomed};
use crate::limits::{self, ACCOUNT};
use crate::page::Walk;

pub(crate) use retention::Retention;

pub(crate) static APP_INSTANCE: Table =
    Table { name: "app_instance", kind: Kind::Record, columns: &["name", "created_ms"] };

/// One app instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AppInstance {
    pub(crate) uid: Uid,
    name: String,
    metadata: Option<String>,
    created_ms: i64,
    updated_ms: i64,
    /// How long its messages are kept, once that was ever said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retention: Option<Retention>,
}

impl Record for AppInstance {
    const TABLE: &'static Table = &APP_INSTANCE;

    fn key(&self) -> Key {
        Self::key_of(self.uid)
    }
}

impl Proof for AppInstance {
    fn counted(&self) -> Vec<Key> {
        vec![limits::APP_INSTANCES.key(ACCOUNT)]
    }

    fn refers_to(&self) -> Vec<Uid> {
        Vec::new()
    }

    fn uid(&self) -> Option<Uid> {
        Some(self.uid)
    }

    fn gone_before_ms(&self, now_ms: i64) -> i64 {
        self.retention.map_or(0, |retention| retention.gone_before_ms(now_ms))
    }
}

impl AppInstance {
    /// Returns the app instance that a history names.
    pub(crate) fn imported(uid: Uid, line: &history::AppInstance) -> Self {
        Self {
            uid,
            name: line.name.clone(),
            metadata: line.metadata.clone(),
            created_ms: line.created.0,
            updated_ms: line.updated.unwrap_or(line.created).0,
            retention: None,
        }
    }

    pub(crate) fn key_of(uid: Uid) -> Key {
        Key::new(&APP_INSTANCE).uid(uid)
    }
}

/// Returns the live app instance that `arn` names.
///
/// # Errors
/// BadRequest when it is the ARN of something else, Forbidden when there is none.
pub(crate) async fn require(cx: &Cx, tx: &mut Txn, arn: &str) -> Result<AppInstance> {
    let (uid, resource) = cx.parse_arn(arn).ok_or_else(Error::forbidden)?;
    if resource != Resource::AppInstance {
        return Err(Error::bad_request("The ARN does not name an app instance"));
    }
    tx.get(&AppInstance::key_of(uid)).await?.ok_or_else(Error::forbidden)
}

impl Handle<CreateAppInstance> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &CreateAppInstanceRequest,
    ) -> Result<Reply<CreateAppInstanceResponse>> {
        let answer = |uid| {
            Reply::Ready(CreateAppInstanceResponse {
                app_instance_arn: Some(cx.app_instance_arn(uid)),
            })
        };
        let life = &limits::CREATE_TOKENS;
        let token = &input.client_request_token;
        let token = Token::of::<CreateAppInstance>(cx, ACCOUNT, life, token, input);
        if let Some(first) = token.first(tx).await?
            && tx.exists(&AppInstance::key_of(first.uid)).await?
        {
            return Ok(answer(first.uid));
        }
        let instance = AppInstance {
            uid: cx.new_uuid(),
            name: input.name.clone(),
            metadata: identity::metadata(input.metadata.as_deref()),
            created_ms: cx.now_ms,
            updated_ms: cx.now_ms,
            retention: None,
        };
        tx.set_home(instance.uid);
        tx.get::<AppInstance>(&instance.key()).await?;
        tx.put(&instance);
        tags::attach(cx, tx, instance.uid, input.tags.as_deref().map(tags::of_identity))?;
        tx.add(limits::APP_INSTANCES.key(ACCOUNT), 1, Some(cx.max(&limits::APP_INSTANCES)));
        token.remember(tx, "", instance.uid);
        Ok(answer(instance.uid))
    }
}

impl Handle<DescribeAppInstance> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DescribeAppInstanceRequest,
    ) -> Result<Reply<DescribeAppInstanceResponse>> {
        let instance = require(cx, tx, &input.app_instance_arn).await?;
        Ok(Reply::Ready(DescribeAppInstanceResponse {
            app_instance: Some(Described {
                app_instance_arn: Some(cx.app_instance_arn(instance.uid)),
                name: Some(instance.name),
                metadata: instance.metadata,
                created_timestamp: Some(Timestamp(instance.created_ms)),
                last_updated_timestamp: Some(Timestamp(instance.updated_ms)),
            }),
        }))
    }
}

impl Handle<ListAppInstances> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListAppInstancesRequest,
    ) -> Result<Reply<ListAppInstancesResponse>> {
        let range = Range::prefix(Key::new(&APP_INSTANCE));
        let token = input.next_token.as_deref();
        let mut walk = Walk::start(
            cx,
            &[b"ListAppInstances"],
            range,
            Direction::Forward,
            input.max_results,
            token,
        )?;
        let mut summaries = Vec::new();
        for row in walk.take(&tx.view()).await? {
            let instance: AppInstance = row.decode()?;
            summaries.push(AppInstanceSummary {
                app_instance_arn: Some(cx.app_instance_arn(instance.uid)),
                name: Some(instance.name),
                metadata: instance.metadata,
            });
        }
        Ok(Reply::Ready(ListAppInstancesResponse {
            app_instances: Some(summaries),
            next_token: walk.next_token(cx),
        }))
    }
}

impl Handle<UpdateAppInstance> for Chat {
    /// Replaces name and metadata, both of which a request must have.
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &UpdateAppInstanceRequest,
    ) -> Result<Reply<UpdateAppInstanceResponse>> {
        let mut instance = require(cx, tx, &input.app_instance_arn).await?;
        instance.name.clone_from(&input.name);
        instance.metadata = identity::metadata(Some(&input.metadata));
        instance.updated_ms = cx.now_ms;
        tx.set_home(instance.uid);
        tx.put(&instance);
        Ok(Reply::Ready(UpdateAppInstanceResponse {
            app_instance_arn: Some(cx.app_instance_arn(instance.uid)),
        }))
    }
}

impl Handle<DeleteAppInstance> for Chat {
    async fn handle(cx: &Cx, tx: &mut Txn, input: &DeleteAppInstanceRequest) -> Result<Reply<()>> {
        let instance = require(cx, tx, &input.app_instance_arn).await?;
        tx.set_home(instance.uid);
        tx.delete(&instance);
        tx.add(limits::APP_INSTANCES.key(ACCOUNT), -1, None);
        job::purge(cx, tx, Doomed::AppInstance, instance.uid);
        tx.emit(event::internal(Effect::AppInstanceGone { app_instance: instance.uid }));
        Ok(Reply::Ready(()))
    }
}

#[cfg(test)]
mod tests;

//! Bots of an app instance.
//!
//! Key: app instance and the id that the service made. A bot is a principal as a user is; everything
//! below it is keyed by its uid, and goes with it as what is below a user does. What a bot answers
//! is Lex's affair; here its configuration is kept and checked (`app_instance_bot/lex.rs`).

mod lex;

use serde::{Deserialize, Serialize};
use store::{Direction, Key, Range, Record, Table, Txn, Uid};
use wire::arn::Resource;
use wire::identity::{
    AppInstanceBot as Described, AppInstanceBotSummary, CreateAppInstanceBot,
    CreateAppInstanceBotRequest, CreateAppInstanceBotResponse, DeleteAppInstanceBot,
    DeleteAppInstanceBotRequest, DescribeAppInstanceBot, DescribeAppInstanceBotRequest,
    DescribeAppInstanceBotResponse, ListAppInstanceBots, ListAppInstanceBotsRequest,
    ListAppInstanceBotsResponse, UpdateAppInstanceBot, UpdateAppInstanceBotRequest,
    UpdateAppInstanceBotResponse,
};
use wire::time::Timestamp;

use crate::Chat;
use crate::check::Proof;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::idempotency::Token;
use crate::identity::app_instance::{self, AppInstance};
use crate::identity::{self, app_instance_admin, tags};
use crate::job::{self, Doomed};
use crate::page::Walk;
use crate::principal::{Kind, Principal};
use crate::{ids, limits};

use lex::Lex;

pub(crate) static APP_INSTANCE_BOT: Table = Table {
    name: "app_instance_bot",
    kind: store::Kind::Record,
    columns: &["id", "name", "uid", "created_ms"],
};

/// One bot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AppInstanceBot {
    app_instance: Uid,
    id: String,
    pub(crate) uid: Uid,
    /// Empty when none was given.
    name: String,
    metadata: Option<String>,
    lex: Lex,
    created_ms: i64,
    updated_ms: i64,
}

impl Record for AppInstanceBot {
    const TABLE: &'static Table = &APP_INSTANCE_BOT;

    fn key(&self) -> Key {
        Self::key_of(self.app_instance, &self.id)
    }
}

impl Proof for AppInstanceBot {
    fn counted(&self) -> Vec<Key> {
        vec![limits::APP_INSTANCE_BOTS.key(self.app_instance)]
    }

    fn refers_to(&self) -> Vec<Uid> {
        vec![self.app_instance]
    }

    fn uid(&self) -> Option<Uid> {
        Some(self.uid)
    }
}

impl AppInstanceBot {
    pub(crate) fn key_of(app_instance: Uid, id: &str) -> Key {
        Key::new(&APP_INSTANCE_BOT).uid(app_instance).text(id)
    }

    pub(crate) fn into_principal(self) -> Principal {
        Principal { uid: self.uid, kind: Kind::Bot, id: self.id, name: self.name }
    }

    /// Whether a STANDARD message to everybody that mentions the bot calls it.
    pub(crate) fn hears_mentions(&self) -> bool {
        self.lex.hears_mentions()
    }

    /// Whether a STANDARD message that is for the bot alone calls it.
    pub(crate) fn hears_targeted(&self) -> bool {
        self.lex.hears_targeted()
    }

    fn arn(&self, cx: &Cx) -> String {
        cx.principal_arn(self.app_instance, Kind::Bot, &self.id)
    }

    fn shown_name(&self) -> Option<String> {
        (!self.name.is_empty()).then(|| self.name.clone())
    }
}

/// Returns the live bot that `arn` names as the resource of a request, if there is one.
///
/// # Errors
/// BadRequest when it is the ARN of something else, Forbidden when its app instance is not there.
async fn find(cx: &Cx, tx: &mut Txn, arn: &str) -> Result<Option<AppInstanceBot>> {
    let (app_instance, resource) = cx.parse_arn(arn).ok_or_else(Error::forbidden)?;
    let Resource::Bot(id) = resource else {
        return Err(Error::bad_request("The ARN does not name an app instance bot"));
    };
    let keys = [AppInstance::key_of(app_instance), AppInstanceBot::key_of(app_instance, &id)];
    tx.load(&keys).await?;
    if !tx.exists(&keys[0]).await? {
        return Err(Error::forbidden());
    }
    Ok(tx.get(&keys[1]).await?)
}

/// Like [`find`], for the operations that model no NotFound.
///
/// # Errors
/// Those of [`find`], and Forbidden when there is no such bot.
pub(crate) async fn require(cx: &Cx, tx: &mut Txn, arn: &str) -> Result<AppInstanceBot> {
    find(cx, tx, arn).await?.ok_or_else(Error::forbidden)
}

/// Removes a bot that was got, and leaves what is below it to a job.
pub(crate) fn remove(cx: &Cx, tx: &mut Txn, bot: &AppInstanceBot) {
    let app_instance = bot.app_instance;
    tx.delete(bot);
    tx.add(limits::APP_INSTANCE_BOTS.key(app_instance), -1, None);
    job::purge(cx, tx, Doomed::AppInstanceBot { app_instance }, bot.uid);
}

impl Handle<CreateAppInstanceBot> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &CreateAppInstanceBotRequest,
    ) -> Result<Reply<CreateAppInstanceBotResponse>> {
        let app_instance = app_instance::require(cx, tx, &input.app_instance_arn).await?.uid;
        let answer = |id: &str| {
            let app_instance_bot_arn = Some(cx.principal_arn(app_instance, Kind::Bot, id));
            Reply::Ready(CreateAppInstanceBotResponse { app_instance_bot_arn })
        };
        let token = Token::of::<CreateAppInstanceBot>(
            cx,
            app_instance,
            &limits::CREATE_TOKENS,
            &input.client_request_token,
            input,
        );
        if let Some(first) = token.first(tx).await?
            && tx.exists(&AppInstanceBot::key_of(app_instance, &first.resource)).await?
        {
            // The service never makes an id again, so this is the same bot.
            return Ok(answer(&first.resource));
        }
        let bot = AppInstanceBot {
            app_instance,
            id: ids::uuid_text(cx.new_uuid()),
            uid: cx.new_uid(),
            name: input.name.clone().unwrap_or_default(),
            metadata: identity::metadata(input.metadata.as_deref()),
            lex: Lex::checked(&input.configuration.lex)?,
            created_ms: cx.now_ms,
            updated_ms: cx.now_ms,
        };
        tx.set_home(app_instance);
        tx.exists(&bot.key()).await?;
        tx.put(&bot);
        tags::attach(tx, bot.uid, input.tags.as_deref().map(tags::of_identity))?;
        let quota = limits::APP_INSTANCE_BOTS;
        tx.add(quota.key(app_instance), 1, Some(cx.max(&quota)));
        token.remember(tx, &bot.id, bot.uid);
        Ok(answer(&bot.id))
    }
}

impl Handle<DescribeAppInstanceBot> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DescribeAppInstanceBotRequest,
    ) -> Result<Reply<DescribeAppInstanceBotResponse>> {
        let bot = find(cx, tx, &input.app_instance_bot_arn).await?;
        let bot = bot.ok_or_else(|| Error::not_found("app instance bot"))?;
        Ok(Reply::Ready(DescribeAppInstanceBotResponse {
            app_instance_bot: Some(Described {
                app_instance_bot_arn: Some(bot.arn(cx)),
                name: bot.shown_name(),
                configuration: Some(bot.lex.described()),
                created_timestamp: Some(Timestamp(bot.created_ms)),
                last_updated_timestamp: Some(Timestamp(bot.updated_ms)),
                metadata: bot.metadata,
            }),
        }))
    }
}

impl Handle<ListAppInstanceBots> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &ListAppInstanceBotsRequest,
    ) -> Result<Reply<ListAppInstanceBotsResponse>> {
        let app_instance = app_instance::require(cx, tx, &input.app_instance_arn).await?.uid;
        let mut walk = Walk::start(
            cx,
            &[b"ListAppInstanceBots", &app_instance.0],
            Range::prefix(Key::new(&APP_INSTANCE_BOT).uid(app_instance)),
            Direction::Forward,
            input.max_results,
            input.next_token.as_deref(),
        )?;
        let mut summaries = Vec::new();
        for row in walk.take(&tx.view()).await? {
            let bot: AppInstanceBot = row.decode()?;
            summaries.push(AppInstanceBotSummary {
                app_instance_bot_arn: Some(bot.arn(cx)),
                name: bot.shown_name(),
                metadata: bot.metadata,
            });
        }
        Ok(Reply::Ready(ListAppInstanceBotsResponse {
            app_instance_arn: Some(cx.app_instance_arn(app_instance)),
            app_instance_bots: Some(summaries),
            next_token: walk.next_token(cx),
        }))
    }
}

impl Handle<UpdateAppInstanceBot> for Chat {
    /// Replaces name and metadata, both of which a request must have, and the configuration if one
    /// is given.
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &UpdateAppInstanceBotRequest,
    ) -> Result<Reply<UpdateAppInstanceBotResponse>> {
        let mut bot = require(cx, tx, &input.app_instance_bot_arn).await?;
        if let Some(configuration) = &input.configuration {
            bot.lex = Lex::checked(&configuration.lex)?;
        }
        bot.name.clone_from(&input.name);
        bot.metadata = identity::metadata(Some(&input.metadata));
        bot.updated_ms = cx.now_ms;
        tx.set_home(bot.uid);
        tx.put(&bot);
        let app_instance_bot_arn = Some(bot.arn(cx));
        Ok(Reply::Ready(UpdateAppInstanceBotResponse { app_instance_bot_arn }))
    }
}

impl Handle<DeleteAppInstanceBot> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DeleteAppInstanceBotRequest,
    ) -> Result<Reply<()>> {
        let bot = require(cx, tx, &input.app_instance_bot_arn).await?;
        app_instance_admin::remove_of(tx, bot.app_instance, bot.uid).await?;
        tx.set_home(bot.uid);
        remove(cx, tx, &bot);
        Ok(Reply::Ready(()))
    }
}

#[cfg(test)]
mod tests;

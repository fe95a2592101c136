//! The engines that a job can be run on, opened in this process or named to a server.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use chat::Chat;
use clap::{Args, ValueEnum};
use serde_json::Value;
use store::{Engine, SystemClock, SystemEntropy};
use tokio::sync::mpsc;

use crate::cpu::Whose;
use crate::world::{Api, Request};

/// Groups of events that may wait in the sink, as in the server.
const SINK_GROUPS_MAX: usize = 64;
/// Where the world is, as the server says by default.
const REGION: &str = "us-east-1";
const ACCOUNT: &str = "000000000000";

/// The kinds of engine.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Sqlite,
    Memory,
    Postgres,
}

/// Which engine a job runs on.
#[derive(Args, Clone)]
pub(crate) struct Choice {
    /// The engine under the rules and under the server.
    #[arg(long, value_enum, default_value = "sqlite")]
    engine: Kind,
    /// An empty database for the engine postgres, which the bare engine and the server share.
    #[arg(long, required_if_eq("engine", "postgres"))]
    database_url: Option<String>,
}

impl Choice {
    /// Returns the embedded engine, which is the default.
    pub(crate) fn sqlite() -> Choice {
        Choice { engine: Kind::Sqlite, database_url: None }
    }

    /// Whether the engine is a folder of one process.
    pub(crate) fn is_embedded(&self) -> bool {
        self.engine == Kind::Sqlite
    }

    /// Whether several processes can see the same rows.
    pub(crate) fn is_kept(&self) -> bool {
        self.engine != Kind::Memory
    }

    /// Returns the engine that keeps nothing.
    pub(crate) fn memory() -> Choice {
        Choice { engine: Kind::Memory, database_url: None }
    }

    /// Returns the engine that nodes share.
    pub(crate) fn postgres(database_url: &str) -> Choice {
        Choice { engine: Kind::Postgres, database_url: Some(database_url.to_owned()) }
    }

    /// Returns the name for headings.
    pub(crate) fn name(&self) -> &'static str {
        match self.engine {
            Kind::Sqlite => "sqlite",
            Kind::Memory => "memory",
            Kind::Postgres => "postgres",
        }
    }

    fn url(&self) -> &str {
        self.database_url.as_deref().unwrap_or_default()
    }

    /// Returns the flags by which a server uses this engine.
    pub(crate) fn flags(&self, folder: &Path) -> Vec<String> {
        let (flag, place) = match self.engine {
            Kind::Sqlite => ("--data-dir", folder.display().to_string()),
            Kind::Memory => ("--data-dir", ":memory:".to_owned()),
            Kind::Postgres => ("--database-url", self.url().to_owned()),
        };
        vec![flag.to_owned(), place]
    }

    /// Returns the processes of the engine besides the one that uses it.
    pub(crate) fn processes(&self) -> Option<Whose> {
        (self.engine == Kind::Postgres).then_some(Whose::Named("postgres"))
    }

    /// Opens the engine in this process. Somebody reads its events, as the relay does.
    pub(crate) async fn open(&self, folder: &Path) -> Result<Arc<dyn Engine>> {
        let (sink, mut events) = mpsc::channel(SINK_GROUPS_MAX);
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        let options = store::Options {
            tables: chat::tables(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            sink: Some(sink),
        };
        match self.engine {
            Kind::Sqlite => store::sqlite::open(folder, options).context("cannot open the store"),
            Kind::Memory => Ok(store::memory::open(options)),
            Kind::Postgres => {
                let config = store::postgres::Config::new(self.url());
                let opened = store::postgres::open(&config, options).await;
                opened.context("cannot open the database")
            }
        }
    }
}

/// The rules in this process.
#[derive(Clone)]
pub(crate) struct Rules(Chat);

impl Rules {
    pub(crate) async fn open(engine: Arc<dyn Engine>) -> Result<Rules> {
        Rules::open_with(engine, chat::Quotas::default()).await
    }

    pub(crate) async fn open_with(engine: Arc<dyn Engine>, quotas: chat::Quotas) -> Result<Rules> {
        let options = chat::Options {
            region: REGION.to_owned(),
            account: ACCOUNT.to_owned(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            resume_window_ms: chat::RESUME_WINDOW_MS,
            quotas,
        };
        Ok(Rules(Chat::open(engine, options).await?))
    }

    pub(crate) fn chat(&self) -> &Chat {
        &self.0
    }

    /// Does what follows the signature's check.
    pub(crate) async fn answer(&self, request: &Request) -> Result<Vec<u8>> {
        let call = chat::Call {
            route: wire::route::route(request.method, &request.path, request.query.as_deref())?,
            scope: chat::Scope::Root,
            raw_query: request.query.clone(),
            body: request.body.clone().into(),
            bearer: request.bearer.clone(),
            endpoint: String::new(),
            request_id: String::new(),
        };
        let answer = self.0.call(call).await;
        Ok(answer.with_context(|| format!("{} {}", request.method, request.path))?.body)
    }
}

impl Api for Rules {
    async fn call(&mut self, request: &Request) -> Result<Value> {
        let body = self.answer(request).await?;
        Ok(if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? })
    }
}

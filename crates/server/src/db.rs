//! Looks into a store that nobody serves: `campanile db`, and `campanile credentials`.
//!
//! Invariant: it takes the folder's lock like a server, so that it never reads beside a writer,
//! and makes no folder where there is none. Nobody locks a shared database: what nodes write
//! meanwhile may show as findings.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use chat::{Chat, Report};
use store::sqlite::DATABASE_FILE;
use store::{Engine, SystemClock, SystemEntropy};

use crate::config::{Config, Data};

/// What scripts see of a store that does not fit together.
const EXIT_FINDINGS: u8 = 1;

/// Checks the store and prints what does not fit together.
pub(crate) fn check(config: &Config) -> anyhow::Result<ExitCode> {
    let report =
        with_chat(config, async |chat| chat.check().await.context("cannot read the store"))?;
    print(&report).context("cannot write to stdout")?;
    Ok(match report.finding_count {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_FINDINGS),
    })
}

/// Opens the store for `work` and closes it again.
pub(crate) fn with_chat<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Chat) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let options = store::Options {
            tables: chat::tables(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            sink: None,
        };
        let engine = open(config, options).await?;
        let place = chat::Options {
            region: config.region.clone(),
            account: config.account_id.clone(),
            clock,
            entropy,
            quotas: config.quotas.clone(),
            resume_window_ms: config.resume_window_ms,
        };
        let opened = Chat::open(engine.clone(), place).await.context("cannot use the store");
        let outcome = match opened {
            Ok(chat) => work(&chat).await,
            Err(error) => Err(error),
        };
        engine.close().await;
        outcome
    })
}

async fn open(config: &Config, options: store::Options) -> anyhow::Result<Arc<dyn Engine>> {
    if let Some(database) = &config.database {
        let engine = store::postgres::open(&database.engine(), options).await;
        return engine.context("cannot open the shared store");
    }
    let Data::Folder(folder) = &config.data else {
        return Err(anyhow!("a memory store ends with its server; there is nothing to open"));
    };
    ensure!(folder.join(DATABASE_FILE).is_file(), "{} holds no store", folder.display());
    store::sqlite::open(folder, options)
        .with_context(|| format!("cannot open the store in {}", folder.display()))
}

fn print(report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for finding in &report.findings {
        writeln!(out, "{} {}: {}", finding.table, finding.key, finding.problem)?;
    }
    writeln!(out, "{} rows checked, {} findings", report.row_count, report.finding_count)?;
    out.flush()
}

//! `campanile db export`, `import` and `backup`: a store as a file, and back.
//!
//! Invariants: standard output carries nothing but the export, what is told of it goes to standard
//! error; an export is one snapshot; an import shows nothing before it is whole. Both hold the lock
//! of a folder, a backup holds none: it may be made while a server runs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use chat::history::{History, Place};
use store::moving::{FileError, Header, Lines, Pages, Progress, Reader, Source, Target};
use store::sqlite::DATABASE_FILE;
use store::{Clock as _, SystemClock, SystemEntropy, Table};
use wire::time::Timestamp;

use crate::config::{Config, Data};

/// How often it is told how far it is.
const TICK: Duration = Duration::from_secs(1);

/// Writes the whole store to a file, or to standard output.
pub(crate) fn export(config: &Config, to: Option<PathBuf>) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut source = open_source(config).await?;
        let made_for = chat::made_for(&mut *source).await.context("cannot read the store")?;
        let (region, account) = made_for.context("the store holds nothing: no server used it")?;
        let now_ms = i64::try_from(SystemClock.now_ms())?;
        let exported = Timestamp::from_ms(now_ms).to_iso();
        let header = Header::new(region, account, env!("CARGO_PKG_VERSION").into(), exported);
        let out = Output::open(to)?;
        let progress = Arc::new(Progress::default());
        let mut report = Report::new(Arc::clone(&progress));
        let written = out.writer()?;
        let tables = tables();
        let moved =
            store::moving::export(&mut *source, &tables, header, written, &progress, || {
                report.tick();
            });
        moved.await.context("the store cannot be exported")?;
        out.keep()?;
        report.end("exported");
        Ok(())
    })
}

/// Makes a store from a file, or from standard input.
pub(crate) fn import(config: &Config, from: Option<PathBuf>) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let progress = Arc::new(Progress::default());
        // Refused before anything is made: a file that is none of ours.
        let pages = open_pages(config, from, &progress)?;
        let target = open_target(config).await?;
        let mut report = Report::new(Arc::clone(&progress));
        let moved = store::moving::import(pages, target, &progress, || report.tick());
        moved.await.context("the store cannot be imported")?;
        report.end("imported");
        Ok(())
    })
}

/// Copies the embedded database.
pub(crate) fn backup(config: &Config, to: &Path) -> anyhow::Result<()> {
    let folder = folder(config)?;
    ensure!(
        config.database.is_none(),
        "db backup copies the embedded database; of PostgreSQL take pg_dump"
    );
    let begun = Instant::now();
    let mut told = begun;
    let mut size = 0;
    let copied = store::sqlite::backup(folder, to, |done, all| {
        size = all;
        if told.elapsed() >= TICK {
            told = Instant::now();
            say(&format!("{:.1} of {:.1} MiB", mib(done), mib(all)));
        }
    });
    copied.context("no backup is made")?;
    let took = begun.elapsed().as_secs_f64();
    say(&format!("backup of {:.1} MiB made in {took:.1} s", mib(size)));
    Ok(())
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn tables() -> Vec<&'static Table> {
    store::table::with_builtin(&chat::tables())
}

fn folder(config: &Config) -> anyhow::Result<&Path> {
    match &config.data {
        Data::Folder(folder) => Ok(folder),
        Data::Memory => Err(anyhow!("a memory store ends with its server; there is nothing of it")),
    }
}

async fn open_source(config: &Config) -> anyhow::Result<Box<dyn Source>> {
    if let Some(database) = &config.database {
        let source = store::postgres::export(&database.engine(), &tables()).await;
        return source
            .context("cannot open the shared store")?
            .context("the database holds no store");
    }
    let folder = folder(config)?;
    ensure!(folder.join(DATABASE_FILE).is_file(), "{} holds no store", folder.display());
    let source = store::sqlite::export(folder, tables());
    source.with_context(|| {
        let folder = folder.display();
        format!("cannot open the store in {folder} (of one that is served, export a `db backup`)")
    })
}

async fn open_target(config: &Config) -> anyhow::Result<Box<dyn Target>> {
    if let Some(database) = &config.database {
        let target = store::postgres::import(&database.engine(), &tables()).await;
        return target.context("cannot import into the shared store");
    }
    let folder = folder(config)?;
    let target = store::sqlite::import(folder, tables());
    target.with_context(|| format!("cannot import into {}", folder.display()))
}

/// Opens a file of either form.
fn open_pages(
    config: &Config,
    from: Option<PathBuf>,
    progress: &Arc<Progress>,
) -> anyhow::Result<Box<dyn Pages>> {
    let input: Box<dyn Read + Send> = match from {
        Some(path) => {
            let opened = File::open(&path);
            Box::new(opened.with_context(|| format!("cannot read {}", path.display()))?)
        }
        None => Box::new(io::stdin()),
    };
    let mut lines = Lines::new(input, Arc::clone(progress));
    if !lines.advance()? {
        return Err(FileError::Cut.into());
    }
    match Reader::begin(lines, tables())? {
        Ok((reader, _)) => Ok(Box::new(reader)),
        Err(lines) => {
            let place = Place {
                region: config.region.clone(),
                account: config.account_id.clone(),
                now_ms: i64::try_from(SystemClock.now_ms())?,
                entropy: Arc::new(SystemEntropy),
            };
            Ok(Box::new(History::begin(lines, place)?))
        }
    }
}

/// Where an export goes.
struct Output {
    /// None for standard output. Its file goes unless it is kept.
    path: Option<PathBuf>,
    file: Option<File>,
}

impl Output {
    fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            if io::stdout().is_terminal() {
                bail!("an export holds secrets and is long: name a file with --output");
            }
            return Ok(Self { path: None, file: None });
        };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file =
            options.open(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path: Some(path), file: Some(file) })
    }

    fn writer(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match &self.file {
            Some(file) => Box::new(file.try_clone()?),
            None => Box::new(io::stdout()),
        })
    }

    /// Lets the file stay, once it is on the disk.
    fn keep(mut self) -> anyhow::Result<()> {
        if let Some(file) = &self.file {
            file.sync_all().context("the export cannot be written")?;
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What cannot be removed has no last line and is refused by an import.
            fs::remove_file(path).unwrap_or_default();
        }
    }
}

/// Tells how far it is, once a second.
struct Report {
    progress: Arc<Progress>,
    begun: Instant,
    told: Instant,
}

impl Report {
    fn new(progress: Arc<Progress>) -> Self {
        let begun = Instant::now();
        Self { progress, begun, told: begun }
    }

    fn tick(&mut self) {
        if self.told.elapsed() >= TICK {
            self.told = Instant::now();
            say(&self.line());
        }
    }

    fn end(&self, what: &str) {
        say(&format!("{what} {} in {:.1} s", self.line(), self.begun.elapsed().as_secs_f64()));
    }

    fn line(&self) -> String {
        let rows = self.progress.rows.load(Ordering::Relaxed);
        let bytes = self.progress.bytes.load(Ordering::Relaxed);
        let per_second =
            u64::try_from(u128::from(rows) * 1_000 / self.begun.elapsed().as_millis().max(1));
        let per_second = per_second.unwrap_or(u64::MAX);
        format!("{rows} rows, {:.1} MiB, {per_second} rows/s", mib(bytes))
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is shown with one decimal")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn say(line: &str) {
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(io::stderr(), "campanile: {line}");
}

//! Moving house: every row of a store as a stream of lines, and back into an empty store of any
//! engine.
//!
//! `format` writes and `read` reads the lines, which docs/moving.md describes; each engine has a
//! `Source` and a `Target`. Invariants: a source shows one snapshot; a target shows nothing until
//! its `finish`, and one that is dropped before leaves an empty place; no more than a few pages are
//! in memory, however large the store.

mod format;
mod hex;
mod lines;
mod read;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::engine::{BoxFuture, Entry, Unavailable};
use crate::key::Key;
use crate::range::Range;
use crate::table::Table;

pub use format::{Header, Totals, VERSION};
pub use lines::{FileError, Lines};
pub use read::Reader;

use format::Writer;

/// The number of the format of rows that this release writes, on every engine.
pub const STORE_FORMAT: u32 = 1;
/// Rows of one page of a source.
const PAGE_ROWS: usize = 1_024;
/// Pages that wait between the thread of the file and the database.
const PAGES_WAITING: usize = 4;

/// Rows of one table, in any order.
pub struct Page {
    /// The table.
    pub table: &'static Table,
    /// The rows, each as an engine would return it.
    pub rows: Vec<Entry>,
}

/// Reads the rows of a store as of one snapshot.
pub trait Source: Send {
    /// Returns at most `limit` rows of the range, in the order of their keys.
    fn rows<'a>(
        &'a mut self,
        range: &'a Range,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, Unavailable>>;
}

/// Writes rows into a store that nobody else sees yet. Dropped before its end, it undoes all.
pub trait Target: Send {
    /// Writes rows that are not there yet.
    fn write(&mut self, page: Page) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Makes everything durable, then visible.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), Unavailable>>;
}

/// Gives the pages of a file that is brought in.
pub trait Pages: Send {
    /// Returns the next page; none at the end, once the file has proved to be whole.
    fn next(&mut self) -> Result<Option<Page>, FileError>;
}

/// How far it is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Rows that the database has read or written.
    pub rows: AtomicU64,
    /// Bytes of the file.
    pub bytes: AtomicU64,
}

/// Why nothing was moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Unavailable),
    /// The file cannot be written.
    #[error("the file cannot be written")]
    Write(#[source] io::Error),
    /// The file is of no use.
    #[error(transparent)]
    File(#[from] FileError),
    /// A thread ended without an answer.
    #[error("the export was interrupted")]
    Interrupted,
}

/// Writes every row of `tables` to `out`; `tick` is called after each page.
pub async fn export<W: Write + Send + 'static>(
    source: &mut dyn Source,
    tables: &[&'static Table],
    header: Header,
    out: W,
    progress: &Arc<Progress>,
    mut tick: impl FnMut(),
) -> Result<Totals, MoveError> {
    let (pages, waiting) = mpsc::channel(PAGES_WAITING);
    let shared = Arc::clone(progress);
    let writer = start("export-file", move || write_pages(out, &header, waiting, &shared));
    let writer = writer.map_err(MoveError::Write)?;
    let read = send_all(source, tables, &pages, progress, &mut tick).await;
    drop(pages);
    // What the writer says comes first: a full disk also ends the reading.
    let written = join(writer)?;
    read?;
    written.map_err(MoveError::Write)?.ok_or(MoveError::Interrupted)
}

/// Hands on every page, and in the end that there are no more.
async fn send_all(
    source: &mut dyn Source,
    tables: &[&'static Table],
    pages: &mpsc::Sender<Option<Page>>,
    progress: &Progress,
    tick: &mut impl FnMut(),
) -> Result<(), MoveError> {
    for &table in tables {
        let mut range = Range::prefix(Key::new(table));
        loop {
            let rows = source.rows(&range, PAGE_ROWS).await?;
            let Some(last) = rows.last() else { break };
            range = range.after(&last.key);
            progress.rows.fetch_add(count(rows.len()), Ordering::Relaxed);
            if pages.send(Some(Page { table, rows })).await.is_err() {
                // The writer has ended and tells why.
                return Ok(());
            }
            tick();
        }
    }
    // Without this word the file gets no last line.
    pages.send(None).await.unwrap_or_default();
    Ok(())
}

fn write_pages<W: Write>(
    out: W,
    header: &Header,
    mut waiting: mpsc::Receiver<Option<Page>>,
    progress: &Progress,
) -> io::Result<Option<Totals>> {
    let mut writer = Writer::begin(out, header)?;
    while let Some(page) = waiting.blocking_recv() {
        let Some(Page { table, rows }) = page else { return writer.finish().map(Some) };
        writer.rows(table, &rows)?;
        progress.bytes.store(writer.bytes(), Ordering::Relaxed);
    }
    Ok(None)
}

/// Brings every page into `target`; `tick` is called after each.
pub async fn import(
    mut pages: Box<dyn Pages>,
    mut target: Box<dyn Target>,
    progress: &Progress,
    mut tick: impl FnMut(),
) -> Result<(), MoveError> {
    let (found, mut waiting) = mpsc::channel(PAGES_WAITING);
    let reader = start("import-file", move || {
        loop {
            let page = pages.next();
            let is_last = !matches!(page, Ok(Some(_)));
            if found.blocking_send(page).is_err() || is_last {
                break;
            }
        }
    });
    let reader = reader.map_err(|cause| MoveError::File(FileError::Read(cause)))?;
    let outcome = loop {
        match waiting.recv().await {
            Some(Ok(Some(page))) => {
                let row_count = count(page.rows.len());
                if let Err(cause) = target.write(page).await {
                    break Err(cause.into());
                }
                progress.rows.fetch_add(row_count, Ordering::Relaxed);
                tick();
            }
            Some(Ok(None)) => break Ok(()),
            Some(Err(problem)) => break Err(problem.into()),
            None => break Err(MoveError::Interrupted),
        }
    };
    // A file that is still being read may wait for its next byte for ever: it is left alone then.
    drop(waiting);
    outcome?;
    join(reader)?;
    Ok(target.finish().await?)
}

fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.into()).spawn(work)
}

fn join<T>(thread: JoinHandle<T>) -> Result<T, MoveError> {
    thread.join().map_err(|_| MoveError::Interrupted)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

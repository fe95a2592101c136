//! The embedded engine: one SQLite database in one folder, of one process.
//!
//! `writer` commits groups on its own thread, `reader` serves snapshots, `schema` makes the file,
//! `crate::queue` stands between callers and writer. Invariants: one process at a time holds the
//! folder's lock; a commit is acknowledged after its fsync; a read sees all that was acknowledged
//! before it began.

mod backup;
mod moving;
mod reader;
mod schema;
mod writer;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use crate::engine::{Batch, BoxFuture, Engine, Entry, Event, Failure, Options, Unavailable};
use crate::figures::{Figures, Tally};
use crate::id::{Stamp, Uid};
use crate::key::Key;
use crate::publish::Publisher;
use crate::queue::{self, Job, Queue};
use crate::range::{Direction, Range};

pub use backup::{BackupError, backup};
pub use moving::{export, import};

use reader::Readers;
#[cfg(test)]
pub(crate) use schema::FORMAT;
use schema::Schema;
use writer::Writer;

/// The database file in the folder.
pub const DATABASE_FILE: &str = "campanile.db";
/// The database of an import that has not ended, in the folder that it is for.
pub const IMPORT_FILE: &str = "campanile.db.import";
/// The log beside the database. One that is left from another database would be read into it.
const LOG_FILE: &str = "campanile.db-wal";
/// The file whose lock says that a process uses the folder.
pub const LOCK_FILE: &str = "campanile.lock";

/// Why an embedded store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the folder {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// There is a store where an import was to make one.
    #[error("the folder {} holds a store already; an import needs an empty place", .0.display())]
    NotEmpty(PathBuf),
    /// An import that has not ended left its traces.
    #[error(
        "an import into {} has not ended: run it again, or remove {IMPORT_FILE} there",
        .0.display()
    )]
    Importing(PathBuf),
    /// A later release wrote it.
    #[error("{} has format {found}, and this release knows formats up to {known}", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format of this release.
        known: i64,
    },
    /// It is the database of another program.
    #[error("{} was not made by this program", .0.display())]
    Foreign(PathBuf),
    /// The file system cannot hold a write-ahead log.
    #[error("the file system of {} cannot share memory, which the database needs", .0.display())]
    NoLog(PathBuf),
    /// The folder cannot be used.
    #[error("the folder {} cannot be used", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database cannot be used.
    #[error("the database {} cannot be used", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// Opens the store in a folder, which is made if it is missing.
pub fn open(dir: &Path, options: Options) -> Result<Arc<dyn Engine>, OpenError> {
    open_with(dir, options, Box::new(writer::end_process))
}

fn open_with(
    dir: &Path,
    options: Options,
    fatal: writer::Fatal,
) -> Result<Arc<dyn Engine>, OpenError> {
    let folder = |source| OpenError::Folder { path: dir.to_path_buf(), source };
    create_folder(dir).map_err(folder)?;
    let is_new = !dir.join(LOCK_FILE).exists();
    let lock = lock_folder(dir)?;
    if dir.join(IMPORT_FILE).exists() {
        return Err(OpenError::Importing(dir.to_path_buf()));
    }
    let path = dir.join(DATABASE_FILE);
    let schema = Arc::new(Schema::new(options.all_tables()));
    let database = schema.open_writer(&path).inspect_err(|_| {
        if is_new {
            // A folder that is not ours is left as it was.
            fs::remove_file(dir.join(LOCK_FILE)).unwrap_or_default();
        }
    })?;
    sync_folder(dir).map_err(folder)?;
    let publisher = Arc::new(Publisher::new(options.sink.clone()));
    let options = Options { sink: None, ..options };
    let queue = Arc::new(Queue::new());
    let tally: Arc<Tally> = Arc::default();
    let (done, watch) = watch::channel(());
    let sqlite = Sqlite {
        readers: Readers::new(path, Arc::clone(&schema)),
        schema: Arc::clone(&schema),
        queue: Arc::clone(&queue),
        publisher: Arc::clone(&publisher),
        options: options.clone(),
        tally: Arc::clone(&tally),
        log: dir.join(LOG_FILE),
        done: watch,
    };
    let writer = Writer { database, schema, queue, publisher, options, tally, fatal, lock, done };
    let thread = std::thread::Builder::new().name("store-writer".into());
    thread.spawn(move || writer.run()).map_err(folder)?;
    Ok(Arc::new(sqlite))
}

/// Makes the folder, for its owner alone: it holds what people wrote to each other.
fn create_folder(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir)
}

fn lock_folder(dir: &Path) -> Result<File, OpenError> {
    let folder = |source| OpenError::Folder { path: dir.to_path_buf(), source };
    let path = dir.join(LOCK_FILE);
    loop {
        let mut file = OpenOptions::new();
        file.create(true).truncate(false).write(true);
        let lock = file.open(&path).map_err(folder)?;
        match lock.try_lock() {
            Ok(()) if is_at(&lock, &path) => return Ok(lock),
            // Whoever held it has taken the file away; a lock on that keeps nobody out.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(dir.to_path_buf())),
            Err(TryLockError::Error(source)) => return Err(folder(source)),
        }
    }
}

/// Tells whether a path still leads to an open file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |found: fs::Metadata| (found.dev(), found.ino());
    let (here, there) = (file.metadata().map(place), path.metadata().map(place));
    matches!((here, there), (Ok(here), Ok(there)) if here == there)
}

/// Elsewhere a file that is open stays where it is.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// Makes the names of new files durable. Folders can be synced only where they can be opened.
fn sync_folder(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

struct Sqlite {
    schema: Arc<Schema>,
    readers: Readers,
    queue: Arc<Queue>,
    publisher: Arc<Publisher>,
    options: Options,
    tally: Arc<Tally>,
    /// Where the log is.
    log: PathBuf,
    /// Ends when the writer has let go of the folder.
    done: watch::Receiver<()>,
}

impl Engine for Sqlite {
    fn get<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Option<Entry>>, Unavailable>> {
        Box::pin(self.readers.get(keys))
    }

    fn scan<'a>(
        &'a self,
        ranges: &'a [Range],
        limit: usize,
        direction: Direction,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Vec<Vec<Entry>>, Unavailable>> {
        Box::pin(self.readers.scan(ranges, limit, direction, keys_only))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Stamp, Failure>> {
        Box::pin(async move {
            if let Some(defect) = batch.defect(|table| self.schema.knows(table)) {
                return Err(Failure::Unavailable(Unavailable::new(defect)));
            }
            let (answer, outcome) = oneshot::channel();
            self.queue.submit(Job { batch, answer }).await?;
            let lost = |_| Failure::Unknown(Unavailable::new("the writer ended"));
            outcome.await.map_err(lost)?
        })
    }

    fn publish(&self, home: Uid, events: Vec<Event>) -> BoxFuture<'_, Result<Stamp, Failure>> {
        Box::pin(async move {
            if self.queue.is_closed() {
                return Err(Failure::Unavailable(queue::closed()));
            }
            self.publisher.publish(self.options.clock.as_ref(), home, events).await
        })
    }

    fn figures(&self) -> Figures {
        // Without a log nothing was written since the last start.
        let log_bytes = fs::metadata(&self.log).map_or(0, |log| log.len());
        Figures {
            waiting: u64::try_from(self.queue.len()).unwrap_or(u64::MAX),
            sink_waiting: self.publisher.waiting(),
            log_bytes: Some(log_bytes),
            ..self.tally.figures()
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.readers.close();
            self.queue.close();
            let mut done = self.done.clone();
            // Nothing is ever sent: the change is that the writer has dropped its end.
            while done.changed().await.is_ok() {}
        })
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests;

//! A copy of the database while a server writes it.
//!
//! Invariants: the copy is one snapshot, which holds every commit that was acknowledged before it
//! began; it takes no lock that a writer or a start waits for; it has its name only when it is whole
//! and on the disk. Meanwhile the log cannot begin anew, so it grows by what is written.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::sqlite::reader::execute;
use crate::sqlite::schema::{FORMAT, Schema};
use crate::sqlite::{DATABASE_FILE, sync_folder};

/// Pages of one step: 8 MiB.
const STEP_PAGES: i32 = 2_048;
/// How long a step that meets another's lock waits before it is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
const BUSY_TRIES_MAX: usize = 2_000;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing is there to be copied.
    #[error("{} holds no store", .0.display())]
    NoStore(PathBuf),
    /// It is not ours, or a later release's.
    #[error("{} was not made by this release or one before it", .0.display())]
    Foreign(PathBuf),
    /// Something has the name of the copy.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// The database cannot be read, or the copy not be written.
    #[error("the database cannot be copied")]
    Database(#[from] rusqlite::Error),
    /// The copy cannot be made.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The copy.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Copies the database of a folder, which may be served meanwhile, to the file `to`. `tick` is told
/// how many bytes are done and how many there are.
pub fn backup(dir: &Path, to: &Path, tick: impl FnMut(u64, u64)) -> Result<(), BackupError> {
    let path = dir.join(DATABASE_FILE);
    if !path.is_file() {
        return Err(BackupError::NoStore(dir.to_path_buf()));
    }
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.to_path_buf()));
    }
    let source = Schema::open_reader(&path)?;
    let format: i64 = source.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if format == 0 || format > FORMAT {
        return Err(BackupError::Foreign(path));
    }
    let part = part_of(to);
    let outcome = copy(&source, &part, tick).and_then(|()| {
        let named = fs::rename(&part, to).and_then(|()| sync_folder(folder_of(to)));
        named.map_err(|source| BackupError::Write { path: to.to_path_buf(), source })
    });
    if outcome.is_err() {
        fs::remove_file(&part).unwrap_or_default();
    }
    outcome
}

/// Names the copy before it is whole.
fn part_of(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    to.with_file_name(name)
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn copy(
    source: &Connection,
    part: &Path,
    mut tick: impl FnMut(u64, u64),
) -> Result<(), BackupError> {
    let write = |source| BackupError::Write { path: part.to_path_buf(), source };
    drop(create(part).map_err(write)?);
    let mut copy = Connection::open(part)?;
    // The copy is synced when it is whole.
    copy.pragma_update(None, "synchronous", "OFF")?;
    copy.pragma_update(None, "journal_mode", "OFF")?;
    // One snapshot for all steps: the first read fixes it.
    execute(source, "BEGIN")?;
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let page_bytes: i64 = source.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let backup = Backup::new(source, &mut copy)?;
    let mut busy = 0;
    loop {
        match backup.step(STEP_PAGES)? {
            StepResult::Done => break,
            StepResult::More => busy = 0,
            _ if busy < BUSY_TRIES_MAX => {
                busy += 1;
                pause(BUSY_PAUSE);
            }
            _ => return Err(locked().into()),
        }
        let progress = backup.progress();
        let bytes = |pages: i32| u64::try_from(i64::from(pages) * page_bytes).unwrap_or(0);
        tick(bytes(progress.pagecount - progress.remaining), bytes(progress.pagecount));
    }
    drop(backup);
    execute(source, "COMMIT")?;
    copy.close().map_err(|(_, cause)| cause)?;
    File::open(part).and_then(|file| file.sync_all()).map_err(write)
}

/// Makes an empty file for its owner alone. One that an interrupted backup left is taken away.
fn create(part: &Path) -> io::Result<File> {
    if part.exists() {
        fs::remove_file(part)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(part)
}

/// Waits for a lock that nobody announces the end of.
#[expect(clippy::disallowed_methods, reason = "SQLite has no way to wait for another's lock here")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn locked() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    rusqlite::Error::SqliteFailure(code, Some("another process holds the database".into()))
}

#[cfg(test)]
mod tests;

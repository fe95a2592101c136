//! A folder's store as the source or the target of a move.
//!
//! Invariants: both hold the folder's lock, so no server runs meanwhile; a target is a file of its
//! own, which takes the name of the database when it is whole and on the disk. One that was left
//! behind keeps the folder from being opened, until the next import takes its place.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, params};

use crate::engine::{BoxFuture, Entry, Unavailable};
use crate::moving::{Page, Source, Target};
use crate::range::{Direction, Range};
use crate::sqlite::schema::{self, Schema};
use crate::sqlite::{
    DATABASE_FILE, IMPORT_FILE, LOG_FILE, OpenError, create_folder, lock_folder, reader,
    sync_folder,
};
use crate::table::{Kind, Table};

/// Opens the store in a folder to read all of it.
pub fn export(dir: &Path, tables: Vec<&'static Table>) -> Result<Box<dyn Source>, OpenError> {
    let lock = lock_folder(dir)?;
    let path = dir.join(DATABASE_FILE);
    let schema = Schema::new(tables);
    let database = schema.open_writer(&path)?;
    let begun = reader::execute(&database, "BEGIN");
    begun.map_err(|source| OpenError::Database { path, source })?;
    Ok(Box::new(Reading { database, schema, _lock: lock }))
}

struct Reading {
    database: Connection,
    schema: Schema,
    _lock: File,
}

impl Source for Reading {
    fn rows<'a>(
        &'a mut self,
        range: &'a Range,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, Unavailable>> {
        let (schema, database) = (&self.schema, &self.database);
        let rows = reader::list(schema, database, range, limit, Direction::Forward, false);
        let rows = rows.map_err(|cause| Unavailable::caused("the database cannot be read", cause));
        Box::pin(std::future::ready(rows))
    }
}

/// Begins to make a store in a folder that holds none.
pub fn import(dir: &Path, tables: Vec<&'static Table>) -> Result<Box<dyn Target>, OpenError> {
    let folder = |source| OpenError::Folder { path: dir.to_path_buf(), source };
    create_folder(dir).map_err(folder)?;
    let lock = lock_folder(dir)?;
    if [DATABASE_FILE, LOG_FILE].iter().any(|file| dir.join(file).exists()) {
        return Err(OpenError::NotEmpty(dir.to_path_buf()));
    }
    let path = dir.join(IMPORT_FILE);
    if path.exists() {
        fs::remove_file(&path).map_err(folder)?;
    }
    let schema = Schema::new(tables);
    let mut writing =
        Writing { database: None, path: path.clone(), dir: dir.to_path_buf(), _lock: lock };
    let opened = schema.open_import(&path).and_then(|database| {
        reader::execute(&database, "BEGIN")?;
        Ok(database)
    });
    writing.database = Some(opened.map_err(|source| OpenError::Database { path, source })?);
    Ok(Box::new(writing))
}

/// The file that is being made. Its end without `finish` takes it away.
struct Writing {
    /// None once it is closed.
    database: Option<Connection>,
    path: PathBuf,
    dir: PathBuf,
    _lock: File,
}

impl Writing {
    fn put(&self, page: &Page) -> Result<(), Unavailable> {
        let closed = || Unavailable::new("the import is over");
        let database = self.database.as_ref().ok_or_else(closed)?;
        insert(database, page).map_err(|cause| match cause.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Unavailable::new(twice(page.table)),
            _ => unwritable(cause),
        })
    }

    fn publish(&mut self) -> Result<(), Unavailable> {
        if let Some(database) = self.database.take() {
            reader::execute(&database, "COMMIT").map_err(unwritable)?;
            database.close().map_err(|(_, cause)| unwritable(cause))?;
        }
        let made = File::open(&self.path).and_then(|file| file.sync_all());
        let named = made.and_then(|()| fs::rename(&self.path, self.dir.join(DATABASE_FILE)));
        let named = named.and_then(|()| sync_folder(&self.dir));
        named.map_err(|cause| Unavailable::caused("the database cannot be written", cause))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        drop(self.database.take());
        // Gone already once it was published; what cannot go is told by the next start.
        fs::remove_file(&self.path).unwrap_or_default();
    }
}

impl Target for Writing {
    fn write(&mut self, page: Page) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(std::future::ready(self.put(&page)))
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<(), Unavailable>> {
        Box::pin(async move { self.publish() })
    }
}

fn insert(database: &Connection, page: &Page) -> rusqlite::Result<()> {
    // Stamps keep to 48 bits, so the greatest number is never met.
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut statement = database.prepare_cached(&schema::insert(page.table))?;
    for row in &page.rows {
        let key = &row.key[..];
        match page.table.kind {
            Kind::Record | Kind::Index => {
                let ver = row.ver.0.to_be_bytes();
                statement.execute(params![key, &ver[..], &row.value[..]])?
            }
            Kind::Counter => statement.execute(params![key, row.count()])?,
            Kind::Home => {
                let home = row.home();
                statement.execute(params![
                    key,
                    signed(home.seq),
                    signed(home.last_ms),
                    home.last_message_ms.map(signed),
                    signed(home.last_event_seq),
                ])?
            }
        };
    }
    Ok(())
}

fn twice(table: &Table) -> String {
    format!("the file names one thing twice: two rows of {} have the same key", table.name)
}

fn unwritable(cause: rusqlite::Error) -> Unavailable {
    Unavailable::caused("the database cannot be written", cause)
}

//! The pool of read connections.
//!
//! A point read takes microseconds, less than handing it to another thread, so reads run inline
//! in the caller's task; a few connections bound how many do at once and the rest wait. The last
//! connection used is the first to be used again: its cache is warm. Invariants: a call reads one
//! snapshot; a connection returns to the pool only with its transaction ended, since an open one
//! would not see rows that were acknowledged since.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Row, params};
use tokio::sync::Semaphore;

use crate::engine::{Entry, HomeRow, Unavailable};
use crate::id::Version;
use crate::key::{Key, KeyBytes};
use crate::queue::closed;
use crate::range::{Direction, Range, Span};
use crate::sqlite::schema::Schema;
use crate::table::Kind;

/// The most read connections; fewer on a machine of fewer cores.
const READERS_MAX: usize = 8;
const READERS_MIN: usize = 2;

pub(super) struct Readers {
    path: PathBuf,
    schema: Arc<Schema>,
    places: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, schema: Arc<Schema>) -> Readers {
        let cores = std::thread::available_parallelism().map_or(READERS_MIN, usize::from);
        let places = Semaphore::new(cores.clamp(READERS_MIN, READERS_MAX));
        Readers { path, schema, places, idle: Mutex::default() }
    }

    pub(super) async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, Unavailable> {
        let read = |reader: &Connection| keys.iter().map(|key| self.entry(reader, key)).collect();
        self.snapshot(keys.len(), read).await
    }

    pub(super) async fn scan(
        &self,
        ranges: &[Range],
        limit: usize,
        direction: Direction,
        keys_only: bool,
    ) -> Result<Vec<Vec<Entry>>, Unavailable> {
        let read = |reader: &Connection| {
            let schema = &self.schema;
            let list = |range| list(schema, reader, range, limit, direction, keys_only);
            ranges.iter().map(list).collect()
        };
        self.snapshot(ranges.len(), read).await
    }

    /// Refuses further reads and closes the connections that are idle.
    pub(super) fn close(&self) {
        self.places.close();
        self.idle().clear();
    }

    /// Runs reads of `statement_count` statements on one snapshot.
    async fn snapshot<T>(
        &self,
        statement_count: usize,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Unavailable> {
        let _place = self.places.acquire().await.map_err(|_| closed())?;
        let failed = |cause| Unavailable::caused("the database cannot be read", cause);
        let idle = self.idle().pop();
        let reader = idle.map_or_else(|| Schema::open_reader(&self.path), Ok).map_err(failed)?;
        let found = in_snapshot(&reader, statement_count, read);
        if reader.is_autocommit() && !self.places.is_closed() {
            self.idle().push(reader);
        }
        found.map_err(failed)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, reader: &Connection, key: &Key) -> rusqlite::Result<Option<Entry>> {
        let sql = self.schema.sql(key.table())?;
        let mut statement = reader.prepare_cached(&sql.get)?;
        let mut rows = statement.query([key.bytes()])?;
        rows.next()?.map(|row| entry(row, sql.kind, false)).transpose()
    }
}

/// Returns rows of a range.
pub(super) fn list(
    schema: &Schema,
    reader: &Connection,
    range: &Range,
    limit: usize,
    direction: Direction,
    keys_only: bool,
) -> rusqlite::Result<Vec<Entry>> {
    let sql = schema.sql(range.table())?;
    let Some(Span { low, high }) = range.span(direction) else { return Ok(Vec::new()) };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = reader.prepare_cached(sql.scan(direction, keys_only, high.is_none()))?;
    let mut rows = match &high {
        Some(high) => statement.query(params![&low[..], limit, &high[..]])?,
        None => statement.query(params![&low[..], limit])?,
    };
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(entry(row, sql.kind, keys_only)?);
    }
    Ok(found)
}

fn in_snapshot<T>(
    reader: &Connection,
    statement_count: usize,
    read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    // A single statement is a snapshot by itself.
    if statement_count <= 1 {
        return read(reader);
    }
    execute(reader, "BEGIN")?;
    let found = read(reader);
    execute(reader, "COMMIT")?;
    found
}

/// Runs a statement without parameters.
pub(super) fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

fn entry(row: &Row<'_>, kind: Kind, keys_only: bool) -> rusqlite::Result<Entry> {
    let key = KeyBytes::from(row.get_ref(0)?.as_blob()?);
    let (value, ver) = match kind {
        Kind::Record | Kind::Index if keys_only => (Bytes::new(), version(row, 1)?),
        Kind::Record | Kind::Index => {
            (Bytes::copy_from_slice(row.get_ref(2)?.as_blob()?), version(row, 1)?)
        }
        Kind::Counter if keys_only => (Bytes::new(), Version::default()),
        Kind::Counter => {
            let sum: i64 = row.get(1)?;
            (Bytes::copy_from_slice(&sum.to_be_bytes()), Version::default())
        }
        Kind::Home => {
            let home = home(row)?;
            let value =
                if keys_only { Bytes::new() } else { Bytes::copy_from_slice(&home.to_bytes()) };
            (value, home.version())
        }
    };
    Ok(Entry { key, value, ver })
}

/// Reads the version in a column.
pub(super) fn version(row: &Row<'_>, column: usize) -> rusqlite::Result<Version> {
    let blob = row.get_ref(column)?.as_blob()?;
    let size = FromSqlError::InvalidBlobSize { expected_size: 16, blob_size: blob.len() };
    let bytes = <[u8; 16]>::try_from(blob).map_err(|_| size)?;
    Ok(Version(u128::from_be_bytes(bytes)))
}

/// Reads the row of a home.
pub(super) fn home(row: &Row<'_>) -> rusqlite::Result<HomeRow> {
    // The columns hold what `writer` bound there, never a negative number.
    let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(HomeRow {
        seq: unsigned(row.get(1)?),
        last_ms: unsigned(row.get(2)?),
        last_message_ms: row.get::<_, Option<i64>>(3)?.map(unsigned),
        last_event_seq: unsigned(row.get(4)?),
    })
}

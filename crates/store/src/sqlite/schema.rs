//! The database file: its settings, tables, views and format number, and the SQL of each table.
//!
//! Tables are created when missing and never altered. Invariant: a file of a newer format, or one
//! that another program made, is refused before anything in it is changed.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, ffi};

use crate::hash::HashMap;
use crate::range::Direction;
use crate::sqlite::OpenError;
use crate::table::{EVENT, Kind, Table};

/// The number of the file format that this release writes.
pub(crate) const FORMAT: i64 = 1;

const PAGE_BYTES: i64 = 4_096;
/// Pages of the log after which a commit also folds it into the database: 14 MiB. The log's index
/// grows by a block at its page 4,063; to stay below means that a full disk is met by a write of the
/// log, which is undone in an orderly way, and not by that growth.
const CHECKPOINT_PAGES: i64 = 3_584;
/// What the log shrinks to after a burst.
const LOG_BYTES_MAX: i64 = 64 << 20;
/// Mapped pages count as memory of the process while the system has no better use for them; the system's
/// own cache holds the rest of the file.
const MMAP_BYTES_MAX: i64 = 32 << 20;
/// As much as the log holds: what was written lately is found here, the rest in the mapped file.
/// SQLite walks the whole table of its cache after commits that split a page, so more costs time.
const WRITER_CACHE_KIB: i64 = 16 << 10;
const READER_CACHE_KIB: i64 = 8 << 10;
/// Rows that come in no order of keys find the pages that they belong to here.
const IMPORT_CACHE_KIB: i64 = 128 << 10;
/// How long a statement waits for a tool that holds the file, such as a backup.
const BUSY_TIMEOUT_MS: i64 = 5_000;
/// Prepared statements that a connection keeps; more than the tables have.
const STATEMENTS_MAX: usize = 512;

/// The SQL of one table.
pub(super) struct Sql {
    pub(super) kind: Kind,
    /// Everything of the row of a key.
    pub(super) get: String,
    /// The part of the row of a key that a judgement needs.
    pub(super) judge: String,
    pub(super) put: String,
    pub(super) delete: String,
    scans: [String; 8],
}

impl Sql {
    /// Returns the scan from a key to another, or to the end.
    pub(super) fn scan(&self, direction: Direction, keys_only: bool, to_end: bool) -> &str {
        &self.scans[scan_place(direction, keys_only, to_end)]
    }

    fn new(table: &Table) -> Sql {
        let name = quoted(table.name);
        let (all, keys, judge) = match table.kind {
            Kind::Record | Kind::Index => ("k, ver, v", "k, ver", "ver"),
            Kind::Counter => ("k, n", "k", "n"),
            Kind::Home => (HOME_COLUMNS, HOME_COLUMNS, HOME_COLUMNS),
        };
        let put = match table.kind {
            Kind::Record | Kind::Index => format!(
                "INSERT INTO {name} (k, ver, v) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (k) DO UPDATE SET ver = excluded.ver, v = excluded.v"
            ),
            Kind::Counter => format!(
                "INSERT INTO {name} (k, n) VALUES (?1, ?2) \
                 ON CONFLICT (k) DO UPDATE SET n = n + excluded.n"
            ),
            Kind::Home => {
                format!("REPLACE INTO {name} ({HOME_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5)")
            }
        };
        let mut scans: [String; 8] = Default::default();
        for direction in [Direction::Forward, Direction::Backward] {
            for (keys_only, to_end) in [(false, false), (false, true), (true, false), (true, true)]
            {
                let columns = if keys_only { keys } else { all };
                let end = if to_end { "" } else { "AND k < ?3 " };
                let order = if direction == Direction::Forward { "ASC" } else { "DESC" };
                scans[scan_place(direction, keys_only, to_end)] = format!(
                    "SELECT {columns} FROM {name} WHERE k >= ?1 {end}ORDER BY k {order} LIMIT ?2"
                );
            }
        }
        Sql {
            kind: table.kind,
            get: format!("SELECT {all} FROM {name} WHERE k = ?1"),
            judge: format!("SELECT {judge} FROM {name} WHERE k = ?1"),
            put,
            delete: format!("DELETE FROM {name} WHERE k = ?1"),
            scans,
        }
    }
}

const HOME_COLUMNS: &str = "k, seq, last_ms, last_message_ms, last_event_seq";

fn scan_place(direction: Direction, keys_only: bool, to_end: bool) -> usize {
    let backward = direction == Direction::Backward;
    usize::from(backward) * 4 + usize::from(keys_only) * 2 + usize::from(to_end)
}

/// The tables that the store was opened with.
pub(super) struct Schema {
    tables: Vec<&'static Table>,
    sql: HashMap<&'static str, Sql>,
}

impl Schema {
    pub(super) fn new(tables: Vec<&'static Table>) -> Schema {
        let sql = tables.iter().map(|table| (table.name, Sql::new(table))).collect();
        Schema { tables, sql }
    }

    pub(super) fn knows(&self, table: &Table) -> bool {
        self.sql.contains_key(table.name)
    }

    pub(super) fn sql(&self, table: &Table) -> rusqlite::Result<&Sql> {
        self.sql.get(table.name).ok_or_else(|| {
            let text = format!("unknown table {}", table.name);
            rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_MISUSE), Some(text))
        })
    }

    /// Opens the connection that writes, and makes what the file lacks.
    pub(super) fn open_writer(&self, path: &Path) -> Result<Connection, OpenError> {
        let database = |source| OpenError::Database { path: path.to_path_buf(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut writer = Connection::open_with_flags(path, flags).map_err(database)?;
        let found: i64 = pragma(&writer, "user_version").map_err(database)?;
        if found > FORMAT {
            return Err(OpenError::Newer { path: path.to_path_buf(), found, known: FORMAT });
        }
        if found == 0 && !is_empty(&writer).map_err(database)? {
            return Err(OpenError::Foreign(path.to_path_buf()));
        }
        configure_writer(&writer).map_err(database)?;
        let journal: String = pragma(&writer, "journal_mode").map_err(database)?;
        if journal != "wal" {
            return Err(OpenError::NoLog(path.to_path_buf()));
        }
        self.create(&mut writer).map_err(database)?;
        Ok(writer)
    }

    /// Opens a connection that cannot write.
    pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(path, flags)?;
        configure(&reader, READER_CACHE_KIB)?;
        reader.pragma_update(None, "query_only", true)?;
        Ok(reader)
    }

    /// Opens a file that nobody else sees before it is whole: nothing in it is undone or synced on
    /// the way.
    pub(super) fn open_import(&self, path: &Path) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut import = Connection::open_with_flags(path, flags)?;
        configure(&import, IMPORT_CACHE_KIB)?;
        import.pragma_update(None, "page_size", PAGE_BYTES)?;
        import.pragma_update(None, "journal_mode", "OFF")?;
        import.pragma_update(None, "synchronous", "OFF")?;
        import.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        self.create(&mut import)?;
        Ok(import)
    }

    fn create(&self, writer: &mut Connection) -> rusqlite::Result<()> {
        let transaction = writer.transaction()?;
        for table in &self.tables {
            let name = quoted(table.name);
            let columns = match table.kind {
                Kind::Record | Kind::Index => "ver BLOB NOT NULL, v BLOB NOT NULL",
                Kind::Counter => "n INTEGER NOT NULL",
                Kind::Home => {
                    "seq INTEGER NOT NULL, last_ms INTEGER NOT NULL, \
                     last_message_ms INTEGER, last_event_seq INTEGER NOT NULL"
                }
            };
            let form = form(table);
            transaction.execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS {name} \
                 (k BLOB NOT NULL PRIMARY KEY, {columns}) {form}"
            ))?;
            if table.kind == Kind::Record {
                transaction.execute_batch(&view(table))?;
            }
        }
        transaction.pragma_update(None, "user_version", FORMAT)?;
        transaction.commit()
    }
}

/// Returns how a table keeps its rows. Records and event references are long and come in no order
/// of keys: they stand where they arrived, side by side, and only the short entries of the index
/// on the key are spread over the file. What is short itself stands in the order of its keys. See
/// docs/decisions/0004-storage-layout.md. Files of either form are read alike.
fn form(table: &Table) -> &'static str {
    let by_key = match table.kind {
        Kind::Record => false,
        Kind::Index => table.name != EVENT.name,
        Kind::Counter | Kind::Home => true,
    };
    if by_key { "STRICT, WITHOUT ROWID" } else { "STRICT" }
}

/// Returns the SQL that makes a table's view anew: its columns may be another release's.
fn view(table: &Table) -> String {
    let view = quoted(&format!("{}_view", table.name));
    let drop = format!("DROP VIEW IF EXISTS {view};");
    if table.columns.is_empty() {
        return drop;
    }
    let column = |member: &&str| {
        let path = format!("$.\"{member}\"").replace('\'', "''");
        format!(", json_extract(json, '{path}') AS {}", quoted(member))
    };
    let columns: String = table.columns.iter().map(column).collect();
    let name = quoted(table.name);
    // The first byte of a value names its format.
    format!(
        "{drop} CREATE VIEW {view} AS SELECT hex(k) AS k{columns} \
         FROM (SELECT k, CAST(substr(v, 2) AS TEXT) AS json FROM {name});"
    )
}

fn configure(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "busy_timeout", BUSY_TIMEOUT_MS)?;
    // Negative: KiB rather than pages.
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "mmap_size", MMAP_BYTES_MAX)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

fn configure_writer(writer: &Connection) -> rusqlite::Result<()> {
    configure(writer, WRITER_CACHE_KIB)?;
    writer.pragma_update(None, "page_size", PAGE_BYTES)?;
    writer.pragma_update(None, "journal_mode", "WAL")?;
    // One text: the tests look for it in the program, to show what happens without it.
    writer.execute_batch("PRAGMA synchronous = FULL")?;
    // Where fsync alone does not reach the disk (macOS); elsewhere without effect.
    writer.pragma_update(None, "fullfsync", true)?;
    writer.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    writer.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)
}

fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> rusqlite::Result<T> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// Returns the SQL that writes a row which is not there yet.
pub(super) fn insert(table: &Table) -> String {
    let (columns, values) = match table.kind {
        Kind::Record | Kind::Index => ("k, ver, v", "?1, ?2, ?3"),
        Kind::Counter => ("k, n", "?1, ?2"),
        Kind::Home => (HOME_COLUMNS, "?1, ?2, ?3, ?4, ?5"),
    };
    format!("INSERT INTO {} ({columns}) VALUES ({values})", quoted(table.name))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

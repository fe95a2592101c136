//! A database in one of the layouts, and the writer's work on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use store::{Entropy as _, Key, Kind, Stamp, SystemEntropy, Uid};

use crate::template::Template;

/// The start of the stamps: any moment does.
const START_MS: u64 = 1_700_000_000_000;
const VERSION_BYTES: usize = 16;
const MESSAGE: &str = "channel_message";
const TOKEN: &str = "request_token";
const EVENT: &str = "event";
const HOME: &str = "home";
const STATEMENTS_MAX: usize = 256;

/// Bytes of the records that a send checks.
const CHECKED_BYTES: usize = 300;
/// Where the log's index holds the number of pages in the log.
const LOG_FRAMES_AT: u64 = 16;
const MMAP_BYTES: i64 = 256 << 20;
/// A message of 200 bytes with its sender; two hashes; a reference to a message.
const COMPACT_MESSAGE_BYTES: usize = 264;
const COMPACT_TOKEN_BYTES: usize = 33;
const COMPACT_EVENT_BYTES: usize = 4;

/// What of the layout differs.
#[derive(Clone)]
pub(super) struct Layout {
    pub(super) name: &'static str,
    pub(super) page_bytes: i64,
    cache_kib: i64,
    mmap: bool,
    checkpoint_pages: i64,
    /// Tables with a rowid and a unique index on the key; the others are kept in the key's order.
    rowid: &'static [&'static str],
    /// Whether the versions that a send checks are selected, or known to the writer.
    selects: bool,
    /// Whether values are as long as JSON makes them, or as short as a binary form might.
    compact_values: bool,
    /// Whether a send writes an event row.
    events: bool,
}

/// The layout of the first release: the others differ from it in one thing.
const FIRST: Layout = Layout {
    name: "as it was",
    page_bytes: 4_096,
    cache_kib: 64 << 10,
    mmap: true,
    checkpoint_pages: 4_096,
    rowid: &[],
    selects: true,
    compact_values: false,
    events: true,
};

/// The layout that was chosen.
const CHOSEN: Layout = Layout {
    name: "chosen",
    rowid: &[
        MESSAGE,
        TOKEN,
        EVENT,
        "app_instance",
        "app_instance_user",
        "channel",
        "channel_membership",
    ],
    ..FIRST
};

impl Layout {
    /// Returns what is compared: the tables one by one, then the rest around the choice.
    pub(super) fn candidates() -> Vec<Layout> {
        vec![
            FIRST,
            Layout { name: "message rowid", rowid: &[MESSAGE], ..FIRST },
            Layout { name: "token rowid", rowid: &[TOKEN], ..FIRST },
            Layout { name: "event rowid", rowid: &[EVENT], ..FIRST },
            Layout { name: "home rowid", rowid: &[HOME], ..FIRST },
            Layout { name: "these but home rowid", rowid: &[MESSAGE, TOKEN, EVENT], ..FIRST },
            CHOSEN,
            Layout {
                name: "chosen, 8 KiB pages",
                page_bytes: 8_192,
                checkpoint_pages: 2_048,
                ..CHOSEN
            },
            Layout {
                name: "chosen, 16 KiB pages",
                page_bytes: 16_384,
                checkpoint_pages: 1_024,
                ..CHOSEN
            },
            Layout { name: "chosen, cache 4 MiB", cache_kib: 4 << 10, ..CHOSEN },
            Layout { name: "chosen, cache 16 MiB", cache_kib: 16 << 10, ..CHOSEN },
            Layout { name: "chosen, no mmap", mmap: false, ..CHOSEN },
            Layout { name: "chosen, log 4 MiB", checkpoint_pages: 1_024, ..CHOSEN },
            Layout { name: "chosen, log 64 MiB", checkpoint_pages: 16_384, ..CHOSEN },
            Layout { name: "chosen, versions cached", selects: false, ..CHOSEN },
            Layout { name: "chosen, compact values", compact_values: true, ..CHOSEN },
            Layout { name: "chosen, no event rows", events: false, ..CHOSEN },
        ]
    }

    fn form(&self, table: &str) -> &'static str {
        if self.rowid.contains(&table) { "STRICT" } else { "STRICT, WITHOUT ROWID" }
    }

    /// Returns a value in the length that it would have in this layout.
    fn value(&self, key: &Key, mut value: Vec<u8>) -> Vec<u8> {
        if self.compact_values {
            let bytes = match key.table().name {
                MESSAGE => COMPACT_MESSAGE_BYTES,
                TOKEN => COMPACT_TOKEN_BYTES,
                _ => COMPACT_EVENT_BYTES,
            };
            value.truncate(bytes);
        }
        value
    }
}

/// One open database.
pub(super) struct Database {
    path: PathBuf,
    layout: Layout,
    writer: Connection,
    reader: Connection,
    /// The last sequence number of each home.
    seqs: BTreeMap<Uid, u64>,
    log: Log,
}

/// A row as it is written.
type Rows = BTreeMap<Key, Vec<u8>>;

impl Database {
    /// Makes the tables that the templates name, and the rows that they check.
    pub(super) fn make(folder: &Path, layout: &Layout, templates: &[Template]) -> Result<Database> {
        let path = folder.join("layout.db");
        let writer = open(&path, layout)?;
        writer.pragma_update(None, "wal_autocheckpoint", layout.checkpoint_pages)?;
        let mut checked = Rows::new();
        let mut tables = BTreeSet::from([MESSAGE, EVENT]);
        for template in templates {
            for check in template.batch().into_iter().flat_map(|batch| &batch.checks) {
                tables.insert(check.key.table().name);
                if check.expect.is_some() && check.key.table().kind == Kind::Record {
                    checked.insert(check.key.clone(), vec![b' '; CHECKED_BYTES]);
                }
            }
        }
        for table in tables {
            let form = layout.form(table);
            writer.execute_batch(&format!(
                "CREATE TABLE {table} \
                 (k BLOB NOT NULL PRIMARY KEY, ver BLOB NOT NULL, v BLOB NOT NULL) {form}"
            ))?;
        }
        writer.execute_batch(&format!(
            "CREATE TABLE home (k BLOB NOT NULL PRIMARY KEY, seq INTEGER NOT NULL, \
             last_ms INTEGER NOT NULL, last_message_ms INTEGER, last_event_seq INTEGER NOT NULL) {}",
            layout.form(HOME)
        ))?;
        put(&writer, &checked)?;
        let reader = open(&path, layout)?;
        let log = Log::open(&path)?;
        let layout = layout.clone();
        Ok(Database { path, layout, writer, reader, seqs: BTreeMap::new(), log })
    }

    /// Syncs the log with each commit, or leaves it to the system while the database is filled.
    pub(super) fn durable(&mut self, durable: bool) -> rusqlite::Result<()> {
        let synchronous = if durable { "FULL" } else { "OFF" };
        self.writer.pragma_update(None, "synchronous", synchronous)
    }

    /// Commits one send for each number as a group.
    pub(super) fn commit(&mut self, templates: &[Template], group: Range<usize>) -> Result<()> {
        let (mut checks, mut rows) = (BTreeSet::new(), Rows::new());
        let mut homes = BTreeSet::new();
        for number in group {
            let batch = templates[number % templates.len()].renewed();
            let batch = batch.context("a send commits a batch")?;
            let seq = self.seqs.entry(batch.home).or_default();
            *seq += 1;
            let stamp = Stamp { ms: START_MS + number as u64, seq: *seq };
            homes.insert((batch.home, stamp.seq, stamp.ms));
            checks.extend(batch.checks.into_iter().map(|check| check.key));
            for put in batch.puts {
                let key = put.key.with_stamp(stamp);
                let value = self.layout.value(&key, put.value);
                rows.insert(key, value);
            }
            let references = batch.events.into_iter().filter_map(|event| event.reference);
            for reference in references.filter(|_| self.layout.events) {
                let key = store::table::event_key(batch.home, stamp, 0);
                let value = self.layout.value(&key, reference);
                rows.insert(key, value);
            }
        }
        self.writer.execute_batch("BEGIN IMMEDIATE")?;
        if self.layout.selects {
            checks.iter().try_for_each(|key| select(&self.writer, key))?;
        }
        for (home, seq, ms) in homes {
            let sql = "REPLACE INTO home VALUES (?1, ?2, ?3, ?3, ?2)";
            let (seq, ms) = (i64::try_from(seq)?, i64::try_from(ms)?);
            self.writer.prepare_cached(sql)?.execute(params![&home.0[..], seq, ms])?;
        }
        put(&self.writer, &rows)?;
        self.writer.execute_batch("COMMIT")?;
        self.log.note()
    }

    /// Reads the newest messages of a channel and returns how many there were.
    pub(super) fn newest(
        &self,
        templates: &[Template],
        place: usize,
        rows: usize,
    ) -> Result<usize> {
        let home = templates[place % templates.len()].batch().map(|batch| batch.home);
        let home = home.context("a send commits a batch")?;
        let end = u128::from_be_bytes(home.0).saturating_add(1).to_be_bytes();
        let sql = format!(
            "SELECT k, ver, v FROM {MESSAGE} WHERE k >= ?1 AND k < ?2 ORDER BY k DESC LIMIT ?3"
        );
        let mut statement = self.reader.prepare_cached(&sql)?;
        let mut found = statement.query(params![&home.0[..], &end[..], rows as i64])?;
        let mut count = 0;
        while let Some(row) = found.next()? {
            count += usize::from(!row.get_ref(2)?.as_blob()?.is_empty());
        }
        Ok(count)
    }

    /// Reads the rows that a send reads.
    pub(super) fn points(&self, templates: &[Template], place: usize) -> rusqlite::Result<()> {
        let mut checks =
            templates[place % templates.len()].batch().into_iter().flat_map(|it| &it.checks);
        checks.try_for_each(|check| select(&self.reader, &check.key))
    }

    /// Returns how many pages were written to the log so far.
    pub(super) fn pages_logged(&self) -> u64 {
        self.log.pages
    }

    /// Returns the length of the log's file.
    pub(super) fn log_bytes(&self) -> u64 {
        let log = self.path.with_extension("db-wal");
        std::fs::metadata(log).map_or(0, |metadata| metadata.len())
    }

    /// Returns the bytes of all tables.
    pub(super) fn bytes(&self) -> rusqlite::Result<u64> {
        let sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
        let bytes: i64 = self.writer.query_row(sql, [], |row| row.get(0))?;
        Ok(bytes.unsigned_abs())
    }
}

/// Counts the pages that commits write, which the log's index tells.
struct Log {
    index: File,
    last: u32,
    pages: u64,
}

impl Log {
    fn open(database: &Path) -> Result<Log> {
        Ok(Log { index: File::open(database.with_extension("db-shm"))?, last: 0, pages: 0 })
    }

    fn note(&mut self) -> Result<()> {
        let mut number = [0; 4];
        self.index.read_exact_at(&mut number, LOG_FRAMES_AT)?;
        let frames = u32::from_ne_bytes(number);
        // A number that falls tells that the log was begun anew.
        let added = frames.checked_sub(self.last).unwrap_or(frames);
        self.pages += u64::from(added);
        self.last = frames;
        Ok(())
    }
}

fn open(path: &Path, layout: &Layout) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "page_size", layout.page_bytes)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "cache_size", -layout.cache_kib)?;
    connection.pragma_update(None, "mmap_size", if layout.mmap { MMAP_BYTES } else { 0 })?;
    Ok(connection)
}

fn select(writer: &Connection, key: &Key) -> rusqlite::Result<()> {
    let sql = format!("SELECT ver, v FROM {} WHERE k = ?1", key.table().name);
    let read = |row: &rusqlite::Row<'_>| row.get_ref(1).map(drop);
    writer.prepare_cached(&sql)?.query_row([key.bytes()], read).optional().map(drop)
}

fn put(writer: &Connection, rows: &Rows) -> rusqlite::Result<()> {
    let mut ver = [0; VERSION_BYTES];
    SystemEntropy.fill(&mut ver);
    for (key, value) in rows {
        let sql = format!(
            "INSERT INTO {} (k, ver, v) VALUES (?1, ?2, ?3) \
             ON CONFLICT (k) DO UPDATE SET ver = excluded.ver, v = excluded.v",
            key.table().name
        );
        writer.prepare_cached(&sql)?.execute(params![key.bytes(), &ver[..], value])?;
    }
    Ok(())
}

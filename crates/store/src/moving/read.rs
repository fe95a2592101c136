//! The reader of an export.
//!
//! Invariants: keys of a table rise from line to line, so no row stands there twice; the end is
//! told only after the checksum and the counts of the last line have proved right and nothing
//! follows it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::codec::FORMAT_JSON;
use crate::engine::{Entry, HomeRow};
use crate::id::Version;
use crate::key::KeyBytes;
use crate::moving::format::{FORM, Header, Section, Totals, kind_name};
use crate::moving::{FileError, Lines, Page, Pages, hex};
use crate::table::{Kind, Table};

/// Rows and bytes after which a page is handed on.
const PAGE_ROWS: usize = 4_096;
const PAGE_BYTES: usize = 1 << 20;

/// Reads an export.
pub struct Reader {
    lines: Lines,
    tables: Vec<&'static Table>,
    table: Option<&'static Table>,
    last_key: KeyBytes,
    counts: BTreeMap<String, u64>,
    is_over: bool,
}

impl Reader {
    /// Reads the first line, at which `lines` stands; nothing when the file is of another form.
    pub fn begin(
        lines: Lines,
        tables: Vec<&'static Table>,
    ) -> Result<Result<(Reader, Header), Lines>, FileError> {
        let header: Header = match lines.text().map(serde_json::from_str::<serde_json::Value>) {
            Some(Ok(line)) if line.get("campanile").is_some_and(|form| form == FORM) => {
                serde_json::from_value(line).map_err(|_| FileError::Foreign)?
            }
            Some(Ok(_)) => return Ok(Err(lines)),
            _ => return Err(FileError::Foreign),
        };
        if let Some((found, known)) = header.newer() {
            return Err(FileError::Version { found, known });
        }
        let reader = Reader {
            lines,
            tables,
            table: None,
            last_key: KeyBytes::new(),
            counts: BTreeMap::new(),
            is_over: false,
        };
        Ok(Ok((reader, header)))
    }

    /// Begins the rows of another table.
    fn section(&mut self, text: &str) -> Result<(), FileError> {
        let wrong = |problem| self.lines.wrong(problem);
        let section: Section<'_> =
            serde_json::from_str(text).map_err(|_| wrong("it is neither a table nor the end"))?;
        let table = self.tables.iter().find(|table| table.name == section.table).copied();
        let table = table.ok_or_else(|| wrong("this release knows no such table"))?;
        if kind_name(table.kind) != section.kind {
            return Err(wrong("the table is of another kind"));
        }
        if self.counts.insert(table.name.to_owned(), 0).is_some() {
            return Err(wrong("the table stands there twice"));
        }
        self.table = Some(table);
        self.last_key = KeyBytes::new();
        Ok(())
    }

    /// Proves that the file is whole: this is its last line.
    fn end(&mut self, totals: &Totals) -> Result<(), FileError> {
        let rows: u64 = self.counts.values().sum();
        let is_right = totals.rows == rows
            && totals.tables == self.counts
            && totals.sha256 == self.lines.hash_before();
        if !is_right || self.lines.advance()? {
            return Err(FileError::Changed);
        }
        self.is_over = true;
        Ok(())
    }

    fn row(&mut self, table: &'static Table, text: &str) -> Result<Entry, FileError> {
        let row = entry(table.kind, text);
        let row = row.ok_or_else(|| self.lines.wrong("it is no row of its table"))?;
        let count = self.counts.entry(table.name.to_owned()).or_default();
        if *count > 0 && row.key <= self.last_key {
            return Err(self.lines.wrong("its key does not follow the one before"));
        }
        *count += 1;
        self.last_key = row.key.clone();
        Ok(row)
    }
}

impl Pages for Reader {
    fn next(&mut self) -> Result<Option<Page>, FileError> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        let mut of = self.table;
        while !self.is_over {
            if !self.lines.advance()? {
                return Err(FileError::Cut);
            }
            let text = self.lines.text().map(str::to_owned);
            let text = text.ok_or_else(|| self.lines.wrong("it is no text"))?;
            if text.starts_with('[') {
                let table = self.table.ok_or_else(|| self.lines.wrong("it follows no table"))?;
                bytes += text.len();
                rows.push(self.row(table, &text)?);
                if rows.len() < PAGE_ROWS && bytes < PAGE_BYTES {
                    continue;
                }
            } else if let Ok(totals) = serde_json::from_str::<Totals>(&text) {
                self.end(&totals)?;
            } else {
                self.section(&text)?;
            }
            match of {
                Some(table) if !rows.is_empty() => return Ok(Some(Page { table, rows })),
                _ => of = self.table,
            }
        }
        Ok(None)
    }
}

fn entry(kind: Kind, text: &str) -> Option<Entry> {
    let key = |text: &str| hex::read(text).map(|bytes| KeyBytes::from(&bytes[..]));
    match kind {
        Kind::Record | Kind::Index => {
            let (k, ver, v): (&str, &str, &RawValue) = serde_json::from_str(text).ok()?;
            let ver: [u8; 16] = hex::read(ver)?.try_into().ok()?;
            let ver = Version(u128::from_be_bytes(ver));
            Some(Entry { key: key(k)?, value: value(v.get())?, ver })
        }
        Kind::Counter => {
            let (k, sum): (&str, i64) = serde_json::from_str(text).ok()?;
            Some(Entry::of_sum(key(k)?, sum))
        }
        Kind::Home => {
            let (k, seq, last_ms, last_message_ms, last_event_seq) =
                serde_json::from_str::<(&str, u64, u64, Option<u64>, u64)>(text).ok()?;
            let home = HomeRow { seq, last_ms, last_message_ms, last_event_seq };
            Some(Entry::of_home(key(k)?, home))
        }
    }
}

/// Reads a value: JSON that stands there as it is, or a text of hex.
fn value(text: &str) -> Option<Bytes> {
    match text.strip_prefix('"') {
        Some(text) => hex::read(text.strip_suffix('"')?).map(Bytes::from),
        None => {
            let mut value = Vec::with_capacity(text.len() + 1);
            value.push(FORMAT_JSON);
            value.extend_from_slice(text.as_bytes());
            Some(value.into())
        }
    }
}

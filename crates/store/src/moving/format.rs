//! What stands in the lines of an export, and the writer of them.
//!
//! Invariant: what is written is read back as the same rows, byte for byte; a value that is not
//! plain JSON is written in hex, so that every line is JSON and text.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::codec::FORMAT_JSON;
use crate::engine::Entry;
use crate::moving::{STORE_FORMAT, count, hex};
use crate::table::{Kind, Table};

/// The version of the lines that this release writes.
pub const VERSION: u32 = 1;
/// What the first line calls a file of this form.
pub(super) const FORM: &str = "store";
const BUFFER_BYTES: usize = 256 << 10;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The form of the file.
    campanile: String,
    /// The version of the lines.
    version: u32,
    /// The format of the rows.
    store_format: u32,
    /// The region that stands in every ARN.
    pub region: String,
    /// The account that stands in every ARN.
    pub account_id: String,
    /// The release that wrote it.
    pub release: String,
    /// When, for people.
    pub exported: String,
}

impl Header {
    /// Makes the first line of what this release writes.
    pub fn new(region: String, account_id: String, release: String, exported: String) -> Header {
        let (campanile, version) = (FORM.to_owned(), VERSION);
        Header {
            campanile,
            version,
            store_format: STORE_FORMAT,
            region,
            account_id,
            release,
            exported,
        }
    }

    /// Returns the version of the lines or of the rows that this release does not know, beside the
    /// one that it knows.
    pub(super) fn newer(&self) -> Option<(u32, u32)> {
        let versions = [(self.version, VERSION), (self.store_format, STORE_FORMAT)];
        versions.into_iter().find(|(found, known)| *found == 0 || found > known)
    }
}

/// The line before the rows of a table.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section<'a> {
    pub(super) table: &'a str,
    pub(super) kind: &'a str,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Rows in all.
    pub rows: u64,
    /// Rows of each table that has any.
    pub tables: BTreeMap<String, u64>,
    /// SHA-256 of all bytes before this line.
    pub sha256: String,
}

/// Names a kind of table in a file.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Record => "record",
        Kind::Index => "index",
        Kind::Counter => "counter",
        Kind::Home => "home",
    }
}

/// Writes an export.
pub(super) struct Writer<W: Write> {
    out: BufWriter<W>,
    hash: Sha256,
    line: Vec<u8>,
    bytes: u64,
    table: &'static str,
    counts: BTreeMap<String, u64>,
}

impl<W: Write> Writer<W> {
    /// Writes the first line.
    pub(super) fn begin(out: W, header: &Header) -> io::Result<Writer<W>> {
        let out = BufWriter::with_capacity(BUFFER_BYTES, out);
        let (hash, line, counts) = (Sha256::new(), Vec::new(), BTreeMap::new());
        let mut writer = Writer { out, hash, line, bytes: 0, table: "", counts };
        writer.json(header)?;
        Ok(writer)
    }

    /// Writes rows; those of a table stand together.
    pub(super) fn rows(&mut self, table: &'static Table, rows: &[Entry]) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        if self.table != table.name {
            self.table = table.name;
            self.json(&Section { table: table.name, kind: kind_name(table.kind) })?;
        }
        for row in rows {
            row_line(&mut self.line, table.kind, row);
            self.end_line()?;
        }
        *self.counts.entry(table.name.to_owned()).or_default() += count(rows.len());
        Ok(())
    }

    /// Writes the last line and hands everything on.
    pub(super) fn finish(mut self) -> io::Result<Totals> {
        let mut sha256 = Vec::new();
        hex::write(&mut sha256, &self.hash.clone().finalize());
        let sha256 = String::from_utf8_lossy(&sha256).into_owned();
        let tables = std::mem::take(&mut self.counts);
        let totals = Totals { rows: tables.values().sum(), tables, sha256 };
        self.json(&totals)?;
        self.out.flush()?;
        Ok(totals)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.line, value)?;
        self.end_line()
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.line.push(b'\n');
        self.hash.update(&self.line);
        self.bytes += count(self.line.len());
        self.out.write_all(&self.line)?;
        self.line.clear();
        Ok(())
    }
}

/// Writes a row as a JSON array; its first element is the key.
fn row_line(line: &mut Vec<u8>, kind: Kind, row: &Entry) {
    line.extend_from_slice(b"[\"");
    hex::write(line, &row.key);
    line.push(b'"');
    match kind {
        Kind::Record | Kind::Index => {
            line.extend_from_slice(b",\"");
            hex::write(line, &row.ver.0.to_be_bytes());
            line.extend_from_slice(b"\",");
            match plain_json(&row.value) {
                Some(json) => line.extend_from_slice(json),
                None => {
                    line.push(b'"');
                    hex::write(line, &row.value);
                    line.push(b'"');
                }
            }
        }
        Kind::Counter => number(line, Some(row.count())),
        Kind::Home => {
            let home = row.home();
            number(line, Some(home.seq));
            number(line, Some(home.last_ms));
            number(line, home.last_message_ms);
            number(line, Some(home.last_event_seq));
        }
    }
    line.push(b']');
}

fn number(line: &mut Vec<u8>, number: Option<impl ToString>) {
    line.push(b',');
    match number {
        Some(number) => line.extend_from_slice(number.to_string().as_bytes()),
        None => line.extend_from_slice(b"null"),
    }
}

/// Returns the JSON object of a value that is nothing but one, on one line.
fn plain_json(value: &[u8]) -> Option<&[u8]> {
    let json = value.strip_prefix(&[FORMAT_JSON])?;
    let is_object = json.starts_with(b"{") && json.ends_with(b"}") && !json.contains(&b'\n');
    let is_text = is_object && std::str::from_utf8(json).is_ok();
    let is_json = is_text && serde_json::from_slice::<serde::de::IgnoredAny>(json).is_ok();
    is_json.then_some(json)
}

//! The lines of a file that is brought in, counted and hashed on the way.
//!
//! Invariant: a line is bounded, so that a file of anything else is refused before it fills the
//! memory; the hash covers every line before the one that is looked at.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sha2::{Digest as _, Sha256};

use crate::moving::{Progress, count, hex};

/// A line is no longer: the largest record has some tens of kilobytes.
const LINE_BYTES_MAX: u64 = 4 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// Why a file cannot be brought in. Never shows what stands in it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Read(#[source] io::Error),
    /// Its first line is none of ours.
    #[error("the file is not an export of this program, and no history in its form")]
    Foreign,
    /// A later release wrote it.
    #[error("the file has version {found}, and this release knows versions up to {known}")]
    Version {
        /// Its version.
        found: u32,
        /// The version of this release.
        known: u32,
    },
    /// It ends before its last line.
    #[error("the file is not whole: its last line is missing")]
    Cut,
    /// Its checksum or its counts are others.
    #[error("the file was changed: its last line does not fit what stands before it")]
    Changed,
    /// One line is wrong.
    #[error("line {number} of the file cannot be used: {problem}")]
    Line {
        /// Its number, from 1.
        number: u64,
        /// What is wrong with it.
        problem: Cow<'static, str>,
    },
}

/// Reads lines.
pub struct Lines {
    input: BufReader<Box<dyn Read + Send>>,
    line: Vec<u8>,
    number: u64,
    hash: Sha256,
    progress: Arc<Progress>,
}

impl Lines {
    /// Begins before the first line of `input`.
    pub fn new(input: Box<dyn Read + Send>, progress: Arc<Progress>) -> Lines {
        let input = BufReader::with_capacity(BUFFER_BYTES, input);
        Lines { input, line: Vec::new(), number: 0, hash: Sha256::new(), progress }
    }

    /// Goes to the next line and tells whether there is one. A last line without an end counts as
    /// cut off.
    pub fn advance(&mut self) -> Result<bool, FileError> {
        self.hash.update(&self.line);
        self.line.clear();
        let mut bounded = (&mut self.input).take(LINE_BYTES_MAX);
        bounded.read_until(b'\n', &mut self.line).map_err(FileError::Read)?;
        if self.line.is_empty() {
            return Ok(false);
        }
        self.number += 1;
        self.progress.bytes.fetch_add(count(self.line.len()), Ordering::Relaxed);
        match self.line.last() {
            Some(b'\n') => Ok(true),
            _ if count(self.line.len()) < LINE_BYTES_MAX => Err(FileError::Cut),
            _ if self.number == 1 => Err(FileError::Foreign),
            _ => Err(self.wrong("it is too long")),
        }
    }

    /// Returns the line, without its end; nothing when it is no text.
    pub fn text(&self) -> Option<&str> {
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        std::str::from_utf8(line).ok()
    }

    /// Returns the number of the line, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the hash, in hex, of all lines before this one.
    pub fn hash_before(&self) -> String {
        let mut text = Vec::new();
        hex::write(&mut text, &self.hash.clone().finalize());
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Says that this line is wrong.
    pub fn wrong(&self, problem: impl Into<Cow<'static, str>>) -> FileError {
        FileError::Line { number: self.number, problem: problem.into() }
    }
}

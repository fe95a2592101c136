//! Tuple keys: a table and bytes that order like the tuple they were made of.
//!
//! Invariant: for tuples of one form, order of bytes = order of tuples, and no tuple's bytes begin
//! another's, texts included. Keys should stay within `KEY_INLINE_BYTES`: longer ones work but
//! cost an allocation here and pages in the engine.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

pub use crate::id::{NotAUid, STAMP_BYTES, Stamp, Uid, Version};
pub use crate::range::{Direction, Range};

use crate::id::write_hex;
use crate::table::{HOME, Table};

/// Bytes that a key holds without an allocation.
pub const KEY_INLINE_BYTES: usize = 40;

/// Ends a text in a key.
const TEXT_END: u8 = 0;
/// Stands before the two bytes that would break the order: the terminator and itself.
const TEXT_ESCAPE: u8 = 1;

/// The bytes of a key, kept inline when they are few.
#[derive(Clone)]
pub struct KeyBytes(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, buf: [u8; KEY_INLINE_BYTES] },
    Heap(Vec<u8>),
}

impl KeyBytes {
    /// Creates an empty key.
    pub fn new() -> KeyBytes {
        KeyBytes(Repr::Inline { len: 0, buf: [0; KEY_INLINE_BYTES] })
    }

    /// Appends bytes.
    pub fn extend(&mut self, more: &[u8]) {
        match &mut self.0 {
            Repr::Heap(bytes) => bytes.extend_from_slice(more),
            Repr::Inline { len, buf } => {
                let start = usize::from(*len);
                let end = start + more.len();
                match (buf.get_mut(start..end), u8::try_from(end)) {
                    (Some(room), Ok(end)) => {
                        room.copy_from_slice(more);
                        *len = end;
                    }
                    _ => self.0 = Repr::Heap([&buf[..start], more].concat()),
                }
            }
        }
    }

    /// Overwrites the bytes from `at`; the caller has reserved them.
    fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        let all = match &mut self.0 {
            Repr::Heap(all) => all.as_mut_slice(),
            Repr::Inline { len, buf } => &mut buf[..usize::from(*len)],
        };
        if let Some(room) = all.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }
}

impl Default for KeyBytes {
    fn default() -> KeyBytes {
        KeyBytes::new()
    }
}

impl From<&[u8]> for KeyBytes {
    fn from(bytes: &[u8]) -> KeyBytes {
        let mut key = KeyBytes::new();
        key.extend(bytes);
        key
    }
}

impl Deref for KeyBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, buf } => &buf[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for KeyBytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl AsRef<[u8]> for KeyBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for KeyBytes {
    fn eq(&self, other: &KeyBytes) -> bool {
        **self == **other
    }
}

impl Eq for KeyBytes {}

impl PartialOrd for KeyBytes {
    fn partial_cmp(&self, other: &KeyBytes) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyBytes {
    fn cmp(&self, other: &KeyBytes) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for KeyBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, self)
    }
}

/// Names a row: its table and its bytes, built element by element.
#[derive(Clone)]
pub struct Key {
    table: &'static Table,
    bytes: KeyBytes,
    /// Where the commit writes the batch's stamp.
    stamp_at: Option<usize>,
}

impl Key {
    /// Begins a key of `table`.
    pub fn new(table: &'static Table) -> Key {
        Key { table, bytes: KeyBytes::new(), stamp_at: None }
    }

    /// Returns the key of a home's own row.
    pub fn home(uid: Uid) -> Key {
        Key::new(&HOME).uid(uid)
    }

    /// Appends a uid.
    pub fn uid(self, uid: Uid) -> Key {
        self.raw(&uid.0)
    }

    /// Appends a byte.
    pub fn u8(self, number: u8) -> Key {
        self.raw(&[number])
    }

    /// Appends a 16-bit number.
    pub fn u16(self, number: u16) -> Key {
        self.raw(&number.to_be_bytes())
    }

    /// Appends a 32-bit number.
    pub fn u32(self, number: u32) -> Key {
        self.raw(&number.to_be_bytes())
    }

    /// Appends a 64-bit number.
    pub fn u64(self, number: u64) -> Key {
        self.raw(&number.to_be_bytes())
    }

    /// Appends a known stamp.
    pub fn stamp(self, stamp: Stamp) -> Key {
        self.raw(&stamp.to_bytes())
    }

    /// Appends a text and its end; U+0000 and U+0001 take two bytes, all else stands as it is.
    pub fn text(mut self, text: &str) -> Key {
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|byte| *byte <= TEXT_ESCAPE) {
            self.bytes.extend(&rest[..at]);
            self.bytes.extend(&[TEXT_ESCAPE, rest[at] + 1]);
            rest = &rest[at + 1..];
        }
        self.bytes.extend(rest);
        self.bytes.extend(&[TEXT_END]);
        self
    }

    /// Appends bytes as they are; the caller answers for their order.
    pub fn raw(mut self, bytes: &[u8]) -> Key {
        self.bytes.extend(bytes);
        self
    }

    /// Reserves the place of the stamp that the commit gives to the batch: once per key, in puts
    /// and appended records only.
    pub fn stamped(mut self) -> Key {
        debug_assert!(self.stamp_at.is_none(), "a key holds one reserved stamp");
        self.stamp_at = Some(self.bytes.len());
        self.raw(&[0; STAMP_BYTES])
    }

    /// Returns the table.
    pub fn table(&self) -> &'static Table {
        self.table
    }

    /// Returns the bytes; a reserved stamp reads as zeros.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Tells whether the key waits for its stamp.
    pub fn is_stamped(&self) -> bool {
        self.stamp_at.is_some()
    }

    /// Returns the key with its reserved stamp, if any, filled in.
    pub fn with_stamp(mut self, stamp: Stamp) -> Key {
        if let Some(at) = self.stamp_at.take() {
            self.bytes.overwrite(at, &stamp.to_bytes());
        }
        self
    }

    pub(crate) fn into_bytes(self) -> KeyBytes {
        self.bytes
    }

    /// Whether both keys are of one table. The same `const` table may live at several addresses.
    pub(crate) fn is_of_table(&self, other: &Key) -> bool {
        std::ptr::eq(self.table, other.table) || self.table.name == other.table.name
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.stamp_at == other.stamp_at && self.bytes == other.bytes && self.is_of_table(other)
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        let tables = match std::ptr::eq(self.table, other.table) {
            true => Ordering::Equal,
            false => self.table.name.cmp(other.table.name),
        };
        let rows = || self.bytes.cmp(&other.bytes);
        tables.then_with(rows).then_with(|| self.stamp_at.cmp(&other.stamp_at))
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Keys of different tables with the same bytes are few.
        self.bytes.hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:?}", self.table.name, self.bytes)
    }
}

/// Takes a key apart, element by element, in the order in which it was built.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Begins at the first element.
    pub fn new(bytes: &'a [u8]) -> Parts<'a> {
        Parts { rest: bytes }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    /// Reads a uid.
    pub fn uid(&mut self) -> Option<Uid> {
        self.take().map(Uid)
    }

    /// Reads a byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_be_bytes)
    }

    /// Reads a 16-bit number.
    pub fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    /// Reads a 32-bit number.
    pub fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    /// Reads a 64-bit number.
    pub fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    /// Reads a stamp.
    pub fn stamp(&mut self) -> Option<Stamp> {
        self.take().map(Stamp::from_bytes)
    }

    /// Reads a text.
    pub fn text(&mut self) -> Option<String> {
        let end = self.rest.iter().position(|byte| *byte == TEXT_END)?;
        let mut text = Vec::with_capacity(end);
        let mut escaped = false;
        for byte in &self.rest[..end] {
            if escaped {
                text.push(byte.checked_sub(1)?);
            } else if *byte != TEXT_ESCAPE {
                text.push(*byte);
            }
            escaped = !escaped && *byte == TEXT_ESCAPE;
        }
        self.rest = &self.rest[end + 1..];
        String::from_utf8(text).ok()
    }

    /// Returns what has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

#[cfg(test)]
mod tests;

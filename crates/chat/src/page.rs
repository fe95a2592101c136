//! Lists in pages: MaxResults, NextToken, and lists that leave rows out.
//!
//! Invariant: a NextToken is sealed for one operation and its filters; pages joined together give
//! every row that was there throughout exactly once; a token is absent once no row is left.

use store::{Direction, Entry, Range, View};

use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::limits;

/// The walk of one page through a range of rows.
pub(crate) struct Walk {
    range: Range,
    direction: Direction,
    context: Vec<u8>,
    room: usize,
    reads: usize,
    position: Option<Vec<u8>>,
    read: usize,
    passed: usize,
    exhausted: bool,
}

impl Walk {
    /// Starts at the place that `next_token` names, or at the beginning.
    ///
    /// `context` names the operation and everything that chose the rows, so that a token of
    /// another list is refused.
    ///
    /// # Errors
    /// BadRequest when the token was not made for this list.
    pub(crate) fn start(
        cx: &Cx,
        context: &[&[u8]],
        range: Range,
        direction: Direction,
        max_results: Option<i32>,
        next_token: Option<&str>,
    ) -> Result<Self> {
        let mut bound = Vec::new();
        for part in context {
            bound.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            bound.extend_from_slice(part);
        }
        let position = match next_token {
            None | Some("") => None,
            Some(token) => {
                Some(wire::token::open(&cx.place.token_key, &bound, token).ok_or_else(|| {
                    Error::bad_request("The NextToken is not valid for this list")
                })?)
            }
        };
        let room = max_results.and_then(|max| usize::try_from(max).ok());
        Ok(Self {
            range,
            direction,
            context: bound,
            room: room.unwrap_or(limits::PAGE_DEFAULT),
            reads: 0,
            position,
            read: 0,
            passed: 0,
            exhausted: false,
        })
    }

    /// Reads rows to be passed one by one with [`Walk::pass`]; empty when the page is done.
    pub(crate) async fn read(&mut self, view: &View) -> Result<Vec<Entry>> {
        if self.room == 0 || self.exhausted || self.reads == limits::PAGE_READS_MAX {
            return Ok(Vec::new());
        }
        self.reads += 1;
        let range = match &self.position {
            Some(position) => self.range.clone().after(position),
            None => self.range.clone(),
        };
        // One more than fits tells whether this page is the last.
        let rows = view.list(&range, self.room + 1, self.direction).await?;
        self.exhausted = rows.len() <= self.room;
        (self.read, self.passed) = (rows.len(), 0);
        Ok(rows)
    }

    /// Reads the rows of a page that leaves none out.
    pub(crate) async fn take(&mut self, view: &View) -> Result<Vec<Entry>> {
        let room = self.room;
        let mut rows = self.read(view).await?;
        rows.truncate(room);
        rows.iter().for_each(|row| self.pass(row, true));
        Ok(rows)
    }

    /// Whether another row fits into the page.
    pub(crate) fn has_room(&self) -> bool {
        self.room > 0
    }

    /// Moves behind `row`, which was taken into the page or left out.
    pub(crate) fn pass(&mut self, row: &Entry, taken: bool) {
        self.position = Some(row.key.to_vec());
        self.passed += 1;
        self.room -= usize::from(taken);
    }

    /// Returns the token of the next page, when rows are left.
    pub(crate) fn next_token(&self, cx: &Cx) -> Option<String> {
        let rows_left = self.passed < self.read || !self.exhausted;
        let position = self.position.as_ref().filter(|_| rows_left)?;
        Some(wire::token::seal(&cx.place.token_key, &self.context, position))
    }
}

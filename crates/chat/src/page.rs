//! Lists in pages: MaxResults, NextToken, and lists that leave rows out.
//!
//! Invariant: a NextToken is sealed for one operation and its filters; pages joined together give
//! every row that was there throughout exactly once; a token is absent once no row is left.

use store::{Direction, Entry, Range, View};

use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::limits;

/// One page of a list: its room, its reads, and the position behind which the next one begins.
pub(crate) struct Page {
    context: Vec<u8>,
    room: usize,
    reads: usize,
    position: Option<Vec<u8>>,
}

impl Page {
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
        Ok(Self { context: bound, room: room.unwrap_or(limits::PAGE_DEFAULT), reads: 0, position })
    }

    /// Returns the position that has been reached; nothing at the beginning.
    pub(crate) fn position(&self) -> Option<&[u8]> {
        self.position.as_deref()
    }

    /// Whether another read may be made for this page, which is counted.
    pub(crate) fn may_read(&mut self) -> bool {
        let may = self.has_room() && self.reads < limits::PAGE_READS_MAX;
        self.reads += usize::from(may);
        may
    }

    /// Whether another row fits into the page.
    pub(crate) fn has_room(&self) -> bool {
        self.room > 0
    }

    /// Moves to the position of what was taken into the page or left out.
    pub(crate) fn pass(&mut self, position: &[u8], taken: bool) {
        self.position = Some(position.to_vec());
        self.room -= usize::from(taken);
    }

    /// Returns the token of the page that begins behind the position.
    pub(crate) fn token(&self, cx: &Cx) -> Option<String> {
        let position = self.position.as_ref()?;
        Some(wire::token::seal(&cx.place.token_key, &self.context, position))
    }
}

/// The walk of one page through a range of rows.
pub(crate) struct Walk {
    page: Page,
    range: Range,
    direction: Direction,
    read: usize,
    passed: usize,
    exhausted: bool,
}

impl Walk {
    /// Starts as [`Page::start`] does, in `range`.
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
        let page = Page::start(cx, context, max_results, next_token)?;
        Ok(Self { page, range, direction, read: 0, passed: 0, exhausted: false })
    }

    /// Reads rows to be passed one by one with [`Walk::pass`]; empty when the page is done.
    pub(crate) async fn read(&mut self, view: &View) -> Result<Vec<Entry>> {
        if self.exhausted || !self.page.may_read() {
            return Ok(Vec::new());
        }
        let range = match self.page.position() {
            Some(position) => self.range.clone().after(position),
            None => self.range.clone(),
        };
        // One more than fits tells whether this page is the last.
        let rows = view.list(&range, self.page.room + 1, self.direction).await?;
        self.exhausted = rows.len() <= self.page.room;
        (self.read, self.passed) = (rows.len(), 0);
        Ok(rows)
    }

    /// Reads the rows of a page that leaves none out.
    pub(crate) async fn take(&mut self, view: &View) -> Result<Vec<Entry>> {
        let room = self.page.room;
        let mut rows = self.read(view).await?;
        rows.truncate(room);
        rows.iter().for_each(|row| self.pass(row, true));
        Ok(rows)
    }

    /// Takes those of some rows into the page that show something, as many as fit, and returns what
    /// they show.
    pub(crate) fn sift<T>(&mut self, rows: &[Entry], shown: Vec<Option<T>>) -> Vec<T> {
        let mut taken = Vec::new();
        for (row, shown) in rows.iter().zip(shown) {
            if !self.has_room() {
                break;
            }
            self.pass(row, shown.is_some());
            taken.extend(shown);
        }
        taken
    }

    /// Whether another row fits into the page.
    pub(crate) fn has_room(&self) -> bool {
        self.page.has_room()
    }

    /// Moves behind `row`, which was taken into the page or left out.
    pub(crate) fn pass(&mut self, row: &Entry, taken: bool) {
        self.page.pass(&row.key, taken);
        self.passed += 1;
    }

    /// Returns the token of the next page, when rows are left.
    pub(crate) fn next_token(&self, cx: &Cx) -> Option<String> {
        let rows_left = self.passed < self.read || !self.exhausted;
        rows_left.then(|| self.page.token(cx)).flatten()
    }
}

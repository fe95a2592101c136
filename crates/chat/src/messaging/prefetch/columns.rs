//! Several ranges that are read side by side, each until enough of its rows are shown.
//!
//! Invariant: a round is one read, whatever the number of ranges; the rounds are bounded, so that a
//! range of which little is shown may give fewer items than there are.

use store::{Direction, Entry, Range, View};

use crate::error::Result;
use crate::limits;

/// See the head of this file.
pub(super) struct Columns<T> {
    columns: Vec<Column<T>>,
    /// Items that each column is to have.
    wanted: usize,
    direction: Direction,
    rounds: usize,
}

pub(super) struct Column<T> {
    /// What is still to be read.
    range: Range,
    is_read: bool,
    pub(super) items: Vec<T>,
    /// Whether there may be more than the items.
    pub(super) has_more: bool,
}

impl<T> Columns<T> {
    pub(super) fn new(
        ranges: impl Iterator<Item = Range>,
        wanted: usize,
        direction: Direction,
    ) -> Self {
        let column = |range| Column { range, is_read: false, items: Vec::new(), has_more: true };
        Self { columns: ranges.map(column).collect(), wanted, direction, rounds: 0 }
    }

    /// Reads on in every column that has room. Returns rows with the indexes of their columns, to be
    /// given to [`Columns::pass`] in this order; none when all is read that will be.
    pub(super) async fn read(&mut self, view: &View) -> Result<Vec<(usize, Entry)>> {
        let wanted = self.wanted;
        let is_open = |column: &Column<T>| !column.is_read && column.items.len() < wanted;
        let open = self.columns.iter().enumerate().filter(|(_, column)| is_open(column));
        let (indexes, ranges): (Vec<usize>, Vec<Range>) =
            open.map(|(index, column)| (index, column.range.clone())).unzip();
        if ranges.is_empty() || self.rounds == limits::PAGE_READS_MAX {
            return Ok(Vec::new());
        }
        self.rounds += 1;
        // One more than fits tells whether there are more.
        let limit = wanted + 1;
        let lists = view.lists(&ranges, limit, self.direction).await?;
        let mut rows = Vec::new();
        for (index, list) in indexes.into_iter().zip(lists) {
            let column = &mut self.columns[index];
            column.is_read = list.len() < limit;
            column.has_more = !column.is_read;
            rows.extend(list.into_iter().map(|row| (index, row)));
        }
        Ok(rows)
    }

    /// Takes what a row shows, if anything.
    pub(super) fn pass(&mut self, index: usize, row: &Entry, item: Option<T>) {
        let column = &mut self.columns[index];
        if column.items.len() == self.wanted {
            column.has_more = true;
            return;
        }
        column.range = column.range.clone().after(&row.key);
        column.items.extend(item);
    }

    pub(super) fn into_columns(self) -> Vec<Column<T>> {
        self.columns
    }
}

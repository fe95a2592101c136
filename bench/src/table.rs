//! Tables as Markdown, so that what a run prints is what RESULTS.md holds.

use std::time::Duration;

/// Prints a table; each row has as many cells as there are heads.
pub(crate) fn print(heads: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heads[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:>width$} |"));
        println!("|{}", cells.collect::<String>());
    };
    line(&heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>());
    println!(
        "|{}",
        widths.iter().map(|width| format!("{}:|", "-".repeat(width + 1))).collect::<String>()
    );
    for row in rows {
        line(row);
    }
    println!();
}

/// Shows a time in milliseconds.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

/// Shows a time in microseconds.
pub(crate) fn us(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64() * 1e6)
}

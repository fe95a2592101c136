//! How often the disk syncs: one serial durable answer takes at least that long.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use crate::Place;
use crate::table::{self, us};

const PAGE_BYTES: usize = 4_096;
/// Pages of the file that is written over and over, like a log that has been folded once.
const PAGES: usize = 4_096;
/// Pages of one write, like the log of a group.
const WRITES_PAGES: [usize; 3] = [1, 16, 128];

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

/// How a write reaches the disk.
#[derive(Clone, Copy)]
enum Sync {
    /// With the file's times, as SQLite does unless it was told that there is another way.
    All,
    /// With no more than is needed to read the data back.
    Data,
}

/// What the writes do to the file.
#[derive(Clone, Copy)]
enum Writes {
    Append,
    Over,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    println!("Syncs of a file, one after the other:\n");
    let mut rows = Vec::new();
    for (name, sync, writes) in [
        ("fsync, growing file", Sync::All, Writes::Append),
        ("fsync, written over", Sync::All, Writes::Over),
        ("fdatasync, growing file", Sync::Data, Writes::Append),
        ("fdatasync, written over", Sync::Data, Writes::Over),
    ] {
        let mut row = vec![name.to_owned()];
        for pages in WRITES_PAGES {
            let time = measure(options, sync, writes, pages)?;
            row.push(us(time));
            row.push(format!("{:.0}", 1.0 / time.as_secs_f64()));
        }
        rows.push(row);
    }
    let heads = ["", "4 KiB: us", "1/s", "64 KiB: us", "1/s", "512 KiB: us", "1/s"];
    table::print(&heads, &rows);
    Ok(())
}

/// Returns the median time of a write and its sync.
fn measure(options: &Options, sync: Sync, writes: Writes, pages: usize) -> Result<Duration> {
    let folder = options.place.folder()?;
    let mut file = File::create(folder.path().join("log"))?;
    let page = [0x5a; PAGE_BYTES];
    if matches!(writes, Writes::Over) {
        for _ in 0..PAGES {
            file.write_all(&page)?;
        }
        file.sync_all()?;
    }
    let group = page.repeat(pages);
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < options.seconds {
        if matches!(writes, Writes::Over) && (times.len() + 1) * pages % PAGES < pages {
            file.seek(SeekFrom::Start(0))?;
        }
        let start = Instant::now();
        file.write_all(&group)?;
        match sync {
            Sync::All => file.sync_all()?,
            Sync::Data => file.sync_data()?,
        }
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

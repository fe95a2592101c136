//! Which layout of the embedded database serves sends best: one thing changed at a time.
//!
//! Plain SQLite with rows that are those of a real send, recorded from the rules: groups of 64
//! sends, each group one durable transaction as the engine's writer makes it, into a database that
//! holds some tens of thousands of sends already. Then newest-50 pages are read. The figure to
//! look at is CPU time per send: the disk's own pace is the same for all.

mod database;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use tokio::runtime::Builder;

use crate::Place;
use crate::cpu::Whose;
use crate::engine::Choice;
use crate::table::{self, ms, us};
use crate::template::Template;
use crate::world::Size;
use database::{Database, Layout};

/// Sends in one transaction while the database is filled, and unless another number is asked for.
const GROUP: usize = 64;
/// Messages of a page.
const PAGE_ROWS: usize = 50;
/// Pages that are read.
const PAGES: usize = 500;

const HEADS: [&str; 11] = [
    "layout",
    "channels",
    "CPU us/send",
    "group p50 ms",
    "p99",
    "longest",
    "log KiB/send",
    "log MiB",
    "stored B/send",
    "newest-50 us",
    "points us",
];

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// Groups in the database before the measurement.
    #[arg(long, default_value_t = 800)]
    before: usize,
    /// Measured groups.
    #[arg(long, default_value_t = 300)]
    groups: usize,
    /// Sends in one measured transaction.
    #[arg(long, default_value_t = GROUP)]
    group: usize,
    /// Only layouts whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// How often each layout is measured; the median by CPU time is shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds * options.groups * options.group > 0, "nothing to measure");
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let size = Size { senders: GROUP, channels: 1_000, guests: 0 };
    let choice = Choice::memory();
    let bare = runtime.block_on(crate::sends::Bare::make(&choice, Path::new(""), size))?;
    println!(
        "Layouts of the embedded database: groups of {} sends, {} groups after {} sends:\n",
        options.group,
        options.groups,
        options.before * GROUP
    );
    let mut rows = Vec::new();
    for layout in Layout::candidates() {
        if !layout.name.contains(&options.only) {
            continue;
        }
        for (channels, templates) in [(1, &bare.together), (1_000, &bare.apart)] {
            let measure = || measure(options, &layout, templates);
            let mut found = (0..options.rounds).map(|_| measure()).collect::<Result<Vec<_>>>()?;
            found.sort_by_key(|figures| figures.cpu);
            let mut row = vec![layout.name.to_owned(), channels.to_string()];
            row.extend(found[found.len() / 2].cells());
            rows.push(row);
        }
    }
    table::print(&HEADS, &rows);
    Ok(())
}

struct Figures {
    /// Of one send.
    cpu: Duration,
    /// Of each group, sorted.
    times: Vec<Duration>,
    /// Written to the log for one send.
    log_kib: f64,
    log_bytes_max: u64,
    stored_bytes: u64,
    page: Duration,
    /// The rows that one send reads.
    points: Duration,
}

impl Figures {
    fn cells(&self) -> Vec<String> {
        let at = |share: f64| self.times[(self.times.len() as f64 * share) as usize];
        let longest = self.times.last().copied().unwrap_or_default();
        vec![
            format!("{:.1}", self.cpu.as_secs_f64() * 1e6),
            ms(at(0.5)),
            ms(at(0.99)),
            ms(longest),
            format!("{:.1}", self.log_kib),
            format!("{:.0}", self.log_bytes_max as f64 / f64::from(1 << 20)),
            self.stored_bytes.to_string(),
            us(self.page),
            us(self.points),
        ]
    }
}

fn measure(options: &Options, layout: &Layout, templates: &[Template]) -> Result<Figures> {
    let folder = options.place.folder()?;
    let mut database = Database::make(folder.path(), layout, templates)?;
    database.durable(false)?;
    let mut next = 0;
    let mut commit = |database: &mut Database, sends: usize| {
        next += sends;
        database.commit(templates, next - sends..next)
    };
    for _ in 0..options.before {
        commit(&mut database, GROUP)?;
    }
    database.durable(true)?;
    let (mut times, mut log_bytes_max) = (Vec::new(), 0);
    let pages = database.pages_logged();
    let cpu = Whose::Own.used();
    for _ in 0..options.groups {
        let start = Instant::now();
        commit(&mut database, options.group)?;
        times.push(start.elapsed());
        log_bytes_max = log_bytes_max.max(database.log_bytes());
    }
    let cpu = Whose::Own.used() - cpu;
    let sends = u32::try_from(options.groups * options.group)?;
    let logged = (database.pages_logged() - pages) as f64 * layout.page_bytes as f64;
    times.sort_unstable();
    let stored_bytes = database.bytes()? / next as u64;
    let reads = u32::try_from(PAGES)?;
    let start = Instant::now();
    for place in 0..PAGES {
        let count = database.newest(templates, place, PAGE_ROWS)?;
        ensure!(count > 0, "a channel has no messages");
    }
    let page = start.elapsed() / reads;
    let start = Instant::now();
    (0..PAGES).try_for_each(|place| database.points(templates, place))?;
    let points = start.elapsed() / reads;
    Ok(Figures {
        cpu: cpu / sends,
        times,
        log_kib: logged / 1_024.0 / f64::from(sends),
        log_bytes_max,
        stored_bytes,
        page,
        points,
    })
}

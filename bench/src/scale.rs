//! A store of millions of rows beside one that is nearly empty, in the same run.
//!
//! Both are made by `campanile db import` of a generated history. What is compared: how long a start
//! takes, also after `kill -9` under load; sends; the newest page of a long channel and one deep
//! in it.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use store::{Clock as _, SystemClock};
use tokio::runtime::{Builder, Runtime};

use crate::Place;
use crate::history::Size;
use crate::http::{Client, Connection};
use crate::load::{self, Caller, Sample, Window};
use crate::sender::{Source, ToServer, Turns};
use crate::server::{Binary, Server};
use crate::table::{self, ms, us};
use crate::world::Request;

const CALLERS: usize = 64;
/// Channels that are sent into.
const SEATS: u64 = 1_000;
const STARTS: usize = 5;
/// Turns of each lane, so that what else the machine does touches both stores alike.
const ROUNDS: u32 = 3;
/// The store that counts as empty: somebody to send, and a page to list.
const EMPTY: Size = Size { messages: 1_000, users: 1_000, channels: 1_000, memberships: 1_000 };
const SMOKE: Size = Size { messages: 2_000, users: 200, channels: 100, memberships: 400 };

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    binary: Binary,
    /// Measured seconds of each lane.
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// A few seconds in all, to see that the bench itself works.
    #[arg(long)]
    smoke: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut options = options.clone();
    if options.smoke {
        (options.size, options.seconds) = (SMOKE, 0.6);
    }
    let Size { messages, users, channels, memberships } = options.size;
    println!(
        "A store of {messages} messages, {users} users, {channels} channels and {memberships} \
         memberships, beside one that is nearly empty; {CALLERS} callers send:\n"
    );
    let folder = options.place.folder()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let bench = Bench { options: &options, folder: folder.path(), runtime };
    let silent = bench.import("silent", Size { messages: 0, ..options.size })?;
    let mut stores = [bench.import("empty", EMPTY)?, bench.import("full", options.size)?];
    for _ in 0..ROUNDS {
        for store in &mut stores {
            bench.round(store)?;
        }
    }
    bench.print(&silent, &stores);
    Ok(())
}

/// One store and what was measured of it.
struct Store {
    name: &'static str,
    size: Size,
    flags: Vec<String>,
    import: String,
    bytes: u64,
    starts: Vec<Duration>,
    killed_starts: Vec<Duration>,
    sends: Sample,
    pages: [Sample; 2],
}

struct Bench<'a> {
    options: &'a Options,
    folder: &'a Path,
    runtime: Runtime,
}

impl Bench<'_> {
    /// Makes a store; the file goes at once.
    fn import(&self, name: &'static str, size: Size) -> Result<Store> {
        let (file, data) = (self.folder.join(format!("{name}.jsonl")), self.folder.join(name));
        size.write(&file)?;
        let flags = vec!["--data-dir".to_owned(), data.display().to_string()];
        let mut command = Command::new(self.options.binary.path()?);
        command.args(["db", "import", "--input"]).arg(&file).args(&flags);
        let done = command.output()?;
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(done.status.success(), "the import failed: {told}");
        std::fs::remove_file(&file)?;
        let import = told.lines().last().and_then(|line| line.strip_prefix("campanile: imported "));
        Ok(Store {
            name,
            size,
            flags,
            import: import.context("the import tells its end")?.to_owned(),
            bytes: std::fs::metadata(data.join("campanile.db"))?.len(),
            starts: Vec::new(),
            killed_starts: Vec::new(),
            sends: Sample::default(),
            pages: Default::default(),
        })
    }

    fn start(&self, store: &Store) -> Result<(Server, Duration)> {
        let begun = Instant::now();
        let server = Server::start(&self.options.binary, &store.flags)?;
        Ok((server, begun.elapsed()))
    }

    /// Measures everything once; the server is killed while it is sent to.
    fn round(&self, store: &mut Store) -> Result<()> {
        for _ in 0..STARTS {
            let (server, took) = self.start(store)?;
            store.starts.push(took);
            server.end()?;
        }
        let (server, _) = self.start(store)?;
        let seconds = self.options.seconds / f64::from(ROUNDS);
        for deep in [false, true] {
            let sample =
                self.runtime.block_on(self.pages(&server, store.size.page(deep), seconds / 2.0))?;
            store.pages[usize::from(deep)].join(sample);
        }
        let seats = store.size.seats(SEATS);
        let sample = self.runtime.block_on(async {
            let callers = CALLERS.min(seats.len());
            let mut senders = Vec::new();
            for place in 0..callers {
                let source = Source::Sends(Turns::share(&seats, place, callers));
                senders.push(ToServer::open(server.client(), source, callers).await?);
            }
            load::run(senders, Window::of_seconds(seconds), &[server.process()]).await
        })?;
        store.sends.join(sample);
        // Its log holds the last sends.
        drop(server);
        let (server, took) = self.start(store)?;
        store.killed_starts.push(took);
        server.end()
    }

    async fn pages(&self, server: &Server, request: Request, seconds: f64) -> Result<Sample> {
        let (client, connection) = (server.client(), Connection::open(server.address).await?);
        let caller = Lister { client, connection, request };
        load::run(vec![caller], Window::of_seconds(seconds), &[server.process()]).await
    }

    fn print(&self, silent: &Store, [empty, full]: &[Store; 2]) {
        let rows = [empty, full].map(row);
        table::print(&HEADS, &rows);
        let messages = full.size.messages.max(1);
        let each = full.bytes.saturating_sub(silent.bytes) / messages;
        let slower = |left: f64, right: f64| format!("{:.2}", left / right.max(f64::MIN_POSITIVE));
        let sends = slower(empty.sends.per_second(), full.sends.per_second());
        let [first, deep] = [0, 1].map(|place| {
            let page = |store: &Store| store.pages[place].quantile(0.5).as_secs_f64();
            slower(page(full), page(empty))
        });
        println!(
            "Slower than the empty one (target 1.5): sends {sends}, newest page {first}, deep page \
             {deep} times. A message takes {each} bytes of disk as it is brought in. Import: {}.\n",
            full.import
        );
    }
}

const HEADS: [&str; 12] = [
    "store",
    "rows, MiB",
    "folder MiB",
    "start ms",
    "slowest",
    "after kill -9 ms",
    "sends/s",
    "p50 ms",
    "p99",
    "newest 50 us",
    "deep 50 us",
    "CPU us, newest and deep",
];

fn row(store: &Store) -> Vec<String> {
    let mut starts = store.starts.clone();
    starts.sort_unstable();
    let slowest = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
    let median = starts.get(starts.len() / 2).copied().unwrap_or_default();
    let [first, deep] = &store.pages;
    let rows = store.import.split(", ").take(2).collect::<Vec<_>>().join(", ");
    vec![
        store.name.to_owned(),
        rows,
        format!("{:.0}", store.bytes as f64 / f64::from(1 << 20)),
        ms(median),
        ms(slowest(&starts)),
        ms(slowest(&store.killed_starts)),
        format!("{:.0}", store.sends.per_second()),
        ms(store.sends.quantile(0.5)),
        ms(store.sends.quantile(0.99)),
        us(first.quantile(0.5)),
        us(deep.quantile(0.5)),
        format!("{} and {}", us(first.cpu_each(0)), us(deep.cpu_each(0))),
    ]
}

/// Asks for one page again and again.
struct Lister {
    client: Client,
    connection: Connection,
    request: Request,
}

impl Caller for Lister {
    async fn once(&mut self) -> Result<ControlFlow<()>> {
        let request = self.client.signed(&self.request, SystemClock.now_ms());
        let answer = self.connection.call(&request).await?;
        let text = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 200, "a page was answered {} {text}", answer.status);
        ensure!(text.contains("\"MessageId\""), "the page is empty");
        Ok(ControlFlow::Continue(()))
    }
}

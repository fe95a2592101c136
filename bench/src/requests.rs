//! The request path: each operation beside the sum of its parts.
//!
//! The parts are measured in the same run, by turns with the server: a bare HTTP server that takes
//! the same requests and answers as many bytes (`bare`), the verification of the signature
//! (`signing`), and the engine with the reads and the batch that the rules ask of it, recorded from
//! them (`template`). A send of a known sender reads nothing, so its part is the grouped insert.

mod ground;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use tokio::runtime::{Builder, Runtime};

use crate::Setting;
use crate::bare_http::Bare;
use crate::cpu::Whose;
use crate::http::Client;
use crate::load::{self, Sample, Window};
use crate::sender::{ToEngine, ToServer, Turns};
use crate::signing;
use crate::table::{self, ms};
use ground::{Ground, Scale, Subject};

/// How often the lanes take turns in each row.
const ROUNDS: u32 = 3;
const SMOKE_SECONDS: f64 = 0.3;
const SMOKE_MESSAGES: usize = 2_000;

const HEADS: [&str; 17] = [
    "operation",
    "callers",
    "rows",
    "answer B",
    "engine/s",
    "server/s",
    "of engine",
    "engine p99 ms",
    "server p50 ms",
    "p99",
    "p99 ratio",
    "HTTP us",
    "signature us",
    "engine us",
    "sum us",
    "server us",
    "server:sum",
];

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    setting: Setting,
    /// Measured seconds of each lane in each row.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Messages of the channel whose messages are listed.
    #[arg(long, default_value_t = 1_000_000)]
    messages: usize,
    /// Only operations whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// A few seconds in all, to see that the bench itself works.
    #[arg(long)]
    smoke: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut options = options.clone();
    if options.smoke {
        (options.messages, options.seconds) = (SMOKE_MESSAGES, SMOKE_SECONDS);
    }
    ensure!(
        options.setting.choice.is_kept(),
        "the server must see what this process has put into the store"
    );
    let folder = options.setting.place.folder()?;
    // The engine runs on tokio's usual threads; the client shares the machine with the
    // server and is content with one.
    let wide = Builder::new_multi_thread().enable_all().build()?;
    let narrow = Builder::new_current_thread().enable_all().build()?;
    let scale = Scale {
        messages: options.messages,
        channels: if options.smoke { 60 } else { 1_000 },
        guests: if options.smoke { 100 } else { 1_000 },
    };
    let making =
        Ground::make(&options.setting.choice, &options.setting.binary, folder.path(), scale);
    let ground = wide.block_on(making)?;
    let bench = Bench { options, ground, wide, narrow };
    println!(
        "Requests beside the sum of their parts, engine {}, {} messages in the channel that is \
         listed:\n",
        bench.options.setting.choice.name(),
        bench.options.messages
    );
    let (mut rows, mut signatures) = (Vec::new(), Vec::new());
    let subjects = bench.wide.block_on(bench.ground.subjects())?;
    for subject in subjects.iter().filter(|one| one.name.contains(&bench.options.only)) {
        rows.push(bench.row(subject)?.cells(subject));
        let cost = signing::measure(&bench.ground.server.client(), &subject.sample)?;
        signatures.push(vec![subject.name.to_owned(), fine(cost.verify), fine(cost.hashing)]);
    }
    table::print(&HEADS, &rows);
    println!("The signature alone, on one thread, with the signing key known:\n");
    table::print(&["operation", "verification us (< 3)", "bare hashing us"], &signatures);
    bench.wide.block_on(bench.ground.engine.close());
    Ok(())
}

struct Bench {
    options: Options,
    ground: Ground,
    wide: Runtime,
    narrow: Runtime,
}

/// What was measured of an operation.
struct Row {
    http: Sample,
    engine: Sample,
    server: Sample,
    signature: Duration,
}

impl Bench {
    /// Measures an operation and its parts.
    fn row(&self, subject: &Subject) -> Result<Row> {
        let bare = Bare::start(subject.answer_bytes)?;
        let server = &self.ground.server;
        let [mut of_http, mut of_engine, mut of_server] = <[Sample; 3]>::default();
        for _ in 0..ROUNDS {
            let client = Client { address: bare.address, ..server.client() };
            of_http.join(self.asked(subject, &client, bare.process())?);
            of_engine.join(self.replayed(subject)?);
            of_server.join(self.asked(subject, &server.client(), server.process())?);
        }
        let all = [&of_http, &of_engine, &of_server];
        ensure!(all.iter().all(|sample| sample.count() > 0), "nothing was left to be measured");
        let signature = signing::measure(&server.client(), &subject.sample)?.verify;
        Ok(Row { http: of_http, engine: of_engine, server: of_server, signature })
    }

    fn window(&self) -> Window {
        Window::of_seconds(self.options.seconds / f64::from(ROUNDS))
    }

    /// Asks a server, whose CPU time is the first in the sample.
    fn asked(&self, subject: &Subject, client: &Client, whose: Whose) -> Result<Sample> {
        let is_bare = client.address != self.ground.server.address;
        self.narrow.block_on(async {
            let mut callers = Vec::new();
            for place in 0..subject.callers {
                // Nothing is made twice by a server that makes nothing.
                let source = subject.source(place, is_bare);
                callers.push(ToServer::open(client.clone(), source, subject.callers).await?);
            }
            load::run(callers, self.window(), &[whose]).await
        })
    }

    /// Asks the engine in this process, whose CPU time is the first in the sample.
    fn replayed(&self, subject: &Subject) -> Result<Sample> {
        let caller = |place| ToEngine {
            engine: self.ground.engine.clone(),
            templates: Turns::share(
                &subject.templates,
                place % subject.templates.len(),
                subject.callers,
            ),
        };
        let callers = (0..subject.callers).map(caller).collect();
        self.wide.block_on(load::run(callers, self.window(), &[Whose::Own]))
    }
}

impl Row {
    fn cells(&self, subject: &Subject) -> Vec<String> {
        let Row { http, engine, server, signature } = self;
        let sum = http.cpu_each(0) + *signature + engine.cpu_each(0);
        let ratio = server.cpu_each(0).as_secs_f64() / sum.as_secs_f64();
        let share = server.per_second() / engine.per_second() * 100.0;
        let (engine_p99, server_p99) = (engine.quantile(0.99), server.quantile(0.99));
        let p99_ratio = server_p99.as_secs_f64() / engine_p99.as_secs_f64();
        vec![
            subject.name.to_owned(),
            subject.callers.to_string(),
            subject.row_count().to_string(),
            subject.answer_bytes.to_string(),
            format!("{:.0}", engine.per_second()),
            format!("{:.0}", server.per_second()),
            format!("{share:.0} %"),
            ms(engine_p99),
            ms(server.quantile(0.5)),
            ms(server_p99),
            format!("{p99_ratio:.1}"),
            fine(http.cpu_each(0)),
            fine(*signature),
            fine(engine.cpu_each(0)),
            fine(sum),
            fine(server.cpu_each(0)),
            format!("{ratio:.2}"),
        ]
    }
}

/// Shows a time in tenths of a microsecond.
fn fine(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e6)
}

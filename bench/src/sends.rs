//! Durable sends at several numbers of callers, into one channel and into many.
//!
//! Three lanes in one run: the bare engine with the reads and the batch of a send, the rules on the
//! engine without HTTP, and the server with signed requests. The lanes take turns within each row,
//! several times, so that what else the machine does touches all of them alike.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use store::Engine;
use tokio::runtime::{Builder, Runtime};

use crate::Setting;
use crate::cpu::Whose;
use crate::engine::{Choice, Rules};
use crate::load::{self, Sample, Window};
use crate::sender::{Source, ToEngine, ToRules, ToServer, Turns};
use crate::server::{Remote, Server};
use crate::table::{self, ms, us};
use crate::template::{Recorder, Template};
use crate::world::{Seat, Size, World};

const CALLERS: [usize; 4] = [1, 16, 64, 256];
const CHANNELS: usize = 1_000;
/// How often the lanes take turns in each row.
const ROUNDS: u32 = 4;
const SMOKE_CALLERS: [usize; 2] = [1, 16];
const SMOKE_SECONDS: f64 = 0.4;

const HEADS: [&str; 16] = [
    "channels",
    "callers",
    "bare/s",
    "rules/s",
    "server/s",
    "server:bare",
    "bare p50 ms",
    "p99",
    "server p50 ms",
    "p99",
    "p99 ratio",
    "bare CPU us",
    "rules CPU us",
    "server CPU us",
    "database CPU us",
    "client CPU us",
];

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    setting: Setting,
    /// Measured seconds of each lane in each row.
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Numbers of callers.
    #[arg(long, value_delimiter = ',', default_values_t = CALLERS)]
    callers: Vec<usize>,
    /// A few seconds in all, to see that the bench itself works.
    #[arg(long)]
    smoke: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut options = options.clone();
    if options.smoke {
        (options.callers, options.seconds) = (SMOKE_CALLERS.to_vec(), SMOKE_SECONDS);
    }
    let folder = options.setting.place.folder()?;
    let flags = options.setting.choice.flags(&folder.path().join("server"));
    let server = Server::start(&options.setting.binary, &flags)?;
    let senders = options.callers.iter().copied().max().unwrap_or(1);
    let channels = if options.smoke { senders } else { CHANNELS };
    let size = Size { senders, channels, guests: 0 };
    // The engine runs on as many threads as in the server; the client shares the machine with the
    // server and is content with one.
    let wide = Builder::new_multi_thread().enable_all().build()?;
    let narrow = Builder::new_current_thread().enable_all().build()?;
    let bare =
        wide.block_on(Bare::make(&options.setting.choice, &folder.path().join("bare"), size))?;
    let world =
        narrow.block_on(async { World::make(&mut Remote::open(&server).await?, size).await })?;
    let bench = Bench { options, bare, server, world, wide, narrow };
    println!("Durable sends, engine {}:\n", bench.options.setting.choice.name());
    let mut rows = Vec::new();
    for spread in [Spread::Together, Spread::Apart] {
        for callers in &bench.options.callers {
            rows.push(bench.row(spread, *callers)?);
        }
    }
    table::print(&HEADS, &rows);
    bench.wide.block_on(bench.bare.engine.close());
    Ok(())
}

/// Into how many channels the callers send.
#[derive(Clone, Copy)]
enum Spread {
    Together,
    Apart,
}

/// The engine in this process, with the same world in it.
pub(crate) struct Bare {
    engine: Arc<dyn Engine>,
    rules: Rules,
    world: World,
    pub(crate) together: Vec<Template>,
    pub(crate) apart: Vec<Template>,
}

impl Bare {
    /// Makes the world and records a send of each seat.
    pub(crate) async fn make(choice: &Choice, folder: &Path, size: Size) -> Result<Bare> {
        let engine = choice.open(folder).await?;
        let recorder = Arc::new(Recorder::new(engine.clone()));
        let mut recorded = Rules::open(recorder.clone()).await?;
        let world = World::make(&mut recorded, size).await?;
        let together = templates(&recorder, &recorded, &world.together).await?;
        let apart = templates(&recorder, &recorded, &world.apart).await?;
        let rules = Rules::open(engine.clone()).await?;
        Ok(Bare { engine, rules, world, together, apart })
    }
}

/// Records one send of each seat.
async fn templates(recorder: &Recorder, rules: &Rules, seats: &[Seat]) -> Result<Vec<Template>> {
    let mut found = Vec::new();
    for seat in seats {
        recorder.begin();
        rules.answer(&crate::world::send(seat)).await?;
        found.push(recorder.end());
    }
    Ok(found)
}

struct Bench {
    options: Options,
    bare: Bare,
    server: Server,
    world: World,
    wide: Runtime,
    narrow: Runtime,
}

impl Bench {
    /// Measures the three lanes with this many callers.
    fn row(&self, spread: Spread, callers: usize) -> Result<Vec<String>> {
        let [mut bare, mut rules, mut server] = <[Sample; 3]>::default();
        for _ in 0..ROUNDS {
            bare.join(self.bare(spread, callers)?);
            rules.join(self.rules(spread, callers)?);
            server.join(self.served(spread, callers)?);
        }
        let channels = match spread {
            Spread::Together => 1,
            Spread::Apart => self.world.apart.len(),
        };
        Ok(cells([channels, callers], &bare, &rules, &server))
    }

    fn window(&self) -> Window {
        Window::of_seconds(self.options.seconds / f64::from(ROUNDS))
    }

    /// Returns the processes whose CPU time counts: this one first, those of a database last.
    fn with_database(&self, processes: &[Whose]) -> Vec<Whose> {
        processes.iter().copied().chain(self.options.setting.choice.processes()).collect()
    }

    fn bare(&self, spread: Spread, callers: usize) -> Result<Sample> {
        let templates = spread.pick(&self.bare.together, &self.bare.apart);
        let caller = |place| ToEngine {
            engine: self.bare.engine.clone(),
            templates: Turns::share(templates, place, callers),
        };
        let processes = self.with_database(&[Whose::Own]);
        let run = load::run((0..callers).map(caller).collect(), self.window(), &processes);
        self.wide.block_on(run)
    }

    fn rules(&self, spread: Spread, callers: usize) -> Result<Sample> {
        let seats = spread.pick(&self.bare.world.together, &self.bare.world.apart);
        let caller = |place| ToRules {
            rules: self.bare.rules.clone(),
            seats: Turns::share(seats, place, callers),
        };
        let processes = self.with_database(&[Whose::Own]);
        let run = load::run((0..callers).map(caller).collect(), self.window(), &processes);
        self.wide.block_on(run)
    }

    fn served(&self, spread: Spread, callers: usize) -> Result<Sample> {
        let seats = spread.pick(&self.world.together, &self.world.apart);
        self.narrow.block_on(async {
            let mut senders = Vec::new();
            for place in 0..callers {
                let seats = Turns::share(seats, place, callers);
                senders.push(
                    ToServer::open(self.server.client(), Source::Sends(seats), callers).await?,
                );
            }
            let processes = self.with_database(&[Whose::Own, self.server.process()]);
            load::run(senders, self.window(), &processes).await
        })
    }
}

impl Spread {
    fn pick<T>(self, together: T, apart: T) -> T {
        match self {
            Spread::Together => together,
            Spread::Apart => apart,
        }
    }
}

fn cells(numbers: [usize; 2], bare: &Sample, rules: &Sample, server: &Sample) -> Vec<String> {
    let rate = |sample: &Sample| format!("{:.0}", sample.per_second());
    let share = server.per_second() / bare.per_second() * 100.0;
    let (bare_p99, server_p99) = (bare.quantile(0.99), server.quantile(0.99));
    let p99_ratio = server_p99.as_secs_f64() / bare_p99.as_secs_f64();
    let mut cells: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    cells.extend([rate(bare), rate(rules), rate(server), format!("{share:.0} %")]);
    cells.extend([ms(bare.quantile(0.5)), ms(bare_p99)]);
    cells.extend([ms(server.quantile(0.5)), ms(server_p99), format!("{p99_ratio:.1}")]);
    cells.extend([us(bare.cpu_each(0)), us(rules.cpu_each(0)), us(server.cpu_each(1))]);
    cells.extend([us(server.cpu_each(2)), us(server.cpu_each(0))]);
    cells
}

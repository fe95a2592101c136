//! Senders in one channel while members join and leave it.
//!
//! A join or leave changes rows beside those that a send checks, so hardly any send may have to be
//! judged twice, and none may be refused. The server counts what it ran again: a send that met a
//! changed row, and one whose guess was wrong.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tokio::runtime::Builder;
use tokio::time::{MissedTickBehavior, interval};

use crate::Setting;
use crate::load::{self, Window};
use crate::sender::{Source, ToServer, Turns};
use crate::server::{Remote, Server};
use crate::table::{self, ms};
use crate::world::{Api as _, Size, World, join, leave};

const GUESTS: usize = 4;
const TICK_MS: u64 = 1_000;
/// The share of sends that may be run again.
const RETRIED_SHARE_MAX: f64 = 0.01;

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    setting: Setting,
    /// Senders.
    #[arg(long, default_value_t = 256)]
    senders: usize,
    /// Measured seconds.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = options.setting.place.folder()?;
    let flags = options.setting.choice.flags(folder.path());
    let server = Server::start(&options.setting.binary, &flags)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(options, &server))
}

async fn measure(options: &Options, server: &Server) -> Result<()> {
    let size = Size { senders: options.senders, channels: 0, guests: GUESTS };
    let world = World::make(&mut Remote::open(server).await?, size).await?;
    let mut senders = Vec::new();
    for place in 0..options.senders {
        let seats = Turns::share(&world.together, place, options.senders);
        let source = Source::Sends(seats);
        senders.push(ToServer::open(server.client(), source, options.senders).await?);
    }
    let world = Arc::new(world);
    let before = server.conflicts().await?;
    let guests = tokio::spawn(come_and_go(Remote::open(server).await?, world));
    let window = Window::of_seconds(options.seconds);
    let sample = load::run(senders, window, &[server.process()]).await;
    // A join that was refused has ended the task, and the run with it.
    ensure!(!guests.is_finished(), "{:?}", guests.await);
    guests.abort();
    let sample = sample.context("a send was refused")?;
    // Those of the warm-up and of the guests count too, which makes the share greater, never
    // smaller.
    let retried = server.conflicts().await? - before;
    let share = retried as f64 / sample.count() as f64;
    println!(
        "Senders in one channel, engine {}, while members join and leave:\n",
        options.setting.choice.name()
    );
    let heads = ["senders", "sends/s", "p50 ms", "p99", "refused", "run again", "per send (< 1 %)"];
    table::print(
        &heads,
        &[vec![
            options.senders.to_string(),
            format!("{:.0}", sample.per_second()),
            ms(sample.quantile(0.5)),
            ms(sample.quantile(0.99)),
            "0".to_owned(),
            retried.to_string(),
            format!("{:.3} %", share * 100.0),
        ]],
    );
    ensure!(share < RETRIED_SHARE_MAX, "too many sends had to be run again");
    Ok(())
}

/// Lets the guests join and leave, all of them once a second.
async fn come_and_go(mut api: Remote, world: Arc<World>) -> Result<()> {
    let host = &world.together[0];
    let mut ticks = interval(Duration::from_millis(TICK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for guest in &world.guests {
            api.call(&join(&host.channel, guest, &host.sender)).await?;
        }
        for guest in &world.guests {
            api.call(&leave(&host.channel, guest, &host.sender)).await?;
        }
    }
}

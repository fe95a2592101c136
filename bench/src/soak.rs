//! Sends and reads for a long time: the server's memory must not grow.
//!
//! The first part of the run fills what is bounded: caches, pools, the log of the database. From the
//! middle on the memory of the process, without pages of files, may not rise any more.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::Setting;
use crate::load::Caller as _;
use crate::sender::{Source, ToServer, Turns};
use crate::server::{Remote, Server};
use crate::table;
use crate::world::{self, Size, World};

const SENDERS: usize = 32;
const READERS: usize = 4;
const CHANNELS: usize = 200;
/// How often the memory is looked at.
const LOOKS: u32 = 10;
/// What the allocator may keep back from one look to another.
const SLACK_MIB: u64 = 8;

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    setting: Setting,
    /// How long it takes.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = options.setting.place.folder()?;
    let server =
        Server::start(&options.setting.binary, &options.setting.choice.flags(folder.path()))?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let seen = runtime.block_on(soak(options, &server))?;
    println!(
        "{SENDERS} senders and {READERS} readers in {CHANNELS} channels, engine {}, {:.0} s:\n",
        options.setting.choice.name(),
        options.seconds
    );
    let row = |(at, mib, requests): &(f64, u64, usize)| {
        vec![format!("{at:.0}"), mib.to_string(), format!("{requests}")]
    };
    table::print(&["after s", "memory MiB", "requests"], &seen.iter().map(row).collect::<Vec<_>>());
    let (middle, end) = (seen[seen.len() / 2].1, seen[seen.len() - 1].1);
    ensure!(end <= middle + SLACK_MIB, "the memory grew from {middle} to {end} MiB");
    Ok(())
}

/// Returns the memory at each look, and how many requests were answered until then.
async fn soak(options: &Options, server: &Server) -> Result<Vec<(f64, u64, usize)>> {
    let size = Size { senders: SENDERS, channels: CHANNELS, guests: 0 };
    let world = World::make(&mut Remote::open(server).await?, size).await?;
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(options.seconds);
    let (count, answered) = tokio::sync::watch::channel(0_usize);
    let mut callers = JoinSet::new();
    for place in 0..SENDERS + READERS {
        let source = if place < SENDERS {
            Source::Sends(Turns::share(&world.apart, place, SENDERS))
        } else {
            Source::Again(world::list(&world.apart[place], None, None))
        };
        // Signed when they are sent: the run outlasts a signature.
        let mut caller = ToServer::open(server.client(), source, usize::MAX).await?;
        let count = count.clone();
        callers.spawn(async move {
            while Instant::now() < end && caller.once().await?.is_continue() {
                count.send_modify(|count| *count += 1);
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    let mut seen = Vec::new();
    for look in 1..=LOOKS {
        let at = begin + Duration::from_secs_f64(options.seconds) * look / LOOKS;
        tokio::time::sleep_until(at.into()).await;
        seen.push((begin.elapsed().as_secs_f64(), server.memory_mib(), *answered.borrow()));
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(seen)
}

//! Memory of idle sockets: many users, each in many channels, each with one session.
//!
//! What is told is the growth of the server's resident memory from its ready line on, all that it
//! read from the store included, once the sockets have been silent for a while. Sessions over TLS
//! stand beside plain ones, and beside both the bare program, which knows no users.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::runtime::{Builder, Runtime};

use crate::Place;
use crate::bare::Bare;
use crate::cpu::Memory;
use crate::engine::Choice;
use crate::http::Client;
use crate::population::{Plan, Population};
use crate::server::{Binary, Server};
use crate::session::{self, Door};
use crate::table;

pub(crate) const PLAN: Plan = Plan { users: 10_000, channels: 500, channels_of_each: 50 };
pub(crate) const SMOKE_PLAN: Plan = Plan { users: 40, channels: 10, channels_of_each: 5 };
/// How long the sockets are silent before the memory is read.
const SILENCE: Duration = Duration::from_secs(3);
const SMOKE_SILENCE: Duration = Duration::from_millis(50);

const HEADS: [&str; 8] = [
    "sockets of",
    "connections",
    "channels each",
    "before MiB",
    "after MiB",
    "of it anonymous",
    "peak MiB",
    "KiB per connection",
];

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    binary: Binary,
    /// Few connections, to see that the bench itself works.
    #[arg(long)]
    smoke: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    crate::raise_limits();
    let plan = if options.smoke { SMOKE_PLAN } else { PLAN };
    let silence = if options.smoke { SMOKE_SILENCE } else { SILENCE };
    let folder = options.place.folder()?;
    let wide = Builder::new_multi_thread().enable_all().build()?;
    let population = wide.block_on(plan.fill(&Choice::sqlite(), folder.path()))?;
    drop(wide);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let idle = Idle { population, plan, silence, runtime };
    let mut flags = Choice::sqlite().flags(folder.path());
    let server = Server::start(&options.binary, &flags)?;
    let door = Door { client: Arc::new(server.client()), tls: None };
    let mut rows = vec![idle.row("server, plain", &door, server.id())?];
    drop(server);
    flags.extend(["--tls-listen", "127.0.0.1:0", "--tls-self-signed"].map(str::to_owned));
    let server = Server::start(&options.binary, &flags)?;
    let address = server.tls.context("the server speaks no TLS")?;
    let client = Arc::new(Client { address, ..server.client() });
    let tls = Some(session::trusting(&folder.path().join("tls-ca.pem"))?);
    rows.push(idle.row("server, TLS", &Door { client, tls }, server.id())?);
    drop(server);
    let bare = Bare::start()?;
    rows.push(idle.row("bare, plain", &bare.door(), bare.id())?);
    println!("Memory of idle sockets (budget: 12 KiB for a plain connection):\n");
    table::print(&HEADS, &rows);
    Ok(())
}

struct Idle {
    population: Population,
    plan: Plan,
    silence: Duration,
    runtime: Runtime,
}

impl Idle {
    fn row(&self, name: &str, door: &Door, process: u32) -> Result<Vec<String>> {
        let before = Memory::of(process);
        let users = &self.population.users;
        let (sessions, after) = self.runtime.block_on(async {
            let sessions = door.open_all(users).await?;
            tokio::time::sleep(self.silence).await;
            anyhow::Ok((sessions, Memory::of(process)))
        })?;
        drop(sessions);
        let each = after.resident_kib.saturating_sub(before.resident_kib) as f64;
        let mib = |kib: u64| format!("{:.0}", kib as f64 / 1024.0);
        Ok(vec![
            name.to_owned(),
            users.len().to_string(),
            self.plan.channels_of_each.to_string(),
            mib(before.resident_kib),
            mib(after.resident_kib),
            mib(after.anonymous_kib),
            mib(after.peak_kib),
            format!("{:.1}", each / users.len() as f64),
        ])
    }
}

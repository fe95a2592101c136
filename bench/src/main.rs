//! The load generator: each figure beside its ceiling, measured in the same run.
//!
//! Everything runs on loopback and in a folder that goes afterwards; every job is bounded in count
//! and time. The figure that noise of other processes hardly moves is CPU time per unit of work.
//! Read `sends.rs` first: the engine alone, the rules on it, and the server around them; then
//! `requests.rs`: each operation beside the sum of its parts.

mod audience;
mod bare;
mod bare_http;
mod churn;
mod cluster;
mod cpu;
mod elastic;
mod engine;
mod fanout;
mod frame;
mod fsync;
mod history;
mod http;
mod idle;
mod lane;
mod layout;
mod load;
mod overload;
mod population;
mod requests;
mod scale;
mod sender;
mod sends;
mod server;
mod session;
mod signing;
mod soak;
mod storm;
mod table;
mod template;
mod world;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::engine::Choice;
use crate::server::Binary;

/// What the server allocates with, so that its ceilings do too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the store and the server against their ceilings.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Durable sends: the bare engine, the rules, and the server.
    Sends(sends::Options),
    /// The request path: operations beside the sum of their parts.
    Requests(requests::Options),
    /// Far more callers than the server takes on.
    Overload(overload::Options),
    /// Sends and reads for a long time.
    Soak(soak::Options),
    /// Senders in one channel while members join and leave.
    Churn(churn::Options),
    /// Two nodes on one database and one bus.
    Cluster(cluster::Options),
    /// A million members in one elastic channel.
    Elastic(elastic::Options),
    /// One channel, many members, each with a socket that hears every message.
    Fanout(fanout::Options),
    /// Memory of sockets that hear nothing.
    Idle(idle::Options),
    /// Everybody connects at once, and again after a restart under load.
    Storm(storm::Options),
    /// The ceiling of sockets, which other jobs start as a process of its own.
    #[command(hide = true)]
    Bare,
    /// The rate at which the disk syncs, which no durable answer can pass.
    Fsync(fsync::Options),
    /// A store of millions of rows beside one that is nearly empty.
    Scale(scale::Options),
    /// Writes a generated history for `campanile db import`.
    History(history::Options),
    /// Layouts of the embedded database, with groups shaped like sends.
    Layout(layout::Options),
    /// The bare HTTP server that other jobs start.
    #[command(hide = true)]
    BareHttp(bare_http::Options),
}

/// Where a job works.
#[derive(Args, Clone)]
struct Place {
    /// The folder in which temporary ones are made; it should be on the disk of the data folder.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
}

impl Place {
    fn folder(&self) -> std::io::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix("campanile-bench-").tempdir_in(&self.dir)
    }
}

/// What a job measures: an engine, where it works, and the binary on it.
#[derive(Args, Clone)]
struct Setting {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    binary: Binary,
}

fn main() -> Result<()> {
    match Cli::parse().job {
        Job::Sends(options) => sends::run(&options),
        Job::Requests(options) => requests::run(&options),
        Job::Overload(options) => overload::run(&options),
        Job::Soak(options) => soak::run(&options),
        Job::Churn(options) => churn::run(&options),
        Job::Cluster(options) => cluster::run(&options),
        Job::Elastic(options) => elastic::run(&options),
        Job::Fanout(options) => fanout::run(&options),
        Job::Idle(options) => idle::run(&options),
        Job::Storm(options) => storm::run(&options),
        Job::Bare => bare::run(),
        Job::Fsync(options) => fsync::run(&options),
        Job::Scale(options) => scale::run(&options),
        Job::History(options) => history::run(&options),
        Job::Layout(options) => layout::run(&options),
        Job::BareHttp(options) => bare_http::run(&options),
    }
}

/// Lets this process hold as many sockets as the system allows.
fn raise_limits() {
    // Whoever needs more than there are hears of it when a socket cannot be opened.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

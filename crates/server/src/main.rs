//! The binary `campanile`: the Amazon Chime SDK Identity and Messaging APIs on one port.
//!
//! The modules in the order of a request: `http` accepts, `request` judges and answers it, `connect`
//! lets a session in, `hub` knows who hears what, `relay` feeds it, `socket` writes. `stack` puts
//! them together over a store and takes them apart again, `server` does so once for each run.

mod cli;
mod config;
mod control;
mod credentials;
mod db;
mod logging;
mod moving;

mod dev;
mod drain;
mod jobs;
mod server;
mod stack;

mod admission;
mod answer;
mod body;
mod bus;
mod endpoint;
mod failure_log;
mod http;
mod refusal;
mod request;
mod signature;
mod threads;
mod timed;
mod tls;
mod transport;

mod connect;
mod frame;
mod hub;
mod outbox;
mod relay;
mod socket;

mod admin;
mod metrics;

#[cfg(test)]
mod testing;

use std::process::ExitCode;

/// A request makes some hundred small allocations, and another thread frees some of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}

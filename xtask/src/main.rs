//! Chores of the workspace that are programs: `cargo xtask <command>`.
//!
//! Each command is a module with a `run` that takes the arguments behind the command's name.
//! Invariant: a command either does all of its work and exits 0, or says what is wrong and exits 1.

mod generate;
mod import;
mod model;
mod paths;
mod pattern;
mod tidy;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask <command>
  model [--botocore DIR]   import the API's facts from a botocore package into model/
  gen [--check]            write crates/wire/src/generated from model/, or fail if that would change it
  tidy                     check the habits of the tree that no compiler checks";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else { bail!("{USAGE}") };
    match command.as_str() {
        "model" => import::run(rest),
        "gen" => generate::run(rest),
        "tidy" => tidy::run(rest),
        _ => bail!("unknown command `{command}`\n{USAGE}"),
    }
}

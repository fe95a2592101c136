//! `campanile db`: what is done to a store as a whole.
//!
//! Invariant: a file that holds a whole store is made for its owner alone and takes no other
//! file's place.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Arg, ArgMatches, Command};

use super::{config, group, settings};
use crate::{db, moving};

const INPUT: &str = "input";
const OUTPUT: &str = "output";
/// What stands for standard input or output.
const STANDARD: &str = "-";

/// Returns the command.
pub(super) fn command() -> Command {
    let check = Command::new("check").about("Prove that its rows fit together").args(settings());
    let export = Command::new("export")
        .about("Write all of it as lines, for `db import` on any engine")
        .arg(file(OUTPUT, "Where to; - for standard output").default_value(STANDARD))
        .args(settings());
    let import = Command::new("import")
        .about("Make it from an export, or from a history of elsewhere")
        .arg(file(INPUT, "Where from; - for standard input").default_value(STANDARD))
        .args(settings());
    let backup = Command::new("backup")
        .about("Copy the embedded database, also while a server runs on it")
        .arg(file(OUTPUT, "The copy, a database file"))
        .args(settings());
    group("db", "The store as a whole").subcommands([check, export, import, backup])
}

fn file(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("FILE").help(help)
}

/// Runs the command.
pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    match matches.subcommand() {
        Some(("check", matches)) => return db::check(&config(matches)?),
        Some(("export", matches)) => moving::export(&config(matches)?, path(matches, OUTPUT))?,
        Some(("import", matches)) => moving::import(&config(matches)?, path(matches, INPUT))?,
        Some(("backup", matches)) => match path(matches, OUTPUT) {
            Some(to) => moving::backup(&config(matches)?, &to)?,
            None => bail!("--output: a backup is a file"),
        },
        _ => bail!("db check proves that the rows of a store fit together"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the named file; nothing for the standard streams.
fn path(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    matches.get_one::<String>(name).filter(|path| *path != STANDARD).map(PathBuf::from)
}

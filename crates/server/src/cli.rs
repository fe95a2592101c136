//! The command line: what can be asked for, and how a failure is told.
//!
//! Invariant: a failing start is one line on stderr and exit code 2; only help and version write
//! more than was asked.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{self, Config, Form, Mode, SETTINGS};
use crate::{logging, server, threads};

mod credentials;
mod db;

/// What scripts and service managers see of a start that failed.
const EXIT_FAILED: u8 = 2;
/// Threads for the blocking calls of the engine; sixteen readers keep any disk busy.
const BLOCKING_THREADS_MAX: usize = 16;
/// What the soft limit of open files is raised to, as far as the hard limit allows.
const OPEN_FILES: u64 = 1 << 20;

const DEV_ABOUT: &str = "Run the server for the tests of an app: in memory, loopback only";
/// Where `dev` differs from what stands in the list of the settings.
const DEV_HELP: &str = "\
The root key is test with the secret test. TLS is on, at 127.0.0.1:8443 or another free port;
--tls-listen off turns it off. The admin listener has, beside its own pages:
  POST /clock {\"advance\": \"31d\"}  moves the clock of the rules (ms, s, m, h, d) and does what is due
  POST /reset                      empties the store and sets the clock right
  GET /tls-ca.pem                  the authority for clients to trust";

/// Runs the program.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if is_asked_for(&error) => {
            // Nobody is left to tell when stdout is closed.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&first_line(&error)),
    };
    match dispatch(&matches) {
        Ok(code) => code,
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn is_asked_for(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

fn fail(text: &str) -> ExitCode {
    let line = text.replace('\n', " ");
    let _ = writeln!(std::io::stderr(), "campanile: {line}");
    ExitCode::from(EXIT_FAILED)
}

/// Returns what is wrong, without the usage that clap adds below.
fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn command() -> Command {
    Command::new("campanile")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A server for the Amazon Chime SDK Identity and Messaging APIs")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(Command::new("serve").about("Run the server").args(settings()))
        .subcommand(credentials::command())
        .subcommand(db::command())
        .subcommand(Command::new("quotas").about("Print the count quotas").args(settings()))
        .subcommand(Command::new("dev").about(DEV_ABOUT).after_help(DEV_HELP).args(settings()))
}

/// A command that only groups others.
fn group(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).subcommand_required(true).disable_help_subcommand(true)
}

/// The flags follow from the table of settings.
fn settings() -> impl Iterator<Item = Arg> {
    SETTINGS.iter().map(|setting| {
        let arg =
            Arg::new(setting.name).long(setting.name).value_name(setting.value).help(setting.help);
        match setting.form {
            Form::Value => arg,
            Form::Pairs => arg.action(ArgAction::Append),
            Form::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        }
    })
}

fn dispatch(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    match matches.subcommand() {
        Some(("serve", matches)) => serve(config(matches)?),
        Some(("dev", matches)) => serve(config_for(Mode::Dev, matches)?),
        Some(("credentials", matches)) => credentials::run(matches),
        Some(("db", matches)) => db::run(matches),
        Some(("quotas", matches)) => show_quotas(&config(matches)?),
        _ => Err(anyhow!("nothing to do; see --help")),
    }
}

fn config(matches: &ArgMatches) -> anyhow::Result<Config> {
    config_for(Mode::Serve, matches)
}

fn config_for(mode: Mode, matches: &ArgMatches) -> anyhow::Result<Config> {
    let mut flags = BTreeMap::new();
    for setting in SETTINGS {
        if matches.contains_id(setting.name) {
            let values = matches.get_many::<String>(setting.name).into_iter().flatten();
            flags.insert(setting.name, config::join(values.cloned()));
        }
    }
    // A variable of ours that is not text cannot be meant; others are none of our business.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()));
    Ok(Config::resolve(mode, flags, environment)?)
}

fn serve(config: Config) -> anyhow::Result<ExitCode> {
    logging::start(config.log_format, config.log_level);
    // Every socket is an open file, and the usual soft limit is a thousand.
    if let Err(error) = rlimit::increase_nofile_limit(OPEN_FILES) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    // Connections have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads::processors().div_ceil(2))
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(Box::pin(server::run(config)));
    // Whatever did not end within the drain's time ends here.
    runtime.shutdown_background();
    outcome?;
    Ok(ExitCode::SUCCESS)
}

/// Prints each quota as a pair that `--quota` takes, and what it counts.
fn show_quotas(config: &Config) -> anyhow::Result<ExitCode> {
    let mut out = String::new();
    for quota in config.quotas.list() {
        let pair = format!("{}={}", quota.name, quota.max);
        out.push_str(&format!("{pair:<32} {}\n", quota.noun));
    }
    std::io::stdout().write_all(out.as_bytes()).context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<ArgMatches, clap::Error> {
        command().try_get_matches_from(line.split(' '))
    }

    fn refusal(line: &str) -> String {
        match parse(line) {
            Ok(matches) => format!("{:#}", dispatch(&matches).expect_err("the line is wrong")),
            Err(error) => first_line(&error),
        }
    }

    #[test]
    fn the_commands_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_wrong_line_is_told_in_one_line() {
        for line in ["campanile", "campanile serv", "campanile serve --port 1", "campanile serve x"]
        {
            let told = refusal(line);
            assert!(
                !told.is_empty() && !told.contains('\n') && !told.starts_with("error"),
                "{told}"
            );
        }
        assert!(refusal("campanile serve --listen 1 --listen 2").contains("--listen"));
    }

    #[test]
    fn help_names_every_setting_of_this_version() {
        let error = parse("campanile serve --help").expect_err("help ends the run");
        assert!(is_asked_for(&error));
        let text = error.render().to_string();
        for setting in SETTINGS {
            let form = |end| text.contains(&format!("--{}{end}", setting.name));
            assert!(form(' ') || form('['), "{}", setting.name);
        }
    }
}

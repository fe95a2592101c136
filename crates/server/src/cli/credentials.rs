//! `campanile credentials`: prints the root credential, makes, lists and deletes access keys.
//!
//! Invariant: a running server is asked through its socket, and only where there is none is the
//! store opened, under its lock; so a key can be made at any time and two never write one folder.
//! A shared database is opened at once: it is made for several.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use chat::{AccessKey, Owner};
use clap::{Arg, ArgGroup, ArgMatches, Command};
use store::{Clock as _, SystemClock};
use wire::time::Timestamp;

use super::{config, group, settings};
use crate::config::{Config, Data};
use crate::control::{self, Reply, Request};
use crate::credentials::Credential;
use crate::db;

const USER: &str = "user";
const APP_INSTANCE: &str = "app-instance";
const EXPIRES: &str = "expires";
const ACCESS_KEY_ID: &str = "access-key-id";
/// What `--expires` may say at most, in seconds: a hundred years.
const EXPIRES_SECONDS_MAX: u64 = 100 * 365 * 24 * 60 * 60;

/// Returns the command.
pub(super) fn command() -> Command {
    let owner = |name: &'static str, help| Arg::new(name).long(name).value_name("ARN").help(help);
    let expires = Arg::new(EXPIRES)
        .long(EXPIRES)
        .value_name("WHEN")
        .help("A duration like 30m, 12h or 7d, or a time like 2030-01-31T12:00:00Z");
    let create = Command::new("create")
        .about("Make an access key and print it as exports for a shell")
        .arg(owner(USER, "The user or bot for whom it may act"))
        .arg(owner(APP_INSTANCE, "The app instance for whose users and bots it may act"))
        .group(ArgGroup::new("owner").args([USER, APP_INSTANCE]).required(true))
        .arg(expires)
        .args(settings());
    let list =
        Command::new("list").about("Print the access keys, without secrets").args(settings());
    let delete = Command::new("delete")
        .about("Delete an access key; it is refused within 5 seconds")
        .arg(Arg::new(ACCESS_KEY_ID).required(true).value_name("ACCESS_KEY_ID"))
        .args(settings());
    let show = Command::new("show")
        .about("Print the root credential as exports for a shell")
        .args(settings());
    group("credentials", "The root credential and access keys")
        .subcommands([show, create, list, delete])
}

/// Runs the command.
pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let text = match matches.subcommand() {
        Some(("show", matches)) => show(&config(matches)?)?,
        Some(("create", matches)) => create(matches)?,
        Some(("list", matches)) => list(&config(matches)?)?,
        Some(("delete", matches)) => delete(matches)?,
        _ => bail!("credentials show prints the root credential"),
    };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

fn show(config: &Config) -> anyhow::Result<String> {
    let credential = match (&config.credential, &config.data) {
        (Some(given), _) => given.clone(),
        (None, Data::Memory) => {
            bail!("a memory store keeps no credential; the server shows it at start")
        }
        (None, Data::Folder(folder)) => Credential::read(folder)?.with_context(|| {
            let folder = folder.display();
            format!("{folder} keeps no credential; the first `campanile serve` makes it")
        })?,
    };
    Ok(credential.to_exports())
}

fn create(matches: &ArgMatches) -> anyhow::Result<String> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let user = text(USER).map(Owner::User);
    let owner = user.or_else(|| text(APP_INSTANCE).map(Owner::AppInstance));
    let owner = owner.context("--user or --app-instance says for whom the key may act")?;
    let now_ms = i64::try_from(SystemClock.now_ms())?;
    let expires_ms = text(EXPIRES).map(|text| expiry(&text, now_ms)).transpose()?;
    match perform(&config(matches)?, Request::Create { owner, expires_ms })? {
        Reply::Created { key, secret } => {
            let credential =
                Credential::new(&key.id, &secret).map_err(|problem| anyhow!(problem))?;
            Ok(credential.to_exports())
        }
        _ => Err(misunderstood()),
    }
}

fn list(config: &Config) -> anyhow::Result<String> {
    let mut all: Vec<AccessKey> = Vec::new();
    loop {
        let after = all.last().map(|key| key.id.clone());
        let Reply::Listed(page) = perform(config, Request::List { after })? else {
            return Err(misunderstood());
        };
        let is_last = page.len() < chat::ACCESS_KEYS_PAGE;
        all.extend(page);
        if is_last {
            break;
        }
    }
    all.sort_by_key(|key| key.created_ms);
    Ok(all.iter().map(line).collect())
}

/// Writes a key as one line: id, since when, until when, for whom.
fn line(key: &AccessKey) -> String {
    let time = |ms| Timestamp::from_ms(ms).to_iso();
    let until = key.expires_ms.map_or_else(|| "never".to_owned(), time);
    let (Owner::User(arn) | Owner::AppInstance(arn)) = &key.owner;
    format!("{} created={} expires={until} {arn}\n", key.id, time(key.created_ms))
}

fn delete(matches: &ArgMatches) -> anyhow::Result<String> {
    let id = matches.get_one::<String>(ACCESS_KEY_ID).cloned().unwrap_or_default();
    match perform(&config(matches)?, Request::Delete { id })? {
        Reply::Deleted(true) => Ok(String::new()),
        Reply::Deleted(false) => bail!("there is no such access key; the root credential is none"),
        _ => Err(misunderstood()),
    }
}

fn misunderstood() -> anyhow::Error {
    anyhow!("the running server is of another version")
}

/// Asks the running server, or does it where none runs.
fn perform(config: &Config, request: Request) -> anyhow::Result<Reply> {
    let reply = match (&config.database, &config.data) {
        (None, Data::Memory) => bail!("access keys are not kept by a memory store"),
        (None, Data::Folder(folder)) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(control::ask(folder, &request))?
        }
        (Some(_), _) => None,
    };
    let reply = match reply {
        Some(reply) => reply,
        None => db::with_chat(config, async |chat| Ok(control::perform(chat, request).await))?,
    };
    match reply {
        Reply::Refused(problem) => Err(anyhow!(problem)),
        reply => Ok(reply),
    }
}

/// Returns the moment that `--expires` names.
fn expiry(text: &str, now_ms: i64) -> anyhow::Result<i64> {
    if let Some(life) = duration(text) {
        return Ok(now_ms.saturating_add(i64::try_from(life.as_millis())?));
    }
    // A bare number could be meant as seconds of either kind.
    let is_time = text.contains('T');
    let time = Timestamp::parse_query(text).filter(|_| is_time);
    let time = time.with_context(|| {
        format!(
            "--expires: {text} is neither a duration like 12h nor a time like 2030-01-31T12:00:00Z"
        )
    })?;
    if time.ms() <= now_ms {
        bail!("--expires: {text} is in the past");
    }
    Ok(time.ms())
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let digits = text.strip_suffix(unit)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|count| is_number && *count > 0)?;
    let seconds = count.checked_mul(seconds).filter(|seconds| *seconds <= EXPIRES_SECONDS_MAX)?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    #[test]
    fn an_expiry_is_a_duration_or_a_time() {
        for (text, after_s) in [("1s", 1), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(expiry(text, NOW_MS).unwrap(), NOW_MS + after_s * 1_000);
        }
        assert_eq!(expiry("2030-01-01T00:00:00Z", NOW_MS).unwrap(), 1_893_456_000_000);
        assert_eq!(expiry("2030-01-01T02:00:00+02:00", NOW_MS).unwrap(), 1_893_456_000_000);
    }

    #[test]
    fn what_is_no_moment_to_come_is_refused_in_one_line() {
        for text in
            ["", "h", "0h", "-1h", "+1h", "1w", "1.5h", "1893456000", "tomorrow", "36501d", "é"]
        {
            let line = format!("{:#}", expiry(text, NOW_MS).expect_err("is refused"));
            assert!(line.starts_with("--expires: ") && !line.contains('\n'), "{line}");
        }
        let line = expiry("2020-01-01T00:00:00Z", NOW_MS).expect_err("is over").to_string();
        assert!(line.ends_with("is in the past"), "{line}");
    }

    #[test]
    fn a_key_is_listed_in_one_line_without_its_secret() {
        let owner = Owner::User("arn:aws:chime:us-east-1:000000000000:app-instance/x".to_owned());
        let key = AccessKey { id: "ID".to_owned(), owner, created_ms: 0, expires_ms: None };
        let told = "ID created=1970-01-01T00:00:00.000Z expires=never arn:aws:chime:us-east-1:\
                    000000000000:app-instance/x\n";
        assert_eq!(line(&key), told);
    }
}

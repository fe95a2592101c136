//! What the operator asked for: flags, `CAMPANILE_*` variables and the file of `--config`.
//!
//! Invariant: one table, `SETTINGS`, names every setting once; its flag, its variable and its key
//! in the file follow from the name, and a flag beats a variable beats the file.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tracing::level_filters::LevelFilter;

use crate::credentials::Credential;
use crate::endpoint::PublicEndpoint;

mod bus;
mod database;
mod mode;
mod quotas;
mod resume;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use bus::Bus;
pub(crate) use database::Database;
pub(crate) use mode::Mode;
pub(crate) use quotas::join;
pub(crate) use tls::Tls;

/// What every variable of ours begins with.
const VARIABLE_PREFIX: &str = "CAMPANILE_";
/// The setting that names the file; the only one that the file cannot hold.
const CONFIG: &str = "config";
/// The two halves of the root credential, given as variables only: flags show in process lists.
const ACCESS_KEY_ID: &str = "access-key-id";
const SECRET_ACCESS_KEY: &str = "secret-access-key";
/// What `--data-dir` says for the memory engine.
const MEMORY: &str = ":memory:";
const REGION_CHARS_MAX: usize = 32;
const ACCOUNT_DIGITS: usize = 12;
/// What `--max-connections` may say at most, as many files as a process is let open, and
/// `--max-requests` too.
const COUNT_MAX: usize = 1_000_000;

/// One thing that the operator can set.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    /// What stands for the value in the help.
    pub(crate) value: &'static str,
    pub(crate) help: &'static str,
    pub(crate) form: Form,
}

/// How often a setting is given, and with what.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One value; the last place that gives it counts.
    Value,
    /// A switch: given without a value it is on; true or false may be said.
    Switch,
    /// NAME=VALUE any number of times. Each name is a setting of its own; a variable holds a list
    /// with commas, the file a table.
    Pairs,
}

const fn now(name: &'static str, value: &'static str, help: &'static str) -> Setting {
    Setting { name, value, help, form: Form::Value }
}

const fn switch(name: &'static str, help: &'static str) -> Setting {
    Setting { name, value: "true|false", help, form: Form::Switch }
}

const fn pairs(name: &'static str, help: &'static str) -> Setting {
    Setting { name, value: "NAME=VALUE", help, form: Form::Pairs }
}

/// Every setting, in the order of the help.
pub(crate) const SETTINGS: &[Setting] = &[
    now("listen", "ADDRESS", "API and WebSocket, plain HTTP [default: 127.0.0.1:8080]"),
    now(tls::LISTEN, "ADDRESS", "The same over TLS [default: off]"),
    now(
        tls::CERT,
        "FILE",
        "Certificate of that listener and its chain, PEM; SIGHUP reads it again",
    ),
    now(tls::KEY, "FILE", "Key of that certificate, PEM"),
    switch(tls::SELF_SIGNED, "Make that certificate; its authority is kept as tls-ca.pem"),
    now("admin-listen", "ADDRESS", "Health, readiness and metrics [default: 127.0.0.1:9180]"),
    now("public-endpoint", "HOST[:PORT]", "What clients are told to open their WebSocket to"),
    now("data-dir", "FOLDER", "Embedded database, or :memory: [default: ./campanile-data]"),
    now(
        database::URL,
        "URL",
        "PostgreSQL that nodes share, postgres://.., in place of the embedded",
    ),
    now(database::CA, "FILE", "Authorities of its certificate, PEM; turns TLS on"),
    now(database::CLIENT_CERT, "FILE", "Certificate of this node for it, PEM"),
    now(database::CLIENT_KEY, "FILE", "Key of that certificate, PEM"),
    now(bus::URL, "URL", "NATS that carries events between nodes, nats://.. [default: none]"),
    now(bus::USER, "NAME", "User of it, unless the URL names one"),
    now(bus::PASSWORD, "TEXT", "Password of that user; better given as a variable"),
    now(bus::TOKEN, "TEXT", "Token for it, in place of both; better given as a variable"),
    now(bus::CA, "FILE", "Authorities of its certificate, PEM; turns TLS on"),
    now(bus::CLIENT_CERT, "FILE", "Certificate of this node for it, PEM"),
    now(bus::CLIENT_KEY, "FILE", "Key of that certificate, PEM"),
    now("region", "REGION", "Region of ARNs and signatures [default: us-east-1]"),
    now("account-id", "DIGITS", "Account of ARNs [default: 000000000000]"),
    pairs(quotas::QUOTA, "Sets a count quota; `campanile quotas` prints their names"),
    switch(quotas::AWS_QUOTAS, "Limits request rates as the service does [default: false]"),
    now("max-connections", "COUNT", "Connections of the API, sockets included [default: 65536]"),
    now("max-requests", "COUNT", "Requests answered at one time; others get 503 [default: 1024]"),
    now(resume::WINDOW, "DURATION", "How long a session may be away and resume [default: 15m]"),
    now("log-format", "FORMAT", "text or json [default: text]"),
    now("log-level", "LEVEL", "off, error, warn, info, debug or trace [default: info]"),
    now(CONFIG, "FILE", "TOML file with any of these settings as keys"),
];

/// A setting that cannot be used; the text is the whole line for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Error(String);

/// Where the data is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    Memory,
    Folder(PathBuf),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// The settings of one run, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) mode: Mode,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) public_endpoint: Option<PublicEndpoint>,
    pub(crate) data: Data,
    /// The listener of TLS, if there is one.
    pub(crate) tls: Option<Tls>,
    /// The shared database, in place of the embedded one.
    pub(crate) database: Option<Database>,
    /// The bus between the nodes that share it.
    pub(crate) bus: Option<Bus>,
    pub(crate) region: String,
    pub(crate) account_id: String,
    /// The root credential when the variables give it.
    pub(crate) credential: Option<Credential>,
    pub(crate) quotas: chat::Quotas,
    /// Connections of the API listener, sockets included.
    pub(crate) connections_max: usize,
    /// Requests that are answered at one time.
    pub(crate) requests_max: usize,
    /// How long events are kept for sessions that resume.
    pub(crate) resume_window_ms: u64,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: LevelFilter,
    /// Variables with our prefix that mean nothing, for one warning.
    pub(crate) unknown_variables: Vec<String>,
}

impl Config {
    /// Resolves what was given on the command line (name to value), in the environment and in the
    /// file that one of them names.
    pub(crate) fn resolve(
        mode: Mode,
        flags: BTreeMap<&'static str, String>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let (variables, unknown_variables) = own_variables(environment);
        let mut layers = Layers { flags, variables, file: None };
        layers.file = match layers.text(CONFIG) {
            Some(path) => Some(File::read(Path::new(path.value))?),
            None => None,
        };
        let credential = mode.credential(layers.credential()?)?;
        let address = |value: &str| mode.check_address(address(value)?);
        let data = |value: &str| mode.check_data(data(value)?);
        let data = layers.get("data-dir", mode.data_dir(), data)?;
        let database = Database::read(&layers, credential.is_some())?;
        let bus = Bus::read(&layers, database.is_some())?;
        Ok(Self {
            mode,
            listen: layers.get("listen", "127.0.0.1:8080", address)?,
            admin_listen: layers.get("admin-listen", "127.0.0.1:9180", address)?,
            public_endpoint: layers.get("public-endpoint", "", public_endpoint)?,
            tls: Tls::read(&layers, mode, &data)?,
            data,
            database: mode.check_database(database)?,
            bus,
            region: layers.get("region", "us-east-1", region)?,
            account_id: layers.get("account-id", "000000000000", account_id)?,
            credential,
            quotas: quotas::read(&layers)?,
            connections_max: layers.get("max-connections", "65536", count)?,
            requests_max: layers.get("max-requests", "1024", count)?,
            resume_window_ms: layers.get(
                resume::WINDOW,
                resume::WINDOW_DEFAULT,
                resume::window_ms,
            )?,
            log_format: layers.get("log-format", "text", log_format)?,
            log_level: layers.get("log-level", "info", log_level)?,
            unknown_variables,
        })
    }
}

/// A value and where it was found.
struct Found<'a> {
    value: &'a str,
    origin: Origin<'a>,
}

/// Names the place of a value the way the operator wrote it.
enum Origin<'a> {
    Flag(&'a str),
    Variable(&'a str),
    Key(&'a str, &'a Path),
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => f.write_str(&variable(name)),
            Self::Key(name, path) => write!(f, "{name} (in {})", path.display()),
        }
    }
}

/// Returns the variable of a setting: `data-dir` is `CAMPANILE_DATA_DIR`.
fn variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.replace('-', "_").to_ascii_uppercase())
}

/// Sorts the environment into settings (by name) and unknown names with our prefix. An empty
/// variable counts as not set: compose files write `${X:-}` for "none".
fn own_variables(
    environment: impl IntoIterator<Item = (String, String)>,
) -> (BTreeMap<String, String>, Vec<String>) {
    let mut known = BTreeMap::new();
    let mut unknown = Vec::new();
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
        let setting = rest.replace('_', "-").to_ascii_lowercase();
        let is_known = SETTINGS.iter().any(|known| known.name == setting)
            || [ACCESS_KEY_ID, SECRET_ACCESS_KEY].contains(&setting.as_str());
        if !is_known || variable(&setting) != name {
            unknown.push(name);
        } else if !value.is_empty() {
            known.insert(setting, value);
        }
    }
    unknown.sort();
    (known, unknown)
}

/// The three places of a setting, strongest first.
struct Layers {
    flags: BTreeMap<&'static str, String>,
    variables: BTreeMap<String, String>,
    file: Option<File>,
}

impl Layers {
    fn text<'a>(&'a self, name: &'a str) -> Option<Found<'a>> {
        self.all(name).next()
    }

    /// Returns what each place says, the strongest first.
    fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = Found<'a>> {
        let flag = self.flags.get(name).map(|value| (value, Origin::Flag(name)));
        let variable = self.variables.get(name).map(|value| (value, Origin::Variable(name)));
        let file = self.file.as_ref();
        let key =
            file.and_then(|file| Some((file.values.get(name)?, Origin::Key(name, &file.path))));
        let found = [flag, variable, key].into_iter().flatten();
        found.map(|(value, origin)| Found { value, origin })
    }

    fn get<T>(
        &self,
        name: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Error> {
        match self.text(name) {
            Some(Found { value, origin }) => {
                parse(value).map_err(|problem| Error(format!("{origin}: {problem}")))
            }
            None => parse(default).map_err(|problem| Error(format!("--{name}: {problem}"))),
        }
    }

    fn credential(&self) -> Result<Option<Credential>, Error> {
        let half = |name: &str| self.variables.get(name);
        match (half(ACCESS_KEY_ID), half(SECRET_ACCESS_KEY)) {
            (None, None) => Ok(None),
            (Some(id), Some(secret)) => Credential::new(id, secret)
                .map(Some)
                .map_err(|problem| Error(format!("{}: {problem}", variable(ACCESS_KEY_ID)))),
            (Some(_), None) => Err(half_a_pair(ACCESS_KEY_ID, SECRET_ACCESS_KEY)),
            (None, Some(_)) => Err(half_a_pair(SECRET_ACCESS_KEY, ACCESS_KEY_ID)),
        }
    }
}

fn half_a_pair(given: &str, missing: &str) -> Error {
    let (given, missing) = (variable(given), variable(missing));
    Error(format!("{given} is set without {missing}: give both or none"))
}

/// The file of `--config`, as text values.
struct File {
    path: PathBuf,
    values: BTreeMap<String, String>,
}

impl File {
    fn read(path: &Path) -> Result<Self, Error> {
        let refuse = |problem: String| Error(format!("--config {}: {problem}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| refuse(error.message().to_owned()))?;
        let mut values = BTreeMap::new();
        for (key, value) in table {
            let setting = SETTINGS.iter().find(|setting| setting.name == key && key != CONFIG);
            let Some(setting) = setting else {
                return Err(refuse(format!("{key} is not a setting")));
            };
            let text = match value {
                toml::Value::String(text) => text,
                // Numbers and switches need no quotes.
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(switch) => switch.to_string(),
                toml::Value::Table(pairs) if setting.form == Form::Pairs => {
                    quotas::from_table(&pairs)
                }
                other => return Err(refuse(format!("{key} is a {}", other.type_str()))),
            };
            values.insert(key, text);
        }
        Ok(Self { path: path.to_owned(), values })
    }
}

fn address(value: &str) -> Result<SocketAddr, String> {
    value.parse().map_err(|_| format!("{value} is not an address like 127.0.0.1:8080"))
}

fn count(value: &str) -> Result<usize, String> {
    let count = value.parse().ok().filter(|count| (1..=COUNT_MAX).contains(count));
    count.ok_or_else(|| format!("{value} is not a count from 1 to {COUNT_MAX}"))
}

fn public_endpoint(value: &str) -> Result<Option<PublicEndpoint>, String> {
    if value.is_empty() { Ok(None) } else { PublicEndpoint::parse(value).map(Some) }
}

fn data(value: &str) -> Result<Data, String> {
    match value {
        "" => Err("the name of the folder is empty".to_owned()),
        MEMORY => Ok(Data::Memory),
        folder => Ok(Data::Folder(PathBuf::from(folder))),
    }
}

fn region(value: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if value.is_empty() || value.len() > REGION_CHARS_MAX || !value.chars().all(plain) {
        return Err(format!("{value} is not a region like us-east-1"));
    }
    Ok(value.to_owned())
}

fn account_id(value: &str) -> Result<String, String> {
    if value.len() != ACCOUNT_DIGITS || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{value} is not an account of {ACCOUNT_DIGITS} digits"));
    }
    Ok(value.to_owned())
}

fn log_format(value: &str) -> Result<LogFormat, String> {
    match value {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!("{other} is neither text nor json")),
    }
}

fn log_level(value: &str) -> Result<LevelFilter, String> {
    match value {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        other => Err(format!("{other} is not a level: off, error, warn, info, debug or trace")),
    }
}

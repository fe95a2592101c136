//! A service description as botocore ships it: `data/<service>/<version>/service-2.json[.gz]`.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What `metadata.protocol` has to be: nothing else is generated.
const PROTOCOL: &str = "rest-json";

#[derive(Deserialize)]
pub(super) struct Description {
    metadata: Metadata,
    pub(super) operations: IndexMap<String, Operation>,
    pub(super) shapes: IndexMap<String, Shape>,
}

#[derive(Deserialize)]
struct Metadata {
    protocol: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operation {
    #[serde(rename = "name")]
    _name: IgnoredAny,
    pub(super) http: Http,
    pub(super) input: Reference,
    pub(super) output: Option<Reference>,
    #[serde(default)]
    pub(super) errors: Vec<Reference>,
    #[serde(rename = "documentation")]
    _documentation: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Http {
    pub(super) method: String,
    pub(super) request_uri: String,
    #[serde(default = "ok")]
    pub(super) response_code: u16,
}

fn ok() -> u16 {
    200
}

/// A use of a shape: by a member, an item, an input, an error set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Reference {
    pub(super) shape: String,
    pub(super) location: Option<String>,
    pub(super) location_name: Option<String>,
    #[serde(default)]
    pub(super) idempotency_token: bool,
    #[serde(rename = "documentation")]
    _documentation: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shape {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) members: IndexMap<String, Reference>,
    #[serde(default)]
    pub(super) required: Vec<String>,
    pub(super) member: Option<Reference>,
    pub(super) key: Option<Reference>,
    pub(super) value: Option<Reference>,
    #[serde(default, rename = "enum")]
    pub(super) values: Vec<String>,
    pub(super) min: Option<i64>,
    pub(super) max: Option<i64>,
    pub(super) pattern: Option<String>,
    #[serde(default)]
    pub(super) sensitive: bool,
    #[serde(rename = "exception")]
    _exception: Option<IgnoredAny>,
    #[serde(rename = "error")]
    _error: Option<IgnoredAny>,
    #[serde(rename = "fault")]
    _fault: Option<IgnoredAny>,
    #[serde(rename = "documentation")]
    _documentation: Option<IgnoredAny>,
}

impl Description {
    /// Returns the shape of that name.
    pub(super) fn shape(&self, name: &str) -> Result<&Shape> {
        self.shapes.get(name).with_context(|| format!("there is no shape {name}"))
    }
}

/// Reads one service out of the package.
pub(super) fn load(package: &Path, service: &str, version: &str) -> Result<Description> {
    let folder = package.join("data").join(service).join(version);
    let plain = folder.join("service-2.json");
    let packed = folder.join("service-2.json.gz");
    let text = if plain.exists() { std::fs::read_to_string(&plain)? } else { unpack(&packed)? };
    let description: Description = serde_json::from_str(&text)
        .with_context(|| format!("cannot understand {service} {version}"))?;
    ensure!(description.metadata.protocol == PROTOCOL, "{service} is not {PROTOCOL}");
    Ok(description)
}

fn unpack(path: &Path) -> Result<String> {
    let file =
        std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text)?;
    Ok(text)
}

/// Returns the release of the package: the text after `__version__ = `.
pub(super) fn release(package: &Path) -> Result<String> {
    let path = package.join("__init__.py");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let release = text.lines().find_map(|line| line.strip_prefix("__version__ = "));
    let release = release.with_context(|| format!("{} names no release", path.display()))?;
    Ok(release.trim_matches(['\'', '"']).to_owned())
}

//! The facts of one service, as model/*.toml holds them: names, bindings, limits, error sets.
//!
//! Invariant: every field stands in the file and in `write`; the two are tested to be inverse.
//! The files hold no prose, so that they are facts alone and a diff of them is a diff of the API.

mod write;

use anyhow::{Context, Result};
use indexmap::IndexMap;
use serde::Deserialize;

use crate::paths;

pub(crate) use write::write;

/// The services, as the model files and the generated modules are called.
pub(crate) const SERVICES: [&str; 2] = ["identity", "messaging"];

/// All facts of one service.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Model {
    pub(crate) source: Source,
    pub(crate) operations: IndexMap<String, Operation>,
    #[serde(default)]
    pub(crate) structures: IndexMap<String, IndexMap<String, Member>>,
    #[serde(default)]
    pub(crate) lists: IndexMap<String, List>,
    #[serde(default)]
    pub(crate) maps: IndexMap<String, Map>,
    #[serde(default)]
    pub(crate) enums: IndexMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) strings: IndexMap<String, Text>,
    #[serde(default)]
    pub(crate) integers: IndexMap<String, Range>,
    #[serde(default)]
    pub(crate) scalars: IndexMap<String, Scalar>,
}

/// Where the facts come from.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) package: String,
    pub(crate) service: String,
    pub(crate) version: String,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Operation {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) status: u16,
    pub(crate) bearer: Bearer,
    pub(crate) input: String,
    pub(crate) output: Option<String>,
    pub(crate) errors: Vec<String>,
    /// The member that a client fills with an idempotency token.
    pub(crate) token: Option<String>,
}

/// Whether a request names its actor in the bearer header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Bearer {
    None,
    Optional,
    Required,
}

/// One member of a structure; without a label, query or header it stands in the body.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    pub(crate) shape: String,
    #[serde(default)]
    pub(crate) required: bool,
    pub(crate) label: Option<String>,
    pub(crate) query: Option<String>,
    pub(crate) header: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    pub(crate) item: String,
    pub(crate) min: Option<u32>,
    pub(crate) max: Option<u32>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Map {
    pub(crate) key: String,
    pub(crate) value: String,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    pub(crate) min: Option<u32>,
    pub(crate) max: Option<u32>,
    pub(crate) pattern: Option<String>,
    #[serde(default)]
    pub(crate) sensitive: bool,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    pub(crate) min: Option<i32>,
    pub(crate) max: Option<i32>,
}

/// A shape that has no constraint of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scalar {
    Boolean,
    Timestamp,
}

/// Reads the facts of one service.
pub(crate) fn load(service: &str) -> Result<Model> {
    let path = paths::model(service);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not a model", path.display()))
}

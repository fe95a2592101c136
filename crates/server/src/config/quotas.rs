//! The count quotas that the operator sets, each by its name.
//!
//! Invariant: each quota is a setting of its own: one that a flag does not name keeps what the
//! variable or the file says.

use chat::Quotas;

use super::{Error, Layers};

pub(super) const QUOTA: &str = "quota";
/// Between the pairs of a variable.
const SEPARATOR: char = ',';

/// Reads the quotas, the weakest place first, so that a stronger one has the last word.
pub(super) fn read(layers: &Layers) -> Result<Quotas, Error> {
    let mut quotas = Quotas::default();
    for found in layers.all(QUOTA).rev() {
        for pair in found.value.split(SEPARATOR) {
            set(&mut quotas, pair.trim())
                .map_err(|problem| Error(format!("{}: {problem}", found.origin)))?;
        }
    }
    Ok(quotas)
}

/// Returns the pairs of a table of the file as a variable would hold them.
pub(super) fn from_table(table: &toml::Table) -> String {
    let value = |value: &toml::Value| match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(count) => count.to_string(),
        other => format!("a {}", other.type_str()),
    };
    join(table.iter().map(|(name, count)| format!("{name}={}", value(count))))
}

/// Joins pairs as a variable holds them.
pub(crate) fn join(pairs: impl Iterator<Item = String>) -> String {
    pairs.collect::<Vec<_>>().join(&SEPARATOR.to_string())
}

fn set(quotas: &mut Quotas, pair: &str) -> Result<(), String> {
    let (name, value) = pair.split_once('=').ok_or_else(|| format!("{pair} is not NAME=VALUE"))?;
    let max = value.parse().map_err(|_| format!("{name}: {value} is not a count"))?;
    quotas.set(name, max).map_err(|error| format!("{error}; `campanile quotas` prints them"))
}

//! The constraints of a service as `Rule` constants, one for each shape that has any.

use anyhow::{Context, Result};

use super::names;
use crate::model::{Model, Text};
use crate::pattern;

/// Texts whose length is that of their UTF-8; all others count characters.
const COUNTED_IN_BYTES: [&str; 4] = ["Content", "FilterRule", "Metadata", "NonEmptyContent"];

/// Returns the expression of a shape's rule, or `None` if the shape demands nothing.
pub(super) fn rule(model: &Model, shape: &str) -> Result<Option<String>> {
    if let Some(text) = model.strings.get(shape) {
        return text_rule(shape, text).with_context(|| format!("string {shape}"));
    }
    if let Some(range) = model.integers.get(shape) {
        return Ok(bounds(range.min.map(i64::from), range.max.map(i64::from)));
    }
    if let Some(list) = model.lists.get(shape) {
        let bounds = bounds(list.min.map(i64::from), list.max.map(i64::from));
        let item = reference(model, &list.item)?.map(|item| format!(".of({item})"));
        return Ok(chain(bounds, &[item]));
    }
    if let Some(map) = model.maps.get(shape) {
        let key = reference(model, &map.key)?.map(|key| format!(".keyed({key})"));
        let value = reference(model, &map.value)?.map(|value| format!(".of({value})"));
        return Ok(chain(None, &[key, value]));
    }
    Ok(None)
}

/// Returns a reference to a shape's rule, or `None` if the shape demands nothing.
fn reference(model: &Model, shape: &str) -> Result<Option<String>> {
    Ok(rule(model, shape)?.map(|_| format!("&{}", names::constant(shape))))
}

/// Returns a reference to a shape's rule, whatever the shape demands.
pub(super) fn reference_or_any(model: &Model, shape: &str) -> Result<String> {
    Ok(reference(model, shape)?.unwrap_or_else(|| "&Rule::ANY".to_owned()))
}

fn text_rule(shape: &str, text: &Text) -> Result<Option<String>> {
    let bounds = bounds(text.min.filter(|min| *min > 0).map(i64::from), text.max.map(i64::from));
    let constant = text.pattern.as_deref().map(pattern::constant).transpose()?.flatten();
    let bytes = COUNTED_IN_BYTES.contains(&shape).then(|| ".in_bytes()".to_owned());
    let matches = constant.map(|constant| format!(".matches(&pattern::{constant})"));
    let sensitive = text.sensitive.then(|| ".sensitive()".to_owned());
    Ok(chain(bounds, &[bytes, matches, sensitive]))
}

fn bounds(min: Option<i64>, max: Option<i64>) -> Option<String> {
    let unbounded = || "UNBOUNDED".to_owned();
    if min.is_none() && max.is_none() {
        return None;
    }
    let max = max.map_or_else(unbounded, |max| max.to_string());
    Some(format!("Rule::between({}, {max})", min.unwrap_or(0)))
}

/// Joins what there is of a rule; nothing stays nothing.
fn chain(bounds: Option<String>, calls: &[Option<String>]) -> Option<String> {
    let calls: String = calls.iter().flatten().map(String::as_str).collect();
    match (bounds, calls.is_empty()) {
        (None, true) => None,
        (bounds, _) => Some(bounds.unwrap_or_else(|| "Rule::ANY".to_owned()) + &calls),
    }
}

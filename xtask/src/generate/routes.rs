//! generated.rs: the operation ids, the list of all operations, and the route table.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::{Service, service};
use crate::model::Operation;

/// The rows of one method and one number of segments: path template to its operations.
type Group = BTreeMap<String, Row>;

/// The operations of one path, told apart by one query parameter.
#[derive(Default)]
struct Row {
    /// The parameter; empty when one operation has the path alone.
    parameter: String,
    /// Value of the parameter to operation; the empty value is that of an absent parameter.
    operations: BTreeMap<String, String>,
}

/// Returns the text of generated.rs.
pub(super) fn generate(services: &[Service]) -> Result<String> {
    let mut modules = String::new();
    let mut ids = String::new();
    let mut all = Vec::new();
    let mut groups: BTreeMap<(String, usize), Group> = BTreeMap::new();
    for service in services {
        modules += &format!("pub mod {};\n", service.name);
        for (name, operation) in &service.model.operations {
            ids += &format!("    {name},\n");
            all.push(format!("{}::{name}", service.name));
            add(&mut groups, name, operation).with_context(|| format!("operation {name}"))?;
        }
    }
    Ok(format!(
        "{modules}\n\
         use crate::operation::operation_ids;\n\
         use crate::route::routes;\n\n\
         operation_ids! {{\n{ids}}}\n\n\
         /// Calls a macro with the paths of all operations below this crate:\n\
         /// `callback! {{ identity::CreateAppInstance, .. messaging::UpdateChannel, .. }}`.\n\
         #[macro_export]\nmacro_rules! for_each_operation {{\n\
         ($callback:ident) => {{\n$callback! {{\n{}\n}}\n}};\n}}\n\n{}",
        all.join(",\n"),
        generate_table(&groups)?
    ))
}

fn add(
    groups: &mut BTreeMap<(String, usize), Group>,
    name: &str,
    operation: &Operation,
) -> Result<()> {
    let (path, query) = operation.uri.split_once('?').unwrap_or((&operation.uri, ""));
    let (parameter, value) = query.split_once('=').unwrap_or(("", ""));
    let segment_count = path.matches('/').count();
    let group = groups.entry((service::method(operation)?, segment_count)).or_default();
    let row = group.entry(path.to_owned()).or_default();
    if !parameter.is_empty() {
        ensure!(
            row.parameter.is_empty() || row.parameter == parameter,
            "its path is told apart by {} and by {parameter}",
            row.parameter
        );
        parameter.clone_into(&mut row.parameter);
    }
    let former = row.operations.insert(value.to_owned(), name.to_owned());
    ensure!(former.is_none(), "has the same route as {}", former.unwrap_or_default());
    Ok(())
}

fn generate_table(groups: &BTreeMap<(String, usize), Group>) -> Result<String> {
    let mut text = String::from("routes! {\n");
    for ((method, segment_count), group) in groups {
        ensure_distinct(group)?;
        text += &format!("    {method} {segment_count} {{\n");
        for (path, row) in group {
            text += &generate_row(path, row);
        }
        text += "    }\n";
    }
    Ok(text + "}\n")
}

fn generate_row(path: &str, row: &Row) -> String {
    let segments: Vec<String> = segments(path)
        .map(|segment| match label(segment) {
            Some(label) => format!("{{{label}}}"),
            None => format!("\"{segment}\""),
        })
        .collect();
    let mut text = format!("        {} by \"{}\" {{\n", segments.join(" / "), row.parameter);
    for (value, operation) in &row.operations {
        text += &format!("            \"{value}\" => {operation},\n");
    }
    text + "        }\n"
}

/// Makes sure that no path can match two rows, so that their order means nothing.
fn ensure_distinct(group: &Group) -> Result<()> {
    for (one, other) in group.keys().flat_map(|one| group.keys().map(move |other| (one, other))) {
        let mut pairs = segments(one).zip(segments(other));
        let is_told_apart = pairs.any(|(a, b)| a != b && label(a).is_none() && label(b).is_none());
        ensure!(one == other || is_told_apart, "{one} and {other} match the same paths");
    }
    Ok(())
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').skip(1)
}

fn label(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

//! The module of one service: its rules, enums, structures and operations.

use anyhow::{Context, Result, bail, ensure};
use indexmap::{IndexMap, IndexSet};

use super::{Service, names, rules};
use crate::model::{Bearer, Member, Model, Operation, Scalar};

/// The one header that a member may be bound to; it becomes `Operation::BEARER`.
const BEARER_HEADER: &str = "x-amz-chime-bearer";
/// Longest line; rustfmt does not break those inside of macros.
const LINE_CHARS_MAX: usize = 99;

/// Returns the text of the module.
pub(super) fn generate(service: &Service) -> Result<String> {
    let model = &service.model;
    let used = used_shapes(model)?;
    let mut rules = String::new();
    for shape in &used {
        if let Some(rule) = rules::rule(model, shape)? {
            rules += &format!("static {}: Rule = {rule};\n", names::constant(shape));
        }
    }
    let mut enums = String::new();
    for (name, values) in model.enums.iter().filter(|(name, _)| used.contains(*name)) {
        enums += &generate_enum(name, values);
    }
    let mut shapes = String::new();
    for (name, members) in model.structures.iter().filter(|(name, _)| used.contains(*name)) {
        shapes += &generate_structure(model, name, members)
            .with_context(|| format!("structure {name}"))?;
    }
    let mut operations = String::new();
    for (name, operation) in &model.operations {
        operations += &generate_operation(service.name, name, operation)?;
    }
    let uses = uses(&[&rules, &shapes]);
    Ok(format!(
        "{uses}{rules}\nenumeration! {{\n{enums}}}\n\nshape! {{\n{shapes}}}\n\n{operations}"
    ))
}

/// Returns the imports that the text of a module needs.
fn uses(parts: &[&str]) -> String {
    let is_used = |name: &str| parts.iter().any(|part| part.contains(name));
    let mut uses = String::new();
    if is_used("BTreeMap<") {
        uses += "use std::collections::BTreeMap;\n\n";
    }
    let unbounded = if is_used("UNBOUNDED") { ", UNBOUNDED" } else { "" };
    uses += &format!("use crate::constraint::{{Rule, pattern{unbounded}}};\n");
    uses += "use crate::operation::operation;\n";
    uses += "use crate::shape::{body, enumeration, label, query, shape};\n";
    if is_used("Timestamp") {
        uses += "use crate::time::Timestamp;\n";
    }
    uses + "\n"
}

/// Returns the shapes that the operations use, in alphabetical order.
fn used_shapes(model: &Model) -> Result<IndexSet<String>> {
    let mut used = IndexSet::new();
    for operation in model.operations.values() {
        for shape in std::iter::once(&operation.input).chain(&operation.output) {
            ensure!(model.structures.contains_key(shape), "there is no structure {shape}");
            use_shape(model, shape, &mut used);
        }
    }
    used.sort();
    Ok(used)
}

fn use_shape(model: &Model, shape: &str, used: &mut IndexSet<String>) {
    if !used.insert(shape.to_owned()) {
        return;
    }
    let members = model.structures.get(shape).into_iter().flat_map(IndexMap::values);
    for member in members.filter(|member| member.header.is_none()) {
        use_shape(model, &member.shape, used);
    }
    if let Some(list) = model.lists.get(shape) {
        use_shape(model, &list.item, used);
    }
    if let Some(map) = model.maps.get(shape) {
        use_shape(model, &map.key, used);
        use_shape(model, &map.value, used);
    }
}

fn generate_enum(name: &str, values: &[String]) -> String {
    let mut text = format!("    {name} {{\n");
    for value in values {
        text += &format!("        {} = \"{value}\",\n", names::variant(value));
    }
    text + "    }\n"
}

fn generate_structure(
    model: &Model,
    name: &str,
    members: &IndexMap<String, Member>,
) -> Result<String> {
    let mut text = format!("    {name} {{\n");
    for (name, member) in members {
        if let Some(header) = &member.header {
            ensure!(header == BEARER_HEADER, "{name} is bound to the unknown header {header}");
            continue;
        }
        let rule = rules::reference_or_any(model, &member.shape)?;
        let place = match (&member.label, &member.query) {
            (None, None) => format!("body(\"{name}\", {rule})"),
            (Some(label), None) => format!("label(\"{name}\", \"{label}\", {rule})"),
            (None, Some(query)) => format!("query(\"{name}\", \"{query}\", {rule})"),
            (Some(_), Some(_)) => bail!("{name} is bound twice"),
        };
        let mut kind = rust_type(model, &member.shape)?;
        if !member.required {
            kind = format!("Option<{kind}>");
        }
        let field = format!("        {}: {kind} =", names::field(name));
        let gap = if field.len() + place.len() < LINE_CHARS_MAX { " " } else { "\n            " };
        text += &format!("{field}{gap}{place},\n");
    }
    Ok(text + "    }\n")
}

fn rust_type(model: &Model, shape: &str) -> Result<String> {
    if model.structures.contains_key(shape) || model.enums.contains_key(shape) {
        return Ok(shape.to_owned());
    }
    if let Some(list) = model.lists.get(shape) {
        return Ok(format!("Vec<{}>", rust_type(model, &list.item)?));
    }
    if let Some(map) = model.maps.get(shape) {
        ensure!(model.strings.contains_key(&map.key), "the keys of {shape} are not texts");
        return Ok(format!("BTreeMap<String, {}>", rust_type(model, &map.value)?));
    }
    if model.strings.contains_key(shape) {
        return Ok("String".to_owned());
    }
    if model.integers.contains_key(shape) {
        return Ok("i32".to_owned());
    }
    match model.scalars.get(shape) {
        Some(Scalar::Boolean) => Ok("bool".to_owned()),
        Some(Scalar::Timestamp) => Ok("Timestamp".to_owned()),
        None => bail!("there is no shape {shape}"),
    }
}

fn generate_operation(service: &str, name: &str, operation: &Operation) -> Result<String> {
    let service = names::capitalize(service);
    let method = method(operation)?;
    let bearer = match operation.bearer {
        Bearer::None => "None",
        Bearer::Optional => "Optional",
        Bearer::Required => "Required",
    };
    Ok(format!(
        "operation! {{\n    {service} {name}({input}) -> {output};\n    \
         {method} \"{uri}\", {status}, bearer {bearer};\n    errors {errors};\n}}\n\n",
        input = operation.input,
        output = operation.output.as_deref().unwrap_or("()"),
        uri = operation.uri,
        status = operation.status,
        errors = operation.errors.join(" "),
    ))
}

/// Returns the variant of `Method`.
pub(super) fn method(operation: &Operation) -> Result<String> {
    let method = operation.method.as_str();
    ensure!(["GET", "POST", "PUT", "DELETE"].contains(&method), "the method {method} is unknown");
    Ok(names::capitalize(&method.to_ascii_lowercase()))
}

//! Writes a model as TOML that people read: one line a member, one line a constraint.

use indexmap::IndexMap;
use toml::Value;

use super::{Bearer, List, Map, Member, Model, Operation, Range, Scalar, Text};

const HEADER: &str = "\
# The facts of one service: operations, members, bindings, limits, enums, error sets.
# Written by `cargo xtask model`; `cargo xtask gen` makes the wire types from it.
";

/// Returns the text of a model file.
pub(crate) fn write(model: &Model) -> String {
    let mut out = String::from(HEADER);
    let source = [
        ("package", Some(quote(&model.source.package))),
        ("service", Some(quote(&model.source.service))),
        ("version", Some(quote(&model.source.version))),
    ];
    table(&mut out, "source", &source);
    for (name, operation) in &model.operations {
        write_operation(&mut out, name, operation);
    }
    for (name, members) in &model.structures {
        section(&mut out, &format!("structures.{name}"), members, write_member);
    }
    section(&mut out, "lists", &model.lists, write_list);
    section(&mut out, "maps", &model.maps, write_map);
    section(&mut out, "enums", &model.enums, |values| array(values));
    section(&mut out, "strings", &model.strings, write_text);
    section(&mut out, "integers", &model.integers, write_range);
    section(&mut out, "scalars", &model.scalars, write_scalar);
    out
}

fn write_operation(out: &mut String, name: &str, operation: &Operation) {
    let bearer = match operation.bearer {
        Bearer::None => "none",
        Bearer::Optional => "optional",
        Bearer::Required => "required",
    };
    let lines = [
        ("method", Some(quote(&operation.method))),
        ("uri", Some(quote(&operation.uri))),
        ("status", Some(operation.status.to_string())),
        ("bearer", Some(quote(bearer))),
        ("input", Some(quote(&operation.input))),
        ("output", operation.output.as_deref().map(quote)),
        ("errors", Some(array(&operation.errors))),
        ("token", operation.token.as_deref().map(quote)),
    ];
    table(out, &format!("operations.{name}"), &lines);
}

fn write_member(member: &Member) -> String {
    inline(&[
        ("shape", Some(quote(&member.shape))),
        ("required", member.required.then(|| "true".to_owned())),
        ("label", member.label.as_deref().map(quote)),
        ("query", member.query.as_deref().map(quote)),
        ("header", member.header.as_deref().map(quote)),
    ])
}

fn write_list(list: &List) -> String {
    inline(&[
        ("item", Some(quote(&list.item))),
        ("min", list.min.map(|min| min.to_string())),
        ("max", list.max.map(|max| max.to_string())),
    ])
}

fn write_map(map: &Map) -> String {
    inline(&[("key", Some(quote(&map.key))), ("value", Some(quote(&map.value)))])
}

fn write_text(text: &Text) -> String {
    inline(&[
        ("min", text.min.map(|min| min.to_string())),
        ("max", text.max.map(|max| max.to_string())),
        ("pattern", text.pattern.as_deref().map(quote)),
        ("sensitive", text.sensitive.then(|| "true".to_owned())),
    ])
}

fn write_range(range: &Range) -> String {
    inline(&[
        ("min", range.min.map(|min| min.to_string())),
        ("max", range.max.map(|max| max.to_string())),
    ])
}

fn write_scalar(scalar: &Scalar) -> String {
    quote(match scalar {
        Scalar::Boolean => "boolean",
        Scalar::Timestamp => "timestamp",
    })
}

/// Appends a table whose values stand on lines of their own.
fn table(out: &mut String, name: &str, lines: &[(&str, Option<String>)]) {
    out.push_str(&format!("\n[{name}]\n"));
    for (key, value) in lines {
        if let Some(value) = value {
            out.push_str(&format!("{key} = {value}\n"));
        }
    }
}

/// Appends a table with one line for each named shape or member.
fn section<T>(
    out: &mut String,
    name: &str,
    shapes: &IndexMap<String, T>,
    write: impl Fn(&T) -> String,
) {
    out.push_str(&format!("\n[{name}]\n"));
    for (shape, facts) in shapes {
        out.push_str(&format!("{shape} = {}\n", write(facts)));
    }
}

fn inline(pairs: &[(&str, Option<String>)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key} = {value}")))
        .collect();
    if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
}

fn array(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quote(text)).collect();
    format!("[{}]", texts.join(", "))
}

fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SERVICES, load};

    #[test]
    fn what_is_written_reads_back_as_the_same_facts() {
        for service in SERVICES {
            let model = load(service).expect("the committed model is readable");
            let again: Model = toml::from_str(&write(&model)).expect("what is written is TOML");
            assert_eq!(model, again);
        }
    }
}

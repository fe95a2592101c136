//! `cargo xtask model`: takes the facts of the two services out of a botocore package.
//!
//! Invariant: a trait of the source that this module does not know makes the import fail, so that
//! no fact is dropped in silence. Documentation text is read past and never kept.

mod source;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use indexmap::{IndexMap, IndexSet};

use crate::model::{
    self, Bearer, List, Map, Member, Model, Operation, Range, Scalar, Source, Text,
};
use crate::paths;
use source::{Description, Shape};

/// (name of the model file, name and version of the service in the package).
const IMPORTS: [(&str, &str, &str); 2] = [
    ("identity", "chime-sdk-identity", "2021-04-20"),
    ("messaging", "chime-sdk-messaging", "2021-05-15"),
];
/// The header member that names the actor; it becomes a fact of the operation.
const BEARER_HEADER: &str = "x-amz-chime-bearer";

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let package = match arguments {
        [] => installed_package()?,
        [flag, folder] if flag == "--botocore" => PathBuf::from(folder),
        _ => bail!("usage: cargo xtask model [--botocore DIR]"),
    };
    let release = source::release(&package)?;
    for (name, service, version) in IMPORTS {
        let description = source::load(&package, service, version)?;
        let source = Source {
            package: format!("botocore {release}"),
            service: service.to_owned(),
            version: version.to_owned(),
        };
        let model = import(&description, source).with_context(|| format!("in {service}"))?;
        let path = paths::model(name);
        std::fs::write(&path, model::write(&model))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Finds the botocore that the black box tests use.
fn installed_package() -> Result<PathBuf> {
    let python = paths::root().join("tests/.venv/bin/python");
    let script = "import botocore, os; print(os.path.dirname(botocore.__file__))";
    let output = Command::new(&python).args(["-c", script]).output().with_context(|| {
        format!("cannot run {}; name a package with --botocore DIR", python.display())
    })?;
    ensure!(output.status.success(), "{} has no botocore", python.display());
    let folder = String::from_utf8(output.stdout).context("the package's path is not UTF-8")?;
    Ok(Path::new(folder.trim()).to_path_buf())
}

fn import(description: &Description, source: Source) -> Result<Model> {
    let mut model = Model {
        source,
        operations: IndexMap::new(),
        structures: IndexMap::new(),
        lists: IndexMap::new(),
        maps: IndexMap::new(),
        enums: IndexMap::new(),
        strings: IndexMap::new(),
        integers: IndexMap::new(),
        scalars: IndexMap::new(),
    };
    let mut used = IndexSet::new();
    for (name, operation) in &description.operations {
        let output = operation.output.as_ref().map(|output| output.shape.clone());
        reach(description, &operation.input.shape, &mut used)?;
        if let Some(output) = &output {
            reach(description, output, &mut used)?;
        }
        let facts = import_operation(description, operation, output)
            .with_context(|| format!("operation {name}"))?;
        model.operations.insert(name.clone(), facts);
    }
    for (name, shape) in &description.shapes {
        if used.contains(name) {
            import_shape(&mut model, name, shape).with_context(|| format!("shape {name}"))?;
        }
    }
    Ok(model)
}

/// Collects a shape and all shapes below it.
fn reach(description: &Description, name: &str, used: &mut IndexSet<String>) -> Result<()> {
    if !used.insert(name.to_owned()) {
        return Ok(());
    }
    let shape = description.shape(name)?;
    for below in shape.members.values().chain(&shape.member).chain(&shape.key).chain(&shape.value) {
        reach(description, &below.shape, used)?;
    }
    Ok(())
}

fn import_operation(
    description: &Description,
    operation: &source::Operation,
    output: Option<String>,
) -> Result<Operation> {
    let input = description.shape(&operation.input.shape)?;
    let mut bearer = Bearer::None;
    for (name, member) in &input.members {
        if member.location_name.as_deref() == Some(BEARER_HEADER) {
            let required = input.required.contains(name);
            bearer = if required { Bearer::Required } else { Bearer::Optional };
        }
    }
    let mut tokens = input.members.iter().filter(|(_, member)| member.idempotency_token);
    let token = tokens.next().map(|(name, _)| name.clone());
    ensure!(tokens.next().is_none(), "has two idempotency tokens");
    Ok(Operation {
        method: operation.http.method.clone(),
        uri: operation.http.request_uri.clone(),
        status: operation.http.response_code,
        bearer,
        input: operation.input.shape.clone(),
        output,
        errors: operation.errors.iter().map(|error| error_name(&error.shape)).collect(),
        token,
    })
}

/// Returns the code of an exception: `ThrottledClientException` is `Throttled`.
fn error_name(exception: &str) -> String {
    let name = exception.strip_suffix("Exception").unwrap_or(exception);
    name.strip_suffix("Client").unwrap_or(name).to_owned()
}

fn import_shape(model: &mut Model, name: &str, shape: &Shape) -> Result<()> {
    let name = name.to_owned();
    match shape.kind.as_str() {
        "structure" => {
            model.structures.insert(name, import_members(shape)?);
        }
        "list" => {
            let item = shape.member.as_ref().context("has no item")?.shape.clone();
            let (min, max) = (length(shape.min)?, length(shape.max)?);
            model.lists.insert(name, List { item, min, max });
        }
        "map" => {
            let key = shape.key.as_ref().context("has no key")?.shape.clone();
            let value = shape.value.as_ref().context("has no value")?.shape.clone();
            model.maps.insert(name, Map { key, value });
        }
        "string" if !shape.values.is_empty() => {
            model.enums.insert(name, shape.values.clone());
        }
        "string" => {
            let (min, max) = (length(shape.min)?, length(shape.max)?);
            let pattern = shape.pattern.clone();
            model.strings.insert(name, Text { min, max, pattern, sensitive: shape.sensitive });
        }
        "integer" => {
            let (min, max) = (bound(shape.min)?, bound(shape.max)?);
            model.integers.insert(name, Range { min, max });
        }
        "boolean" => insert_scalar(model, name, Scalar::Boolean),
        "timestamp" => insert_scalar(model, name, Scalar::Timestamp),
        other => bail!("is of the unknown kind `{other}`"),
    }
    Ok(())
}

fn insert_scalar(model: &mut Model, name: String, scalar: Scalar) {
    model.scalars.insert(name, scalar);
}

fn import_members(shape: &Shape) -> Result<IndexMap<String, Member>> {
    let mut members = IndexMap::new();
    for (name, member) in &shape.members {
        let mut facts = Member {
            shape: member.shape.clone(),
            required: shape.required.contains(name),
            ..Member::default()
        };
        match member.location.as_deref() {
            None => ensure!(member.location_name.is_none(), "{name} is renamed in the body"),
            Some("uri") => facts.label.clone_from(&member.location_name),
            Some("querystring") => facts.query.clone_from(&member.location_name),
            Some("header") => facts.header.clone_from(&member.location_name),
            Some(other) => bail!("{name} has the unknown location `{other}`"),
        }
        members.insert(name.clone(), facts);
    }
    Ok(members)
}

fn length(bound: Option<i64>) -> Result<Option<u32>> {
    bound.map(u32::try_from).transpose().context("has a length out of range")
}

fn bound(bound: Option<i64>) -> Result<Option<i32>> {
    bound.map(i32::try_from).transpose().context("has a bound out of range")
}

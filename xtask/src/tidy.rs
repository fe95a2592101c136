//! `tidy`: habits of the tree that no compiler checks.
//!
//! Invariant: it reads the files that git would commit and changes nothing; every rule here also
//! runs as a test, so `cargo test` is enough to hear of a breach.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::paths;

/// Lines that a source file may have, its tests apart.
const FILE_LINES_MAX: usize = 600;

/// What does not stay in a source file, and what to do instead.
const FORBIDDEN: [(&str, &str); 5] = [
    ("todo!(", "finish it, or open an issue"),
    ("dbg!(", "use tracing"),
    ("#[ignore", "a test that is not run is none"),
    ("#[allow(", "use #[expect(lint, reason = \"..\")]"),
    ("should_panic", "assert the answer instead"),
];

/// Which of our crates a crate may depend on.
const DIRECTION: [(&str, &[&str]); 7] = [
    ("wire", &[]),
    ("store", &[]),
    ("chat", &["store", "wire"]),
    ("links", &["wire"]),
    ("server", &["chat", "links", "store", "wire"]),
    ("bench", &["chat", "store", "wire"]),
    ("xtask", &[]),
];

/// Checks the tree.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "tidy takes no arguments");
    let root = paths::root();
    let mut breaches = direction(&root)?;
    for file in sources(&root)? {
        let text =
            fs::read_to_string(root.join(&file)).with_context(|| file.display().to_string())?;
        breaches.extend(source_breaches(&file, &text));
    }
    if breaches.is_empty() {
        return Ok(());
    }
    bail!("{}", breaches.join("\n"))
}

fn output(root: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).current_dir(root).output();
    let output = output.with_context(|| format!("{program} does not start"))?;
    ensure!(output.status.success(), "{program} {} failed", arguments.join(" "));
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns the Rust files of the tree, relative to its root.
fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.join("bench"), root.join("crates"), root.join("xtask")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(root)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn source_breaches(file: &Path, text: &str) -> Vec<String> {
    let name = file.display();
    let is_test = file.ends_with("tests.rs") || file.iter().any(|part| part == "tests");
    let is_generated = file.iter().any(|part| part == "generated" || part == "generated.rs");
    let mut breaches = Vec::new();
    if !is_test && !is_generated && !text.starts_with("//!") {
        breaches.push(format!("{name}: begins without a `//!` that says what it is"));
    }
    let lines = text.lines().take_while(|line| *line != "mod tests {").count();
    if !is_test && !is_generated && lines > FILE_LINES_MAX {
        breaches.push(format!("{name}: {lines} lines, more than {FILE_LINES_MAX}"));
    }
    // This file names the words that it looks for.
    for (word, instead) in FORBIDDEN.iter().filter(|_| !file.ends_with("tidy.rs")) {
        for (index, _) in text.lines().enumerate().filter(|(_, line)| line.contains(word)) {
            breaches.push(format!("{name}:{}: `{word}`: {instead}", index + 1));
        }
    }
    breaches
}

/// Compares what the crates depend on with the direction that the architecture allows.
fn direction(root: &Path) -> Result<Vec<String>> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1", "--locked"];
    let metadata: Value = serde_json::from_str(&output(root, env!("CARGO"), &arguments)?)?;
    let names = |list: &Value, member: &str| -> Vec<String> {
        let items = list.as_array().into_iter().flatten();
        items.filter_map(|item| item[member].as_str().map(str::to_owned)).collect()
    };
    let packages = metadata["packages"].as_array().context("cargo metadata has packages")?;
    let ours = names(&metadata["packages"], "name");
    let mut breaches = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = DIRECTION.iter().find(|(crate_name, _)| *crate_name == name)
        else {
            breaches.push(format!("crate {name}: has no place in the architecture"));
            continue;
        };
        let mut depends_on = names(&package["dependencies"], "name");
        depends_on.retain(|other| ours.contains(other) && other != name);
        for other in depends_on.iter().filter(|other| !allowed.contains(&other.as_str())) {
            breaches.push(format!("crate {name}: must not depend on {other}"));
        }
    }
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_keeps_its_habits() {
        let outcome = run(&[]).map_err(|breaches| breaches.to_string());
        assert_eq!(outcome, Ok(()));
    }

    #[test]
    fn breaches_are_found() {
        let bad =
            "fn x() { todo!() }\n#[allow(unused)]\n".to_owned() + &"\n".repeat(FILE_LINES_MAX);
        let breaches = source_breaches(Path::new("crates/x/src/x.rs"), &bad);
        assert_eq!(breaches.len(), 4, "{breaches:?}");
        assert!(source_breaches(Path::new("crates/x/src/x.rs"), "//! Says what.\n").is_empty());
    }
}

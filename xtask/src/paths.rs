//! Where things are in the workspace.

use std::path::{Path, PathBuf};

/// Returns the folder that holds the workspace's Cargo.toml.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the workspace")
        .to_path_buf()
}

/// Returns the file that holds the facts of one service.
pub(crate) fn model(service: &str) -> PathBuf {
    root().join("model").join(format!("{service}.toml"))
}

/// Returns the source folder of the crate that the generated code belongs to.
pub(crate) fn wire_source() -> PathBuf {
    root().join("crates/wire/src")
}

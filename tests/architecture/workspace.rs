//! The crates of the workspace and the root files of their targets, from `cargo metadata`.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

#[derive(Debug)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// The root files of library, binaries, tests, benchmarks and build script.
    pub(crate) roots: Vec<PathBuf>,
}

impl Crate {
    /// Returns all Rust files in the folder of the crate, without those of other packages in it.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    let other = path.join("Cargo.toml").exists() || path.ends_with("target");
                    folders.extend(Some(path).filter(|_| !other));
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    files.push(path);
                }
            }
        }
        files
    }
}

/// Returns the folder of the workspace, and its crates.
pub(crate) fn crates() -> (PathBuf, Vec<Crate>) {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let crates = metadata["packages"].as_array().unwrap().iter().map(|package| {
        let targets = package["targets"].as_array().unwrap();
        let roots = targets.iter().map(|target| PathBuf::from(text(&target["src_path"])));
        let folder = PathBuf::from(text(&package["manifest_path"])).parent().unwrap().to_owned();
        Crate { name: text(&package["name"]), folder, roots: roots.collect() }
    });
    (text(&metadata["workspace_root"]).into(), crates.collect())
}

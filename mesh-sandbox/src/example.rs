//! The example mesh, which a sandbox uses when no mesh folder is set. `mesh-sandbox/mesh` is a symbolic link to the
//! mesh of the examples, so that the published crate contains its files.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::error::{Error, Result};

/// The files of the example mesh, with their paths in the mesh folder.
macro_rules! files {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../mesh/", $path)))),*]
    };
}

const FILES: [(&str, &str); 12] = files![
    "cluster1/00-system.yaml",
    "cluster1/10-eastwest-gateway.yaml",
    "cluster1/11-cross-network.yaml",
    "cluster1/20-forecast.yaml",
    "cluster1/40-mongo.yaml",
    "cluster1/41-ledger.yaml",
    "cluster1/90-vms.yaml",
    "cluster2/00-system.yaml",
    "cluster2/10-eastwest-gateway.yaml",
    "cluster2/20-forecast.yaml",
    "cluster2/30-archive.yaml",
    "upstream.hosts",
];

/// Writes the example mesh into a temporary folder, which is removed when the value is dropped.
pub(crate) fn write() -> Result<TempDir> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::file(&path, "cannot be written", source)
    };
    let folder = tempfile::Builder::new().prefix("mesh-").tempdir().map_err(failed(&std::env::temp_dir()))?;
    for (path, text) in FILES {
        let file = folder.path().join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(failed(parent))?;
        }
        fs::write(&file, text).map_err(failed(&file))?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    #[test]
    fn the_crate_contains_every_file_of_the_example() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("mesh");
        let entries = |folder: &Path| -> Vec<PathBuf> {
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        let files = entries(&root)
            .into_iter()
            .flat_map(|path| if path.is_dir() { entries(&path) } else { vec![path] });
        let there: BTreeSet<_> =
            files.map(|path| path.strip_prefix(&root).unwrap().display().to_string()).collect();
        assert_eq!(there, super::FILES.map(|(path, _)| path.to_owned()).into());
    }
}

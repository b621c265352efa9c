//! A mesh folder: one folder of YAML files per cluster, `upstream.hosts`, `mesh.yaml` and `meshNetworks.yaml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use sidestep_util::file_stamp::FileStamp;

use super::mesh_config::MeshConfig;
use super::mesh_networks::MeshNetworks;
use super::object::{Key, Manifest};
use super::parse_file;
use super::read::read;
use crate::dns::hosts::{self, Hosts};
use crate::error::{Error, ErrorKind, Result};

/// The file with istiod's MeshConfig.
const CONFIG: &str = "mesh.yaml";
const NETWORKS: &str = "meshNetworks.yaml";

/// The content of a mesh folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    pub(crate) clusters: BTreeMap<String, BTreeMap<Key, Manifest>>,
    pub(crate) upstream: Hosts,
    pub(crate) config: MeshConfig,
    pub(crate) networks: MeshNetworks,
}

/// The modification stamps of all files in a folder. A difference means that the folder has changed.
pub(crate) type Stamp = BTreeMap<PathBuf, FileStamp>;

impl Folder {
    /// Reads the mesh folder `root`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut clusters = BTreeMap::new();
        for path in entries(root)? {
            let Some(name) = visible_name(&path) else { continue };
            if path.is_dir() {
                clusters.insert(name.to_owned(), read_cluster(&path)?);
            } else if is_yaml(&path) && ![CONFIG, NETWORKS].contains(&name) {
                return Err(Error::new(
                    ErrorKind::UnsupportedFile,
                    format!(
                        "{}: not supported by the sandbox; next to the cluster folders it reads only mesh.yaml, \
                         meshNetworks.yaml and upstream.hosts",
                        path.display()
                    ),
                ));
            }
        }
        if clusters.is_empty() {
            return Err(Error::new(
                ErrorKind::NoCluster,
                format!(
                    "{}: no cluster found; create one folder per cluster (for example cluster1) that contains YAML \
                     files",
                    root.display()
                ),
            ));
        }
        let upstream = optional(root.join("upstream.hosts"), hosts::parse)?;
        let config = optional(root.join(CONFIG), parse_file)?;
        let networks = optional(root.join(NETWORKS), parse_file)?;
        Ok(Self { clusters, upstream, config, networks })
    }

    /// Returns the modification stamps of all files without reading them.
    pub(crate) fn stamp(root: &Path) -> Stamp {
        let mut stamp = Stamp::new();
        let Ok(paths) = entries(root) else {
            return stamp;
        };
        for path in paths {
            let files = if path.is_dir() { entries(&path).unwrap_or_default() } else { vec![path] };
            for file in files {
                if let Ok(of_file) = FileStamp::from_path(&file) {
                    stamp.insert(file, of_file);
                }
            }
        }
        stamp
    }
}

fn read_cluster(folder: &Path) -> Result<BTreeMap<Key, Manifest>> {
    let mut objects = BTreeMap::new();
    for path in entries(folder)? {
        if !is_yaml(&path) || visible_name(&path).is_none() {
            continue;
        }
        let text =
            fs::read_to_string(&path).map_err(|source| Error::file(&path, "cannot be read", source))?;
        for manifest in read(&path, &text)? {
            add(&mut objects, manifest)?;
        }
    }
    Ok(objects)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Reads a file. Returns the default value if the file does not exist.
fn optional<T: Default>(file: PathBuf, read: impl Fn(&Path, &str) -> Result<T>) -> Result<T> {
    match fs::read_to_string(&file) {
        Ok(text) => read(&file, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(source) => Err(Error::file(&file, "cannot be read", source)),
    }
}

fn add(objects: &mut BTreeMap<Key, Manifest>, manifest: Manifest) -> Result<()> {
    if let Some(first) = objects.get(&manifest.key) {
        let problem = format!(
            "{} is already defined at {}; give one of the two objects another name, or delete it",
            manifest.key, first.location
        );
        return Err(Error::at(ErrorKind::DuplicateObject, manifest.location, problem));
    }
    objects.insert(manifest.key.clone(), manifest);
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| Error::file(folder, "cannot be listed", source);
    let mut paths = fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed)?;
    paths.sort();
    Ok(paths)
}

/// Returns the name of a file, or `None` if the file is hidden. Editors create hidden files next to the files they
/// write.
fn visible_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str().filter(|name| !name.starts_with('.'))
}

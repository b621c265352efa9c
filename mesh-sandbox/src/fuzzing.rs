//! Entry points of the fuzz targets for private parsers. Compiled only for fuzzing.
#![allow(missing_docs, reason = "not public")]

use std::path::Path;

use crate::yaml::mesh_config::MeshConfig;
use crate::yaml::mesh_networks::MeshNetworks;
use crate::yaml::{parse_file, read};

/// Reads bytes as each kind of YAML file in a mesh folder.
pub fn yaml(bytes: &[u8]) {
    let (file, text) = (Path::new("a.yaml"), String::from_utf8_lossy(bytes));
    let _ = parse_file::<MeshConfig>(file, &text);
    let _ = parse_file::<MeshNetworks>(file, &text);
    let _ = read::read(file, &text);
}

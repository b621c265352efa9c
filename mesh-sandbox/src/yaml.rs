//! Reads Kubernetes and Istio YAML, and reports errors with their locations.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::location::SourceLocation;

pub(crate) mod destination_rule;
pub(crate) mod document;
pub(crate) mod folder;
pub(crate) mod istio;
pub(crate) mod kubernetes;
pub(crate) mod mesh_config;
pub(crate) mod mesh_networks;
pub(crate) mod object;
pub(crate) mod protocol;
pub(crate) mod read;
#[cfg(test)]
mod tests;
mod unsupported;
mod validation;

pub(crate) use folder::{Folder, Stamp};
pub(crate) use object::{Key, Manifest, Object};

/// Parses a file with one document. Returns the default value for an empty file.
pub(crate) fn parse_file<T: DeserializeOwned + Default>(file: &Path, text: &str) -> Result<T> {
    let is_empty = text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#'));
    if is_empty { Ok(T::default()) } else { parse(text, &SourceLocation::new(file, 1)) }
}

/// Parses one document, which starts at `location`.
fn parse<T: DeserializeOwned>(text: &str, location: &SourceLocation) -> Result<T> {
    // Like Kubernetes, the parser does not read `version: 1` and `enabled: yes` as strings.
    let options = serde_saphyr::options! { no_schema: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        let problem = error.without_snippet().to_string();
        // The parser counts lines from the start of the document, the location counts from the start of the file.
        let problem = problem.rfind(" at line ").map_or(problem.as_str(), |end| &problem[..end]);
        Error::at(ErrorKind::InvalidYaml, location.at(location.line() + line.max(1) - 1), problem)
    })
}

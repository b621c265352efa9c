//! Reading ordinary Kubernetes and Istio YAML, with the place of everything that is wrong.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::place::Place;

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
mod unsupported;
mod validation;

pub(crate) use folder::{Folder, Stamp};
pub(crate) use object::{Key, Manifest, Object};

/// Parses a file that is one document. One that says nothing is as good as none.
fn parse_file<T: DeserializeOwned + Default>(file: &Path, text: &str) -> Result<T> {
    let is_empty = text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#'));
    if is_empty { Ok(T::default()) } else { parse(text, &Place::new(file, 1)) }
}

/// Parses one document, which begins at `place`.
fn parse<T: DeserializeOwned>(text: &str, place: &Place) -> Result<T> {
    // As Kubernetes reads it: `version: 1` and `enabled: yes` are not strings.
    let options = serde_saphyr::options! { no_schema: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        let problem = error.without_snippet().to_string();
        // The parser counts from the document's beginning; the place counts from the file's.
        let problem = problem.rfind(" at line ").map_or(problem.as_str(), |end| &problem[..end]);
        Error::Yaml { place: place.at(place.line() + line.max(1) - 1), problem: problem.to_owned() }
    })
}

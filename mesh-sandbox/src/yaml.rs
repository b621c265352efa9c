//! Reading ordinary Kubernetes and Istio YAML, with the place of everything that is wrong.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

pub(crate) mod destination_rule;
pub(crate) mod document;
pub(crate) mod folder;
pub(crate) mod istio;
pub(crate) mod kubernetes;
pub(crate) mod mesh_config;
pub(crate) mod mesh_networks;
pub(crate) mod object;
pub(crate) mod protocol;
mod unsupported;
mod validation;

pub(crate) use folder::{Folder, Stamp};
pub(crate) use object::{Key, Manifest, Object};

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    file: Arc<Path>,
    line: u64,
}

impl Place {
    pub(crate) fn new(file: impl Into<PathBuf>, line: u64) -> Self {
        Self { file: file.into().into(), line }
    }

    pub(crate) fn at(&self, line: u64) -> Self {
        Self { file: self.file.clone(), line }
    }

    /// The file, or the name under which a text was applied.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The line, counted from one.
    pub fn line(&self) -> u64 {
        self.line
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

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
        Error::Yaml { place: place.at(place.line + line.max(1) - 1), problem: problem.to_owned() }
    })
}

//! Locations in files, for error messages.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A location in a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceLocation {
    file: Arc<Path>,
    line: u64,
}

impl SourceLocation {
    pub(crate) fn new(file: impl Into<PathBuf>, line: u64) -> Self {
        Self { file: file.into().into(), line }
    }

    pub(crate) fn at(&self, line: u64) -> Self {
        Self { file: self.file.clone(), line }
    }

    /// Returns the path of the file, or `(applied)` for YAML that was passed to
    /// [`Sandbox::apply`](crate::Sandbox::apply).
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the line number, starting at 1.
    pub fn line(&self) -> u64 {
        self.line
    }
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

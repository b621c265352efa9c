//! What can go wrong on the way into the mesh.

use std::{error::Error as StdError, fmt, path::PathBuf, sync::Arc};

/// An operation of this crate failed.
///
/// [`Display`](fmt::Display) names the object and, where there is one, the next step; the cause is in
/// [`source`](StdError::source); [`report`](Self::report) is both on one line. Errors are cheap to clone, because the
/// last one stays readable in [`Health`](crate::Health).
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    problems: Vec<Problem>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What an [`Error`] is about. Stable: match on it, label metrics with it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// This host's clock is wrong, as certificates tell: good ones cannot be verified.
    Clock,
    /// The client was shut down.
    Closed,
    /// The configuration cannot be used; [`Error::problems`] lists why.
    Config,
    /// The token or the certificate at hand cannot be used.
    Credentials,
    /// istiod sent something that is not what it claims to be.
    InvalidResource,
    /// The state folder, or a file in it, cannot be used.
    Storage,
    /// A deadline passed.
    Timeout,
    /// istiod does not accept who we say we are.
    Unauthenticated,
    /// istiod cannot be reached, or went away.
    Unavailable,
    /// What answers at istiod's address is not istiod as far as the roots tell.
    UntrustedServer,
}

impl ErrorKind {
    /// A short name for metric labels.
    #[must_use]
    pub fn as_label(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Closed => "closed",
            Self::Config => "config",
            Self::Credentials => "credentials",
            Self::InvalidResource => "invalid_resource",
            Self::Storage => "storage",
            Self::Timeout => "timeout",
            Self::Unauthenticated => "unauthenticated",
            Self::Unavailable => "unavailable",
            Self::UntrustedServer => "untrusted_server",
        }
    }

    /// Whether trying again can help although nobody changes a file, a token or a setting. A clock counts as such:
    /// a host that has just started sets it by itself.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Clock | Self::InvalidResource | Self::Storage | Self::Timeout | Self::Unavailable
        )
    }
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Problem {
    /// The file it stands in, if it stands in one.
    pub file: Option<PathBuf>,
    /// The line in that file, counted from 1.
    pub line: Option<usize>,
    /// The key, variable or field.
    pub key: Option<String>,
    /// What is wrong, and what to do about it.
    pub what: String,
}

impl Problem {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { file: None, line: None, key: None, what: what.into() }
    }

    pub(crate) fn in_file(self, file: impl Into<PathBuf>) -> Self {
        Self { file: Some(file.into()), ..self }
    }

    pub(crate) fn at_line(self, line: usize) -> Self {
        Self { line: Some(line), ..self }
    }

    pub(crate) fn about(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// The bytes of a pushed resource are not the message that they claim to be.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidResource(String);

impl From<prost::DecodeError> for InvalidResource {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), problems: Vec::new(), source: None }))
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            problems: Vec::new(),
            source: Some(source.into()),
        }))
    }

    /// The configuration as a whole, with everything that is wrong with it.
    pub(crate) fn config(problems: Vec<Problem>) -> Self {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let message = match &lines[..] {
            [one] => one.clone(),
            many => format!("{} problems in the configuration: {}", many.len(), many.join("; ")),
        };
        Self(Arc::new(Inner { kind: ErrorKind::Config, message, problems, source: None }))
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the client was shut down: join the mesh again")
    }

    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// For [`ErrorKind::Config`]: everything that is wrong, each with the file and key it came from.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0.problems
    }

    /// The error and its causes on one line.
    #[must_use]
    pub fn report(&self) -> String {
        sidestep_util::error::report(self)
    }

    /// Whether the other is this error, or one of the same kind that says the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.kind() == other.kind() && self.report() == other.report()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

//! What can go wrong on the way from a name to addresses.

use std::{error::Error as StdError, fmt};

/// A name could not be resolved, or a resolver could not be built.
///
/// [`Display`](fmt::Display) names the host and the next step; the cause, where there is one, is in
/// [`source`](StdError::source); [`report`](Self::report) is both on one line.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    host: String,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

const _: () = assert!(size_of::<Error>() == size_of::<usize>(), "results stay small");

/// What an [`Error`] is about. Stable: match on it, label metrics with it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The resolver's own configuration, or the host's, cannot be used.
    Config,
    /// What was asked for is not a host name.
    InvalidName,
    /// A DNS listener cannot listen where it should.
    Listen,
    /// Neither the mesh nor upstream DNS knows the name (NXDOMAIN).
    NameNotFound,
    /// The name exists, and has no address (NODATA).
    NoRecords,
    /// istiod has not sent a name table yet, and the name cannot be answered without one.
    NotReady,
    /// Upstream DNS did not answer in time.
    Timeout,
    /// Upstream DNS cannot be reached, or fails.
    Upstream,
}

impl ErrorKind {
    /// A short name for metric labels.
    #[must_use]
    pub fn as_label(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::InvalidName => "invalid_name",
            Self::Listen => "listen",
            Self::NameNotFound => "name_not_found",
            Self::NoRecords => "no_records",
            Self::NotReady => "not_ready",
            Self::Timeout => "timeout",
            Self::Upstream => "upstream",
        }
    }

    /// Whether asking again can help although nobody changes a name or a setting.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::NotReady | Self::Timeout | Self::Upstream)
    }

    /// Whether this is an answer, and a definite one: there is no such name, or no address under it.
    #[must_use]
    pub fn is_negative(self) -> bool {
        matches!(self, Self::NameNotFound | Self::NoRecords)
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, host: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, host: host.to_owned(), message: message.into(), source: None }))
    }

    pub(crate) fn because_of(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same, about the name as it was asked for.
    pub(crate) fn asked_for(mut self, host: &str) -> Self {
        self.0.host = host.to_owned();
        self
    }

    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The name that was asked for, as it was asked for; empty where no lookup failed.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// The error and its causes on one line.
    #[must_use]
    pub fn report(&self) -> String {
        sidestep_util::error::report(self)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.host.is_empty() {
            write!(f, "{}: ", self.0.host.escape_debug())?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("host", &self.0.host)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

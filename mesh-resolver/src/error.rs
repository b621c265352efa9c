//! The errors of this crate.

use std::{error::Error as StdError, fmt};

/// A failed lookup, or a resolver or listener that could not be created.
///
/// [`Display`](fmt::Display) names the host and the next step. [`source`](StdError::source) returns the cause.
/// [`report`](Self::report) returns both in one line.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    host: String,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

const _: () = assert!(size_of::<Error>() == size_of::<usize>(), "an Error has the size of a pointer");

/// The kind of an [`Error`]. It is stable: programs may match on it and use it as a metric label.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration of the resolver or of the host is invalid.
    Config,
    /// The text is not a host name.
    InvalidName,
    /// The DNS listener cannot listen on its address.
    Listen,
    /// The name exists neither in the mesh nor in upstream DNS (NXDOMAIN).
    NameNotFound,
    /// The name exists but has no address (NODATA).
    NoRecords,
    /// istiod has not sent a name table yet, and the name may be a mesh name.
    NotReady,
    /// Upstream DNS did not answer in time.
    Timeout,
    /// Upstream DNS is unreachable or returned a failure.
    Upstream,
}

impl ErrorKind {
    /// Returns a stable snake_case name for metric labels.
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

    /// Whether a retry can succeed without a change of the name or the configuration.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::NotReady | Self::Timeout | Self::Upstream)
    }

    /// Whether this is a definite negative answer: the name does not exist, or has no address.
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

    /// Sets the host to the name that the caller passed.
    pub(crate) fn asked_for(mut self, host: &str) -> Self {
        self.0.host = host.to_owned();
        self
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the name that the caller looked up, as it was passed. Empty if the error does not concern a lookup.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Returns the message and its causes in one line.
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

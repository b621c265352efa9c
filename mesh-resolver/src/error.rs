//! The errors of this crate.

use std::sync::Arc;

use sidestep_util::error::ErrorCore;

use crate::policy::NoLocalAddress;

/// A failed lookup, or a resolver or listener that could not be created.
///
/// [`Display`](std::fmt::Display) names the host and the next step. [`source`](std::error::Error::source) returns
/// the cause, and [`report`](Self::report) returns both in one line. [`Debug`](std::fmt::Debug) writes the message
/// and each cause on a line of its own, so that a `main` that returns the error prints readable text. Clones are
/// cheap.
#[derive(Clone)]
pub struct Error(Arc<ErrorCore<ErrorKind, Details>>);

struct Details {
    host: String,
}

sidestep_util::impl_error!(Error, ErrorKind);

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
    /// This process or this host has no resources left for a query to upstream DNS, such as file descriptors. The
    /// servers are not the cause.
    LocalResource,
    /// The name is a mesh name, and no loopback address can be returned for it
    /// ([`LocalAddresses`](crate::LocalAddresses)).
    NoLocalAddress,
    /// The name exists neither in the mesh nor in upstream DNS (NXDOMAIN).
    NameNotFound,
    /// The name exists but has no address (NODATA).
    NoRecords,
    /// istiod has not sent a name table yet, and the name may be a mesh name:
    /// [`MeshResolver::lookup_ip`](crate::MeshResolver::lookup_ip) describes which names wait.
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
            Self::LocalResource => "local_resource",
            Self::NoLocalAddress => "no_local_address",
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
        matches!(self, Self::LocalResource | Self::NotReady | Self::Timeout | Self::Upstream)
    }

    /// Whether this is a definite negative answer: the name does not exist, or has no address.
    #[must_use]
    pub fn is_negative(self) -> bool {
        matches!(self, Self::NameNotFound | Self::NoRecords)
    }
}

/// An error of a lookup, without the name that the caller passed.
pub(crate) type LookupError = ErrorCore<ErrorKind>;

/// Creates the error of a mesh name without a loopback address.
pub(crate) fn no_local_address(reason: NoLocalAddress) -> LookupError {
    LookupError::new(ErrorKind::NoLocalAddress, "this mesh name has no loopback address").with_source(reason)
}

impl Error {
    /// Creates an error about a lookup of `host`, the name as the caller passed it.
    pub(crate) fn of_lookup(host: &str, error: LookupError) -> Self {
        let message = format!("{}: {}", host.escape_debug(), error.message);
        let details = Details { host: host.to_owned() };
        Self(Arc::new(ErrorCore { message, ..error.with_details(details) }))
    }

    /// Creates an error that does not concern a lookup.
    pub(crate) fn of_setup(error: ErrorCore<ErrorKind>) -> Self {
        Self(Arc::new(error.with_details(Details { host: String::new() })))
    }

    /// Returns the name that the caller looked up, as it was passed. The name is empty if the error does not concern a
    /// lookup.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.details.host
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn display_names_the_host_and_debug_lists_the_causes() {
        let cause = io::Error::other("refused");
        let error =
            Error::of_lookup("a\nb", ErrorCore::new(ErrorKind::Upstream, "try again").with_source(cause));
        assert_eq!(error.to_string(), "a\\nb: try again");
        assert_eq!(error.report(), "a\\nb: try again: refused");
        assert_eq!(format!("{error:?}"), "a\\nb: try again\n\nCaused by:\n    refused");
        assert_eq!((error.host(), error.is_transient()), ("a\nb", true));
    }

    #[test]
    fn an_error_without_a_host_consists_of_its_message() {
        let error = Error::of_setup(ErrorCore::new(ErrorKind::Listen, "port 53 is in use"));
        assert_eq!((error.to_string(), error.host()), ("port 53 is in use".to_owned(), ""));
        assert!(!error.is_transient());
    }
}

//! The error type of this crate.

mod attempt;

use std::{error::Error as StdError, fmt, io, sync::Arc};

use sidestep_util::{
    error::{BoxError, ErrorCore, with_causes},
    local_error,
};

pub use self::attempt::{Attempt, IdentityMismatch};
pub use super::kind::ErrorKind;

/// An error of joining a mesh, connecting to a service, or an HTTP exchange.
///
/// [`Display`](fmt::Display) writes the host, cluster, endpoint, gateway, SNI and identities that are known, and the
/// next step. [`Debug`](fmt::Debug) writes the message and each cause on a line of its own.
/// [`source`](StdError::source) returns the cause. Errors are cheap to clone.
///
/// ```
/// use mesh_connector::{ErrorKind, Target};
///
/// let error = "forecast.weather".parse::<Target>().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidTarget);
/// assert!(!error.is_transient());
/// ```
#[derive(Clone)]
pub struct Error(Arc<ErrorCore<ErrorKind, Details>>);

sidestep_util::impl_error!(Error, ErrorKind);

/// The properties of an error that only some errors have.
#[derive(Default)]
pub(crate) struct Details {
    /// The message without attempts and possible causes. `None` if the message contains neither.
    summary: Option<String>,
    possible_causes: Vec<&'static str>,
    attempts: Vec<Attempt>,
    mismatch: Option<IdentityMismatch>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::build(kind, message.into(), Details::default(), None)
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<BoxError>,
    ) -> Self {
        Self::build(kind, message.into(), Details::default(), Some(source.into()))
    }

    /// Creates the error of a socket that could not be connected. Its kind is `Dial`, or `LocalResource` if this host
    /// lacks a resource. The text of a `LocalResource` error is not `message`: it says what the user can do.
    pub(crate) fn dial(message: impl Into<String>, error: io::Error) -> Self {
        match local_error::next_step(&error) {
            Some(next_step) => Self::with_source(
                ErrorKind::LocalResource,
                format!("cannot open a connection: {next_step}"),
                error,
            ),
            None => Self::with_source(ErrorKind::Dial, message, error),
        }
    }

    /// Returns whether connection attempts to other endpoints would fail with the same error.
    pub(crate) fn is_exhausted(&self) -> bool {
        let system = self.source().and_then(|source| source.downcast_ref::<io::Error>());
        self.kind() == ErrorKind::LocalResource && system.is_none_or(local_error::is_exhausted)
    }

    /// Creates an error with its possible causes in the configuration of the mesh.
    pub(crate) fn with_possible_causes(
        kind: ErrorKind,
        message: impl Into<String>,
        source: Option<BoxError>,
        possible_causes: &[&'static str],
    ) -> Self {
        let summary = message.into();
        let message = format!("{summary} (possible causes: {})", possible_causes.join("; "));
        let possible_causes = possible_causes.to_vec();
        let details = Details { summary: Some(summary), possible_causes, ..Details::default() };
        Self::build(kind, message, details, source)
    }

    pub(crate) fn mismatch(mismatch: IdentityMismatch) -> Self {
        let message = mismatch.to_string();
        let details = Details { mismatch: Some(mismatch), ..Details::default() };
        Self::build(ErrorKind::PeerIdentity, message, details, None)
    }

    /// Wraps an error of nds-client. `message` names the failed operation.
    pub(crate) fn control_plane(message: impl Into<String>, error: nds_client::Error) -> Self {
        use nds_client::ErrorKind as Theirs;
        let kind = match error.kind() {
            Theirs::Closed => ErrorKind::Closed,
            Theirs::Config => ErrorKind::Config,
            Theirs::Credentials | Theirs::Unauthenticated => ErrorKind::Credentials,
            _ => ErrorKind::ControlPlane,
        };
        Self::with_source(kind, message, error)
    }

    /// Creates the error for a connection whose attempts all failed. Its kind is that of the most informative attempt.
    pub(crate) fn attempts_failed(what: &str, attempts: Vec<Attempt>, out_of_time: bool) -> Self {
        let most_informative =
            attempts.iter().map(|attempt| &attempt.error).max_by_key(|error| error.kind().weight());
        let kind = most_informative.map_or(ErrorKind::Timeout, Self::kind);
        let kind =
            if out_of_time && kind.weight() <= ErrorKind::Dial.weight() { ErrorKind::Timeout } else { kind };
        let mismatch = attempts.iter().find_map(|attempt| attempt.error.identity_mismatch()).cloned();
        let tried: Vec<_> = attempts.iter().map(ToString::to_string).collect();
        let within = if out_of_time { " within the deadline" } else { "" };
        let summary = format!("no connection to {what}{within}");
        let message = match &tried[..] {
            [] => format!("no connection to {what}: the deadline passed before the first attempt"),
            tried => format!("{summary}: {}", tried.join("; ")),
        };
        let summary = (!tried.is_empty()).then_some(summary);
        let last = attempts.last().map(|last| &last.error).filter(|error| error.source().is_some());
        let source = last.map(|error| Box::new(Cause(error.clone())) as BoxError);
        let details = Details { summary, possible_causes: Vec::new(), attempts, mismatch };
        Self::build(kind, message, details, source)
    }

    fn build(kind: ErrorKind, message: String, details: Details, source: Option<BoxError>) -> Self {
        Self(Arc::new(ErrorCore { kind, message, details, source }))
    }

    /// Returns the failed connection attempts, in the order in which they were made. Empty if no attempt failed.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.0.details.attempts
    }

    /// Returns the possible causes in the configuration of the mesh. The client cannot determine which one applies.
    /// Empty if the error has no such list.
    #[must_use]
    pub fn possible_causes(&self) -> &[&'static str] {
        &self.0.details.possible_causes
    }

    /// Returns the expected and the presented identities, for [`ErrorKind::PeerIdentity`]. `None` for other kinds, and
    /// if the certificate was rejected for another reason, such as an unknown issuer.
    #[must_use]
    pub fn identity_mismatch(&self) -> Option<&IdentityMismatch> {
        self.0.details.mismatch.as_ref()
    }

    /// Finds an error of this type in `error` and its causes. HTTP and gRPC clients box the errors of their connector;
    /// this function returns the original one.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            // `io::Error::source` skips the wrapped error itself.
            let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = inside.map(|inside| inside as &(dyn StdError + 'static)).or_else(|| error.source());
        }
        None
    }

    /// Returns the message and the causes on one line, without the attempts and possible causes of the error.
    pub(crate) fn summary(&self) -> String {
        match &self.0.details.summary {
            // Do not add causes here: the causes of an error with attempts are those of its last attempt.
            Some(summary) if !self.attempts().is_empty() => summary.clone(),
            Some(summary) => with_causes(summary, self),
            None => self.report(),
        }
    }

    /// Returns the `errno` of the operating system error that caused this error, if any: for instance EMFILE.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        let mut next: Option<&(dyn StdError + 'static)> = Some(self);
        while let Some(error) = next {
            let system = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
            if system.is_some() {
                return system;
            }
            next = error.downcast_ref::<Cause>().map_or_else(|| error.source(), |cause| cause.0.source());
        }
        None
    }
}

/// The cause of the last attempt. The text of the attempt itself is already part of the message of the whole error.
struct Cause(Error);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.source().map_or(Ok(()), |source| write!(f, "{source}"))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.source(), f)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source().and_then(StdError::source)
    }
}

const _: () = assert!(size_of::<Error>() == size_of::<usize>());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_the_message_and_each_cause_on_a_line() {
        let error = Error::with_possible_causes(
            ErrorKind::Tls,
            "the peer does not speak TLS",
            Some(io::Error::other("corrupt message").into()),
            &["no sidecar", "PeerAuthentication DISABLE"],
        );
        let text = "the peer does not speak TLS (possible causes: no sidecar; PeerAuthentication DISABLE)";
        assert_eq!(error.to_string(), text);
        assert_eq!(format!("{error:?}"), format!("{text}\n\nCaused by:\n    corrupt message"));
        assert_eq!(error.report(), format!("{text}: corrupt message"));
        assert_eq!(error.summary(), "the peer does not speak TLS: corrupt message");
    }

    #[test]
    fn the_kind_of_failed_attempts_is_the_most_informative_one() {
        let attempt = |kind| Attempt {
            endpoint: "10.1.2.3:15443".into(),
            gateway: None,
            sni: None,
            error: Error::new(kind, "failed"),
        };
        let attempts = || vec![attempt(ErrorKind::PeerIdentity), attempt(ErrorKind::Dial)];
        let error = Error::attempts_failed("a:80", attempts(), false);
        assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::PeerIdentity, 2));
        assert!(!error.is_transient());
        let late = Error::attempts_failed("a:80", vec![attempt(ErrorKind::Dial)], true);
        assert!(late.kind() == ErrorKind::Timeout && late.is_transient());
    }
}

//! What can go wrong between a name and an authenticated stream.

mod attempt;
mod kind;

use std::{error::Error as StdError, fmt, io, sync::Arc};

use sidestep_util::error::{report, with_causes};

pub use self::{
    attempt::{Attempt, IdentityMismatch},
    kind::ErrorKind,
};

/// A connection was not made, or broke for a reason of the mesh's.
///
/// [`Display`](fmt::Display) names host, cluster, endpoint, gateway, SNI and identities as far as they are known, and
/// the next step; the cause is in [`source`](StdError::source); [`report`](Self::report) is both on one line. Errors
/// are cheap to clone.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Default)]
struct Inner {
    kind: Option<ErrorKind>,
    message: String,
    /// The message without the attempts, where it has some.
    summary: Option<String>,
    candidates: Vec<&'static str>,
    attempts: Vec<Attempt>,
    mismatch: Option<IdentityMismatch>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind: Some(kind), message: message.into(), ..Inner::default() }))
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let source = Some(source.into());
        Self(Arc::new(Inner { kind: Some(kind), message: message.into(), source, ..Inner::default() }))
    }

    /// The same error with what may have caused it, in the mesh's terms.
    pub(crate) fn because(self, candidates: &[&'static str]) -> Self {
        self.edit(|inner| inner.candidates = candidates.to_vec())
    }

    pub(crate) fn mismatch(mismatch: IdentityMismatch) -> Self {
        Self::new(ErrorKind::PeerIdentity, mismatch.to_string()).edit(|inner| inner.mismatch = Some(mismatch))
    }

    /// What the control plane side said, about `what`.
    pub(crate) fn control_plane(what: impl Into<String>, error: nds_client::Error) -> Self {
        use nds_client::ErrorKind as Theirs;
        let kind = match error.kind() {
            Theirs::Closed => ErrorKind::Closed,
            Theirs::Config => ErrorKind::Config,
            Theirs::Credentials | Theirs::Unauthenticated => ErrorKind::Credentials,
            _ => ErrorKind::ControlPlane,
        };
        Self::with_source(kind, what, error)
    }

    /// All attempts failed. The kind is that of the attempt that says most.
    pub(crate) fn attempts_failed(what: &str, attempts: Vec<Attempt>, out_of_time: bool) -> Self {
        let telling = attempts.iter().map(|attempt| &attempt.error).max_by_key(|error| error.kind().weight());
        let kind = telling.map_or(ErrorKind::Timeout, Self::kind);
        let kind =
            if out_of_time && kind.weight() <= ErrorKind::Dial.weight() { ErrorKind::Timeout } else { kind };
        let mismatch = attempts.iter().find_map(|attempt| attempt.error.identity_mismatch()).cloned();
        let tried: Vec<_> = attempts.iter().map(ToString::to_string).collect();
        let within = if out_of_time { " within the deadline" } else { "" };
        let summary = format!("no connection to {what}{within}");
        let message = match &tried[..] {
            [] => format!("no connection to {what}: the deadline passed before an endpoint was tried"),
            tried => format!("{summary}: {}", tried.join("; ")),
        };
        let summary = (!tried.is_empty()).then_some(summary);
        let source =
            attempts.last().and_then(|last| last.error.0.source.is_some().then(|| last.error.clone()));
        let source = source.map(|error| Box::new(Cause(error)) as Box<dyn StdError + Send + Sync>);
        let inner =
            Inner { kind: Some(kind), message, summary, attempts, mismatch, source, ..Inner::default() };
        Self(Arc::new(inner))
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        // Errors are edited only where they are made, before a clone exists.
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }

    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind.unwrap_or(ErrorKind::Exchange)
    }

    /// The endpoints that were tried, in order.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.0.attempts
    }

    /// What may have caused it, in the mesh's terms. Several candidates are listed where they cannot be told apart
    /// from this side.
    #[must_use]
    pub fn candidates(&self) -> &[&'static str] {
        &self.0.candidates
    }

    /// For [`ErrorKind::PeerIdentity`]: what was expected and what was presented. `None` where the certificate was
    /// refused for another reason, such as an unknown issuer.
    #[must_use]
    pub fn identity_mismatch(&self) -> Option<&IdentityMismatch> {
        self.0.mismatch.as_ref()
    }

    /// Finds an error of this type among `error` and its causes: for clients that box what their connector returns.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            // `io::Error::source` passes over the error inside.
            let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = inside.map(|inside| inside as &(dyn StdError + 'static)).or_else(|| error.source());
        }
        None
    }

    /// What failed and its causes, without attempts and candidates.
    pub(crate) fn summary(&self) -> String {
        match &self.0.summary {
            // The causes are those of the last attempt.
            Some(summary) => summary.clone(),
            None => with_causes(self.0.message.clone(), self),
        }
    }

    /// The error and its causes on one line.
    #[must_use]
    pub fn report(&self) -> String {
        report(self)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.candidates[..] {
            [] => Ok(()),
            candidates => write!(f, " (possible causes: {})", candidates.join("; ")),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("message", &self.to_string())
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl Error {
    /// The system's number (`errno`) of what is behind this, where the system refused something: a descriptor, for
    /// instance.
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

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// The cause inside the last attempt: the attempt's own text is already part of the whole error's.
struct Cause(Error);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.source().map_or(Ok(()), |source| write!(f, "{source}"))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.0.source, f)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source().and_then(StdError::source)
    }
}

const _: () = assert!(size_of::<Error>() == size_of::<usize>());

//! Errors of this crate.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use sidestep_util::error::{BoxError, ErrorCore};

/// The error of an operation of this crate.
///
/// [`Display`](fmt::Display) writes the message: the object, the failure and the next step.
/// [`source`](std::error::Error::source) returns the cause. [`report`](Self::report) returns the message and its causes
/// on one line; [`Debug`](fmt::Debug) writes each cause on a line of its own. Errors are cheap to clone:
/// [`Health`](crate::health::Health) holds the latest one of each component.
#[derive(Clone)]
pub struct Error(Arc<ErrorCore<ErrorKind, Details>>);

const _: () = assert!(size_of::<Error>() == size_of::<usize>(), "results stay small");

#[derive(Default)]
struct Details {
    problems: Vec<ConfigProblem>,
}

/// The category of an [`Error`]. The variants and labels are stable: match on them and label metrics with them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The clock of this host is wrong: valid certificates fail verification.
    Clock,
    /// The client was shut down.
    Closed,
    /// The configuration is invalid; [`Error::problems`] lists the reasons.
    Config,
    /// The token or the certificate of this workload cannot be used.
    Credentials,
    /// A defect of this library: one of its tasks panicked. The task starts again.
    Internal,
    /// istiod sent a message that cannot be decoded or used.
    InvalidResource,
    /// The state directory, or a file in it, cannot be read or written.
    Storage,
    /// istiod did not answer within the time limit of a call.
    Timeout,
    /// istiod rejected the credentials of this workload.
    Unauthenticated,
    /// istiod cannot be reached, or the connection to it was lost.
    Unavailable,
    /// The server at the address of istiod failed verification against the configured roots.
    UntrustedServer,
}

impl ErrorKind {
    /// Returns a short name for metric labels.
    #[must_use]
    pub fn as_label(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Closed => "closed",
            Self::Config => "config",
            Self::Credentials => "credentials",
            Self::Internal => "internal",
            Self::InvalidResource => "invalid_resource",
            Self::Storage => "storage",
            Self::Timeout => "timeout",
            Self::Unauthenticated => "unauthenticated",
            Self::Unavailable => "unavailable",
            Self::UntrustedServer => "untrusted_server",
        }
    }

    /// Returns whether a retry can succeed although nobody changes a file, a token or a setting.
    ///
    /// [`Clock`](Self::Clock) is transient: a host that has just started synchronizes its clock by itself.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Clock
                | Self::Internal
                | Self::InvalidResource
                | Self::Storage
                | Self::Timeout
                | Self::Unavailable
        )
    }
}

/// One problem in a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ConfigProblem {
    /// The file that contains the problem, if the setting came from a file.
    pub file: Option<PathBuf>,
    /// The line in that file, counted from 1; `None` if the problem does not concern a single line.
    pub line: Option<usize>,
    /// The name of the key, variable or setting that has the problem; `None` if the problem concerns a whole file or
    /// line.
    pub key: Option<String>,
    /// The problem and the next step.
    pub what: String,
}

impl ConfigProblem {
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

impl fmt::Display for ConfigProblem {
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

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(ErrorCore::new(kind, message).with_details(Details::default())))
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<BoxError>,
    ) -> Self {
        let core = ErrorCore::new(kind, message).with_details(Details::default());
        Self(Arc::new(core.with_source(source)))
    }

    /// Creates the error of an invalid configuration, with all its problems.
    pub(crate) fn config(problems: Vec<ConfigProblem>) -> Self {
        let message = match &problems[..] {
            [problem] => problem.to_string(),
            problems => {
                let lines: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
                format!("the configuration has {} problems:{lines}", problems.len())
            }
        };
        Self(Arc::new(ErrorCore::new(ErrorKind::Config, message).with_details(Details { problems })))
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the client was shut down: join the mesh again")
    }

    /// Returns the error of a client whose tasks have ended.
    pub(crate) fn ended() -> Self {
        let message = "the tasks of the client have ended, because the client was shut down or its tokio runtime has ended: join the mesh again, on a runtime that lives as long as the client";
        Self::new(ErrorKind::Closed, message)
    }

    /// Returns the error of a task that panicked and starts again after `delay`.
    pub(crate) fn panicked(task: &str, delay: Duration) -> Self {
        let message = format!(
            "the task `{task}` panicked and starts again in {delay:?}: report this defect with the panic message, which the panic hook of the program has received"
        );
        Self::new(ErrorKind::Internal, message)
    }

    /// Returns the problems of an [`ErrorKind::Config`] error, each with its file and key. The list is empty for other
    /// errors.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.0.details.problems
    }

    /// Returns whether both errors have the same kind and the same report.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.kind() == other.kind() && self.report() == other.report()
    }
}

sidestep_util::impl_error!(Error, ErrorKind);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_of_a_configuration_is_on_its_own_line() {
        let problem = |what: &str| ConfigProblem::new(what).in_file("cluster.env").at_line(3).about("KEY");
        assert_eq!(Error::config(vec![problem("is empty")]).to_string(), "cluster.env:3: KEY: is empty");
        let error = Error::config(vec![problem("is empty"), ConfigProblem::new("no roots")]);
        let expected = "the configuration has 2 problems:\n  cluster.env:3: KEY: is empty\n  no roots";
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.problems().len(), 2);
    }

    #[test]
    fn debug_output_is_the_message_followed_by_the_causes() {
        let cause = Error::new(ErrorKind::Unavailable, "connection refused");
        let error = Error::with_source(ErrorKind::Timeout, "istiod did not answer", cause);
        assert_eq!(format!("{error:?}"), "istiod did not answer\n\nCaused by:\n    connection refused");
        assert!(error.is_transient() && !Error::closed().is_transient());
    }
}

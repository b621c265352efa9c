//! The warnings of a bridge that clients can cause repeatedly. Each cause is logged at most once per minute.

use std::{fmt, io, time::Instant};

use sidestep_util::warn_limit::WarnLimit;

use super::access::Verdict;
use crate::{error::Error, target::Target};

/// Logs warnings.
#[derive(Debug)]
pub(crate) struct Warnings(WarnLimit<Cause>);

#[derive(Debug, Eq, Hash, PartialEq)]
enum Cause {
    /// A client of this user was rejected. The user is `None` if it is unknown.
    Rejected(Reason, Option<u32>),
    Accept(io::ErrorKind),
    Panic,
    Target(String),
    Request(&'static str),
}

/// The reason why the bridge rejected a client.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Reason {
    /// The client belongs to another process, and the listener accepts no password or the client sent none.
    AnotherProcess,
    /// The client sent a wrong password.
    WrongPassword,
    /// Too many clients of other users are connected that have not authenticated yet.
    TooManyGuests,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AnotherProcess => "the client belongs to another process and sent no password",
            Self::WrongPassword => "the client sent a wrong password",
            Self::TooManyGuests => "too many clients of other users have not authenticated yet",
        })
    }
}

impl Warnings {
    pub(super) fn new() -> Self {
        Self(WarnLimit::per_minute())
    }

    /// Logs the rejection of a client.
    pub(super) fn rejected(&self, reason: Reason, client: Verdict) {
        let user = match client {
            Verdict::OtherUser(user) => user,
            Verdict::SameUser => Some(rustix::process::geteuid().as_raw()),
            Verdict::Accepted | Verdict::Gone | Verdict::Later(_) => None,
        };
        if let Some(count) = self.0.occurred(Cause::Rejected(reason, user), Instant::now()) {
            tracing::warn!(uid = user, count, "the bridge rejected a client: {reason}");
        }
    }

    pub(super) fn cannot_accept(&self, error: &io::Error) {
        if let Some(count) = self.0.occurred(Cause::Accept(error.kind()), Instant::now()) {
            tracing::warn!(%error, count, "the bridge cannot accept a connection; it tries again");
        }
    }

    pub(super) fn panicked(&self, what: &str) {
        if let Some(count) = self.0.occurred(Cause::Panic, Instant::now()) {
            tracing::error!(
                count,
                "{what} of the bridge panicked: this is a defect of Sidestep, please report it"
            );
        }
    }

    pub(super) fn cannot_connect(&self, target: &Target, error: &Error) {
        let error = error.report();
        match self.0.occurred(Cause::Target(target.to_string()), Instant::now()) {
            Some(count) => {
                tracing::warn!(%target, error, count, "the bridge cannot connect to the target of a client")
            }
            None => tracing::debug!(%target, error, "the bridge cannot connect to the target of a client"),
        }
    }

    /// Logs that a client uses a scheme whose default port the service does not have.
    pub(super) fn no_default_port(&self, schemes: &impl fmt::Debug) {
        if let Some(count) = self.0.occurred(Cause::Target(format!("{schemes:?}")), Instant::now()) {
            tracing::warn!(
                ?schemes,
                count,
                "a client of the bridge uses a port that the service does not have"
            );
        }
    }

    pub(super) fn cannot_serve_request(&self, error: &Error) {
        let kind = error.kind().as_label();
        let error = error.report();
        match self.0.occurred(Cause::Request(kind), Instant::now()) {
            Some(count) => tracing::warn!(error, count, "the bridge cannot serve an HTTP request"),
            None => tracing::debug!(error, "the bridge cannot serve an HTTP request"),
        }
    }
}

//! Why upstream DNS has no address for a name.

use std::{io, sync::Arc};

use hickory_resolver::proto::op::ResponseCode;

use super::config::Unusable;
use crate::error::{Error, ErrorKind};

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("no upstream name server is left that is not a DNS listener of this process itself")]
    Loop,
    /// Nobody is upstream, and that is as it should be.
    #[error("there is no upstream")]
    Nobody,
    #[error("no upstream name server answered: {0}")]
    Unreachable(#[source] Arc<io::Error>),
}

/// Why upstream DNS has no address for one name.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The name cannot be asked for.
    Invalid,
    /// The name exists, and has no address.
    NoRecords,
    /// The servers refuse or fail to answer.
    Refused(ResponseCode),
    /// There is no such name.
    Unknown,
    /// No server answered.
    Unreachable(NoAnswer),
    /// A server's answer cannot be read.
    Unreadable,
    /// The host's configuration cannot be used.
    Unusable(Unusable),
}

impl Failure {
    /// A short name for metric labels.
    pub(crate) fn as_label(&self) -> &'static str {
        match self {
            Self::Invalid => "invalid_name",
            Self::NoRecords => "no_records",
            Self::Refused(_) => "refused",
            Self::Unknown => "name_not_found",
            Self::Unreachable(cause) if is_late(cause) => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::Unreadable => "unreadable",
            Self::Unusable(_) => "config",
        }
    }

    /// Of two failures the one to report, as glibc's `res_nsearch` does: a server that could not say counts more than
    /// one that said no, and no address counts more than no name.
    pub(crate) fn or(self, next: Self) -> Self {
        if next.weight() > self.weight() { next } else { self }
    }

    /// As an error about the host that was asked for.
    pub(crate) fn about(self, host: &str) -> Error {
        match self {
            Self::Invalid => Error::new(ErrorKind::InvalidName, host, "not a name that DNS can be asked for"),
            Self::NoRecords => {
                Error::new(ErrorKind::NoRecords, host, "the name exists upstream, without an address")
            }
            Self::Refused(code) => Error::new(
                ErrorKind::Upstream,
                host,
                format!("not a mesh name, and upstream DNS fails: {code}"),
            ),
            Self::Unreadable => Error::new(
                ErrorKind::Upstream,
                host,
                "not a mesh name, and upstream DNS gives an answer that cannot be read",
            ),
            Self::Unknown => Error::new(
                ErrorKind::NameNotFound,
                host,
                "neither the mesh nor upstream DNS knows the name: check its spelling, or whether the service is \
                 exported to this namespace",
            ),
            Self::Unreachable(cause) if is_late(&cause) => Error::new(
                ErrorKind::Timeout,
                host,
                "not a mesh name, and upstream DNS did not answer in time",
            )
            .because_of(cause),
            Self::Unreachable(cause) => {
                Error::new(ErrorKind::Upstream, host, "not a mesh name, and upstream DNS cannot be reached")
                    .because_of(cause)
            }
            Self::Unusable(cause) => Error::new(
                ErrorKind::Config,
                host,
                "not a mesh name, and the host has no upstream DNS: set it right, or give name servers with \
                 Upstream::servers",
            )
            .because_of(cause),
        }
    }

    fn weight(&self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::NoRecords => 1,
            Self::Invalid | Self::Refused(_) | Self::Unreadable => 2,
            Self::Unreachable(_) | Self::Unusable(_) => 3,
        }
    }
}

fn is_late(cause: &NoAnswer) -> bool {
    matches!(cause, NoAnswer::Unreachable(error) if error.kind() == io::ErrorKind::TimedOut)
}

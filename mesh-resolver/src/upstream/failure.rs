//! Why upstream DNS has no address for a name.

use hickory_resolver::{
    net::{DnsError, NetError, NoRecords},
    proto::op::ResponseCode,
};

use super::config::Unusable;
use crate::{Error, ErrorKind};

/// Why upstream DNS has no address for one name.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The name cannot be asked for.
    Invalid,
    /// The name exists, and has no address.
    NoRecords,
    /// The servers refuse or fail to answer.
    Refused(NetError),
    /// There is no such name.
    Unknown,
    /// No server answered.
    Unreachable(NetError),
    /// The host's configuration cannot be used.
    Unusable(Unusable),
}

/// Of the two families' failures the one to report: a server that could not say counts more than one that said no,
/// and no address counts more than no name.
pub(super) fn worst(v4: Option<NetError>, v6: Option<NetError>) -> Failure {
    let failures = [v4, v6].into_iter().flatten().map(Failure::from);
    failures.max_by_key(Failure::weight).unwrap_or(Failure::NoRecords)
}

impl Failure {
    /// A short name for metric labels.
    pub(crate) fn as_label(&self) -> &'static str {
        match self {
            Self::Invalid => "invalid_name",
            Self::NoRecords => "no_records",
            Self::Refused(_) => "refused",
            Self::Unknown => "name_not_found",
            Self::Unreachable(NetError::Timeout) => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::Unusable(_) => "config",
        }
    }

    /// Of the failures of several names the one to report, as glibc's `res_nsearch` does.
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
            Self::Refused(cause) => {
                Error::new(ErrorKind::Upstream, host, "not a mesh name, and upstream DNS fails")
                    .because_of(cause)
            }
            Self::Unknown => Error::new(
                ErrorKind::NameNotFound,
                host,
                "neither the mesh nor upstream DNS knows the name: check its spelling, or whether the service is \
                 exported to this namespace",
            ),
            Self::Unreachable(cause @ NetError::Timeout) => Error::new(
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
            Self::Invalid | Self::Refused(_) => 2,
            Self::Unreachable(_) | Self::Unusable(_) => 3,
        }
    }
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Dns(DnsError::NoRecordsFound(NoRecords {
                response_code: ResponseCode::NXDomain,
                ..
            })) => Self::Unknown,
            NetError::Dns(DnsError::NoRecordsFound(_)) => Self::NoRecords,
            error @ NetError::Dns(_) => Self::Refused(error),
            error => Self::Unreachable(error),
        }
    }
}

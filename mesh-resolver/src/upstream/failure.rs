//! The reasons why upstream DNS has no address for a name.

use std::{io, sync::Arc};

use hickory_resolver::proto::op::ResponseCode;

use super::{config::HostConfigError, sockets::NoSocket};
use crate::{
    error::{self, ErrorKind, LookupError},
    policy::NoLocalAddress,
};

/// The reason why a query has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("all upstream DNS servers are DNS listeners of this process")]
    Loop,
    /// Upstream DNS is disabled.
    #[error("upstream DNS is disabled")]
    Disabled,
    /// This host could not open a socket. The servers are not the cause.
    #[error("this host has no socket for a DNS query: {0}")]
    LocalResource(#[source] Arc<io::Error>),
    #[error(transparent)]
    NoSocket(NoSocket),
    #[error("no upstream DNS server answered: {0}")]
    Unreachable(#[source] Arc<io::Error>),
}

impl NoAnswer {
    /// Whether this process or this host caused the failure, and not the upstream DNS servers.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::LocalResource(_) | Self::NoSocket(_))
    }
}

/// The reason why upstream DNS has no address for a name.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The name is not a valid DNS name.
    Invalid,
    /// A completed name is a mesh name without a loopback address.
    NoLocalAddress(NoLocalAddress),
    /// The name exists but has no address.
    NoRecords,
    /// The servers returned a failure.
    Refused(ResponseCode),
    /// The name does not exist.
    Unknown,
    /// No server answered.
    Unreachable(NoAnswer),
    /// The answer of a server is malformed.
    Unreadable,
    /// The host's configuration is unusable.
    Unusable(HostConfigError),
}

impl Failure {
    /// Returns the value of the metric label `outcome`.
    pub(crate) fn as_label(&self) -> &'static str {
        match self {
            Self::Invalid => "invalid_name",
            Self::NoLocalAddress(_) => "no_local_address",
            Self::NoRecords => "no_records",
            Self::Refused(_) => "refused",
            Self::Unknown => "name_not_found",
            Self::Unreachable(cause) if cause.is_local() => "local_resource",
            Self::Unreachable(cause) if is_late(cause) => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::Unreadable => "unreadable",
            Self::Unusable(_) => "config",
        }
    }

    /// Returns the more significant of two failures, like glibc's `res_nsearch`: a failed query outweighs a negative
    /// answer, and NODATA outweighs NXDOMAIN.
    pub(crate) fn or(self, next: Self) -> Self {
        if next.weight() > self.weight() { next } else { self }
    }

    /// Converts the failure to an error.
    pub(crate) fn into_error(self) -> LookupError {
        match self {
            Self::Invalid => LookupError::new(ErrorKind::InvalidName, "this is not a valid DNS name"),
            Self::NoLocalAddress(reason) => error::no_local_address(reason),
            Self::NoRecords => {
                LookupError::new(
 ErrorKind::NoRecords,
 "the name exists in upstream DNS but has no address: check its A and AAAA records",
)
            }
            Self::Refused(code) => LookupError::new(
                ErrorKind::Upstream,
                format!("this is not a mesh name, and upstream DNS returned a failure ({code}): check its \
                     spelling and the upstream DNS servers"),
            ),
            Self::Unreadable => LookupError::new(
                ErrorKind::Upstream,
                "this is not a mesh name, and the answer of upstream DNS is malformed: check the upstream DNS \
                 servers",
            ),
            Self::Unknown => LookupError::new(
                ErrorKind::NameNotFound,
                "the name exists neither in the mesh nor in upstream DNS: check its spelling, or whether the \
                 service is exported to this namespace",
            ),
            Self::Unreachable(cause) if is_late(&cause) => LookupError::new(
                ErrorKind::Timeout,
                "this is not a mesh name, and upstream DNS did not answer in time: check the upstream DNS servers",
            )
            .with_source(cause),
            Self::Unreachable(cause) if cause.is_local() => LookupError::new(
                ErrorKind::LocalResource,
                "this is not a mesh name, and this host has no resources left for a query to upstream DNS: raise the \
                 limit of open files (RLIMIT_NOFILE), or look up fewer names simultaneously",
            )
            .with_source(cause),
            Self::Unreachable(cause) => {
                LookupError::new(
 ErrorKind::Upstream,
 "this is not a mesh name, and upstream DNS is unreachable: check the upstream DNS servers",
)
                    .with_source(cause)
            }
            Self::Unusable(cause) => LookupError::new(
                ErrorKind::Config,
                "this is not a mesh name, and the host has no usable upstream DNS: fix its configuration, or set \
                 servers with Upstream::servers",
            )
            .with_source(cause),
        }
    }

    fn weight(&self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::NoRecords => 1,
            Self::Invalid | Self::Refused(_) | Self::Unreadable => 2,
            Self::Unreachable(_) | Self::Unusable(_) | Self::NoLocalAddress(_) => 3,
        }
    }
}

fn is_late(cause: &NoAnswer) -> bool {
    matches!(cause, NoAnswer::Unreachable(error) if error.kind() == io::ErrorKind::TimedOut)
}

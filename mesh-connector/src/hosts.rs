//! What this process has seen of the endpoints of each cluster: connections, failures, ejections.
//!
//! istiod's EDS does not know what a client sees, and a gateway's health is never known at all. Two things follow from
//! what is seen:
//!
//! - Where the cluster has outlier detection, an endpoint that reached its numbers is ejected as a sidecar ejects it: it
//!   is healthy no more, for the choice of priorities too, until its time is over.
//! - Where it has none, or as many are ejected as may be, an endpoint that failed goes behind the others of its cluster,
//!   whatever their priority, for a second, and for twice as long with each further failure; the first success ends it.
//!   It is not taken away: where all fail, all are tried. This is the client's own, because it has the deadline of its
//!   caller to keep.
//!
//! Choosing is wait-free: a [`HostSet`] is the endpoints of one push, with the [`Plan`] of the last look at them, which
//! holds until something happened to one of them. Events are rare, and take a lock of the endpoint's own.

mod held;
mod host;
mod outlier;
mod set;
mod status;

use nds_client::resources::endpoint::Endpoint;

pub use self::status::EndpointStatus;
pub(crate) use self::{
    held::Held,
    outlier::failures_to_eject,
    set::{ClusterStats, HostSet},
};
#[cfg(doc)]
use crate::balance::Plan;

/// `10.1.2.3:15443`, `[::1]:15443`.
pub(crate) fn authority(endpoint: &Endpoint) -> String {
    let (host, port) = (&endpoint.host, endpoint.port);
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests;

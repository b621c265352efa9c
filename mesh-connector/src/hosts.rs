//! The local statistics of endpoints: connections, failures, ejections.
//!
//! EDS contains neither the connection failures that a client observes nor the health of a gateway. A local failure has
//! one of two effects:
//!
//! - If the cluster has outlier detection, an endpoint whose failures reach a threshold is ejected, as in a sidecar.
//!   Until the ejection ends, it counts as unhealthy, also when the priority is chosen.
//! - If the cluster has no outlier detection, or if the maximum share of endpoints is already ejected, the endpoint
//!   goes to the end of the order of attempts, regardless of priority. This lasts for one second and doubles with each
//!   further failure, up to 30 seconds; a success ends it. The endpoint remains usable: if all other endpoints fail,
//!   connections try it. This rule is specific to this client, because a caller with a deadline needs a good order of
//!   attempts.
//!
//! Choosing is wait-free: a [`HostSet`] holds the endpoints of one push and the current [`Plan`], which is valid until
//! an event changes the state of an endpoint. Events are rare. An event locks only its endpoint, except an ejection,
//! which locks one endpoint after another.

mod active_connection;
mod host;
mod outlier;
mod set;
mod status;

pub use self::status::EndpointStatus;
pub(crate) use self::{
    active_connection::ActiveConnection,
    outlier::failures_to_eject,
    set::{ClusterStats, HostSet},
};
#[cfg(doc)]
use crate::balance::Plan;

#[cfg(test)]
mod tests;

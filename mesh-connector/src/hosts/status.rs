//! What can be told of an endpoint.

use std::time::Duration;

use nds_client::resources::endpoint::HealthStatus as EndpointHealth;

use crate::error::ErrorKind;

/// An endpoint of a cluster in use: what istiod says of it, and what this process has seen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// Its cluster: `outbound|3002||forecast.weather.svc.cluster.local`.
    pub cluster: String,
    /// Its address: `10.1.2.3:15443`.
    pub endpoint: String,
    /// What istiod says about its health.
    pub health: EndpointHealth,
    /// How many connections this process has to it, those that are being made included.
    pub connections: u32,
    /// How often connecting failed in a row.
    pub failures: u32,
    /// What connecting failed with, the last time, while it has not succeeded since.
    pub last_failure: Option<ErrorKind>,
    /// For how much longer it goes behind the others. Zero: it is tried like them.
    pub deferred_for: Duration,
    /// For how much longer it is ejected, as the cluster's outlier detection says. Zero: it is not.
    pub ejected_for: Duration,
    /// How often it was ejected.
    pub ejections: u32,
}

impl EndpointStatus {
    /// Whether nothing keeps connections from it: neither istiod's word nor what was seen.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        let healthy = matches!(self.health, EndpointHealth::Healthy | EndpointHealth::Unknown);
        healthy && self.deferred_for.is_zero() && self.ejected_for.is_zero()
    }
}

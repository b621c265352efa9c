//! The status of an endpoint.

use std::time::Duration;

use nds_client::resources::endpoint::HealthStatus;

use crate::error::ErrorKind;

/// The status of an endpoint in use: its health according to istiod, and the local statistics.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// The name of the cluster: `outbound|3002||forecast.weather.svc.cluster.local`.
    pub cluster: String,
    /// The address of the endpoint: `10.1.2.3:15443`.
    pub endpoint: String,
    /// The health status in EDS.
    pub health: HealthStatus,
    /// The number of connections of this process to the endpoint, including pending ones.
    pub connections: u32,
    /// The number of consecutive connection failures.
    pub failures: u32,
    /// The error kind of the last connection failure. `None` if no connection has failed since the last success.
    pub last_failure: Option<ErrorKind>,
    /// The remaining time for which connections try this endpoint last, because of a failure. Zero if the endpoint is
    /// not deferred.
    pub deferred_for: Duration,
    /// The remaining time of the ejection by outlier detection. Zero if the endpoint is not ejected.
    pub ejected_for: Duration,
    /// The number of ejections so far.
    pub ejections: u32,
}

impl EndpointStatus {
    /// Returns whether connections use the endpoint normally: it is healthy, not ejected and not deferred.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        let healthy = matches!(self.health, HealthStatus::Healthy | HealthStatus::Unknown);
        healthy && self.deferred_for.is_zero() && self.ejected_for.is_zero()
    }
}

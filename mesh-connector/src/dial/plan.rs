//! The order of connection attempts, for explanations (`Mesh::explain`).

use fastrand::Rng;
use nds_client::resources::endpoint::{Endpoint, LocalityEndpoints};

use super::{AttemptError, Dialer, EndpointTransport};
use crate::{balance::PickOrder, dns::UpstreamLookup, error::Error, hosts::EndpointStatus};

/// An endpoint, with its status and the connection that would be made to it.
#[derive(Debug)]
pub(crate) struct PlannedAttempt<'a> {
    pub(crate) locality: &'a LocalityEndpoints,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) pick_order: PickOrder,
    /// The status of the endpoint.
    pub(crate) status: EndpointStatus,
    /// The transport of a connection to the endpoint, or the error if such a connection is refused.
    pub(crate) transport: Result<EndpointTransport, Error>,
}

impl<'a, L: UpstreamLookup> Dialer<'a, L> {
    /// Returns all endpoints with the connections that would be made, in the order of the control plane.
    pub(crate) fn plan(&self) -> Vec<PlannedAttempt<'a>> {
        let hosts = self.hosts;
        let snapshot = hosts.plan_snapshot(&mut Rng::new());
        let plan = snapshot.plan();
        let planned = |(index, ((locality, endpoint), status))| PlannedAttempt {
            locality,
            endpoint,
            pick_order: plan.pick_order(index),
            status,
            transport: self.transport(index).map_err(AttemptError::into_error),
        };
        hosts.endpoints().iter().zip(hosts.statuses()).enumerate().map(planned).collect()
    }

    /// Returns the error if no endpoint can be used. `None` if at least one endpoint can be used. Does not connect, so
    /// it cannot detect an endpoint that does not answer.
    pub(crate) fn obstacle(&self, plan: &[PlannedAttempt<'_>]) -> Option<Error> {
        let usable = plan.iter().filter(|planned| planned.pick_order != PickOrder::Excluded);
        let mut refusals = usable.map(|planned| planned.transport.as_ref().err());
        match refusals.next() {
            None => Some(self.no_endpoint()),
            Some(None) => None,
            Some(Some(error)) => refusals.all(|refusal| refusal.is_some()).then(|| error.clone()),
        }
    }
}

impl AttemptError {
    fn into_error(self) -> Error {
        match self {
            Self::Fatal(error) | Self::Refused(error) => error,
            Self::Failed(attempt) => attempt.error,
        }
    }
}

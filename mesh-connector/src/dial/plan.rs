//! What dialling would do with each endpoint, without dialling.

use fastrand::Rng;
use nds_client::resources::endpoint::{Endpoint, LocalityEndpoints};

use super::{Dialer, Failed, Protected};
use crate::{balance::Place, dns::UpstreamLookup, error::Error, hosts::EndpointStatus};

/// One endpoint, and what would be done with it.
#[derive(Debug)]
pub(crate) struct Planned<'a> {
    pub(crate) locality: &'a LocalityEndpoints,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) place: Place,
    /// What was seen of it.
    pub(crate) status: EndpointStatus,
    /// What would protect a connection.
    pub(crate) protection: Result<Protected, Error>,
}

impl<'a, L: UpstreamLookup> Dialer<'a, L> {
    /// All endpoints, in the control plane's order.
    pub(crate) fn plan(&self) -> Vec<Planned<'a>> {
        let hosts = self.hosts;
        let plan = hosts.plan(&mut Rng::new());
        let planned = |(index, ((locality, endpoint), status))| Planned {
            locality,
            endpoint,
            place: plan.place(index),
            status,
            protection: self.protection(endpoint).map_err(Failed::into_error),
        };
        hosts.endpoints().iter().zip(hosts.statuses()).enumerate().map(planned).collect()
    }

    /// Why none of them would serve, if that is certain before dialling.
    pub(crate) fn obstacle(&self, plan: &[Planned<'_>]) -> Option<Error> {
        let usable = plan.iter().filter(|planned| planned.place != Place::Out);
        let mut refusals = usable.map(|planned| planned.protection.as_ref().err());
        match refusals.next() {
            None => Some(self.no_endpoint()),
            Some(None) => None,
            Some(Some(error)) => refusals.all(|refusal| refusal.is_some()).then(|| error.clone()),
        }
    }
}

impl Failed {
    fn into_error(self) -> Error {
        match self {
            Self::Final(error) | Self::Refused(error) => error,
            Self::Tried(attempt) => attempt.error,
        }
    }
}

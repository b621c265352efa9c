//! What dialling would do with each endpoint, without dialling.

use std::sync::Arc;

use nds_client::{Endpoint, Endpoints, LocalityEndpoints};

use super::{Dialer, Failed, Lookup, no_endpoint};
use crate::{
    Error,
    balance::{self, Place},
    failures::Failing,
    tls::Prepared,
};

/// One endpoint, and what would be done with it.
#[derive(Debug)]
pub(crate) struct Planned<'a> {
    pub(crate) locality: &'a LocalityEndpoints,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) place: Place,
    /// What is known of it, if it failed lately.
    pub(crate) failing: Option<Failing>,
    /// What would protect a connection; `None` for plaintext.
    pub(crate) protection: Result<Option<Arc<Prepared>>, Error>,
}

impl<L: Lookup> Dialer<'_, L> {
    /// All endpoints, in the control plane's order.
    pub(crate) fn plan<'a>(&self, endpoints: &'a Endpoints) -> Vec<Planned<'a>> {
        let planned = |(locality, endpoint, place)| Planned {
            locality,
            endpoint,
            place,
            failing: self.deferred(endpoint),
            protection: self.protection(endpoint).map_err(Failed::into_error),
        };
        balance::places(endpoints, |endpoint| self.deferred(endpoint).is_some()).map(planned).collect()
    }

    /// Why none of them would serve, if that is certain before dialling.
    pub(crate) fn obstacle(&self, endpoints: &Endpoints, plan: &[Planned<'_>]) -> Option<Error> {
        let usable = plan.iter().filter(|planned| planned.place != Place::Unhealthy);
        let mut refusals = usable.map(|planned| planned.protection.as_ref().err());
        match refusals.next() {
            None => Some(no_endpoint(self.cluster, endpoints)),
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

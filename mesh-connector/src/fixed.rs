//! Ways without CDS and EDS: every service of the name table behind gateways that the program names.
//!
//! For control planes that send names and nothing else. What CDS says elsewhere is made from the name: the server name by
//! which east-west gateways know a service, and an identity that is bound to its namespace.

use std::{fmt, sync::Arc};

use nds_client::{
    Cluster, ClusterName, Clusters, Endpoint, Endpoints, LocalityEndpoints, NdsClient, SanMatcher,
    ServerAddress,
};

use crate::{
    Error, ErrorKind, Host, Target,
    route::{Names, Route, service_of_address},
};

/// The gateways, as endpoints of every service.
pub(crate) struct FixedGateways {
    endpoints: Arc<Endpoints>,
    /// None: what routes are remembered for.
    pub(crate) clusters: Arc<Clusters>,
}

impl FixedGateways {
    pub(crate) fn new(gateways: Vec<ServerAddress>) -> Self {
        let endpoint = |gateway: ServerAddress| {
            let mut endpoint = Endpoint::default();
            (endpoint.host, endpoint.port, endpoint.weight) = (gateway.host, gateway.port, 1);
            // What tells a gateway from a workload: a cluster, and no name.
            endpoint.workload.cluster = "the mesh".into();
            endpoint
        };
        let mut locality = LocalityEndpoints::default();
        locality.endpoints = gateways.into_iter().map(endpoint).collect();
        let mut endpoints = Endpoints::default();
        endpoints.localities.push(locality);
        Self { endpoints: endpoints.into(), clusters: Arc::default() }
    }

    /// A name of the table is a service; everything else is outside.
    pub(crate) fn route(
        &self,
        target: &Target,
        names: &impl Names,
        client: &NdsClient,
    ) -> Result<Route, Error> {
        let host = match target.host() {
            Host::Name(name) => names.canonical(name),
            Host::Ip(ip) => service_of_address(*ip, target, names)?,
        };
        let Some(host) = host else {
            return Ok(Route::Outside);
        };
        if host.starts_with("*.") {
            let message =
                format!("{target} is under `{host}`, and a wildcard has no server name that could be sent");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let identity = client.identity().load();
        let trust_domain = identity.as_ref().map(|identity| identity.spiffe_id().trust_domain().to_owned());
        let identities = match (trust_domain, namespace(&host)) {
            (Some(domain), Some(namespace)) => {
                vec![SanMatcher::Prefix(format!("spiffe://{domain}/ns/{namespace}/sa/"))]
            }
            // Any of the own trust domain.
            _ => Vec::new(),
        };
        let name = ClusterName { port: target.port(), subset: target.subset().to_owned(), host };
        Ok(Route::Service(Arc::new(Cluster::of_mesh(name, self.endpoints.clone(), identities))))
    }
}

/// `weather` of `forecast.weather.svc.cluster.local`. Hosts of ServiceEntries have none.
fn namespace(host: &str) -> Option<&str> {
    let mut labels = host.split('.');
    let (_, namespace, svc) = (labels.next()?, labels.next()?, labels.next()?);
    (svc == "svc").then_some(namespace)
}

impl fmt::Debug for FixedGateways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedGateways").field("gateways", &self.endpoints.iter().count()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::namespace;

    #[test]
    fn services_of_kubernetes_have_a_namespace_and_other_hosts_none() {
        assert_eq!(namespace("forecast.weather.svc.cluster.local"), Some("weather"));
        for host in ["api.example.com", "forecast.weather", "localhost", "a.b.c.svc"] {
            assert_eq!(namespace(host), None, "{host}");
        }
    }
}

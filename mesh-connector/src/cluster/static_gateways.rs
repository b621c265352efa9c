//! Static gateways, in place of CDS and EDS: every service of the name table is behind gateways that the program names.
//!
//! They are for control planes that send names and nothing else. The content of a CDS cluster is synthesised from the
//! name: the server name by which east-west gateways know a service, and an identity that is bound to its namespace.

use std::{fmt, sync::Arc};

use nds_client::{
    SpiffeId,
    config::ServerAddress,
    resources::{
        cluster::{Cluster, ClusterName, SanMatcher},
        endpoint::{Endpoint, Endpoints, LocalityEndpoints},
    },
};

use super::route::service_of_address;
use crate::{
    dns::MeshNames,
    error::{Error, ErrorKind},
    target::{Host, Target},
};

/// The gateways, as endpoints of every service.
pub(crate) struct StaticGateways {
    endpoints: Arc<Endpoints>,
}

impl StaticGateways {
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
        Self { endpoints: endpoints.into() }
    }

    /// The cluster that a target leads to. `None`: the name table does not have the target's host, which is outside of
    /// the mesh then. `own_id` is the workload's identity.
    pub(super) fn route(
        &self,
        target: &Target,
        names: &impl MeshNames,
        own_id: Option<&SpiffeId>,
    ) -> Result<Option<Arc<Cluster>>, Error> {
        let host = match target.host() {
            Host::Name(name) => names.canonical(name),
            Host::Ip(ip) => service_of_address(*ip, target, names)?,
        };
        let Some(host) = host else {
            return Ok(None);
        };
        if host.starts_with("*.") {
            let message =
                format!("{target} is under `{host}`, and a wildcard has no server name that could be sent");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let name = ClusterName { port: target.port(), subset: target.subset().to_owned(), host };
        Ok(Some(self.cluster(name, own_id)))
    }

    /// The cluster of this name.
    fn cluster(&self, name: ClusterName, own_id: Option<&SpiffeId>) -> Arc<Cluster> {
        let identities = match (own_id.map(SpiffeId::trust_domain), namespace(&name.host)) {
            (Some(domain), Some(namespace)) => {
                vec![SanMatcher::Prefix(format!("spiffe://{domain}/ns/{namespace}/sa/"))]
            }
            // Any of the own trust domain.
            _ => Vec::new(),
        };
        Arc::new(Cluster::from_endpoints(name, self.endpoints.clone(), identities))
    }

    /// The cluster that follows one in use, which was made for the identity `before`. It is the same value while the
    /// workload's trust domain is the same: there is nothing else that it follows from.
    pub(super) fn successor(
        &self,
        cluster: &Arc<Cluster>,
        before: Option<&SpiffeId>,
        own_id: Option<&SpiffeId>,
    ) -> Arc<Cluster> {
        match before.map(SpiffeId::trust_domain) == own_id.map(SpiffeId::trust_domain) {
            true => cluster.clone(),
            false => self.cluster(cluster.name.clone(), own_id),
        }
    }
}

/// `weather` of `forecast.weather.svc.cluster.local`. Hosts of ServiceEntries have none.
fn namespace(host: &str) -> Option<&str> {
    let mut labels = host.split('.');
    let (_, namespace, svc) = (labels.next()?, labels.next()?, labels.next()?);
    (svc == "svc").then_some(namespace)
}

impl fmt::Debug for StaticGateways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticGateways").field("gateways", &self.endpoints.iter().count()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_kubernetes_have_a_namespace_and_other_hosts_none() {
        assert_eq!(namespace("forecast.weather.svc.cluster.local"), Some("weather"));
        for host in ["api.example.com", "forecast.weather", "localhost", "a.b.c.svc"] {
            assert_eq!(namespace(host), None, "{host}");
        }
    }

    #[test]
    fn a_cluster_in_use_is_one_value_per_trust_domain() {
        let gateways = StaticGateways::new(Vec::new());
        let name = ClusterName { port: 80, subset: String::new(), host: "a.b.svc.cluster.local".into() };
        let [one, again, two] =
            ["spiffe://one/ns/a/sa/b", "spiffe://one/ns/a/sa/c", "spiffe://two/ns/a/sa/b"]
                .map(|id| id.parse().ok());
        let first = gateways.cluster(name, one.as_ref());
        assert!(Arc::ptr_eq(&first, &gateways.successor(&first, one.as_ref(), again.as_ref())));
        assert!(!Arc::ptr_eq(&first, &gateways.successor(&first, one.as_ref(), two.as_ref())));
    }

    #[test]
    fn nothing_is_kept_of_clusters_that_are_not_in_use() {
        let gateways = StaticGateways::new(Vec::new());
        let name = ClusterName { port: 80, subset: String::new(), host: "a.b.svc.cluster.local".into() };
        let cluster = gateways.cluster(name, None);
        assert_eq!(Arc::strong_count(&cluster), 1);
    }
}

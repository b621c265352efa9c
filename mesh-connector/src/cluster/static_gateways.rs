//! Static gateways, as a replacement of CDS and EDS: the program configures gateways, and every service of the name
//! table is behind them.
//!
//! Static gateways are for control planes that serve only names. The parameters of a CDS cluster are derived from the
//! name: the SNI that east-west gateways match, and the rule that the identity of the peer belongs to the namespace of
//! the service.

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
            // An endpoint with a cluster and without a workload name is a gateway.
            endpoint.workload.cluster = "the mesh".into();
            endpoint
        };
        let mut locality = LocalityEndpoints::default();
        locality.endpoints = gateways.into_iter().map(endpoint).collect();
        let mut endpoints = Endpoints::default();
        endpoints.localities.push(locality);
        Self { endpoints: endpoints.into() }
    }

    /// Returns the cluster of a target. `None` if the name table does not contain the host of the target: the target is
    /// outside the mesh. `own_id` is the identity of this workload.
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
            let message = format!(
                "cannot connect to {target}: it matches the wildcard `{host}`, which has no SNI; use a full name"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let name = ClusterName { port: target.port(), subset: target.subset().to_owned(), host };
        Ok(Some(self.cluster(name, own_id)))
    }

    /// Returns the cluster with this name.
    fn cluster(&self, name: ClusterName, own_id: Option<&SpiffeId>) -> Arc<Cluster> {
        let identities = match (own_id.map(SpiffeId::trust_domain), namespace(&name.host)) {
            (Some(domain), Some(namespace)) => {
                vec![SanMatcher::Prefix(format!("spiffe://{domain}/ns/{namespace}/sa/"))]
            }
            // Without SAN matchers, any identity of the trust domain of this workload is accepted.
            _ => Vec::new(),
        };
        Arc::new(Cluster::from_endpoints(name, self.endpoints.clone(), identities))
    }

    /// Returns the cluster that replaces `cluster` when the identity of this workload changes from `before` to
    /// `own_id`. Returns `cluster` itself if the trust domain is unchanged, because the cluster depends only on this
    /// part of the identity.
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

/// Returns the namespace of a Kubernetes service: `weather` for `forecast.weather.svc.cluster.local`. `None` for hosts
/// of ServiceEntries.
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
    fn only_hosts_of_kubernetes_services_have_a_namespace() {
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
    fn unused_clusters_are_not_cached() {
        let gateways = StaticGateways::new(Vec::new());
        let name = ClusterName { port: 80, subset: String::new(), host: "a.b.svc.cluster.local".into() };
        let cluster = gateways.cluster(name, None);
        assert_eq!(Arc::strong_count(&cluster), 1);
    }
}

//! Networks of workloads and clusters, from labels of pods, labels of system namespaces, and `meshNetworks.yaml` (istio
//! `kube/controller/network.go`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Objects;
use super::network_gateway::NetworkGateway;
use super::policy::ROOT_NAMESPACE;
use crate::yaml::Key;
use crate::yaml::kubernetes::Labels;
use crate::yaml::mesh_networks::{MeshNetworks, Range};

/// The label that assigns a workload to a network.
pub(crate) const NETWORK_LABEL: &str = "topology.istio.io/network";

/// The networks of a mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Networks {
    /// The network of each Kubernetes cluster. The text is empty if no network is configured.
    clusters: BTreeMap<String, String>,
    ranges: Vec<(Range, String)>,
    config: MeshNetworks,
}

impl Networks {
    pub(super) fn read(objects: &Objects, config: &MeshNetworks) -> Self {
        let system =
            Key { kind: "Namespace".to_owned(), namespace: String::new(), name: ROOT_NAMESPACE.to_owned() };
        let from_registry = |cluster: &str| {
            let mut networks = config.networks.iter();
            let found =
                networks.find(|(_, network)| network.endpoints.iter().any(|it| it.from_registry == cluster));
            found.map(|(name, _)| name.clone())
        };
        let clusters = objects.iter().map(|(cluster, objects)| {
            let label = objects.get(&system).and_then(|it| it.labels().get(NETWORK_LABEL)).cloned();
            let network = label.filter(|label| !label.is_empty()).or_else(|| from_registry(cluster));
            (cluster.clone(), network.unwrap_or_default())
        });
        let all = config.networks.iter();
        let ranges =
            all.flat_map(|(name, network)| network.endpoints.iter().map(move |it| (it.from_cidr, name)));
        let mut ranges: Vec<_> = ranges.filter_map(|(range, name)| Some((range?, name.clone()))).collect();
        ranges.sort_by_key(|(range, _)| range.length);
        Self { clusters: clusters.collect(), ranges, config: config.clone() }
    }

    /// Returns whether istiod knows the cluster.
    pub(crate) fn has_cluster(&self, cluster: &str) -> bool {
        self.clusters.contains_key(cluster)
    }

    /// Returns the network of an endpoint in a cluster, or an empty text if no network is configured.
    pub(crate) fn of_endpoint(&self, cluster: &str, labels: &Labels, address: &str) -> String {
        if let Some(label) = labels.get(NETWORK_LABEL).filter(|label| !label.is_empty()) {
            return label.clone();
        }
        match self.clusters.get(cluster).filter(|network| !network.is_empty()) {
            Some(network) => network.clone(),
            None => self.of_address(address).unwrap_or_default(),
        }
    }

    fn of_address(&self, address: &str) -> Option<String> {
        let address: IpAddr = address.parse().ok()?;
        self.ranges.iter().find(|(range, _)| range.contains(address)).map(|(_, network)| network.clone())
    }

    /// Returns the networks for which `meshNetworks.yaml` names this service of a cluster as the gateway, with the
    /// gateway port for each network.
    pub(super) fn led_into(&self, cluster: &str, host: &str) -> Vec<(String, u16)> {
        // Other networks cannot have a gateway in this cluster, because the cluster is not part of them.
        let own = self
            .config
            .networks
            .iter()
            .filter(|(_, network)| network.endpoints.iter().any(|it| it.from_registry == cluster));
        own.flat_map(|(name, network)| {
            let named = network.gateways.iter().filter(|gateway| gateway.registry_service_name == host);
            named.map(|gateway| (name.clone(), gateway.port))
        })
        .collect()
    }

    /// Returns the gateways that `meshNetworks.yaml` configures by address. These gateways belong to no cluster.
    pub(super) fn gateways(&self) -> Vec<NetworkGateway> {
        let all = self.config.networks.iter();
        let each =
            all.flat_map(|(name, network)| network.gateways.iter().map(move |gateway| (name, gateway)));
        each.filter(|(_, gateway)| !gateway.address.is_empty())
            .map(|(network, gateway)| NetworkGateway {
                network: network.clone(),
                cluster: String::new(),
                address: gateway.address.clone(),
                port: gateway.port,
                namespace: ROOT_NAMESPACE.to_owned(),
                labels: None,
                target_port: gateway.port,
            })
            .collect()
    }
}

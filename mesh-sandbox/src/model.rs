//! The mesh as istiod models it: services merged over Kubernetes clusters, endpoints with network and identity, and the
//! gateways of each network. Building the mesh is a pure function from objects to a [`Mesh`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::dns::hosts::Hosts;
use crate::error::Result;
use crate::yaml::mesh_config::MeshConfig;
use crate::yaml::mesh_networks::MeshNetworks;
use crate::yaml::{Key, Manifest, Object, istio};
use rules::Rules;
use scope::Scopes;
use sidecar::Sidecars;

pub(crate) mod build;
pub(crate) mod endpoint;
pub(crate) mod entry;
pub(crate) mod gateway;
pub(crate) mod host;
pub(crate) mod kubernetes;
pub(crate) mod network_gateway;
pub(crate) mod networks;
pub(crate) mod pods;
pub(crate) mod policy;
pub(crate) mod rules;
pub(crate) mod scope;
pub(crate) mod service;
pub(crate) mod sidecar;
pub(crate) mod slices;
pub(crate) mod topology;
pub(crate) mod vip;

pub(crate) use crate::yaml::protocol::Protocol;
pub(crate) use endpoint::{Endpoint, Health};
pub(crate) use gateway::GatewayServer;
pub(crate) use network_gateway::NetworkGateway;
pub(crate) use networks::Networks;
pub(crate) use policy::Policies;
pub(crate) use rules::Rule;
pub(crate) use scope::{Scope, Viewer};
pub(crate) use service::{Port, Registry, Resolution, Service};
pub(crate) use vip::VipAllocator;

/// The objects of each Kubernetes cluster, by the id of the cluster.
pub(crate) type Objects = BTreeMap<String, BTreeMap<Key, Manifest>>;

/// The mesh as istiod models it.
#[derive(Debug)]
pub(crate) struct Mesh {
    pub(crate) config: MeshConfig,
    /// The Kubernetes cluster from which the Istio kinds are read.
    pub(crate) config_cluster: String,
    /// Whether ambient mode is on: istiod has `PILOT_ENABLE_AMBIENT`. The sandbox turns ambient mode on if a pod uses
    /// it.
    pub(crate) is_ambient: bool,
    pub(crate) networks: Networks,
    pub(crate) services: Vec<Arc<Service>>,
    /// The gateways with resolved IP addresses (istio `pilot/pkg/model/network.go`).
    pub(crate) gateways: Vec<NetworkGateway>,
    /// The gateways before istiod has resolved their host names. xDS clusters of the types STRICT_DNS and LOGICAL_DNS
    /// contain these gateways.
    pub(crate) unresolved: Vec<NetworkGateway>,
    pub(crate) policies: Policies,
    pub(crate) sidecars: Sidecars,
    pub(crate) rules: Rules,
    scopes: Scopes,
    /// The names in upstream DNS, with their addresses. istiod resolves names with upstream DNS, too.
    pub(crate) upstream: Hosts,
    pub(crate) servers: Vec<GatewayServer>,
    pub(crate) groups: Vec<Group>,
}

/// A `WorkloadGroup`, with which a VM joins.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) object: Arc<istio::WorkloadGroup>,
}

impl Group {
    /// Returns the name of the WorkloadGroup, as `namespace/name`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl Mesh {
    /// Builds the mesh from `objects`.
    pub(crate) fn build(
        config: &MeshConfig,
        objects: &Objects,
        networks: &MeshNetworks,
        upstream: &Hosts,
        vips: &mut VipAllocator,
    ) -> Result<Self> {
        build::build(config, objects, networks, upstream, vips)
    }

    /// Returns whether upstream DNS resolves `name` to loopback, where the sandbox can listen.
    pub(crate) fn is_loopback_name(&self, name: &str) -> bool {
        self.upstream.get(name).is_some_and(|addresses| addresses.iter().all(IpAddr::is_loopback))
    }
}

/// Returns the objects for which `pick` returns `Some`, with their manifests.
fn each<'a, T: 'a>(
    objects: &'a BTreeMap<Key, Manifest>,
    pick: impl Fn(&Object) -> Option<&Arc<T>>,
) -> impl Iterator<Item = (&'a Manifest, &'a Arc<T>)> {
    objects.values().filter_map(move |manifest| Some((manifest, pick(&manifest.object)?)))
}

/// Returns whether `labels` contains all labels of `selector`.
pub(crate) fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

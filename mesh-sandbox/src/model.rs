//! What istiod makes of the objects: services merged over clusters, endpoints with network and identity, gateways
//! per network. Pure: objects in, [`Mesh`] out.

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

/// The objects of all clusters.
pub(crate) type Objects = BTreeMap<String, BTreeMap<Key, Manifest>>;

/// The mesh as istiod sees it.
#[derive(Debug)]
pub(crate) struct Mesh {
    pub(crate) config: MeshConfig,
    /// The cluster that Istio's own objects are read from.
    pub(crate) config_cluster: String,
    pub(crate) networks: Networks,
    pub(crate) services: Vec<Arc<Service>>,
    /// Gateways with an IP address, names resolved (facts F.4).
    pub(crate) gateways: Vec<NetworkGateway>,
    /// The same with names unresolved: what clusters resolved by DNS are told.
    pub(crate) unresolved: Vec<NetworkGateway>,
    pub(crate) policies: Policies,
    pub(crate) sidecars: Sidecars,
    pub(crate) rules: Rules,
    scopes: Scopes,
    /// What istiod's own resolver, and the world, know.
    pub(crate) upstream: Hosts,
    pub(crate) servers: Vec<GatewayServer>,
    pub(crate) groups: Vec<Group>,
}

/// A `WorkloadGroup`: what a VM joins as.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) object: Arc<istio::WorkloadGroup>,
}

impl Group {
    /// `namespace/name`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl Mesh {
    /// Builds the mesh of `objects`.
    pub(crate) fn build(
        config: &MeshConfig,
        objects: &Objects,
        networks: &MeshNetworks,
        upstream: &Hosts,
        vips: &mut VipAllocator,
    ) -> Result<Self> {
        build::build(config, objects, networks, upstream, vips)
    }

    /// Whether `name` is a name that upstream DNS leads to loopback, where its listener can be.
    pub(crate) fn is_loopback_name(&self, name: &str) -> bool {
        self.upstream.get(name).is_some_and(|addresses| addresses.iter().all(IpAddr::is_loopback))
    }
}

/// The objects of one kind, with their manifests.
fn each<'a, T: 'a>(
    objects: &'a BTreeMap<Key, Manifest>,
    pick: impl Fn(&Object) -> Option<&Arc<T>>,
) -> impl Iterator<Item = (&'a Manifest, &'a Arc<T>)> {
    objects.values().filter_map(move |manifest| Some((manifest, pick(&manifest.object)?)))
}

/// Whether `labels` has everything that `selector` asks for.
pub(crate) fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

//! Endpoints: the addresses behind a cluster, from EDS or named in the cluster itself.

use std::{collections::BTreeMap, net::SocketAddr};

use bytes::Bytes;
use prost::Message as _;
use xds_proto::{
    envoy::config::{
        core::v3::{Address, HealthStatus, Metadata, SocketAddress, address, socket_address::PortSpecifier},
        endpoint::v3::{
            ClusterLoadAssignment, Endpoint as WireEndpoint, LbEndpoint, LocalityLbEndpoints,
            endpoint::AdditionalAddress, lb_endpoint::HostIdentifier,
        },
    },
    google::protobuf::{Struct, UInt32Value, Value, value::Kind},
};

use super::{locality::Locality, metadata};
use crate::error::InvalidResource;

/// The endpoints of one cluster, as istiod last pushed them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Endpoints {
    /// By locality, in istiod's order.
    pub localities: Vec<LocalityEndpoints>,
}

/// The endpoints of one locality.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LocalityEndpoints {
    /// Where they are.
    pub locality: Locality,
    /// 0 is used first; others when the ones before have failed.
    pub priority: u32,
    /// The share of this locality among those of its priority; 0 where the control plane gives none.
    pub weight: u32,
    /// The endpoints, in istiod's order.
    pub endpoints: Vec<Endpoint>,
}

/// What is behind one address of a cluster: a workload, or a gateway to workloads of another network.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Endpoint {
    /// An IP address, or for DNS clusters a host name.
    pub host: String,
    /// The port to dial.
    pub port: u16,
    /// Where else the same is reached: the address of the other family, where istiod and the workload have both
    /// (Envoy `Endpoint.additional_addresses`). To be tried in this order where `host` does not answer, without waiting
    /// for long (RFC 8305).
    pub additional_addresses: Vec<SocketAddr>,
    /// What the control plane knows about it.
    pub health: Health,
    /// The share of this endpoint in its locality; at least 1.
    pub weight: u32,
    /// Its `envoy.transport_socket_match` metadata, by which it selects among the cluster's transport sockets:
    /// `tlsMode: istio`.
    pub transport_match: BTreeMap<String, String>,
    /// Who it is.
    pub workload: Workload,
}

/// What the control plane says about an endpoint's health.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Health {
    /// Serving, but worse than healthy ones.
    Degraded,
    /// Passes its checks.
    Healthy,
    /// Fails its checks, or is going away.
    Unhealthy,
    /// Nothing is known; gateways are always so. To be used.
    #[default]
    Unknown,
}

/// The `istio.workload` metadata of an endpoint: `name;namespace;canonical name;canonical revision;cluster` (istio
/// `pilot/pkg/networking/util/util.go`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Workload {
    /// The workload's name; empty for a gateway.
    pub name: String,
    /// Its namespace; empty for a gateway.
    pub namespace: String,
    /// The cluster it runs in; of a gateway, the cluster behind it.
    pub cluster: String,
}

impl Endpoint {
    /// Whether this is an east-west gateway: istiod gives gateways a cluster but no workload.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        self.workload.name.is_empty() && !self.workload.cluster.is_empty()
    }
}

impl Endpoints {
    /// Reads an `envoy.config.endpoint.v3.ClusterLoadAssignment` message. Endpoints that this client cannot dial
    /// (Unix sockets, HBONE tunnels) are left out.
    ///
    /// # Errors
    ///
    /// The bytes are not such a message.
    pub fn decode(wire: Bytes) -> Result<Self, InvalidResource> {
        Ok(decode(ClusterLoadAssignment::decode(wire)?))
    }

    /// All endpoints, with the locality each belongs to.
    pub fn iter(&self) -> impl Iterator<Item = (&LocalityEndpoints, &Endpoint)> {
        self.localities.iter().flat_map(|locality| locality.endpoints.iter().map(move |one| (locality, one)))
    }

    /// Whether there is no endpoint at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

/// From the wire's assignment to ours.
pub(crate) fn decode(wire: ClusterLoadAssignment) -> Endpoints {
    Endpoints { localities: wire.endpoints.into_iter().map(locality).collect() }
}

/// From ours to the wire's.
pub(crate) fn encode(endpoints: &Endpoints) -> ClusterLoadAssignment {
    let locality = |one: &LocalityEndpoints| LocalityLbEndpoints {
        locality: Some(one.locality.clone().into()),
        priority: one.priority,
        load_balancing_weight: (one.weight > 0).then_some(UInt32Value { value: one.weight }),
        lb_endpoints: one.endpoints.iter().map(encode_endpoint).collect(),
    };
    ClusterLoadAssignment {
        endpoints: endpoints.localities.iter().map(locality).collect(),
        ..ClusterLoadAssignment::default()
    }
}

fn encode_endpoint(endpoint: &Endpoint) -> LbEndpoint {
    let text = |text: &String| Value { kind: Some(Kind::StringValue(text.clone())) };
    let Workload { name, namespace, cluster } = &endpoint.workload;
    let workload = text(&format!("{name};{namespace};;;{cluster}"));
    let matched = endpoint.transport_match.iter().map(|(key, value)| (key.clone(), text(value)));
    let metadata = [
        ("envoy.transport_socket_match".to_owned(), Struct { fields: matched.collect() }),
        ("istio".to_owned(), Struct { fields: [("workload".to_owned(), workload)].into() }),
    ];
    let address = |host: String, port: u16| Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: host,
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
        })),
    };
    let additional = endpoint.additional_addresses.iter();
    let additional =
        additional.map(|one| AdditionalAddress { address: Some(address(one.ip().to_string(), one.port())) });
    let health = match endpoint.health {
        Health::Degraded => HealthStatus::Degraded,
        Health::Healthy => HealthStatus::Healthy,
        Health::Unhealthy => HealthStatus::Unhealthy,
        Health::Unknown => HealthStatus::Unknown,
    };
    LbEndpoint {
        health_status: health.into(),
        load_balancing_weight: Some(UInt32Value { value: endpoint.weight }),
        host_identifier: Some(HostIdentifier::Endpoint(WireEndpoint {
            address: Some(address(endpoint.host.clone(), endpoint.port)),
            additional_addresses: additional.collect(),
            ..WireEndpoint::default()
        })),
        metadata: Some(Metadata { filter_metadata: metadata.into() }),
    }
}

fn locality(wire: LocalityLbEndpoints) -> LocalityEndpoints {
    LocalityEndpoints {
        locality: wire.locality.unwrap_or_default().into(),
        priority: wire.priority,
        weight: wire.load_balancing_weight.map_or(0, |weight| weight.value),
        endpoints: wire.lb_endpoints.into_iter().filter_map(endpoint).collect(),
    }
}

fn endpoint(wire: LbEndpoint) -> Option<Endpoint> {
    let health = match wire.health_status() {
        HealthStatus::Unknown => Health::Unknown,
        HealthStatus::Healthy => Health::Healthy,
        HealthStatus::Degraded => Health::Degraded,
        HealthStatus::Unhealthy | HealthStatus::Draining | HealthStatus::Timeout => Health::Unhealthy,
    };
    let Some(HostIdentifier::Endpoint(endpoint)) = wire.host_identifier else {
        return None;
    };
    let (host, port) = socket(endpoint.address)?;
    let additional = endpoint.additional_addresses.into_iter().filter_map(|one| {
        let (host, port) = socket(one.address)?;
        Some(SocketAddr::new(host.parse().ok()?, port))
    });
    let metadata = wire.metadata.unwrap_or_default();
    Some(Endpoint {
        host,
        port,
        additional_addresses: additional.collect(),
        health,
        weight: wire.load_balancing_weight.map_or(1, |weight| weight.value.max(1)),
        transport_match: metadata
            .filter_metadata
            .get("envoy.transport_socket_match")
            .map(metadata::texts)
            .unwrap_or_default(),
        workload: workload(&metadata),
    })
}

/// Host and port, where it is an address that can be dialled.
fn socket(address: Option<Address>) -> Option<(String, u16)> {
    let address::Address::SocketAddress(address) = address?.address? else { return None };
    let PortSpecifier::PortValue(port) = address.port_specifier? else { return None };
    Some((address.address, u16::try_from(port).ok()?))
}

fn workload(metadata: &Metadata) -> Workload {
    let istio = metadata.filter_metadata.get("istio").map(metadata::texts).unwrap_or_default();
    let mut parts = istio.get("workload").map(String::as_str).unwrap_or_default().split(';');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (name, namespace) = (part(), part());
    let (_canonical_name, _canonical_revision) = (part(), part());
    Workload { name, namespace, cluster: part() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_the_addresses_of_both_families_and_is_written_as_it_was_read() {
        let mut endpoint = Endpoint { host: "10.1.2.3".into(), port: 8080, weight: 1, ..Endpoint::default() };
        endpoint.additional_addresses = vec!["[2001:db8::3]:8080".parse().unwrap()];
        let locality = LocalityEndpoints { endpoints: vec![endpoint], ..LocalityEndpoints::default() };
        let endpoints = Endpoints { localities: vec![locality] };
        assert_eq!(Endpoints::decode(encode(&endpoints).encode_to_vec().into()).unwrap(), endpoints);
    }

    #[test]
    fn an_additional_address_that_cannot_be_dialled_is_left_out_and_the_endpoint_stays() {
        let address = |address| AdditionalAddress { address: Some(Address { address }) };
        let named = SocketAddress {
            address: "host.example".into(),
            port_specifier: Some(PortSpecifier::PortValue(80)),
        };
        let mut wire =
            encode_endpoint(&Endpoint { host: "10.1.2.3".into(), port: 80, ..Endpoint::default() });
        let Some(HostIdentifier::Endpoint(inner)) = &mut wire.host_identifier else { panic!("no endpoint") };
        inner.additional_addresses = vec![
            address(None),
            address(Some(address::Address::SocketAddress(named))),
            AdditionalAddress::default(),
        ];
        let read = endpoint(wire).unwrap();
        assert_eq!((&*read.host, read.additional_addresses), ("10.1.2.3", Vec::new()));
    }
}

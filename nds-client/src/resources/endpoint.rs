//! Endpoints: the addresses of a cluster, from EDS or from the cluster itself.

use std::{collections::BTreeMap, net::SocketAddr};

use bytes::Buf;
use prost::Message as _;
use xds_proto::{
    envoy::config::{
        core::v3::{
            Address, HealthStatus as WireHealth, Metadata, SocketAddress, address,
            socket_address::PortSpecifier,
        },
        endpoint::v3::{
            ClusterLoadAssignment, Endpoint as WireEndpoint, LbEndpoint, LocalityLbEndpoints,
            endpoint::AdditionalAddress, lb_endpoint::HostIdentifier,
        },
    },
    google::protobuf::{Struct, UInt32Value, Value, value::Kind},
};

use super::{locality::Locality, metadata};
use crate::resources::invalid::InvalidResource;

/// The endpoints of one cluster, as istiod last pushed them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Endpoints {
    /// The endpoints by locality, in the order of istiod.
    pub localities: Vec<LocalityEndpoints>,
}

/// The endpoints of one locality.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LocalityEndpoints {
    /// The locality.
    pub locality: Locality,
    /// The failover level. 0 is used first; higher levels are used when lower ones have failed.
    pub priority: u32,
    /// The weight of this locality within its priority; 0 if the control plane sets none.
    pub weight: u32,
    /// The endpoints, in the order of istiod.
    pub endpoints: Vec<Endpoint>,
}

/// One address of a cluster: a workload, or an east-west gateway to workloads of another network.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Endpoint {
    /// An IP address; in DNS clusters also a host name.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Further addresses of the same workload, usually of the other address family (Envoy
    /// `Endpoint.additional_addresses`). A client tries them in this order if `host` does not answer quickly (RFC
    /// 8305).
    pub additional_addresses: Vec<SocketAddr>,
    /// The health status that the control plane reports.
    pub health: HealthStatus,
    /// The weight of this endpoint within its locality; at least 1.
    pub weight: u32,
    /// The `envoy.transport_socket_match` metadata, which select a transport socket of the cluster, for example
    /// `tlsMode: istio`.
    pub transport_match: BTreeMap<String, String>,
    /// The workload behind the endpoint.
    pub workload: Workload,
}

/// The health status of an endpoint, as reported by the control plane.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum HealthStatus {
    /// The endpoint serves requests, but worse than healthy ones.
    Degraded,
    /// The endpoint passes its health checks.
    Healthy,
    /// The endpoint fails its health checks or is shutting down.
    Unhealthy,
    /// The control plane does not know the health. Gateways always have this status. It is treated as healthy.
    #[default]
    Unknown,
}

/// The `istio.workload` metadata of an endpoint: `name;namespace;canonical name;canonical revision;cluster` (istio
/// `pilot/pkg/networking/util/util.go`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Workload {
    /// The name of the workload; empty for a gateway.
    pub name: String,
    /// The namespace of the workload; empty for a gateway.
    pub namespace: String,
    /// The Kubernetes cluster of the workload; for a gateway, the cluster behind it.
    pub cluster: String,
}

impl Endpoint {
    /// Returns whether the endpoint is an east-west gateway. istiod sets a cluster but no workload name for gateways.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        self.workload.name.is_empty() && !self.workload.cluster.is_empty()
    }
}

impl Endpoints {
    /// Decodes an `envoy.config.endpoint.v3.ClusterLoadAssignment` message. Endpoints that this client cannot connect
    /// to (Unix sockets, HBONE tunnels) are omitted.
    ///
    /// # Errors
    ///
    /// The bytes are not a valid message of that type.
    #[cfg(any(test, fuzzing, feature = "test-util"))]
    pub fn decode(wire: &[u8]) -> Result<Self, InvalidResource> {
        Self::from_wire(wire)
    }

    pub(crate) fn from_wire(wire: impl Buf) -> Result<Self, InvalidResource> {
        ClusterLoadAssignment::decode(wire).map(decode).map_err(InvalidResource::new)
    }

    /// Returns all endpoints, each with its locality.
    pub fn iter(&self) -> impl Iterator<Item = (&LocalityEndpoints, &Endpoint)> {
        self.localities.iter().flat_map(|locality| locality.endpoints.iter().map(move |one| (locality, one)))
    }

    /// Returns whether there are no endpoints.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

/// Converts an assignment from the wire.
pub(crate) fn decode(wire: ClusterLoadAssignment) -> Endpoints {
    Endpoints { localities: wire.endpoints.into_iter().map(locality).collect() }
}

/// Converts endpoints to an assignment for the wire.
pub(crate) fn encode(endpoints: &Endpoints) -> ClusterLoadAssignment {
    let locality = |one: &LocalityEndpoints| LocalityLbEndpoints {
        locality: Some(one.locality.clone().into_wire()),
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
        HealthStatus::Degraded => WireHealth::Degraded,
        HealthStatus::Healthy => WireHealth::Healthy,
        HealthStatus::Unhealthy => WireHealth::Unhealthy,
        HealthStatus::Unknown => WireHealth::Unknown,
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
        locality: Locality::from_wire(wire.locality.unwrap_or_default()),
        priority: wire.priority,
        weight: wire.load_balancing_weight.map_or(0, |weight| weight.value),
        endpoints: wire.lb_endpoints.into_iter().filter_map(endpoint).collect(),
    }
}

fn endpoint(wire: LbEndpoint) -> Option<Endpoint> {
    let health = match wire.health_status() {
        WireHealth::Unknown => HealthStatus::Unknown,
        WireHealth::Healthy => HealthStatus::Healthy,
        WireHealth::Degraded => HealthStatus::Degraded,
        WireHealth::Unhealthy | WireHealth::Draining | WireHealth::Timeout => HealthStatus::Unhealthy,
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

/// Returns host and port of an address; `None` if this client cannot connect to this kind of address.
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
    fn the_addresses_of_both_families_survive_encoding_and_decoding() {
        let mut endpoint = Endpoint { host: "10.1.2.3".into(), port: 8080, weight: 1, ..Endpoint::default() };
        endpoint.additional_addresses = vec!["[2001:db8::3]:8080".parse().unwrap()];
        let locality = LocalityEndpoints { endpoints: vec![endpoint], ..LocalityEndpoints::default() };
        let endpoints = Endpoints { localities: vec![locality] };
        assert_eq!(Endpoints::decode(&encode(&endpoints).encode_to_vec()).unwrap(), endpoints);
    }

    #[test]
    fn an_unusable_additional_address_is_omitted() {
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

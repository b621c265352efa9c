//! Endpoints: the addresses of a cluster, from EDS or from the cluster itself.

mod unsupported;

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

pub use self::unsupported::{Unsupported, UnsupportedEndpoint};
use super::{locality::Locality, metadata};
use crate::resources::invalid::InvalidResource;

/// The endpoints of one cluster, as istiod last pushed them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Endpoints {
    /// The endpoints by locality, in the order of istiod.
    pub localities: Vec<LocalityEndpoints>,
    /// The endpoints to which this client cannot connect, for example workloads in ambient mode.
    pub unsupported: Vec<UnsupportedEndpoint>,
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

    /// Returns host and port: `10.1.2.3:15443`, `[::1]:15443`.
    #[must_use]
    pub fn authority(&self) -> String {
        authority(&self.host, self.port)
    }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Returns host and port of a text that [`authority`] formatted.
fn split_authority(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = authority.rsplit_once(':')?;
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    Some((inside.filter(|inside| inside.contains(':')).unwrap_or(host), port.parse().ok()?))
}

impl Endpoints {
    /// Decodes an `envoy.config.endpoint.v3.ClusterLoadAssignment` message.
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

    /// Returns all endpoints to which this client can connect, each with its locality.
    pub fn iter(&self) -> impl Iterator<Item = (&LocalityEndpoints, &Endpoint)> {
        self.localities.iter().flat_map(|locality| locality.endpoints.iter().map(move |one| (locality, one)))
    }

    /// Returns whether istiod sent no endpoints, not even unsupported ones.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none() && self.unsupported.is_empty()
    }
}

/// Converts an assignment from the wire.
pub(crate) fn decode(wire: ClusterLoadAssignment) -> Endpoints {
    let mut unsupported = Vec::new();
    let mut locality = |wire: LocalityLbEndpoints| LocalityEndpoints {
        locality: Locality::from_wire(wire.locality.unwrap_or_default()),
        priority: wire.priority,
        weight: wire.load_balancing_weight.map_or(0, |weight| weight.value),
        endpoints: wire
            .lb_endpoints
            .into_iter()
            .filter_map(|one| endpoint(one).map_err(|one| unsupported.push(one)).ok())
            .collect(),
    };
    Endpoints { localities: wire.endpoints.into_iter().map(&mut locality).collect(), unsupported }
}

/// Converts endpoints to an assignment for the wire.
pub(crate) fn encode(endpoints: &Endpoints) -> ClusterLoadAssignment {
    let locality = |one: &LocalityEndpoints| LocalityLbEndpoints {
        locality: Some(one.locality.clone().into_wire()),
        priority: one.priority,
        load_balancing_weight: (one.weight > 0).then_some(UInt32Value { value: one.weight }),
        lb_endpoints: one.endpoints.iter().map(encode_endpoint).collect(),
    };
    let mut localities: Vec<_> = endpoints.localities.iter().map(locality).collect();
    if !endpoints.unsupported.is_empty() {
        // The locality of an unsupported endpoint has no effect.
        let unsupported = endpoints.unsupported.iter().map(encode_unsupported);
        match localities.first_mut() {
            Some(first) => first.lb_endpoints.extend(unsupported),
            None => localities.push(LocalityLbEndpoints {
                lb_endpoints: unsupported.collect(),
                ..LocalityLbEndpoints::default()
            }),
        }
    }
    ClusterLoadAssignment { endpoints: localities, ..ClusterLoadAssignment::default() }
}

fn encode_unsupported(endpoint: &UnsupportedEndpoint) -> LbEndpoint {
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(WireEndpoint {
            address: endpoint.wire_address(),
            ..WireEndpoint::default()
        })),
        metadata: Some(Metadata {
            filter_metadata: [("istio".to_owned(), encode_workload(&endpoint.workload))].into(),
        }),
        ..LbEndpoint::default()
    }
}

fn encode_workload(Workload { name, namespace, cluster }: &Workload) -> Struct {
    let workload = Value { kind: Some(Kind::StringValue(format!("{name};{namespace};;;{cluster}"))) };
    Struct { fields: [("workload".to_owned(), workload)].into() }
}

fn encode_endpoint(endpoint: &Endpoint) -> LbEndpoint {
    let text = |text: &String| Value { kind: Some(Kind::StringValue(text.clone())) };
    let matched = endpoint.transport_match.iter().map(|(key, value)| (key.clone(), text(value)));
    let metadata = [
        ("envoy.transport_socket_match".to_owned(), Struct { fields: matched.collect() }),
        ("istio".to_owned(), encode_workload(&endpoint.workload)),
    ];
    let additional = endpoint.additional_addresses.iter();
    let additional = additional
        .map(|one| AdditionalAddress { address: Some(socket_address(one.ip().to_string(), one.port())) });
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
            address: Some(socket_address(endpoint.host.clone(), endpoint.port)),
            additional_addresses: additional.collect(),
            ..WireEndpoint::default()
        })),
        metadata: Some(Metadata { filter_metadata: metadata.into() }),
    }
}

fn endpoint(wire: LbEndpoint) -> Result<Endpoint, UnsupportedEndpoint> {
    let health = match wire.health_status() {
        WireHealth::Unknown => HealthStatus::Unknown,
        WireHealth::Healthy => HealthStatus::Healthy,
        WireHealth::Degraded => HealthStatus::Degraded,
        WireHealth::Unhealthy | WireHealth::Draining | WireHealth::Timeout => HealthStatus::Unhealthy,
    };
    let metadata = wire.metadata.unwrap_or_default();
    let workload = workload(&metadata);
    let wire_endpoint = match wire.host_identifier {
        Some(HostIdentifier::Endpoint(endpoint)) => endpoint,
        _ => WireEndpoint::default(),
    };
    let Some((host, port)) = socket(wire_endpoint.address.as_ref()) else {
        let (address, reason) = Unsupported::of_address(wire_endpoint.address);
        return Err(UnsupportedEndpoint { address, reason, workload });
    };
    let additional = wire_endpoint.additional_addresses.iter().filter_map(|one| {
        let (host, port) = socket(one.address.as_ref())?;
        Some(SocketAddr::new(host.parse().ok()?, port))
    });
    let endpoint = Endpoint {
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
        workload,
    };
    match Unsupported::of(&endpoint) {
        None => Ok(endpoint),
        Some(reason) => {
            Err(UnsupportedEndpoint { address: endpoint.authority(), reason, workload: endpoint.workload })
        }
    }
}

/// Returns host and port of an address; `None` if it is not a socket address with a port number.
fn socket(address: Option<&Address>) -> Option<(String, u16)> {
    let address::Address::SocketAddress(address) = address?.address.as_ref()? else { return None };
    let PortSpecifier::PortValue(port) = address.port_specifier.as_ref()? else { return None };
    Some((address.address.clone(), u16::try_from(*port).ok()?))
}

fn socket_address(address: String, port: u16) -> Address {
    let port_specifier = Some(PortSpecifier::PortValue(port.into()));
    Address { address: Some(address::Address::SocketAddress(SocketAddress { address, port_specifier })) }
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
mod tests;

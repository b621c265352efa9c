//! The endpoints of one xDS cluster (istio `endpoint_builder.go`).

use std::collections::BTreeMap;

use xds_proto::envoy::config::core::v3::address::Address as AddressKind;
use xds_proto::envoy::config::core::v3::envoy_internal_address::AddressNameSpecifier;
use xds_proto::envoy::config::core::v3::socket_address::PortSpecifier;
use xds_proto::envoy::config::core::v3::{
    Address, EnvoyInternalAddress, HealthStatus, Locality, Metadata, SocketAddress,
};
use xds_proto::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use xds_proto::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint as EndpointMessage, LbEndpoint, LocalityLbEndpoints,
};
use xds_proto::google::protobuf::UInt32Value;

use super::failover::{self, Group};
use super::name::ClusterName;
use super::network::{self, Candidate, Seen};
use super::policy::Target;
use super::structs::{fields, string};
use super::{Proxy, World};
use crate::model::endpoint::TLS_MODE_ISTIO;
use crate::model::{Endpoint, Health, selects};

/// The label of a pod that must not get new connections (istio `features.DrainingLabel`).
const DRAINING: &str = "istio.io/draining";

/// Returns the endpoints of an xDS cluster. An unknown or DNS cluster gets an empty assignment, which is neither an
/// error nor a removal (istio `endpoint_builder.go`).
pub(crate) fn assignment(world: World<'_>, proxy: &Proxy, name: &str) -> ClusterLoadAssignment {
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: found(world, proxy, name).unwrap_or_default(),
    }
}

fn found(world: World<'_>, proxy: &Proxy, name: &str) -> Option<Vec<LocalityLbEndpoints>> {
    let name = ClusterName::parse(name)?;
    let scope = world.scope(proxy);
    let service = scope.service(name.host)?;
    let rule = scope.rule(name.host, &proxy.labels);
    // An unknown subset selects all endpoints.
    let subset = rule.and_then(|rule| rule.subset(name.subset));
    let target = Target { service, port: service.port(name.port)?, rule, subset };
    (!service.is_dns()).then(|| localities(world, proxy, &target))
}

/// Returns the endpoints of a service port by locality, as `proxy` sees them.
pub(crate) fn localities(world: World<'_>, proxy: &Proxy, target: &Target<'_>) -> Vec<LocalityLbEndpoints> {
    let service = target.service;
    let settings = target.settings();
    // If the rule enables the panic threshold, unhealthy endpoints are omitted (istio `supportsUnhealthyEndpoints`).
    let panics = settings.outlier_detection.is_some_and(|detection| detection.min_health_percent > 0);
    let mut by_locality: BTreeMap<&str, Vec<Candidate<'_>>> = BTreeMap::new();
    for endpoint in service.endpoints_of(target.port) {
        // Unhealthy endpoints are sent, terminating ones are not (istio `endpoint_builder.go`).
        let is_hidden = endpoint.health == Health::Terminating
            || (panics && endpoint.health == Health::Unhealthy)
            || target.subset.is_some_and(|subset| !selects(&subset.labels, &endpoint.labels))
            || endpoint.labels.get(DRAINING).is_some_and(|value| !value.is_empty())
            || (service.is_cluster_local() && endpoint.cluster != proxy.cluster);
        if !is_hidden && proxy.views(&endpoint.network) {
            let is_mtls = target.is_mtls(endpoint);
            by_locality.entry(&endpoint.locality).or_default().push(Candidate { endpoint, is_mtls });
        }
    }
    let gateways = if service.is_dns() { &world.mesh.unresolved } else { &world.mesh.gateways };
    let groups = by_locality.into_iter().map(|(locality, endpoints)| {
        let seen = network::filter(proxy, gateways, &endpoints);
        let lb_endpoints: Vec<_> = seen.iter().map(|seen| message(world, proxy, seen)).collect();
        let weight = lb_endpoints.iter().filter_map(|it| it.load_balancing_weight).map(|it| it.value).sum();
        let message = LocalityLbEndpoints {
            locality: locality_message(locality),
            // A locality without endpoints stays, without a weight (istio `refreshWeight`).
            load_balancing_weight: (!lb_endpoints.is_empty()).then_some(UInt32Value { value: weight }),
            lb_endpoints,
            priority: 0,
        };
        Group { message, labels: seen.iter().map(Seen::labels).collect() }
    });
    let groups = failover::apply(groups.collect(), &world.mesh.config, &settings, proxy);
    groups.into_iter().map(|group| group.message).collect()
}

fn message(world: World<'_>, proxy: &Proxy, seen: &Seen<'_>) -> LbEndpoint {
    match seen {
        // A workload that accepts both mTLS and HBONE gets mTLS (istio `endpoint_builder.go`).
        Seen::Direct { candidate: Candidate { endpoint, .. }, weight }
            if endpoint.accepts_hbone && !endpoint.has_sidecar() && !proxy.disables_hbone =>
        {
            LbEndpoint {
                health_status: health(endpoint.health).into(),
                metadata: Some(tunnel_metadata(endpoint, workload(endpoint))),
                host_identifier: Some(tunnel(endpoint)),
                load_balancing_weight: Some(UInt32Value { value: *weight }),
            }
        }
        Seen::Direct { candidate: Candidate { endpoint, is_mtls }, weight } => LbEndpoint {
            health_status: health(endpoint.health).into(),
            metadata: Some(metadata(*is_mtls, workload(endpoint))),
            host_identifier: Some(host(world, &endpoint.network, &endpoint.address, endpoint.port)),
            load_balancing_weight: Some(UInt32Value { value: *weight }),
        },
        // Without health status and workload, because a gateway represents several endpoints (istio `ep_filters.go`).
        Seen::Through { gateway, weight } => LbEndpoint {
            health_status: HealthStatus::Unknown.into(),
            metadata: Some(metadata(true, format!(";;;;{}", gateway.cluster))),
            host_identifier: Some(host(world, &gateway.network, &gateway.address, gateway.port)),
            load_balancing_weight: Some(UInt32Value { value: *weight }),
        },
    }
}

/// Returns the loopback socket for an address in the YAML, or the address itself if no socket serves it.
fn host(world: World<'_>, network: &str, address: &str, port: u16) -> HostIdentifier {
    let (address, port) = match world.book.socket(network, address, port) {
        // A name is not replaced if upstream DNS resolves it to the same socket.
        Some(socket) if world.mesh.is_loopback_name(address) => (address.to_owned(), socket.port()),
        Some(socket) => (socket.ip().to_string(), socket.port()),
        None => (address.to_owned(), port),
    };
    let socket = SocketAddress { address, port_specifier: Some(PortSpecifier::PortValue(port.into())) };
    HostIdentifier::Endpoint(EndpointMessage {
        address: Some(Address { address: Some(AddressKind::SocketAddress(socket)) }),
        ..EndpointMessage::default()
    })
}

/// Returns the internal listener of Envoy that opens a tunnel to the endpoint.
fn tunnel(endpoint: &Endpoint) -> HostIdentifier {
    let internal = EnvoyInternalAddress {
        address_name_specifier: Some(AddressNameSpecifier::ServerListenerName(
            "connect_originate".to_owned(),
        )),
        endpoint_id: socket(endpoint),
    };
    HostIdentifier::Endpoint(EndpointMessage {
        address: Some(Address { address: Some(AddressKind::EnvoyInternalAddress(internal)) }),
        ..EndpointMessage::default()
    })
}

fn tunnel_metadata(endpoint: &Endpoint, workload: String) -> Metadata {
    let mut metadata = metadata(false, workload);
    let mut set = |key: &str, fields| metadata.filter_metadata.insert(key.to_owned(), fields);
    set("envoy.transport_socket_match", fields([("tunnel", string("http"))]));
    set("envoy.filters.listener.original_dst", fields([("local", string(socket(endpoint)))]));
    metadata
}

fn socket(endpoint: &Endpoint) -> String {
    let (address, port) = (&endpoint.address, endpoint.port);
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn metadata(is_mtls: bool, workload: String) -> Metadata {
    let mut metadata = Metadata::default();
    if is_mtls {
        let mode = fields([("tlsMode", string(TLS_MODE_ISTIO))]);
        metadata.filter_metadata.insert("envoy.transport_socket_match".to_owned(), mode);
    }
    metadata.filter_metadata.insert("istio".to_owned(), fields([("workload", string(workload))]));
    metadata
}

/// Returns `name;namespace;canonical name;canonical revision;cluster` (istio `pilot/pkg/networking/util/util.go`). The
/// revision `latest` is omitted.
fn workload(endpoint: &Endpoint) -> String {
    let label = |keys: [&str; 3]| keys.iter().find_map(|key| endpoint.labels.get(*key)).map(String::as_str);
    let name = label(["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
    let revision = label(["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    format!(
        "{};{};{};{};{}",
        endpoint.workload,
        endpoint.namespace,
        name.unwrap_or(&endpoint.workload),
        revision.filter(|revision| *revision != "latest").unwrap_or_default(),
        endpoint.cluster
    )
}

fn health(health: Health) -> HealthStatus {
    match health {
        Health::Unknown => HealthStatus::Unknown,
        Health::Healthy => HealthStatus::Healthy,
        Health::Unhealthy | Health::Terminating => HealthStatus::Unhealthy,
    }
}

fn locality_message(locality: &str) -> Option<Locality> {
    let mut parts = locality.split('/');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    Some(Locality { region: part(), zone: part(), sub_zone: part() })
}

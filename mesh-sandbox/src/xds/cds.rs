//! The clusters of a proxy (istio `cluster_builder.go`; facts E, G, J.4).

use xds_proto::any;
use xds_proto::envoy::config::cluster::v3::Cluster;
use xds_proto::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use xds_proto::envoy::config::core::v3::Metadata;
use xds_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
use xds_proto::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use xds_proto::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, Protocol as HttpProtocol, UpstreamProtocolOptions, UseDownstreamHttpConfig,
    explicit_http_config,
};
use xds_proto::google::protobuf::Duration;
use xds_proto::type_url;

use super::structs::{boolean, fields, list, nested, string};
use super::{Proxy, World, cluster_tls, eds, name};
use crate::model::{Port, Protocol, Resolution, Service};
use crate::yaml::istio::MutualTlsMode;

/// The mesh default (facts G).
const CONNECT_TIMEOUT: Duration = Duration { seconds: 10, nanos: 0 };
/// The key of [`HttpProtocolOptions`] among a cluster's protocol options.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// The clusters that every proxy gets, and that every delta repeats (facts J.1).
pub(crate) const FIXED: [&str; 3] = ["BlackHoleCluster", "PassthroughCluster", "InboundPassthroughCluster"];

/// All clusters: outbound ones for every service and port, then the fixed three.
pub(crate) fn clusters(world: World<'_>, proxy: &Proxy) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::new();
    for service in &world.scope(proxy).services {
        for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
            clusters.extend(outbound(world, proxy, service, port));
        }
    }
    // A gateway has no original destinations to pass through to.
    clusters.extend(fixed().into_iter().take(if proxy.is_router { 1 } else { FIXED.len() }));
    clusters
}

fn outbound(world: World<'_>, proxy: &Proxy, service: &Service, port: &Port) -> Option<Cluster> {
    let kind = discovery_type(service, proxy)?;
    let mut cluster = Cluster {
        name: name::cluster(port.number, &service.host),
        connect_timeout: Some(CONNECT_TIMEOUT),
        lb_policy: LbPolicy::LeastRequest.into(),
        metadata: Some(metadata(service)),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        ..Cluster::default()
    };
    match kind {
        DiscoveryType::Eds => {
            cluster.eds_cluster_config = Some(EdsClusterConfig { service_name: cluster.name.clone() });
        }
        DiscoveryType::StrictDns | DiscoveryType::LogicalDns => {
            // No EDS: the hosts are inside, and without any there is no cluster (facts J.3).
            let endpoints = eds::localities(world, proxy, service, port);
            if endpoints.is_empty() {
                return None;
            }
            cluster.load_assignment =
                Some(ClusterLoadAssignment { cluster_name: cluster.name.clone(), endpoints });
        }
        _ => cluster.lb_policy = LbPolicy::ClusterProvided.into(),
    }
    if let Some(options) = http_options(port.protocol, proxy) {
        cluster
            .typed_extension_protocol_options
            .insert(HTTP_OPTIONS.to_owned(), any::pack(type_url::HTTP_PROTOCOL_OPTIONS, &options));
    }
    if offers_tls(world, service, port) {
        let socket = cluster_tls::tls(service, port, world.metadata_exchange);
        if kind == DiscoveryType::OriginalDst {
            cluster.transport_socket = Some(socket);
        } else {
            cluster.transport_socket_matches = cluster_tls::matches(socket);
        }
    }
    Some(cluster)
}

fn discovery_type(service: &Service, proxy: &Proxy) -> Option<DiscoveryType> {
    Some(match service.resolution {
        Resolution::ClientSide => DiscoveryType::Eds,
        Resolution::Dns => DiscoveryType::StrictDns,
        Resolution::DnsRoundRobin => DiscoveryType::LogicalDns,
        Resolution::Passthrough if proxy.is_router => DiscoveryType::Eds,
        Resolution::Passthrough => DiscoveryType::OriginalDst,
        Resolution::Alias => return None,
    })
}

/// Auto mTLS: never for what is outside the mesh or in a namespace that disables it; for headless services only
/// if every endpoint has a sidecar (facts E.6).
fn offers_tls(world: World<'_>, service: &Service, port: &Port) -> bool {
    if service.is_external || world.mesh.policies.namespace_mode(&service.namespace) == MutualTlsMode::Disable
    {
        return false;
    }
    if service.resolution == Resolution::Passthrough {
        let mut endpoints = service.endpoints_of(port).peekable();
        return endpoints.peek().is_some()
            && endpoints.all(|endpoint| endpoint.tls_mode != crate::model::endpoint::TLS_MODE_DISABLED);
    }
    true
}

fn http_options(protocol: Protocol, proxy: &Proxy) -> Option<HttpProtocolOptions> {
    let options = match protocol {
        _ if protocol.is_http2() => UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(explicit_http_config::ProtocolConfig::Http2ProtocolOptions(
                HttpProtocol::default(),
            )),
        }),
        // Gateways do not detect protocols.
        Protocol::Unsupported if !proxy.is_router => {
            UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig::default())
        }
        _ => return None,
    };
    Some(HttpProtocolOptions { upstream_protocol_options: Some(options) })
}

fn metadata(service: &Service) -> Metadata {
    let of_service = fields([
        ("host", string(&service.host)),
        ("name", string(&service.name)),
        ("namespace", string(&service.namespace)),
    ]);
    let mut istio = fields([("services", list(vec![nested(of_service)]))]);
    if service.is_external {
        istio.fields.insert("external".to_owned(), boolean(true));
    }
    Metadata { filter_metadata: [("istio".to_owned(), istio)].into() }
}

fn fixed() -> [Cluster; 3] {
    let passthrough = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(
            UseDownstreamHttpConfig::default(),
        )),
    };
    FIXED.map(|name| {
        let black_hole = name == FIXED[0];
        let kind = if black_hole { DiscoveryType::Static } else { DiscoveryType::OriginalDst };
        let policy = if black_hole { LbPolicy::RoundRobin } else { LbPolicy::ClusterProvided };
        let mut cluster = Cluster {
            name: name.to_owned(),
            connect_timeout: Some(CONNECT_TIMEOUT),
            lb_policy: policy.into(),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
            ..Cluster::default()
        };
        if !black_hole {
            let options = any::pack(type_url::HTTP_PROTOCOL_OPTIONS, &passthrough);
            cluster.typed_extension_protocol_options.insert(HTTP_OPTIONS.to_owned(), options);
        }
        cluster
    })
}

//! The xDS clusters of a proxy (istio `cluster_builder.go`, `cluster_traffic_policy.go`, `cluster_tls.go`).

use xds_proto::envoy::config::cluster::v3::Cluster;
use xds_proto::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig, LbConfig, LbPolicy,
    OriginalDstLbConfig,
};
use xds_proto::envoy::config::core::v3::{Metadata, TransportSocket};
use xds_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
use xds_proto::google::protobuf::{Duration, UInt32Value};

use super::circuit_breakers::{self, keepalive};
use super::cluster_tls::{self, InMesh};
use super::http_options::{self, HttpOptions};
use super::policy::{Settings, Target};
use super::structs::{boolean, duration, fields, list, nested, string};
use super::{Proxy, World, eds, load_balancing, name, outlier_detection};
use crate::model::endpoint::TLS_MODE_DISABLED;
use crate::model::{Protocol, Resolution, Service};
use crate::yaml::destination_rule::{ClientTls, TlsMode};
use crate::yaml::istio::MutualTlsMode;

/// Istio's default connect timeout (istio `pkg/config/mesh/mesh.go`).
const CONNECT_TIMEOUT: Duration = Duration { seconds: 10, nanos: 0 };
/// The clusters that every proxy gets and that every delta response repeats (istio
/// `pilot/pkg/networking/core/cluster.go`).
pub(crate) const FIXED: [&str; 3] = ["BlackHoleCluster", "PassthroughCluster", "InboundPassthroughCluster"];

/// Returns all clusters: outbound clusters of every service, port and subset, then the three clusters that istiod sends
/// to every proxy.
pub(crate) fn clusters(world: World<'_>, proxy: &Proxy) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::new();
    let scope = world.scope(proxy);
    for service in &scope.services {
        let rule = scope.rule(&service.host, &proxy.labels);
        for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
            let whole = Target { service, port, rule, subset: None };
            let Some(kind) = discovery_type(service, proxy) else { continue };
            let Some(cluster) = outbound(world, proxy, &whole, kind) else { continue };
            let kind = kind_of(&cluster);
            clusters.push(cluster);
            for subset in rule.iter().flat_map(|rule| &rule.subsets) {
                let target = Target { subset: Some(subset), ..whole };
                let kind = if target.is_passed_through() { DiscoveryType::OriginalDst } else { kind };
                clusters.extend(outbound(world, proxy, &target, kind));
            }
        }
    }
    // A gateway has no passthrough clusters.
    clusters.extend(fixed(world).into_iter().take(if proxy.is_router { 1 } else { FIXED.len() }));
    clusters
}

fn outbound(world: World<'_>, proxy: &Proxy, target: &Target<'_>, kind: DiscoveryType) -> Option<Cluster> {
    let settings = target.settings();
    let mut cluster = Cluster {
        name: name::cluster(target.port.number, target.subset_name(), &target.service.host),
        connect_timeout: Some(connect_timeout(world, &settings)),
        metadata: Some(metadata(target, &settings)),
        common_lb_config: Some(CommonLbConfig::default()),
        circuit_breakers: Some(circuit_breakers::of(&settings)),
        upstream_connection_options: keepalive(&world.mesh.config, &settings),
        ..Cluster::default()
    };
    if matches!(kind, DiscoveryType::StrictDns | DiscoveryType::LogicalDns) {
        // A DNS cluster contains its endpoints and is omitted if it has none.
        let endpoints = eds::localities(world, proxy, target);
        if endpoints.is_empty() {
            return None;
        }
        cluster.load_assignment =
            Some(ClusterLoadAssignment { cluster_name: cluster.name.clone(), endpoints });
    }
    if kind == DiscoveryType::OriginalDst {
        // A `ServiceEntry` with resolution NONE may have a different port at the destination.
        let port = target.port.target.map(|value| UInt32Value { value: value.into() });
        cluster.lb_config = port.map(|port| {
            LbConfig::OriginalDstLbConfig(OriginalDstLbConfig { upstream_port_override: Some(port) })
        });
    }
    outlier_detection::apply(&mut cluster, &settings);
    let kind = load_balancing::apply(&mut cluster, &world.mesh.config, &settings, kind);
    if kind == DiscoveryType::Eds {
        cluster.eds_cluster_config = Some(EdsClusterConfig { service_name: cluster.name.clone() });
    }
    let mut http = HttpOptions::of(target.port.protocol, &settings, proxy.is_router);
    protect(world, &mut cluster, target, &settings, &mut http);
    if let Some(proxy_protocol) = settings.proxy_protocol {
        cluster_tls::wrap(&mut cluster, proxy_protocol);
    }
    let options = http.pack().map(|options| (http_options::KEY.to_owned(), options));
    cluster.typed_extension_protocol_options.extend(options);
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

fn kind_of(cluster: &Cluster) -> DiscoveryType {
    match cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(kind).unwrap_or_default(),
        _ => DiscoveryType::default(),
    }
}

/// Sets the transport sockets of a cluster, as the TLS settings of the DestinationRule define them. If the
/// DestinationRule has no TLS settings, sets mTLS for the endpoints that support it.
fn protect(
    world: World<'_>,
    cluster: &mut Cluster,
    target: &Target<'_>,
    settings: &Settings<'_>,
    http: &mut HttpOptions,
) {
    let (service, number) = (target.service, target.port.number);
    let in_mesh = |tls: Option<&ClientTls>| InMesh {
        sni: tls
            .map(|tls| tls.sni.clone())
            .filter(|sni| !sni.is_empty())
            .unwrap_or_else(|| name::sni(number, target.subset_name(), &service.host)),
        identities: tls
            .and_then(|tls| tls.subject_alt_names.clone())
            .unwrap_or_else(|| expected(world, service)),
        metadata_exchange: world.metadata_exchange,
    };
    let is_auto = settings.tls.is_none() && offers_tls(world, target);
    match settings.tls.map(|tls| (tls.mode, tls)) {
        Some((TlsMode::Disable, _)) => {}
        Some((TlsMode::IstioMutual, tls)) => {
            cluster.transport_socket = Some(in_mesh(Some(tls)).socket(*http))
        }
        Some((TlsMode::Simple | TlsMode::Mutual, tls)) => {
            cluster.transport_socket = user_supplied(world, service, tls, http);
        }
        None if is_auto => {
            let socket = in_mesh(None).socket(*http);
            if kind_of(cluster) == DiscoveryType::OriginalDst {
                cluster.transport_socket = Some(socket);
            } else {
                cluster.transport_socket_matches = cluster_tls::matches(socket);
            }
        }
        None => {}
    }
    if world.mesh.is_ambient {
        let is_original_dst = kind_of(cluster) == DiscoveryType::OriginalDst;
        cluster_tls::add_hbone(cluster, settings.tls.map(|tls| tls.mode), is_original_dst, is_auto);
    }
}

/// Returns the identities that may serve the service, in every trust domain of the mesh.
fn expected(world: World<'_>, service: &Service) -> Vec<String> {
    world.mesh.config.in_all_trust_domains(&service.identities())
}

/// Returns a TLS transport socket with certificates from files. Returns `None` for a rule that names a secret
/// (`credentialName`), because only gateways receive secrets.
fn user_supplied(
    world: World<'_>,
    service: &Service,
    tls: &ClientTls,
    http: &mut HttpOptions,
) -> Option<TransportSocket> {
    if !tls.credential_name.is_empty() {
        return None;
    }
    let named = tls.subject_alt_names.clone().unwrap_or_default();
    http.auto_sni = tls.sni.is_empty();
    http.auto_san_validation = http.auto_sni && named.is_empty() && !tls.insecure_skip_verify;
    let is_entry = service.registry == crate::model::Registry::External;
    let identities = if named.is_empty() && is_entry { expected(world, service) } else { named };
    Some(cluster_tls::from_files(tls, &identities, *http))
}

/// Returns whether auto mTLS applies to the xDS cluster. It does not apply to services outside the mesh, or in a
/// namespace whose PeerAuthentication disables mTLS. It applies to a passthrough cluster only if every endpoint has a
/// sidecar (istio `pilot/pkg/model/push_context.go`).
fn offers_tls(world: World<'_>, target: &Target<'_>) -> bool {
    let service = target.service;
    if service.is_external || world.mesh.policies.namespace_mode(&service.namespace) == MutualTlsMode::Disable
    {
        return false;
    }
    if service.resolution == Resolution::Passthrough || target.is_passed_through() {
        let mut endpoints = service.endpoints_of(target.port).peekable();
        return endpoints.peek().is_some()
            && endpoints.all(|endpoint| endpoint.tls_mode != TLS_MODE_DISABLED);
    }
    true
}

fn connect_timeout(world: World<'_>, settings: &Settings<'_>) -> Duration {
    let own = settings.connection_pool.and_then(|pool| pool.tcp().connect_timeout);
    own.or(world.mesh.config.connect_timeout).map_or(CONNECT_TIMEOUT, duration)
}

fn metadata(target: &Target<'_>, settings: &Settings<'_>) -> Metadata {
    let service = target.service;
    let of_service = fields([
        ("host", string(&service.host)),
        ("name", string(&service.name)),
        ("namespace", string(&service.namespace)),
    ]);
    let mut istio = fields([("services", list(vec![nested(of_service)]))]);
    let mut set = |key: &str, value| istio.fields.insert(key.to_owned(), value);
    match target.subset {
        Some(subset) => {
            set("subset", string(&subset.name));
        }
        // Every endpoint accepts HBONE, so there is no peer exchange.
        None if accepts_hbone(target) => {
            set("disable_mx", boolean(true));
        }
        None if service.is_external => {
            set("external", boolean(true));
        }
        None => {}
    }
    if let Some(rule) = target.rule {
        let (namespace, name) = (&rule.namespace, &rule.name);
        let path = format!("/apis/networking.istio.io/v1/namespaces/{namespace}/destination-rule/{name}");
        set("config", string(path));
        if settings.tls.is_some_and(|tls| matches!(tls.mode, TlsMode::Simple | TlsMode::Mutual)) {
            set("alpn_override", string("false"));
        }
    }
    Metadata { filter_metadata: [("istio".to_owned(), istio)].into() }
}

/// Returns whether the service has endpoints and all of them accept HBONE (istio `pilot/pkg/model/push_context.go`,
/// `AllInstancesSupportHBONE`).
fn accepts_hbone(target: &Target<'_>) -> bool {
    let mut endpoints = target.service.endpoints_of(target.port).peekable();
    endpoints.peek().is_some() && endpoints.all(|endpoint| endpoint.accepts_hbone)
}

fn fixed(world: World<'_>) -> [Cluster; 3] {
    FIXED.map(|name| {
        let black_hole = name == FIXED[0];
        let kind = if black_hole { DiscoveryType::Static } else { DiscoveryType::OriginalDst };
        let policy = if black_hole { LbPolicy::RoundRobin } else { LbPolicy::ClusterProvided };
        let mut cluster = Cluster {
            name: name.to_owned(),
            connect_timeout: Some(connect_timeout(world, &Settings::default())),
            lb_policy: policy.into(),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
            circuit_breakers: (!black_hole).then(|| circuit_breakers::of(&Settings::default())),
            upstream_connection_options: keepalive(&world.mesh.config, &Settings::default())
                .filter(|_| !black_hole),
            ..Cluster::default()
        };
        let options = HttpOptions::passed_through().pack().filter(|_| !black_hole);
        let options = options.map(|options| (http_options::KEY.to_owned(), options));
        cluster.typed_extension_protocol_options.extend(options);
        cluster
    })
}

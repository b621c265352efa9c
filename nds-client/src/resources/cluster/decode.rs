//! Decoding of clusters.

use std::time::Duration;

#[cfg(any(test, fuzzing, feature = "test-util"))]
use prost::Message as _;
use xds_proto::{
    any,
    envoy::{
        config::{
            cluster::v3::{
                Cluster as Wire,
                cluster::{
                    ClusterDiscoveryType, DiscoveryType as WireDiscoveryType, LbConfig, TransportSocketMatch,
                },
            },
            core::v3::{Metadata, TransportSocket as WireSocket, proxy_protocol_config::Version},
        },
        extensions::{
            transport_sockets::{
                proxy_protocol::v3::ProxyProtocolUpstreamTransport,
                tls::v3::{
                    CertificateValidationContext, CommonTlsContext, SdsSecretConfig, UpstreamTlsContext,
                    common_tls_context::ValidationContextType, tls_parameters::TlsProtocol,
                },
            },
            upstreams::http::v3::{
                HttpProtocolOptions,
                http_protocol_options::{UpstreamProtocolOptions, explicit_http_config::ProtocolConfig},
            },
        },
        r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
    },
    google::protobuf::{Any, Value, value::Kind},
    strict, type_url,
};

use super::{
    CircuitBreakers, ClientCertificate, Cluster, ClusterName, ConnectionLimits, DiscoveryType, LoadBalancing,
    OutlierDetection, ProxyProtocol, SanMatcher, TcpKeepalive, TlsContext, TlsVersion, TransportMatch,
    TransportSocket, UpstreamHttpProtocol, ValidationContext, duration::duration,
};
#[cfg(any(test, fuzzing, feature = "test-util"))]
use crate::resources::invalid::InvalidResource;
use crate::resources::{endpoint, metadata::texts};

/// The key of the HTTP options in `typed_extension_protocol_options`. This client reads no other key.
pub(super) const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// The default of `connect_timeout` in Envoy.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(any(test, fuzzing, feature = "test-util"))]
impl Cluster {
    /// Decodes an `envoy.config.cluster.v3.Cluster` message. Returns `None` for a cluster that is not outbound to a
    /// service: inbound clusters, `BlackHoleCluster`, `PassthroughCluster`, `InboundPassthroughCluster`.
    ///
    /// # Errors
    ///
    /// The bytes, or a message inside them, are not a valid protobuf message.
    pub fn decode(wire: &[u8]) -> Result<Option<Self>, InvalidResource> {
        Wire::decode(wire).and_then(decode).map_err(InvalidResource::new)
    }
}

/// Returns the name of a cluster that is outbound to a service; `None` for inbound clusters, `BlackHoleCluster`,
/// `PassthroughCluster` and `InboundPassthroughCluster`.
pub(super) fn name(wire: &Wire) -> Option<ClusterName> {
    let name: ClusterName = wire.name.parse().ok()?;
    Some(ClusterName { host: name.host.to_ascii_lowercase(), ..name })
}

pub(super) fn decode(wire: Wire) -> Result<Option<Cluster>, prost::DecodeError> {
    let Some(name) = name(&wire) else {
        return Ok(None);
    };
    let options = http_options(&wire)?;
    let upstream = options.upstream_http_protocol_options.unwrap_or_default();
    let keepalive =
        wire.upstream_connection_options.as_ref().and_then(|options| options.tcp_keepalive.as_ref());
    Ok(Some(Cluster {
        discovery: discovery(&wire),
        connect_timeout: duration(wire.connect_timeout.as_ref()).unwrap_or(CONNECT_TIMEOUT),
        transport_socket_matches: wire
            .transport_socket_matches
            .iter()
            .map(transport_match)
            .collect::<Result<_, _>>()?,
        transport_socket: transport_socket(wire.transport_socket.as_ref())?,
        http: http(&options),
        auto_sni: upstream.auto_sni,
        auto_san_validation: upstream.auto_san_validation,
        external: is_external(wire.metadata.as_ref()),
        tls_origination: originates_tls(wire.metadata.as_ref()),
        load_balancing: LoadBalancing::from_wire(&wire),
        outlier_detection: wire.outlier_detection.as_ref().map(OutlierDetection::from_wire),
        circuit_breakers: CircuitBreakers::from_wire(wire.circuit_breakers.as_ref()),
        tcp_keepalive: keepalive.map(TcpKeepalive::from_wire),
        connection_limits: ConnectionLimits::from_wire(options.common_http_protocol_options.as_ref()),
        upstream_port_override: upstream_port_override(&wire),
        service_hosts: service_hosts(wire.metadata.as_ref()),
        config: config(wire.metadata.as_ref()),
        name,
    }))
}

fn discovery(wire: &Wire) -> DiscoveryType {
    let kind = match wire.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => {
            WireDiscoveryType::try_from(kind).unwrap_or(WireDiscoveryType::Static)
        }
        _ => WireDiscoveryType::Static,
    };
    match kind {
        WireDiscoveryType::Eds => {
            let named = wire.eds_cluster_config.as_ref().map(|config| config.service_name.clone());
            let service_name = named.filter(|name| !name.is_empty()).unwrap_or_else(|| wire.name.clone());
            DiscoveryType::Eds { service_name }
        }
        WireDiscoveryType::OriginalDst => DiscoveryType::OriginalDestination,
        WireDiscoveryType::Static | WireDiscoveryType::StrictDns | WireDiscoveryType::LogicalDns => {
            let assignment = wire.load_assignment.clone().unwrap_or_default();
            DiscoveryType::Inline(endpoint::decode(assignment).into())
        }
    }
}

fn upstream_port_override(wire: &Wire) -> Option<u16> {
    let Some(LbConfig::OriginalDstLbConfig(config)) = &wire.lb_config else { return None };
    u16::try_from(config.upstream_port_override?.value).ok()
}

fn http_options(wire: &Wire) -> Result<HttpProtocolOptions, prost::DecodeError> {
    wire.typed_extension_protocol_options
        .get(HTTP_OPTIONS)
        .map_or_else(|| Ok(HttpProtocolOptions::default()), any::unpack)
}

fn http(options: &HttpProtocolOptions) -> UpstreamHttpProtocol {
    match &options.upstream_protocol_options {
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(_)) => UpstreamHttpProtocol::Detected,
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(config)) => match config.protocol_config {
            Some(ProtocolConfig::Http2ProtocolOptions(_)) => UpstreamHttpProtocol::Http2,
            _ => UpstreamHttpProtocol::Http1,
        },
        None => UpstreamHttpProtocol::Http1,
    }
}

/// Reads `metadata.filter_metadata.istio.external`, which is true for a MESH_EXTERNAL service.
fn is_external(metadata: Option<&Metadata>) -> bool {
    matches!(istio(metadata, "external"), Some(Kind::BoolValue(true)))
}

/// Returns whether `metadata.filter_metadata.istio.alpn_override` exists, which istiod sets only for TLS modes SIMPLE
/// and MUTUAL (istio `pilot/pkg/networking/util/util.go`, `AddALPNOverrideToMetadata`).
fn originates_tls(metadata: Option<&Metadata>) -> bool {
    istio(metadata, "alpn_override").is_some()
}

/// Reads `metadata.filter_metadata.istio.services[].host`.
fn service_hosts(metadata: Option<&Metadata>) -> Vec<String> {
    let Some(Kind::ListValue(services)) = istio(metadata, "services") else { return Vec::new() };
    let host = |service: &Value| match &service.kind {
        Some(Kind::StructValue(service)) => match service.fields.get("host")?.kind.as_ref()? {
            Kind::StringValue(host) => Some(host.to_ascii_lowercase()),
            _ => None,
        },
        _ => None,
    };
    services.values.iter().filter_map(host).collect()
}

/// Reads `metadata.filter_metadata.istio.config` (istio `pilot/pkg/networking/util/util.go`, `AddConfigInfoMetadata`).
fn config(metadata: Option<&Metadata>) -> Option<String> {
    match istio(metadata, "config")? {
        Kind::StringValue(path) => Some(path.clone()),
        _ => None,
    }
}

fn istio<'a>(metadata: Option<&'a Metadata>, key: &str) -> Option<&'a Kind> {
    metadata?.filter_metadata.get("istio")?.fields.get(key)?.kind.as_ref()
}

fn transport_match(wire: &TransportSocketMatch) -> Result<TransportMatch, prost::DecodeError> {
    Ok(TransportMatch {
        name: wire.name.clone(),
        criteria: wire.r#match.as_ref().map(texts).unwrap_or_default(),
        transport_socket: transport_socket(wire.transport_socket.as_ref())?,
    })
}

pub(super) fn transport_socket(wire: Option<&WireSocket>) -> Result<TransportSocket, prost::DecodeError> {
    let Some(wire) = wire else {
        return Ok(TransportSocket::Absent);
    };
    let Some(config) = &wire.typed_config else {
        let plaintext = wire.name == "envoy.transport_sockets.raw_buffer";
        let type_url = wire.name.clone();
        return Ok(if plaintext {
            TransportSocket::Plaintext
        } else {
            TransportSocket::Unsupported { type_url }
        });
    };
    match config.type_url.as_str() {
        type_url::RAW_BUFFER => Ok(TransportSocket::Plaintext),
        type_url::UPSTREAM_TLS_CONTEXT => tls(config),
        type_url::PROXY_PROTOCOL => {
            let around: ProxyProtocolUpstreamTransport = any::unpack(config)?;
            // Nested PROXY protocol is refused: each level is decoded separately, so the recursion limit of prost does
            // not limit the depth.
            if around.transport_socket.as_ref().is_some_and(is_proxy_protocol) {
                let field =
                    "ProxyProtocolUpstreamTransport.transport_socket (another PROXY protocol)".to_owned();
                return Ok(TransportSocket::UnsupportedField { field });
            }
            let version = match around.config.unwrap_or_default().version() {
                Version::V1 => ProxyProtocol::V1,
                Version::V2 => ProxyProtocol::V2,
            };
            let inner = transport_socket(around.transport_socket.as_ref())?;
            Ok(TransportSocket::ProxyProtocol { version, inner: Box::new(inner) })
        }
        other => Ok(TransportSocket::Unsupported { type_url: other.to_owned() }),
    }
}

fn is_proxy_protocol(wire: &WireSocket) -> bool {
    wire.typed_config.as_ref().is_some_and(|config| config.type_url == type_url::PROXY_PROTOCOL)
}

/// Returns whether this client evaluates all fields of a TLS context that could restrict which peers are accepted.
pub(super) fn is_supported(context: &Any) -> bool {
    matches!(strict::UPSTREAM_TLS_CONTEXT.unsupported_field(&context.value), Ok(None))
}

fn tls(config: &Any) -> Result<TransportSocket, prost::DecodeError> {
    let context: UpstreamTlsContext = any::unpack(config)?;
    let unsupported = strict::UPSTREAM_TLS_CONTEXT.unsupported_field(&config.value)?;
    Ok(match unsupported.map_or_else(|| tls_context(context), Err) {
        Ok(context) => TransportSocket::Tls(context),
        Err(field) => TransportSocket::UnsupportedField { field },
    })
}

/// Converts a TLS context. If a field has a value that this client does not support, returns the name of the field and
/// the reason.
fn tls_context(wire: UpstreamTlsContext) -> Result<TlsContext, String> {
    let common = wire.common_tls_context.unwrap_or_default();
    let (validation, roots) = validation(&common);
    // istiod sets `match_subject_alt_names` (istio `cluster_tls.go`), not `match_typed_subject_alt_names`.
    let names = validation.map(|validation| &validation.match_subject_alt_names[..]).unwrap_or_default();
    let subject_alt_names = names.iter().map(san_matcher).collect::<Result<_, _>>();
    let versions = common.tls_params.unwrap_or_default();
    let certificate = match &common.tls_certificate_sds_secret_configs[..] {
        [] => ClientCertificate::None,
        [secret] if secret.name == "default" => ClientCertificate::Workload,
        [secret] => ClientCertificate::Named(secret.name.clone()),
        _ => return Err("tls_certificate_sds_secret_configs (more than one)".to_owned()),
    };
    Ok(TlsContext {
        minimum_version: tls_version(versions.tls_minimum_protocol_version()),
        maximum_version: tls_version(versions.tls_maximum_protocol_version()),
        sni: Some(wire.sni).filter(|sni| !sni.is_empty()),
        subject_alt_names: subject_alt_names.map_err(|why| format!("match_subject_alt_names ({why})"))?,
        certificate,
        roots: match roots {
            None => ValidationContext::None,
            Some(secret) if secret.name == "ROOTCA" => ValidationContext::Mesh,
            Some(secret) => ValidationContext::Named(secret.name.clone()),
        },
        alpn_protocols: common.alpn_protocols,
    })
}

fn tls_version(wire: TlsProtocol) -> Option<TlsVersion> {
    match wire {
        TlsProtocol::TlsAuto => None,
        TlsProtocol::TlSv10 => Some(TlsVersion::V1_0),
        TlsProtocol::TlSv11 => Some(TlsVersion::V1_1),
        TlsProtocol::TlSv12 => Some(TlsVersion::V1_2),
        TlsProtocol::TlSv13 => Some(TlsVersion::V1_3),
    }
}

fn validation(
    common: &CommonTlsContext,
) -> (Option<&CertificateValidationContext>, Option<&SdsSecretConfig>) {
    match &common.validation_context_type {
        Some(ValidationContextType::CombinedValidationContext(combined)) => (
            combined.default_validation_context.as_ref(),
            combined.validation_context_sds_secret_config.as_ref(),
        ),
        Some(ValidationContextType::ValidationContext(context)) => (Some(context), None),
        Some(ValidationContextType::ValidationContextSdsSecretConfig(secret)) => (None, Some(secret)),
        None => (None, None),
    }
}

/// Converts a matcher for the names of the peer. An empty matcher, or one that matches every name, is an error: it
/// would accept every peer.
fn san_matcher(wire: &StringMatcher) -> Result<SanMatcher, &'static str> {
    let matcher = match wire.match_pattern.clone().ok_or("a matcher without a pattern")? {
        MatchPattern::Contains(text) => SanMatcher::Contains(text),
        MatchPattern::Exact(text) => SanMatcher::Exact(text),
        MatchPattern::Prefix(text) => SanMatcher::Prefix(text),
        MatchPattern::SafeRegex(regex) => SanMatcher::regex(regex.regex),
        MatchPattern::Suffix(text) => SanMatcher::Suffix(text),
    };
    if matcher.matches_every_name() {
        return Err("a matcher that matches every name");
    }
    Ok(if wire.ignore_case { matcher.ignoring_case() } else { matcher })
}

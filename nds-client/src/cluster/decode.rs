//! From the wire's `Cluster` to ours.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use xds_proto::{
    any,
    envoy::{
        config::{
            cluster::v3::{
                Cluster as Wire,
                cluster::{ClusterDiscoveryType, DiscoveryType, TransportSocketMatch},
            },
            core::v3::{Metadata, TransportSocket as WireSocket},
        },
        extensions::{
            transport_sockets::tls::v3::{
                CertificateValidationContext, CommonTlsContext, SdsSecretConfig, UpstreamTlsContext,
                common_tls_context::ValidationContextType,
            },
            upstreams::http::v3::{
                HttpProtocolOptions,
                http_protocol_options::{UpstreamProtocolOptions, explicit_http_config::ProtocolConfig},
            },
        },
        r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
    },
    google::protobuf::{Struct, Value, value::Kind},
    type_url,
};

use super::{
    Certificate, Cluster, ClusterName, Discovery, Http, Roots, SanMatcher, TlsContext, TransportMatch,
    TransportSocket,
};
use crate::{InvalidResource, endpoint};

/// Envoy's own default, where a cluster says nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Cluster {
    /// Reads an `envoy.config.cluster.v3.Cluster` message. `None` for one that is no way to a service: inbound
    /// clusters and istiod's `BlackHoleCluster`, `PassthroughCluster`, `InboundPassthroughCluster`.
    ///
    /// # Errors
    ///
    /// The bytes, or a message inside them, are not what they claim to be.
    pub fn decode(wire: Bytes) -> Result<Option<Self>, InvalidResource> {
        Ok(decode(Wire::decode(wire)?)?)
    }
}

fn decode(wire: Wire) -> Result<Option<Cluster>, prost::DecodeError> {
    // Inbound clusters and BlackHoleCluster, PassthroughCluster, InboundPassthroughCluster are no way to a service.
    let Ok(name) = wire.name.parse::<ClusterName>() else {
        return Ok(None);
    };
    Ok(Some(Cluster {
        discovery: discovery(&wire),
        connect_timeout: wire
            .connect_timeout
            .and_then(|timeout| {
                let seconds = u64::try_from(timeout.seconds).ok()?;
                Some(Duration::new(seconds, u32::try_from(timeout.nanos).ok()?))
            })
            .unwrap_or(CONNECT_TIMEOUT),
        transport_socket_matches: wire
            .transport_socket_matches
            .iter()
            .map(transport_match)
            .collect::<Result<_, _>>()?,
        transport_socket: transport_socket(wire.transport_socket.as_ref())?,
        http: http(&wire)?,
        external: is_external(wire.metadata.as_ref()),
        tls_origination: originates_tls(wire.metadata.as_ref()),
        name: ClusterName { host: name.host.to_ascii_lowercase(), ..name },
    }))
}

fn discovery(wire: &Wire) -> Discovery {
    let kind = match wire.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => {
            DiscoveryType::try_from(kind).unwrap_or(DiscoveryType::Static)
        }
        _ => DiscoveryType::Static,
    };
    match kind {
        DiscoveryType::Eds => {
            let named = wire.eds_cluster_config.as_ref().map(|config| config.service_name.clone());
            let service_name = named.filter(|name| !name.is_empty()).unwrap_or_else(|| wire.name.clone());
            Discovery::Eds { service_name }
        }
        DiscoveryType::OriginalDst => Discovery::OriginalDestination,
        DiscoveryType::Static | DiscoveryType::StrictDns | DiscoveryType::LogicalDns => {
            let assignment = wire.load_assignment.clone().unwrap_or_default();
            Discovery::Inline(endpoint::decode(assignment).into())
        }
    }
}

fn http(wire: &Wire) -> Result<Http, prost::DecodeError> {
    let key = type_url::HTTP_PROTOCOL_OPTIONS.trim_start_matches("type.googleapis.com/");
    let Some(options) = wire.typed_extension_protocol_options.get(key) else {
        return Ok(Http::Http1);
    };
    let options: HttpProtocolOptions = any::unpack(options)?;
    Ok(match options.upstream_protocol_options {
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(_)) => Http::Detected,
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(config)) => match config.protocol_config {
            Some(ProtocolConfig::Http2ProtocolOptions(_)) => Http::Http2,
            _ => Http::Http1,
        },
        None => Http::Http1,
    })
}

/// `metadata.filter_metadata.istio.external: true` marks a MESH_EXTERNAL service.
fn is_external(metadata: Option<&Metadata>) -> bool {
    matches!(istio(metadata, "external"), Some(Kind::BoolValue(true)))
}

/// `metadata.filter_metadata.istio.alpn_override` is there for tls modes SIMPLE and MUTUAL alone (istio
/// `pilot/pkg/networking/util/util.go`, `AddALPNOverrideToMetadata`).
fn originates_tls(metadata: Option<&Metadata>) -> bool {
    istio(metadata, "alpn_override").is_some()
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

/// The fields of a struct as texts.
pub(crate) fn texts(wire: &Struct) -> BTreeMap<String, String> {
    let text = |value: &Value| match &value.kind {
        Some(Kind::StringValue(text)) => text.clone(),
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::NumberValue(value)) => value.to_string(),
        // A criterion that no endpoint of Istio's can satisfy.
        _ => "\0".to_owned(),
    };
    wire.fields.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}

fn transport_socket(wire: Option<&WireSocket>) -> Result<TransportSocket, prost::DecodeError> {
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
        type_url::UPSTREAM_TLS_CONTEXT => Ok(TransportSocket::Tls(tls_context(any::unpack(config)?))),
        other => Ok(TransportSocket::Unsupported { type_url: other.to_owned() }),
    }
}

fn tls_context(wire: UpstreamTlsContext) -> TlsContext {
    let common = wire.common_tls_context.unwrap_or_default();
    let (validation, roots) = validation(&common);
    // The untyped field is the one that istiod fills (istio `cluster_tls.go`); the typed one stays empty.
    let names = validation.map(|validation| &validation.match_subject_alt_names[..]).unwrap_or_default();
    TlsContext {
        sni: Some(wire.sni).filter(|sni| !sni.is_empty()),
        subject_alt_names: names.iter().map(san_matcher).collect(),
        certificate: match common.tls_certificate_sds_secret_configs.first() {
            None => Certificate::None,
            Some(secret) if secret.name == "default" => Certificate::Workload,
            Some(secret) => Certificate::Named(secret.name.clone()),
        },
        roots: match roots {
            None => Roots::None,
            Some(secret) if secret.name == "ROOTCA" => Roots::Mesh,
            Some(secret) => Roots::Named(secret.name.clone()),
        },
        alpn_protocols: common.alpn_protocols,
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

fn san_matcher(wire: &StringMatcher) -> SanMatcher {
    match wire.match_pattern.clone() {
        _ if wire.ignore_case => SanMatcher::Unsupported("ignore_case".into()),
        Some(MatchPattern::Contains(text)) => SanMatcher::Contains(text),
        Some(MatchPattern::Exact(text)) => SanMatcher::Exact(text),
        Some(MatchPattern::Prefix(text)) => SanMatcher::Prefix(text),
        Some(MatchPattern::SafeRegex(regex)) => SanMatcher::Unsupported(regex.regex),
        Some(MatchPattern::Suffix(text)) => SanMatcher::Suffix(text),
        None => SanMatcher::Unsupported(String::new()),
    }
}

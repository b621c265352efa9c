//! The transport sockets of an xDS cluster (istio `cluster_tls.go`).

use xds_proto::any;
use xds_proto::envoy::config::cluster::v3::Cluster;
use xds_proto::envoy::config::cluster::v3::cluster::TransportSocketMatch;
use xds_proto::envoy::config::core::v3::{
    ProxyProtocolConfig, TransportSocket, proxy_protocol_config::Version,
};
use xds_proto::envoy::extensions::transport_sockets::internal_upstream::v3::InternalUpstreamTransport;
use xds_proto::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use xds_proto::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use xds_proto::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use xds_proto::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SdsSecretConfig, TlsParameters, UpstreamTlsContext,
};
use xds_proto::envoy::r#type::matcher::v3::StringMatcher;
use xds_proto::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use xds_proto::google::protobuf::{Any, Struct};
use xds_proto::type_url;

use super::http_options::HttpOptions;
use super::structs::{fields, string};
use crate::model::endpoint::TLS_MODE_ISTIO;
use crate::yaml::destination_rule::{ClientTls, ProxyProtocol, ProxyProtocolVersion, TlsMode};

/// The parameters of mutual TLS within the mesh.
#[derive(Debug)]
pub(super) struct InMesh {
    pub(super) sni: String,
    pub(super) identities: Vec<String>,
    pub(super) metadata_exchange: bool,
}

impl InMesh {
    /// Returns the transport socket for mesh mTLS. It uses the certificate and roots of the proxy, and the deprecated
    /// field 9, `match_subject_alt_names`, for the expected identities (istio `cluster_tls.go`).
    pub(super) fn socket(&self, http: HttpOptions) -> TransportSocket {
        let mut alpn_protocols = Vec::new();
        if self.metadata_exchange {
            alpn_protocols.push("istio-peer-exchange".to_owned());
        }
        alpn_protocols.push("istio".to_owned());
        if http.is_http2() {
            alpn_protocols.push("h2".to_owned());
        }
        socket(UpstreamTlsContext {
            common_tls_context: Some(CommonTlsContext {
                tls_params: Some(VERSIONS),
                alpn_protocols,
                tls_certificate_sds_secret_configs: vec![secret("default")],
                validation_context_type: Some(validation("ROOTCA", &self.identities)),
            }),
            sni: self.sni.clone(),
        })
    }
}

/// Returns a TLS transport socket that uses files of the client (TLS modes `SIMPLE` and `MUTUAL`).
pub(super) fn from_files(tls: &ClientTls, identities: &[String], http: HttpOptions) -> TransportSocket {
    let mut certificates = Vec::new();
    if !tls.client_certificate.is_empty() {
        let name = format!("file-cert:{}~{}", tls.client_certificate, tls.private_key);
        certificates.push(secret(&name));
    }
    let roots = if tls.ca_certificates.is_empty() { "system" } else { &tls.ca_certificates };
    let validation = if tls.insecure_skip_verify {
        ValidationContextType::ValidationContext(CertificateValidationContext::default())
    } else {
        validation(&format!("file-root:{roots}"), identities)
    };
    socket(UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(VERSIONS),
            alpn_protocols: if http.is_http2() { vec!["h2".to_owned()] } else { Vec::new() },
            tls_certificate_sds_secret_configs: certificates,
            validation_context_type: Some(validation),
        }),
        sni: tls.sni.clone(),
    })
}

/// Returns the two transport socket matches of auto mTLS, in the order in which they are tried: mTLS for endpoints with
/// the TLS mode `istio`, and plaintext for all others.
pub(super) fn matches(tls: TransportSocket) -> Vec<TransportSocketMatch> {
    vec![
        TransportSocketMatch {
            name: "tlsMode-istio".to_owned(),
            r#match: Some(fields([("tlsMode", string(TLS_MODE_ISTIO))])),
            transport_socket: Some(tls),
        },
        plaintext_match(),
    ]
}

fn plaintext_match() -> TransportSocketMatch {
    TransportSocketMatch {
        name: "tlsMode-disabled".to_owned(),
        r#match: Some(Struct::default()),
        transport_socket: Some(raw_buffer()),
    }
}

/// Adds the transport socket of HBONE tunnels to a cluster (istio `cluster_tls.go`, `applyHBONETransportSocketMatches`).
pub(super) fn add_hbone(cluster: &mut Cluster, tls: Option<TlsMode>, is_original_dst: bool, is_auto: bool) {
    if is_original_dst && (tls.is_some() || is_auto) {
        return;
    }
    let mut inner = raw_buffer();
    if cluster.transport_socket_matches.is_empty() {
        let rest = match cluster.transport_socket.take() {
            None => plaintext_match(),
            Some(socket) => {
                let name = match tls {
                    Some(TlsMode::IstioMutual) => "tlsMode-istio",
                    _ => {
                        inner = socket.clone();
                        "user"
                    }
                };
                TransportSocketMatch { name: name.to_owned(), r#match: None, transport_socket: Some(socket) }
            }
        };
        cluster.transport_socket_matches.push(rest);
    }
    let socket = InternalUpstreamTransport { transport_socket: Some(inner) };
    let hbone = TransportSocketMatch {
        name: "hbone".to_owned(),
        r#match: Some(fields([("tunnel", string("http"))])),
        transport_socket: Some(TransportSocket {
            name: "envoy.transport_sockets.internal_upstream".to_owned(),
            typed_config: Some(any::pack(type_url::INTERNAL_UPSTREAM, &socket)),
        }),
    };
    cluster.transport_socket_matches.insert(0, hbone);
}

/// Wraps every transport socket of the cluster in PROXY protocol.
pub(super) fn wrap(cluster: &mut Cluster, proxy_protocol: ProxyProtocol) {
    let wrapped = |inner: Option<TransportSocket>| {
        let version = match proxy_protocol.version {
            ProxyProtocolVersion::V1 => Version::V1,
            ProxyProtocolVersion::V2 => Version::V2,
        };
        let config = Some(ProxyProtocolConfig { version: version.into() });
        let value = ProxyProtocolUpstreamTransport { config, transport_socket: inner };
        let name = "envoy.transport_sockets.upstream_proxy_protocol".to_owned();
        Some(TransportSocket { name, typed_config: Some(any::pack(type_url::PROXY_PROTOCOL, &value)) })
    };
    if cluster.transport_socket.is_none() && cluster.transport_socket_matches.is_empty() {
        // Only in this case, istiod writes the name `raw_buffer` without a prefix.
        let plain = TransportSocket { name: "raw_buffer".to_owned(), ..raw_buffer() };
        cluster.transport_socket = wrapped(Some(plain));
        return;
    }
    if let Some(inner) = cluster.transport_socket.take() {
        cluster.transport_socket = wrapped(Some(inner));
    }
    for matched in &mut cluster.transport_socket_matches {
        matched.transport_socket = wrapped(matched.transport_socket.take());
    }
}

const VERSIONS: TlsParameters = TlsParameters {
    tls_minimum_protocol_version: TlsProtocol::TlSv12 as i32,
    tls_maximum_protocol_version: TlsProtocol::TlSv13 as i32,
};

fn socket(context: UpstreamTlsContext) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        typed_config: Some(any::pack(type_url::UPSTREAM_TLS_CONTEXT, &context)),
    }
}

fn validation(roots: &str, identities: &[String]) -> ValidationContextType {
    let matchers = identities.iter().map(|identity| StringMatcher {
        match_pattern: Some(MatchPattern::Exact(identity.clone())),
        ignore_case: false,
    });
    let context = CertificateValidationContext { match_subject_alt_names: matchers.collect() };
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(context),
        validation_context_sds_secret_config: Some(secret(roots)),
    })
}

fn raw_buffer() -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.raw_buffer".to_owned(),
        typed_config: Some(Any { type_url: type_url::RAW_BUFFER.to_owned(), ..Any::default() }),
    }
}

fn secret(name: &str) -> SdsSecretConfig {
    SdsSecretConfig { name: name.to_owned() }
}

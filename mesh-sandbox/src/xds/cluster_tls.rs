//! The transport sockets of a cluster: auto mTLS (istio `cluster_tls.go`; facts E.2, E.5, E.6).

use xds_proto::any;
use xds_proto::envoy::config::cluster::v3::cluster::TransportSocketMatch;
use xds_proto::envoy::config::core::v3::TransportSocket;
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

use super::name;
use super::structs::{fields, string};
use crate::model::endpoint::TLS_MODE_ISTIO;
use crate::model::{Port, Service};

/// The TLS socket for a service port.
pub(crate) fn tls(service: &Service, port: &Port, metadata_exchange: bool) -> TransportSocket {
    let mut alpn_protocols = Vec::new();
    if metadata_exchange {
        alpn_protocols.push("istio-peer-exchange".to_owned());
    }
    alpn_protocols.push("istio".to_owned());
    if port.protocol.is_http2() {
        alpn_protocols.push("h2".to_owned());
    }
    let matchers = service.identities().into_iter().map(|identity| StringMatcher {
        match_pattern: Some(MatchPattern::Exact(identity)),
        ignore_case: false,
    });
    // The SAN list stands in the untyped field 9 (trap 6); certificate and roots are the proxy's own.
    let validation = CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext {
            match_subject_alt_names: matchers.collect(),
        }),
        validation_context_sds_secret_config: Some(secret("ROOTCA")),
    };
    let context = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(TlsParameters {
                tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
                tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
            }),
            alpn_protocols,
            tls_certificate_sds_secret_configs: vec![secret("default")],
            validation_context_type: Some(ValidationContextType::CombinedValidationContext(validation)),
        }),
        sni: name::sni(port.number, &service.host),
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        typed_config: Some(any::pack(type_url::UPSTREAM_TLS_CONTEXT, &context)),
    }
}

/// The two matches of auto mTLS, in the order in which they are tried.
pub(crate) fn matches(tls: TransportSocket) -> Vec<TransportSocketMatch> {
    vec![
        TransportSocketMatch {
            name: "tlsMode-istio".to_owned(),
            r#match: Some(fields([("tlsMode", string(TLS_MODE_ISTIO))])),
            transport_socket: Some(tls),
        },
        TransportSocketMatch {
            name: "tlsMode-disabled".to_owned(),
            r#match: Some(Struct::default()),
            transport_socket: Some(raw_buffer()),
        },
    ]
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

//! Transport sockets as fields.

use xds_proto::{
    any,
    envoy::{
        config::core::v3::TransportSocket,
        extensions::transport_sockets::{
            internal_upstream::v3::InternalUpstreamTransport,
            proxy_protocol::v3::ProxyProtocolUpstreamTransport,
            tls::v3::{
                CertificateValidationContext, CommonTlsContext, UpstreamTlsContext,
                common_tls_context::ValidationContextType,
            },
        },
    },
    type_url,
};

use super::Fields;

/// Returns the fields of the socket and of the sockets inside it.
pub(crate) fn fields(socket: &TransportSocket) -> Fields {
    let mut fields = Fields::default();
    fields.set("socket", &socket.name);
    let Some(config) = &socket.typed_config else { return fields };
    match config.type_url.as_str() {
        type_url::UPSTREAM_TLS_CONTEXT => tls(&any::unpack(config).expect("a TLS context"), &mut fields),
        type_url::RAW_BUFFER => fields.set("bytes of plaintext settings", config.value.len().to_string()),
        type_url::PROXY_PROTOCOL => {
            let proxy: ProxyProtocolUpstreamTransport = any::unpack(config).expect("a PROXY protocol socket");
            let version = proxy.config.unwrap_or_default().version;
            fields.set("PROXY protocol version", version.to_string());
            if let Some(inner) = &proxy.transport_socket {
                fields.nest("inside", self::fields(inner));
            }
        }
        type_url::INTERNAL_UPSTREAM => {
            let internal: InternalUpstreamTransport =
                any::unpack(config).expect("an internal upstream socket");
            if let Some(inner) = &internal.transport_socket {
                fields.nest("inside", self::fields(inner));
            }
        }
        other => fields.set("type", other),
    }
    fields
}

fn tls(context: &UpstreamTlsContext, fields: &mut Fields) {
    fields.set("SNI", &context.sni);
    let Some(common) = &context.common_tls_context else { return };
    fields.set("ALPN", common.alpn_protocols.join(" "));
    if let Some(params) = &common.tls_params {
        fields.set("lowest TLS", params.tls_minimum_protocol_version().as_str_name());
        fields.set("highest TLS", params.tls_maximum_protocol_version().as_str_name());
    }
    let secrets = common.tls_certificate_sds_secret_configs.iter().map(|it| it.name.as_str());
    fields.set("certificates", secrets.collect::<Vec<_>>().join(" "));
    validation(common, fields);
}

fn validation(common: &CommonTlsContext, fields: &mut Fields) {
    match &common.validation_context_type {
        None => fields.set("roots", "none"),
        Some(ValidationContextType::ValidationContext(context)) => {
            fields.set("roots", "inline");
            identities(context, fields);
        }
        Some(ValidationContextType::ValidationContextSdsSecretConfig(secret)) => {
            fields.set("roots", format!("by SDS alone: {}", secret.name));
        }
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            if let Some(secret) = &combined.validation_context_sds_secret_config {
                fields.set("roots", &secret.name);
            }
            if let Some(context) = &combined.default_validation_context {
                identities(context, fields);
            }
        }
    }
}

fn identities(context: &CertificateValidationContext, fields: &mut Fields) {
    let mut names: Vec<_> =
        context.match_subject_alt_names.iter().map(|it| format!("{:?}", it.match_pattern)).collect();
    names.sort();
    fields.set("identities", names.join(" "));
}

//! Fields of TLS messages that Sidestep does not evaluate.
//!
//! prost drops the fields that the `.proto` files here omit. Most of them do not matter to a client, but some restrict
//! which peers it may accept: pinned keys, revocation lists, matchers of a type. A message with such a field must not be
//! used as if the field were absent. [`Schema::unsupported_field`] finds them in the encoded message. Field numbers and
//! names are those of Envoy's `api/envoy/extensions/transport_sockets/tls/v3/tls.proto` and `common.proto`, and of
//! `api/envoy/type/matcher/v3/string.proto`.

use bytes::Buf;
use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

/// The fields of a message that may be present.
#[derive(Debug)]
pub struct Schema {
    name: &'static str,
    fields: &'static [(u32, &'static str, Kind)],
}

/// What happens to a field. A number that is not listed is unsupported.
#[derive(Debug)]
enum Kind {
    /// Sidestep reads the field, or the field does not change which peers are accepted.
    Supported,
    /// Sidestep reads the field, which is a message.
    Message(&'static Schema),
    /// Sidestep does not evaluate the field. It is listed for its name.
    Unsupported,
}

/// `UpstreamTlsContext`.
pub static UPSTREAM_TLS_CONTEXT: Schema = Schema {
    name: "UpstreamTlsContext",
    fields: &[
        (1, "common_tls_context", Kind::Message(&COMMON_TLS_CONTEXT)),
        (2, "sni", Kind::Supported),
        // A permission, which rustls never uses.
        (3, "allow_renegotiation", Kind::Supported),
        // The size of the session cache.
        (4, "max_session_keys", Kind::Supported),
        (5, "enforce_rsa_key_usage", Kind::Unsupported),
        (6, "auto_host_sni", Kind::Unsupported),
        (7, "auto_sni_san_validation", Kind::Unsupported),
    ],
};

static COMMON_TLS_CONTEXT: Schema = Schema {
    name: "CommonTlsContext",
    fields: &[
        (1, "tls_params", Kind::Message(&TLS_PARAMETERS)),
        (2, "tls_certificates", Kind::Unsupported),
        (3, "validation_context", Kind::Message(&VALIDATION_CONTEXT)),
        (4, "alpn_protocols", Kind::Supported),
        (6, "tls_certificate_sds_secret_configs", Kind::Message(&SDS_SECRET_CONFIG)),
        (7, "validation_context_sds_secret_config", Kind::Message(&SDS_SECRET_CONFIG)),
        (8, "combined_validation_context", Kind::Message(&COMBINED_VALIDATION_CONTEXT)),
        (9, "tls_certificate_certificate_provider", Kind::Unsupported),
        (10, "validation_context_certificate_provider", Kind::Unsupported),
        (11, "tls_certificate_certificate_provider_instance", Kind::Unsupported),
        (12, "validation_context_certificate_provider_instance", Kind::Unsupported),
        (13, "custom_handshaker", Kind::Unsupported),
        (14, "tls_certificate_provider_instance", Kind::Unsupported),
        // A file for session keys, which Sidestep never writes.
        (15, "key_log", Kind::Supported),
        (16, "custom_tls_certificate_selector", Kind::Unsupported),
    ],
};

static TLS_PARAMETERS: Schema = Schema {
    name: "TlsParameters",
    fields: &[
        (1, "tls_minimum_protocol_version", Kind::Supported),
        (2, "tls_maximum_protocol_version", Kind::Supported),
        // istiod sets both if the mesh configures them (istio `pilot/pkg/networking/core/cluster_tls.go`,
        // `applyTLSDefaults`). The crypto provider of the program determines the algorithms; the server chooses among
        // them. They do not change which peers are accepted.
        (3, "cipher_suites", Kind::Supported),
        (4, "ecdh_curves", Kind::Supported),
        (5, "signature_algorithms", Kind::Unsupported),
        (6, "compliance_policies", Kind::Unsupported),
    ],
};

static SDS_SECRET_CONFIG: Schema = Schema {
    name: "SdsSecretConfig",
    fields: &[
        (1, "name", Kind::Supported),
        // The server of the secret. Sidestep finds a secret by its name.
        (2, "sds_config", Kind::Supported),
    ],
};

static COMBINED_VALIDATION_CONTEXT: Schema = Schema {
    name: "CombinedCertificateValidationContext",
    fields: &[
        (1, "default_validation_context", Kind::Message(&VALIDATION_CONTEXT)),
        (2, "validation_context_sds_secret_config", Kind::Message(&SDS_SECRET_CONFIG)),
        (3, "validation_context_certificate_provider", Kind::Unsupported),
        (4, "validation_context_certificate_provider_instance", Kind::Unsupported),
    ],
};

static VALIDATION_CONTEXT: Schema = Schema {
    name: "CertificateValidationContext",
    fields: &[
        (1, "trusted_ca", Kind::Unsupported),
        (2, "verify_certificate_hash", Kind::Unsupported),
        (3, "verify_certificate_spki", Kind::Unsupported),
        (6, "require_signed_certificate_timestamp", Kind::Unsupported),
        (7, "crl", Kind::Unsupported),
        (8, "allow_expired_certificate", Kind::Unsupported),
        (9, "match_subject_alt_names", Kind::Message(&STRING_MATCHER)),
        (10, "trust_chain_verification", Kind::Unsupported),
        (11, "watched_directory", Kind::Unsupported),
        (12, "custom_validator_config", Kind::Unsupported),
        (13, "ca_certificate_provider_instance", Kind::Unsupported),
        (14, "only_verify_leaf_cert_crl", Kind::Unsupported),
        (15, "match_typed_subject_alt_names", Kind::Unsupported),
        (16, "max_verify_depth", Kind::Unsupported),
        (17, "system_root_certs", Kind::Unsupported),
    ],
};

static STRING_MATCHER: Schema = Schema {
    name: "StringMatcher",
    fields: &[
        (1, "exact", Kind::Supported),
        (2, "prefix", Kind::Supported),
        (3, "suffix", Kind::Supported),
        (5, "safe_regex", Kind::Message(&REGEX_MATCHER)),
        (6, "ignore_case", Kind::Supported),
        (7, "contains", Kind::Supported),
        (8, "custom", Kind::Unsupported),
    ],
};

static REGEX_MATCHER: Schema = Schema {
    name: "RegexMatcher",
    fields: &[
        // The engine and its limits. RE2 is the only engine of Envoy.
        (1, "google_re2", Kind::Supported),
        (2, "regex", Kind::Supported),
    ],
};

impl Schema {
    /// Returns the path of the first field in the encoded message `wire`, or in a message inside it, that Sidestep does
    /// not evaluate: the name of the message and the names of the fields, separated by dots. An unknown field is
    /// `field N`. Returns `None` if there is no such field.
    ///
    /// The depth of the recursion is that of the schema, not that of the message.
    ///
    /// # Errors
    ///
    /// The bytes are not a valid message.
    pub fn unsupported_field(&self, wire: &[u8]) -> Result<Option<String>, DecodeError> {
        Ok(self.find(wire)?.map(|path| format!("{}.{path}", self.name)))
    }

    fn find(&self, mut wire: &[u8]) -> Result<Option<String>, DecodeError> {
        while wire.has_remaining() {
            let (number, wire_type) = decode_key(&mut wire)?;
            let Some((_, name, kind)) = self.fields.iter().find(|(known, ..)| *known == number) else {
                return Ok(Some(format!("field {number}")));
            };
            match kind {
                Kind::Unsupported => return Ok(Some((*name).to_owned())),
                Kind::Message(schema) if wire_type == WireType::LengthDelimited => {
                    let length = usize::try_from(decode_varint(&mut wire)?).unwrap_or(usize::MAX);
                    let Some((inner, rest)) = wire.split_at_checked(length) else {
                        return Ok(Some(format!("{name} (truncated)")));
                    };
                    if let Some(path) = schema.find(inner)? {
                        return Ok(Some(format!("{name}.{path}")));
                    }
                    wire = rest;
                }
                Kind::Message(_) | Kind::Supported => {
                    skip_field(wire_type, number, &mut wire, DecodeContext::default())?;
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::envoy::extensions::transport_sockets::tls::v3::{
        CertificateValidationContext, CommonTlsContext, SdsSecretConfig, TlsParameters, UpstreamTlsContext,
        common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
    };

    /// Encodes a length-delimited field.
    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        prost::encoding::encode_key(number.into(), WireType::LengthDelimited, &mut out);
        prost::encoding::encode_varint(value.len() as u64, &mut out);
        [out, value.to_vec()].concat()
    }

    fn found(wire: &[u8]) -> Option<String> {
        UPSTREAM_TLS_CONTEXT.unsupported_field(wire).unwrap()
    }

    #[test]
    fn a_context_of_istiod_has_no_unsupported_field() {
        let secret = |name: &str| SdsSecretConfig { name: name.into() };
        let context = UpstreamTlsContext {
            sni: "outbound_.3002_._.forecast.weather.svc.cluster.local".into(),
            common_tls_context: Some(CommonTlsContext {
                tls_params: Some(TlsParameters {
                    tls_minimum_protocol_version: 3,
                    tls_maximum_protocol_version: 4,
                }),
                alpn_protocols: vec!["istio".into()],
                tls_certificate_sds_secret_configs: vec![secret("default")],
                validation_context_type: Some(ValidationContextType::CombinedValidationContext(
                    CombinedCertificateValidationContext {
                        default_validation_context: Some(CertificateValidationContext::default()),
                        validation_context_sds_secret_config: Some(secret("ROOTCA")),
                    },
                )),
            }),
        };
        assert_eq!(found(&context.encode_to_vec()), None);
        // The mesh configures cipher suites and curves, and each secret has a server.
        let parameters = [field(3, b"ECDHE-ECDSA-AES256-GCM-SHA384"), field(4, b"P-256")].concat();
        let secret = [field(1, b"default"), field(2, b"\x1a\x00")].concat();
        let common = [field(1, &parameters), field(6, &secret)].concat();
        assert_eq!(found(&field(1, &common)), None);
    }

    #[test]
    fn each_field_that_restricts_trust_is_named() {
        for (number, name, kind) in VALIDATION_CONTEXT.fields {
            if !matches!(kind, Kind::Unsupported) {
                continue;
            }
            let context = field(u8::try_from(*number).unwrap(), b"");
            let path = format!("UpstreamTlsContext.common_tls_context.validation_context.{name}");
            assert_eq!(found(&field(1, &field(3, &context))), Some(path));
            let path = format!(
                "UpstreamTlsContext.common_tls_context.combined_validation_context.default_validation_context.{name}"
            );
            assert_eq!(found(&field(1, &field(8, &field(1, &context)))), Some(path));
        }
    }

    #[test]
    fn an_unknown_field_is_named_by_its_number() {
        let unknown = field(90, b"");
        let path =
            "UpstreamTlsContext.common_tls_context.validation_context.match_subject_alt_names.field 90";
        assert_eq!(found(&field(1, &field(3, &field(9, &unknown)))).as_deref(), Some(path));
        assert_eq!(found(&field(100, b"")).as_deref(), Some("UpstreamTlsContext.field 100"));
        // A number in any wire type.
        assert_eq!(found(&[0x78, 1]).as_deref(), Some("UpstreamTlsContext.field 15"));
    }

    #[test]
    fn a_later_occurrence_of_a_message_is_searched_too() {
        let restricted = field(1, &field(3, &field(7, b"")));
        let wire = [field(1, &field(4, b"istio")), restricted].concat();
        assert_eq!(
            found(&wire).as_deref(),
            Some("UpstreamTlsContext.common_tls_context.validation_context.crl")
        );
    }

    #[test]
    fn the_fields_that_prost_reads_are_in_the_schema() {
        let listed = |schema: &Schema, numbers: &[u32]| {
            numbers.iter().all(|number| schema.fields.iter().any(|(known, ..)| known == number))
        };
        assert!(listed(&UPSTREAM_TLS_CONTEXT, &[1, 2]) && listed(&COMMON_TLS_CONTEXT, &[1, 3, 4, 6, 7, 8]));
        assert!(listed(&STRING_MATCHER, &[1, 2, 3, 5, 6, 7]) && listed(&TLS_PARAMETERS, &[1, 2]));
    }
}

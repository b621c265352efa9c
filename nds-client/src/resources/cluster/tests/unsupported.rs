//! Transport sockets that this client must refuse, because it cannot evaluate a setting that restricts which peers are
//! accepted.

use xds_proto::{
    envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport,
    google::protobuf::Any, istio::networking::nds::v1::NameTable as Other,
};

use super::*;

const HOST: &str = "forecast.weather.svc.cluster.local";

fn of_socket(socket: WireSocket) -> Wire {
    Wire { transport_socket: Some(socket), transport_socket_matches: Vec::new(), ..auto_mtls() }
}

fn tls_of(context: Vec<u8>) -> Wire {
    let config = Any { type_url: type_url::UPSTREAM_TLS_CONTEXT.into(), value: context.into() };
    of_socket(WireSocket { name: "envoy.transport_sockets.tls".into(), typed_config: Some(config) })
}

/// Appends a field to the validation context of a TLS context. A message that occurs twice is merged.
fn with_validation_field(field: &[u8]) -> Wire {
    let put = |number: u8, value: &[u8]| {
        let mut out = Vec::new();
        crate::protobuf::put(&mut out, number, value);
        out
    };
    let config = mesh_tls().typed_config.unwrap().value;
    tls_of([&config[..], &put(1, &put(8, &put(1, field)))].concat())
}

fn with_matcher(matcher: StringMatcher) -> Wire {
    let context = CertificateValidationContext { match_subject_alt_names: vec![matcher] };
    let common = CommonTlsContext {
        validation_context_type: Some(ValidationContextType::ValidationContext(context)),
        ..CommonTlsContext::default()
    };
    tls_of(
        UpstreamTlsContext { common_tls_context: Some(common), ..UpstreamTlsContext::default() }
            .encode_to_vec(),
    )
}

/// Returns the transport socket after the cluster was stored in compact form, written to a snapshot and read again.
fn stored(wire: &Wire) -> TransportSocket {
    let read = |bytes: Vec<u8>| {
        let entry = Templates::default().read(bytes.into()).unwrap().unwrap();
        Clusters::default().changed(vec![entry], |_| true)
    };
    let first = read(wire.encode_to_vec());
    let again = read(first.entries().next().unwrap().to_wire().unwrap());
    again.get(HOST, 3002, "").unwrap().transport_socket.clone()
}

fn refused(wire: &Wire) -> String {
    let decoded = decode(wire).unwrap().transport_socket;
    assert_eq!(stored(wire), decoded, "the compact form and the snapshot refuse it too");
    match decoded {
        TransportSocket::UnsupportedField { field } => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_field_that_restricts_trust_and_is_not_supported_is_refused_by_its_name() {
    // The tag and length of an empty field.
    for (tag, name) in [
        (2 << 3 | 2, "verify_certificate_hash"),
        (3 << 3 | 2, "verify_certificate_spki"),
        (6 << 3 | 2, "require_signed_certificate_timestamp"),
        (7 << 3 | 2, "crl"),
        (12 << 3 | 2, "custom_validator_config"),
        (15 << 3 | 2, "match_typed_subject_alt_names"),
    ] {
        let field = refused(&with_validation_field(&[tag, 0]));
        assert!(field.ends_with(&format!("default_validation_context.{name}")), "{field}");
    }
    let max_verify_depth = refused(&with_validation_field(&[0x82, 0x01, 0x02, 8, 1]));
    assert!(max_verify_depth.ends_with(".max_verify_depth"), "{max_verify_depth}");
    let unknown = refused(&with_validation_field(&[0xa2, 0x06, 0x00]));
    assert!(unknown.ends_with("default_validation_context.field 100"), "{unknown}");
    let own = refused(&tls_of(vec![7 << 3, 1]));
    assert_eq!(own, "UpstreamTlsContext.auto_sni_san_validation");
}

#[test]
fn the_context_of_istiod_is_supported() {
    let TransportSocket::Tls(context) = stored(&of_socket(mesh_tls())) else { panic!("refused") };
    assert_eq!(context.subject_alt_names, [SanMatcher::Exact(ID.into())]);
}

#[test]
fn a_matcher_that_restricts_nothing_is_refused() {
    use xds_proto::envoy::r#type::matcher::v3::RegexMatcher;
    let all = [
        None,
        Some(MatchPattern::Prefix(String::new())),
        Some(MatchPattern::Suffix(String::new())),
        Some(MatchPattern::Contains(String::new())),
        Some(MatchPattern::SafeRegex(RegexMatcher { regex: ".*".into() })),
    ];
    for match_pattern in all {
        for ignore_case in [false, true] {
            let field =
                refused(&with_matcher(StringMatcher { match_pattern: match_pattern.clone(), ignore_case }));
            assert!(field.starts_with("match_subject_alt_names"), "{field}");
        }
    }
    let prefix = with_matcher(StringMatcher {
        match_pattern: Some(MatchPattern::Prefix("spiffe://cluster.local/ns/weather/".into())),
        ignore_case: false,
    });
    assert!(matches!(stored(&prefix), TransportSocket::Tls(_)));
}

#[test]
fn several_client_certificates_are_refused() {
    let secret = |name: &str| SdsSecretConfig { name: name.into() };
    let common = CommonTlsContext {
        tls_certificate_sds_secret_configs: vec![secret("default"), secret("file-cert:a~b")],
        ..CommonTlsContext::default()
    };
    let context = UpstreamTlsContext { common_tls_context: Some(common), ..UpstreamTlsContext::default() };
    assert!(refused(&tls_of(context.encode_to_vec())).contains("more than one"));
}

/// Returns `inside` in this number of PROXY protocol sockets.
fn nested(depth: usize, inside: WireSocket) -> WireSocket {
    (0..depth).fold(inside, |inner, _| WireSocket {
        name: "envoy.transport_sockets.upstream_proxy_protocol".into(),
        typed_config: Some(any::pack(
            type_url::PROXY_PROTOCOL,
            &ProxyProtocolUpstreamTransport { config: None, transport_socket: Some(inner) },
        )),
    })
}

#[test]
fn deeply_nested_transport_sockets_do_not_exhaust_the_stack() {
    let wire = of_socket(nested(3000, mesh_tls()));
    let small = std::thread::Builder::new().stack_size(512 * 1024);
    let field = small.spawn(move || refused(&wire)).unwrap().join().unwrap();
    assert!(field.starts_with("ProxyProtocolUpstreamTransport.transport_socket"), "{field}");
}

proptest! {
    #[test]
    fn only_one_level_of_nested_transport_sockets_is_supported(depth in 0usize..40, kind in 0usize..4) {
        let inside = match kind {
            0 => mesh_tls(),
            1 => WireSocket { name: "envoy.transport_sockets.raw_buffer".into(), typed_config: None },
            2 => WireSocket { name: "x".into(), typed_config: Some(any::pack("google.protobuf.Any", &Other::default())) },
            _ => tls_of(vec![7 << 3, 1]).transport_socket.unwrap(),
        };
        let socket = stored(&of_socket(nested(depth, inside.clone())));
        let inner = decode(&of_socket(inside)).unwrap().transport_socket;
        match (depth, socket) {
            (0, socket) => prop_assert_eq!(socket, inner),
            (1, TransportSocket::ProxyProtocol { inner: found, .. }) => prop_assert_eq!(*found, inner),
            (2.., TransportSocket::UnsupportedField { .. }) => {}
            (depth, other) => prop_assert!(false, "{depth} {other:?}"),
        }
    }
}

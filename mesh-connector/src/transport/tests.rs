use super::*;
use crate::testing::{auto_mtls, bare, endpoint, explicit_mtls, plaintext};

const NAME: &str = "outbound|3002||forecast.weather.svc.cluster.local";

fn with_sidecar() -> Endpoint {
    endpoint(([10, 0, 0, 1], 8080).into())
}

fn without_sidecar() -> Endpoint {
    let mut endpoint = with_sidecar();
    endpoint.transport_match.clear();
    endpoint
}

fn decision<'a>(
    cluster: &'a Cluster,
    endpoint: &Endpoint,
    mtls: Mtls,
) -> Result<TransportDecision<'a>, Error> {
    decide(cluster, endpoint, cluster.transport_socket_index(endpoint), mtls)
}

fn is_mutual(cluster: &Cluster, endpoint: &Endpoint, mtls: Mtls) -> bool {
    matches!(
        decision(cluster, endpoint, mtls),
        Ok(TransportDecision { security: TransportSecurity::Mutual(_), .. })
    )
}

fn is_plaintext(cluster: &Cluster, endpoint: &Endpoint) -> bool {
    matches!(
        decision(cluster, endpoint, Mtls::AsConfigured),
        Ok(TransportDecision { security: TransportSecurity::Plaintext, .. })
    )
}

fn refusal(cluster: &Cluster, endpoint: &Endpoint, mtls: Mtls) -> ErrorKind {
    let error = decision(cluster, endpoint, mtls).unwrap_err();
    assert!(error.to_string().contains(NAME), "{error}");
    error.kind()
}

#[test]
fn endpoints_with_a_sidecar_get_mutual_tls() {
    for mtls in [Mtls::AsConfigured, Mtls::Required] {
        assert!(is_mutual(&auto_mtls(NAME, &[]), &with_sidecar(), mtls));
        assert!(is_mutual(&explicit_mtls(NAME, &[]), &without_sidecar(), mtls));
    }
}

#[test]
fn plaintext_is_used_if_it_is_explicit() {
    assert!(is_plaintext(&auto_mtls(NAME, &[]), &without_sidecar()));
    assert!(is_plaintext(&plaintext(NAME), &without_sidecar()));
}

#[test]
fn plaintext_is_refused_if_mtls_is_required() {
    let mut external = bare(NAME);
    external.external = true;
    for cluster in [auto_mtls(NAME, &[]), plaintext(NAME), external] {
        assert_eq!(refusal(&cluster, &without_sidecar(), Mtls::Required), ErrorKind::PlaintextRefused);
    }
}

/// A DestinationRule with mode DISABLE.
#[test]
fn without_a_transport_socket_plaintext_is_used_unless_something_contradicts() {
    assert!(is_plaintext(&bare(NAME), &without_sidecar()));
    let mut external = bare(NAME);
    external.external = true;
    assert!(is_plaintext(&external, &without_sidecar()));
}

#[test]
fn without_a_transport_socket_an_endpoint_that_requires_mtls_is_refused() {
    assert_eq!(refusal(&bare(NAME), &with_sidecar(), Mtls::AsConfigured), ErrorKind::PlaintextRefused);
    let mut gateway = crate::testing::gateway(([10, 0, 0, 1], 15443).into());
    gateway.transport_match.clear();
    assert_eq!(refusal(&bare(NAME), &gateway, Mtls::AsConfigured), ErrorKind::PlaintextRefused);
    let mut external = bare(NAME);
    external.external = true;
    assert_eq!(refusal(&external, &with_sidecar(), Mtls::AsConfigured), ErrorKind::Unsupported);
}

/// A DestinationRule with mode SIMPLE and a credentialName. Only the metadata distinguishes it from DISABLE.
#[test]
fn tls_without_certificates_from_istiod_is_never_replaced_by_plaintext() {
    for external in [false, true] {
        let mut cluster = bare(NAME);
        (cluster.tls_origination, cluster.external) = (true, external);
        for endpoint in [with_sidecar(), without_sidecar()] {
            for mtls in [Mtls::AsConfigured, Mtls::Required] {
                assert_eq!(refusal(&cluster, &endpoint, mtls), ErrorKind::Unsupported);
            }
        }
    }
}

fn with_tls(certificate: Certificate, roots: Roots) -> Cluster {
    let mut context = TlsContext::default();
    (context.certificate, context.roots) = (certificate, roots);
    let mut cluster = bare(NAME);
    cluster.transport_socket = TransportSocket::Tls(context);
    cluster
}

/// A DestinationRule with mode SIMPLE or MUTUAL and files.
#[test]
fn tls_with_files_is_used_and_refused_if_mesh_mtls_is_required() {
    let system = Roots::Named("file-root:system".into());
    for (certificate, roots) in [
        (Certificate::None, system.clone()),
        (Certificate::Named("file-cert:a~b".into()), system),
        (Certificate::Named("file-cert:a~b".into()), Roots::Mesh),
    ] {
        let cluster = with_tls(certificate, roots);
        let decided = decision(&cluster, &without_sidecar(), Mtls::AsConfigured).unwrap();
        assert!(matches!(decided.security, TransportSecurity::Originated(_)), "{decided:?}");
        assert_eq!(refusal(&cluster, &without_sidecar(), Mtls::Required), ErrorKind::PlaintextRefused);
    }
}

#[test]
fn tls_without_verification_is_refused() {
    let cluster = with_tls(Certificate::Workload, Roots::None);
    let error = decision(&cluster, &with_sidecar(), Mtls::AsConfigured).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("insecureSkipVerify"), "{error}");
}

#[test]
fn a_proxy_protocol_header_precedes_any_transport() {
    let mut cluster = bare(NAME);
    let inner = Box::new(TransportSocket::Plaintext);
    cluster.transport_socket = TransportSocket::ProxyProtocol { version: ProxyProtocol::V2, inner };
    let decided = decision(&cluster, &without_sidecar(), Mtls::AsConfigured).unwrap();
    assert_eq!(decided.proxy_protocol, Some(ProxyProtocol::V2));
    assert!(matches!(decided.security, TransportSecurity::Plaintext));
    assert_eq!(refusal(&cluster, &without_sidecar(), Mtls::Required), ErrorKind::PlaintextRefused);
}

#[test]
fn a_transport_socket_with_an_unsupported_field_is_refused_and_the_field_is_named() {
    let mut cluster = bare(NAME);
    let field = "UpstreamTlsContext.common_tls_context.validation_context.crl";
    cluster.transport_socket = TransportSocket::UnsupportedField { field: field.into() };
    for mtls in [Mtls::AsConfigured, Mtls::Required] {
        let error = decision(&cluster, &with_sidecar(), mtls).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(field), "{error}");
    }
}

#[test]
fn an_unknown_transport_socket_is_refused_and_its_type_is_named() {
    let mut cluster = bare(NAME);
    cluster.transport_socket = TransportSocket::Unsupported { type_url: "x/ProxyProtocol".into() };
    assert_eq!(refusal(&cluster, &with_sidecar(), Mtls::AsConfigured), ErrorKind::Unsupported);
}

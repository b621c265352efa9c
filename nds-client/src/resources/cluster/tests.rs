mod compact;
mod policies;
mod unsupported;

use proptest::prelude::*;
use prost::Message as _;
use xds_proto::{
    any,
    envoy::{
        config::{
            cluster::v3::{
                Cluster as Wire,
                cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, TransportSocketMatch},
            },
            core::v3::{Metadata, TransportSocket as WireSocket},
        },
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, CommonTlsContext, SdsSecretConfig, UpstreamTlsContext,
            common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
        },
        r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
    },
    google::protobuf::{Duration as WireDuration, Struct, Value, value::Kind},
    type_url,
};

use super::*;

const FORECAST: &str = "outbound|3002||forecast.weather.svc.cluster.local";
const ID: &str = "spiffe://cluster.local/ns/weather/sa/forecast";

fn decode(wire: &Wire) -> Option<Cluster> {
    Cluster::decode(&wire.encode_to_vec()).unwrap()
}

fn mesh_tls() -> WireSocket {
    let secret = |name: &str| SdsSecretConfig { name: name.into() };
    let san = StringMatcher { match_pattern: Some(MatchPattern::Exact(ID.into())), ignore_case: false };
    let context = UpstreamTlsContext {
        sni: "outbound_.3002_._.forecast.weather.svc.cluster.local".into(),
        common_tls_context: Some(CommonTlsContext {
            alpn_protocols: vec!["istio-peer-exchange".into(), "istio".into()],
            tls_certificate_sds_secret_configs: vec![secret("default")],
            validation_context_type: Some(ValidationContextType::CombinedValidationContext(
                CombinedCertificateValidationContext {
                    default_validation_context: Some(CertificateValidationContext {
                        match_subject_alt_names: vec![san],
                    }),
                    validation_context_sds_secret_config: Some(secret("ROOTCA")),
                },
            )),
            ..CommonTlsContext::default()
        }),
    };
    WireSocket {
        name: "envoy.transport_sockets.tls".into(),
        typed_config: Some(any::pack(type_url::UPSTREAM_TLS_CONTEXT, &context)),
    }
}

/// Returns the cluster that istiod sends for a service with automatic mTLS.
fn auto_mtls() -> Wire {
    let tls_mode = Value { kind: Some(Kind::StringValue("istio".into())) };
    let plaintext = WireSocket { name: "envoy.transport_sockets.raw_buffer".into(), typed_config: None };
    Wire {
        name: FORECAST.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig { service_name: FORECAST.into() }),
        connect_timeout: Some(WireDuration { seconds: 10, nanos: 0 }),
        transport_socket_matches: vec![
            TransportSocketMatch {
                name: "tlsMode-istio".into(),
                r#match: Some(Struct { fields: [("tlsMode".to_owned(), tls_mode)].into() }),
                transport_socket: Some(mesh_tls()),
            },
            TransportSocketMatch {
                name: "tlsMode-disabled".into(),
                r#match: Some(Struct::default()),
                transport_socket: Some(plaintext),
            },
        ],
        ..Wire::default()
    }
}

#[test]
fn an_endpoint_selects_the_first_transport_socket_that_matches_its_metadata() {
    let cluster = decode(&auto_mtls()).unwrap();
    let meshed =
        Endpoint { transport_match: [("tlsMode".into(), "istio".into())].into(), ..Endpoint::default() };
    let TransportSocket::Tls(tls) = cluster.transport_socket_for(&meshed) else { panic!("no TLS") };
    assert_eq!(tls.sni.as_deref(), Some("outbound_.3002_._.forecast.weather.svc.cluster.local"));
    assert_eq!(tls.subject_alt_names, [SanMatcher::Exact(ID.into())]);
    assert_eq!((&tls.certificate, &tls.roots), (&ClientCertificate::Workload, &ValidationContext::Mesh));
    assert_eq!(cluster.transport_socket_for(&Endpoint::default()), &TransportSocket::Plaintext);
    assert_eq!(cluster.connect_timeout, Duration::from_secs(10));
    assert_eq!(cluster.eds_name().as_deref(), Some(FORECAST));
}

#[test]
fn an_absent_transport_socket_differs_from_explicit_plaintext() {
    let cluster = decode(&Wire { name: FORECAST.into(), ..Wire::default() }).unwrap();
    assert_eq!(cluster.transport_socket_for(&Endpoint::default()), &TransportSocket::Absent);
}

/// A DestinationRule with mode SIMPLE and a credentialName has no other effect on the cluster.
#[test]
fn tls_origination_is_read_from_the_metadata() {
    let says = Value { kind: Some(Kind::StringValue("false".into())) };
    let istio = Struct { fields: [("alpn_override".to_owned(), says)].into() };
    let metadata = Some(Metadata { filter_metadata: [("istio".to_owned(), istio)].into() });
    let wire = Wire { name: FORECAST.into(), metadata, ..Wire::default() };
    assert!(decode(&wire).unwrap().tls_origination);
    assert!(!decode(&auto_mtls()).unwrap().tls_origination);
}

#[test]
fn clusters_that_are_not_outbound_to_a_service_are_omitted() {
    for name in ["BlackHoleCluster", "PassthroughCluster", "InboundPassthroughCluster", "inbound|8080||"] {
        assert!(decode(&Wire { name: name.into(), ..Wire::default() }).is_none(), "{name}");
    }
}

#[test]
fn an_invalid_transport_socket_makes_the_cluster_invalid() {
    let mut socket = mesh_tls();
    socket.typed_config.as_mut().unwrap().value = vec![0xff].into();
    let wire = Wire { transport_socket: Some(socket), ..auto_mtls() };
    assert!(Cluster::decode(&wire.encode_to_vec()).is_err());
}

#[test]
fn clusters_are_found_by_host_port_and_subset() {
    let names = [
        FORECAST,
        "outbound|3002|v1|forecast.weather.svc.cluster.local",
        "outbound|80||forecast.weather.svc.cluster.local",
    ];
    let clusters: Clusters = names
        .iter()
        .map(|name| Arc::new(decode(&Wire { name: (*name).into(), ..Wire::default() }).unwrap()))
        .collect();
    let host = "forecast.weather.svc.cluster.local";
    assert_eq!(clusters.get(host, 3002, "v1").unwrap().name.subset, "v1");
    assert!(clusters.get(host, 3003, "").is_none());
    let ports: Vec<_> = clusters.for_host(host).iter().map(|cluster| cluster.name.port).collect();
    assert_eq!(ports, [80, 3002, 3002]);
}

proptest! {
    #[test]
    fn a_cluster_name_survives_being_written_and_read(port: u16, subset in "[a-z0-9]{0,8}", host in "[a-z.]{1,20}") {
        let name = ClusterName { port, subset, host };
        prop_assert_eq!(&name.to_string().parse::<ClusterName>().unwrap(), &name);
        prop_assert_eq!(name.sni(), format!("outbound_.{}_.{}_.{}", name.port, name.subset, name.host));
    }

    #[test]
    fn any_bytes_are_a_cluster_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Cluster::decode(&bytes);
        let _ = Endpoints::decode(&bytes);
    }
}

#[test]
fn the_fuzz_target_starts_with_clusters() {
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/cluster");
    let mut count = 0;
    for seed in std::fs::read_dir(seeds).unwrap() {
        let path = seed.unwrap().path();
        let cluster = Cluster::decode(&std::fs::read(&path).unwrap());
        assert!(matches!(cluster, Ok(Some(_))), "{}: {cluster:?}", path.display());
        count += 1;
    }
    assert!(count >= 6);
}

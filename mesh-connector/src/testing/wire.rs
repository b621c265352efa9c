//! Clusters in the form that istiod sends, and endpoints.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use nds_client::resources::{
    cluster::{Cluster, Clusters},
    endpoint::{Endpoint, Endpoints, LocalityEndpoints},
};
use prost::Message as _;
use xds_proto::{
    any,
    envoy::{
        config::{
            cluster::v3::{
                Cluster as Wire, OutlierDetection,
                cluster::{
                    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, LbConfig, RoundRobinLbConfig,
                    SlowStartConfig, TransportSocketMatch,
                },
            },
            core::v3::TransportSocket,
        },
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, CommonTlsContext, SdsSecretConfig, UpstreamTlsContext,
            common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
        },
        r#type::{
            matcher::v3::{StringMatcher, string_matcher::MatchPattern},
            v3::Percent,
        },
    },
    google::protobuf::{Any, Duration, Struct, UInt32Value, Value, value::Kind},
    type_url,
};

/// Returns a cluster without a transport socket.
pub(crate) fn bare(name: &str) -> Cluster {
    decode(wire(name))
}

/// Returns a cluster with automatic mTLS.
pub(crate) fn auto_mtls(name: &str, names: &[&str]) -> Cluster {
    let criteria = HashMap::from([("tlsMode".to_owned(), "istio")]);
    decode(Wire {
        transport_socket_matches: vec![
            socket_match("tlsMode-istio", criteria, tls(name, names)),
            socket_match("tlsMode-disabled", HashMap::new(), raw_buffer()),
        ],
        ..wire(name)
    })
}

/// Returns a cluster of a DestinationRule with mode ISTIO_MUTUAL.
pub(crate) fn explicit_mtls(name: &str, names: &[&str]) -> Cluster {
    decode(Wire { transport_socket: Some(tls(name, names)), ..wire(name) })
}

/// Returns a cluster with explicit plaintext for all endpoints.
pub(crate) fn plaintext(name: &str) -> Cluster {
    decode(Wire { transport_socket: Some(raw_buffer()), ..wire(name) })
}

/// Returns a cluster that ejects endpoints after two consecutive failures: for 10 s, at most half of them, without
/// panic threshold.
pub(crate) fn ejecting(name: &str) -> Cluster {
    let value = |value| Some(UInt32Value { value });
    let detection = OutlierDetection {
        consecutive_5xx: value(2),
        base_ejection_time: seconds(10),
        interval: seconds(10),
        max_ejection_percent: value(50),
        ..OutlierDetection::default()
    };
    decode(Wire { outlier_detection: Some(detection), ..wire(name) })
}

/// Returns a cluster with a slow start of 100 s from a tenth of the weight.
pub(crate) fn growing(name: &str) -> Cluster {
    let slow_start = SlowStartConfig { slow_start_window: seconds(100), ..SlowStartConfig::default() };
    let config = RoundRobinLbConfig { slow_start_config: Some(slow_start) };
    decode(Wire { lb_config: Some(LbConfig::RoundRobinLbConfig(config)), ..wire(name) })
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

pub(crate) fn clusters(all: impl IntoIterator<Item = Cluster>) -> Clusters {
    all.into_iter().map(Arc::new).collect()
}

/// Returns a workload with a sidecar.
pub(crate) fn endpoint(address: SocketAddr) -> Endpoint {
    let mut endpoint = Endpoint::default();
    endpoint.host = address.ip().to_string();
    endpoint.port = address.port();
    endpoint.weight = 1;
    endpoint.transport_match.insert("tlsMode".into(), "istio".into());
    endpoint.workload.name = "forecast".into();
    endpoint.workload.cluster = "cluster1".into();
    endpoint
}

/// Returns an east-west gateway to `cluster2`.
pub(crate) fn gateway(address: SocketAddr) -> Endpoint {
    let mut endpoint = endpoint(address);
    endpoint.workload.name = String::new();
    endpoint.workload.cluster = "cluster2".into();
    endpoint
}

pub(crate) fn locality(priority: u32, weight: u32, endpoints: Vec<Endpoint>) -> LocalityEndpoints {
    let mut locality = LocalityEndpoints::default();
    (locality.priority, locality.weight, locality.endpoints) = (priority, weight, endpoints);
    locality
}

pub(crate) fn endpoints(localities: Vec<LocalityEndpoints>) -> Endpoints {
    let mut endpoints = Endpoints::default();
    endpoints.localities = localities;
    endpoints
}

fn decode(wire: Wire) -> Cluster {
    Cluster::decode(&wire.encode_to_vec()).unwrap().unwrap()
}

fn wire(name: &str) -> Wire {
    Wire {
        name: name.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        // istiod disables the panic threshold unless a DestinationRule sets one.
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: Some(Percent::default()),
            ..CommonLbConfig::default()
        }),
        ..Wire::default()
    }
}

fn socket_match(
    name: &str,
    criteria: HashMap<String, &str>,
    socket: TransportSocket,
) -> TransportSocketMatch {
    let value = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    let fields = criteria.into_iter().map(|(key, text)| (key, value(text))).collect();
    TransportSocketMatch {
        name: name.into(),
        r#match: Some(Struct { fields }),
        transport_socket: Some(socket),
    }
}

fn raw_buffer() -> TransportSocket {
    let config = Any { type_url: type_url::RAW_BUFFER.into(), ..Any::default() };
    TransportSocket { name: "raw_buffer".into(), typed_config: Some(config) }
}

fn tls(cluster: &str, names: &[&str]) -> TransportSocket {
    let sds = |name: &str| SdsSecretConfig { name: name.into() };
    let matcher = |name: &&str| StringMatcher {
        match_pattern: Some(MatchPattern::Exact((*name).into())),
        ..StringMatcher::default()
    };
    let combined = CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext {
            match_subject_alt_names: names.iter().map(matcher).collect(),
        }),
        validation_context_sds_secret_config: Some(sds("ROOTCA")),
    };
    let context = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            validation_context_type: Some(ValidationContextType::CombinedValidationContext(combined)),
            alpn_protocols: ["istio-peer-exchange", "istio"].map(Into::into).to_vec(),
            tls_certificate_sds_secret_configs: vec![sds("default")],
            ..CommonTlsContext::default()
        }),
        sni: cluster.replace('|', "_."),
    };
    let config = any::pack(type_url::UPSTREAM_TLS_CONTEXT, &context);
    TransportSocket { name: "tls".into(), typed_config: Some(config) }
}

//! Policies of a cluster: load balancing, outlier detection, limits, TLS versions.

use xds_proto::{
    envoy::{
        config::{
            cluster::v3::{
                CircuitBreakers as WireBreakers, OutlierDetection as WireOutlier, UpstreamConnectionOptions,
                circuit_breakers::Thresholds,
                cluster::{
                    CommonLbConfig, LbConfig, LbPolicy as WirePolicy, LeastRequestLbConfig,
                    OriginalDstLbConfig, RingHashLbConfig, RoundRobinLbConfig, SlowStartConfig,
                    common_lb_config::LocalityWeightedLbConfig,
                },
            },
            core::v3::{
                HttpProtocolOptions as WireCommonHttp, ProxyProtocolConfig, RuntimeDouble,
                TcpKeepalive as WireKeepalive, UpstreamHttpProtocolOptions, proxy_protocol_config::Version,
            },
        },
        extensions::{
            transport_sockets::{
                proxy_protocol::v3::ProxyProtocolUpstreamTransport,
                tls::v3::{TlsParameters, tls_parameters::TlsProtocol},
            },
            upstreams::http::v3::HttpProtocolOptions,
        },
        r#type::v3::Percent,
    },
    google::protobuf::{ListValue, UInt32Value, UInt64Value},
};

use super::*;

fn seconds(seconds: i64) -> Option<WireDuration> {
    Some(WireDuration { seconds, nanos: 0 })
}

#[allow(clippy::unnecessary_wraps, reason = "the fields of the message are optional")]
fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

fn named(wire: Wire) -> Cluster {
    decode(&Wire { name: FORECAST.into(), ..wire }).unwrap()
}

#[test]
fn missing_values_are_envoys_defaults() {
    let cluster = named(Wire::default());
    let balancing = &cluster.load_balancing;
    assert_eq!((balancing.policy, balancing.slow_start), (LbPolicy::RoundRobin, None));
    assert!(!balancing.locality_weighted);
    assert!((balancing.healthy_panic_threshold - 50.0).abs() < f64::EPSILON);
    assert_eq!((cluster.circuit_breakers.max_connections, cluster.circuit_breakers.max_retries), (1024, 3));
    assert_eq!(cluster.connection_limits, ConnectionLimits::default());
    assert!(cluster.outlier_detection.is_none() && cluster.tcp_keepalive.is_none());
    assert!(cluster.upstream_port_override.is_none() && cluster.config.is_none());
    assert!(cluster.service_hosts.is_empty() && !cluster.auto_sni && !cluster.auto_san_validation);

    let outlier = named(Wire { outlier_detection: Some(WireOutlier::default()), ..Wire::default() });
    let outlier = outlier.outlier_detection.unwrap();
    assert_eq!((outlier.consecutive_5xx, outlier.enforcing_consecutive_5xx), (5, 100));
    assert_eq!((outlier.consecutive_gateway_failure, outlier.enforcing_consecutive_gateway_failure), (5, 0));
    assert_eq!(
        (outlier.consecutive_local_origin_failure, outlier.enforcing_consecutive_local_origin_failure),
        (5, 100)
    );
    let times = [outlier.interval, outlier.base_ejection_time, outlier.max_ejection_time];
    assert_eq!(times.map(|time| time.as_secs()), [10, 30, 300]);
    assert_eq!(outlier.max_ejection_percent, 10);
}

#[test]
fn the_maximum_ejection_time_is_at_least_the_base_time() {
    let wire = WireOutlier { base_ejection_time: seconds(900), ..WireOutlier::default() };
    let cluster = named(Wire { outlier_detection: Some(wire), ..Wire::default() });
    assert_eq!(cluster.outlier_detection.unwrap().max_ejection_time, Duration::from_secs(900));
}

/// Returns the outlier detection that istiod generates for a DestinationRule with `outlierDetection`.
#[test]
fn outlier_detection_is_decoded() {
    let wire = WireOutlier {
        consecutive_5xx: number(7),
        enforcing_consecutive_5xx: number(100),
        consecutive_gateway_failure: number(3),
        enforcing_consecutive_gateway_failure: number(100),
        split_external_local_origin_errors: true,
        consecutive_local_origin_failure: number(4),
        interval: seconds(1),
        base_ejection_time: seconds(2),
        max_ejection_percent: number(100),
        ..WireOutlier::default()
    };
    let common = CommonLbConfig {
        healthy_panic_threshold: Some(Percent { value: 0.0 }),
        locality_weighted_lb_config: Some(LocalityWeightedLbConfig {}),
    };
    let cluster =
        named(Wire { outlier_detection: Some(wire), common_lb_config: Some(common), ..Wire::default() });
    let outlier = cluster.outlier_detection.unwrap();
    assert_eq!((outlier.consecutive_5xx, outlier.consecutive_gateway_failure), (7, 3));
    assert_eq!(outlier.enforcing_consecutive_gateway_failure, 100);
    assert!(outlier.split_external_local_origin_errors);
    assert_eq!((outlier.consecutive_local_origin_failure, outlier.max_ejection_percent), (4, 100));
    assert!(cluster.load_balancing.locality_weighted);
    assert!(cluster.load_balancing.healthy_panic_threshold.abs() < f64::EPSILON);
}

#[test]
fn a_load_balancing_policy_is_decoded_with_its_settings() {
    let slow_start = SlowStartConfig {
        slow_start_window: seconds(60),
        aggression: Some(RuntimeDouble { default_value: 2.0 }),
        min_weight_percent: Some(Percent { value: 5.0 }),
    };
    let least = LeastRequestLbConfig { choice_count: number(3), slow_start_config: Some(slow_start) };
    let round = RoundRobinLbConfig { slow_start_config: Some(SlowStartConfig::default()) };
    let ring =
        RingHashLbConfig { minimum_ring_size: Some(UInt64Value { value: 64 }), maximum_ring_size: None };
    let with = |policy: WirePolicy, config| {
        named(Wire { lb_policy: policy.into(), lb_config: config, ..Wire::default() }).load_balancing
    };
    let balancing = with(WirePolicy::LeastRequest, Some(LbConfig::LeastRequestLbConfig(least)));
    let SlowStart { window, aggression, minimum_percent } = balancing.slow_start.unwrap();
    assert_eq!(balancing.policy, LbPolicy::LeastRequest { choice_count: 3 });
    assert_eq!(
        (window.as_secs(), aggression.to_bits(), minimum_percent.to_bits()),
        (60, 2f64.to_bits(), 5f64.to_bits())
    );
    assert!(
        with(WirePolicy::RoundRobin, Some(LbConfig::RoundRobinLbConfig(round))).slow_start.is_none(),
        "no window"
    );
    for (policy, config, expected) in [
        (WirePolicy::LeastRequest, None, LbPolicy::LeastRequest { choice_count: 2 }),
        (
            WirePolicy::RingHash,
            Some(LbConfig::RingHashLbConfig(ring)),
            LbPolicy::RingHash { minimum_size: 64, maximum_size: 8 << 20 },
        ),
        (WirePolicy::Maglev, None, LbPolicy::Maglev { table_size: 65537 }),
        (WirePolicy::Random, None, LbPolicy::Random),
        (WirePolicy::ClusterProvided, None, LbPolicy::ClusterProvided),
        (WirePolicy::LoadBalancingPolicyConfig, None, LbPolicy::Unsupported),
    ] {
        assert_eq!(with(policy, config).policy, expected);
    }
}

#[test]
fn connections_have_the_limits_of_the_destination_rule() {
    let options = HttpProtocolOptions {
        common_http_protocol_options: Some(WireCommonHttp {
            idle_timeout: seconds(90),
            max_connection_duration: seconds(600),
            max_requests_per_connection: number(10),
        }),
        upstream_http_protocol_options: Some(UpstreamHttpProtocolOptions {
            auto_sni: true,
            auto_san_validation: true,
        }),
        upstream_protocol_options: None,
    };
    let key = type_url::HTTP_PROTOCOL_OPTIONS.trim_start_matches("type.googleapis.com/");
    let keepalive =
        WireKeepalive { keepalive_probes: number(3), keepalive_time: number(7200), keepalive_interval: None };
    let cluster = named(Wire {
        circuit_breakers: Some(WireBreakers {
            thresholds: vec![Thresholds { max_connections: number(2), ..Thresholds::default() }],
        }),
        upstream_connection_options: Some(UpstreamConnectionOptions { tcp_keepalive: Some(keepalive) }),
        typed_extension_protocol_options: [(
            key.to_owned(),
            any::pack(type_url::HTTP_PROTOCOL_OPTIONS, &options),
        )]
        .into(),
        ..Wire::default()
    });
    assert_eq!((cluster.circuit_breakers.max_connections, cluster.circuit_breakers.max_requests), (2, 1024));
    let keepalive = cluster.tcp_keepalive.unwrap();
    assert_eq!((keepalive.probes, keepalive.interval), (Some(3), None));
    assert_eq!(keepalive.time, Some(Duration::from_secs(7200)));
    let life = cluster.connection_limits;
    assert_eq!((life.idle_timeout, life.max_requests), (Some(Duration::from_secs(90)), Some(10)));
    assert_eq!(life.max_duration, Some(Duration::from_secs(600)));
    assert!(cluster.auto_sni && cluster.auto_san_validation);
}

#[test]
fn the_port_override_of_an_original_destination_is_decoded() {
    let config = OriginalDstLbConfig { upstream_port_override: number(8443) };
    let wire = Wire {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into())),
        lb_config: Some(LbConfig::OriginalDstLbConfig(config)),
        ..Wire::default()
    };
    assert_eq!(named(wire).upstream_port_override, Some(8443));
}

#[test]
fn the_services_and_the_destination_rule_of_a_cluster_are_decoded() {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    let service = Struct { fields: [("host".to_owned(), text("Forecast.weather.svc.cluster.local"))].into() };
    let services = ListValue { values: vec![Value { kind: Some(Kind::StructValue(service)) }] };
    let rule = "/apis/networking.istio.io/v1/namespaces/weather/destination-rule/forecast";
    let fields = [
        ("services".to_owned(), Value { kind: Some(Kind::ListValue(services)) }),
        ("config".to_owned(), text(rule)),
    ];
    let metadata =
        Metadata { filter_metadata: [("istio".to_owned(), Struct { fields: fields.into() })].into() };
    let cluster = named(Wire { metadata: Some(metadata), ..Wire::default() });
    assert_eq!(cluster.service_hosts, ["forecast.weather.svc.cluster.local"]);
    assert_eq!(cluster.config.as_deref(), Some(rule));
}

#[test]
fn a_proxy_protocol_socket_contains_another_socket() {
    let config = ProxyProtocolConfig { version: Version::V2.into() };
    let around = ProxyProtocolUpstreamTransport { config: Some(config), transport_socket: Some(mesh_tls()) };
    let socket = WireSocket {
        name: "envoy.transport_sockets.upstream_proxy_protocol".into(),
        typed_config: Some(any::pack(type_url::PROXY_PROTOCOL, &around)),
    };
    let cluster = named(Wire { transport_socket: Some(socket), ..Wire::default() });
    let TransportSocket::ProxyProtocol { version, inner } = cluster.transport_socket else {
        panic!("{cluster:?}")
    };
    assert_eq!(version, ProxyProtocol::V2);
    assert!(matches!(*inner, TransportSocket::Tls(_)));
}

#[test]
fn tls_versions_are_decoded() {
    let params = TlsParameters {
        tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
        tls_maximum_protocol_version: TlsProtocol::TlsAuto.into(),
    };
    let context = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(params),
            ..CommonTlsContext::default()
        }),
        ..UpstreamTlsContext::default()
    };
    let socket = WireSocket {
        name: "envoy.transport_sockets.tls".into(),
        typed_config: Some(any::pack(type_url::UPSTREAM_TLS_CONTEXT, &context)),
    };
    let cluster = named(Wire { transport_socket: Some(socket), ..Wire::default() });
    let TransportSocket::Tls(context) = cluster.transport_socket else { panic!("{cluster:?}") };
    assert_eq!((context.minimum_version, context.maximum_version), (Some(TlsVersion::V1_2), None));
}

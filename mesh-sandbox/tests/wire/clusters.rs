//! The clusters of each kind of service.

use xds_proto::any;
use xds_proto::envoy::config::cluster::v3::Cluster;
use xds_proto::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use xds_proto::envoy::config::core::v3::TransportSocket;
use xds_proto::envoy::extensions::transport_sockets::tls::v3::UpstreamTlsContext;
use xds_proto::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use xds_proto::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use xds_proto::envoy::extensions::upstreams::http::v3::http_protocol_options::UpstreamProtocolOptions;
use xds_proto::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use xds_proto::google::protobuf::value::Kind;

use crate::client::{Client, node};
use crate::mesh::{Folder, pod, service, tour};

fn kind(cluster: &Cluster) -> DiscoveryType {
    match cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(kind).unwrap(),
        _ => panic!("{cluster:?}"),
    }
}

fn tls(socket: &TransportSocket) -> UpstreamTlsContext {
    any::unpack(socket.typed_config.as_ref().unwrap()).unwrap()
}

fn identities(context: &UpstreamTlsContext) -> Vec<String> {
    let common = context.common_tls_context.as_ref().unwrap();
    let Some(ValidationContextType::CombinedValidationContext(combined)) = &common.validation_context_type
    else {
        panic!("{common:?}");
    };
    assert_eq!(combined.validation_context_sds_secret_config.as_ref().unwrap().name, "ROOTCA");
    let matchers = &combined.default_validation_context.as_ref().unwrap().match_subject_alt_names;
    let exact = matchers.iter().map(|matcher| match matcher.match_pattern.as_ref().unwrap() {
        MatchPattern::Exact(identity) => identity.clone(),
        other => panic!("{other:?}"),
    });
    exact.collect()
}

fn http(cluster: &Cluster) -> Option<UpstreamProtocolOptions> {
    let key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let options: HttpProtocolOptions =
        any::unpack(cluster.typed_extension_protocol_options.get(key)?).unwrap();
    options.upstream_protocol_options
}

#[tokio::test]
async fn the_cluster_of_a_mesh_service_has_sni_alpn_and_identities() {
    let sandbox = tour().await;
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    let clusters = ads.clusters().await;
    let forecast = &clusters["outbound|3002||forecast.weather.svc.cluster.local"];
    assert_eq!(kind(forecast), DiscoveryType::Eds);
    assert_eq!(forecast.eds_cluster_config.as_ref().unwrap().service_name, forecast.name);
    assert_eq!(forecast.connect_timeout.unwrap().seconds, 10);
    let matches = &forecast.transport_socket_matches;
    assert_eq!(
        matches.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(),
        ["tlsMode-istio", "tlsMode-disabled"]
    );
    let wanted = &matches[0].r#match.as_ref().unwrap().fields["tlsMode"].kind;
    assert_eq!(wanted, &Some(Kind::StringValue("istio".to_owned())));
    assert!(matches[1].r#match.as_ref().unwrap().fields.is_empty());
    assert_eq!(matches[1].transport_socket.as_ref().unwrap().name, "envoy.transport_sockets.raw_buffer");
    let context = tls(matches[0].transport_socket.as_ref().unwrap());
    assert_eq!(context.sni, "outbound_.3002_._.forecast.weather.svc.cluster.local");
    assert_eq!(context.common_tls_context.as_ref().unwrap().alpn_protocols, ["istio-peer-exchange", "istio"]);
    assert_eq!(identities(&context), ["spiffe://cluster.local/ns/weather/sa/forecast"]);
    assert_eq!(http(forecast), None, "plain HTTP has no options");
}

#[tokio::test]
async fn the_metadata_contains_the_service() {
    let sandbox = tour().await;
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    let clusters = ads.clusters().await;
    let forecast = &clusters["outbound|3002||forecast.weather.svc.cluster.local"];
    let istio = &forecast.metadata.as_ref().unwrap().filter_metadata["istio"].fields;
    let Some(Kind::ListValue(services)) = &istio["services"].kind else { panic!("{istio:?}") };
    let Some(Kind::StructValue(service)) = &services.values[0].kind else { panic!("{services:?}") };
    let text = |key: &str| match &service.fields[key].kind {
        Some(Kind::StringValue(text)) => text.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [text("host"), text("name"), text("namespace")],
        ["forecast.weather.svc.cluster.local", "forecast", "weather"]
    );
}

#[tokio::test]
async fn every_response_contains_the_three_fixed_clusters() {
    let sandbox = tour().await;
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    let clusters = ads.clusters().await;
    assert_eq!(kind(&clusters["BlackHoleCluster"]), DiscoveryType::Static);
    assert_eq!(kind(&clusters["PassthroughCluster"]), DiscoveryType::OriginalDst);
    assert_eq!(kind(&clusters["InboundPassthroughCluster"]), DiscoveryType::OriginalDst);
}

#[tokio::test]
async fn a_service_without_identities_has_tls_and_no_expected_identities() {
    let sandbox = tour().await;
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    let clusters = ads.clusters().await;
    let mongo = &clusters["outbound|27018||mymongodb.somedomain"];
    let context = tls(mongo.transport_socket_matches[0].transport_socket.as_ref().unwrap());
    assert_eq!(context.sni, "outbound_.27018_._.mymongodb.somedomain");
    assert!(identities(&context).is_empty());
}

#[tokio::test]
async fn without_metadata_exchange_there_is_no_peer_exchange() {
    let sandbox = Folder::tour().builder().without_metadata_exchange().start().await.unwrap();
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    let clusters = ads.clusters().await;
    let forecast = &clusters["outbound|3002||forecast.weather.svc.cluster.local"];
    let context = tls(forecast.transport_socket_matches[0].transport_socket.as_ref().unwrap());
    assert_eq!(context.common_tls_context.unwrap().alpn_protocols, ["istio"]);
}

const KINDS: &str = r#"
---
apiVersion: v1
kind: Service
metadata: {name: many, namespace: a}
spec:
  clusterIP: 10.1.0.5
  selector: {app: many}
  ports:
  - {name: grpc-api, port: 50051}
  - {name: undeclared, port: 7000}
  - {name: tcp-raw, port: 9000}
  - {name: dns, port: 53, protocol: UDP}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: a}
spec: {type: ExternalName, externalName: elsewhere.example, ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: a}
spec:
  hosts: [api.example]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 443, name: tls, protocol: TLS}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: robin, namespace: a}
spec:
  hosts: [robin.example]
  location: MESH_INTERNAL
  resolution: DNS_ROUND_ROBIN
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  endpoints: [{address: backend.example}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: none, namespace: a}
spec:
  hosts: [none.example]
  addresses: [10.8.0.1]
  location: MESH_EXTERNAL
  resolution: NONE
  ports: [{number: 25, name: tcp, protocol: TCP}]
"#;

#[tokio::test]
async fn each_port_and_resolution_has_its_cluster() {
    let folder = Folder::new(&[("c1", "n1")]);
    folder.write("c1", "kinds.yaml", &format!("{KINDS}{}", pod("many-0", "many", "10.1.1.1")));
    let sandbox = folder.start().await;
    let (mut ads, _) = Client::vm(&sandbox).join(&node("n1", "c1")).await;
    let clusters = ads.clusters().await;

    let grpc = &clusters["outbound|50051||many.a.svc.cluster.local"];
    assert!(matches!(http(grpc), Some(UpstreamProtocolOptions::ExplicitHttpConfig(_))));
    let context = tls(grpc.transport_socket_matches[0].transport_socket.as_ref().unwrap());
    assert_eq!(context.common_tls_context.unwrap().alpn_protocols, ["istio-peer-exchange", "istio", "h2"]);
    let undeclared = &clusters["outbound|7000||many.a.svc.cluster.local"];
    assert!(matches!(http(undeclared), Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(_))));
    assert_eq!(http(&clusters["outbound|9000||many.a.svc.cluster.local"]), None);
    assert!(!clusters.contains_key("outbound|53||many.a.svc.cluster.local"), "UDP");
    assert!(!clusters.keys().any(|name| name.contains("alias")), "ExternalName");

    let api = &clusters["outbound|443||api.example"];
    assert_eq!(kind(api), DiscoveryType::StrictDns);
    assert!(api.transport_socket.is_none() && api.transport_socket_matches.is_empty(), "outside the mesh");
    let istio = &api.metadata.as_ref().unwrap().filter_metadata["istio"].fields;
    assert_eq!(istio["external"].kind, Some(Kind::BoolValue(true)));
    let robin = &clusters["outbound|80||robin.example"];
    assert_eq!(kind(robin), DiscoveryType::LogicalDns);
    assert_eq!(robin.load_assignment.as_ref().unwrap().endpoints[0].lb_endpoints.len(), 1);
    assert!(robin.eds_cluster_config.is_none());
    assert_eq!(kind(&clusters["outbound|25||none.example"]), DiscoveryType::OriginalDst);
}

#[tokio::test]
async fn a_headless_service_has_a_tls_socket_if_every_pod_has_a_sidecar() {
    let folder = Folder::new(&[("c1", "n1")]);
    folder.write("c1", "db.yaml", &format!("{}{}", service("db", "None"), pod("db-0", "db", "10.1.0.1")));
    let sandbox = folder.start().await;
    let (mut ads, _) = Client::vm(&sandbox).join(&node("n1", "c1")).await;
    let name = "outbound|80||db.a.svc.cluster.local";
    let clusters = ads.clusters().await;
    assert_eq!(kind(&clusters[name]), DiscoveryType::OriginalDst);
    assert!(clusters[name].transport_socket_matches.is_empty());
    assert_eq!(
        tls(clusters[name].transport_socket.as_ref().unwrap()).sni,
        "outbound_.80_._.db.a.svc.cluster.local"
    );
    // Only new streams get the changed cluster: for a headless pod, istiod pushes endpoints and names, and no clusters.
    sandbox.apply("c1", &crate::mesh::pod_with("db-1", "db", "10.1.0.2", "side: none", "True")).unwrap();
    ads.next_of(xds_proto::type_url::NAME_TABLE).await;
    assert!(ads.silence().await.is_empty());
    let (mut later, _) = Client::vm(&sandbox).join(&node("n1", "c1")).await;
    assert!(
        later.clusters().await[name].transport_socket.is_none(),
        "one pod without a sidecar makes the whole cluster plaintext"
    );
}

#[tokio::test]
async fn a_service_in_several_clusters_has_the_ports_of_the_first() {
    let folder = Folder::new(&[("c1", "n1"), ("c2", "n2")]);
    folder.write("c1", "web.yaml", &service("web", "10.1.0.9"));
    folder.write("c2", "web.yaml", &service("web", "10.2.0.9").replace("port: 80", "port: 81"));
    let sandbox = folder.start().await;
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm", "c2")).await;
    let clusters = ads.clusters().await;
    assert!(clusters.contains_key("outbound|80||web.a.svc.cluster.local"));
    assert!(!clusters.contains_key("outbound|81||web.a.svc.cluster.local"));
}

//! Split horizon: the same service seen from different networks (istio `ep_filters.go`).

use mesh_sandbox::Sandbox;
use xds_proto::envoy::config::core::v3::HealthStatus;
use xds_proto::envoy::config::core::v3::address::Address;
use xds_proto::envoy::config::core::v3::socket_address::PortSpecifier;
use xds_proto::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use xds_proto::envoy::config::endpoint::v3::{ClusterLoadAssignment, LbEndpoint};
use xds_proto::google::protobuf::value::Kind;
use xds_proto::type_url;

use crate::client::{Client, assignments, node, node_with};
use crate::mesh::{EXPOSE, Folder, gateway, pod, pod_with, service, tour};

const FORECAST: &str = "outbound|3002||forecast.weather.svc.cluster.local";
const WEB: &str = "outbound|80||web.a.svc.cluster.local";

/// The address in the YAML, the weight, `istio` or an empty string, and the health status.
type Seen = (String, u32, String, HealthStatus);

fn text(endpoint: &LbEndpoint, filter: &str, key: &str) -> String {
    let metadata = endpoint.metadata.as_ref().unwrap();
    match metadata.filter_metadata.get(filter).and_then(|it| it.fields.get(key)).map(|it| &it.kind) {
        Some(Some(Kind::StringValue(text))) => text.clone(),
        _ => String::new(),
    }
}

fn seen(sandbox: &Sandbox, assignment: &ClusterLoadAssignment) -> Vec<Seen> {
    let each = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    let mut seen: Vec<Seen> = each
        .map(|endpoint| {
            let (address, port) = socket(endpoint);
            let address = match format!("{address}:{port}").parse() {
                Ok(socket) => sandbox.address_book().yaml(socket).map_or(address, |yaml| yaml.address),
                Err(_) => address,
            };
            let weight = endpoint.load_balancing_weight.unwrap().value;
            let tls = text(endpoint, "envoy.transport_socket_match", "tlsMode");
            (address, weight, tls, endpoint.health_status())
        })
        .collect();
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    seen
}

fn socket(endpoint: &LbEndpoint) -> (String, u32) {
    let Some(HostIdentifier::Endpoint(it)) = &endpoint.host_identifier else { panic!("{endpoint:?}") };
    let Some(Address::SocketAddress(it)) = &it.address.as_ref().unwrap().address else { panic!("{it:?}") };
    let Some(PortSpecifier::PortValue(port)) = it.port_specifier else { panic!("{it:?}") };
    (it.address.clone(), port)
}

async fn look(sandbox: &Sandbox, network: &str, cluster: &str) -> Vec<Seen> {
    let (mut ads, _) = Client::vm(sandbox).join(&node(network, "c1")).await;
    let assignment = ads.endpoints(cluster).await;
    seen(sandbox, &assignment)
}

fn gw(address: &str, weight: u32) -> Seen {
    (address.to_owned(), weight, "istio".to_owned(), HealthStatus::Unknown)
}

fn near(address: &str, weight: u32) -> Seen {
    (address.to_owned(), weight, "istio".to_owned(), HealthStatus::Healthy)
}

#[tokio::test]
async fn another_network_sees_gateways_weighted_by_the_pods_behind_them() {
    let sandbox = tour().await;
    let expected = [gw("172.18.1.1", 1), gw("172.18.2.1", 2)];
    assert_eq!(look(&sandbox, "vm-network", FORECAST).await, expected);
    assert_eq!(look(&sandbox, "", FORECAST).await, expected, "a node without a network sees the same");
}

#[tokio::test]
async fn pods_of_the_own_network_are_seen_directly() {
    let sandbox = tour().await;
    assert_eq!(look(&sandbox, "network1", FORECAST).await, [near("10.10.1.11", 1), gw("172.18.2.1", 2)]);
    let two = [near("10.20.1.11", 1), near("10.20.1.12", 1), gw("172.18.1.1", 1)];
    assert_eq!(look(&sandbox, "network2", FORECAST).await, two);
}

#[tokio::test]
async fn an_endpoint_has_its_workload_as_metadata_and_a_gateway_only_its_cluster() {
    let sandbox = tour().await;
    let (mut ads, _) = Client::vm(&sandbox).join(&node("network1", "cluster1")).await;
    let assignment = ads.endpoints(FORECAST).await;
    let endpoints = assignment.endpoints.iter().flat_map(|it| &it.lb_endpoints);
    let mut workloads: Vec<_> = endpoints.map(|it| text(it, "istio", "workload")).collect();
    workloads.sort();
    assert_eq!(workloads, [";;;;cluster2", "forecast-1a;weather;forecast;;cluster1"]);
}

#[tokio::test]
async fn a_service_entry_without_networks_is_plaintext_everywhere() {
    let sandbox = tour().await;
    for network in ["vm-network", "network1", ""] {
        let plain = |address: &str| (address.to_owned(), 1, String::new(), HealthStatus::Unknown);
        let seen = look(&sandbox, network, "outbound|27018||mymongodb.somedomain").await;
        assert_eq!(seen, [plain("2.2.2.2"), plain("3.3.3.3")], "{network}");
    }
}

#[tokio::test]
async fn a_service_entry_with_network_and_account_is_behind_the_gateway() {
    let sandbox = tour().await;
    let seen = look(&sandbox, "vm-network", "outbound|5432||ledger.payments.example").await;
    assert_eq!(seen, [gw("172.18.2.1", 2)]);
}

fn two_clusters() -> Folder {
    let folder = Folder::new(&[("c1", "n1"), ("c2", "n2")]);
    folder.write(
        "c1",
        "web.yaml",
        &format!("{}{}", service("web", "10.1.0.9"), pod("w1", "web", "10.1.1.1")),
    );
    folder.write("c1", "expose.yaml", EXPOSE);
    folder
}

#[tokio::test]
async fn remote_pods_without_a_sidecar_leave_an_empty_locality() {
    let folder = two_clusters();
    let plain = pod_with("w2", "web", "10.2.1.1", "side: none", "True");
    folder.write("c2", "web.yaml", &format!("{}{plain}", service("web", "10.2.0.9")));
    folder.write("c1", "gateway.yaml", &gateway("n1", &["172.16.0.1"]));
    folder.write("c2", "gateway.yaml", &gateway("n2", &["172.16.0.2"]));
    let sandbox = folder.start().await;
    assert_eq!(look(&sandbox, "vm", WEB).await, [gw("172.16.0.1", 1)]);
    sandbox.delete("c1", "Pod", "a", "w1").unwrap();
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm", "c1")).await;
    let mut assignment = ads.endpoints(WEB).await;
    while !assignment.endpoints.iter().all(|locality| locality.lb_endpoints.is_empty()) {
        assignment = assignments(&ads.next_of(type_url::ENDPOINT).await).remove(WEB).unwrap();
    }
    assert_eq!(assignment.endpoints.len(), 1, "the locality stays, without endpoints");
}

#[tokio::test]
async fn without_gateways_remote_pods_are_seen_directly() {
    let folder = two_clusters();
    folder.write(
        "c2",
        "web.yaml",
        &format!("{}{}", service("web", "10.2.0.9"), pod("w2", "web", "10.2.1.1")),
    );
    let sandbox = folder.start().await;
    assert_eq!(look(&sandbox, "vm", WEB).await, [near("10.1.1.1", 1), near("10.2.1.1", 1)]);
}

#[tokio::test]
async fn two_addresses_of_a_gateway_share_its_weight_and_all_weights_are_scaled() {
    let folder = two_clusters();
    let label = "labels: {networking.istio.io/gatewayPort: \"15999\", ";
    let two =
        gateway("n2", &["172.16.0.2", "172.16.0.3"]).replace("labels: {", label).replace("15443", "15999");
    folder.write("c2", "gateway.yaml", &two);
    folder.write(
        "c2",
        "web.yaml",
        &format!("{}{}", service("web", "10.2.0.9"), pod("w2", "web", "10.2.1.1")),
    );
    let sandbox = folder.start().await;
    let expected = [near("10.1.1.1", 2), gw("172.16.0.2", 1), gw("172.16.0.3", 1)];
    assert_eq!(look(&sandbox, "n1", WEB).await, expected);
    assert!(sandbox.gateways().iter().all(|gateway| gateway.yaml_port == 15999));
}

#[tokio::test]
async fn istiod_resolves_the_name_of_a_gateway_and_omits_an_unresolvable_one() {
    let folder = two_clusters();
    folder.write(
        "c2",
        "web.yaml",
        &format!("{}{}", service("web", "10.2.0.9"), pod("w2", "web", "10.2.1.1")),
    );
    folder.write("c2", "gateway.yaml", &gateway("n2", &["gw.example"]));
    let sandbox = folder.start().await;
    assert_eq!(look(&sandbox, "n1", WEB).await, [near("10.1.1.1", 1), near("10.2.1.1", 1)], "raw");
    sandbox.shutdown().await;
    std::fs::write(folder.path().join("upstream.hosts"), "172.16.0.8 gw.example\n").unwrap();
    let sandbox = folder.start().await;
    assert_eq!(look(&sandbox, "n1", WEB).await, [near("10.1.1.1", 1), gw("172.16.0.8", 1)]);
}

#[tokio::test]
async fn endpoints_behind_a_gateway_of_the_other_family_are_dropped() {
    let folder = two_clusters();
    folder.write(
        "c2",
        "web.yaml",
        &format!("{}{}", service("web", "10.2.0.9"), pod("w2", "web", "10.2.1.1")),
    );
    folder.write("c2", "gateway.yaml", &gateway("n2", &["2001:db8::2"]));
    let sandbox = folder.start().await;
    assert_eq!(look(&sandbox, "n1", WEB).await, [near("10.1.1.1", 1)]);
}

#[tokio::test]
async fn unhealthy_pods_are_marked_in_the_own_network_and_counted_behind_a_gateway() {
    let folder = two_clusters();
    let sick = pod_with("w2", "web", "10.2.1.1", "security.istio.io/tlsMode: istio", "False");
    folder.write(
        "c2",
        "web.yaml",
        &format!("{}{sick}{}", service("web", "10.2.0.9"), pod("w3", "web", "10.2.1.2")),
    );
    folder.write("c2", "gateway.yaml", &gateway("n2", &["172.16.0.2"]));
    let sandbox = folder.start().await;
    assert_eq!(look(&sandbox, "n1", WEB).await, [near("10.1.1.1", 1), gw("172.16.0.2", 2)]);
    let unhealthy = ("10.2.1.1".to_owned(), 1, "istio".to_owned(), HealthStatus::Unhealthy);
    assert!(look(&sandbox, "n2", WEB).await.contains(&unhealthy));
}

#[tokio::test]
async fn a_requested_network_view_hides_other_networks() {
    let sandbox = tour().await;
    let view = [("NETWORK", "network1"), ("REQUESTED_NETWORK_VIEW", "network1")];
    let (mut ads, _) = Client::vm(&sandbox).join(&node_with(&view)).await;
    let assignment = ads.endpoints(FORECAST).await;
    assert_eq!(seen(&sandbox, &assignment), [near("10.10.1.11", 1)]);
}

#[tokio::test]
async fn a_subscription_to_a_headless_service_gets_gateways() {
    let folder = two_clusters();
    folder.write("c2", "db.yaml", &format!("{}{}", service("db", "None"), pod("db-0", "db", "10.2.0.1")));
    folder.write("c2", "gateway.yaml", &gateway("n2", &["172.16.0.2"]));
    let sandbox = folder.start().await;
    assert_eq!(look(&sandbox, "vm", "outbound|80||db.a.svc.cluster.local").await, [gw("172.16.0.2", 1)]);
}

#[tokio::test]
async fn a_dns_service_has_no_endpoints_in_eds() {
    let folder = two_clusters();
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: api, namespace: a}\nspec: \
                 {hosts: [api.example], resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}\n";
    folder.write("c1", "api.yaml", entry);
    let sandbox = folder.start().await;
    assert_eq!(look(&sandbox, "vm", "outbound|443||api.example").await, []);
}

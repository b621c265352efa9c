//! The name tables of different proxies.

use mesh_sandbox::TokenOptions;
use xds_proto::istio::networking::nds::v1::NameTable;

use crate::client::{Client, node, node_with};
use crate::mesh::{EXPOSE, Folder, gateway, pod, pod_with, service, tour};

async fn table(sandbox: &mesh_sandbox::Sandbox, metadata: &[(&str, &str)]) -> NameTable {
    let token = sandbox.token("vms", "edge-app", &TokenOptions::default());
    Client::with_token(sandbox, &token).join(&node_with(metadata)).await.1
}

fn ips<'a>(table: &'a NameTable, host: &str) -> &'a [String] {
    table.table.get(host).map_or(&[], |info| &info.ips)
}

const FORECAST: &str = "forecast.weather.svc.cluster.local";
const ARCHIVE: &str = "archive.weather.svc.cluster.local";

#[tokio::test]
async fn a_proxy_gets_the_address_in_its_own_cluster_and_otherwise_in_the_first() {
    let sandbox = tour().await;
    for (cluster, address) in [("cluster1", "10.1.0.20"), ("cluster2", "10.2.0.20"), ("", "10.1.0.20")] {
        let table = table(&sandbox, &[("CLUSTER_ID", cluster)]).await;
        assert_eq!(ips(&table, FORECAST), [address], "{cluster}");
    }
    let table = table(&sandbox, &[("CLUSTER_ID", "cluster1")]).await;
    assert_eq!(ips(&table, ARCHIVE), ["10.2.0.30"], "the address in the only cluster with the service");
}

#[tokio::test]
async fn a_kubernetes_name_has_short_name_and_namespace_and_an_external_name_has_neither() {
    let sandbox = tour().await;
    let (_, table) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    let forecast = &table.table[FORECAST];
    assert_eq!(
        (forecast.registry.as_str(), forecast.shortname.as_str(), forecast.namespace.as_str()),
        ("Kubernetes", "forecast", "weather")
    );
    let mongo = &table.table["mymongodb.somedomain"];
    assert_eq!((mongo.registry.as_str(), mongo.shortname.as_str()), ("External", ""));
    assert!(mongo.ips[0].starts_with("240.240.0."), "{mongo:?}");
}

#[tokio::test]
async fn only_proxies_that_capture_dns_get_allocated_addresses() {
    let sandbox = tour().await;
    let table = table(&sandbox, &[]).await;
    assert!(ips(&table, "mymongodb.somedomain").is_empty());
    assert!(!ips(&table, FORECAST).is_empty());
}

#[tokio::test]
async fn addresses_of_the_other_family_are_omitted() {
    let sandbox = tour().await;
    let mut node = node("vm-network", "cluster1");
    let ips = xds_proto::google::protobuf::value::Kind::StringValue("2001:db8::7".to_owned());
    let value = xds_proto::google::protobuf::Value { kind: Some(ips) };
    node.metadata.as_mut().unwrap().fields.insert("INSTANCE_IPS".to_owned(), value);
    let (_, table) = Client::vm(&sandbox).join(&node).await;
    assert!(!table.table.contains_key(FORECAST));
    assert_eq!(table.table["mymongodb.somedomain"].ips[0], "2001:2::1");
}

#[tokio::test]
async fn a_router_gets_an_empty_name_table() {
    let sandbox = tour().await;
    let mut node = node("vm-network", "cluster1");
    node.id = node.id.replace("sidecar", "router");
    let (_, table) = Client::vm(&sandbox).join(&node).await;
    assert!(table.table.is_empty());
}

#[tokio::test]
async fn a_headless_name_has_the_ready_pods_of_the_own_network() {
    let folder = Folder::new(&[("c1", "n1"), ("c2", "n2")]);
    let headless = service("db", "None");
    let named = pod("db-0", "db", "10.1.0.1").replace("spec: {", "spec: {subdomain: db, ");
    let unready = pod_with("db-1", "db", "10.1.0.2", "side: none", "False");
    folder.write("c1", "db.yaml", &format!("{headless}{named}{unready}"));
    folder.write("c2", "db.yaml", &format!("{headless}{}", pod("db-9", "db", "10.2.0.1")));
    folder.write("c1", "gateway.yaml", &format!("{}{EXPOSE}", gateway("n1", &["172.16.0.1"])));
    folder.write("c2", "gateway.yaml", &gateway("n2", &["172.16.0.2"]));
    let sandbox = folder.start().await;
    let near = table(&sandbox, &[("NETWORK", "n1"), ("CLUSTER_ID", "c1")]).await;
    assert_eq!(ips(&near, "db.a.svc.cluster.local"), ["10.1.0.1"]);
    assert_eq!(near.table["db-0.db.a.svc.cluster.local"].shortname, "db-0.db");
    let other = table(&sandbox, &[("NETWORK", "n2"), ("CLUSTER_ID", "c2")]).await;
    assert_eq!(ips(&other, "db.a.svc.cluster.local"), ["10.2.0.1"]);
    let far = table(&sandbox, &[("NETWORK", "vm")]).await;
    assert!(ips(&far, "db.a.svc.cluster.local").is_empty());
    let nowhere = table(&sandbox, &[]).await;
    assert_eq!(ips(&nowhere, "db.a.svc.cluster.local").len(), 2, "a proxy without a network gets all pods");
}

#[tokio::test]
async fn explicit_addresses_are_used_ranges_are_not_and_kubernetes_services_win() {
    let folder = Folder::new(&[("c1", "n1")]);
    let entry = |name: &str, host: &str, addresses: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: \
             a}}\nspec: {{hosts: [{host}], addresses: {addresses}, ports: [{{number: 80, name: tcp, protocol: \
             TCP}}], resolution: STATIC, location: MESH_INTERNAL}}\n"
        )
    };
    let entries = [
        entry("one", "one.example", "[10.9.0.1, 10.9.0.2/32]"),
        entry("range", "range.example", "[10.9.0.0/16]"),
        entry("wild", "\"*.wild.example\"", "[10.9.0.3]"),
        entry("shadow", "web.a.svc.cluster.local", "[10.9.0.4]"),
    ];
    folder.write("c1", "all.yaml", &format!("{}{}", entries.concat(), service("web", "10.1.0.9")));
    let sandbox = folder.start().await;
    let table = table(&sandbox, &[("CLUSTER_ID", "c1")]).await;
    assert_eq!(ips(&table, "one.example"), ["10.9.0.1", "10.9.0.2"]);
    assert!(ips(&table, "range.example").is_empty());
    assert_eq!(ips(&table, "*.wild.example"), ["10.9.0.3"]);
    assert_eq!(ips(&table, "web.a.svc.cluster.local"), ["10.1.0.9"]);
    assert_eq!(table.table["web.a.svc.cluster.local"].registry, "Kubernetes");
}

#[tokio::test]
async fn a_service_exported_to_its_own_namespace_is_invisible_elsewhere() {
    let folder = Folder::new(&[("c1", "n1")]);
    let private = service("web", "10.1.0.9")
        .replace("namespace: a}", "namespace: a, annotations: {networking.istio.io/exportTo: \".\"}}");
    folder.write("c1", "web.yaml", &private);
    let sandbox = folder.start().await;
    let table = table(&sandbox, &[("CLUSTER_ID", "c1")]).await;
    assert!(table.table.is_empty());
}

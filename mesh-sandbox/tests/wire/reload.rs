//! Changes of a running mesh.

use mesh_sandbox::{ErrorKind, Event};
use xds_proto::type_url;

use crate::client::{Client, assignments, clusters, names, node};
use crate::mesh::{Folder, pod, service, tour};

const FORECAST: &str = "outbound|3002||forecast.weather.svc.cluster.local";
const WEB: &str = "outbound|80||web.a.svc.cluster.local";

fn web() -> String {
    format!("{}{}", service("web", "10.1.0.9"), pod("w1", "web", "10.1.1.1"))
}

#[tokio::test]
async fn adding_and_removing_a_file_is_pushed() {
    let folder = Folder::tour();
    let sandbox = folder.start().await;
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    ads.clusters().await;
    folder.write("cluster1", "web.yaml", &web());
    let added = ads.next_of(type_url::CLUSTER).await;
    let sent: Vec<String> = clusters(&added).into_keys().collect();
    let three = ["BlackHoleCluster", "InboundPassthroughCluster", "PassthroughCluster"];
    assert_eq!(sent[..3], three, "the three fixed clusters are repeated");
    assert_eq!(sent[3..], [WEB], "unchanged clusters are not sent");
    let table = names(&ads.next_of(type_url::NAME_TABLE).await);
    assert_eq!(table.table["web.a.svc.cluster.local"].ips, ["10.1.0.9"]);
    folder.remove("cluster1", "web.yaml");
    assert_eq!(ads.next_of(type_url::CLUSTER).await.removed_resources, [WEB]);
    assert!(!names(&ads.next_of(type_url::NAME_TABLE).await).table.contains_key("web.a.svc.cluster.local"));
}

#[tokio::test]
async fn an_invalid_file_changes_nothing_and_is_reported_with_its_line() {
    let folder = Folder::tour();
    let sandbox = folder.start().await;
    folder.write("cluster1", "web.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web\n");
    let failed = |event: &Event| match event {
        Event::ReloadFailed { error } => Some(error.clone()),
        _ => None,
    };
    let error = sandbox.events().wait(failed).await;
    assert!(error.contains("web.yaml:"), "{error}");
    let mark = sandbox.events().mark();
    folder.write("cluster1", "web.yaml", &web());
    let reloaded = |event: &Event| match event {
        Event::Reloaded { changed, .. } => Some(changed.clone()),
        _ => None,
    };
    let changed = sandbox.events().wait_since(mark, reloaded).await;
    assert_eq!(changed, ["Pod a/w1", "Service a/web"]);
}

#[tokio::test]
async fn a_deleted_service_gets_an_empty_assignment_and_a_recreated_one_its_endpoints() {
    let sandbox = tour().await;
    sandbox.apply("cluster1", &web()).unwrap();
    let (mut ads, _) = Client::vm(&sandbox).join(&node("network1", "cluster1")).await;
    let mut endpoints = ads.endpoints(WEB).await.endpoints;
    while endpoints.is_empty() {
        endpoints = assignments(&ads.next_of(type_url::ENDPOINT).await).remove(WEB).unwrap().endpoints;
    }
    sandbox.delete("cluster1", "Service", "a", "web").unwrap();
    let response = ads.next_of(type_url::ENDPOINT).await;
    assert!(response.removed_resources.is_empty());
    assert!(assignments(&response)[WEB].endpoints.is_empty());
    sandbox.apply("cluster1", &service("web", "10.1.0.9")).unwrap();
    assert!(!assignments(&ads.next_of(type_url::ENDPOINT).await)[WEB].endpoints.is_empty());
}

#[tokio::test]
async fn a_new_pod_pushes_endpoints_and_no_name_table() {
    let sandbox = tour().await;
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    ads.endpoints(FORECAST).await;
    sandbox.delete("cluster2", "Pod", "weather", "forecast-2b").unwrap();
    let response = ads.next().await;
    assert_eq!(response.type_url, type_url::ENDPOINT);
    assert!(ads.silence().await.is_empty(), "the name table is not pushed");
}

#[tokio::test]
async fn a_changed_label_of_a_service_pushes_all_its_resources_and_an_unchanged_service_none() {
    let sandbox = tour().await;
    sandbox.apply("cluster1", &web()).unwrap();
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    let mut known = ads.clusters().await;
    while !known.contains_key(WEB) {
        known = clusters(&ads.next_of(type_url::CLUSTER).await);
    }
    ads.endpoints(WEB).await;
    sandbox.apply("cluster1", &web()).unwrap();
    let labelled = service("web", "10.1.0.9").replace("namespace: a}", "namespace: a, labels: {new: label}}");
    sandbox.apply("cluster1", &labelled).unwrap();
    let kinds = [ads.next().await.type_url, ads.next().await.type_url, ads.next().await.type_url];
    assert_eq!(kinds, [type_url::CLUSTER, type_url::ENDPOINT, type_url::NAME_TABLE]);
    assert!(ads.silence().await.is_empty());
}

#[tokio::test]
async fn an_allocated_address_is_stable_and_a_recreated_entry_gets_another() {
    let sandbox = tour().await;
    let (mut ads, before) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    let mongo = |table: &xds_proto::istio::networking::nds::v1::NameTable| {
        table.table.get("mymongodb.somedomain").map(|info| info.ips.clone())
    };
    let text = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/mesh/cluster1/40-mongo.yaml"),
    )
    .unwrap();
    sandbox.delete("cluster1", "ServiceEntry", "default", "mongocluster").unwrap();
    assert_eq!(mongo(&names(&ads.next_of(type_url::NAME_TABLE).await)), None);
    sandbox.apply("cluster1", &text).unwrap();
    let after = mongo(&names(&ads.next_of(type_url::NAME_TABLE).await));
    assert!(after.is_some());
    assert_ne!(after, mongo(&before));
}

#[tokio::test]
async fn a_burst_of_changes_is_one_push() {
    let sandbox = tour().await;
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    for index in 0..10 {
        sandbox.apply("cluster1", &service(&format!("web-{index}"), &format!("10.1.3.{index}"))).unwrap();
    }
    let table = names(&ads.next_of(type_url::NAME_TABLE).await);
    assert!((0..10).all(|index| table.table.contains_key(&format!("web-{index}.a.svc.cluster.local"))));
    assert!(ads.silence().await.is_empty());
}

#[tokio::test]
async fn invalid_yaml_is_rejected_and_a_missing_object_cannot_be_deleted() {
    let sandbox = tour().await;
    let refused = sandbox.apply("cluster1", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n");
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::UnsupportedKind);
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\nspec: {hosts: \
                 [a.example], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: \
                 [{address: not-an-ip}]}\n";
    assert_eq!(sandbox.apply("cluster1", entry).unwrap_err().kind(), ErrorKind::InvalidObject);
    let refused = sandbox.delete("cluster1", "Service", "a", "nobody");
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn mesh_yaml_is_reloaded_except_for_its_trust_domain() {
    let folder = Folder::tour();
    let sandbox = folder.start().await;
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    ads.clusters().await;
    let file = folder.path().join("mesh.yaml");
    std::fs::write(&file, "connectTimeout: 3s\n").unwrap();
    let clusters = clusters(&ads.next_of(type_url::CLUSTER).await);
    assert_eq!(clusters[FORECAST].connect_timeout.unwrap().seconds, 3);
    std::fs::write(&file, "trustDomain: other.example\n").unwrap();
    let failed = |event: &Event| match event {
        Event::ReloadFailed { error } => Some(error.clone()),
        _ => None,
    };
    let error = sandbox.events().wait(failed).await;
    assert!(error.contains("restart the sandbox"), "{error}");
}

#[tokio::test]
async fn mesh_yaml_is_reloaded_if_the_builder_overrides_its_trust_domain() {
    let folder = Folder::tour();
    let file = folder.path().join("mesh.yaml");
    std::fs::write(&file, "trustDomain: file.example\n").unwrap();
    let sandbox = folder.builder().with_trust_domain("given.example").start().await.unwrap();
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    ads.clusters().await;
    std::fs::write(&file, "trustDomain: file.example\nconnectTimeout: 3s\n").unwrap();
    let clusters = clusters(&ads.next_of(type_url::CLUSTER).await);
    assert_eq!(clusters[FORECAST].connect_timeout.unwrap().seconds, 3);
}

#[tokio::test]
async fn a_new_workload_entry_adds_its_identity_even_if_an_older_entry_has_the_host() {
    let sandbox = tour().await;
    let shared = "apiVersion: v1
kind: Service
metadata: {name: shared, namespace: weather, creationTimestamp: \"2026-01-02T00:00:00Z\"}
spec:
  clusterIP: 10.1.0.77
  selector: {app: shared}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shared, namespace: payments, creationTimestamp: \"2026-01-01T00:00:00Z\"}
spec:
  hosts: [shared.weather.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 2.2.2.2}]
";
    sandbox.apply("cluster1", shared).unwrap();
    let (mut ads, table) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    if !table.table.contains_key("shared.weather.svc.cluster.local") {
        ads.next_of(type_url::NAME_TABLE).await;
    }
    ads.clusters().await;
    let late = "apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: late, namespace: weather}
spec: {address: 10.30.0.1, labels: {app: shared}, serviceAccount: late}
";
    sandbox.apply("cluster1", late).unwrap();
    let clusters = clusters(&ads.next_of(type_url::CLUSTER).await);
    assert!(format!("{:?}", clusters["outbound|80||shared.weather.svc.cluster.local"]).contains("sa/late"));
}

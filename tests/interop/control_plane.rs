//! Joining a real istiod: certificate, names, clusters, endpoints, and rejections.

use std::{fs, path::Path, time::Duration};

use mesh_tests::{peers::RealMesh, vm_files::Vm};
use nds_client::{Config, Error, ErrorKind, NdsClient, health::SyncState};

const PATIENCE: Duration = Duration::from_secs(20);
const FORECAST: &str = "forecast.weather.svc.cluster.local";

async fn join(files: &Path) -> Result<NdsClient, Error> {
    NdsClient::join(Config::from_vm_files(files)?).await
}

pub(crate) async fn a_vm_gets_a_certificate_and_its_names_clusters_and_endpoints() {
    let mesh = RealMesh::start().await;
    let client = join(&mesh.vm_files(&Vm::default())).await.unwrap();
    let identity = client.identity().current().unwrap();
    assert_eq!(identity.spiffe_id().as_str(), "spiffe://cluster.local/ns/legacy/sa/vm");

    let names = client.names().get();
    assert_eq!(names.get(FORECAST).unwrap().ipv4(), ["10.1.0.10".parse::<std::net::Ipv4Addr>().unwrap()]);
    assert_eq!(names.get("mymongodb.somedomain").unwrap().ipv4()[0].octets()[..2], [240, 240]);

    let clusters = client.wait_for_clusters(PATIENCE).await.unwrap();
    let cluster = clusters.get(FORECAST, 3002, "").unwrap();
    let endpoints = client.wait_for_endpoints(&cluster.eds_name().unwrap(), PATIENCE).await.unwrap();
    let mut gateways: Vec<_> = endpoints.iter().map(|(_, endpoint)| endpoint.clone()).collect();
    gateways.sort_by(|a, b| a.host.cmp(&b.host));
    assert!(gateways.iter().all(|gateway| gateway.is_gateway() && gateway.port == 15443));
    let hosts: Vec<_> = gateways.iter().map(|gateway| gateway.host.clone()).collect();
    assert_eq!(hosts, [mesh.ip(1, 2), mesh.ip(2, 2)]);
}

pub(crate) async fn istiod_is_found_by_every_form_of_address_in_vm_files() {
    let mesh = RealMesh::start().await;
    let files = mesh.vm_files(&Vm::default());
    let port = mesh.address().port();
    let env = fs::read_to_string(files.join("cluster.env")).unwrap();
    let ways = [
        // The content of mesh.yaml, cluster.env and hosts.
        (format!("127.0.0.1:{port}"), String::new(), ""),
        (format!("localhost:{port}"), String::new(), ""),
        (format!("istiod.istio-system.svc:{port}"), String::new(), "127.0.0.1 istiod.istio-system.svc"),
        (format!("elsewhere.example:{port}"), format!("PILOT_ADDRESS=localhost:{port}"), ""),
        (
            format!("istiod.istio-system.svc:{port}"),
            format!("CA_ADDR='istio-pilot.istio-system.svc:{port}'"),
            "127.0.0.1 istiod.istio-system.svc istio-pilot.istio-system.svc # both",
        ),
    ];
    for (discovery, variable, hosts) in ways {
        fs::write(files.join("mesh.yaml"), format!("defaultConfig:\n  discoveryAddress: {discovery}\n"))
            .unwrap();
        fs::write(files.join("cluster.env"), format!("{env}{variable}\n")).unwrap();
        fs::write(files.join("hosts"), format!("{hosts}\n")).unwrap();
        join(&files).await.unwrap_or_else(|error| panic!("{discovery} {variable}: {}", error.report()));
    }
    // istiod is reached by a name that is not in its certificate, with a server name that is.
    fs::write(
        files.join("mesh.yaml"),
        format!("defaultConfig: {{discoveryAddress: 'ingress.example:{port}'}}\n"),
    )
    .unwrap();
    fs::write(files.join("cluster.env"), env).unwrap();
    fs::write(files.join("hosts"), "127.0.0.1 ingress.example\n").unwrap();
    assert_eq!(join(&files).await.unwrap_err().kind(), ErrorKind::UntrustedServer);
    let config =
        Config::builder().with_vm_files(&files).with_istiod_name("istiod.istio-system.svc").build().unwrap();
    NdsClient::join(config).await.unwrap();
}

/// The resources of Istio's `samples/multicluster/expose-istiod.yaml`, for an istiod outside a pod.
const EXPOSED: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: istiod-gateway, namespace: istio-system}
spec:
  selector: {istio: eastwestgateway, topology.istio.io/network: network1}
  servers:
    - port: {name: tls-istiod, number: 15012, protocol: TLS}
      bind: 127.0.1.2
      tls: {mode: PASSTHROUGH}
      hosts: [\"*\"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: istiod-vs, namespace: istio-system}
spec:
  hosts: [\"*\"]
  gateways: [istiod-gateway]
  tls:
    - match: [{port: 15012, sniHosts: [\"*\"]}]
      route: [{destination: {host: istiod.internal, port: {number: 15012}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: istiod, namespace: istio-system}
spec:
  hosts: [istiod.internal]
  resolution: STATIC
  ports: [{number: 15012, name: tls-istiod, protocol: TLS}]
";

pub(crate) async fn istiod_is_reached_through_an_east_west_gateway() {
    let mut mesh = RealMesh::start().await;
    let istiod = mesh.address();
    let endpoint =
        format!("  endpoints: [{{address: {}, ports: {{tls-istiod: {}}}}}]\n", istiod.ip(), istiod.port());
    mesh.apply("cluster1", &format!("{EXPOSED}{endpoint}")).await;
    let gateway = mesh.gateway(1).await;
    let (files, ip) = (mesh.vm_files(&Vm::default()), mesh.ip(1, 2));
    // Once as istioctl writes it, with the address of the gateway in `hosts`, and once with only the address.
    let ways = [
        ("istiod.istio-system.svc:15012".to_owned(), format!("{ip} istiod.istio-system.svc\n")),
        (format!("{ip}:15012"), String::new()),
    ];
    for (discovery, hosts) in ways {
        let yaml = format!("defaultConfig: {{discoveryAddress: '{discovery}'}}\n");
        fs::write(files.join("mesh.yaml"), yaml).unwrap();
        fs::write(files.join("hosts"), hosts).unwrap();
        let client = join(&files).await.unwrap_or_else(|error| panic!("{discovery}: {}", error.report()));
        assert!(client.wait_for_clusters(PATIENCE).await.unwrap().get(FORECAST, 3002, "").is_some());
    }
    gateway.end().await;
    let config = Config::builder()
        .with_vm_files(&files)
        .with_join_timeout(Duration::from_millis(500))
        .build()
        .unwrap();
    assert_eq!(NdsClient::join(config).await.unwrap_err().kind(), ErrorKind::Unavailable, "no other way");
}

pub(crate) async fn a_vm_without_a_network_uses_the_gateways() {
    let mesh = RealMesh::start().await;
    let client = join(&mesh.vm_files(&Vm { network: String::new(), ..Vm::default() })).await.unwrap();
    let endpoints = client.wait_for_endpoints(&format!("outbound|3002||{FORECAST}"), PATIENCE).await.unwrap();
    assert!(endpoints.iter().count() == 2 && endpoints.iter().all(|(_, endpoint)| endpoint.is_gateway()));
}

pub(crate) async fn adding_and_deleting_a_name_updates_a_running_client() {
    let mut mesh = RealMesh::start().await;
    let client = join(&mesh.vm_files(&Vm::default())).await.unwrap();
    let yaml = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ledger, namespace: weather}
spec:
  hosts: [ledger.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 5432, name: postgres, protocol: TCP}]
  endpoints: [{address: 127.0.2.30}]
";
    assert!(client.names().get().get("ledger.example").is_none());
    mesh.apply("cluster1", yaml).await;
    let mut names = client.names().clone();
    names.wait_for(|names| names.get("ledger.example").is_some()).await.unwrap();
    mesh.delete("cluster1", yaml).await;
    names.wait_for(|names| names.get("ledger.example").is_none()).await.unwrap();
}

pub(crate) async fn names_stay_while_istiod_is_down_and_are_updated_after_its_restart() {
    let mut mesh = RealMesh::start().await;
    let client = join(&mesh.vm_files(&Vm::default())).await.unwrap();
    let mut health = client.health().clone();
    let address = mesh.stop_istiod().await;
    health.wait_for(|health| matches!(health.sync, SyncState::Stale { .. })).await.unwrap();
    health.wait_for(|health| health.stream.is_some()).await.unwrap();
    assert!(client.names().get().get(FORECAST).is_some());
    mesh.restart_istiod(address).await;
    health.wait_for(|health| health.sync == SyncState::Synced && health.stream.is_none()).await.unwrap();
    assert!(client.names().get().get(FORECAST).is_some());
}

pub(crate) async fn a_certificate_is_renewed_many_times_with_the_previous_certificate() {
    let mesh = RealMesh::start().await;
    let files = mesh.vm_files(&Vm::default());
    let config =
        Config::builder().with_vm_files(&files).with_certificate_ttl(Duration::from_secs(4)).build().unwrap();
    let client = NdsClient::join(config).await.unwrap();
    fs::remove_file(files.join("istio-token")).unwrap();
    let mut identity = client.identity().clone();
    let renewed =
        identity.wait_for(|identity| identity.as_ref().is_some_and(|identity| identity.epoch() >= 3));
    assert!(renewed.await.is_some());
    assert!(client.health().get().identity.is_none());
}

pub(crate) async fn a_request_above_the_maximum_lifetime_is_repeated_with_the_default() {
    let mesh = RealMesh::builder()
        .environment("MAX_WORKLOAD_CERT_TTL", "1h")
        .environment("DEFAULT_WORKLOAD_CERT_TTL", "30m")
        .start()
        .await;
    let client = join(&mesh.vm_files(&Vm::default())).await.unwrap();
    let remaining = client.identity().current().unwrap().remaining(std::time::SystemTime::now());
    assert!(remaining <= Duration::from_secs(30 * 60), "{remaining:?}");
}

pub(crate) async fn the_error_of_a_rejected_token_names_the_invalid_claim() {
    let mesh = RealMesh::start().await;
    let vm = Vm::default();
    let files = mesh.vm_files(&vm);
    let refused = async |token: String| {
        fs::write(files.join("istio-token"), token).unwrap();
        let error = join(&files).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{}", error.report());
        assert!(error.to_string().contains(&files.join("istio-token").display().to_string()), "{error}");
        error.to_string()
    };
    let audience = refused(vm.token("somebody-else", Duration::from_secs(3600))).await;
    assert!(
        audience
            .contains(r#"the audience of the token is ["somebody-else"], but istiod requires "istio-ca""#),
        "{audience}"
    );
    let expired = refused(vm.token("istio-ca", Duration::ZERO)).await;
    assert!(expired.contains("the token expired"), "{expired}");
    let nonsense = refused("nonsense".to_owned()).await;
    assert!(nonsense.contains("not a JSON Web Token"), "{nonsense}");
}

pub(crate) async fn the_error_of_a_wrong_root_names_the_root_file() {
    let (mesh, other) = tokio::join!(RealMesh::start(), RealMesh::start());
    let files = mesh.vm_files(&Vm::default());
    fs::write(files.join("root-cert.pem"), other.root_pem()).unwrap();
    let error = join(&files).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UntrustedServer, "{}", error.report());
    assert!(error.to_string().contains(&files.join("root-cert.pem").display().to_string()), "{error}");
}

pub(crate) async fn the_stream_rejects_an_identity_of_another_namespace() {
    let mesh = RealMesh::start().await;
    let vm = Vm::default();
    let files = mesh.vm_files(&vm);
    let other = Vm { namespace: "elsewhere".into(), ..vm };
    fs::write(files.join("istio-token"), other.token("istio-ca", Duration::from_secs(3600))).unwrap();
    let error = join(&files).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{}", error.report());
    assert!(error.to_string().contains("legacy"), "{error}");
}

pub(crate) async fn the_error_after_the_join_timeout_names_the_address_of_istiod() {
    let mut mesh = RealMesh::start().await;
    let files = mesh.vm_files(&Vm::default());
    let address = mesh.stop_istiod().await;
    let config = Config::builder()
        .with_vm_files(&files)
        .with_join_timeout(Duration::from_millis(500))
        .build()
        .unwrap();
    let error = NdsClient::join(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

pub(crate) async fn forced_reconnects_cause_no_error() {
    let mut mesh = RealMesh::builder().argument("--max-connection-age=1s").start().await;
    let client = join(&mesh.vm_files(&Vm::default())).await.unwrap();
    client.wait_for_clusters(PATIENCE).await.unwrap();
    // The stream ends after one second and ten seconds of grace. The client must not report an error, and a later
    // change must arrive.
    let mut health = client.health().clone();
    let noticed = health.wait_for(|health| !health.is_ok());
    assert!(tokio::time::timeout(Duration::from_secs(14), noticed).await.is_err());
    mesh.apply(
        "cluster1",
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: later, namespace: weather}
spec:
  hosts: [later.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.2.30}]
",
    )
    .await;
    client.names().clone().wait_for(|names| names.get("later.example").is_some()).await.unwrap();
}

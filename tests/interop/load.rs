//! Calls that must succeed while certificates, roots and istiod change.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Uri;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use mesh_connector::{
    Config, Mesh,
    nds_client::{Identity, health::SyncState},
};
use mesh_tests::{
    peers::{Child, RealMesh},
    pki::PluggedCa,
    vm_files::Vm,
};
use tokio::{sync::watch, task::JoinSet};

use crate::{common::join, state_dir};

const URL: &str = "http://forecast.weather:3002/";

/// Sequential calls from several tasks, each over a new connection.
struct Load {
    stop: Arc<AtomicBool>,
    calls: watch::Sender<usize>,
    callers: JoinSet<Vec<String>>,
}

impl Load {
    fn start(mesh: &Mesh) -> Self {
        let (stop, calls) = (Arc::<AtomicBool>::default(), watch::Sender::new(0));
        let mut callers = JoinSet::new();
        for _ in 0..4 {
            let (stop, calls) = (stop.clone(), calls.clone());
            let client = mesh.http_client::<Empty<Bytes>>().with_max_idle_per_host(0);
            callers.spawn(async move {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    calls.send_modify(|calls| *calls += 1);
                    match client.get(Uri::from_static(URL)).await {
                        Ok(response) if response.status().is_success() => {
                            if let Err(error) = response.into_body().collect().await {
                                failures.push(error.to_string());
                            }
                        }
                        Ok(response) => failures.push(response.status().to_string()),
                        Err(error) => failures.push(error.report()),
                    }
                }
                failures
            });
        }
        Self { stop, calls, callers }
    }

    /// Waits until `more` further calls have been made.
    async fn go_on(&self, more: usize) {
        let enough = *self.calls.borrow() + more;
        self.calls.subscribe().wait_for(|calls| *calls >= enough).await.unwrap();
    }

    /// Stops the calls and checks that none has failed.
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.callers.join_all().await.concat();
        let calls = *self.calls.borrow();
        assert!(failures.is_empty(), "{} of {calls} calls failed: {}", failures.len(), failures[0]);
        calls
    }
}

async fn network2(real: &RealMesh) -> (Child, Child) {
    tokio::join!(real.gateway(2), real.forecast(2))
}

fn plugged(ca: &PluggedCa) -> mesh_tests::peers::RealMeshBuilder {
    let files = ca.files(&[ca]);
    files.iter().fold(RealMesh::builder(), |mesh, (name, text)| mesh.file(&format!("cacerts/{name}"), text))
}

pub(crate) async fn a_plugged_ca_with_an_intermediate_is_trusted_end_to_end() {
    let ca = PluggedCa::new("plugged");
    let real = plugged(&ca).start().await;
    assert_eq!(real.root_pem().trim(), ca.root_pem().trim());
    let _peers = network2(&real).await;
    let mesh = join(&real).await;
    let chain = mesh.client().identity().current().unwrap().certified_key().cert.len();
    assert_eq!(chain, 2, "leaf and intermediate, without the root");
    let load = Load::start(&mesh);
    load.go_on(10).await;
    load.end().await;
}

pub(crate) async fn a_root_rotation_under_load_fails_no_call() {
    let (a, b) = (PluggedCa::new("a"), PluggedCa::new("b"));
    let real = plugged(&a).environment("ISTIO_MULTIROOT_MESH", "true").start().await;
    // The peers renew twice as often as the client, and use the roots that come with each certificate.
    let _peers = tokio::join!(real.gateway(2), real.forecast_as(2, "forecast", &["--ttl=3s"]));
    let config = Config::builder().with_vm_files(real.vm_files(&Vm::default()));
    let config = config.with_certificate_ttl(Duration::from_secs(6)).build().unwrap();
    let mesh = Mesh::join(config).await.unwrap();
    let load = Load::start(&mesh);
    let mut identity = mesh.client().identity().clone();
    for (signer, roots, more) in [(&a, &[&a, &b][..], 3), (&b, &[&a, &b], 3), (&b, &[&b], 2)] {
        let before = identity.current().unwrap().epoch();
        // The workload reads the roots from a file that is updated, like the ConfigMap in a pod. The client joins with
        // the first roots and gets the others from istiod.
        real.write("root-cert.pem", &roots.iter().map(|ca| ca.root_pem()).collect::<String>());
        for (name, text) in signer.files(roots) {
            real.write(&format!("cacerts/{name}"), &text);
        }
        let renewed = |identity: &Option<Arc<Identity>>| {
            identity.as_ref().is_some_and(|now| now.epoch() >= before + more)
        };
        identity.wait_for(renewed).await.unwrap();
        load.go_on(20).await;
    }
    let now = identity.current().unwrap();
    let chain = &now.certified_key().cert;
    assert_eq!(chain[1].as_ref(), b.intermediate_der(), "signed by the new authority");
    load.end().await;
}

pub(crate) async fn another_trust_domain_with_an_alias_is_taken_from_the_certificate() {
    let mesh_config =
        "defaultProviders: {}\ntrustDomain: prod.example\ntrustDomainAliases: [cluster.local]\n";
    let real = RealMesh::builder().file("mesh.yaml", mesh_config).start().await;
    let _peers = network2(&real).await;
    let mesh = join(&real).await;
    let identity = mesh.client().identity().current().unwrap();
    assert_eq!(identity.spiffe_id().as_str(), "spiffe://prod.example/ns/legacy/sa/vm");
    let stream = mesh.connect("forecast.weather", 3002).await.unwrap();
    assert_eq!(stream.connection().peer_name(), Some("spiffe://prod.example/ns/weather/sa/forecast"));
}

pub(crate) async fn certificates_renewed_many_times_under_load_fail_no_call() {
    let real = RealMesh::start().await;
    let _peers = network2(&real).await;
    let files = real.vm_files(&Vm::default());
    let config =
        Config::builder().with_vm_files(&files).with_certificate_ttl(Duration::from_secs(3)).build().unwrap();
    let mesh = Mesh::join(config).await.unwrap();
    std::fs::remove_file(files.join("istio-token")).unwrap();
    let load = Load::start(&mesh);
    let mut identity = mesh.client().identity().clone();
    identity
        .wait_for(|identity| identity.as_ref().is_some_and(|identity| identity.epoch() >= 6))
        .await
        .unwrap();
    let calls = load.end().await;
    eprintln!("{calls} calls over 5 renewals");
}

pub(crate) async fn istiod_restarted_under_load_fails_no_call() {
    let mut real = RealMesh::start().await;
    let _peers = network2(&real).await;
    let mesh = join(&real).await;
    let load = Load::start(&mesh);
    load.go_on(20).await;
    let mut health = mesh.health().membership().clone();
    for _ in 0..2 {
        let address = real.stop_istiod().await;
        health.wait_for(|health| matches!(health.sync, SyncState::Stale { .. })).await.unwrap();
        load.go_on(20).await;
        real.restart_istiod(address).await;
        health.wait_for(|health| health.sync == SyncState::Synced).await.unwrap();
        load.go_on(20).await;
    }
    load.end().await;
}

pub(crate) async fn an_expired_certificate_is_replaced_with_the_token() {
    let mut real = RealMesh::start().await;
    let files = real.vm_files(&Vm::default());
    let config =
        Config::builder().with_vm_files(&files).with_certificate_ttl(Duration::from_secs(2)).build().unwrap();
    let mesh = Mesh::join(config).await.unwrap();
    let mut identity = mesh.client().identity().clone();
    let first = identity.current().unwrap();
    let address = real.stop_istiod().await;
    // No certificate is issued until this one has expired.
    tokio::time::sleep(first.remaining(std::time::SystemTime::now())).await;
    real.restart_istiod(address).await;
    identity
        .wait_for(|identity| identity.as_ref().is_some_and(|now| now.epoch() > first.epoch()))
        .await
        .unwrap();
    mesh.health().membership().clone().wait_for(|health| health.sync == SyncState::Synced).await.unwrap();
}

pub(crate) async fn a_vm_that_starts_while_istiod_is_down_uses_its_snapshot() {
    let mut real = RealMesh::start().await;
    let _peers = network2(&real).await;
    let files = real.vm_files(&Vm::default());
    let config = Config::builder().with_vm_files(&files).with_state_dir(files.join("state")).build().unwrap();
    let mesh = Mesh::join(config.clone()).await.unwrap();
    mesh.connect("forecast.weather", 3002).await.unwrap();
    let has_endpoints = |folder: &Path| {
        let snapshot = std::fs::read(folder.join("snapshot")).unwrap_or_default();
        let metadata = b"envoy.transport_socket_match";
        snapshot.windows(metadata.len()).any(|window| window == metadata)
    };
    state_dir::wait_for(files.join("state"), has_endpoints).await;
    drop(mesh);
    let address = real.stop_istiod().await;
    let mesh = Mesh::join(config).await.unwrap();
    assert!(
        matches!(mesh.health().membership().get().sync, SyncState::FromDisk { .. }),
        "{:?}",
        mesh.health().membership().get()
    );
    let lookup = mesh.raw_resolver().lookup_ip("forecast.weather").await.unwrap();
    assert_eq!(lookup.mesh_name(), Some("forecast.weather.svc.cluster.local"));
    let load = Load::start(&mesh);
    load.go_on(20).await;
    real.restart_istiod(address).await;
    mesh.health().membership().clone().wait_for(|health| health.sync == SyncState::Synced).await.unwrap();
    load.go_on(20).await;
    load.end().await;
}

pub(crate) async fn several_thousand_services_arrive_in_one_message() {
    const SERVICES: usize = 4000;
    let service = |at: usize| {
        let ip = format!("10.{}.{}.{}", 100 + at / 65_000, at / 250 % 250, at % 250 + 1);
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s{at}, namespace: weather}}\nspec:\n  clusterIP: {ip}\n  clusterIPs: [{ip}]\n  ports: [{{name: http, port: 80}}]\n"
        )
    };
    let yaml: Vec<_> = (0..SERVICES).map(service).collect();
    let real = RealMesh::builder().file("clusters/cluster1/many.yaml", &yaml.join("---\n")).start().await;
    let _peers = network2(&real).await;
    let mesh = join(&real).await;
    assert!(mesh.client().names().load().len() >= SERVICES);
    let clusters = mesh.client().wait_for_clusters(Duration::from_secs(30)).await.unwrap();
    assert!(clusters.get(&format!("s{}.weather.svc.cluster.local", SERVICES - 1), 80, "").is_some());
    let lookup = mesh.raw_resolver().lookup_ip("s1234.weather").await.unwrap();
    assert_eq!(lookup.mesh_name(), Some("s1234.weather.svc.cluster.local"));
    let load = Load::start(&mesh);
    load.go_on(10).await;
    load.end().await;
}

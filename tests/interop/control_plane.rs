//! Joining a real istiod: certificate, names, clusters, endpoints.

use std::time::Duration;

use mesh_tests::{peers::RealMesh, vm_files::Vm};
use nds_client::{Config, NdsClient};

const PATIENCE: Duration = Duration::from_secs(10);

pub async fn a_vm_joins_with_its_token_and_resolves_the_names_of_both_clusters() {
    let mesh = RealMesh::start().await;
    let started = std::time::Instant::now();
    let client = NdsClient::join(Config::from_vm_files(mesh.vm_files(&Vm::default())).unwrap())
        .await
        .unwrap();
    eprintln!("joined in {:?}", started.elapsed());
    let identity = client.identity().get();
    let identity = identity.as_ref().as_ref().unwrap();
    assert_eq!(
        identity.spiffe_id().as_str(),
        "spiffe://cluster.local/ns/legacy/sa/vm"
    );

    let names = client.names().get();
    let forecast = names.get("forecast.weather.svc.cluster.local").unwrap();
    assert_eq!(
        forecast.ipv4(),
        ["10.1.0.10".parse::<std::net::Ipv4Addr>().unwrap()],
        "cluster1's"
    );
    let mongo = names.get("mymongodb.somedomain").unwrap();
    assert_eq!(mongo.ipv4()[0].octets()[..2], [240, 240]);

    let clusters = client.clusters(PATIENCE).await.unwrap();
    let cluster = clusters
        .get("forecast.weather.svc.cluster.local", 3002, "")
        .unwrap();
    eprintln!("{cluster:#?}");
    let endpoints = client
        .endpoints(&cluster.eds_name().unwrap(), PATIENCE)
        .await
        .unwrap();
    eprintln!("{endpoints:#?}");
    assert!(endpoints.iter().all(|(_, endpoint)| endpoint.is_gateway()));
}

//! What a program that only resolves is told about hosts outside the mesh that somebody has declared in a ServiceEntry.

use std::{net::IpAddr, time::Duration};

use mesh_connector::nds_client::NdsClient;
use mesh_resolver::{LocalAddresses, MeshResolver, MeshResolverBuilder, Source, Upstream};
use mesh_sandbox::Sandbox;
use mesh_tests::external::{ENTRIES, HOSTS, INSIDE, OWN_ADDRESS, UPSTREAM};

use super::stage;

const UPSTREAMS: &str = "192.0.2.10";
const OWN: &str = "198.51.100.7";
const LOCAL: &str = "127.64.0.7";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

async fn declared(sandbox: &Sandbox, client: &NdsClient) {
    sandbox.apply("cluster1", ENTRIES).expect("the sandbox takes the entries");
    client
        .names()
        .clone()
        .wait_for(|table| HOSTS.iter().all(|name| table.get(name).is_some()))
        .await
        .expect("the table");
}

/// Both ways to ask, of which one knows the table alone.
async fn answered(resolver: &MeshResolver, name: &str) -> (IpAddr, bool) {
    let found = resolver.lookup_ip(name).await.expect(name);
    let of_the_mesh = matches!(found.source(), Source::Mesh { .. });
    let tried = resolver.try_lookup(name).map(|tried| tried[0]);
    assert_eq!(tried, of_the_mesh.then_some(found.addresses()[0]), "{name}");
    (found.addresses()[0], of_the_mesh)
}

fn is_virtual(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[..2] == [240, 240])
}

#[tokio::test]
async fn a_program_that_only_resolves_gets_upstreams_answer_instead_of_an_address_that_nobody_routes() {
    let stage = stage().await;
    declared(&stage.sandbox, stage.mesh.client()).await;
    let upstream = Upstream::servers([stage.sandbox.upstream_dns()]);
    let builder = || MeshResolver::builder_for(stage.mesh.client()).with_upstream(upstream.clone());
    let resolver = builder().with_upstream_for_external().build().unwrap();
    // Before the clusters are known, and after.
    for _ in 0..2 {
        assert_eq!(answered(&resolver, UPSTREAM).await, (ip(UPSTREAMS), false));
        assert_eq!(answered(&resolver, OWN_ADDRESS).await, (ip(OWN), true), "it has an address");
        stage.mesh.client().wait_for_clusters(Duration::from_secs(10)).await.unwrap();
    }
    let (inside, of_the_mesh) = answered(&resolver, INSIDE).await;
    assert!(is_virtual(inside) && of_the_mesh, "{inside}: only the mesh knows it");
    let table = stage.mesh.client().names().load();
    let istiods = table.get(UPSTREAM).expect("the table itself stays istiod's").ipv4()[0];
    assert!(is_virtual(istiods.into()), "{istiods}");
    // Whoever dials virtual addresses gets them.
    let connectors = builder().build().unwrap();
    assert_eq!(answered(&connectors, UPSTREAM).await, (istiods.into(), true));
}

struct Loopback;

impl LocalAddresses for Loopback {
    fn address(&self, _: &str) -> Option<IpAddr> {
        Some(ip(LOCAL))
    }
}

#[tokio::test]
async fn a_loopback_address_stands_for_a_host_outside_the_mesh_only_where_the_table_answers() {
    let stage = stage().await;
    declared(&stage.sandbox, stage.mesh.client()).await;
    stage.mesh.client().wait_for_clusters(Duration::from_secs(10)).await.unwrap();
    let upstream = Upstream::servers([stage.sandbox.upstream_dns()]);
    let builder: MeshResolverBuilder =
        MeshResolver::builder_for(stage.mesh.client()).with_upstream(upstream).with_local_addresses(Loopback);
    let resolver = builder.with_upstream_for_external().build().unwrap();
    assert_eq!(answered(&resolver, UPSTREAM).await, (ip(UPSTREAMS), false));
    for name in [OWN_ADDRESS, INSIDE, "forecast.weather"] {
        assert_eq!(answered(&resolver, name).await, (ip(LOCAL), true), "{name}");
    }
}

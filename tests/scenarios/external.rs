//! The answers for hosts outside the mesh that a ServiceEntry declares, for a program that only resolves names.

use std::{net::IpAddr, time::Duration};

use mesh_connector::nds_client::NdsClient;
use mesh_resolver::{
    Asker, LocalAddresses, MeshResolver, MeshResolverBuilder, NoLocalAddress, Source, Upstream,
};
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
    sandbox.apply("cluster1", ENTRIES).expect("the sandbox accepts the entries");
    client
        .names()
        .clone()
        .wait_for(|table| HOSTS.iter().all(|name| table.get(name).is_some()))
        .await
        .expect("the name table");
}

/// Resolves a name in both ways: the second one reads only the name table.
async fn answered(resolver: &MeshResolver, name: &str) -> (IpAddr, bool) {
    let found = resolver.lookup_ip(name).await.expect(name);
    let of_the_mesh = matches!(found.source(), Source::Mesh { .. });
    let tried = resolver.try_lookup(name).map(|tried| tried.first());
    assert_eq!(tried, of_the_mesh.then_some(found.addresses()[0]), "{name}");
    (found.addresses()[0], of_the_mesh)
}

fn is_virtual(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[..2] == [240, 240])
}

#[tokio::test]
async fn a_program_that_only_resolves_gets_the_answer_of_upstream_instead_of_a_virtual_ip() {
    let stage = stage().await;
    declared(&stage.sandbox, stage.mesh.client()).await;
    let upstream = Upstream::servers([stage.sandbox.upstream_dns()]);
    let builder = || MeshResolver::builder_for(stage.mesh.client()).with_upstream(upstream.clone());
    let resolver = builder().with_upstream_for_external_services().build().unwrap();
    // Once before the clusters are known, and once after.
    for _ in 0..2 {
        assert_eq!(answered(&resolver, UPSTREAM).await, (ip(UPSTREAMS), false));
        assert_eq!(answered(&resolver, OWN_ADDRESS).await, (ip(OWN), true), "it has an address");
        stage.mesh.client().wait_for_clusters(Duration::from_secs(10)).await.unwrap();
    }
    let (inside, of_the_mesh) = answered(&resolver, INSIDE).await;
    assert!(is_virtual(inside) && of_the_mesh, "{inside}: the address must be virtual");
    let table = stage.mesh.client().names().load();
    let istiods = table.get(UPSTREAM).expect("the name table is unchanged").ipv4()[0];
    assert!(is_virtual(istiods.into()), "{istiods}");
    // A client that can connect to virtual IPs gets them.
    let connectors = builder().build().unwrap();
    assert_eq!(answered(&connectors, UPSTREAM).await, (istiods.into(), true));
}

struct Loopback;

impl LocalAddresses for Loopback {
    fn address(&self, _: &str, _: Asker) -> Result<Option<IpAddr>, NoLocalAddress> {
        Ok(Some(ip(LOCAL)))
    }
}

#[tokio::test]
async fn a_host_outside_the_mesh_has_a_local_address_only_if_the_name_table_answers_it() {
    let stage = stage().await;
    declared(&stage.sandbox, stage.mesh.client()).await;
    stage.mesh.client().wait_for_clusters(Duration::from_secs(10)).await.unwrap();
    let upstream = Upstream::servers([stage.sandbox.upstream_dns()]);
    let builder: MeshResolverBuilder =
        MeshResolver::builder_for(stage.mesh.client()).with_upstream(upstream).with_local_addresses(Loopback);
    let resolver = builder.with_upstream_for_external_services().build().unwrap();
    assert_eq!(answered(&resolver, UPSTREAM).await, (ip(UPSTREAMS), false));
    for name in [OWN_ADDRESS, INSIDE, "forecast.weather"] {
        assert_eq!(answered(&resolver, name).await, (ip(LOCAL), true), "{name}");
    }
}

//! The data that istiod sends about hosts outside the mesh, and its use by a program that only resolves names.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use mesh_connector::{Config, nds_client::NdsClient};
use mesh_resolver::{MeshResolver, Source, Upstream};
use mesh_tests::{
    external::{ENTRIES, HOSTS, INSIDE, OWN_ADDRESS, UPSTREAM},
    peers::RealMesh,
    vm_files::Vm,
};

/// `istio.external` in the clusters that istiod sends distinguishes hosts outside the mesh from those inside
/// (`pilot/pkg/networking`).
pub(crate) async fn a_host_outside_the_mesh_gets_the_answer_of_upstream_unless_it_has_explicit_addresses() {
    let mut mesh = RealMesh::start().await;
    mesh.apply("cluster1", ENTRIES).await;
    let client =
        NdsClient::join(Config::from_vm_files(mesh.vm_files(&Vm::default())).unwrap()).await.unwrap();
    client
        .names()
        .clone()
        .wait_for(|table| HOSTS.iter().all(|name| table.get(name).is_some()))
        .await
        .unwrap();
    let upstream = Upstream::servers([upstream()]);
    let builder = || MeshResolver::builder_for(&client).with_upstream(upstream.clone());
    let resolver = builder().with_upstream_for_external_services().build().unwrap();
    // Once before the clusters are known, and once after.
    for _ in 0..2 {
        let found = resolver.lookup_ip(UPSTREAM).await.unwrap();
        assert_eq!((found.source(), found.addresses()), (&Source::Upstream, &[UPSTREAMS.into()][..]));
        let found = resolver.lookup_ip(OWN_ADDRESS).await.unwrap();
        assert_eq!(found.mesh_name(), Some(OWN_ADDRESS));
        assert_eq!(found.addresses(), [IpAddr::from([198, 51, 100, 7])]);
        client.wait_for_clusters(Duration::from_secs(10)).await.unwrap();
    }
    for (resolver, name) in [(&resolver, INSIDE), (&builder().build().unwrap(), UPSTREAM)] {
        let found = resolver.lookup_ip(name).await.unwrap();
        assert_eq!(found.mesh_name(), Some(name));
        assert!(found.addresses().iter().copied().all(is_virtual), "{found:?}");
    }
}

const UPSTREAMS: [u8; 4] = [192, 0, 2, 7];

/// Starts a DNS server that answers every name with [`UPSTREAMS`]. It runs until the process ends.
fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut room = [0; 512];
        while let Ok((len, peer)) = socket.recv_from(&mut room) {
            let mut answer = room[..len].to_vec();
            let is_a = answer[len - 4..len - 2] == [0, 1];
            answer[2..4].copy_from_slice(&[0x81, 0x80]);
            answer[7] = u8::from(is_a);
            if is_a {
                answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend_from_slice(&UPSTREAMS);
            }
            let _ = socket.send_to(&answer, peer);
        }
    });
    address
}

/// Returns whether istiod has allocated the address (`pilot/pkg/controllers/ipallocate`).
fn is_virtual(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] >= 240,
        IpAddr::V6(ip) => ip.segments()[..3] == [0x2001, 2, 0],
    }
}

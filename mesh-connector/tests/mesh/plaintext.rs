//! Names of the mesh are not reached in plaintext at an address from upstream DNS.

use std::{net::SocketAddr, time::Duration};

use mesh_connector::{ErrorKind, Mesh, MeshBuilder, Upstream};
use mesh_sandbox::Sandbox;
use tokio::net::{TcpListener, UdpSocket};

use crate::World;

const HOST: &str = "orders.shop.example";

/// Starts a DNS server that answers each question for an IPv4 address with 127.0.0.1.
async fn dns() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut query).await.unwrap();
            let name = query[12..length].iter().position(|byte| *byte == 0).unwrap();
            let end = 12 + name + 5;
            let mut answer = query[..end].to_vec();
            (answer[2], answer[3]) = (0x81, 0x80);
            answer[6..12].fill(0);
            if query[end - 3] == 1 {
                answer[7] = 1;
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    address
}

/// A mesh with a listener outside of it, to which upstream DNS leads.
struct Outside {
    world: World,
    listener: TcpListener,
    port: u16,
    dns: SocketAddr,
}

impl Outside {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { world: World::start().await, listener, port, dns: dns().await }
    }

    fn builder(&self) -> MeshBuilder {
        self.world.builder().with_upstream(Upstream::servers([self.dns]).without_hosts_file())
    }

    fn sandbox(&self) -> &Sandbox {
        &self.world.sandbox
    }

    /// Adds a service of the mesh on the port of the listener, connects to it, and deletes it.
    async fn add_and_delete(&self, mesh: &Mesh) {
        let yaml = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: orders, namespace: shop}}\n\
             spec:\n  hosts: [{HOST}]\n  addresses: [240.9.9.9]\n  location: MESH_INTERNAL\n  resolution: STATIC\n\
             \x20 ports: [{{number: {}, name: tcp, protocol: TCP}}]\n\
             \x20 endpoints: [{{address: 10.20.9.77, network: network2, serviceAccount: orders, labels: {{app: orders}}}}]\n",
            self.port
        );
        self.world.apply(mesh, "cluster1", &yaml, HOST).await;
        let mut names = mesh.client().names().clone();
        let limit = Duration::from_secs(10);
        let listed = names.wait_for(|names| names.get(HOST).is_some());
        tokio::time::timeout(limit, listed).await.unwrap().unwrap();
        self.sandbox().delete("cluster1", "ServiceEntry", "shop", "orders").unwrap();
        let deleted = names.wait_for(|names| names.get(HOST).is_none());
        tokio::time::timeout(limit, deleted).await.unwrap().unwrap();
        let mut clusters = mesh.client().clusters().clone();
        let deleted = clusters.wait_for(|all| all.as_ref().is_some_and(|all| !all.has_host(HOST)));
        tokio::time::timeout(limit, deleted).await.unwrap().unwrap();
    }

    /// Returns whether the listener outside the mesh has received a connection.
    fn was_reached(&self) -> bool {
        use futures_util::FutureExt as _;
        // polling: the kernel has completed every connection attempt before `connect` returned.
        self.listener.accept().now_or_never().is_some()
    }
}

#[tokio::test]
async fn a_deleted_service_is_not_reached_in_plaintext() {
    let outside = Outside::start().await;
    let mesh = outside.builder().join().await.unwrap();
    outside.add_and_delete(&mesh).await;
    let error = mesh.connect(HOST, outside.port).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlaintextRefused, "{error}");
    for part in [HOST, "deleted", "with_plaintext_to_mesh_names"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    let explanation = mesh.explain(HOST, outside.port).await.unwrap();
    assert!(!explanation.passthrough.as_ref().unwrap().allowed);
    assert!(explanation.to_string().contains("istiod does not list it now"), "{explanation}");
    #[cfg(feature = "hyper")]
    {
        let client = mesh.http_client::<http_body_util::Empty<&[u8]>>();
        let error =
            client.get(format!("http://{HOST}:{}/", outside.port).parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PlaintextRefused, "{error}");
    }
    assert!(!outside.was_reached());
    // Other hosts outside the mesh are reached.
    mesh.connect("other.example", outside.port).await.unwrap();
}

#[tokio::test]
async fn a_name_in_the_domain_of_the_cluster_is_not_reached_in_plaintext() {
    let outside = Outside::start().await;
    let mesh = outside.builder().join().await.unwrap();
    for name in ["nobody.shop.svc.cluster.local", "nobody.shop.svc"] {
        let error = mesh.connect(name, outside.port).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::PlaintextRefused | ErrorKind::UnknownHost), "{error}");
    }
    assert!(!outside.was_reached());
}

#[tokio::test]
async fn the_program_can_allow_plaintext_to_names_that_istiod_no_longer_lists() {
    let outside = Outside::start().await;
    let mesh = outside.builder().with_plaintext_to_mesh_names(true).join().await.unwrap();
    outside.add_and_delete(&mesh).await;
    mesh.connect(HOST, outside.port).await.unwrap();
    assert!(outside.was_reached());
}

/// Before the name table arrives, any host may be in the mesh.
#[tokio::test]
async fn without_a_name_table_no_host_is_reached_in_plaintext() {
    let outside = Outside::start().await;
    outside.sandbox().slow_istiod(Duration::from_secs(3600));
    let gateways = ["127.0.0.1:1".parse().unwrap()];
    let builder = outside.builder().with_connect_deadline(Duration::from_millis(100));
    for builder in [builder.clone(), builder.with_static_gateways(gateways)] {
        let mesh = builder.spawn().unwrap();
        let error = mesh.connect(HOST, outside.port).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ControlPlane, "{error}");
        assert!(mesh.connect("127.0.0.1", outside.port).await.is_err());
    }
    assert!(!outside.was_reached());
}

/// A mesh without its tasks would go on with an old policy, and an expiring certificate.
#[test]
fn a_mesh_whose_runtime_has_ended_does_not_connect() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let (outside, mesh) = first.block_on(async {
        let outside = Outside::start().await;
        let mesh = outside.builder().join().await.unwrap();
        (outside, mesh)
    });
    drop(first);
    let error = second.block_on(mesh.connect("forecast.weather", 3002)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert!(error.to_string().contains("runtime"), "{error}");
    drop(outside);
}

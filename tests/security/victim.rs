//! A process with a bridge whose addresses a DNS listener returns.

use std::net::SocketAddr;

use mesh_connector::{
    Config, Mesh,
    bridge::{Access, Bridge},
};
use mesh_resolver::{MeshResolver, Upstream, listener::DnsListener};
use mesh_sandbox::{Sandbox, VmFiles};

pub(crate) struct Victim {
    pub(crate) bridge: Bridge,
    pub(crate) resolver: MeshResolver,
    pub(crate) dns: DnsListener,
    _mesh: Mesh,
    _sandbox: Sandbox,
    /// The folder must exist as long as the client, which reads the token for each request.
    _vm: VmFiles,
}

impl Victim {
    /// Starts a mesh with these services and their ports, and a bridge that answers the DNS queries of `users`.
    pub(crate) async fn start(services: &[(&str, &[u16])], users: &[u32]) -> Self {
        let sandbox = Sandbox::builder().without_reload().start().await.unwrap();
        let entries: Vec<_> = services.iter().map(|(host, ports)| entry(host, ports)).collect();
        sandbox.apply("cluster1", &entries.join("---\n")).unwrap();
        let vm = sandbox.vm_files("vms/edge-app").unwrap();
        let config = Config::from_vm_files(vm.path()).unwrap();
        let upstream = Upstream::servers([sandbox.upstream_dns()]);
        let mesh = Mesh::builder(config).with_upstream(upstream).join().await.unwrap();
        let mut builder = mesh.bridge().with_access(Access::SameUser);
        for user in users {
            builder = builder.with_dns_client_user(*user);
        }
        let bridge = builder.start().await.unwrap();
        let resolver = bridge.resolver().await.unwrap();
        for (host, _) in services {
            let mut clusters = mesh.client().clusters().clone();
            clusters.wait_for(|all| all.as_ref().is_some_and(|all| all.has_host(host))).await.unwrap();
            mesh.client().names().clone().wait_for(|names| names.get(host).is_some()).await.unwrap();
        }
        let dns = DnsListener::builder(resolver.clone()).bind("127.0.0.1:0").start().unwrap();
        Self { bridge, resolver, dns, _mesh: mesh, _sandbox: sandbox, _vm: vm }
    }

    /// Returns the address of the DNS listener.
    pub(crate) fn dns_address(&self) -> SocketAddr {
        self.dns.addresses()[0]
    }
}

fn entry(host: &str, ports: &[u16]) -> String {
    let name = host.replace('.', "-");
    let ports: String = ports
        .iter()
        .map(|port| format!("  - {{number: {port}, name: tcp-{port}, protocol: TCP}}\n"))
        .collect();
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: weather}}
spec:
  hosts: [{host}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
{ports}  endpoints: [{{address: 10.20.9.77, network: network2}}]
"
    )
}

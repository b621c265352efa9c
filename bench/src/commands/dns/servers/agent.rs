//! Istio's agent with its DNS proxy and a real istiod.

use mesh_tests::{
    peers::{
        self, RealMesh,
        agent::{DnsAgent, SIDECAR},
    },
    vm_files::Vm,
};
use tokio::runtime::Runtime;

use super::{Running, Server};
use crate::{Failure, commands::dns::names::Names};

struct Peer {
    _agent: DnsAgent,
    _mesh: RealMesh,
    _runtime: Runtime,
}

impl Running for Peer {}

pub(super) fn start(names: &Names) -> Result<Server, Failure> {
    peers::find()?;
    peers::may_mount()?;
    let runtime = Runtime::new()?;
    let (mesh, agent) = runtime.block_on(async {
        let mut mesh = RealMesh::start().await;
        mesh.apply("cluster1", &format!("{SIDECAR}{}", names.service_entries())).await;
        let vm = Vm {
            namespace: "weather".into(),
            service_account: "dns-agent".into(),
            network: "network1".into(),
            ..Vm::default()
        };
        let files = mesh.vm_files(&vm);
        let resolv_conf = files.join("resolv.conf");
        std::fs::write(&resolv_conf, "search weather.svc.cluster.local\nnameserver 127.0.0.1\n")?;
        let agent = DnsAgent::start(&mesh, &files, &resolv_conf).await;
        Ok::<_, Failure>((mesh, agent))
    })?;
    let (address, pid) = (agent.dns, agent.pid().ok_or("the agent has ended")?);
    let running = Box::new(Peer { _agent: agent, _mesh: mesh, _runtime: runtime });
    let server = Server { address, pid, _running: running };
    server.answers()?;
    Ok(server)
}

//! A real istiod, gateway, sidecar and workload, for what is measured beside them.

use mesh_connector::{Config, Mesh, Protocol, Target};
use mesh_tests::{
    peers::{self, CLIENT_SIDECAR, Child, RealMesh},
    vm_files::Vm,
};
use tokio::runtime::Runtime;

use crate::{Failure, bare::Bare, report::Report};

/// What measured calls go to.
pub(crate) const HOST: &str = "forecast.weather.svc.cluster.local";
pub(crate) const PORT: u16 = 3002;

/// One istiod, one gateway, and a workload behind it. Both are the only ones of their kind, so that all subjects take the
/// same way.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) real: RealMesh,
    _children: (Child, Child),
}

/// Brings up a mesh, in which `yaml` is known as well; `None`, and a word in the report, where the peers are not built.
pub(crate) fn stage(runtime: &Runtime, report: &mut Report, yaml: &str) -> Option<Stage> {
    if let Err(why) = peers::find() {
        report.missing("istiod, gateway, sidecar", &why);
        return None;
    }
    Some(runtime.block_on(async {
        let mut real = RealMesh::builder().file("clusters/cluster1/more.yaml", yaml).start().await;
        real.apply("cluster1", CLIENT_SIDECAR).await;
        // Calls go to network2 alone: no workload is in network1 then.
        real.delete("cluster1", IN_NETWORK1).await;
        let children = tokio::join!(real.gateway(2), real.forecast(2));
        Stage { real, _children: children }
    }))
}

/// A client of ours and a bare one, of the same service.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) mesh: Mesh,
    pub(crate) target: Target,
    pub(crate) bare: Bare,
    pub(crate) stage: Stage,
}

/// Brings up a mesh and both clients; `None`, and a word in the report, where the peers are not built.
pub(crate) fn clients(runtime: &Runtime, report: &mut Report) -> Result<Option<Clients>, Failure> {
    let Some(stage) = stage(runtime, report, "") else { return Ok(None) };
    let mesh = runtime.block_on(stage.join())?;
    let target = Target::new(HOST, PORT)?.with_protocol(Protocol::Http1);
    let bare = runtime.block_on(Bare::like(&mesh, &target))?;
    Ok(Some(Clients { mesh, target, bare, stage }))
}

/// What says that the service has a workload in network1.
const IN_NETWORK1: &str = "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: forecast-1, namespace: weather}
";

impl Stage {
    /// A VM that joins.
    pub(crate) async fn join(&self) -> Result<Mesh, Failure> {
        Ok(Mesh::join(self.config()?).await?)
    }

    pub(crate) fn config(&self) -> Result<Config, Failure> {
        Ok(Config::from_vm_files(self.real.vm_files(&Vm::default()))?)
    }
}

/// A runtime whose every task runs on the thread that waits for it, so that the thread's time is all of the time.
pub(crate) fn one_thread() -> Result<Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

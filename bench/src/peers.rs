//! A real istiod, gateway, sidecar and workload, for comparisons.

use mesh_connector::{Config, Mesh, Protocol, Target};
use mesh_tests::{
    peers::{self, CLIENT_SIDECAR, Child, RealMesh},
    vm_files::Vm,
};
use tokio::runtime::Runtime;

use crate::{Failure, bare::Bare, report::Report};

/// The service that measured calls connect to.
pub(crate) const HOST: &str = "forecast.weather.svc.cluster.local";
pub(crate) const PORT: u16 = 3002;

/// One istiod, one gateway, and one workload behind it, so that all subjects use the same path.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) real: RealMesh,
    _children: (Child, Child),
}

/// Starts a mesh with additional `yaml`. If the peers are not built, notes that in the report and returns `None`.
pub(crate) fn stage(runtime: &Runtime, report: &mut Report, yaml: &str) -> Option<Stage> {
    if let Err(why) = peers::find() {
        report.missing("istiod, gateway, sidecar", &why);
        return None;
    }
    Some(runtime.block_on(async {
        let mut real = RealMesh::builder().file("clusters/cluster1/more.yaml", yaml).start().await;
        real.apply("cluster1", CLIENT_SIDECAR).await;
        // Calls must use network2, so the workload in network1 is removed.
        real.delete("cluster1", IN_NETWORK1).await;
        let children = tokio::join!(real.gateway(2), real.forecast(2));
        Stage { real, _children: children }
    }))
}

/// A client of Sidestep and a minimal client of the same service.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) mesh: Mesh,
    pub(crate) target: Target,
    pub(crate) bare: Bare,
    pub(crate) stage: Stage,
}

/// Starts a mesh and both clients. If the peers are not built, notes that in the report and returns `None`.
pub(crate) fn clients(runtime: &Runtime, report: &mut Report) -> Result<Option<Clients>, Failure> {
    let Some(stage) = stage(runtime, report, "") else { return Ok(None) };
    let mesh = runtime.block_on(stage.join())?;
    let target = Target::new(HOST, PORT)?.with_protocol(Protocol::Http1);
    let bare = runtime.block_on(Bare::like(&mesh, &target))?;
    Ok(Some(Clients { mesh, target, bare, stage }))
}

/// The EndpointSlice of the service's workload in network1.
const IN_NETWORK1: &str = "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: forecast-1, namespace: weather}
";

impl Stage {
    /// Joins the mesh as a VM.
    pub(crate) async fn join(&self) -> Result<Mesh, Failure> {
        Ok(Mesh::join(self.config()?).await?)
    }

    pub(crate) fn config(&self) -> Result<Config, Failure> {
        Ok(Config::from_vm_files(self.real.vm_files(&Vm::default()))?)
    }
}

/// Returns a runtime that runs all tasks on the current thread, so that the CPU time of the thread includes them.
pub(crate) fn one_thread() -> Result<Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

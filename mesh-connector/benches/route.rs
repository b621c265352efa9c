//! The routing decision for a known cluster: from a target to the first endpoint of a connection. The mesh is the
//! sandbox of the examples.

#![expect(clippy::unwrap_used, reason = "a benchmark fails if its setup fails")]
#![allow(missing_docs, reason = "the macros of criterion")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use mesh_connector::{Config, Mesh, Target};
use mesh_sandbox::Sandbox;

fn route(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (_sandbox, _vm, mesh) = runtime.block_on(async {
        let sandbox = Sandbox::builder().without_reload().start().await.unwrap();
        let vm = sandbox.vm_files("vms/edge-app").unwrap();
        let mesh = Mesh::join(Config::from_vm_files(vm.path()).unwrap()).await.unwrap();
        (sandbox, vm, mesh)
    });
    for host in ["forecast.weather", "forecast.weather.svc.cluster.local", "ledger.payments.example"] {
        let port = if host.starts_with("ledger") { 5432 } else { 3002 };
        let target = Target::new(host, port).unwrap();
        runtime.block_on(mesh.connect_to(&target)).unwrap();
        criterion.bench_function(&format!("route/{host}"), |bencher| {
            bencher.iter(|| black_box(mesh.next_hop(black_box(&target))).unwrap());
        });
    }
}

criterion_group!(benches, route);
criterion_main!(benches);

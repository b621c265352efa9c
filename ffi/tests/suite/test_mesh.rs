//! The mesh for the programs.

use std::{path::Path, sync::mpsc, thread};

use mesh_sandbox::{Sandbox, VmFiles};
use tokio::sync::oneshot;

/// A mesh with its own threads. Dropping it stops the mesh.
pub(crate) struct TestMesh {
    vm: VmFiles,
    upstream: String,
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl TestMesh {
    pub(crate) fn start() -> Self {
        let (started, start) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.unwrap().block_on(async {
                let sandbox = Sandbox::builder().without_reload().start().await.unwrap();
                let vm = sandbox.vm_files("vms/edge-app").unwrap();
                started.send((vm, sandbox.upstream_dns().to_string())).unwrap();
                // An error means that the sender was dropped, which also stops the mesh.
                let _ = ended.await;
                sandbox.shutdown().await;
            });
        });
        let (vm, upstream) = start.recv().unwrap();
        Self { vm, upstream, end: Some(end), thread: Some(thread) }
    }

    /// Returns the VM files, in the format of `istioctl x workload entry configure`.
    pub(crate) fn vm_files(&self) -> &Path {
        self.vm.path()
    }

    /// Returns the address of the upstream DNS server.
    pub(crate) fn upstream(&self) -> &str {
        &self.upstream
    }
}

impl Drop for TestMesh {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

//! The mesh beside which the programs run.

use std::{path::Path, sync::mpsc, thread};

use mesh_sandbox::{Sandbox, VmFiles};
use tokio::sync::oneshot;

/// A mesh on threads of its own, as long as this lives.
pub(crate) struct World {
    vm: VmFiles,
    upstream: String,
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl World {
    pub(crate) fn start() -> Self {
        let (tell, told) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.unwrap().block_on(async {
                let sandbox = Sandbox::builder().without_reload().start().await.unwrap();
                let vm = sandbox.vm_files("vms/edge-app").unwrap();
                tell.send((vm, sandbox.upstream_dns().to_string())).unwrap();
                // Ended by word or by going away.
                let _ = ended.await;
                sandbox.shutdown().await;
            });
        });
        let (vm, upstream) = told.recv().unwrap();
        Self { vm, upstream, end: Some(end), thread: Some(thread) }
    }

    /// The folder that `istioctl x workload entry configure` would have written.
    pub(crate) fn vm_files(&self) -> &Path {
        self.vm.path()
    }

    /// The DNS server of the world outside.
    pub(crate) fn upstream(&self) -> &str {
        &self.upstream
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

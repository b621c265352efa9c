//! The state of the tour.

use mesh_connector::Mesh;
use mesh_sandbox::Sandbox;
use tempfile::TempDir;

/// The mesh, and the client in it.
pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) mesh: Mesh,
    /// A copy of the sandbox's YAML that the tour may change.
    pub(crate) yaml: TempDir,
}

impl Stage {
    pub(crate) async fn leave(self) {
        self.mesh.shutdown().await;
        self.sandbox.shutdown().await;
    }
}

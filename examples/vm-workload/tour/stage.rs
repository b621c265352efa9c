//! What the steps work with.

use mesh_connector::Mesh;
use mesh_sandbox::Sandbox;
use tempfile::TempDir;

/// The mesh around us and our place in it.
pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) mesh: Mesh,
    /// The YAML that the sandbox runs from, a copy that the tour may change.
    pub(crate) yaml: TempDir,
}

impl Stage {
    pub(crate) async fn leave(self) {
        self.mesh.shutdown().await;
        self.sandbox.shutdown().await;
    }
}

//! The health of a membership and its endpoints.

use std::fmt;

use nds_client::{health::Health, watch::Watch};

use crate::cluster::ClusterManager;
pub use crate::hosts::EndpointStatus;

/// The health of a membership: the connection to istiod as a [`Watch`], and the status of each endpoint in use.
///
/// [`Mesh::health`](crate::Mesh::health) returns it.
///
/// ```
/// # async fn example(mesh: mesh_connector::Mesh) {
/// for endpoint in mesh.health().endpoints() {
///     println!("{} {}: {} connections", endpoint.cluster, endpoint.endpoint, endpoint.connections);
/// }
/// if !mesh.health().membership().load().is_ok() {
///     // A clone of the watch waits for changes.
///     mesh.health().membership().clone().changed().await;
/// }
/// # }
/// ```
pub struct MeshHealth<'a> {
    pub(crate) membership: &'a Watch<Health>,
    pub(crate) clusters: &'a ClusterManager,
}

impl<'a> MeshHealth<'a> {
    /// Returns the health of the connection to istiod: the state of the data from istiod, the certificate,
    /// and failures.
    #[must_use]
    pub fn membership(&self) -> &'a Watch<Health> {
        self.membership
    }

    /// Returns the endpoints of all clusters in use, sorted by cluster and address: their health status, connections,
    /// failures and ejections.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointStatus> {
        self.clusters.statuses()
    }
}

impl fmt::Debug for MeshHealth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshHealth")
            .field("membership", self.membership)
            .field("clusters", self.clusters)
            .finish()
    }
}

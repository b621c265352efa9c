//! How a membership is doing, its endpoints included.

use std::{fmt, ops::Deref};

use nds_client::{health::Health, watch::Watch};

use crate::{cluster::ClusterManager, hosts::EndpointStatus};

/// How a membership is doing: the connection to istiod as a [`Watch`] value, and each endpoint in use.
///
/// ```
/// # async fn example(mesh: mesh_connector::Mesh) {
/// for endpoint in mesh.health().endpoints() {
///     println!("{} {}: {} connections", endpoint.cluster, endpoint.endpoint, endpoint.connections);
/// }
/// if !mesh.health().load().is_ok() {
///     // A handle of one's own waits for changes.
///     mesh.health().clone().changed().await;
/// }
/// # }
/// ```
pub struct MeshHealth<'a> {
    pub(super) membership: &'a Watch<Health>,
    pub(super) clusters: &'a ClusterManager,
}

impl<'a> MeshHealth<'a> {
    /// The connection to istiod: state of the snapshots, certificate, what does not work.
    #[must_use]
    pub fn membership(&self) -> &'a Watch<Health> {
        self.membership
    }

    /// The endpoints of all clusters in use, by cluster and address: what istiod says of their health, connections,
    /// failures, ejections.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointStatus> {
        self.clusters.statuses()
    }
}

impl Deref for MeshHealth<'_> {
    type Target = Watch<Health>;

    fn deref(&self) -> &Watch<Health> {
        self.membership
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

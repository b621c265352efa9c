//! What the bridge asks about services.

use nds_client::resources::cluster::UpstreamHttpProtocol as Http;

use crate::{
    cluster::Route,
    error::{Error, ErrorKind},
    membership::after,
    mesh::Mesh,
    target::{Protocol, Target},
};

/// Whether Istio detects the protocol of this target's port from its bytes, and the caller has not said what it speaks.
pub(super) async fn detects_protocol(mesh: &Mesh, target: &Target) -> Result<bool, Error> {
    if target.protocol() != Protocol::Tcp {
        return mesh.membership().refuse_if_closed(target).map(|()| false);
    }
    Ok(match route(mesh, target).await? {
        Route::Cluster(entry) => entry.config().http == Http::Detected,
        Route::Passthrough => false,
    })
}

/// Whether a target is in the mesh. Fails where it is and cannot be reached: it has no such port, for instance.
pub(super) async fn is_in_mesh(mesh: &Mesh, target: &Target) -> Result<bool, Error> {
    match route(mesh, target).await {
        Err(error) if error.kind() == ErrorKind::UnknownHost => Ok(false),
        routed => Ok(matches!(routed?, Route::Cluster(_))),
    }
}

/// The service ports of a host of the mesh; none while istiod has not sent its clusters.
pub(super) fn ports(mesh: &Mesh, host: &str) -> Vec<u16> {
    let clusters = mesh.membership().clusters.clusters().unwrap_or_default();
    let mut ports: Vec<_> = clusters.for_host(host).iter().map(|cluster| cluster.name.port).collect();
    ports.dedup();
    ports
}

/// Waits until istiod has sent its clusters.
pub(super) async fn wait_for_clusters(mesh: &Mesh) -> Result<(), Error> {
    let why = || "no addresses without istiod's clusters".to_owned();
    mesh.membership().wait_for_clusters(mesh.settings().connect_deadline, why).await.map(drop)
}

async fn route(mesh: &Mesh, target: &Target) -> Result<Route, Error> {
    let membership = mesh.membership();
    membership.refuse_if_closed(target)?;
    membership.route(target, after(mesh.settings().connect_deadline)).await
}

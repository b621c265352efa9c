//! Properties of services that the bridge needs.

use nds_client::resources::cluster::UpstreamHttpProtocol as Http;
use tokio::time::Instant;

use crate::{
    cluster::Route,
    error::{Error, ErrorKind},
    membership::after,
    mesh::Mesh,
    target::{Protocol, Target},
};

/// Returns whether Istio detects the protocol of the target's port from the first bytes. `false` if the target
/// specifies HTTP/1.1 or HTTP/2, and for a target outside the mesh.
pub(super) async fn detects_protocol(mesh: &Mesh, target: &Target) -> Result<bool, Error> {
    if target.protocol() != Protocol::Tcp {
        return mesh.membership().refuse_if_closed(target).map(|()| false);
    }
    Ok(match route(mesh, target).await? {
        Route::Cluster(entry) => entry.config().http == Http::Detected,
        Route::Passthrough => false,
    })
}

/// Returns whether a target is in the mesh. Returns an error for a target in the mesh that cannot be reached, for
/// instance because the service does not have the port.
pub(super) async fn is_in_mesh(mesh: &Mesh, target: &Target) -> Result<bool, Error> {
    match route(mesh, target).await {
        Err(error) if error.kind() == ErrorKind::UnknownHost => Ok(false),
        routed => Ok(matches!(routed?, Route::Cluster(_))),
    }
}

/// Returns the service ports of a host in the mesh. A wildcard host of a service may cover the host. Empty until istiod
/// has sent its clusters.
pub(super) fn ports(mesh: &Mesh, host: &str) -> Vec<u16> {
    let clusters = mesh.membership().clusters.clusters().unwrap_or_default();
    let ports = clusters.ports(host);
    if !ports.is_empty() {
        return ports;
    }
    let wildcard = mesh.raw_resolver().canonical_name(host);
    wildcard.map_or(ports, |wildcard| clusters.ports(&wildcard))
}

/// Waits until istiod has sent its clusters.
pub(super) async fn wait_for_clusters(mesh: &Mesh) -> Result<(), Error> {
    let why = || "cannot assign loopback addresses: istiod has sent no clusters".to_owned();
    mesh.membership().wait_for_clusters(mesh.settings().connect_deadline, why).await.map(drop)
}

async fn route(mesh: &Mesh, target: &Target) -> Result<Route, Error> {
    let membership = mesh.membership();
    membership.refuse_if_closed(target)?;
    membership.route(target, after(Instant::now(), mesh.settings().connect_deadline)).await
}

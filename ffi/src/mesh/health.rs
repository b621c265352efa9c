//! The health of a mesh as JSON.

use mesh_connector::nds_client::health::SyncState;
use serde_json::{Value, json};

use super::Member;

pub(super) fn json(member: &Member) -> Value {
    let health = member.mesh.health();
    let membership = health.membership().get();
    let identity = member.mesh.client().identity().current();
    let identity = identity.map(|identity| identity.spiffe_id().to_string());
    let problems: Vec<_> = membership
        .failures()
        .map(
            |failure| json!({ "component": failure.component.as_label(), "message": failure.error.report() }),
        )
        .collect();
    let endpoints: Vec<_> = health
        .endpoints()
        .iter()
        .map(
            |one| json!({ "cluster": one.cluster, "endpoint": one.endpoint, "connections": one.connections }),
        )
        .collect();
    json!({
        "ok": membership.is_ok(),
        "state": state(&membership.sync),
        "identity": identity,
        "problems": problems,
        "connections": member.connections.count(),
        "endpoints": endpoints,
    })
}

fn state(sync: &SyncState) -> &'static str {
    match sync {
        SyncState::Connecting => "connecting",
        SyncState::FromDisk { .. } => "from_disk",
        SyncState::Synced => "synced",
        SyncState::Stale { .. } => "stale",
        _ => "unknown",
    }
}

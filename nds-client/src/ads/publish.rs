//! From what istiod says to what callers read.

use std::sync::Arc;

use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use super::session::{Session, Update};
use crate::{
    SyncState,
    state::{EndpointMap, State, Subscription},
};

/// Takes a response, and gives the reply to it.
pub(super) fn receive(
    state: &State,
    session: &mut Session,
    response: DeltaDiscoveryResponse,
) -> Option<DeltaDiscoveryRequest> {
    let reaction = session.receive(response);
    if let Some(error) = &reaction.rejected {
        tracing::warn!(error = error.report(), "a push was rejected");
    }
    if let Some(update) = reaction.update {
        publish(state, update);
    }
    state.note_push(reaction.type_url, reaction.rejected);
    reaction.reply
}

fn publish(state: &State, update: Update) {
    match update {
        Update::Names(table) => {
            match table.after(&state.names.load()) {
                Some(table) => {
                    let changed = table.changes().count();
                    tracing::debug!(names = table.len(), changed, "name table");
                    state.names.publish(Arc::new(table));
                }
                None => tracing::debug!("the name table is as it was"),
            }
            state.set_health(|health| {
                health.sync = SyncState::Synced;
                health.stream = None;
            });
            state.name_pushes.send_modify(|pushes| *pushes += 1);
        }
        Update::Clusters(clusters) => {
            tracing::debug!(clusters = clusters.len(), "clusters");
            state.clusters.publish(Arc::new(Some(Arc::new(clusters))));
        }
        Update::Endpoints(changed) => {
            let mut all: EndpointMap = (**state.endpoints.load()).clone();
            for (name, endpoints) in changed {
                tracing::debug!(cluster = &*name, endpoints = endpoints.iter().count(), "endpoints");
                // Nobody wants them any more.
                let Some(used) = state.used(&name) else { continue };
                all.insert(name, Subscription { endpoints: Arc::new(endpoints), used });
            }
            state.endpoints.publish(Arc::new(all));
        }
        Update::Roots(roots) => match state.identity.change_roots(|all| all.pushed = roots) {
            Ok(false) => {}
            Ok(true) => tracing::info!("istiod has pushed other roots"),
            Err(error) => tracing::warn!(error = error.report(), "the pushed roots cannot be used"),
        },
    }
}

/// Drops the endpoints that nobody has asked for in a while.
pub(super) fn drop_idle(state: &State) {
    let dropped = state.drop_idle_endpoints();
    if dropped.is_empty() {
        return;
    }
    tracing::debug!(clusters = dropped.len(), "endpoints that nobody asks for are dropped");
    let mut all: EndpointMap = (**state.endpoints.load()).clone();
    all.retain(|name, _| !dropped.contains(name));
    all.shrink_to_fit();
    state.endpoints.publish(Arc::new(all));
}

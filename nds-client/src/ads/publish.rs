//! From what istiod says to what callers read.

use std::sync::Arc;

use tokio::time::Instant;
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use super::session::{Session, Update};
use crate::{
    SyncState,
    observe::{self, Known, Push},
    state::{EndpointMap, State, Subscription},
};

/// Takes a response, and gives the reply to it.
pub(super) fn receive(
    state: &State,
    session: &mut Session,
    response: DeltaDiscoveryResponse,
) -> Option<DeltaDiscoveryRequest> {
    let begin = Instant::now();
    let reaction = session.receive(response);
    if let Some(error) = &reaction.rejected {
        tracing::warn!(error = error.report(), "a push was rejected");
    }
    let changed = reaction.update.is_none_or(|update| publish(state, update));
    if let Some(type_url) = reaction.type_url {
        let push = match (&reaction.rejected, changed) {
            (Some(_), _) => Push::Rejected,
            (None, true) => Push::Accepted,
            (None, false) => Push::Unchanged,
        };
        observe::pushed(type_url, push, begin.elapsed());
    }
    state.note_push(reaction.type_url, reaction.rejected);
    reaction.reply
}

/// Whether it made a difference.
fn publish(state: &State, update: Update) -> bool {
    match update {
        Update::Names(table) => {
            let next = table.and_then(|table| table.after(&state.names.load()));
            let changed = next.is_some();
            match next {
                Some(table) => {
                    tracing::debug!(names = table.len(), changed = table.changes().count(), "name table");
                    observe::known(Known::Names, table.len());
                    state.names.publish(Arc::new(table));
                }
                None => tracing::debug!("the name table is as it was"),
            }
            state.set_health(|health| {
                health.sync = SyncState::Synced;
                health.stream = None;
            });
            state.name_pushes.send_modify(|pushes| *pushes += 1);
            changed
        }
        Update::Clusters(clusters) => {
            tracing::debug!(clusters = clusters.len(), "clusters");
            observe::known(Known::Clusters, clusters.len());
            state.clusters.publish(Arc::new(Some(Arc::new(clusters))));
            true
        }
        Update::Endpoints(changed) => {
            let mut all: EndpointMap = (**state.endpoints.load()).clone();
            for (name, endpoints) in changed {
                tracing::debug!(cluster = &*name, endpoints = endpoints.iter().count(), "endpoints");
                // Nobody wants them any more.
                let Some(used) = state.used(&name) else { continue };
                all.insert(name, Subscription { endpoints: Arc::new(endpoints), used });
            }
            observe::known(Known::Endpoints, all.len());
            state.endpoints.publish(Arc::new(all));
            true
        }
        Update::Roots(roots) => match state.identity.change_roots(|all| all.pushed = roots) {
            Ok(changed) => {
                if changed {
                    tracing::info!("istiod has pushed other roots");
                }
                changed
            }
            Err(error) => {
                tracing::warn!(error = error.report(), "the pushed roots cannot be used");
                false
            }
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
    observe::known(Known::Endpoints, all.len());
    state.endpoints.publish(Arc::new(all));
}

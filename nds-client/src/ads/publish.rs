//! From what istiod says to what callers read.

use std::sync::Arc;

use tokio::time::Instant;
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use super::session::{Session, Update};
use crate::{
    SyncState,
    observe::{self, Known, Push},
    state::State,
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
                    state.names.send(table);
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
            state.clusters.send(Some(Arc::new(clusters)));
            true
        }
        Update::Endpoints(changed) => {
            for (name, endpoints) in &changed {
                tracing::debug!(cluster = &**name, endpoints = endpoints.iter().count(), "endpoints");
            }
            let made_a_difference = state.subscriptions.publish(changed) > 0;
            observe::known(Known::Endpoints, state.subscriptions.len());
            made_a_difference
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
    let dropped = state.subscriptions.drop_idle(state.config.idle_endpoints.as_secs());
    if dropped > 0 {
        tracing::debug!(clusters = dropped, "endpoints that nobody asks for are dropped");
        observe::known(Known::Endpoints, state.subscriptions.len());
    }
}

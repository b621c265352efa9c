//! From a response of istiod to the values that readers see.

use tokio::time::Instant;
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use super::session::{Reaction, Session, Update};
use crate::{
    metrics::{self, Known, Push},
    state::State,
};

/// What the stream has to know about a response.
pub(super) struct Received {
    pub(super) reply: DeltaDiscoveryRequest,
    /// Whether it was a good name table.
    pub(super) names: bool,
}

/// Takes a response. `None` where nothing may be said about it.
pub(super) fn receive(
    state: &State,
    session: &mut Session,
    response: DeltaDiscoveryResponse,
) -> Option<Received> {
    let begin = Instant::now();
    let Reaction { type_url, reply, update, rejected } = match session.receive(response) {
        Ok(reaction) => reaction,
        Err(error) => {
            tracing::warn!(error = error.report(), "a push was rejected");
            state.health.push_rejected(None, error);
            return None;
        }
    };
    let names = matches!(update, Some(Update::Names(_)));
    let changed = update.is_none_or(|update| publish(state, update));
    if names {
        state.health.synced();
    }
    let push = match (&rejected, changed) {
        (Some(_), _) => Push::Rejected,
        (None, true) => Push::Accepted,
        (None, false) => Push::Unchanged,
    };
    metrics::pushed(type_url, push, begin.elapsed());
    match rejected {
        Some(error) => {
            tracing::warn!(error = error.report(), "a push was rejected");
            state.health.push_rejected(Some(type_url), error);
        }
        None => state.health.push_accepted(type_url),
    }
    Some(Received { reply, names })
}

/// Returns whether it made a difference.
fn publish(state: &State, update: Update) -> bool {
    match update {
        Update::Names(Some(table)) => state.published.replace_names(table),
        Update::Names(None) => false,
        Update::Clusters(clusters) => state.published.replace_clusters(clusters),
        Update::Endpoints(endpoints) => {
            for (name, endpoints) in &endpoints {
                tracing::debug!(cluster = &**name, endpoints = endpoints.iter().count(), "endpoints");
            }
            let changed = state.subscriptions.publish(endpoints) > 0;
            metrics::known(Known::Endpoints, state.subscriptions.len());
            changed
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

/// Drops the endpoints that were not used in a while.
pub(super) fn drop_idle(state: &State) {
    let dropped = state.subscriptions.drop_idle(state.runtime.config.idle_endpoints.as_secs());
    if dropped > 0 {
        tracing::debug!(clusters = dropped, "endpoints that were not used are dropped");
        metrics::known(Known::Endpoints, state.subscriptions.len());
    }
}

//! Publishes the contents of responses.

use tokio::time::Instant;
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use super::session::{Reaction, Session, Update};
use crate::{
    metrics::{self, Gauge, Push},
    state::State,
};

/// The result of processing a response.
pub(super) struct Received {
    pub(super) reply: DeltaDiscoveryRequest,
    /// Whether the response was a valid name table.
    pub(super) names: bool,
}

/// Processes a response. Returns `None` if no reply may be sent.
pub(super) fn receive(
    state: &State,
    session: &mut Session,
    response: DeltaDiscoveryResponse,
) -> Option<Received> {
    let begin = Instant::now();
    let Reaction { type_url, reply, update, rejected } = match session.receive(response) {
        Ok(reaction) => reaction,
        Err(error) => {
            tracing::warn!(error = error.report(), "rejected a push: the previous values stay in use");
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
            tracing::warn!(error = error.report(), "rejected a push: the previous values stay in use");
            state.health.push_rejected(Some(type_url), error);
        }
        None => state.health.push_accepted(type_url),
    }
    Some(Received { reply, names })
}

/// Publishes an update. Returns whether the values changed.
fn publish(state: &State, update: Update) -> bool {
    match update {
        Update::Names(Some(table)) => state.published.replace_names(table),
        Update::Names(None) => false,
        Update::Clusters(clusters) => state.published.replace_clusters(clusters),
        Update::Endpoints(endpoints) => {
            for (name, endpoints) in &endpoints {
                tracing::debug!(
                    cluster = &**name,
                    endpoints = endpoints.iter().count(),
                    "received endpoints"
                );
            }
            let changed = state.subscriptions.publish(endpoints) > 0;
            metrics::set_gauge(Gauge::Endpoints, state.subscriptions.len());
            changed
        }
        Update::Roots(roots) => match state.identity.change_roots(|all| all.pushed = roots) {
            Ok(changed) => {
                if changed {
                    tracing::info!("istiod pushed new roots");
                }
                changed
            }
            Err(error) => {
                tracing::warn!(
                    error = error.report(),
                    "the pushed roots cannot be used: the previous ones stay in use"
                );
                false
            }
        },
    }
}

/// Drops the endpoints that were not used for the configured time.
pub(super) fn drop_idle(state: &State) {
    let dropped = state.subscriptions.drop_idle(state.runtime.config.idle_endpoints.as_secs());
    if dropped > 0 {
        tracing::debug!(clusters = dropped, "dropped unused endpoints");
        metrics::set_gauge(Gauge::Endpoints, state.subscriptions.len());
    }
}

//! A listener: a task that accepts connections and owns the tasks that serve them.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};

use super::{
    BridgeState,
    client::{Client, Listener},
    tunnel,
};
use crate::target::Target;

/// The pause after a failed `accept`, which fails if the process or the host has no free descriptors or memory.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Accepts clients and runs `handle` for each. Dropping the future closes the listener and its connections.
pub(super) async fn serve<L, F>(
    listener: L,
    state: Arc<BridgeState>,
    handle: impl Fn(L::Client, Arc<BridgeState>) -> F + Send,
) where
    L: Listener,
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                tracing::warn!(%error, "the bridge cannot accept a connection");
                sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        // If no slot is free, the task accepts no further connections. They wait in the listen queue.
        let Ok(slot) = state.slots.clone().acquire_owned().await else {
            return;
        };
        let served = handle(client, state.clone());
        connections.spawn(async move {
            served.await;
            drop(slot);
        });
    }
}

/// Serves a client of a listener that forwards all connections to `target`.
pub(super) async fn to<C: Client>(client: C, state: Arc<BridgeState>, target: Target) {
    if client.is_allowed(&state.access_control).await {
        tunnel::to(client, &state, &target).await;
    } else {
        tracing::warn!(%target, "the bridge rejected a client: it belongs to another process");
        client.reset();
    }
}

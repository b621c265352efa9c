//! One listener: a task that accepts connections and owns the tasks that serve them.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};

use super::{
    Shared,
    client::{Client, Listener},
    tunnel,
};
use crate::target::Target;

/// Accepting fails when this process or the host has no descriptor or memory left: waiting is all that helps.
const BREATH: Duration = Duration::from_millis(50);

/// Serves each client until this future is dropped, and the connections with it.
pub(super) async fn serve<L, F>(
    listener: L,
    shared: Arc<Shared>,
    handle: impl Fn(L::Client, Arc<Shared>) -> F + Send,
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
                sleep(BREATH).await;
                continue;
            }
        };
        // Without a slot nobody else is accepted: the queue of the listener holds them, and costs nothing here.
        let Ok(slot) = shared.slots.clone().acquire_owned().await else {
            return;
        };
        let served = handle(client, shared.clone());
        connections.spawn(async move {
            served.await;
            drop(slot);
        });
    }
}

/// Serves a client of a listener behind which there is one target.
pub(super) async fn to<C: Client>(client: C, shared: Arc<Shared>, target: Target) {
    if client.admitted(&shared.gate).await {
        tunnel::to(client, &shared, &target).await;
    } else {
        tracing::warn!(%target, "the bridge refused a client of another process");
        client.reset();
    }
}

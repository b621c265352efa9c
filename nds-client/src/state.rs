//! The parts of a client that its tasks share with its handles.

use std::sync::Arc;

use crate::{
    health::HealthBoard, identity::IdentityStore, published::Published, runtime::Runtime,
    subscriptions::Subscriptions,
};

/// Shared between the handles and the tasks; the tasks do not keep the handles alive.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) runtime: Runtime,
    pub(crate) identity: IdentityStore,
    pub(crate) health: HealthBoard,
    pub(crate) published: Published,
    pub(crate) subscriptions: Arc<Subscriptions>,
    /// Signals each attempt to write to the state folder.
    #[cfg(test)]
    pub(crate) persisted: tokio::sync::watch::Sender<()>,
}

impl State {
    pub(crate) fn new(runtime: Runtime) -> Self {
        Self {
            identity: IdentityStore::new(runtime.config.roots.clone()),
            health: HealthBoard::new(runtime.clock.clone()),
            published: Published::new(),
            subscriptions: Arc::new(Subscriptions::new()),
            #[cfg(test)]
            persisted: tokio::sync::watch::channel(()).0,
            runtime,
        }
    }
}

//! The state of a client that its tasks and handles share.

use std::sync::Arc;

use crate::{
    health::HealthReporter, identity::IdentityStore, published::Published, runtime::Runtime,
    subscriptions::Subscriptions,
};

/// The state that the tasks and the handles of a client share. It holds no handle, so that dropping the last handle
/// ends the tasks.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) runtime: Runtime,
    pub(crate) identity: IdentityStore,
    pub(crate) health: HealthReporter,
    pub(crate) published: Published,
    pub(crate) subscriptions: Arc<Subscriptions>,
    /// Notified after each attempt to write to the state directory.
    #[cfg(test)]
    pub(crate) persisted: tokio::sync::watch::Sender<()>,
}

impl State {
    pub(crate) fn new(runtime: Runtime) -> Self {
        Self {
            identity: IdentityStore::new(runtime.config.roots.clone()),
            health: HealthReporter::new(runtime.clock.clone()),
            published: Published::new(),
            subscriptions: Arc::new(Subscriptions::new()),
            #[cfg(test)]
            persisted: tokio::sync::watch::channel(()).0,
            runtime,
        }
    }
}

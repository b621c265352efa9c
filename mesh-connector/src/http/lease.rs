//! A connection that serves a request.

use std::{fmt, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::watch, time::Instant};

use super::{
    connection::Connection,
    connections::{Connections, Id},
};
use crate::{
    connection::{ConnectionInfo, ConnectionKey},
    error::Error,
};

/// The result of a connection attempt, for requests that joined it: the key of the connection. `None` while the attempt
/// is in progress.
pub(super) type Outcome = Option<Result<ConnectionKey, Error>>;

/// The connections of a pool, shared by the pool, its requests and its connections.
pub(super) struct SharedConnections<S>(Mutex<Connections<ConnectionKey, S, watch::Receiver<Outcome>>>);

/// A connection that serves one request.
pub(super) struct Lease<S: Connection> {
    sender: S,
    /// Whether the connection was made for this request.
    is_new: bool,
    request: ActiveRequest<S>,
}

/// A request on a connection. Dropping it ends the request.
struct ActiveRequest<S: Connection> {
    shared: Arc<SharedConnections<S>>,
    /// The ID of the connection. `None` if the connection is not in the pool and ends with its request.
    id: Option<Id>,
    key: ConnectionKey,
    max_idle: usize,
}

impl<S: Connection> SharedConnections<S> {
    pub(super) fn new(connections: Connections<ConnectionKey, S, watch::Receiver<Outcome>>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(connections)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Connections<ConnectionKey, S, watch::Receiver<Outcome>>> {
        self.0.lock()
    }
}

impl<S: Connection> Lease<S> {
    pub(super) fn new(shared: Arc<SharedConnections<S>>, id: Option<Id>, sender: S, max_idle: usize) -> Self {
        let key = sender.info().key();
        Self { sender, is_new: false, request: ActiveRequest { shared, id, key, max_idle } }
    }

    /// Marks the connection as new: it was opened for this request.
    pub(super) fn into_new(self) -> Self {
        Self { is_new: true, ..self }
    }

    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Waits until a pooled connection has finished the previous request. Returns `false` if the connection has ended.
    pub(super) async fn ready(&mut self) -> bool {
        self.is_new || self.sender.ready().await
    }

    pub(super) fn info(&self) -> &ConnectionInfo {
        self.sender.info()
    }

    pub(super) fn sender(&mut self) -> &mut S {
        &mut self.sender
    }

    /// Reports that the response has ended, so that the connection can serve another request. If the lease is dropped
    /// without this call, the request counts as aborted, and an HTTP/1.1 connection is closed.
    pub(super) fn complete(self) {
        let Self { sender, mut request, .. } = self;
        request.check_in(Some(sender));
    }
}

impl<S: Connection> ActiveRequest<S> {
    fn check_in(&mut self, sender: Option<S>) {
        if let Some(id) = self.id.take() {
            self.shared.lock().check_in((self.key, id), sender, Instant::now(), self.max_idle);
        }
    }
}

impl<S: Connection> Drop for ActiveRequest<S> {
    fn drop(&mut self) {
        self.check_in(None);
    }
}

impl<S> fmt::Debug for SharedConnections<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

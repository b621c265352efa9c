//! A connection while a request is on it.

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

/// The outcome of an attempt to connect, for requests that joined it: what the connection may serve. `None`: the
/// attempt goes on.
pub(super) type Outcome = Option<Result<ConnectionKey, Error>>;

/// The connections of a pool, shared by the pool, its requests and its connections.
pub(super) struct Shared<S>(Mutex<Connections<ConnectionKey, S, watch::Receiver<Outcome>>>);

/// What one request is sent with.
pub(super) struct Lease<S: Connection> {
    sender: S,
    /// Whether the connection was made for this request.
    is_new: bool,
    place: Place<S>,
}

/// A request's place on its connection. Dropping it ends the request.
struct Place<S: Connection> {
    shared: Arc<Shared<S>>,
    /// `None`: the connection is not of the pool, and ends with its request.
    id: Option<Id>,
    key: ConnectionKey,
    max_idle: usize,
}

impl<S: Connection> Shared<S> {
    pub(super) fn new(connections: Connections<ConnectionKey, S, watch::Receiver<Outcome>>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(connections)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Connections<ConnectionKey, S, watch::Receiver<Outcome>>> {
        self.0.lock()
    }
}

impl<S: Connection> Lease<S> {
    pub(super) fn new(shared: Arc<Shared<S>>, id: Option<Id>, sender: S, max_idle: usize) -> Self {
        let key = sender.info().key();
        Self { sender, is_new: false, place: Place { shared, id, key, max_idle } }
    }

    /// The same lease, of a connection that was made for the request.
    pub(super) fn made_for_it(self) -> Self {
        Self { is_new: true, ..self }
    }

    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(super) fn info(&self) -> &ConnectionInfo {
        self.sender.info()
    }

    pub(super) fn sender(&mut self) -> &mut S {
        &mut self.sender
    }

    /// The response has ended: the connection may serve another request. Where this is not said, the request was broken
    /// off, and a connection that only serves one at a time ends with it.
    pub(super) fn complete(self) {
        let Self { sender, mut place, .. } = self;
        place.give_back(Some(sender));
    }
}

impl<S: Connection> Place<S> {
    fn give_back(&mut self, sender: Option<S>) {
        if let Some(id) = self.id.take() {
            self.shared.lock().give_back((self.key, id), sender, Instant::now(), self.max_idle);
        }
    }
}

impl<S: Connection> Drop for Place<S> {
    fn drop(&mut self) {
        self.give_back(None);
    }
}

impl<S> fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

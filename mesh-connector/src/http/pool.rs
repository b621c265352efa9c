//! The HTTP connections of one cluster.

use std::{fmt, future::poll_fn, pin::pin, sync::Arc};

use nds_client::resources::cluster::ConnectionLimits as ConnectionLife;
use tokio::{
    sync::watch,
    task::unconstrained,
    time::{Instant, sleep_until},
};

use super::{
    connection::{Connection, Driver, Http1, Http2, failed},
    connections::{Connections, Id, Ticket},
    exchange::{Kind, Leased},
    lease::{Lease, Outcome, SharedConnections},
    limits::Limits,
};
use crate::{
    connection::{ConnectionInfo, ConnectionKey},
    error::Error,
    stream::MeshStream,
    target::Protocol,
};

/// The HTTP connections of one cluster to its endpoints.
///
/// A connection serves requests until its endpoint is removed, the policy changes ([`drain`](Self::drain)), a limit is
/// reached, or the pools are dropped. It ends when its current responses have been read.
#[derive(Debug)]
pub(crate) struct HttpPools {
    http1: Pool<Http1>,
    http2: Pool<Http2>,
}

/// The interface of a pool to its cluster.
pub(crate) trait Upstream: Sync {
    /// An endpoint and the protection of a connection to it.
    type Choice: Send;

    /// Returns the endpoint that the load balancer chooses for one request. `None` if it can choose none;
    /// [`connect`](Self::connect) then returns the reason as an error.
    fn choose(&self, now: Instant) -> Option<Self::Choice>;

    /// Returns the key of the connections that can serve a request with this choice.
    fn key(choice: &Self::Choice) -> ConnectionKey;

    /// Opens a connection. `first` is the choice for the first connection attempt, if the caller has made one.
    fn connect(&self, first: Option<Self::Choice>) -> impl Future<Output = Result<MeshStream, Error>> + Send;
}

impl HttpPools {
    pub(crate) fn new(life: ConnectionLife) -> Self {
        let limits = life.into();
        Self { http1: Pool::new(limits), http2: Pool::new(limits) }
    }

    /// Removes the connections whose keys `keep` rejects, because their endpoints were removed.
    pub(crate) fn retain(&self, keep: impl Fn(ConnectionKey) -> bool) {
        self.http1.0.lock().retain(&keep);
        self.http2.0.lock().retain(&keep);
    }

    /// Removes all connections, after the policy, the identity or the expected identities have changed.
    pub(crate) fn drain(&self) {
        self.http1.0.lock().drain();
        self.http2.0.lock().drain();
    }

    /// Returns a connection of the pool for one request. It is an HTTP/2 connection for the protocol HTTP/2, and an
    /// HTTP/1.1 connection for all other protocols. At most `max_idle` connections are idle after the request. `None`
    /// if the pool has no suitable connection, or if `max_idle` is 0.
    pub(crate) fn idle(
        &self,
        protocol: Protocol,
        key: ConnectionKey,
        max_idle: usize,
        now: Instant,
    ) -> Option<Leased> {
        if max_idle == 0 {
            return None;
        }
        Some(Leased(match protocol {
            Protocol::Http1 | Protocol::Tcp => Kind::Http1(self.http1.idle(key, max_idle, now)?),
            Protocol::Http2 => Kind::Http2(self.http2.idle(key, max_idle, now)?),
        }))
    }

    /// Returns a connection of the pool or a new one, as [`idle`](Self::idle) does. Its endpoint is that of `first` or,
    /// if it is `None`, the one that `upstream` chooses. If `max_idle` is 0, the request has its own connection.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connection attempt. Requests that wait for the attempt start another one.
    pub(crate) async fn lease<U: Upstream>(
        &self,
        protocol: Protocol,
        max_idle: usize,
        upstream: &U,
        first: Option<U::Choice>,
    ) -> Result<Leased, Error> {
        Ok(Leased(match protocol {
            Protocol::Http1 | Protocol::Tcp => {
                Kind::Http1(self.http1.lease(max_idle, upstream, first).await?)
            }
            Protocol::Http2 => Kind::Http2(self.http2.lease(max_idle, upstream, first).await?),
        }))
    }
}

struct Pool<S: Connection>(Arc<SharedConnections<S>>);

impl<S: Connection> Pool<S> {
    fn new(limits: Limits) -> Self {
        Self(SharedConnections::new(Connections::new(limits)))
    }

    /// Returns a connection of the pool for one request.
    fn idle(&self, key: ConnectionKey, max_idle: usize, now: Instant) -> Option<Lease<S>> {
        let (id, sender) = self.0.lock().check_out(key, now)?;
        Some(Lease::new(self.0.clone(), Some(id), sender, max_idle))
    }

    /// Returns a connection for one request.
    async fn lease<U: Upstream>(
        &self,
        max_idle: usize,
        upstream: &U,
        first: Option<U::Choice>,
    ) -> Result<Lease<S>, Error> {
        if max_idle == 0 {
            return self.lease_alone(upstream).await;
        }
        let mut first = first;
        loop {
            let now = Instant::now();
            let choice = first.take().or_else(|| upstream.choose(now));
            match self.next(choice.as_ref().map(U::key), max_idle, now) {
                Next::Use(lease) => return Ok(lease),
                // Start again if the request that started the connection attempt was dropped, or if the pool was
                // drained.
                Next::Join(mut outcome) => match outcome.wait_for(Option::is_some).await.as_deref() {
                    Ok(Some(Err(error))) => return Err(error.clone()),
                    Ok(Some(Ok(key))) => {
                        if let Some(lease) = self.idle(*key, max_idle, Instant::now()) {
                            return Ok(lease);
                        }
                    }
                    Ok(None) | Err(_) => {}
                },
                Next::Connect(attempt) => return attempt.run(max_idle, upstream, choice).await,
            }
        }
    }

    /// Returns a connection that serves only one request.
    async fn lease_alone<U: Upstream>(&self, upstream: &U) -> Result<Lease<S>, Error> {
        let (sender, driver) = open::<S, U>(upstream, None).await?;
        tokio::spawn(drive(driver, sender.info().clone()));
        Ok(Lease::new(self.0.clone(), None, sender, 0).into_new())
    }

    fn next(&self, key: Option<ConnectionKey>, max_idle: usize, now: Instant) -> Next<S> {
        let mut connections = self.0.lock();
        let attempt =
            |ticket, shared_by| Next::Connect(Attempt { shared: self.0.clone(), ticket, shared_by });
        let Some(key) = key else {
            return attempt(connections.begin(), None);
        };
        if let Some((id, sender)) = connections.check_out(key, now) {
            return Next::Use(Lease::new(self.0.clone(), Some(id), sender, max_idle));
        }
        if let Some(outcome) = connections.join(key) {
            return Next::Join(outcome);
        }
        match S::SHARED {
            true => {
                let (outcome, joined) = watch::channel(None);
                attempt(connections.begin_shared(key, joined), Some((key, outcome)))
            }
            false => attempt(connections.begin(), None),
        }
    }
}

/// The way in which a request obtains its connection.
enum Next<S: Connection> {
    Use(Lease<S>),
    Join(watch::Receiver<Outcome>),
    Connect(Attempt<S>),
}

/// A connection attempt. Dropping this value cancels the attempt. Requests that have joined it then start another
/// attempt.
struct Attempt<S: Connection> {
    shared: Arc<SharedConnections<S>>,
    ticket: Ticket,
    /// The key of the requests that may share the attempt, and the sender of its result. `None` if no other request may
    /// share the attempt.
    shared_by: Option<(ConnectionKey, watch::Sender<Outcome>)>,
}

impl<S: Connection> Attempt<S> {
    async fn run<U: Upstream>(
        self,
        max_idle: usize,
        upstream: &U,
        first: Option<U::Choice>,
    ) -> Result<Lease<S>, Error> {
        let opened = open::<S, U>(upstream, first).await;
        let (sender, driver) = opened.inspect_err(|error| self.tell(Err(error.clone())))?;
        let (shared, info) = (self.shared.clone(), sender.info().clone());
        let id = shared.lock().add(self.ticket, info.key(), &sender, Instant::now());
        match id {
            Some(id) => {
                self.tell(Ok(info.key()));
                tokio::spawn(drive_pooled(driver, shared.clone(), info, id));
            }
            None => {
                tokio::spawn(drive(driver, info));
            }
        }
        Ok(Lease::new(shared, id, sender, max_idle).into_new())
    }

    fn tell(&self, outcome: Result<ConnectionKey, Error>) {
        if let Some((_, joined)) = &self.shared_by {
            joined.send_replace(Some(outcome));
        }
    }
}

impl<S: Connection> Drop for Attempt<S> {
    fn drop(&mut self) {
        if let Some((key, _)) = &self.shared_by {
            self.shared.lock().end(*key, self.ticket);
        }
    }
}

impl<S: Connection> Drop for Pool<S> {
    fn drop(&mut self) {
        self.0.lock().drain();
    }
}

async fn open<S: Connection, U: Upstream>(
    upstream: &U,
    first: Option<U::Choice>,
) -> Result<(S, Driver), Error> {
    let stream = upstream.connect(first).await?;
    let info = stream.connection().clone();
    S::open(stream).await.map_err(|error| failed(&info, "HTTP to", error))
}

/// Drives a connection outside the pool.
async fn drive(driver: Driver, info: ConnectionInfo) {
    ended(&info, driver.await);
}

/// Drives a connection of the pool. Removes the connection from the pool when its lifetime is over; the connection ends
/// when all its senders are dropped.
async fn drive_pooled<S: Connection>(
    mut driver: Driver,
    shared: Arc<SharedConnections<S>>,
    info: ConnectionInfo,
    id: Id,
) {
    let look = || shared.lock().expire(info.key(), id, Instant::now());
    let mut next = look();
    let mut timer = pin!(sleep_until(next.unwrap_or_else(Instant::now)));
    let mut is_set = false;
    let driven = poll_fn(|cx| {
        let outcome = driver.as_mut().poll(cx);
        // The timer needs a poll only once, because all polls have the waker of this task.
        while outcome.is_pending() && next.is_some() && (!is_set || timer.is_elapsed()) {
            // Without `unconstrained`, `Pending` could mean that the task budget is used up and the timer has no waker.
            is_set = pin!(unconstrained(timer.as_mut())).poll(cx).is_pending();
            if !is_set {
                next = look();
                timer.as_mut().reset(next.unwrap_or_else(Instant::now));
            }
        }
        outcome
    });
    let outcome = driven.await;
    shared.lock().remove(info.key(), id);
    ended(&info, outcome);
}

fn ended(info: &ConnectionInfo, outcome: hyper::Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(endpoint = info.endpoint(), %error, "an HTTP connection failed");
    }
}

impl<S: Connection> fmt::Debug for Pool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

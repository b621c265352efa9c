//! Sends HTTP requests to targets.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use fastrand::Rng;
use http::{Request, Response};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::MeshConnector;
use crate::{
    cluster::{CachedRoute, ClusterEntry, Route},
    connection::ConnectionKey,
    dial::{self, Choice, Dialer},
    dns::Dns,
    error::Error,
    hosts::HostSet,
    http::{Leased, Leasing, RequestBody, ResponseBody, Source, Upstream, exchange},
    membership::{Membership, Resolved, after},
    settings::Settings,
    stream::MeshStream,
    target::{Host, Target},
};

/// The target of the requests of one connector, with the route of the previous request.
#[derive(Debug)]
pub(crate) struct RequestTarget {
    target: Target,
    route: ArcSwapOption<CachedRoute>,
}

/// The context of one connection for a request.
#[derive(Clone, Copy)]
struct Context<'a> {
    membership: &'a Membership,
    settings: &'a Settings,
    target: &'a Target,
    max_idle: usize,
    deadline: Instant,
}

impl From<Target> for RequestTarget {
    fn from(target: Target) -> Self {
        Self { target, route: ArcSwapOption::empty() }
    }
}

impl MeshConnector {
    /// Sends a request to a target over a pooled or a new connection of its cluster. At most `max_idle` connections of
    /// the cluster are idle after the request. If `max_idle` is 0, the request has its own connection.
    ///
    /// # Errors
    ///
    /// The errors of [`Mesh::connect_to`](crate::Mesh::connect_to). `Exchange`: the connection was established, but the
    /// request or the response failed.
    pub(crate) fn send(
        &self,
        to: Arc<RequestTarget>,
        request: Request<RequestBody>,
        max_idle: usize,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Error>> + Send {
        exchange(request, Leases { connector: self, to, max_idle })
    }
}

/// The connections for one request to a target.
struct Leases<'a> {
    connector: &'a MeshConnector,
    to: Arc<RequestTarget>,
    max_idle: usize,
}

impl Source for Leases<'_> {
    /// Returns a connection. Waits only if the target must be routed again or the pool has no suitable connection.
    fn lease(&self) -> Leasing<'_> {
        let Self { connector: MeshConnector { mesh, .. }, to, max_idle } = self;
        let (membership, settings, target, max_idle) =
            (mesh.membership(), mesh.settings(), &to.target, *max_idle);
        let now = Instant::now();
        let deadline = after(now, settings.connect_deadline);
        let context = Context { membership, settings, target, max_idle, deadline };
        if membership.is_closed() {
            return Leasing::new(context.route(&to.route));
        }
        let cached = to.route.load();
        let Some(route) = cached.as_ref().filter(|route| membership.clusters.may_use(route, now)) else {
            return Leasing::new(context.route(&to.route));
        };
        let CachedRoute { entry, hosts, .. } = &**route;
        let upstream = ToCluster { context, entry, hosts };
        let choice = upstream.choose(now);
        if let Some(choice) = &choice
            && let Some(leased) = entry.http().idle(target.protocol(), choice.key, max_idle, now)
        {
            return Leasing::Ready(leased);
        }
        let route = route.clone();
        Leasing::new(async move { context.lease_in_cluster(&route.entry, &route.hosts, choice).await })
    }
}

impl Context<'_> {
    /// Routes the target, and returns a connection. Stores the route in `cache`.
    async fn route(self, cache: &ArcSwapOption<CachedRoute>) -> Result<Leased, Error> {
        let Context { membership, target, deadline, .. } = self;
        membership.refuse_if_closed(target)?;
        let versions = membership.clusters.versions();
        match membership.route(target, deadline).await? {
            Route::Cluster(entry) => {
                let endpoints = entry.endpoints_version();
                let hosts = membership.hosts(target, &entry, deadline).await?;
                // The route of a target with an IP address is not cached, because it depends on the name that was last
                // resolved to that address.
                if matches!(target.host(), Host::Name(_)) && entry.has_common_hosts() {
                    let (entry, hosts, now) = (entry.clone(), hosts.clone(), Instant::now());
                    let route = CachedRoute::new(entry, hosts, versions, endpoints, now);
                    cache.store(Some(Arc::new(route)));
                }
                self.lease_in_cluster(&entry, &hosts, None).await
            }
            Route::Passthrough => self.lease_passthrough().await,
        }
    }

    /// Returns a connection to the endpoint of `first` or, if it is `None`, to an endpoint of the cluster.
    async fn lease_in_cluster(
        self,
        entry: &ClusterEntry,
        hosts: &Arc<HostSet>,
        first: Option<Choice>,
    ) -> Result<Leased, Error> {
        let upstream = ToCluster { context: self, entry, hosts };
        entry.http().lease(self.target.protocol(), self.max_idle, &upstream, first).await
    }

    async fn lease_passthrough(self) -> Result<Leased, Error> {
        let Context { membership, settings, target, deadline, .. } = self;
        settings.check_passthrough(target)?;
        let cluster = membership.clusters.passthrough();
        let names = membership.client.names().get();
        let key = match cluster.key(target, &names) {
            Some(key) => key,
            None => match membership.resolve_passthrough(target, settings, deadline).await? {
                Resolved::Passthrough(_) => cluster.insert(target, &names),
                Resolved::Cluster(target, entry) => {
                    let inside = Context { target: &target, ..self };
                    let hosts = membership.hosts(&target, &entry, deadline).await?;
                    return inside.lease_in_cluster(&entry, &hosts, None).await;
                }
            },
        };
        let upstream = ToPassthrough { context: self, key };
        cluster.http().lease(target.protocol(), self.max_idle, &upstream, None).await
    }

    /// Connects, and records the success or the error in logs and metrics.
    async fn record(
        self,
        connecting: impl Future<Output = Result<MeshStream, Error>>,
    ) -> Result<MeshStream, Error> {
        let span = tracing::debug_span!("connect", target = %self.target);
        let outcome = connecting.instrument(span.clone()).await;
        span.in_scope(|| self.membership.record(self.target, outcome))
    }
}

/// A cluster, with the endpoints for one request.
struct ToCluster<'a> {
    context: Context<'a>,
    entry: &'a ClusterEntry,
    hosts: &'a Arc<HostSet>,
}

impl ToCluster<'_> {
    fn dialer(&self) -> Dialer<'_, Dns> {
        let Context { membership, settings, target, deadline, .. } = self.context;
        membership.dialer(target, self.entry, self.hosts, settings, deadline)
    }
}

impl Upstream for ToCluster<'_> {
    type Choice = Choice;

    fn choose(&self, now: Instant) -> Option<Choice> {
        self.dialer().choose(now, &mut Rng::new())
    }

    fn key(choice: &Choice) -> ConnectionKey {
        choice.key
    }

    async fn connect(&self, first: Option<Choice>) -> Result<MeshStream, Error> {
        let connecting = async { self.dialer().connect(first, &mut Rng::new()).await };
        self.context.record(connecting).await
    }
}

/// A host outside the mesh.
struct ToPassthrough<'a> {
    context: Context<'a>,
    key: ConnectionKey,
}

impl Upstream for ToPassthrough<'_> {
    type Choice = ConnectionKey;

    fn choose(&self, _now: Instant) -> Option<ConnectionKey> {
        Some(self.key)
    }

    fn key(choice: &ConnectionKey) -> ConnectionKey {
        *choice
    }

    async fn connect(&self, _: Option<ConnectionKey>) -> Result<MeshStream, Error> {
        let Context { membership, settings, target, deadline, .. } = self.context;
        let connecting = async {
            match membership.resolve_passthrough(target, settings, deadline).await? {
                Resolved::Passthrough(addresses) => {
                    dial::passthrough(target, &addresses, self.key, deadline).await
                }
                // The host has just become part of the mesh, so the connection is used only for this request.
                Resolved::Cluster(target, entry) => {
                    membership.connect_to_cluster(&target, &entry, settings, deadline).await
                }
            }
        };
        self.context.record(connecting).await
    }
}

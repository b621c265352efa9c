//! Sends HTTP requests to targets.

use std::sync::Arc;

use fastrand::Rng;
use http::{Request, Response};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::MeshConnector;
use crate::{
    cluster::{ClusterEntry, Route},
    connection::ConnectionKey,
    dial::{self, Choice, Dialer},
    dns::Dns,
    error::Error,
    hosts::HostSet,
    http::{Leased, RequestBody, ResponseBody, Upstream, exchange},
    membership::{Membership, Resolved, after},
    settings::Settings,
    stream::MeshStream,
    target::Target,
};

/// The context that a request and its connections share.
#[derive(Clone, Copy)]
struct Context<'a> {
    membership: &'a Membership,
    settings: &'a Settings,
    target: &'a Target,
    deadline: Instant,
}

impl MeshConnector {
    /// Sends a request to a target over a pooled or a new connection of its cluster. At most `max_idle` connections of
    /// the cluster are idle after the request. If `max_idle` is 0, the request has its own connection.
    ///
    /// # Errors
    ///
    /// The errors of [`Mesh::connect_to`](crate::Mesh::connect_to); `Exchange` if the connection was established and
    /// the exchange failed.
    pub(crate) fn send<'a>(
        &'a self,
        target: &'a Target,
        request: Request<RequestBody>,
        max_idle: usize,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Error>> + Send + 'a {
        let (membership, settings) = (self.mesh.membership(), self.mesh.settings());
        let deadline = after(settings.connect_deadline);
        let context = Context { membership, settings, target, deadline };
        exchange(request, move || context.lease(max_idle))
    }
}

impl Context<'_> {
    async fn lease(self, max_idle: usize) -> Result<Leased, Error> {
        self.membership.refuse_if_closed(self.target)?;
        match self.membership.route(self.target, self.deadline).await? {
            Route::Cluster(entry) => self.lease_in_cluster(&entry, max_idle).await,
            Route::Passthrough => self.lease_passthrough(max_idle).await,
        }
    }

    async fn lease_in_cluster(self, entry: &ClusterEntry, max_idle: usize) -> Result<Leased, Error> {
        let hosts = self.membership.hosts(self.target, entry, self.deadline).await?;
        let upstream = ToCluster { context: self, entry, hosts };
        entry.http().lease(self.target.protocol(), max_idle, &upstream).await
    }

    async fn lease_passthrough(self, max_idle: usize) -> Result<Leased, Error> {
        self.settings.check_passthrough(self.target)?;
        let cluster = self.membership.clusters.passthrough();
        let names = self.membership.client.names().get();
        let key = match cluster.key(self.target, &names) {
            Some(key) => key,
            None => {
                match self.membership.resolve_passthrough(self.target, self.settings, self.deadline).await? {
                    Resolved::Passthrough(_) => cluster.insert(self.target, &names),
                    Resolved::Cluster(target, entry) => {
                        let inside = Context { target: &target, ..self };
                        return inside.lease_in_cluster(&entry, max_idle).await;
                    }
                }
            }
        };
        let upstream = ToPassthrough { context: self, key };
        cluster.http().lease(self.target.protocol(), max_idle, &upstream).await
    }

    /// Connects, and logs and counts the outcome.
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
    hosts: Arc<HostSet>,
}

impl ToCluster<'_> {
    fn dialer(&self) -> Dialer<'_, Dns> {
        let Context { membership, settings, target, deadline } = self.context;
        membership.dialer(target, self.entry, &self.hosts, settings, deadline)
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
        let Context { membership, settings, target, deadline } = self.context;
        let connecting = async {
            match membership.resolve_passthrough(target, settings, deadline).await? {
                Resolved::Passthrough(addresses) => {
                    dial::passthrough(target, &addresses, self.key, deadline).await
                }
                // The host has just moved into the mesh: the connection serves only this request.
                Resolved::Cluster(target, entry) => {
                    membership.connect_to_cluster(&target, &entry, settings, deadline).await
                }
            }
        };
        self.context.record(connecting).await
    }
}

//! A membership of the mesh, and the way of a connection through it: route, endpoints, dial.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use mesh_resolver::Upstream;
use nds_client::{NdsClient, config::ServerAddress, resources::cluster::Clusters};
use rustls::KeyLog;
use tokio::{
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use crate::{
    cluster::{ClusterEntry, ClusterManager, Route},
    connection::ConnectionKey,
    dial::{self, Dialer},
    dns::{Dns, unresolved},
    error::{Error, ErrorKind},
    hosts::HostSet,
    metrics::{self, Meter, Source},
    settings::Settings,
    stream::MeshStream,
    target::{Host, Target},
    tls::TlsSettings,
};

/// How long a name without a cluster is waited for.
const NAMES_AHEAD: Duration = Duration::from_millis(500);

/// What all handles of one membership share.
pub(crate) struct Membership {
    pub(crate) client: NdsClient,
    pub(crate) dns: Dns,
    pub(crate) clusters: Arc<ClusterManager>,
    /// Keeps the clusters up to date.
    follower: AbortHandle,
    closed: AtomicBool,
}

/// Where a name leads that is not the name of a service.
pub(crate) enum Resolved {
    /// Into the mesh after all: the host's search list completes it, or the name table has just come.
    Cluster(Target, Arc<ClusterEntry>),
    /// Outside of the mesh, to these addresses.
    Passthrough(Vec<IpAddr>),
}

impl Membership {
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn new(
        client: NdsClient,
        upstream: Upstream,
        key_log: Option<Arc<dyn KeyLog>>,
        gateways: Vec<ServerAddress>,
    ) -> Result<Self, Error> {
        let clusters = ClusterManager::new(client.clone(), gateways, TlsSettings::new(key_log));
        let clusters = Arc::new(clusters);
        Ok(Self {
            dns: Dns::new(&client, upstream)?,
            follower: tokio::spawn(ClusterManager::follow(Arc::downgrade(&clusters))).abort_handle(),
            clusters,
            client,
            closed: AtomicBool::new(false),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.client.shutdown().await;
    }

    pub(crate) fn refuse_if_closed(&self, target: &Target) -> Result<(), Error> {
        if !self.is_closed() {
            return Ok(());
        }
        let message = format!("cannot connect to {target}: this process has left the mesh; join it again");
        Err(Error::new(ErrorKind::Closed, message))
    }

    /// Connects to a target, and logs and counts the outcome.
    pub(crate) async fn connect(&self, target: &Target, settings: &Settings) -> Result<MeshStream, Error> {
        let outcome = self.open(target, settings).await;
        self.record(target, outcome)
    }

    async fn open(&self, target: &Target, settings: &Settings) -> Result<MeshStream, Error> {
        self.refuse_if_closed(target)?;
        let deadline = after(settings.connect_deadline);
        match self.route(target, deadline).await? {
            Route::Cluster(entry) => self.connect_to_cluster(target, &entry, settings, deadline).await,
            Route::Passthrough => self.connect_outside(target, settings, deadline).await,
        }
    }

    /// Logs and counts how an attempt to connect ended.
    pub(crate) fn record(
        &self,
        target: &Target,
        outcome: Result<MeshStream, Error>,
    ) -> Result<MeshStream, Error> {
        match outcome {
            Ok(stream) => {
                let info = stream.connection();
                let (endpoint, gateway) = (info.endpoint(), info.is_through_gateway());
                let transport = info.transport().as_label();
                tracing::debug!(cluster = info.cluster(), endpoint, gateway, transport, "connected");
                let meter = Meter::opened(|| self.source(), info);
                Ok(stream.metered(meter))
            }
            Err(error) => {
                tracing::debug!(error = error.report(), "not connected");
                metrics::failed(target, &error);
                Err(error)
            }
        }
    }

    fn source(&self) -> Source {
        let config = self.client.config();
        Source {
            namespace: config.namespace().to_owned(),
            cluster: config.cluster_id().to_owned(),
            principal: self.client.identity().current().map(|identity| identity.spiffe_id().to_string()),
        }
    }

    /// Where a target leads. Waits for istiod's clusters, and for a moment for the cluster of a name that has none
    /// yet.
    pub(crate) async fn route(&self, target: &Target, deadline: Instant) -> Result<Route, Error> {
        let routed = match self.clusters.route(target, &self.dns) {
            Some(routed) => routed,
            None => {
                self.wait_for_clusters(left(deadline), || {
                    format!("cannot route {target} without istiod's clusters")
                })
                .await?;
                self.clusters.route(target, &self.dns).unwrap_or_else(|| {
                    let message = format!("cannot route {target}: istiod's clusters are gone");
                    Err(Error::new(ErrorKind::ControlPlane, message))
                })
            }
        };
        match routed {
            Err(error) if error.kind() == ErrorKind::UnknownHost => {
                self.route_by_next_clusters(target, error, deadline.min(after(NAMES_AHEAD))).await
            }
            routed => routed,
        }
    }

    /// Names come on the same stream as clusters, but by themselves: for a moment a new service may have a name and no
    /// cluster. `error` is the outcome over the clusters so far.
    async fn route_by_next_clusters(
        &self,
        target: &Target,
        error: Error,
        deadline: Instant,
    ) -> Result<Route, Error> {
        let Some(mut clusters) = self.clusters.watch().cloned() else { return Err(error) };
        while let Ok(true) = timeout_at(deadline, clusters.changed()).await {
            match self.clusters.route(target, &self.dns) {
                None => {}
                Some(Err(again)) if again.kind() == ErrorKind::UnknownHost => {}
                Some(routed) => return routed,
            }
        }
        Err(error)
    }

    /// Waits until istiod has sent its clusters.
    pub(crate) async fn wait_for_clusters(
        &self,
        timeout: Duration,
        why: impl FnOnce() -> String,
    ) -> Result<Arc<Clusters>, Error> {
        match self.clusters.clusters() {
            Some(clusters) => Ok(clusters),
            None => {
                let clusters = self.client.wait_for_clusters(timeout).await;
                clusters.map_err(|error| Error::control_plane(why(), error))
            }
        }
    }

    /// The endpoints of a cluster. Waits for istiod to send them.
    pub(crate) async fn hosts(
        &self,
        target: &Target,
        entry: &ClusterEntry,
        deadline: Instant,
    ) -> Result<Arc<HostSet>, Error> {
        if let Some(hosts) = entry.hosts(target, &self.dns) {
            return Ok(hosts);
        }
        let name = entry.eds_name().unwrap_or_default();
        let failed = |error| {
            let message = format!("cannot connect to {target} without istiod's endpoints for `{name}`");
            Error::control_plane(message, error)
        };
        self.client.wait_for_endpoints(name, left(deadline)).await.map_err(failed)?;
        entry.hosts(target, &self.dns).ok_or_else(|| {
            let message =
                format!("istiod's endpoints for `{name}` were dropped while {target} waited for them");
            Error::new(ErrorKind::ControlPlane, message)
        })
    }

    pub(crate) fn dialer<'a>(
        &'a self,
        target: &'a Target,
        entry: &'a ClusterEntry,
        hosts: &'a Arc<HostSet>,
        settings: &Settings,
        deadline: Instant,
    ) -> Dialer<'a, Dns> {
        Dialer { target, entry, hosts, mtls: settings.mtls, upstream: &self.dns, deadline }
    }

    pub(crate) async fn connect_to_cluster(
        &self,
        target: &Target,
        entry: &ClusterEntry,
        settings: &Settings,
        deadline: Instant,
    ) -> Result<MeshStream, Error> {
        let hosts = self.hosts(target, entry, deadline).await?;
        self.dialer(target, entry, &hosts, settings, deadline).connect(None, &mut Rng::new()).await
    }

    async fn connect_outside(
        &self,
        target: &Target,
        settings: &Settings,
        deadline: Instant,
    ) -> Result<MeshStream, Error> {
        settings.allow_outside(target)?;
        match self.resolve_outside(target, deadline).await? {
            Resolved::Cluster(target, entry) => {
                self.connect_to_cluster(&target, &entry, settings, deadline).await
            }
            Resolved::Passthrough(addresses) => {
                dial::passthrough(target, &addresses, ConnectionKey::default(), deadline).await
            }
        }
    }

    /// The addresses of a target outside of the mesh, by upstream DNS.
    pub(crate) async fn resolve_outside(
        &self,
        target: &Target,
        deadline: Instant,
    ) -> Result<Resolved, Error> {
        let name = match target.host() {
            Host::Ip(ip) => return Ok(Resolved::Passthrough(vec![*ip])),
            Host::Name(name) => name,
        };
        let found = timeout_at(deadline, self.dns.resolver.lookup_ip(name)).await;
        let found = found.map_err(|elapsed| {
            let message =
                format!("the mesh does not know `{name}`, and upstream DNS has not answered in time");
            Error::with_source(ErrorKind::Timeout, message, elapsed)
        })?;
        let found = found.map_err(|error| unresolved(name, error))?;
        let Some(service) = found.mesh_name() else {
            return Ok(Resolved::Passthrough(found.addresses().to_vec()));
        };
        // The host's search list leads into the mesh after all, or the table has just come.
        let host = service.parse().unwrap_or_else(|_| target.host().clone());
        let target = target.clone().with_host(host);
        match self.route(&target, deadline).await? {
            Route::Cluster(entry) => Ok(Resolved::Cluster(target, entry)),
            Route::Passthrough => Err(Error::new(
                ErrorKind::UnknownHost,
                format!("`{name}` is `{service}` in the mesh's name table, but no cluster leads to it"),
            )),
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// A point in time that far away; no deadline is later than thirty years from now.
pub(crate) fn after(time: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    Instant::now() + time.min(LONGEST)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

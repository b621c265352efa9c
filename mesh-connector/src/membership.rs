//! The membership of a mesh, and the steps of a connection: route, endpoints, dial.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use mesh_resolver::{Source as AnswerSource, Upstream};
use nds_client::{NdsClient, config::ServerAddress, health::SyncState, resources::cluster::Clusters};
use parking_lot::Mutex;
use rustls::KeyLog;
use tokio::{
    task::{AbortHandle, JoinHandle},
    time::{Instant, timeout_at},
};

use crate::{
    cluster::{ClusterEntry, ClusterManager, Route},
    connection::ConnectionKey,
    dial::{self, Dialer},
    dns::{Dns, lookup_error},
    error::{Error, ErrorKind},
    hosts::HostSet,
    metrics::{self, Meter, Source},
    settings::Settings,
    stream::MeshStream,
    target::{Host, Target},
    tls::TlsSettings,
};

/// The time for which routing waits for the cluster of a new name.
const NEW_NAME_TIMEOUT: Duration = Duration::from_millis(500);

/// The state that all handles of one membership share.
pub(crate) struct Membership {
    pub(crate) client: NdsClient,
    pub(crate) dns: Dns,
    pub(crate) clusters: Arc<ClusterManager>,
    /// The task that updates the clusters.
    follower: Mutex<Option<JoinHandle<()>>>,
    /// Shows whether the task `follower` has ended. It ends early only if its tokio runtime has ended.
    follower_state: AbortHandle,
    closed: AtomicBool,
}

/// The result of resolving a host that routing did not find in the mesh.
pub(crate) enum Resolved {
    /// The host is in the mesh: the DNS search domain completes the name to a name of the mesh, or the name table has
    /// just arrived.
    Cluster(Target, Arc<ClusterEntry>),
    /// The host is outside the mesh, with these addresses.
    Passthrough(Vec<IpAddr>),
}

impl Membership {
    /// Starts the tasks of a membership.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub(crate) fn new(
        client: NdsClient,
        upstream: Upstream,
        key_log: Option<Arc<dyn KeyLog>>,
        gateways: Vec<ServerAddress>,
    ) -> Result<Self, Error> {
        let clusters = ClusterManager::new(client.clone(), gateways, TlsSettings::new(key_log));
        let clusters = Arc::new(clusters);
        let dns = Dns::new(&client, upstream)?;
        let follower = tokio::spawn(ClusterManager::follow_supervised(Arc::downgrade(&clusters)));
        Ok(Self {
            dns,
            follower_state: follower.abort_handle(),
            follower: Mutex::new(Some(follower)),
            clusters,
            client,
            closed: AtomicBool::new(false),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes the connection to istiod and waits for the tasks of the membership.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let follower = self.follower.lock().take();
        if let Some(follower) = &follower {
            follower.abort();
        }
        self.client.shutdown().await;
        if let Some(follower) = follower {
            // Ignore the result: the task was aborted.
            let _ = follower.await;
        }
    }

    pub(crate) fn refuse_if_closed(&self, target: &Target) -> Result<(), Error> {
        let why = if self.is_closed() {
            "the mesh was shut down"
        } else if self.follower_state.is_finished() {
            // Return an error, because certificate, policy and endpoints are no longer updated.
            "the tasks of the mesh have ended, because the tokio runtime on which it was joined has ended"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Closed, format!("cannot connect to {target}: {why}; join it again")))
    }

    /// Connects to a target. Records the success or the error in logs and metrics.
    pub(crate) async fn connect(&self, target: &Target, settings: &Settings) -> Result<MeshStream, Error> {
        let outcome = self.open(target, settings).await;
        self.record(target, outcome)
    }

    async fn open(&self, target: &Target, settings: &Settings) -> Result<MeshStream, Error> {
        self.refuse_if_closed(target)?;
        let deadline = after(Instant::now(), settings.connect_deadline);
        match self.route(target, deadline).await? {
            Route::Cluster(entry) => self.connect_to_cluster(target, &entry, settings, deadline).await,
            Route::Passthrough => self.connect_passthrough(target, settings, deadline).await,
        }
    }

    /// Records the success or the error of a connection in logs and metrics.
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
                tracing::debug!(error = error.report(), "connection failed");
                metrics::failed(|| self.cluster_label(target), &error);
                Err(error)
            }
        }
    }

    /// Returns the name of the cluster of a target, for metrics.
    fn cluster_label(&self, target: &Target) -> String {
        match self.clusters.route(target, &self.dns) {
            Some(Ok(Route::Cluster(entry))) => entry.name().to_string(),
            Some(Ok(Route::Passthrough)) => metrics::PASSTHROUGH.to_owned(),
            Some(Err(_)) | None => metrics::UNKNOWN.to_owned(),
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

    /// Returns the route of a target. Waits until istiod has sent its clusters. If a name of the mesh has no cluster
    /// yet, also waits briefly for this cluster.
    pub(crate) async fn route(&self, target: &Target, deadline: Instant) -> Result<Route, Error> {
        let routed = match self.clusters.route(target, &self.dns) {
            Some(routed) => routed,
            None => {
                self.wait_for_clusters(left(deadline), || {
                    format!("cannot route {target}: istiod has sent no clusters")
                })
                .await?;
                self.clusters.route(target, &self.dns).unwrap_or_else(|| {
                    let message = format!("cannot route {target}: the clusters from istiod were dropped");
                    Err(Error::new(ErrorKind::ControlPlane, message))
                })
            }
        };
        match routed {
            Err(error) if error.kind() == ErrorKind::UnknownHost => {
                self.route_by_next_clusters(
                    target,
                    error,
                    deadline.min(after(Instant::now(), NEW_NAME_TIMEOUT)),
                )
                .await
            }
            routed => routed,
        }
    }

    /// Waits for the next clusters and routes again. istiod pushes names and clusters separately, so a new service may
    /// briefly have a name and no cluster. `error` is the routing error with the current clusters.
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

    /// Waits until istiod has sent its clusters. `why` returns the error message for the case that the deadline passes.
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

    /// Returns the endpoints of a cluster. Waits until istiod has sent them.
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
            let message = format!("cannot connect to {target}: istiod has sent no endpoints for `{name}`");
            Error::control_plane(message, error)
        };
        self.client.wait_for_endpoints(name, left(deadline)).await.map_err(failed)?;
        entry.hosts(target, &self.dns).ok_or_else(|| {
            let message = format!(
                "cannot connect to {target}: the endpoints for `{name}` were dropped while waiting for them"
            );
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

    async fn connect_passthrough(
        &self,
        target: &Target,
        settings: &Settings,
        deadline: Instant,
    ) -> Result<MeshStream, Error> {
        settings.check_passthrough(target)?;
        match self.resolve_passthrough(target, settings, deadline).await? {
            Resolved::Cluster(target, entry) => {
                self.connect_to_cluster(&target, &entry, settings, deadline).await
            }
            Resolved::Passthrough(addresses) => {
                dial::passthrough(target, &addresses, ConnectionKey::default(), deadline).await
            }
        }
    }

    /// Waits until istiod has sent a name table. Before the first name table, any host may be in the mesh. Returns
    /// whether this function had to wait.
    async fn wait_for_names(&self, target: &Target, deadline: Instant) -> Result<bool, Error> {
        if self.client.health().load().sync != SyncState::Connecting {
            return Ok(false);
        }
        let why = || {
            format!(
                "cannot connect to {target}: istiod has sent no name table, so the host may be in the mesh"
            )
        };
        match timeout_at(deadline, self.client.ready()).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(error)) => Err(Error::control_plane(why(), error)),
            Err(elapsed) => Err(Error::with_source(ErrorKind::ControlPlane, why(), elapsed)),
        }
    }

    /// Resolves a target that routing did not find in the mesh, with upstream DNS.
    ///
    /// # Errors
    ///
    /// `PlaintextRefused` if the name belongs to the mesh and the settings do not allow plaintext to such names.
    pub(crate) async fn resolve_passthrough(
        &self,
        target: &Target,
        settings: &Settings,
        deadline: Instant,
    ) -> Result<Resolved, Error> {
        if self.wait_for_names(target, deadline).await?
            && let Route::Cluster(entry) = self.route(target, deadline).await?
        {
            return Ok(Resolved::Cluster(target.clone(), entry));
        }
        let name = match target.host() {
            Host::Ip(ip) => {
                // The address may be a virtual IP of a service that was deleted.
                if let Some(name) = self.dns.resolver.last_resolved(*ip) {
                    settings.check_name(&name, self.dns.resolver.is_mesh_name(&name))?;
                }
                return Ok(Resolved::Passthrough(vec![*ip]));
            }
            Host::Name(name) => name,
        };
        let found = timeout_at(deadline, self.dns.resolver.lookup_ip(name)).await;
        let found = found.map_err(|elapsed| {
            let message = format!(
                "the mesh does not know `{name}`, and upstream DNS did not answer within the deadline"
            );
            Error::with_source(ErrorKind::Timeout, message, elapsed)
        })?;
        let found = found.map_err(|error| lookup_error(name, error))?;
        let Some(service) = found.mesh_name() else {
            if !matches!(found.source(), AnswerSource::HostsFile) {
                settings.check_name(name, self.dns.resolver.is_mesh_name(name))?;
            }
            return Ok(Resolved::Passthrough(found.addresses().to_vec()));
        };
        // The DNS search domain completes the name to a name of the mesh, or the name table has just arrived.
        let host = service.parse().unwrap_or_else(|_| target.host().clone());
        let target = target.clone().with_host(host);
        match self.route(&target, deadline).await? {
            Route::Cluster(entry) => Ok(Resolved::Cluster(target, entry)),
            Route::Passthrough => Err(Error::new(
                ErrorKind::UnknownHost,
                format!(
                    "the name table lists `{name}` as `{service}`, but istiod has sent no cluster for it"
                ),
            )),
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(follower) = self.follower.get_mut() {
            follower.abort();
        }
    }
}

/// Returns the instant `time` after `now`, at most thirty years later.
pub(crate) fn after(now: Instant, time: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    now + time.min(LONGEST)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

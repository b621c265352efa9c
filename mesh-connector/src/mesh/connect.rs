//! Connecting, step by step: route, endpoints, dial.

use std::{net::IpAddr, sync::Arc, time::Duration};

use fastrand::Rng;
#[cfg(feature = "hyper")]
use nds_client::ConnectionLife;
#[cfg(feature = "bridge")]
use nds_client::Http;
use nds_client::{Cluster, Clusters, Discovery, Endpoints, Identity};
use tokio::time::{Instant, timeout_at};

use super::{Membership, Mesh, NextHop, original::original_destination};
#[cfg(feature = "bridge")]
use crate::Protocol;
use crate::{
    Error, ErrorKind, Host, MeshStream, Target,
    dial::{self, Dialer},
    hosts::HostSet,
    metrics::{self, Meter, Source},
    names::{Dns, unresolved},
    route::route,
    routes::Destination,
};

/// How long a name without a cluster is waited for.
const NAMES_AHEAD: Duration = Duration::from_millis(500);

pub(super) async fn connect(mesh: &Mesh, target: &Target) -> Result<MeshStream, Error> {
    mesh.refuse_if_closed(target)?;
    let deadline = after(mesh.settings.connect_deadline);
    match mesh.route(target, deadline).await? {
        Some(destination) => mesh.connect_inside(target, &destination, deadline).await,
        None => mesh.connect_outside(target, deadline).await,
    }
}

/// Where a name leads that is no service by itself.
pub(crate) enum Found {
    /// Into the mesh after all: by the host's search list, or because the table has just come.
    Inside(Target, Destination),
    /// Outside of the mesh, to these addresses.
    Outside(Vec<IpAddr>),
}

/// Tells the log and the metrics how it ended.
pub(super) fn told(
    mesh: &Mesh,
    target: &Target,
    outcome: Result<MeshStream, Error>,
) -> Result<MeshStream, Error> {
    match outcome {
        Ok(stream) => {
            let info = stream.connection();
            let (endpoint, gateway) = (info.endpoint(), info.is_through_gateway());
            let transport = info.transport().as_label();
            tracing::debug!(cluster = info.cluster(), endpoint, gateway, transport, "connected");
            let meter = Meter::opened(|| mesh.source(), info);
            Ok(stream.metered(meter))
        }
        Err(error) => {
            tracing::debug!(error = error.report(), "not connected");
            metrics::failed(target, &error);
            Err(error)
        }
    }
}

impl Mesh {
    fn source(&self) -> Source {
        let config = self.client().config();
        let identity = self.client().identity().load();
        Source {
            namespace: config.namespace().to_owned(),
            cluster: config.cluster_id().to_owned(),
            principal: identity.as_ref().map(|identity| identity.spiffe_id().to_string()),
        }
    }

    pub(crate) fn refuse_if_closed(&self, target: &Target) -> Result<(), Error> {
        if !self.is_closed() {
            return Ok(());
        }
        let message = format!("cannot connect to {target}: this process has left the mesh; join it again");
        Err(Error::new(ErrorKind::Closed, message))
    }

    /// Where a target leads; `None`: outside of the mesh.
    pub(crate) async fn route(
        &self,
        target: &Target,
        deadline: Instant,
    ) -> Result<Option<Destination>, Error> {
        let client = &self.membership.client;
        let clusters = match self.known_clusters() {
            Some(clusters) => clusters,
            None => client.wait_for_clusters(left(deadline)).await.map_err(|error| {
                Error::control_plane(format!("cannot route {target} without istiod's clusters"), error)
            })?,
        };
        match self.route_by(target, &clusters) {
            Err(error) if error.kind() == ErrorKind::UnknownHost => self
                .route_anew(target, &clusters, deadline.min(after(NAMES_AHEAD)))
                .await
                .unwrap_or(Err(error)),
            routed => routed,
        }
    }

    /// The clusters that have come; none at all where gateways stand in for them.
    fn known_clusters(&self) -> Option<Arc<Clusters>> {
        match &self.membership.fixed {
            Some(fixed) => Some(fixed.clusters.clone()),
            None => self.membership.client.clusters().current(),
        }
    }

    fn route_by(&self, target: &Target, clusters: &Arc<Clusters>) -> Result<Option<Destination>, Error> {
        let Membership { client, fixed, routes, .. } = &*self.membership;
        let names = client.names().get();
        routes.get(target, &names, clusters, || match fixed {
            Some(fixed) => fixed.route(target, self.dns(), client),
            None => route(target, clusters, self.dns()),
        })
    }

    /// Names come on the same stream as clusters, but by themselves: for a moment a new service may have a name and no
    /// cluster. The route by the next clusters; `None` where none come, or where they do not help either.
    async fn route_anew(
        &self,
        target: &Target,
        known: &Arc<Clusters>,
        deadline: Instant,
    ) -> Option<Result<Option<Destination>, Error>> {
        if self.membership.fixed.is_some() {
            return None;
        }
        let mut route = None;
        let mut clusters = self.membership.client.clusters().clone();
        let routed = clusters.wait_for(|clusters| {
            let next = clusters.as_ref().filter(|next| !Arc::ptr_eq(next, known));
            let routed = next.map(|next| self.route_by(target, next));
            let helps = |routed: &Result<_, Error>| {
                !matches!(routed, Err(error) if error.kind() == ErrorKind::UnknownHost)
            };
            route = routed.filter(helps);
            route.is_some()
        });
        timeout_at(deadline, routed).await.ok()?;
        route
    }

    /// How long a connection to a target is kept for requests; what nobody says outside of the mesh.
    #[cfg(feature = "hyper")]
    pub(crate) async fn connection_life(&self, target: &Target) -> Result<ConnectionLife, Error> {
        self.refuse_if_closed(target)?;
        let route = self.route(target, after(self.settings.connect_deadline)).await?;
        Ok(route.map(|destination| destination.cluster.connection_life).unwrap_or_default())
    }

    /// Whether Istio detects the protocol of this target's port from its bytes, and the caller has not said what it
    /// speaks.
    #[cfg(feature = "bridge")]
    pub(crate) async fn detects_protocol(&self, target: &Target) -> Result<bool, Error> {
        self.refuse_if_closed(target)?;
        if target.protocol() != Protocol::Tcp {
            return Ok(false);
        }
        let route = self.route(target, after(self.settings.connect_deadline)).await?;
        Ok(route.is_some_and(|destination| destination.cluster.http == Http::Detected))
    }

    /// Whether a target is in the mesh. Fails where it is and cannot be reached: it has no such port, for instance.
    #[cfg(feature = "bridge")]
    pub(crate) async fn has(&self, target: &Target) -> Result<bool, Error> {
        self.refuse_if_closed(target)?;
        match self.route(target, after(self.settings.connect_deadline)).await {
            Err(error) if error.kind() == ErrorKind::UnknownHost => Ok(false),
            routed => Ok(routed?.is_some()),
        }
    }

    /// The service ports of a host of the mesh, as far as istiod has sent its clusters.
    #[cfg(feature = "bridge")]
    pub(crate) fn service_ports(&self, host: &str) -> Vec<u16> {
        let clusters = self.known_clusters().unwrap_or_default();
        let mut ports: Vec<_> = clusters.of_host(host).iter().map(|cluster| cluster.name.port).collect();
        ports.dedup();
        ports
    }

    /// Waits until istiod has sent its clusters.
    #[cfg(feature = "bridge")]
    pub(crate) async fn await_clusters(&self) -> Result<(), Error> {
        if self.known_clusters().is_none() {
            let clusters = self.membership.client.wait_for_clusters(self.settings.connect_deadline).await;
            clusters
                .map_err(|error| Error::control_plane("no addresses without istiod's clusters", error))?;
        }
        Ok(())
    }

    pub(crate) fn dialer<'a>(
        &'a self,
        target: &'a Target,
        cluster: &'a Arc<Cluster>,
        hosts: &'a Arc<HostSet>,
        identity: Option<&'a Identity>,
        deadline: Instant,
    ) -> Dialer<'a, Dns> {
        Dialer {
            target,
            cluster,
            identity,
            tls: &self.membership.tls,
            mtls: self.settings.mtls,
            lookup: &self.membership.dns,
            hosts,
            deadline,
        }
    }

    async fn connect_inside(
        &self,
        target: &Target,
        destination: &Destination,
        deadline: Instant,
    ) -> Result<MeshStream, Error> {
        let hosts = self.hosts(target, destination, deadline).await?;
        let identity = self.membership.client.identity().current();
        let dialer = self.dialer(target, &destination.cluster, &hosts, identity.as_deref(), deadline);
        dialer.connect(&mut Rng::new()).await
    }

    async fn connect_outside(&self, target: &Target, deadline: Instant) -> Result<MeshStream, Error> {
        self.allow_outside(target)?;
        let name = match target.host() {
            Host::Ip(ip) => return dial::outside(target, &[*ip], deadline).await,
            Host::Name(name) => name,
        };
        match self.find_outside(target, name, deadline).await? {
            Found::Inside(target, destination) => self.connect_inside(&target, &destination, deadline).await,
            Found::Outside(addresses) => dial::outside(target, &addresses, deadline).await,
        }
    }

    pub(crate) fn allow_outside(&self, target: &Target) -> Result<(), Error> {
        self.settings.allow_outside(target)
    }

    /// Asks upstream DNS for a name that is no service by itself.
    pub(crate) async fn find_outside(
        &self,
        target: &Target,
        name: &str,
        deadline: Instant,
    ) -> Result<Found, Error> {
        let found = timeout_at(deadline, self.resolver().lookup_ip(name)).await;
        let found = found.map_err(|elapsed| {
            let message =
                format!("the mesh does not know `{name}`, and upstream DNS has not answered in time");
            Error::with_source(ErrorKind::Timeout, message, elapsed)
        })?;
        let found = found.map_err(|error| unresolved(name, error))?;
        let Some(service) = found.mesh_name() else {
            return Ok(Found::Outside(found.addresses().to_vec()));
        };
        // The host's search list leads into the mesh after all, or the table has just come.
        let host = service.parse().unwrap_or_else(|_| target.host().clone());
        let target = target.clone().with_host(host);
        match self.route(&target, deadline).await? {
            Some(destination) => Ok(Found::Inside(target, destination)),
            None => Err(Error::new(
                ErrorKind::UnknownHost,
                format!("`{name}` is `{service}` in the mesh's name table, but no cluster leads to it"),
            )),
        }
    }

    /// The endpoints of a cluster. A service whose callers go to the address that they resolved (`ORIGINAL_DST`), and
    /// for which EDS has nothing, has that address.
    pub(crate) async fn hosts(
        &self,
        target: &Target,
        destination: &Destination,
        deadline: Instant,
    ) -> Result<Arc<HostSet>, Error> {
        if let Some(known) = self.known_hosts(target, destination) {
            return Ok(known);
        }
        // What is not known comes by EDS.
        let name = destination.eds_name.as_deref().unwrap_or_default();
        let endpoints =
            self.membership.client.wait_for_endpoints(name, left(deadline)).await.map_err(|error| {
                let message = format!("cannot connect to {target} without istiod's endpoints for `{name}`");
                Error::control_plane(message, error)
            })?;
        Ok(self.hosts_of(target, destination, endpoints))
    }

    /// The same as far as it is known. Wait-free.
    fn known_hosts(&self, target: &Target, destination: &Destination) -> Option<Arc<HostSet>> {
        let endpoints = match (&destination.cluster.discovery, &destination.eds_name) {
            (Discovery::Inline(endpoints), _) => endpoints.clone(),
            (_, None) => Arc::default(),
            (_, Some(name)) => self.membership.client.endpoints(name).current()?,
        };
        Some(self.hosts_of(target, destination, endpoints))
    }

    fn hosts_of(&self, target: &Target, to: &Destination, endpoints: Arc<Endpoints>) -> Arc<HostSet> {
        let cluster = &to.cluster;
        let original = matches!(cluster.discovery, Discovery::OriginalDestination);
        let endpoints = match original && endpoints.is_empty() {
            true => Arc::new(original_destination(target, cluster.upstream_port_override, self.dns())),
            false => endpoints,
        };
        self.membership.hosts.get(cluster, &endpoints)
    }

    /// Where the next connection goes, by what is known now.
    pub(super) fn decide(&self, target: &Target) -> Option<NextHop> {
        let clusters = self.known_clusters()?;
        let destination = self.route_by(target, &clusters).ok()??;
        let hosts = self.known_hosts(target, &destination)?;
        NextHop::of(hosts, &mut Rng::new())
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

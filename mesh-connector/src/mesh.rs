//! The facade: a process in the mesh.

use std::{fmt, sync::Arc, time::Duration};

use fastrand::Rng;
use mesh_resolver::{MeshResolver, Upstream};
use nds_client::{
    Cluster, Config, Discovery, Endpoint, Endpoints, Health, LocalityEndpoints, NdsClient, Watched,
};
use tokio::time::{Instant, timeout_at};

use crate::{
    Error, ErrorKind, Host, MeshBuilder, MeshConnector, MeshStream, Mtls, Target,
    dial::{self, Dialer},
    names::{Dns, unresolved},
    route::{Names, Route, route},
    settings::Settings,
    tls::TlsConfigs,
};

/// A process in an Istio mesh: names, connections, identity. Cheap to clone.
///
/// All clones share one membership: one identity, one stream to istiod, one resolver. Dropping the last one ends it;
/// connections that are open stay open.
#[derive(Clone)]
pub struct Mesh {
    membership: Arc<Membership>,
    settings: Settings,
}

struct Membership {
    client: NdsClient,
    dns: Dns,
    tls: TlsConfigs,
}

impl Mesh {
    /// Joins the mesh and waits for the identity and the first name table.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credentials`] or [`ErrorKind::ControlPlane`]; the cause is an [`nds_client::Error`] that names
    /// the file, key or address and the next step.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn join(config: Config) -> Result<Self, Error> {
        Self::builder(config).join().await
    }

    /// Joins the mesh with other settings than the defaults.
    pub fn builder(config: Config) -> MeshBuilder {
        MeshBuilder::new(config)
    }

    pub(crate) fn new(client: NdsClient, upstream: Upstream, settings: Settings) -> Result<Self, Error> {
        let dns = Dns::new(&client, upstream)?;
        Ok(Self { membership: Arc::new(Membership { client, dns, tls: TlsConfigs::new() }), settings })
    }

    /// The same membership through a handle that connects with mTLS or not at all.
    #[must_use]
    pub fn requiring_mtls(&self) -> Self {
        self.with_settings(Settings { mtls: Mtls::Required, ..self.settings })
    }

    /// The same membership through a handle whose connections have `deadline` to come about, from route to handshake.
    #[must_use]
    pub fn with_connect_deadline(&self, deadline: Duration) -> Self {
        self.with_settings(Settings { connect_deadline: deadline, ..self.settings })
    }

    fn with_settings(&self, settings: Settings) -> Self {
        Self { membership: self.membership.clone(), settings }
    }

    /// Connects to a port of a service: by its name, short names included, or by its address.
    ///
    /// # Errors
    ///
    /// All kinds of [`ErrorKind`] but [`Exchange`](ErrorKind::Exchange).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn connect(&self, host: &str, port: u16) -> Result<MeshStream, Error> {
        self.connect_to(&Target::new(host, port)?).await
    }

    /// Connects to a target: a service with a subset, for a protocol.
    ///
    /// # Errors
    ///
    /// All kinds of [`ErrorKind`] but [`Exchange`](ErrorKind::Exchange).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn connect_to(&self, target: &Target) -> Result<MeshStream, Error> {
        let deadline = Instant::now() + self.settings.connect_deadline;
        match self.route(target, deadline).await? {
            Route::Service(cluster) => self.connect_inside(target, &cluster, deadline).await,
            Route::Outside => self.connect_outside(target, deadline).await,
        }
    }

    async fn route(&self, target: &Target, deadline: Instant) -> Result<Route, Error> {
        let client = &self.membership.client;
        let clusters = match client.try_clusters() {
            Some(clusters) => clusters,
            None => client.clusters(left(deadline)).await.map_err(|error| {
                Error::control_plane(format!("cannot route {target} without istiod's clusters"), error)
            })?,
        };
        route(target, &clusters, self.resolver())
    }

    async fn connect_inside(
        &self,
        target: &Target,
        cluster: &Arc<Cluster>,
        deadline: Instant,
    ) -> Result<MeshStream, Error> {
        let endpoints = self.endpoints(target, cluster, deadline).await?;
        let identity = self.membership.client.identity().get();
        let dialer = Dialer {
            target,
            cluster,
            identity: (*identity).as_deref(),
            tls: &self.membership.tls,
            mtls: self.settings.mtls,
            lookup: &self.membership.dns,
            deadline,
        };
        dialer.connect(&endpoints, &mut Rng::new()).await
    }

    async fn connect_outside(&self, target: &Target, deadline: Instant) -> Result<MeshStream, Error> {
        self.settings.allow_outside(target)?;
        let name = match target.host() {
            Host::Ip(ip) => return dial::outside(target, &[*ip], deadline).await,
            Host::Name(name) => name,
        };
        let found = timeout_at(deadline, self.resolver().lookup_ip(name)).await;
        let found = found.map_err(|elapsed| {
            let message =
                format!("the mesh does not know `{name}`, and upstream DNS has not answered in time");
            Error::with_source(ErrorKind::Timeout, message, elapsed)
        })?;
        let found = found.map_err(|error| unresolved(name, error))?;
        let Some(service) = found.mesh_name() else {
            return dial::outside(target, found.addresses(), deadline).await;
        };
        // The host's search list leads into the mesh after all, or the table has just come.
        let target = target.clone().with_host(service.parse()?);
        match self.route(&target, deadline).await? {
            Route::Service(cluster) => self.connect_inside(&target, &cluster, deadline).await,
            Route::Outside => Err(Error::new(
                ErrorKind::UnknownHost,
                format!("`{name}` is `{service}` in the mesh's name table, but no cluster leads to it"),
            )),
        }
    }

    /// The endpoints of a cluster. A service whose callers go to the address that they resolved (`ORIGINAL_DST`), and
    /// for which EDS has nothing, has that address.
    async fn endpoints(
        &self,
        target: &Target,
        cluster: &Cluster,
        deadline: Instant,
    ) -> Result<Arc<Endpoints>, Error> {
        if let Discovery::Inline(endpoints) = &cluster.discovery {
            return Ok(endpoints.clone());
        }
        let Some(name) = cluster.eds_name() else {
            return Ok(Arc::default());
        };
        let endpoints = self.membership.client.endpoints(&name, left(deadline)).await.map_err(|error| {
            Error::control_plane(
                format!("cannot connect to {target} without istiod's endpoints for `{name}`"),
                error,
            )
        })?;
        if endpoints.is_empty() && matches!(cluster.discovery, Discovery::OriginalDestination) {
            return Ok(Arc::new(original_destination(target, self.resolver())));
        }
        Ok(endpoints)
    }

    /// The resolver: names to addresses, the mesh's first, upstream DNS second.
    #[must_use]
    pub fn resolver(&self) -> &MeshResolver {
        &self.membership.dns.resolver
    }

    /// A connector for hyper-util's clients, for HTTP/1.1 unless it is told otherwise.
    #[must_use]
    pub fn connector(&self) -> MeshConnector {
        MeshConnector::new(self.clone())
    }

    /// An HTTP/1.1 client through the mesh.
    #[cfg(feature = "hyper")]
    #[must_use]
    pub fn http_client<B>(&self) -> crate::HttpClient<B>
    where
        B: http_body::Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        crate::HttpClient::new(self.connector())
    }

    /// The connection to istiod: names, clusters, endpoints and identity as values.
    #[must_use]
    pub fn client(&self) -> &NdsClient {
        &self.membership.client
    }

    /// How the membership is doing.
    #[must_use]
    pub fn health(&self) -> &Watched<Health> {
        self.membership.client.health()
    }

    /// Leaves the mesh, for all clones: ends the connection to istiod and the tasks behind it. Connections that are
    /// open stay open.
    pub async fn shutdown(&self) {
        self.membership.client.shutdown();
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// The addresses that the caller would have gone to: its own, the name table's, or upstream DNS' later on.
fn original_destination(target: &Target, names: &impl Names) -> Endpoints {
    let hosts = match target.host() {
        Host::Ip(ip) => vec![ip.to_string()],
        Host::Name(name) => match names.addresses(name) {
            addresses if addresses.is_empty() => vec![name.clone()],
            addresses => addresses.iter().map(ToString::to_string).collect(),
        },
    };
    let endpoint = |host| {
        let mut endpoint = Endpoint::default();
        (endpoint.host, endpoint.port, endpoint.weight) = (host, target.port(), 1);
        endpoint
    };
    let mut locality = LocalityEndpoints::default();
    locality.endpoints = hosts.into_iter().map(endpoint).collect();
    let mut endpoints = Endpoints::default();
    endpoints.localities.push(locality);
    endpoints
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh")
            .field("tls", &self.membership.tls)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

//! The facade: a process in the mesh.

mod connect;
mod health;
mod next_hop;
mod original;

pub(crate) use self::connect::{Found, after};
pub use self::{health::MeshHealth, next_hop::NextHop};

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mesh_resolver::MeshResolver;
use nds_client::{Config, NdsClient};
use tracing::Instrument as _;

use crate::{
    Error, ErrorKind, Explanation, MeshBuilder, MeshConnector, MeshStream, Mtls, Probe, Target,
    builder::cannot_join, explain, fixed::FixedGateways, hosts::HostSets, names::Dns, routes::Routes,
    settings::Settings, tls::TlsConfigs,
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
    /// In the place of istiod's clusters, where the program has named them.
    fixed: Option<FixedGateways>,
    routes: Routes,
    hosts: HostSets,
    closed: AtomicBool,
}

impl Mesh {
    /// Joins the mesh and waits for the identity and the first name table.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`], [`ErrorKind::Credentials`] or [`ErrorKind::ControlPlane`]; the cause is an [`nds_client::Error`] that names
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

    pub(crate) fn new(client: NdsClient, builder: MeshBuilder) -> Result<Self, Error> {
        let MeshBuilder { upstream, settings, key_log, gateways, .. } = builder;
        let dns = Dns::new(&client, upstream)?;
        Ok(Self {
            membership: Arc::new(Membership {
                client,
                dns,
                tls: TlsConfigs::new(key_log),
                fixed: (!gateways.is_empty()).then(|| FixedGateways::new(gateways)),
                routes: Routes::default(),
                hosts: HostSets::new(),
                closed: AtomicBool::new(false),
            }),
            settings,
        })
    }

    /// Waits for the identity and the first name table, for the configuration's join timeout at most: after
    /// [`MeshBuilder::spawn`].
    ///
    /// # Errors
    ///
    /// Those of [`join`](Self::join), when joining goes on all the same; [`ErrorKind::Closed`] after
    /// [`shutdown`](Self::shutdown).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn ready(&self) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::new(ErrorKind::Closed, "this process has left the mesh; join it again"));
        }
        self.membership.client.ready().await.map_err(cannot_join)
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
        let span = tracing::debug_span!("connect", %target);
        async { connect::told(self, target, connect::connect(self, target).await) }.instrument(span).await
    }

    /// Where the next connection to a target would go, by what istiod has sent so far: the choice that
    /// [`connect_to`](Self::connect_to) begins with, for programs that dial themselves and for those who want to see
    /// it. Each call chooses anew. `None` for what is not known (yet), is outside of the mesh, or has no endpoint that
    /// may be dialled.
    ///
    /// Wait-free, and without allocation for a target that was asked for before.
    #[must_use]
    pub fn next_hop(&self, target: &Target) -> Option<NextHop> {
        self.decide(target)
    }

    /// Explains how a connection to this host and port would be made, without making one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidTarget`]. Everything else that fails is part of the explanation.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn explain(&self, host: &str, port: u16) -> Result<Explanation, Error> {
        Ok(self.explain_to(&Target::new(host, port)?, Probe::Nothing).await)
    }

    /// Explains how a connection to a target is made, and on request makes one to see whether it is true. Whatever
    /// fails on the way is part of the explanation. It takes as long as a connection may take, at most.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn explain_to(&self, target: &Target, probe: Probe) -> Explanation {
        explain::explain(self, target, probe).await
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

    /// A gRPC channel through the mesh, for generated clients of tonic's.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[cfg(feature = "tonic")]
    #[must_use]
    pub fn grpc_channel(&self, endpoint: tonic::transport::Endpoint) -> crate::MeshChannel {
        self.connector().grpc_channel(endpoint)
    }

    /// Starts listeners on this host behind which the mesh is, for clients that accept no connector.
    #[cfg(feature = "bridge")]
    pub fn bridge(&self) -> crate::bridge::BridgeBuilder {
        crate::bridge::BridgeBuilder::new(self.clone())
    }

    /// The connection to istiod: names, clusters, endpoints and identity as values.
    #[must_use]
    pub fn client(&self) -> &NdsClient {
        &self.membership.client
    }

    /// How the membership is doing: the connection to istiod, and each endpoint in use.
    #[must_use]
    pub fn health(&self) -> MeshHealth<'_> {
        MeshHealth { membership: self.membership.client.health(), hosts: &self.membership.hosts }
    }

    pub(crate) fn dns(&self) -> &Dns {
        &self.membership.dns
    }

    pub(crate) fn connect_deadline(&self) -> Duration {
        self.settings.connect_deadline
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.membership.closed.load(Ordering::Acquire)
    }

    /// Leaves the mesh, for all clones: ends the connection to istiod and the tasks behind it. Connections that are
    /// open stay open; new ones are refused with [`ErrorKind::Closed`]. Names are still answered, by what is known.
    pub async fn shutdown(&self) {
        self.membership.closed.store(true, Ordering::Release);
        self.membership.client.shutdown();
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh")
            .field("tls", &self.membership.tls)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

//! The builder of a mesh.

use std::{fmt, sync::Arc, time::Duration};

use mesh_resolver::Upstream;
use nds_client::{Config, NdsClient, config::ServerAddress};
use rustls::{KeyLog, crypto::CryptoProvider};

use crate::{
    error::Error,
    membership::Membership,
    mesh::Mesh,
    settings::{Mtls, OutboundTrafficPolicy, Settings},
};

/// Joins a mesh with settings other than the defaults.
///
/// # Defaults
///
/// mTLS as the control plane configures it, connections to hosts outside the mesh allowed but not in plaintext to names
/// of the mesh, the DNS servers of the host as upstream, a connect deadline of 10 s.
#[derive(Clone)]
#[must_use = "a builder does nothing until it joins"]
pub struct MeshBuilder {
    config: Config,
    upstream: Upstream,
    settings: Settings,
    key_log: Option<Arc<dyn KeyLog>>,
    gateways: Vec<ServerAddress>,
    provider: Option<Arc<CryptoProvider>>,
}

impl MeshBuilder {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            upstream: Upstream::default(),
            settings: Settings::default(),
            key_log: None,
            gateways: Vec::new(),
            provider: None,
        }
    }

    /// Sets whether connections without mesh mTLS are allowed.
    pub fn with_mtls(mut self, mtls: Mtls) -> Self {
        self.settings.mtls = mtls;
        self
    }

    /// Sets whether connections to hosts outside the mesh are allowed.
    pub fn with_outbound_traffic_policy(mut self, policy: OutboundTrafficPolicy) -> Self {
        self.settings.outbound_traffic_policy = policy;
        self
    }

    /// Sets whether a connection to a name of the mesh may be plaintext, to an address from upstream DNS, if istiod
    /// does not list the name. The default is `false`: such a connection fails with
    /// [`ErrorKind::PlaintextRefused`](crate::ErrorKind::PlaintextRefused), because a service that is deleted, or that
    /// is hidden from this workload, would otherwise receive credentials over a connection that nobody protects.
    ///
    /// Names of the mesh are the names in the domain of the cluster (`svc.cluster.local`), and all names that istiod
    /// lists or has listed, in this process or in the snapshot from which it started
    /// ([`MeshResolver::is_mesh_name`](mesh_resolver::MeshResolver::is_mesh_name)). Names in the `hosts` file of this
    /// host are not affected.
    pub fn with_plaintext_to_mesh_names(mut self, allowed: bool) -> Self {
        self.settings.plaintext_to_mesh_names = allowed;
        self
    }

    /// Sets the upstream DNS, which resolves names outside the mesh.
    pub fn with_upstream(mut self, upstream: Upstream) -> Self {
        self.upstream = upstream;
        self
    }

    /// Sets the connect deadline: the time limit from routing to the end of the handshake, for all attempts of a
    /// connection together.
    pub fn with_connect_deadline(mut self, deadline: Duration) -> Self {
        self.settings.connect_deadline = deadline;
        self
    }

    /// Connects to every service in the name table through these east-west gateways, and requests neither clusters nor
    /// endpoints from istiod. This is for control planes that serve only the name table. An address is `HOST:PORT`;
    /// gateways usually listen on port 15443.
    ///
    /// The parameters that CDS would provide are derived from the name of the service: the SNI
    /// `outbound_.PORT_.SUBSET_.HOST`, and the rule that the identity of the peer belongs to the namespace of the
    /// service. A host that is not in the name table is outside the mesh.
    pub fn with_static_gateways(mut self, gateways: impl IntoIterator<Item = ServerAddress>) -> Self {
        self.gateways = gateways.into_iter().collect();
        self
    }

    /// Sets the crypto provider of all TLS connections. The default is aws-lc-rs if the feature `aws-lc-rs` is enabled,
    /// otherwise ring. No process-wide provider is installed.
    pub fn with_crypto_provider(mut self, provider: impl Into<Arc<CryptoProvider>>) -> Self {
        self.provider = Some(provider.into());
        self
    }

    pub(crate) fn with_key_log(mut self, log: Arc<dyn KeyLog>) -> Self {
        self.key_log = Some(log);
        self
    }

    /// Joins the mesh and waits for the identity and the first name table.
    ///
    /// # Errors
    ///
    /// The errors of [`Mesh::join`]; [`ErrorKind::Resolve`](crate::ErrorKind::Resolve) if upstream DNS cannot be set
    /// up.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn join(self) -> Result<Mesh, Error> {
        let mesh = self.spawn()?;
        mesh.ready().await?;
        Ok(mesh)
    }

    /// Starts joining on the current tokio runtime and returns immediately. [`Mesh::ready`] waits for completion.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if the configuration is invalid;
    /// [`ErrorKind::Resolve`](crate::ErrorKind::Resolve) if upstream DNS cannot be set up.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn spawn(self) -> Result<Mesh, Error> {
        let Self { config, upstream, settings, key_log, gateways, provider } = self;
        let client = NdsClient::builder(config);
        let client = match provider {
            Some(provider) => client.with_crypto_provider(provider),
            None => client,
        };
        let client = client.spawn().map_err(|error| Error::control_plane("cannot join the mesh", error))?;
        Ok(Mesh::new(Membership::new(client, upstream, key_log, gateways)?, settings))
    }
}

impl Mesh {
    /// Joins the mesh and waits for the identity and the first name table.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`], [`ErrorKind::Credentials`] or [`ErrorKind::ControlPlane`]. The cause is an
    /// [`nds_client::Error`] that names the file, setting or address, and the next step.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    ///
    /// [`ErrorKind::Config`]: crate::ErrorKind::Config
    /// [`ErrorKind::Credentials`]: crate::ErrorKind::Credentials
    /// [`ErrorKind::ControlPlane`]: crate::ErrorKind::ControlPlane
    pub async fn join(config: Config) -> Result<Self, Error> {
        Self::builder(config).join().await
    }

    /// Returns a builder, for settings other than the defaults.
    pub fn builder(config: Config) -> MeshBuilder {
        MeshBuilder::new(config)
    }
}

impl fmt::Debug for MeshBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshBuilder")
            .field("config", &self.config)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

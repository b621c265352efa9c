//! Joining with settings.

use std::{fmt, sync::Arc, time::Duration};

use mesh_resolver::Upstream;
use nds_client::{Config, NdsClient, config::ServerAddress};
use rustls::{KeyLog, crypto::CryptoProvider};

use crate::{
    error::Error,
    membership::Membership,
    mesh::Mesh,
    settings::{Mtls, Outside, Settings},
};

/// Joins a mesh with other settings than the defaults.
///
/// # Defaults
///
/// mTLS as the control plane configures it, hosts outside of the mesh allowed, the host's own DNS upstream, 10 s
/// for each connection to come about.
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

    /// What protects connections.
    pub fn with_mtls(mut self, mtls: Mtls) -> Self {
        self.settings.mtls = mtls;
        self
    }

    /// What happens with hosts that the mesh does not know.
    pub fn with_outside(mut self, outside: Outside) -> Self {
        self.settings.outside = outside;
        self
    }

    /// Who answers for names that the mesh does not know.
    pub fn with_upstream(mut self, upstream: Upstream) -> Self {
        self.upstream = upstream;
        self
    }

    /// How long a connection may take to come about, from route to handshake, all attempts together.
    pub fn with_connect_deadline(mut self, deadline: Duration) -> Self {
        self.settings.connect_deadline = deadline;
        self
    }

    /// Reaches every service of the name table through these east-west gateways, and asks istiod for neither clusters nor
    /// endpoints: for control planes that have none to send. Addresses are `HOST:PORT`, a gateway's port being 15443.
    ///
    /// What CDS would say is made from the name: the server name `outbound_.PORT_.SUBSET_.HOST`, and the rule that the
    /// peer's identity is one of the service's namespace. Names that are not in the table are outside of the mesh.
    pub fn with_fixed_gateways(mut self, gateways: impl IntoIterator<Item = ServerAddress>) -> Self {
        self.gateways = gateways.into_iter().collect();
        self
    }

    /// The crypto provider of every TLS connection: aws-lc-rs where that feature is enabled, else ring. Nothing is
    /// installed process-wide.
    pub fn with_crypto_provider(mut self, provider: impl Into<Arc<CryptoProvider>>) -> Self {
        self.provider = Some(provider.into());
        self
    }

    pub(crate) fn with_key_log(mut self, log: Arc<dyn KeyLog>) -> Self {
        self.key_log = Some(log);
        self
    }

    /// Joins, and waits for the identity and the first name table.
    ///
    /// # Errors
    ///
    /// Those of [`Mesh::join`]; [`ErrorKind::Resolve`](crate::ErrorKind::Resolve) where upstream DNS cannot be set up.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn join(self) -> Result<Mesh, Error> {
        let mesh = self.spawn()?;
        mesh.ready().await?;
        Ok(mesh)
    }

    /// Begins to join, on the current tokio runtime, and returns at once; [`Mesh::ready`] waits for the rest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), and [`ErrorKind::Resolve`](crate::ErrorKind::Resolve) where
    /// upstream DNS cannot be set up.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
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
    /// [`ErrorKind::Config`], [`ErrorKind::Credentials`] or [`ErrorKind::ControlPlane`]; the cause is an
    /// [`nds_client::Error`] that names the file, key or address and the next step.
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

    /// Joins the mesh with other settings than the defaults.
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

//! A connector: a handle with what all of its connections have in common.

#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "tower")]
mod tower;

#[cfg(feature = "hyper")]
use nds_client::ConnectionLife;

#[cfg(feature = "hyper")]
use crate::{cluster::Route, membership::after};
use crate::{
    error::Error,
    mesh::Mesh,
    stream::MeshStream,
    target::{Protocol, Target},
};

/// Makes connections of one kind: for one protocol, to one subset.
///
/// With the feature `tower` it is a service from [`Target`]s to streams. With the feature `hyper` it is a service from `http::Uri` to a stream, as hyper-util's clients take it.
/// `http://` URIs only: the mesh adds mTLS itself. A client that keeps connections in a pool must not keep them
/// beyond the identity they were made with: the `HttpClient` of that feature sees to it.
#[derive(Clone, Debug)]
pub struct MeshConnector {
    mesh: Mesh,
    protocol: Protocol,
    subset: String,
}

impl Mesh {
    /// A connector for hyper-util's clients, for HTTP/1.1 by default.
    #[must_use]
    pub fn connector(&self) -> MeshConnector {
        MeshConnector::new(self.clone())
    }
}

impl MeshConnector {
    fn new(mesh: Mesh) -> Self {
        Self { mesh, protocol: Protocol::Http1, subset: String::new() }
    }

    /// The same connector for another protocol. The default is HTTP/1.1.
    #[must_use]
    pub fn with_protocol(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    /// The same connector for a subset of a DestinationRule. Empty: services as a whole.
    #[must_use]
    pub fn with_subset(self, subset: impl Into<String>) -> Self {
        Self { subset: subset.into(), ..self }
    }

    /// The membership it connects through.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// What its connections are for.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Which identity its next connection is made with.
    #[cfg(feature = "hyper")]
    pub(crate) fn identity_epoch(&self) -> Option<u64> {
        self.mesh.client().identity().current().map(|identity| identity.epoch())
    }

    /// How long a connection that a URI leads to is kept.
    ///
    /// # Errors
    ///
    /// Those of [`Mesh::connect_to`], as far as they are about the route.
    #[cfg(feature = "hyper")]
    pub(crate) async fn connection_life(&self, uri: &http::Uri) -> Result<ConnectionLife, Error> {
        let (host, port) = hyper::authority(uri)?;
        let (membership, target) = (self.mesh.membership(), self.target(host, port)?);
        membership.refuse_if_closed(&target)?;
        Ok(match membership.route(&target, after(self.mesh.settings().connect_deadline)).await? {
            Route::Cluster(entry) => entry.config().connection_life,
            Route::Passthrough => ConnectionLife::default(),
        })
    }

    fn target(&self, host: &str, port: u16) -> Result<Target, Error> {
        Ok(Target::new(host, port)?.with_protocol(self.protocol).with_subset(&self.subset))
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// Those of [`Mesh::connect_to`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn connect(&self, host: &str, port: u16) -> Result<MeshStream, Error> {
        self.mesh.connect_to(&self.target(host, port)?).await
    }
}

//! A connector: a handle with what all of its connections have in common.

#[cfg(feature = "hyper")]
mod exchange;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "tower")]
mod tower;

use crate::{
    error::Error,
    mesh::Mesh,
    stream::MeshStream,
    target::{Protocol, Target},
};

/// Makes connections of one kind: for one protocol, to one subset.
///
/// With the feature `tower` it is a service from [`Target`]s to streams. With the feature `hyper` it is a service from
/// `http::Uri` to a stream, as hyper-util's clients take it. `http://` URIs only: the mesh adds mTLS itself.
///
/// A client with a pool of its own does not see that policy, identity or expected SANs have changed since a connection
/// was made. The `HttpClient` of that feature does.
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

    /// The same connector, whose connections have no more than this time to come about.
    #[cfg(feature = "tonic")]
    pub(crate) fn within(self, deadline: std::time::Duration) -> Self {
        let deadline = deadline.min(self.mesh.settings().connect_deadline);
        Self { mesh: self.mesh.with_connect_deadline(deadline), ..self }
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

    /// Where a URI leads.
    ///
    /// # Errors
    ///
    /// `InvalidTarget` and `Unsupported` for URIs that are not `http://HOST…`.
    #[cfg(feature = "hyper")]
    pub(crate) fn target_of(&self, uri: &http::Uri) -> Result<Target, Error> {
        let (host, port) = hyper::authority(uri)?;
        self.target(host, port)
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

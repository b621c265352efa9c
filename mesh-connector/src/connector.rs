//! Connectors: handles for connections of one protocol and subset.

#[cfg(feature = "hyper")]
mod exchange;
#[cfg(feature = "hyper")]
mod hyper;

#[cfg(feature = "hyper")]
pub(crate) use self::exchange::RequestTarget;

use crate::{
    error::Error,
    mesh::Mesh,
    stream::MeshStream,
    target::{Protocol, Target},
};

/// Makes connections for one protocol and one subset.
///
/// With the feature `hyper` it is a service from `http::Uri` to a stream, which the clients of hyper-util accept. It
/// accepts only `http://` URIs, because the mesh adds mTLS.
///
/// An HTTP client with its own connection pool continues to use a connection after the policy, the identity of this
/// process or the expected identities of the peer have changed. `HttpClient` does not.
#[derive(Clone, Debug)]
pub struct MeshConnector {
    mesh: Mesh,
    protocol: Protocol,
    subset: String,
}

impl Mesh {
    /// Returns a connector for HTTP clients, with protocol HTTP/1.1.
    #[must_use]
    pub fn connector(&self) -> MeshConnector {
        MeshConnector::new(self.clone())
    }
}

impl MeshConnector {
    fn new(mesh: Mesh) -> Self {
        Self { mesh, protocol: Protocol::Http1, subset: String::new() }
    }

    /// Sets the protocol. The default is HTTP/1.1.
    #[must_use]
    pub fn with_protocol(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    /// Sets the subset: a name from the DestinationRule of the service. An empty string selects the whole service.
    #[must_use]
    pub fn with_subset(self, subset: impl Into<String>) -> Self {
        Self { subset: subset.into(), ..self }
    }

    /// Limits the connect deadline to `deadline`.
    #[cfg(feature = "tonic")]
    pub(crate) fn within(self, deadline: std::time::Duration) -> Self {
        let deadline = deadline.min(self.mesh.settings().connect_deadline);
        Self { mesh: self.mesh.with_connect_deadline(deadline), ..self }
    }

    /// Returns the mesh of the connector.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Returns the protocol of the connector.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Returns the target of a URI.
    ///
    /// # Errors
    ///
    /// `InvalidTarget` or `Unsupported` for URIs other than `http://HOST…`.
    #[cfg(feature = "hyper")]
    pub(crate) fn target_of(&self, uri: &http::Uri) -> Result<Target, Error> {
        let (host, port) = hyper::authority(uri)?;
        self.target(host, port)
    }

    fn target(&self, host: &str, port: u16) -> Result<Target, Error> {
        Ok(Target::new(host, port)?.with_protocol(self.protocol).with_subset(&self.subset))
    }

    /// Connects to a host and port.
    ///
    /// # Errors
    ///
    /// The errors of [`Mesh::connect_to`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connection attempt and closes its socket.
    pub async fn connect(&self, host: &str, port: u16) -> Result<MeshStream, Error> {
        self.mesh.connect_to(&self.target(host, port)?).await
    }
}

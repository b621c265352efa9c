//! gRPC channels of tonic over the connector.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use http::{Request, Response, Uri};
use tonic::{
    body::Body,
    transport::{Channel, Endpoint, Error},
};
use tower_service::Service;

use crate::{connector::MeshConnector, mesh::Mesh, target::Protocol};

/// A channel of tonic's whose calls go through the mesh: generated clients take it in the place of
/// [`tonic::transport::Channel`]. Cheap to clone; clones share their connection.
///
/// All calls share one HTTP/2 connection, which is made with the first of them, and so one gateway and one workload
/// behind it: several channels spread calls further. A connection that broke is made anew with the next call, with an
/// endpoint chosen anew. No connection is kept beyond the identity that it was made with: the first call after a
/// renewal begins a new one, and the old one ends with the calls on it. A DestinationRule's `connectionPool` does not
/// limit its life.
///
/// The endpoint's URI is `http://HOST:PORT`, because the mesh adds mTLS itself; the server sees the origin
/// `https://HOST:PORT`. An error of the mesh's is found in a `tonic::Status` with [`Error::find`](crate::Error::find).
///
/// ```no_run
/// # async fn example(mesh: mesh_connector::Mesh) {
/// use tonic::transport::Endpoint;
///
/// let channel = mesh.grpc_channel(Endpoint::from_static("http://greeter.weather:50051"));
/// // let mut greeter = GreeterClient::new(channel);
/// # let _ = channel;
/// # }
/// ```
#[derive(Clone)]
pub struct MeshChannel {
    shared: Arc<Shared>,
}

struct Shared {
    connector: MeshConnector,
    endpoint: Endpoint,
    current: ArcSwap<Current>,
}

/// The channel of one identity.
struct Current {
    epoch: Option<u64>,
    channel: Channel,
}

impl Mesh {
    /// A gRPC channel through the mesh, for generated clients of tonic's.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn grpc_channel(&self, endpoint: Endpoint) -> MeshChannel {
        self.connector().grpc_channel(endpoint)
    }
}

impl MeshConnector {
    /// A gRPC channel through the mesh, to the connector's subset.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn grpc_channel(&self, endpoint: Endpoint) -> MeshChannel {
        MeshChannel::new(self.clone(), endpoint)
    }
}

impl MeshChannel {
    fn new(connector: MeshConnector, endpoint: Endpoint) -> Self {
        let connector = connector.with_protocol(Protocol::Http2);
        let endpoint = match origin(endpoint.uri()) {
            Some(origin) => endpoint.origin(origin),
            // The connector says what is wrong with the URI.
            None => endpoint,
        };
        let current = ArcSwap::from_pointee(Current::new(&connector, &endpoint));
        Self { shared: Arc::new(Shared { connector, endpoint, current }) }
    }

    /// The channel of the current identity.
    fn current(&self) -> Channel {
        let Shared { connector, endpoint, current } = &*self.shared;
        let before = current.load();
        if before.epoch == connector.identity_epoch() {
            return before.channel.clone();
        }
        let fresh = Arc::new(Current::new(connector, endpoint));
        let replaced = current.compare_and_swap(&*before, fresh.clone());
        // Another call may have been faster: its channel is the one that counts.
        if Arc::ptr_eq(&replaced, &before) { fresh.channel.clone() } else { replaced.channel.clone() }
    }
}

impl Current {
    fn new(connector: &MeshConnector, endpoint: &Endpoint) -> Self {
        let epoch = connector.identity_epoch();
        Self { epoch, channel: endpoint.connect_with_connector_lazy(connector.clone()) }
    }
}

/// The same authority with `https`: what the other end sees is a connection with TLS.
fn origin(uri: &Uri) -> Option<Uri> {
    let authority = uri.authority()?.as_str();
    Uri::builder().scheme("https").authority(authority).path_and_query("/").build().ok()
}

impl Service<Request<Body>> for MeshChannel {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    /// Always ready: a channel that is busy is waited for by the call.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut channel = self.current();
        Box::pin(async move {
            poll_fn(|cx| channel.poll_ready(cx)).await?;
            channel.call(request).await
        })
    }
}

impl fmt::Debug for MeshChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshChannel").field("uri", self.shared.endpoint.uri()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_the_same_authority_with_tls() {
        let of = |uri: &str| origin(&uri.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(of("http://greeter.weather:50051").as_deref(), Some("https://greeter.weather:50051/"));
        assert_eq!(of("/path"), None);
    }
}

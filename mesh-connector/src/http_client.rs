//! An HTTP client over the mesh's pools.

use std::{
    error::Error as StdError,
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ::http::{
    HeaderValue, Request, Response, Uri,
    header::HOST,
    uri::{Authority, Scheme},
};
use arc_swap::ArcSwapOption;
use http_body::Body;
use tower_service::Service;

use crate::{
    connector::MeshConnector,
    error::Error,
    http::{self, RequestBody, ResponseBody},
    mesh::Mesh,
    target::{Protocol, Target},
};

/// An HTTP client whose requests go through the mesh. Cheap to clone.
///
/// It speaks HTTP/1.1 or HTTP/2, as its connector's protocol says, and never the other: connections say which one
/// they carry when they are made. URIs are `http://`; the mesh adds mTLS. Responses carry the
/// [`ConnectionInfo`](crate::ConnectionInfo) of their connection in their extensions.
///
/// # Connections
///
/// Connections belong to the clusters of the membership: all clients of one [`Mesh`], its gRPC channels and the bridge's
/// HTTP proxy share them. Each request chooses an endpoint as the cluster's load balancing says, and uses a connection to
/// it that is idle, or, over HTTP/2, has room for a stream; else it makes one.
///
/// No connection serves a request under another policy than it was made under: when the cluster's configuration, the
/// expected identities of its peers or the own identity change, when its endpoint is gone, or when its host moves into the
/// mesh. It ends with the responses that are on it then.
///
/// A DestinationRule's `connectionPool` limits a connection's life: `idleTimeout` without a request (90 seconds where it
/// says nothing), `maxConnectionDuration` in all, `maxRequestsPerConnection`.
///
/// A request that was not sent because the peer has closed an idle connection is sent over another. No other request is
/// repeated.
///
/// ```no_run
/// # async fn example(mesh: mesh_connector::Mesh) -> Result<(), Box<dyn std::error::Error>> {
/// use http_body_util::Empty;
/// use mesh_connector::{ConnectionInfo, HttpClient, Protocol};
///
/// let client = mesh.http_client::<Empty<&[u8]>>();
/// let response = client.get("http://forecast.weather:3002/".parse()?).await?;
/// if let Some(connection) = response.extensions().get::<ConnectionInfo>() {
///     println!("answered by {:?} at {}", connection.peer(), connection.endpoint());
/// }
/// let http2 = HttpClient::<Empty<&[u8]>>::new(mesh.connector().with_protocol(Protocol::Http2));
/// # Ok(())
/// # }
/// ```
pub struct HttpClient<B> {
    shared: Arc<Shared>,
    body: PhantomData<fn(B)>,
}

struct Shared {
    connector: MeshConnector,
    max_idle_per_host: usize,
    /// Where the request before went: most clients call one service.
    last: ArcSwapOption<Origin>,
}

/// What the URIs of one authority have in common.
struct Origin {
    authority: Option<Authority>,
    target: Target,
    /// For HTTP/1.1: what `Host` says.
    host: Option<HeaderValue>,
}

impl Mesh {
    /// An HTTP/1.1 client through the mesh.
    #[must_use]
    pub fn http_client<B>(&self) -> HttpClient<B>
    where
        B: Body + Send + Unpin + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        HttpClient::new(self.connector())
    }
}

impl<B> HttpClient<B>
where
    B: Body + Send + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// A client over a connector: for HTTP/2 if that is the connector's protocol, else for HTTP/1.1.
    #[must_use]
    pub fn new(connector: MeshConnector) -> Self {
        let protocol = match connector.protocol() {
            Protocol::Http2 => Protocol::Http2,
            Protocol::Http1 | Protocol::Tcp => Protocol::Http1,
        };
        Self::with_idle(connector.with_protocol(protocol), usize::MAX)
    }

    /// The same client, whose requests leave at most `max` connections of a service without a request on them. 0: each
    /// request has a connection of its own.
    #[must_use]
    pub fn with_max_idle_per_host(self, max: usize) -> Self {
        Self::with_idle(self.shared.connector.clone(), max)
    }

    fn with_idle(connector: MeshConnector, max_idle_per_host: usize) -> Self {
        let last = ArcSwapOption::empty();
        Self { shared: Arc::new(Shared { connector, max_idle_per_host, last }), body: PhantomData }
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// # Errors
    ///
    /// Those of [`Mesh::connect_to`](crate::Mesh::connect_to); [`ErrorKind::InvalidTarget`] and
    /// [`ErrorKind::Unsupported`] for URIs that are not `http://HOST…`; [`ErrorKind::Exchange`] where the connection
    /// was made and the exchange failed.
    ///
    /// [`ErrorKind::InvalidTarget`]: crate::ErrorKind::InvalidTarget
    /// [`ErrorKind::Unsupported`]: crate::ErrorKind::Unsupported
    /// [`ErrorKind::Exchange`]: crate::ErrorKind::Exchange
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the request; whether it has been sent is unknown then.
    pub async fn request(&self, mut request: Request<B>) -> Result<Response<ResponseBody>, Error> {
        let Shared { connector, max_idle_per_host, .. } = &*self.shared;
        let origin = self.shared.origin(request.uri())?;
        if let Some(host) = &origin.host {
            request.headers_mut().entry(HOST).or_insert_with(|| host.clone());
        }
        connector.send(&origin.target, request.map(RequestBody::new), *max_idle_per_host).await
    }

    /// A GET.
    ///
    /// # Errors
    ///
    /// Those of [`request`](Self::request).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the request; whether it has been sent is unknown then.
    pub async fn get(&self, uri: Uri) -> Result<Response<ResponseBody>, Error>
    where
        B: Default,
    {
        let mut request = Request::new(B::default());
        *request.uri_mut() = uri;
        self.request(request).await
    }
}

impl Shared {
    /// Where a URI leads.
    fn origin(&self, uri: &Uri) -> Result<Arc<Origin>, Error> {
        if let Some(last) = &*self.last.load()
            && uri.scheme() == Some(&Scheme::HTTP)
            && uri.authority().map(Authority::as_str) == last.authority.as_ref().map(Authority::as_str)
        {
            return Ok(last.clone());
        }
        let (authority, target) = (uri.authority().cloned(), self.connector.target_of(uri)?);
        let host = match target.protocol() {
            Protocol::Http2 => None,
            Protocol::Http1 | Protocol::Tcp => authority.as_ref().and_then(http::host),
        };
        let origin = Arc::new(Origin { authority, target, host });
        self.last.store(Some(origin.clone()));
        Ok(origin)
    }
}

impl<B> Service<Request<B>> for HttpClient<B>
where
    B: Body + Send + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let client = self.clone();
        Box::pin(async move { client.request(request).await })
    }
}

impl<B> Clone for HttpClient<B> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), body: PhantomData }
    }
}

impl<B> fmt::Debug for HttpClient<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("connector", &self.shared.connector).finish_non_exhaustive()
    }
}

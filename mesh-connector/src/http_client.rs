//! An HTTP client over the connection pools of the mesh.

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
    connector::{MeshConnector, RequestTarget},
    error::Error,
    http::{self, RequestBody, ResponseBody},
    mesh::Mesh,
    target::Protocol,
};

/// An HTTP client whose requests go through the mesh. Cheap to clone.
///
/// It speaks either HTTP/1.1 or HTTP/2, according to the protocol of its connector, because a connection announces its
/// protocol when it is opened. URIs start with `http://`, because the mesh adds mTLS. The extensions of a response
/// contain the [`ConnectionInfo`](crate::ConnectionInfo) of its connection.
///
/// # Connections
///
/// Each cluster has a connection pool, which all HTTP clients of one [`Mesh`], its gRPC channels and the HTTP proxy of
/// the bridge share. Each request chooses an endpoint by the load balancing of the cluster. It uses an idle connection
/// to that endpoint or, over HTTP/2, a connection with a free stream. If there is none, it opens a connection.
///
/// A connection serves no further request after one of these changes: a new configuration of the cluster, new expected
/// identities of the peer, a new identity of this process, the removal of the endpoint, or the addition of the host to
/// the mesh. The connection is closed when its current responses have ended.
///
/// The `connectionPool` of a DestinationRule limits the lifetime of a connection: `idleTimeout` (90 seconds by
/// default), `maxConnectionDuration` and `maxRequestsPerConnection`.
///
/// If the peer has closed an idle connection before a request was sent on it, the request is sent on another
/// connection. No other request is retried.
///
/// ```no_run
/// # async fn example(mesh: mesh_connector::Mesh) -> Result<(), Box<dyn std::error::Error>> {
/// use http_body_util::Empty;
/// use mesh_connector::{ConnectionInfo, Protocol, hyper::HttpClient};
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
    inner: Arc<Inner>,
    body: PhantomData<fn(B)>,
}

struct Inner {
    connector: MeshConnector,
    max_idle_per_host: usize,
    /// The target of the previous request. It is cached, because most clients call a single service.
    last: ArcSwapOption<Origin>,
}

/// The target of one authority, and the `Host` header for it.
struct Origin {
    authority: Option<Authority>,
    target: Arc<RequestTarget>,
    /// The `Host` header of HTTP/1.1 requests. `None` for HTTP/2.
    host: Option<HeaderValue>,
}

impl Mesh {
    /// Returns an HTTP/1.1 client through the mesh.
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
    /// Creates a client that uses a connector. It speaks HTTP/2 if the protocol of the connector is HTTP/2, and
    /// HTTP/1.1 otherwise.
    #[must_use]
    pub fn new(connector: MeshConnector) -> Self {
        let protocol = match connector.protocol() {
            Protocol::Http2 => Protocol::Http2,
            Protocol::Http1 | Protocol::Tcp => Protocol::Http1,
        };
        Self::with_idle(connector.with_protocol(protocol), usize::MAX)
    }

    /// Sets the maximum number of idle connections per cluster that remain after a request. If it is 0, each request
    /// has its own connection.
    #[must_use]
    pub fn with_max_idle_per_host(self, max: usize) -> Self {
        Self::with_idle(self.inner.connector.clone(), max)
    }

    fn with_idle(connector: MeshConnector, max_idle_per_host: usize) -> Self {
        let last = ArcSwapOption::empty();
        Self { inner: Arc::new(Inner { connector, max_idle_per_host, last }), body: PhantomData }
    }

    /// Sends a request and waits for the response head.
    ///
    /// # Errors
    ///
    /// The errors of [`Mesh::connect_to`](crate::Mesh::connect_to); [`ErrorKind::InvalidTarget`] and
    /// [`ErrorKind::Unsupported`] for URIs other than `http://HOST…`; [`ErrorKind::Exchange`] if the connection was
    /// established, but the request or the response failed.
    ///
    /// [`ErrorKind::InvalidTarget`]: crate::ErrorKind::InvalidTarget
    /// [`ErrorKind::Unsupported`]: crate::ErrorKind::Unsupported
    /// [`ErrorKind::Exchange`]: crate::ErrorKind::Exchange
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the request. It is unknown whether the request was sent.
    pub async fn request(&self, request: Request<B>) -> Result<Response<ResponseBody>, Error> {
        let mut request = request.map(RequestBody::new);
        let target = self.inner.prepare(&mut request)?;
        self.inner.connector.send(target, request, self.inner.max_idle_per_host).await
    }

    /// Sends a GET request.
    ///
    /// # Errors
    ///
    /// The errors of [`request`](Self::request).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the request. It is unknown whether the request was sent.
    pub async fn get(&self, uri: Uri) -> Result<Response<ResponseBody>, Error>
    where
        B: Default,
    {
        let mut request = Request::new(RequestBody::new(B::default()));
        *request.uri_mut() = uri;
        let target = self.inner.prepare(&mut request)?;
        self.inner.connector.send(target, request, self.inner.max_idle_per_host).await
    }
}

impl Inner {
    /// Returns the target of a request, and adds its `Host` header if it has none.
    fn prepare(&self, request: &mut Request<RequestBody>) -> Result<Arc<RequestTarget>, Error> {
        let (last, uri) = (self.last.load(), request.uri());
        if let Some(last) = &*last
            && uri.scheme() == Some(&Scheme::HTTP)
            && uri.authority().map(Authority::as_str) == last.authority.as_ref().map(Authority::as_str)
        {
            return Ok(last.apply(request));
        }
        let origin = Arc::new(self.origin(uri)?);
        self.last.store(Some(origin.clone()));
        Ok(origin.apply(request))
    }

    /// Returns the target and the `Host` header of a URI.
    fn origin(&self, uri: &Uri) -> Result<Origin, Error> {
        let (authority, target) = (uri.authority().cloned(), self.connector.target_of(uri)?);
        let host = match target.protocol() {
            Protocol::Http2 => None,
            Protocol::Http1 | Protocol::Tcp => authority.as_ref().and_then(http::host),
        };
        Ok(Origin { authority, target: Arc::new(target.into()), host })
    }
}

impl Origin {
    fn apply(&self, request: &mut Request<RequestBody>) -> Arc<RequestTarget> {
        let headers = request.headers_mut();
        if let Some(host) = &self.host
            && !headers.contains_key(HOST)
        {
            headers.append(HOST, host.clone());
        }
        self.target.clone()
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
        Self { inner: self.inner.clone(), body: PhantomData }
    }
}

impl<B> fmt::Debug for HttpClient<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("connector", &self.inner.connector).finish_non_exhaustive()
    }
}

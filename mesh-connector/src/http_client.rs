//! HTTP clients of hyper-util over the connector.

mod pool;

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use http::{Request, Response, Uri};
use http_body::Body;
use hyper::body::Incoming;
use tower_service::Service;

use self::pool::Pool;
use crate::{
    connection::ConnectionInfo,
    connector::MeshConnector,
    error::{Error, ErrorKind},
    mesh::Mesh,
    target::Protocol,
};

/// An HTTP client whose requests go through the mesh. Cheap to clone; clones share their connections.
///
/// It speaks HTTP/1.1 or HTTP/2, as its connector's protocol says, and never the other: connections say which one
/// they carry when they are made. URIs are `http://`; the mesh adds mTLS. Responses carry the
/// [`ConnectionInfo`](crate::ConnectionInfo) of their connection in their extensions.
///
/// # Connections and identities
///
/// Connections are kept for further requests, and never beyond the identity that they were made with: the first request
/// after a renewal begins a new pool, and the connections of the old one end with the requests on them.
///
/// A DestinationRule's `connectionPool` says for how long: `idleTimeout` without a request (90 seconds where it says
/// nothing), `maxConnectionDuration` in all, `maxRequestsPerConnection` (over HTTP/2, those that are under way at the
/// same time come on top). A connection whose time is over carries no further request, and ends with those on it.
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
    shared: Arc<Shared<B>>,
}

struct Shared<B> {
    connector: MeshConnector,
    max_idle_per_host: usize,
    pool: ArcSwap<Pool<B>>,
}

impl Mesh {
    /// An HTTP/1.1 client through the mesh.
    #[must_use]
    pub fn http_client<B>(&self) -> HttpClient<B>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        HttpClient::new(self.connector())
    }
}

impl<B> HttpClient<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// A client over a connector: for HTTP/2 if that is the connector's protocol, else for HTTP/1.1.
    #[must_use]
    pub fn new(connector: MeshConnector) -> Self {
        Self::with_pool(connector, usize::MAX)
    }

    /// The same client, with its own connections, of which at most `max` to one host are kept without a request on
    /// them. 0: each request has a connection of its own, which chooses its endpoint anew. For HTTP/1.1; HTTP/2 has
    /// one connection for all requests.
    #[must_use]
    pub fn with_max_idle_per_host(self, max: usize) -> Self {
        Self::with_pool(self.shared.connector.clone(), max)
    }

    fn with_pool(connector: MeshConnector, max_idle_per_host: usize) -> Self {
        let protocol =
            if connector.protocol() == Protocol::Http2 { Protocol::Http2 } else { Protocol::Http1 };
        let connector = connector.with_protocol(protocol);
        let pool = ArcSwap::from_pointee(Pool::new(connector.clone(), max_idle_per_host));
        Self { shared: Arc::new(Shared { connector, max_idle_per_host, pool }) }
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// # Errors
    ///
    /// Those of [`Mesh::connect_to`](crate::Mesh::connect_to); [`ErrorKind::InvalidTarget`] and
    /// [`ErrorKind::Unsupported`] for URIs that are not `http://HOST…`; [`ErrorKind::Exchange`] where the connection
    /// was made and the exchange failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the request; whether it has been sent is unknown then.
    pub async fn request(&self, mut request: Request<B>) -> Result<Response<Incoming>, Error> {
        let uri = request.uri().clone();
        let life = self.shared.connector.connection_life(&uri).await?;
        let pool = self.shared.current();
        let used = pool.begin(life, &mut request);
        let response = pool.client(life).request(request).await;
        if let Ok(response) = &response
            && let Some(connection) = response.extensions().get::<ConnectionInfo>()
        {
            connection.report_status(response.status().as_u16());
            if let Some(used) = used {
                pool.end(used, connection);
            }
        }
        response.map_err(|error| match Error::find(&error) {
            Some(found) => found.clone(),
            None => Error::with_source(ErrorKind::Exchange, format!("the request to `{uri}` failed"), error),
        })
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
    pub async fn get(&self, uri: Uri) -> Result<Response<Incoming>, Error>
    where
        B: Default,
    {
        let mut request = Request::new(B::default());
        *request.uri_mut() = uri;
        self.request(request).await
    }
}

impl<B> Shared<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// The pool of the current identity.
    fn current(&self) -> Arc<Pool<B>> {
        let pool = self.pool.load_full();
        if pool.is_current() {
            return pool;
        }
        let fresh = Arc::new(Pool::new(self.connector.clone(), self.max_idle_per_host));
        let before = self.pool.compare_and_swap(&pool, fresh.clone());
        // Another request may have been faster: its pool is the one that counts.
        if Arc::ptr_eq(&before, &pool) { fresh } else { Arc::clone(&before) }
    }
}

impl<B> Service<Request<B>> for HttpClient<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<Incoming>;
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
        Self { shared: self.shared.clone() }
    }
}

impl<B> fmt::Debug for HttpClient<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("connector", &self.shared.connector).finish_non_exhaustive()
    }
}

//! An HTTP connection of hyper over a mesh stream.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use futures_util::task::AtomicWaker;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::{
    body::RequestBody,
    connections::{ASSUMED_STREAMS, Sender},
    first_read::FirstRead,
};
use crate::{
    connection::ConnectionInfo,
    error::{Error, ErrorKind},
    stream::MeshStream,
};

/// The future that drives a connection until it ends.
pub(super) type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// The result of sending a request. The error contains the request if none of it was sent.
pub(super) type Answer = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// A connection of one HTTP version.
pub(super) trait Connection: Sender + Send + Sync + 'static {
    /// Whether several requests can use a connection at the same time.
    const SHARED: bool;

    fn open(stream: MeshStream) -> impl Future<Output = hyper::Result<(Self, Driver)>> + Send;

    fn info(&self) -> &ConnectionInfo;

    /// Waits until the connection has finished the previous request. Returns `false` if the connection has ended.
    fn ready(&mut self) -> impl Future<Output = bool> + Send;

    /// Sends a request. The error contains the request if none of it was sent.
    fn send(&mut self, request: Request<RequestBody>) -> impl Future<Output = Answer> + Send;
}

/// An HTTP/1.1 connection.
#[derive(Debug)]
pub(super) struct Http1 {
    requests: http1::SendRequest<RequestBody>,
    info: ConnectionInfo,
}

/// An HTTP/2 connection.
#[derive(Clone, Debug)]
pub(super) struct Http2 {
    requests: http2::SendRequest<RequestBody>,
    info: ConnectionInfo,
    /// The maximum number of concurrent streams that the peer allows.
    max_streams: Arc<AtomicU32>,
}

impl Sender for Http1 {
    fn share(&self) -> Option<Self> {
        None
    }

    fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }

    fn capacity(&self) -> u32 {
        1
    }
}

impl Sender for Http2 {
    fn share(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }

    fn capacity(&self) -> u32 {
        self.max_streams.load(Ordering::Relaxed)
    }
}

impl Connection for Http1 {
    const SHARED: bool = false;

    async fn open(stream: MeshStream) -> hyper::Result<(Self, Driver)> {
        let info = stream.connection().clone();
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok((Self { requests, info }, Box::pin(connection.with_upgrades())))
    }

    fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    async fn ready(&mut self) -> bool {
        self.requests.is_ready() || self.requests.ready().await.is_ok()
    }

    fn send(&mut self, request: Request<RequestBody>) -> impl Future<Output = Answer> + Send {
        self.requests.try_send_request(request)
    }
}

impl Connection for Http2 {
    const SHARED: bool = true;

    async fn open(stream: MeshStream) -> hyper::Result<(Self, Driver)> {
        let info = stream.connection().clone();
        let max_streams = Arc::new(AtomicU32::new(ASSUMED_STREAMS));
        let settings = Arc::new(AtomicWaker::new());
        let io = TokioIo::new(FirstRead::new(stream, settings.clone()));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let (requests, mut connection) = builder.timer(TokioTimer::new()).handshake(io).await?;
        let seen = max_streams.clone();
        let driver = poll_fn(move |cx| {
            settings.register(cx.waker());
            let polled = Pin::new(&mut connection).poll(cx);
            let most = u32::try_from(connection.current_max_send_streams()).unwrap_or(u32::MAX);
            seen.store(most, Ordering::Relaxed);
            polled
        });
        Ok((Self { requests, info, max_streams }, Box::pin(driver)))
    }

    fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    async fn ready(&mut self) -> bool {
        self.is_open()
    }

    fn send(&mut self, request: Request<RequestBody>) -> impl Future<Output = Answer> + Send {
        self.requests.try_send_request(request)
    }
}

/// Converts an error of hyper. If its cause is an error of the mesh, returns that error.
pub(super) fn failed(info: &ConnectionInfo, what: &str, error: hyper::Error) -> Error {
    Error::find(&error).cloned().unwrap_or_else(|| {
        let (host, port, endpoint) = (info.host(), info.port(), info.endpoint());
        let message = format!("{what} `{host}:{port}` failed on a connection to {endpoint}");
        Error::with_source(ErrorKind::Exchange, message, error)
    })
}

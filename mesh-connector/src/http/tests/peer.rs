//! A peer that speaks HTTP on loopback, and its cluster.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::stream::{self, StreamExt as _};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    time::Instant,
};

use super::super::Upstream;
use crate::{
    connection::{ConnectionInfo, ConnectionKey, Details},
    error::{Error, ErrorKind},
    stream::{Io, MeshStream},
    target::Protocol,
};

type Answer = Result<Response<BoxBody<Bytes, io::Error>>, Infallible>;

pub(super) struct Peer {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    /// Receives a message for each ended connection.
    ended: mpsc::UnboundedReceiver<()>,
}

#[derive(Default)]
struct Shared {
    accepted: AtomicUsize,
    /// The chunks of the bodies of `/chunks`. A body ends when its sender is dropped.
    chunks: Mutex<VecDeque<mpsc::UnboundedReceiver<Bytes>>>,
    /// Incremented to shut down all connections gracefully.
    goodbye: watch::Sender<usize>,
}

impl Peer {
    pub(super) async fn start(protocol: Protocol, max_streams: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shared, (tell, ended)) = (Arc::<Shared>::default(), mpsc::unbounded_channel());
        tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Ok((tcp, _)) = listener.accept().await {
                    shared.accepted.fetch_add(1, Ordering::Relaxed);
                    let (shared, tell) = (shared.clone(), tell.clone());
                    tokio::spawn(async move {
                        serve(tcp, protocol, max_streams, shared).await;
                        let _ = tell.send(());
                    });
                }
            }
        });
        Self { address, shared, ended }
    }

    /// Returns the number of accepted connections.
    pub(super) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Waits until a connection has ended.
    pub(super) async fn ended(&mut self) {
        self.ended.recv().await.unwrap();
    }

    /// Returns the sender of the body of the next `/chunks` response.
    pub(super) fn chunks(&self) -> mpsc::UnboundedSender<Bytes> {
        let (chunks, body) = mpsc::unbounded_channel();
        self.shared.chunks.lock().push_back(body);
        chunks
    }

    /// Shuts down all connections gracefully, like a restarting peer.
    pub(super) fn say_goodbye(&self) {
        self.shared.goodbye.send_modify(|times| *times += 1);
    }
}

async fn serve(tcp: TcpStream, protocol: Protocol, max_streams: u32, shared: Arc<Shared>) {
    let io = TokioIo::new(tcp);
    let mut goodbye = shared.goodbye.subscribe();
    let service = service_fn(move |request| answer(request, shared.clone()));
    macro_rules! until_goodbye {
        ($connection:expr) => {{
            let mut connection = std::pin::pin!($connection);
            tokio::select! {
                _ = &mut connection => {}
                Ok(()) = goodbye.changed() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        }};
    }
    match protocol {
        Protocol::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(max_streams);
            until_goodbye!(builder.serve_connection(io, service));
        }
        _ => until_goodbye!(http1::Builder::new().serve_connection(io, service)),
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Answer {
    let full = |bytes| Full::new(bytes).map_err(|never| match never {}).boxed();
    let body = match request.uri().path() {
        "/empty" => full(Bytes::new()),
        "/echo" => full(request.into_body().collect().await.unwrap().to_bytes()),
        path @ ("/chunks" | "/broken") => {
            let chunks = shared.chunks.lock().pop_front().unwrap();
            let next = async |mut chunks: mpsc::UnboundedReceiver<Bytes>| {
                chunks.recv().await.map(|chunk| (Ok(Frame::data(chunk)), chunks))
            };
            let broken = (path == "/broken").then(|| Err(io::Error::other("no more")));
            let frames = stream::unfold(chunks, next).chain(stream::iter(broken));
            BodyExt::boxed(StreamBody::new(Box::pin(frames)))
        }
        _ => full(Bytes::from_static(b"hello")),
    };
    Ok(Response::new(body))
}

/// A cluster whose load balancer follows the test.
pub(super) struct Cluster {
    pub(super) endpoints: Vec<SocketAddr>,
    /// The index of the next choice.
    pub(super) choice: AtomicUsize,
    /// The number of connection attempts.
    pub(super) connects: AtomicUsize,
    /// Limits the number of attempts that may proceed.
    pub(super) gate: Semaphore,
    pub(super) refuses: bool,
}

impl Cluster {
    pub(super) fn of(peer: &Peer) -> Self {
        Self {
            endpoints: vec![peer.address],
            choice: AtomicUsize::new(0),
            connects: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            refuses: false,
        }
    }

    pub(super) fn connects(&self) -> usize {
        self.connects.load(Ordering::Relaxed)
    }
}

impl Upstream for Cluster {
    type Choice = SocketAddr;

    fn choose(&self, _now: Instant) -> Option<SocketAddr> {
        self.endpoints.get(self.choice.load(Ordering::Relaxed)).copied()
    }

    fn key(choice: &SocketAddr) -> ConnectionKey {
        ConnectionKey { host: choice.port().into(), ..ConnectionKey::default() }
    }

    async fn connect(&self, first: Option<SocketAddr>) -> Result<MeshStream, Error> {
        self.connects.fetch_add(1, Ordering::Relaxed);
        self.gate.acquire().await.unwrap().forget();
        let endpoint = first.unwrap_or(self.endpoints[0]);
        if self.refuses {
            return Err(Error::new(ErrorKind::Dial, format!("{endpoint} refuses")));
        }
        let tcp = TcpStream::connect(endpoint).await.unwrap();
        let details = Details {
            key: Self::key(&endpoint),
            host: "forecast.weather".to_owned(),
            port: 3002,
            service: None,
            cluster: None,
            endpoint: endpoint.to_string(),
            peer_addr: endpoint,
            gateway: false,
            workload_cluster: None,
            workload: None,
            tls: None,
            active: std::sync::Weak::new(),
        };
        Ok(MeshStream::new(Io::Plaintext(tcp.into()), ConnectionInfo(Arc::new(details)), None))
    }
}

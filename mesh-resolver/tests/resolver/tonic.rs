//! Tests of tonic's channel over all addresses of a name.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use mesh_resolver::{ErrorKind, Upstream, tonic::channel};
use tokio::{
    net::TcpListener,
    sync::oneshot::{self, error::TryRecvError},
    task::JoinSet,
    time::timeout,
};
use tonic::{
    body::Body,
    codegen::http::Request,
    service::Routes,
    transport::{Channel, Server, Uri},
};
use tower::ServiceExt as _;

use crate::mesh::{FORECAST, Mesh};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A gRPC server without methods, at one of several loopback addresses with the same port.
struct GrpcServer {
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl GrpcServer {
    fn start(listener: TcpListener) -> Self {
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = connections.clone();
        let incoming = stream::unfold(listener, |listener| async {
            let stream = listener.accept().await.map(|(stream, _)| stream);
            Some((stream, listener))
        });
        let incoming = incoming.inspect(move |_| {
            accepted.fetch_add(1, Relaxed);
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let router = Server::builder().add_routes(Routes::default());
            router.serve_with_incoming(incoming).await.unwrap();
        });
        Self { connections, _tasks: tasks }
    }

    fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }
}

/// Starts three servers with the same port.
async fn servers() -> ([GrpcServer; 3], u16) {
    loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let other = |last| TcpListener::bind(SocketAddr::from(([127, 0, 0, last], port)));
        if let (Ok(second), Ok(third)) = tokio::join!(other(2), other(3)) {
            return ([first, second, third].map(GrpcServer::start), port);
        }
    }
}

async fn call(channel: &Channel) {
    let request = Request::post("/ledger.Ledger/Balance").body(Body::empty()).unwrap();
    let response = timeout(TIMEOUT, channel.clone().oneshot(request)).await.unwrap().unwrap();
    assert_eq!(response.headers()["grpc-status"], "12", "the server answered: unimplemented");
}

fn uri(port: u16) -> Uri {
    format!("http://forecast.weather:{port}").parse().unwrap()
}

#[tokio::test]
async fn calls_are_distributed_over_all_addresses_and_follow_changes() {
    let ([one, two, three], port) = servers().await;
    let mesh = Mesh::synced(&[(FORECAST, &["127.0.0.1", "127.0.0.2"])]);
    let channel = channel(mesh.resolver(Upstream::none()), uri(port), |endpoint| endpoint).await.unwrap();
    let both = async {
        while one.connections() == 0 || two.connections() == 0 {
            call(&channel).await;
        }
    };
    timeout(TIMEOUT, both).await.expect("both servers are called");
    assert_eq!(three.connections(), 0);
    mesh.sync(&[(FORECAST, &["127.0.0.3"])]);
    let moved = async {
        while three.connections() == 0 {
            call(&channel).await;
        }
    };
    timeout(TIMEOUT, moved).await.expect("the new address is called");
    drop((one, two));
    call(&channel).await;
    mesh.sync(&[]);
    call(&channel).await;
}

#[tokio::test]
async fn the_task_ends_when_the_channel_is_dropped() {
    let mesh = Mesh::synced(&[(FORECAST, &["127.0.0.1"])]);
    // The task owns the setup closure, and with it the sender.
    let (held, mut gone) = oneshot::channel::<()>();
    let setup = move |endpoint| if held.is_closed() { unreachable!("the test waits") } else { endpoint };
    let channel = channel(mesh.resolver(Upstream::none()), uri(1), setup).await.unwrap();
    assert_eq!(gone.try_recv(), Err(TryRecvError::Empty));
    drop(channel);
    assert!(timeout(TIMEOUT, gone).await.expect("a task outlives the channel").is_err());
}

#[tokio::test]
async fn a_host_without_an_address_is_an_immediate_error() {
    let resolver = Mesh::synced(&[]).resolver(Upstream::none());
    let error = channel(resolver.clone(), uri(1), |endpoint| endpoint).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameNotFound);
    let error = channel(resolver, "/path".parse().unwrap(), |endpoint| endpoint).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName);
}

mod peer;

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::atomic::Ordering,
    task::Poll,
    time::Duration,
};

use futures_util::{future::join_all, stream};
use http::{Method, Request, Response, Version};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Bytes;
use nds_client::resources::cluster::ConnectionLimits as ConnectionLife;
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use self::peer::{Cluster, Peer};
use super::{HttpPools, Leasing, RequestBody, ResponseBody, Source};
use crate::{
    connection::ConnectionInfo,
    error::{Error, ErrorKind},
    target::Protocol,
};

const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
const KEEP_ALL: usize = usize::MAX;

/// A pool of one HTTP version.
struct Pool(HttpPools, Protocol);

impl Pool {
    fn new(protocol: Protocol, life: ConnectionLife) -> Self {
        Self(HttpPools::new(life), protocol)
    }

    async fn send(
        &self,
        request: Request<RequestBody>,
        max_idle: usize,
        cluster: &Cluster,
    ) -> Result<Response<ResponseBody>, Error> {
        super::exchange(request, Leases { pool: self, max_idle, cluster }).await
    }
}

/// The connections for one request.
struct Leases<'a> {
    pool: &'a Pool,
    max_idle: usize,
    cluster: &'a Cluster,
}

impl Source for Leases<'_> {
    fn lease(&self) -> Leasing<'_> {
        let Pool(pools, protocol) = self.pool;
        Leasing::new(pools.lease(*protocol, self.max_idle, self.cluster, None))
    }
}

fn pool(protocol: Protocol) -> Pool {
    Pool::new(protocol, ConnectionLife::default())
}

fn request(path: &str) -> Request<RequestBody> {
    Request::get(format!("http://forecast.weather:3002{path}"))
        .body(RequestBody::new(Full::<Bytes>::default()))
        .unwrap()
}

async fn get(pool: &Pool, cluster: &Cluster, path: &str) -> Result<Response<ResponseBody>, Error> {
    pool.send(request(path), KEEP_ALL, cluster).await
}

async fn text(response: Response<ResponseBody>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

async fn exchange(pool: &Pool, cluster: &Cluster) {
    assert_eq!(text(get(pool, cluster, "/").await.unwrap()).await, "hello");
}

/// Starts a request, which then waits.
async fn begin<F: Future>(mut request: Pin<&mut F>) {
    poll_fn(|cx| {
        assert!(request.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn after_a_response_is_read_its_connection_serves_the_next_request() {
    for protocol in BOTH {
        let peer = Peer::start(protocol, 100).await;
        let (pool, cluster) = (pool(protocol), Cluster::of(&peer));
        for _ in 0..3 {
            let response = get(&pool, &cluster, "/").await.unwrap();
            let connection = response.extensions().get::<ConnectionInfo>().unwrap();
            assert_eq!(connection.endpoint(), peer.address.to_string());
            let version = if protocol == Protocol::Http2 { Version::HTTP_2 } else { Version::HTTP_11 };
            assert_eq!(response.version(), version);
            assert_eq!(text(response).await, "hello");
        }
        assert_eq!(peer.accepted(), 1);
    }
}

#[tokio::test]
async fn a_response_without_a_body_releases_its_connection_immediately() {
    let peer = Peer::start(Protocol::Http1, 0).await;
    let (pool, cluster) = (pool(Protocol::Http1), Cluster::of(&peer));
    let mut responses = Vec::new();
    for _ in 0..3 {
        responses.push(get(&pool, &cluster, "/empty").await.unwrap());
    }
    assert_eq!(peer.accepted(), 1);
}

#[tokio::test]
async fn dropping_a_body_early_ends_an_http_1_connection_or_an_http_2_stream() {
    for (protocol, connections) in [(Protocol::Http1, 2), (Protocol::Http2, 1)] {
        let mut peer = Peer::start(protocol, 1).await;
        let (pool, cluster) = (pool(protocol), Cluster::of(&peer));
        let chunks = peer.chunks();
        let response = get(&pool, &cluster, "/chunks").await.unwrap();
        drop(response);
        chunks.closed().await;
        if protocol == Protocol::Http1 {
            peer.ended().await;
        }
        exchange(&pool, &cluster).await;
        assert_eq!(peer.accepted(), connections, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_dropped_request_leaks_nothing() {
    for protocol in BOTH {
        let mut peer = Peer::start(protocol, 1).await;
        let (pool, cluster) = (pool(protocol), Cluster::of(&peer));
        exchange(&pool, &cluster).await;
        let (_pending, body) = mpsc::unbounded_channel();
        {
            let mut sending = pin!(pool.send(request_with(body), KEEP_ALL, &cluster));
            begin(sending.as_mut()).await;
        }
        if protocol == Protocol::Http1 {
            peer.ended().await;
        }
        exchange(&pool, &cluster).await;
        assert_eq!(cluster.connects(), if protocol == Protocol::Http1 { 2 } else { 1 });
    }
}

/// Returns a request whose body is received from the channel.
fn request_with(body: mpsc::UnboundedReceiver<Bytes>) -> Request<RequestBody> {
    let next = async |mut body: mpsc::UnboundedReceiver<Bytes>| {
        let chunk = body.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(chunk)), body))
    };
    let stream = Box::pin(stream::unfold(body, next));
    let mut request = request("/echo");
    *request.method_mut() = Method::POST;
    request.map(|_| RequestBody::new(StreamBody::new(stream)))
}

#[tokio::test]
async fn a_connection_that_still_sends_a_request_serves_no_other() {
    let mut peer = Peer::start(Protocol::Http1, 0).await;
    let (pool, cluster) = (pool(Protocol::Http1), Cluster::of(&peer));
    let (_pending, body) = mpsc::unbounded_channel();
    let mut early = request_with(body);
    *early.uri_mut() = "http://forecast.weather:3002/".parse().unwrap();
    let response = pool.send(early, KEEP_ALL, &cluster).await.unwrap();
    assert_eq!(text(response).await, "hello");
    exchange(&pool, &cluster).await;
    assert_eq!(peer.accepted(), 2);
    drop(_pending);
    peer.ended().await;
}

#[tokio::test]
async fn after_a_streamed_body_its_connection_serves_the_next_request() {
    for protocol in BOTH {
        let peer = Peer::start(protocol, 100).await;
        let (pool, cluster) = (pool(protocol), Cluster::of(&peer));
        for _ in 0..2 {
            let (chunks, body) = mpsc::unbounded_channel();
            for chunk in ["one ", "two"] {
                chunks.send(chunk.into()).unwrap();
            }
            drop(chunks);
            let response = pool.send(request_with(body), KEEP_ALL, &cluster).await.unwrap();
            assert_eq!(text(response).await, "one two");
        }
        assert_eq!(peer.accepted(), 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn requests_join_a_pending_connection() {
    let peer = Peer::start(Protocol::Http2, 100).await;
    let (pool, cluster) = (pool(Protocol::Http2), Cluster::of(&peer));
    join_all((0..20).map(|_| exchange(&pool, &cluster))).await;
    assert_eq!((cluster.connects(), peer.accepted()), (1, 1));
}

#[tokio::test]
async fn a_failed_attempt_fails_all_requests_that_joined_it() {
    let peer = Peer::start(Protocol::Http2, 100).await;
    let (refuses, gate) = (true, Semaphore::new(0));
    let cluster = Cluster { refuses, gate, ..Cluster::of(&peer) };
    let pool = pool(Protocol::Http2);
    let mut requests: Vec<_> = (0..20).map(|_| Box::pin(get(&pool, &cluster, "/"))).collect();
    for request in &mut requests {
        begin(request.as_mut()).await;
    }
    cluster.gate.add_permits(20);
    let outcomes = join_all(requests).await;
    assert!(outcomes.into_iter().all(|outcome| outcome.unwrap_err().kind() == ErrorKind::Dial));
    assert_eq!(cluster.connects(), 1);
}

#[tokio::test]
async fn if_the_connecting_request_is_dropped_another_one_connects() {
    let peer = Peer::start(Protocol::Http2, 100).await;
    let cluster = Cluster { gate: Semaphore::new(0), ..Cluster::of(&peer) };
    let pool = pool(Protocol::Http2);
    let mut first = Box::pin(get(&pool, &cluster, "/"));
    let mut second = Box::pin(get(&pool, &cluster, "/"));
    for request in [&mut first, &mut second] {
        begin(request.as_mut()).await;
    }
    assert_eq!(cluster.connects(), 1);
    drop(first);
    cluster.gate.add_permits(1);
    assert_eq!(text(second.await.unwrap()).await, "hello");
    assert_eq!((cluster.connects(), peer.accepted()), (2, 1));
}

#[tokio::test]
async fn streams_above_the_limit_of_the_peer_use_more_connections() {
    let peer = Peer::start(Protocol::Http2, 2).await;
    let (pool, cluster) = (pool(Protocol::Http2), Cluster::of(&peer));
    exchange(&pool, &cluster).await;
    let mut responses = Vec::new();
    for _ in 0..6 {
        let _chunks = peer.chunks();
        responses.push((get(&pool, &cluster, "/chunks").await.unwrap(), _chunks));
    }
    assert!(peer.accepted() > 1, "{}", peer.accepted());
    assert!(peer.accepted() <= 4);
}

#[tokio::test]
async fn each_request_goes_to_the_endpoint_that_the_load_balancer_chooses() {
    for protocol in BOTH {
        let peers = [Peer::start(protocol, 100).await, Peer::start(protocol, 100).await];
        let endpoints = peers.iter().map(|peer| peer.address).collect();
        let cluster = Cluster { endpoints, ..Cluster::of(&peers[0]) };
        let pool = pool(protocol);
        for choice in [0, 1, 1, 0] {
            cluster.choice.store(choice, Ordering::Relaxed);
            let response = get(&pool, &cluster, "/").await.unwrap();
            let connection = response.extensions().get::<ConnectionInfo>().unwrap();
            assert_eq!(connection.endpoint(), peers[choice].address.to_string());
            text(response).await;
        }
        assert_eq!(peers.each_ref().map(Peer::accepted), [1, 1]);
    }
}

#[tokio::test]
async fn if_no_endpoint_can_be_chosen_connect_returns_the_reason() {
    let peer = Peer::start(Protocol::Http1, 0).await;
    let cluster = Cluster { endpoints: Vec::new(), refuses: true, ..Cluster::of(&peer) };
    let cluster = Cluster { endpoints: vec![peer.address], choice: 7.into(), ..cluster };
    let error = get(&pool(Protocol::Http1), &cluster, "/").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Dial);
}

#[tokio::test]
async fn a_request_on_a_closed_connection_is_sent_on_another() {
    for protocol in BOTH {
        let mut peer = Peer::start(protocol, 100).await;
        let (pool, cluster) = (pool(protocol), Cluster::of(&peer));
        exchange(&pool, &cluster).await;
        peer.say_goodbye();
        peer.ended().await;
        let body = RequestBody::new(Full::<Bytes>::from("again"));
        let response = pool.send(request("/echo").map(|_| body), KEEP_ALL, &cluster).await.unwrap();
        assert_eq!(text(response).await, "again");
        assert_eq!(peer.accepted(), 2, "{protocol:?}");
    }
}

#[tokio::test]
async fn after_goaway_a_connection_serves_only_its_current_streams() {
    let mut peer = Peer::start(Protocol::Http2, 100).await;
    let (pool, cluster) = (pool(Protocol::Http2), Cluster::of(&peer));
    let chunks = peer.chunks();
    let mut response = get(&pool, &cluster, "/chunks").await.unwrap();
    peer.say_goodbye();
    chunks.send("last ".into()).unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    exchange(&pool, &cluster).await;
    assert_eq!(peer.accepted(), 2);
    chunks.send("words".into()).unwrap();
    drop(chunks);
    assert_eq!(text(response).await, "words");
    peer.ended().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_its_idle_timeout() {
    for protocol in BOTH {
        let mut peer = Peer::start(protocol, 100).await;
        let (pool, cluster) = (pool(protocol), Cluster::of(&peer));
        exchange(&pool, &cluster).await;
        let before = Instant::now();
        peer.ended().await;
        assert_eq!(before.elapsed().as_secs(), 90);
    }
}

#[tokio::test(start_paused = true)]
async fn after_its_maximum_age_a_connection_is_closed_when_its_response_ends() {
    for protocol in BOTH {
        let mut peer = Peer::start(protocol, 100).await;
        let mut life = ConnectionLife::default();
        life.max_duration = Some(Duration::from_secs(5));
        let (pool, cluster) = (Pool::new(protocol, life), Cluster::of(&peer));
        let chunks = peer.chunks();
        let response = get(&pool, &cluster, "/chunks").await.unwrap();
        tokio::time::sleep(Duration::from_secs(6)).await;
        chunks.send("still here".into()).unwrap();
        drop(chunks);
        assert_eq!(text(response).await, "still here");
        peer.ended().await;
        exchange(&pool, &cluster).await;
        assert_eq!(peer.accepted(), 2, "{protocol:?}");
    }
}

/// A change that ends the use of pooled connections.
type Change = fn(Pool) -> Option<Pool>;

#[tokio::test]
async fn after_a_change_of_policy_idle_connections_end_and_responses_complete() {
    let changes: [Change; 3] = [
        |pool| {
            pool.0.drain();
            Some(pool)
        },
        |pool| {
            pool.0.retain(|_| false);
            Some(pool)
        },
        |_dropped| None,
    ];
    for (protocol, change) in BOTH.into_iter().flat_map(|protocol| changes.map(|change| (protocol, change))) {
        let mut peer = Peer::start(protocol, 1).await;
        let (pool, cluster) = (pool(protocol), Cluster::of(&peer));
        let chunks = peer.chunks();
        let mut response = get(&pool, &cluster, "/chunks").await.unwrap();
        chunks.send("first ".into()).unwrap();
        response.body_mut().frame().await.unwrap().unwrap();
        exchange(&pool, &cluster).await;
        assert_eq!(peer.accepted(), 2);
        let pool = change(pool);
        peer.ended().await;
        chunks.send("second".into()).unwrap();
        drop(chunks);
        assert_eq!(text(response).await, "second");
        peer.ended().await;
        if let Some(pool) = pool {
            exchange(&pool, &cluster).await;
            assert_eq!(peer.accepted(), 3, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_started_before_a_change_of_policy_serves_one_request() {
    // An HTTP/2 request that has joined the attempt connects again, also for others.
    for (protocol, connections) in [(Protocol::Http1, 3), (Protocol::Http2, 2)] {
        let mut peer = Peer::start(protocol, 100).await;
        let cluster = Cluster { gate: Semaphore::new(0), ..Cluster::of(&peer) };
        let pool = pool(protocol);
        let mut requests = [Box::pin(get(&pool, &cluster, "/")), Box::pin(get(&pool, &cluster, "/"))];
        for request in &mut requests {
            begin(request.as_mut()).await;
        }
        pool.0.drain();
        cluster.gate.add_permits(4);
        for response in join_all(requests).await {
            assert_eq!(text(response.unwrap()).await, "hello");
        }
        peer.ended().await;
        exchange(&pool, &cluster).await;
        assert_eq!(peer.accepted(), connections, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_request_can_have_its_own_connection() {
    for protocol in BOTH {
        let mut peer = Peer::start(protocol, 100).await;
        let (pool, cluster) = (pool(protocol), Cluster::of(&peer));
        exchange(&pool, &cluster).await;
        for _ in 0..2 {
            let response = pool.send(request("/"), 0, &cluster).await.unwrap();
            assert_eq!(text(response).await, "hello");
            peer.ended().await;
        }
        exchange(&pool, &cluster).await;
        assert_eq!(peer.accepted(), 3, "{protocol:?}");
    }
}

#[tokio::test]
async fn the_error_of_a_failed_response_names_its_connection() {
    for protocol in BOTH {
        let peer = Peer::start(protocol, 100).await;
        let (pool, cluster) = (pool(protocol), Cluster::of(&peer));
        let chunks = peer.chunks();
        let response = get(&pool, &cluster, "/broken").await.unwrap();
        drop(chunks);
        let error = response.into_body().collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exchange);
        let (text, endpoint) = (error.to_string(), peer.address.to_string());
        assert!(text.contains("forecast.weather:3002") && text.contains(&endpoint), "{text}");
    }
}

#[tokio::test]
async fn a_local_body_reports_its_size_and_end() {
    assert!(ResponseBody::default().is_end_stream());
    let body = ResponseBody::from(Bytes::from_static(b"told"));
    assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, Some(4)));
    assert_eq!(body.collect().await.unwrap().to_bytes(), "told");
}

#[tokio::test]
async fn a_received_body_reports_its_size_and_end() {
    for protocol in BOTH {
        let peer = Peer::start(protocol, 100).await;
        let (pool, cluster) = (pool(protocol), Cluster::of(&peer));
        let mut body = get(&pool, &cluster, "/").await.unwrap().into_body();
        assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, Some(5)));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.frame().await.is_none());
        assert!(body.is_end_stream());
    }
}

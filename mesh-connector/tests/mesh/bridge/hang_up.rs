//! Clients that close their sockets while the service sends nothing.

use tokio::net::TcpListener;

use super::*;

/// A service outside the mesh.
struct Service {
    listener: TcpListener,
    target: Target,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, target: Target::new(&address.ip().to_string(), address.port()).unwrap() }
    }

    async fn accept(&self) -> TcpStream {
        tokio::time::timeout(TIME_LIMIT, self.listener.accept()).await.unwrap().unwrap().0
    }
}

/// Returns the data that a client sends until its end.
async fn heard(connection: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    tokio::time::timeout(TIME_LIMIT, connection.read_to_end(&mut said)).await.unwrap().unwrap();
    said
}

/// Checks that a client that half-closes its connection and then ends it frees the only slot of the bridge.
async fn ends_and_frees_its_slot<S: AsyncRead + AsyncWrite + Unpin>(
    service: &Service,
    connect: impl AsyncFn() -> S,
    end: impl FnOnce(S),
) {
    let mut client = connect().await;
    client.write_all(b"first").await.unwrap();
    client.shutdown().await.unwrap();
    let mut silent = service.accept().await;
    assert_eq!(heard(&mut silent).await, b"first");
    end(client);
    let mut second = connect().await;
    second.write_all(b"second").await.unwrap();
    assert_eq!(exactly(&mut service.accept().await, 6).await, b"second");
}

#[tokio::test]
async fn a_unix_client_that_half_closes_and_then_closes_frees_its_slot() {
    let (world, service) = (World::start().await, Service::start().await);
    let mesh = world.join().await;
    let bridge = mesh.bridge().with_max_connections(1).start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("service");
    bridge.listen_unix(&path, &service.target).await.unwrap();
    ends_and_frees_its_slot(&service, async || UnixStream::connect(&path).await.unwrap(), drop).await;
}

#[tokio::test]
async fn a_tcp_client_that_half_closes_and_then_resets_frees_its_slot() {
    let (world, service) = (World::start().await, Service::start().await);
    let mesh = world.join().await;
    let bridge = mesh.bridge().with_max_connections(1).start().await.unwrap();
    let address = bridge.listen_local(&service.target, Default::default()).await.unwrap();
    let reset = |client: TcpStream| client.set_zero_linger().unwrap();
    ends_and_frees_its_slot(&service, async || connect(address).await, reset).await;
}

#[tokio::test]
async fn data_written_before_a_close_arrives() {
    let (world, service) = (World::start().await, Service::start().await);
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("service");
    bridge.listen_unix(&path, &service.target).await.unwrap();
    let sent = b"x".repeat(4 << 20);
    let mut client = UnixStream::connect(&path).await.unwrap();
    // The service reads nothing before the client has filled the buffers.
    let writing = tokio::spawn(async move { client.write_all(&sent).await.unwrap() });
    assert_eq!(heard(&mut service.accept().await).await.len(), 4 << 20);
    writing.await.unwrap();
}

#[tokio::test]
async fn a_client_that_stops_reading_can_continue_writing() {
    let (world, service) = (World::start().await, Service::start().await);
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("service");
    bridge.listen_unix(&path, &service.target).await.unwrap();
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(b"and ").await.unwrap();
    let mut connection = service.accept().await;
    socket2::SockRef::from(&client).shutdown(std::net::Shutdown::Read).unwrap();
    for _ in 0..8 {
        // This is more than the buffers hold.
        connection.write_all(&b"unheard".repeat(1 << 17)).await.unwrap();
    }
    client.write_all(b"so on").await.unwrap();
    drop(client);
    assert_eq!(heard(&mut connection).await, b"and so on");
}

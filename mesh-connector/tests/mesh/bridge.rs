//! Clients that use the bridge.

mod hang_up;
mod hostile;
mod http;
mod local;
mod refusals;
mod socks;

use std::{io, net::SocketAddr, time::Duration};

use mesh_connector::{
    Mesh, Target,
    bridge::{Access, Bridge},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

use crate::World;

const TIME_LIMIT: Duration = Duration::from_secs(10);

async fn bridge(mesh: &Mesh) -> Bridge {
    mesh.bridge().start().await.unwrap()
}

/// Sends bytes and reads until the other direction ends.
async fn say(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    bytes: impl AsRef<[u8]>,
) -> io::Result<Vec<u8>> {
    stream.write_all(bytes.as_ref()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(TIME_LIMIT, stream.read_to_end(&mut answer)).await??;
    Ok(answer)
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Reads exactly this number of bytes.
async fn exactly(stream: &mut (impl AsyncRead + Unpin), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    tokio::time::timeout(TIME_LIMIT, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

/// Connects from another process of the same user, sends text, and returns the answer.
async fn another_process(address: SocketAddr, says: &str) -> String {
    let (ip, port) = (address.ip(), address.port());
    // Other users can read command lines, but not the environment, and the text may contain the secret.
    let script = format!("exec 3<>/dev/tcp/{ip}/{port}; printf \"$SAYS\" >&3; cat <&3");
    let mut bash = std::process::Command::new("bash");
    bash.args(["-c", &script]).env("SAYS", says);
    let run = move || bash.output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn ledger() -> Target {
    Target::new("ledger.payments.example", 5432).unwrap()
}

#[tokio::test]
async fn shutting_down_the_bridge_closes_its_listeners_and_connections_and_releases_the_mesh() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let dir = tempfile::tempdir().unwrap();
    let path = bridge.listen_postgres(dir.path(), &ledger()).await.unwrap();
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(b"hello\n").await.unwrap();
    while exactly(&mut client, 1).await != b"\n" {}
    assert_eq!(bridge.open_connections(), 1);
    let proxy = bridge.proxy_address();
    let mark = world.sandbox.events().mark();
    drop(mesh);
    bridge.shutdown().await;
    let left = tokio::time::timeout(TIME_LIMIT, client.read(&mut [0; 64])).await.unwrap();
    assert!(matches!(left, Ok(0) | Err(_)), "{left:?}");
    assert!(UnixStream::connect(&path).await.is_err() && !path.exists());
    assert!(TcpStream::connect(proxy).await.is_err());
    crate::failures::gone(&world, mark).await;
}

#[tokio::test]
async fn a_unix_socket_connects_to_its_service() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let dir = tempfile::tempdir().unwrap();
    let path = bridge.listen_postgres(dir.path(), &ledger()).await.unwrap();
    assert_eq!(path, dir.path().join(".s.PGSQL.5432"));
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(b"hello\n").await.unwrap();
    client.shutdown().await.unwrap();
    let answer = say(client, "").await.unwrap();
    assert!(answer.ends_with(b"hello\n"), "the direction back stays open: {answer:?}");
}

#[tokio::test]
async fn a_client_is_reset_if_the_connection_to_its_target_fails() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let unknown = Target::new("typo.weather.svc.cluster.local", 80).unwrap();
    let address = bridge.listen_local(&unknown, Default::default()).await.unwrap();
    let error = say(connect(address).await, "").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn connections_above_the_limit_wait_until_one_ends() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = mesh.bridge().with_max_connections(1).start().await.unwrap();
    let address = bridge.listen_local(&ledger(), Default::default()).await.unwrap();
    let mut first = connect(address).await;
    first.write_all(b"first\n").await.unwrap();
    exactly(&mut first, 6).await;
    let mut second = connect(address).await;
    second.write_all(b"second\n").await.unwrap();
    let mut byte = [0];
    let waits = tokio::time::timeout(Duration::from_millis(100), second.read(&mut byte)).await;
    assert!(waits.is_err(), "served beyond the limit");
    drop(first);
    exactly(&mut second, 7).await;
    assert_eq!(bridge.open_connections(), 1);
}

#[tokio::test]
async fn after_shutdown_of_the_mesh_clients_are_rejected() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = mesh.bridge().with_access(Access::SameUser).start().await.unwrap();
    let address = bridge.listen_local(&ledger(), Default::default()).await.unwrap();
    mesh.shutdown().await;
    assert!(say(connect(address).await, "").await.is_err());
}

#[tokio::test]
async fn the_proxy_serves_another_process_only_with_the_secret() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let proxy = bridge.proxy_address();
    let ask = async |password: Option<&str>| {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let basic = |password| {
            format!("Proxy-Authorization: Basic {}\\r\\n", STANDARD.encode(format!("sidestep:{password}")))
        };
        let header = password.map(basic).unwrap_or_default();
        let url = "http://forecast.weather:3002/";
        let request = format!("GET {url} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n{header}\\r\\n");
        another_process(proxy, &request).await
    };
    assert!(ask(Some(bridge.secret().reveal())).await.starts_with("HTTP/1.1 200"));
    for password in [None, Some("guess")] {
        let answer = ask(password).await;
        assert!(answer.starts_with("HTTP/1.1 407") && answer.contains("proxy-authenticate"), "{answer}");
    }
    assert_eq!(another_process(proxy, r"\x05\x01\x00").await.as_bytes(), "\x05\u{fffd}".as_bytes());
    assert_eq!(world.through_gateways(), 1);
}

#[tokio::test]
async fn a_client_that_is_reset_resets_the_other_side_and_frees_its_slot() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = mesh.bridge().with_max_connections(1).start().await.unwrap();
    let address = bridge.listen_local(&ledger(), Default::default()).await.unwrap();
    let mut client = connect(address).await;
    client.write_all(b"hello\n").await.unwrap();
    while exactly(&mut client, 1).await != b"\n" {}
    client.set_zero_linger().unwrap();
    drop(client);
    let mut second = connect(address).await;
    second.write_all(b"second\n").await.unwrap();
    exactly(&mut second, 7).await;
}

#[tokio::test]
async fn a_megabyte_passes_in_both_directions_with_backpressure() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let address = bridge.listen_local(&ledger(), Default::default()).await.unwrap();
    let (mut read, mut write) = connect(address).await.into_split();
    let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
    let sent = line.repeat(1024);
    // The test writes more than the buffers hold before it reads.
    let writing = tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    tokio::time::timeout(TIME_LIMIT, read.read_to_end(&mut received)).await.unwrap().unwrap();
    writing.await.unwrap();
    assert_eq!(received.iter().filter(|byte| **byte == b'\n').count(), 1024);
    assert_eq!(received.iter().filter(|byte| **byte == b'x').count(), 1023 * 1024);
}

//! Tests of the access rule and the limits of the listener.

use mesh_resolver::listener::Limits;

use super::*;
use crate::name_server::{NameServer, Reply, ips};

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[tokio::test]
async fn a_client_without_recursion_is_refused_other_names() {
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.1"]))).await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let builder = builder(mesh.resolver(Upstream::servers([server.address()])));
    let listener = builder.with_recursion_for(|_| false).start().unwrap();
    let other = question("www.example.org.", RecordType::A);
    assert_eq!(code(&ask_with(&listener, &other).await), ResponseCode::Refused);
    assert_eq!(addresses(&ask(&listener, FORECAST, RecordType::A).await), ["10.1.2.3"]);
    let mut stream = TcpStream::connect(listener.addresses()[0]).await.unwrap();
    write(&mut stream, &other).await;
    assert_eq!(code(&read(&mut stream).await), ResponseCode::Refused);
    assert!(server.asked().is_empty());
    assert_eq!(listener.stats().refused, 2);
}

#[tokio::test]
async fn mesh_names_are_answered_during_a_flood_of_other_names() {
    let server = NameServer::silent().await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let builder = builder(mesh.resolver(Upstream::servers([server.address()])));
    let listener = builder.with_limits(limits(|limits| limits.max_upstream_queries = 5)).start().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(listener.addresses()[0]).await.unwrap();
    let mut answer = [0; 512];
    for number in 0..1000 {
        let asked = question(&format!("n{number}.example.org."), RecordType::A);
        socket.send(&asked.to_vec().unwrap()).await.unwrap();
        if number < 5 {
            continue;
        }
        let len = timeout(TIMEOUT, socket.recv(&mut answer)).await.unwrap().unwrap();
        let answer = Message::from_vec(&answer[..len]).unwrap();
        assert_eq!((code(&answer), answer.id), (ResponseCode::ServFail, asked.id));
    }
    assert_eq!(listener.stats().overloaded, 995);
    assert_eq!(addresses(&ask(&listener, FORECAST, RecordType::A).await), ["10.1.2.3"]);
}

/// RFC 7766 §6.2.1.1, §7: a connection has several pending queries, and the responses arrive as they become
/// available.
#[tokio::test]
async fn queries_on_one_connection_are_independent() {
    let server = NameServer::start(|name, _| match name {
        "slow.example.org" => Reply::Silence,
        _ => Reply::Addresses(ips(&["192.0.2.1"])),
    })
    .await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let listener = start(mesh.resolver(Upstream::servers([server.address()])));
    let mut stream = TcpStream::connect(listener.addresses()[0]).await.unwrap();
    let [slow, quick, forecast] =
        ["slow.example.org.", "quick.example.org.", FORECAST].map(|name| question(name, RecordType::A));
    for asked in [&slow, &quick, &forecast] {
        write(&mut stream, asked).await;
    }
    let first = [read(&mut stream).await.id, read(&mut stream).await.id];
    assert!(first.contains(&quick.id) && first.contains(&forecast.id));
}

#[tokio::test]
async fn a_query_may_arrive_in_pieces_and_many_queries_in_one_segment() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let listener = start(mesh.resolver(Upstream::none()));
    let mut stream = TcpStream::connect(listener.addresses()[0]).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let bytes = question(FORECAST, RecordType::A).to_vec().unwrap();
    let mut framed = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(&bytes);
    for byte in &framed {
        stream.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(addresses(&read(&mut stream).await), ["10.1.2.3"]);
    stream.write_all(&framed.repeat(100)).await.unwrap();
    for _ in 0..100 {
        assert_eq!(addresses(&read(&mut stream).await), ["10.1.2.3"]);
    }
}

async fn closed(stream: &mut TcpStream) {
    let ended = timeout(TIMEOUT, stream.read(&mut [0; 512])).await.expect("the connection ends");
    assert!(matches!(ended, Ok(0) | Err(_)));
}

#[tokio::test]
async fn an_idle_connection_and_one_with_an_oversized_query_are_closed() {
    let builder = builder(Mesh::synced(&[]).resolver(Upstream::none()));
    let short = limits(|limits| limits.tcp_idle_timeout = Duration::from_millis(50));
    let listener = builder.with_limits(short).start().unwrap();
    let connect = || TcpStream::connect(listener.addresses()[0]);
    closed(&mut connect().await.unwrap()).await;
    let mut half = connect().await.unwrap();
    half.write_all(&[0, 40, 1, 2, 3]).await.unwrap();
    closed(&mut half).await;
    let mut giant = connect().await.unwrap();
    giant.write_all(&[0xff; 8192]).await.unwrap();
    closed(&mut giant).await;
}

#[tokio::test]
async fn idle_connections_do_not_exclude_a_new_one() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let builder = builder(mesh.resolver(Upstream::none()));
    let limits = limits(|limits| {
        limits.max_tcp_connections = 3;
        limits.tcp_idle_timeout = Duration::MAX;
    });
    let listener = builder.with_limits(limits).start().unwrap();
    let asked = question(FORECAST, RecordType::A);
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(listener.addresses()[0]).await.unwrap());
    }
    let mut active = TcpStream::connect(listener.addresses()[0]).await.unwrap();
    for _ in 0..3 {
        write(&mut active, &asked).await;
        assert_eq!(addresses(&read(&mut active).await), ["10.1.2.3"]);
    }
    closed(&mut idle[0]).await;
}

/// The access rule, a local address and a `tracing` subscriber are functions of the program.
#[tokio::test]
async fn a_panic_in_a_function_of_the_program_does_not_stop_the_listener() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let builder = builder(mesh.resolver(Upstream::none()));
    let listener =
        builder.with_recursion_for(|_| panic!("the access rule of a test panics")).start().unwrap();
    let bad = question("www.example.org.", RecordType::A).to_vec().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&bad, listener.addresses()[0]).await.unwrap();
    let mut stream = TcpStream::connect(listener.addresses()[0]).await.unwrap();
    write(&mut stream, &question("www.example.org.", RecordType::A)).await;
    closed(&mut stream).await;
    assert_eq!(addresses(&ask(&listener, FORECAST, RecordType::A).await), ["10.1.2.3"]);
    let mut stream = TcpStream::connect(listener.addresses()[0]).await.unwrap();
    write(&mut stream, &question(FORECAST, RecordType::A)).await;
    assert_eq!(addresses(&read(&mut stream).await), ["10.1.2.3"]);
}

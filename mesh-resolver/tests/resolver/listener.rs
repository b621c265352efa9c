//! Tests of the DNS listener on real sockets, with upstream servers on loopback.

mod clients;
mod istio;
mod limits;
mod rfc;
mod upstream;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RecordType},
};
use mesh_resolver::{
    MeshResolver, Upstream,
    listener::{DnsListener, DnsListenerBuilder},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    sync::oneshot::{self, error::TryRecvError},
    time::timeout,
};

use crate::mesh::{FORECAST, Mesh};

const TIMEOUT: Duration = Duration::from_secs(10);

fn builder(resolver: MeshResolver) -> DnsListenerBuilder {
    DnsListener::builder(resolver).bind((Ipv4Addr::LOCALHOST, 0))
}

fn start(resolver: MeshResolver) -> DnsListener {
    builder(resolver).start().unwrap()
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

/// Sends one datagram and receives the response.
async fn exchange(server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let any: SocketAddr = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
    let socket = UdpSocket::bind(any).await.unwrap();
    socket.connect(server).await.unwrap();
    socket.send(packet).await.unwrap();
    let mut answer = vec![0; 65_535];
    let len = timeout(TIMEOUT, socket.recv(&mut answer)).await.expect("an answer").unwrap();
    answer.truncate(len);
    answer
}

async fn ask(listener: &DnsListener, name: &str, kind: RecordType) -> Message {
    ask_with(listener, &question(name, kind)).await
}

async fn ask_with(listener: &DnsListener, question: &Message) -> Message {
    let answer = exchange(listener.addresses()[0], &question.to_vec().unwrap()).await;
    let answer = Message::from_vec(&answer).unwrap();
    assert_eq!(answer.id, question.id);
    answer
}

fn code(message: &Message) -> ResponseCode {
    message.metadata.response_code
}

fn addresses(message: &Message) -> Vec<String> {
    message.answers.iter().filter_map(|record| record.data.ip_addr()).map(|ip| ip.to_string()).collect()
}

async fn write(stream: &mut TcpStream, message: &Message) {
    let bytes = message.to_vec().unwrap();
    let mut framed = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(&bytes);
    stream.write_all(&framed).await.unwrap();
}

async fn read(stream: &mut TcpStream) -> Message {
    let len = timeout(TIMEOUT, stream.read_u16()).await.expect("an answer").unwrap();
    let mut answer = vec![0; len.into()];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

#[tokio::test]
async fn a_mesh_name_is_answered_over_udp_and_tcp_on_ipv4_and_ipv6() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let listener = builder(mesh.resolver(Upstream::none())).bind("[::1]:0").start().unwrap();
    assert_eq!(listener.addresses().len(), 2, "UDP and TCP at the same port");
    let asked = question("forecast.weather.", RecordType::A);
    for address in listener.addresses() {
        let answer = Message::from_vec(&exchange(*address, &asked.to_vec().unwrap()).await).unwrap();
        assert_eq!(addresses(&answer), ["10.1.2.3"]);
        let mut stream = TcpStream::connect(address).await.unwrap();
        write(&mut stream, &asked).await;
        assert_eq!(addresses(&read(&mut stream).await), ["10.1.2.3"]);
    }
    assert_eq!(listener.stats().mesh, 4);
}

#[tokio::test]
async fn the_caller_can_pass_sockets() {
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let expected = [udp.local_addr().unwrap(), tcp.local_addr().unwrap()];
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let builder = DnsListener::builder(mesh.resolver(Upstream::none()));
    let listener = builder.with_udp_socket(udp).with_tcp_listener(tcp).start().unwrap();
    assert_eq!(listener.addresses(), expected);
    assert_eq!(addresses(&ask(&listener, FORECAST, RecordType::A).await), ["10.1.2.3"]);
}

#[tokio::test]
async fn the_error_names_an_address_in_use() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let resolver = Mesh::synced(&[]).resolver(Upstream::none());
    let error = DnsListener::builder(resolver).bind(address).start().unwrap_err();
    assert_eq!(error.kind(), mesh_resolver::ErrorKind::Listen);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn starting_without_a_runtime_is_an_error() {
    let resolver = Mesh::synced(&[]).resolver(Upstream::none());
    let error = builder(resolver).start().unwrap_err();
    assert_eq!(error.kind(), mesh_resolver::ErrorKind::Listen);
    assert!(error.to_string().contains("tokio"), "{error}");
}

#[tokio::test]
async fn the_next_query_sees_a_new_name_table() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let listener = start(mesh.resolver(Upstream::none()));
    for last in 4..40 {
        let ip = format!("10.1.2.{last}");
        mesh.sync(&[(FORECAST, &[&ip])]);
        assert_eq!(addresses(&ask(&listener, FORECAST, RecordType::A).await), [ip]);
    }
}

#[tokio::test]
async fn the_value_of_the_thread_setup_lives_as_long_as_the_thread() {
    struct ThreadValue(std::sync::mpsc::Sender<std::thread::ThreadId>);

    impl Drop for ThreadValue {
        fn drop(&mut self) {
            self.0.send(std::thread::current().id()).unwrap();
        }
    }

    let mesh = Mesh::connecting();
    let (begun, events) = std::sync::mpsc::channel();
    let begin = move || {
        begun.send(std::thread::current().id()).unwrap();
        ThreadValue(begun)
    };
    let listener = builder(mesh.resolver(Upstream::none())).with_thread_setup(begin).start().unwrap();
    let thread = events.recv_timeout(TIMEOUT).unwrap();
    assert_ne!(thread, std::thread::current().id());
    assert!(events.try_recv().is_err());
    drop(listener);
    assert_eq!(events.try_recv().unwrap(), thread);
}

#[tokio::test]
async fn dropping_the_listener_stops_the_thread_and_closes_the_sockets() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    // The thread and the tasks own the closure, and with it the sender.
    let (held, mut gone) = oneshot::channel::<()>();
    let recursion = move |_| !held.is_closed();
    let listener = builder(mesh.resolver(Upstream::none())).with_recursion_for(recursion).start().unwrap();
    let address = listener.addresses()[0];
    let mut open = TcpStream::connect(address).await.unwrap();
    write(&mut open, &question(FORECAST, RecordType::A)).await;
    read(&mut open).await;
    assert_eq!(gone.try_recv(), Err(TryRecvError::Empty));
    drop(listener);
    assert!(std::net::UdpSocket::bind(address).is_ok(), "the thread had the last handle of the socket");
    assert!(timeout(TIMEOUT, gone).await.expect("a task outlives the listener").is_err());
    assert!(matches!(open.read(&mut [0; 1]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn malformed_queries_are_answered_and_responses_are_not() {
    let listener = start(Mesh::synced(&[(FORECAST, &["10.1.2.3"])]).resolver(Upstream::none()));
    let address = listener.addresses()[0];
    let mut packet = question(FORECAST, RecordType::A).to_vec().unwrap();
    let answer = exchange(address, &packet[..20]).await;
    assert_eq!((answer.len(), answer[3] & 0x0f), (12, 1));
    packet[2] |= 0x80;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for dropped in [&packet[..], &packet[..5], &[]] {
        socket.send_to(dropped, address).await.unwrap();
    }
    // Loopback preserves the order, so the first response belongs to the last query.
    let asked = question(FORECAST, RecordType::A);
    socket.send_to(&asked.to_vec().unwrap(), address).await.unwrap();
    let mut answer = [0; 512];
    let len = timeout(TIMEOUT, socket.recv(&mut answer)).await.unwrap().unwrap();
    assert_eq!(Message::from_vec(&answer[..len]).unwrap().id, asked.id);
    assert_eq!(listener.stats().malformed, 4);
}

//! Clients with unusual or invalid behaviour.

use tokio::net::TcpListener;

use super::*;
use crate::US;

/// Sends bytes to the proxy and returns its answer until it closes the connection.
async fn ask(bridge: &Bridge, bytes: impl AsRef<[u8]>) -> String {
    let answer = say(connect(bridge.proxy_address()).await, bytes).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends bytes and the end of the data, and returns the answer.
async fn say_all(mut client: TcpStream, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    client.write_all(bytes.as_ref()).await.unwrap();
    client.shutdown().await.unwrap();
    say(client, "").await.unwrap()
}

fn by_name(name: &[u8], port: u16) -> Vec<u8> {
    [&[5, 1, 0, 3, u8::try_from(name.len()).unwrap()], name, &port.to_be_bytes()].concat()
}

#[tokio::test]
async fn an_http_1_0_client_receives_an_http_1_0_response() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let answer = ask(&bridge, "GET http://forecast.weather:3002/old HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert!(
        !answer.to_lowercase().contains("transfer-encoding"),
        "HTTP/1.0 has no chunked encoding: {answer}"
    );
    assert!(answer.contains("/old") && answer.contains(US), "{answer}");
    let mut client = connect(bridge.proxy_address()).await;
    client.write_all(b"CONNECT ledger.payments.example:5432 HTTP/1.0\r\n\r\n").await.unwrap();
    let head = exactly(&mut client, 12).await;
    assert!(head.ends_with(b" 200"), "{}", String::from_utf8_lossy(&head));
    assert!(say_all(client, "hello\n").await.ends_with(b"hello\n"));
}

#[tokio::test]
async fn after_a_head_request_the_next_request_on_the_connection_is_served() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let request = |method: &str, rest: &str| {
        format!("{method} http://forecast.weather:3002/{method} HTTP/1.1\r\nHost: x\r\n{rest}\r\n")
    };
    // The client sends both requests immediately; the second waits for the first.
    let both = request("HEAD", "") + &request("GET", "Connection: close\r\n");
    let answer = ask(&bridge, both).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
    assert_eq!(answer.matches("\"/").count(), 1, "{answer}");
    assert!(answer.contains("/GET"), "{answer}");
}

#[tokio::test]
async fn expect_100_continue_is_answered() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let mut client = connect(bridge.proxy_address()).await;
    let head = "POST http://forecast.weather:3002/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\
                Content-Length: 4\r\nConnection: close\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(exactly(&mut client, 25).await, b"HTTP/1.1 100 Continue\r\n\r\n");
    let answer = say(client, "body").await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn an_invalid_proxy_request_is_answered_with_400() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    for (said, status) in [
        ("GET https://forecast.weather:3002/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "400"),
        ("CONNECT forecast.weather HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("CONNECT forecast.weather:0 HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "400"),
        // A SOCKS4 request, and TLS to the proxy itself.
        ("\u{4}\u{1}\u{0}P\n\u{0}\u{0}\u{1}\u{0}", "400"),
        ("\u{16}\u{3}\u{1}\u{0}\u{5}hello", "400"),
    ] {
        let mut client = connect(bridge.proxy_address()).await;
        client.write_all(said.as_bytes()).await.unwrap();
        let head = exactly(&mut client, 12).await;
        assert_eq!(String::from_utf8_lossy(&head[9..]), status, "{said:?}");
    }
    assert_eq!(world.through_gateways(), 0);
}

#[tokio::test]
async fn ipv6_literals_work_with_both_proxies() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tcp.write_all(b"six").await.ok();
        }
    });
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let answer = ask(&bridge, format!("CONNECT [::1]:{port} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("six"), "{answer}");
    let mut socks = vec![5, 1, 0, 5, 1, 0, 4];
    socks.extend(std::net::Ipv6Addr::LOCALHOST.octets());
    socks.extend(port.to_be_bytes());
    assert!(ask(&bridge, socks).await.ends_with("six"));
}

#[tokio::test]
async fn invalid_names_in_socks_requests_are_unreachable() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    for name in [&[b'a'; 255][..], b"", b"\xff\xfe", b"a b", b"forecast.weather\0.example"] {
        let mut client = connect(bridge.proxy_address()).await;
        client.write_all(&[&[5, 1, 0], &by_name(name, 80)[..]].concat()).await.unwrap();
        assert_eq!(exactly(&mut client, 12).await[..4], [5, 0, 5, 4], "{name:?}");
    }
}

#[tokio::test]
async fn a_handshake_may_arrive_byte_by_byte_or_together_with_data() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let secret = bridge.secret().reveal().as_bytes();
    let credentials = [&[1, 8], &b"sidestep"[..], &[u8::try_from(secret.len()).unwrap()], secret].concat();
    let whole =
        [&[5, 1, 2], &credentials[..], &by_name(b"ledger.payments.example", 5432), b"hello\n"].concat();
    let answered = [5, 2, 1, 0, 5, 0];
    let at_once = say_all(connect(bridge.proxy_address()).await, &whole).await;
    assert!(at_once.starts_with(&answered) && at_once.ends_with(b"hello\n"), "{at_once:?}");
    let mut client = connect(bridge.proxy_address()).await;
    client.set_nodelay(true).unwrap();
    for byte in &whole {
        client.write_all(&[*byte]).await.unwrap();
        // polling: the bridge gets a turn between two bytes; the test does not depend on the result.
        tokio::task::yield_now().await;
    }
    let answer = say_all(client, "").await;
    assert!(answer.starts_with(&answered) && answer.ends_with(b"hello\n"), "{answer:?}");
}

#[tokio::test]
async fn the_end_of_one_direction_leaves_the_other_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        // The server ends its direction first and continues to read.
        tcp.write_all(b"bye").await.unwrap();
        tcp.shutdown().await.unwrap();
        let mut rest = Vec::new();
        tcp.read_to_end(&mut rest).await.unwrap();
        rest
    });
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let mut client = connect(bridge.proxy_address()).await;
    client.write_all(&[&[5, 1, 0], &by_name(b"127.0.0.1", port)[..]].concat()).await.unwrap();
    exactly(&mut client, 12).await;
    let mut told = Vec::new();
    client.read_to_end(&mut told).await.unwrap();
    assert_eq!(told, b"bye");
    client.write_all(b"still here").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(tokio::time::timeout(TIME_LIMIT, server).await.unwrap().unwrap(), b"still here");
}

#[tokio::test]
async fn three_hundred_simultaneous_clients_are_all_served() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let address = bridge.listen_local(&ledger(), Default::default()).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..300 {
        let mut client = connect(address).await;
        client.write_all(b"hello\n").await.unwrap();
        clients.push(client);
    }
    for client in clients {
        assert!(say_all(client, "").await.ends_with(b"hello\n"));
    }
}

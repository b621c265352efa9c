//! Requests that the bridge refuses, and what its refusals contain.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mesh_connector::bridge::LocalPort;
use tokio::net::TcpListener;

use super::*;

async fn ask(bridge: &Bridge, request: impl AsRef<[u8]>) -> String {
    let answer = say(connect(bridge.proxy_address()).await, request).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a SOCKS5 request for a target, by name or by address, and returns the reply code.
async fn socks_reply(bridge: &Bridge, address: &[u8], port: u16) -> u8 {
    let mut client = connect(bridge.proxy_address()).await;
    client.write_all(&[&[5, 1, 0, 5, 1, 0], address, &port.to_be_bytes()].concat()).await.unwrap();
    exactly(&mut client, 12).await[3]
}

/// Starts an HTTP server outside the mesh, which answers each connection with `response`.
async fn server(response: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = [0; 1024];
            if client.read(&mut head).await.is_ok_and(|count| count > 0) {
                client.write_all(response.as_bytes()).await.ok();
            }
        }
    });
    address
}

#[tokio::test]
async fn the_proxy_does_not_connect_to_a_listener_of_its_own_bridge_in_any_form_of_its_address() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let port = bridge.proxy_address().port();
    let local = bridge.listen_local(&ledger(), LocalPort::Any).await.unwrap();
    let mapped = format!("[::ffff:{}]:{}", local.ip(), local.port());
    let hosts = ["127.0.0.1", "0.0.0.0", "localhost", "[::ffff:127.0.0.1]", "[::]"];
    let own = hosts.map(|host| format!("{host}:{port}")).into_iter().chain([local.to_string(), mapped]);
    for own in own {
        for request in [
            format!("CONNECT {own} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
            format!("GET http://{own}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        ] {
            let answer = ask(&bridge, &request).await;
            assert!(answer.starts_with("HTTP/1.1 508 "), "{request}{answer}");
            assert!(answer.contains("x-sidestep-error: loop_detected"), "{answer}");
            assert!(answer.contains("is a listener of this bridge"), "{answer}");
        }
    }
    assert_eq!(socks_reply(&bridge, &[1, 127, 0, 0, 1], port).await, 2, "not allowed");
    assert_eq!(socks_reply(&bridge, &[1, 0, 0, 0, 0], port).await, 2);
    assert_eq!(socks_reply(&bridge, &[&[3, 9], &b"localhost"[..]].concat(), port).await, 2);
    let mapped = "127.0.0.1".parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped().octets();
    assert_eq!(socks_reply(&bridge, &[&[4], &mapped[..]].concat(), port).await, 2);
    let std::net::IpAddr::V4(ip) = local.ip() else { panic!("{local}") };
    assert_eq!(socks_reply(&bridge, &[&[1], &ip.octets()[..]].concat(), local.port()).await, 2);
}

#[tokio::test]
async fn a_listener_whose_target_is_the_proxy_resets_its_clients() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let target = Target::new("127.0.0.1", bridge.proxy_address().port()).unwrap();
    let address = bridge.listen_local(&target, LocalPort::Any).await.unwrap();
    let error = say(connect(address).await, "").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_error_response_contains_neither_user_information_nor_the_query_of_the_url() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    // Nothing listens on this port.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (target, status) in [
        (format!("GET http://me:hunter2@{closed}/?token=hunter2"), "502"),
        (format!("GET https://me:hunter2@{closed}/?token=hunter2"), "400"),
        ("GET http://me:hunter2@typo.weather.svc.cluster.local/?token=hunter2".into(), "502"),
        ("GET http://me:hunter2@forecast.weather:99999/?token=hunter2".into(), "400"),
        (format!("CONNECT me:hunter2@{closed}"), "400"),
    ] {
        let answer = ask(&bridge, format!("{target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
        assert!(!answer.contains("hunter2") && !answer.contains("token"), "{target}: {answer}");
    }
}

#[tokio::test]
async fn a_service_cannot_imitate_an_error_of_the_proxy() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let service = server(
        "HTTP/1.1 407 Mine\r\nX-Sidestep-Error: dial\r\nProxy-Authenticate: Basic realm=\"sidestep\"\r\n\
         X-Other: 1\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let request = format!("GET http://{service}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = ask(&bridge, request).await.to_lowercase();
    assert!(answer.contains("x-other: 1"), "{answer}");
    assert!(!answer.contains("x-sidestep-error") && !answer.contains("proxy-authenticate"), "{answer}");
}

/// A web page can make a browser send such requests to any address: cross-origin requests, and same-origin requests
/// after DNS rebinding. A browser sends requests in absolute form only to the proxy of its own configuration.
#[tokio::test]
async fn requests_that_a_web_page_can_make_a_browser_send_to_the_proxy_are_refused() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = mesh.bridge().with_access(Access::SameUser).start().await.unwrap();
    for method in ["GET", "POST", "OPTIONS", "PUT"] {
        for host in ["forecast.weather:3002", "evil.example"] {
            let request = format!(
                "{method} / HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n"
            );
            let answer = ask(&bridge, request).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        }
    }
    assert_eq!(world.through_gateways(), 0);
}

#[tokio::test]
async fn the_connection_of_a_client_without_a_valid_password_is_closed_after_the_refusal() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let request = r"GET http://forecast.weather:3002/ HTTP/1.1\r\nHost: x\r\n\r\n";
    // The client does not close the connection. It ends when the bridge closes it.
    let answer = another_process(bridge.proxy_address(), request).await;
    assert_eq!(answer.matches("HTTP/1.1 407").count(), 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let wrong = another_process(bridge.proxy_address(), r"\x05\x01\x02\x01\x08sidestep\x05guess").await;
    assert_eq!(wrong.as_bytes(), b"\x05\x02\x01\x01");
}

#[tokio::test]
async fn another_process_with_the_secret_sends_several_requests_on_one_connection() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let password = STANDARD.encode(format!("sidestep:{}", bridge.secret().reveal()));
    let request = |rest: &str| {
        format!(
            r"GET http://forecast.weather:3002/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic {password}\r\n{rest}\r\n"
        )
    };
    let both = request("") + &request(r"Connection: close\r\n");
    let answer = another_process(bridge.proxy_address(), &both).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
}

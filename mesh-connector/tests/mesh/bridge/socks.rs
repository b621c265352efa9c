//! The SOCKS5 proxy.

use super::*;

const NO_AUTHENTICATION: &[u8] = &[5, 1, 0];

fn request(host: &str, port: u16) -> Vec<u8> {
    let mut request = vec![5, 1, 0, 3, u8::try_from(host.len()).unwrap()];
    request.extend(host.as_bytes());
    request.extend(port.to_be_bytes());
    request
}

/// Connects to a target through the proxy, and returns the stream and the reply code.
async fn through(bridge: &Bridge, host: &str, port: u16) -> (TcpStream, u8) {
    let mut client = connect(bridge.proxy_address()).await;
    client.write_all(NO_AUTHENTICATION).await.unwrap();
    assert_eq!(exactly(&mut client, 2).await, [5, 0]);
    client.write_all(&request(host, port)).await.unwrap();
    let answer = exactly(&mut client, 10).await;
    (client, answer[1])
}

#[tokio::test]
async fn services_of_the_mesh_are_reached_and_bytes_pass_in_both_directions() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let (mut client, answer) = through(&bridge, "ledger.payments.example", 5432).await;
    assert_eq!(answer, 0);
    client.write_all(b"hello\n").await.unwrap();
    client.shutdown().await.unwrap();
    assert!(say(client, "").await.unwrap().ends_with(b"hello\n"));
    assert_eq!(world.through_gateways(), 1);
}

#[tokio::test]
async fn a_client_is_served_with_the_secret_or_if_it_needs_none() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let good = bridge.secret().reveal().to_owned();
    let (both, password_alone) = (&[5, 2, 0, 2][..], &[5, 1, 2][..]);
    for (offered, password, served) in [
        (both, good.clone(), true),
        (password_alone, good.clone(), true),
        (password_alone, good.replace(|_| true, "0"), false),
        (password_alone, String::new(), false),
        // Clients of this process need no secret, and Java offers an empty password if none is set.
        (both, String::new(), true),
    ] {
        let mut client = connect(bridge.proxy_address()).await;
        client.write_all(offered).await.unwrap();
        assert_eq!(exactly(&mut client, 2).await, [5, 2]);
        let mut credentials = vec![1, 8];
        credentials.extend(b"sidestep");
        credentials.push(u8::try_from(password.len()).unwrap());
        credentials.extend(password.as_bytes());
        client.write_all(&credentials).await.unwrap();
        assert_eq!(exactly(&mut client, 2).await, [1, u8::from(!served)]);
    }
}

#[tokio::test]
async fn failures_have_the_matching_socks_reply() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    for (host, port, said) in
        [("forecast.weather", 80, 4), ("typo.weather.svc.cluster.local", 80, 4), ("no host", 80, 4)]
    {
        assert_eq!(through(&bridge, host, port).await.1, said, "{host}:{port}");
    }
    for network in ["network1", "network2"] {
        world.sandbox.stop_gateway(network).await.unwrap();
    }
    assert_eq!(through(&bridge, "forecast.weather", 3002).await.1, 5);
}

#[tokio::test]
async fn invalid_bytes_and_other_commands_end_only_their_own_connection() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    for garbage in
        [&b"\x05"[..], b"\x05\x00", b"\x05\x01\x09", b"\x05\x01\x00garbage", b"\x04\x01", b"\xff\xff\xff"]
    {
        let mut client = connect(bridge.proxy_address()).await;
        client.write_all(garbage).await.unwrap();
        client.shutdown().await.unwrap();
        let _ = say(client, "").await;
    }
    let mut client = connect(bridge.proxy_address()).await;
    client.write_all(NO_AUTHENTICATION).await.unwrap();
    exactly(&mut client, 2).await;
    let mut bind = request("ledger.payments.example", 5432);
    bind[1] = 2;
    client.write_all(&bind).await.unwrap();
    assert_eq!(exactly(&mut client, 10).await[1], 7);
    assert_eq!(through(&bridge, "ledger.payments.example", 5432).await.1, 0);
}

#[tokio::test]
async fn a_silent_client_is_disconnected_after_the_handshake_timeout() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = mesh.bridge().with_handshake_timeout(Duration::from_millis(50)).start().await.unwrap();
    for beginning in [&b""[..], b"\x05", b"\x05\x01\x00\x05", b"GET /"] {
        let mut client = connect(bridge.proxy_address()).await;
        client.write_all(beginning).await.unwrap();
        say(client, "").await.unwrap();
    }
    assert_eq!(bridge.open_connections(), 0);
}

/// The client sends byte by byte, each within any timeout for a single read. The timeout applies to the whole
/// handshake.
#[tokio::test]
async fn a_slow_client_is_disconnected_and_waiting_clients_are_served() {
    let world = World::start().await;
    let mesh = world.join().await;
    let handshake_timeout = Duration::from_millis(200);
    let bridge = mesh
        .bridge()
        .with_max_connections(1)
        .with_handshake_timeout(handshake_timeout)
        .start()
        .await
        .unwrap();
    for slow in [&b"\x05\xff\0\0\0\0"[..], b"GET http://forecast.weather:3002/"] {
        let client = connect(bridge.proxy_address()).await;
        let (mut read, mut write) = client.into_split();
        let drip = async {
            for byte in slow.iter().cycle() {
                if write.write_all(&[*byte]).await.is_err() {
                    return;
                }
                // polling: this is not a wait, but the pace of a slow client.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let gone = async { while read.read(&mut [0; 64]).await.is_ok_and(|length| length > 0) {} };
        let ended = async {
            tokio::select! { () = drip => {}, () = gone => {} }
        };
        let served = through(&bridge, "ledger.payments.example", 5432);
        let ((), (_stream, answer)) =
            tokio::time::timeout(TIME_LIMIT, async { tokio::join!(ended, served) }).await.unwrap();
        assert_eq!(answer, 0, "{slow:?}");
    }
}

#[tokio::test]
async fn if_the_gateway_closes_the_connection_the_client_is_reset() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let (mut client, _) = through(&bridge, "ledger.payments.example", 5432).await;
    client.write_all(b"hello\n").await.unwrap();
    exactly(&mut client, 6).await;
    world.sandbox.stop_gateway("network2").await.unwrap();
    let error = say(client, "").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn on_a_port_with_protocol_detection_http_is_announced_as_http() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    world.apply(&mesh, "cluster1", http::DETECTED, "detected.weather.svc.cluster.local").await;
    let offered = async |bytes: &'static [u8]| {
        let mark = world.sandbox.events().mark();
        let (client, answer) = through(&bridge, "detected.weather", 4000).await;
        assert_eq!(answer, 0, "accepted before it is connected");
        let talk = tokio::spawn(say(client, bytes));
        let events = world.sandbox.events();
        let gateway = events.wait_since(mark, |event| match event {
            mesh_sandbox::Event::Gateway(event) => Some(event.alpn.clone()),
            _ => None,
        });
        let offered = tokio::time::timeout(TIME_LIMIT, gateway).await.unwrap();
        talk.abort();
        offered
    };
    assert_eq!(offered(b"GET / HTTP/1.1\r\n\r\n").await, ["istio-http/1.1", "istio", "http/1.1"]);
    assert_eq!(offered(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, ["istio-h2", "istio", "h2"]);
    assert_eq!(offered(b"\x16\x03\x01").await, ["istio"]);
    assert_eq!(offered(b"").await, ["istio"], "the server speaks first");
}

//! SOCKS5.

use super::*;

const NO_AUTHENTICATION: &[u8] = &[5, 1, 0];

fn request(host: &str, port: u16) -> Vec<u8> {
    let mut request = vec![5, 1, 0, 3, u8::try_from(host.len()).unwrap()];
    request.extend(host.as_bytes());
    request.extend(port.to_be_bytes());
    request
}

/// A connection to this target through the proxy, and the proxy's answer.
async fn through(bridge: &Bridge, host: &str, port: u16) -> (TcpStream, u8) {
    let mut client = connect(bridge.proxy_address()).await;
    client.write_all(NO_AUTHENTICATION).await.unwrap();
    assert_eq!(exactly(&mut client, 2).await, [5, 0]);
    client.write_all(&request(host, port)).await.unwrap();
    let answer = exactly(&mut client, 10).await;
    (client, answer[1])
}

#[tokio::test]
async fn names_of_the_mesh_are_reached_and_bytes_pass_in_both_directions() {
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
async fn whoever_knows_the_secret_or_needs_none_is_served_and_a_guess_is_not() {
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
        // This process needs none, and Java makes one up where it has none.
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
async fn what_fails_has_the_answer_that_socks_has_for_it() {
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
async fn garbage_and_other_commands_end_their_own_connection_and_nothing_else() {
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
async fn a_client_that_says_nothing_is_let_go() {
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

/// Byte by byte, each before any timeout of a single one: the whole has a time of its own.
#[tokio::test]
async fn a_client_that_drips_is_let_go_and_those_behind_it_are_served() {
    let world = World::start().await;
    let mesh = world.join().await;
    let patience = Duration::from_millis(200);
    let bridge =
        mesh.bridge().with_max_connections(1).with_handshake_timeout(patience).start().await.unwrap();
    for slow in [&b"\x05\xff\0\0\0\0"[..], b"GET http://forecast.weather:3002/"] {
        let client = connect(bridge.proxy_address()).await;
        let (mut read, mut write) = client.into_split();
        let drip = async {
            for byte in slow.iter().cycle() {
                if write.write_all(&[*byte]).await.is_err() {
                    return;
                }
                // polling: no wait, but a client that takes its time.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let gone = async { while read.read(&mut [0; 64]).await.is_ok_and(|length| length > 0) {} };
        let ended = async {
            tokio::select! { () = drip => {}, () = gone => {} }
        };
        let served = through(&bridge, "ledger.payments.example", 5432);
        let ((), (_stream, answer)) =
            tokio::time::timeout(PATIENCE, async { tokio::join!(ended, served) }).await.unwrap();
        assert_eq!(answer, 0, "{slow:?}");
    }
}

#[tokio::test]
async fn a_gateway_that_goes_away_is_a_reset_of_the_client() {
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
async fn http_on_a_port_whose_protocol_is_detected_is_announced_as_http() {
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
        let offered = tokio::time::timeout(PATIENCE, gateway).await.unwrap();
        talk.abort();
        offered
    };
    assert_eq!(offered(b"GET / HTTP/1.1\r\n\r\n").await, ["istio-http/1.1", "istio", "http/1.1"]);
    assert_eq!(offered(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, ["istio-h2", "istio", "h2"]);
    assert_eq!(offered(b"\x16\x03\x01").await, ["istio"]);
    assert_eq!(offered(b"").await, ["istio"], "the server speaks first");
}

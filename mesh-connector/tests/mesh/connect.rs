//! Names, addresses and gateways.

use std::collections::BTreeSet;

use mesh_connector::{Error, ErrorKind, Mesh, Mtls, OutboundTrafficPolicy, Protocol, Target, Transport};
use mesh_sandbox::{Event, event::GatewayOutcome};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{FORECAST, World, exchange};

/// Returns the clusters that answer a number of connections.
async fn clusters(mesh: &Mesh, connections: usize) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for _ in 0..connections {
        let stream = mesh.connect("forecast.weather", 3002).await.unwrap();
        seen.insert(stream.connection().workload_cluster().unwrap().to_owned());
    }
    seen
}

#[tokio::test]
async fn connections_go_through_the_gateways_of_both_networks() {
    let world = World::start().await;
    let mesh = world.join().await;
    // With shares of 1/3 and 2/3, 64 connections miss one of them once in 10^11 runs.
    assert_eq!(clusters(&mesh, 64).await, ["cluster1", "cluster2"].map(str::to_owned).into());
}

#[tokio::test]
async fn a_connection_reports_its_properties() {
    let world = World::start().await;
    let mesh = world.join().await;
    let stream = mesh.connect("Forecast.Weather.", 3002).await.unwrap();
    let info = stream.connection();
    assert_eq!((info.host(), info.port()), ("forecast.weather", 3002));
    assert_eq!(info.service(), Some("forecast.weather.svc.cluster.local"));
    assert_eq!(info.cluster(), Some("outbound|3002||forecast.weather.svc.cluster.local"));
    assert_eq!(info.sni(), Some("outbound_.3002_._.forecast.weather.svc.cluster.local"));
    assert_eq!(info.alpn_offered(), ["istio"]);
    assert_eq!(info.alpn(), None);
    assert_eq!(info.peer().unwrap().as_str(), FORECAST);
    assert_eq!(info.transport(), Transport::MutualTls);
    assert!(info.is_through_gateway());
    let gateways: Vec<_> = world.sandbox.gateways().into_iter().map(|gateway| gateway.address).collect();
    assert!(gateways.contains(&info.peer_addr()), "{info:?}");
}

#[tokio::test]
async fn lines_can_be_read_without_a_buf_reader() {
    let world = World::start().await;
    let mesh = world.join().await;
    for (host, port, transport) in [
        ("ledger.payments.example", 5432, Transport::MutualTls),
        ("mymongodb.somedomain", 27018, Transport::Plaintext),
    ] {
        let mut stream = mesh.connect(host, port).await.unwrap();
        assert_eq!(stream.connection().transport(), transport);
        stream.write_all(b"one\ntwo\n").await.unwrap();
        stream.shutdown().await.unwrap();
        let (mut first, mut rest) = (String::new(), String::new());
        assert!(stream.read_line(&mut first).await.unwrap() > 0);
        // Data that was read together with the line is available to other reads.
        stream.read_to_string(&mut rest).await.unwrap();
        let said = first.clone() + &rest;
        assert!(first.ends_with('\n') && said.contains("one\n") && said.ends_with("two\n"), "{said:?}");
    }
}

#[tokio::test]
async fn http_protocols_are_negotiated_with_the_workload_behind_the_gateway() {
    let world = World::start().await;
    let mesh = world.join().await;
    for (protocol, agreed) in [(Protocol::Http1, "http/1.1"), (Protocol::Http2, "h2")] {
        let target = Target::new("forecast.weather", 3002).unwrap().with_protocol(protocol);
        let stream = mesh.connect_to(&target).await.unwrap();
        assert_eq!(stream.connection().alpn(), Some(agreed));
    }
}

#[tokio::test]
async fn an_address_selects_the_service_of_its_name() {
    let world = World::start().await;
    let mesh = world.join().await;
    let addresses = mesh.raw_resolver().lookup_ip("ledger.payments.example").await.unwrap();
    let vip = addresses.addresses()[0].to_string();
    let mut stream = mesh.connect(&vip, 5432).await.unwrap();
    assert_eq!(stream.connection().host(), vip);
    assert_eq!(stream.connection().service(), Some("ledger.payments.example"));
    assert!(exchange(&mut stream, "hello").await.unwrap().ends_with("hello\n"));
}

#[tokio::test]
async fn a_virtual_ip_that_was_not_resolved_is_found_in_the_name_table() {
    let world = World::start().await;
    let mesh = world.join().await;
    let names = mesh.client().names().get();
    let vip = names.get("mymongodb.somedomain").unwrap().ipv4()[0];
    let mut stream = mesh.connect(&vip.to_string(), 27018).await.unwrap();
    assert_eq!(stream.connection().service(), Some("mymongodb.somedomain"));
    assert_eq!(stream.connection().transport(), Transport::Plaintext);
    assert!(exchange(&mut stream, "hello").await.unwrap().ends_with("hello\n"));
}

#[tokio::test]
async fn configured_plaintext_is_refused_if_mtls_is_required() {
    let world = World::start().await;
    let mesh = world.builder().with_mtls(Mtls::Required).join().await.unwrap();
    let error = mesh.connect("mymongodb.somedomain", 27018).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlaintextRefused);
    assert!(mesh.connect("ledger.payments.example", 5432).await.is_ok());
}

#[tokio::test]
async fn the_error_for_an_unknown_port_lists_the_known_ones() {
    let world = World::start().await;
    let error = world.join().await.connect("forecast.weather", 80).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownPort);
    assert!(error.to_string().contains("3002"), "{error}");
}

#[tokio::test]
async fn a_name_that_neither_the_mesh_nor_upstream_dns_knows_is_an_error() {
    let world = World::start().await;
    let error = world.join().await.connect("typo.weather.svc.cluster.local", 80).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownHost);
    assert!(error.to_string().contains("neither the mesh nor upstream DNS"), "{error}");
}

#[tokio::test]
async fn hosts_outside_the_mesh_are_reached_directly_or_refused_by_policy() {
    let outside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = outside.local_addr().unwrap().port();
    let world = World::start().await;
    let mesh = world.join().await;
    for host in ["localhost", "127.0.0.1"] {
        let stream = mesh.connect(host, port).await.unwrap();
        assert_eq!(stream.connection().service(), None);
        assert_eq!(stream.connection().transport(), Transport::Plaintext);
        drop(stream);
        assert!(outside.accept().await.unwrap().0.read_u8().await.is_err());
        let error = mesh.requiring_mtls().connect(host, port).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PlaintextRefused);
    }
    let registry_only = world
        .builder()
        .with_outbound_traffic_policy(OutboundTrafficPolicy::RegistryOnly)
        .join()
        .await
        .unwrap();
    let error = registry_only.connect("localhost", port).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownHost);
}

#[tokio::test]
async fn if_one_gateway_fails_the_other_takes_all_connections() {
    let world = World::start().await;
    let mesh = world.join().await;
    world.sandbox.stop_gateway("network2").await.unwrap();
    assert_eq!(clusters(&mesh, 16).await, ["cluster1".to_owned()].into());
    world.sandbox.stop_gateway("network1").await.unwrap();
    let error = mesh.connect("forecast.weather", 3002).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Dial);
    assert_eq!(error.attempts().len(), 2, "{error}");
    world.sandbox.restore_gateway("network1").unwrap();
    assert_eq!(clusters(&mesh, 4).await, ["cluster1".to_owned()].into());
}

#[tokio::test]
async fn an_identity_mismatch_is_an_error_that_names_both_identities() {
    let world = World::start().await;
    let mesh = world.join().await;
    world.sandbox.impersonate("weather", "forecast", "archive").unwrap();
    let error: Error = mesh.connect("forecast.weather", 3002).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PeerIdentity);
    let mismatch = error.identity_mismatch().unwrap();
    assert_eq!(mismatch.expected, [FORECAST]);
    assert_eq!(mismatch.presented, ["spiffe://cluster.local/ns/weather/sa/archive"]);
    world.sandbox.restore_workload("weather", "forecast").unwrap();
    assert!(mesh.connect("forecast.weather", 3002).await.is_ok());
}

#[tokio::test]
async fn gateways_forward_by_sni() {
    let world = World::start().await;
    let mesh = world.join().await;
    let stream = mesh.connect("archive.weather", 3003).await.unwrap();
    let events = world.sandbox.events();
    let event = events.wait(|event| match event {
        Event::Gateway(event) => Some(event.clone()),
        _ => None,
    });
    let event = event.await;
    assert_eq!(event.sni.as_deref(), stream.connection().sni());
    assert_eq!(event.alpn, ["istio"]);
    assert!(matches!(event.outcome, GatewayOutcome::Forwarded { .. }), "{event:?}");
}

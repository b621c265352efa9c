//! Tests of the answer policy, which replaces addresses of the name table.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hickory_resolver::{
    Resolver,
    net::runtime::TokioRuntimeProvider,
    proto::{
        op::{Message, Query, ResponseCode},
        rr::{Name, RecordType},
    },
};
use mesh_resolver::{
    Asker, ErrorKind, LocalAddresses, MeshResolver, NoLocalAddress, Source, Upstream,
    hickory::{MeshProvider, config_for},
    listener::DnsListener,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
};

use crate::{
    mesh::{FORECAST, Mesh},
    name_server::{NameServer, Reply, ips},
};

const MESH: &[(&str, &[&str])] = &[
    (FORECAST, &["10.1.2.3", "2001:db8::3"]),
    ("api.partner.example", &["240.240.0.1"]),
    ("*.wildcard.example", &["240.240.0.2"]),
];

/// Resolves a name through every interface, checks that the results are equal, and returns the sorted addresses.
async fn resolve_by_all_means(resolver: &MeshResolver, name: &str) -> Vec<IpAddr> {
    let found = resolver.lookup_ip(name).await.unwrap();
    let listener = DnsListener::builder(resolver.clone()).bind("127.0.0.1:0").start().unwrap();
    let config = config_for(&listener).unwrap();
    let by_dns = Resolver::builder_with_config(config, Default::default()).build().unwrap();
    let by_dns: Resolver<TokioRuntimeProvider> = by_dns;
    let by_hickory = MeshProvider::new(resolver.clone()).into_resolver().unwrap();
    let fqdn = format!("{name}.");
    let sorted = |ips: Vec<IpAddr>| {
        let mut ips = ips;
        ips.sort();
        ips
    };
    let expected = sorted(found.addresses().to_vec());
    let dns = by_dns.lookup_ip(&fqdn).await.unwrap().iter().collect();
    assert_eq!(sorted(dns), expected, "the listener");
    let hickory = by_hickory.lookup_ip(&fqdn).await.unwrap().iter().collect();
    assert_eq!(sorted(hickory), expected, "hickory");
    match resolver.try_lookup(name) {
        Some(tried) => assert_eq!(sorted(tried.as_slice().to_vec()), expected),
        None => assert_eq!(found.source(), &Source::Upstream),
    }
    expected
}

/// istiod allocates an address of 240.240.0.0/16 for a ServiceEntry without addresses
/// (`pilot/pkg/model/service.go:2012-2028`).
#[tokio::test]
async fn an_external_name_is_resolved_upstream_instead_of_to_a_virtual_address() {
    let server = NameServer::start(|name, kind| match (name, kind) {
        ("api.partner.example", RecordType::A) => Reply::Addresses(ips(&["192.0.2.7"])),
        ("api.partner.example", _) => Reply::Addresses(Vec::new()),
        _ => Reply::NxDomain,
    })
    .await;
    let mesh = Mesh::synced(MESH);
    let resolver = mesh
        .builder()
        .with_upstream(Upstream::servers([server.address()]))
        .with_upstream_for_names(|name| name == "api.partner.example")
        .build()
        .unwrap();
    assert_eq!(resolve_by_all_means(&resolver, "api.partner.example").await, ips(&["192.0.2.7"]));
    assert_eq!(resolve_by_all_means(&resolver, FORECAST).await, ips(&["10.1.2.3", "2001:db8::3"]));
    assert!(mesh.names.load().get("api.partner.example").is_some(), "the table itself is unchanged");
}

/// The policy runs once per classification of a mesh name. Here it sends every name upstream.
#[tokio::test]
async fn a_name_that_is_sent_upstream_is_looked_up_in_the_table_once() {
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.7"]))).await;
    let (mesh, looks) = (Mesh::synced(MESH), Arc::new(AtomicUsize::new(0)));
    let counted = looks.clone();
    let resolver = mesh
        .builder()
        .with_upstream(Upstream::servers([server.address()]).with_search_domains(["corp.example"]))
        .with_upstream_for_names(move |_| counted.fetch_add(1, Relaxed) < usize::MAX)
        .build()
        .unwrap();
    let looks = || looks.swap(0, Relaxed);
    for name in ["api.partner.example", "API.partner.example.", "a.wildcard.example"] {
        assert_eq!(resolver.lookup_ip(name).await.unwrap().source(), &Source::Upstream);
        assert_eq!(looks(), 1, "{name}: lookup_ip");
        assert!(resolver.try_lookup(name).is_none() && resolver.try_lookup_ip(name).is_none());
        assert_eq!(looks(), 2, "{name}: try_lookup and try_lookup_ip");
    }
    let name = "api.partner.example.";
    let hickory = MeshProvider::new(resolver.clone()).into_resolver().unwrap();
    assert!(hickory.lookup(name, RecordType::A).await.is_ok());
    assert_eq!(looks(), 1, "hickory");
    let listener = DnsListener::builder(resolver).bind("127.0.0.1:0").start().unwrap();
    let by_dns =
        Resolver::builder_with_config(config_for(&listener).unwrap(), TokioRuntimeProvider::default());
    assert!(by_dns.build().unwrap().lookup(name, RecordType::A).await.is_ok());
    assert_eq!(looks(), 1, "the listener");
}

struct Loopback;

impl LocalAddresses for Loopback {
    fn address(&self, host: &str, _: Asker) -> Result<Option<IpAddr>, NoLocalAddress> {
        Ok(match host {
            FORECAST => "127.64.0.1".parse().ok(),
            "a.wildcard.example" => "127.64.0.2".parse().ok(),
            _ => None,
        })
    }
}

#[tokio::test]
async fn a_local_address_replaces_the_addresses_of_all_names_of_a_service() {
    let mesh = Mesh::synced(MESH);
    let resolver = mesh.builder().with_local_addresses(Loopback).build().unwrap();
    for name in [FORECAST, "forecast.weather", "forecast.weather.svc"] {
        assert_eq!(resolve_by_all_means(&resolver, name).await, ips(&["127.64.0.1"]));
    }
    assert_eq!(resolver.last_resolved("127.64.0.1".parse().unwrap()).as_deref(), Some(FORECAST));
    assert_eq!(resolve_by_all_means(&resolver, "a.wildcard.example").await, ips(&["127.64.0.2"]));
    assert_eq!(resolve_by_all_means(&resolver, "b.wildcard.example").await, ips(&["240.240.0.2"]));
    assert_eq!(resolve_by_all_means(&resolver, "api.partner.example").await, ips(&["240.240.0.1"]));
}

/// Serves one name to this process and to clients over UDP, and refuses all others.
struct Picky;

impl LocalAddresses for Picky {
    fn address(&self, host: &str, asker: Asker) -> Result<Option<IpAddr>, NoLocalAddress> {
        match (host, asker) {
            (FORECAST, Asker::ThisProcess | Asker::Udp { .. }) => Ok("127.64.0.1".parse().ok()),
            (FORECAST, _) => Err(NoLocalAddress::refused("another user")),
            _ => Err(NoLocalAddress::unavailable("port 80 is in use")),
        }
    }
}

/// Sends an A query over UDP or TCP, and returns the response.
async fn ask(listener: &DnsListener, name: &str, tcp: bool) -> Message {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    let (query, server) = (query.to_vec().unwrap(), listener.addresses()[0]);
    let mut answer = vec![0; 512];
    let len = if tcp {
        let mut stream = TcpStream::connect(server).await.unwrap();
        stream.write_u16(query.len().try_into().unwrap()).await.unwrap();
        stream.write_all(&query).await.unwrap();
        let len = stream.read_u16().await.unwrap().into();
        stream.read_exact(&mut answer[..len]).await.unwrap()
    } else {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&query, server).await.unwrap();
        socket.recv(&mut answer).await.unwrap()
    };
    Message::from_vec(&answer[..len]).unwrap()
}

#[tokio::test]
async fn a_mesh_name_without_a_loopback_address_fails_and_is_never_answered_from_elsewhere() {
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.7"]))).await;
    let mesh = Mesh::synced(MESH);
    let upstream = Upstream::servers([server.address()]).with_search_domains(["partner.example"]);
    let resolver = mesh.builder().with_upstream(upstream).with_local_addresses(Picky).build().unwrap();
    for name in ["api.partner.example", "b.wildcard.example", "api"] {
        let error = resolver.lookup_ip(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoLocalAddress, "{name}");
        assert!(error.report().ends_with("port 80 is in use"), "{}", error.report());
        assert!(resolver.try_lookup(name).is_none() && resolver.try_lookup_ip(name).is_none());
    }
    let hickory = MeshProvider::new(resolver.clone()).into_resolver().unwrap();
    assert!(hickory.lookup_ip("api.partner.example.").await.is_err());
    let found = resolver.lookup_ip(FORECAST).await.unwrap();
    assert_eq!(found.ttl(), Duration::ZERO, "the address must not be cached");
    let listener = DnsListener::builder(resolver).bind("127.0.0.1:0").start().unwrap();
    for tcp in [false, true] {
        let failed = ask(&listener, "api.partner.example.", tcp).await;
        assert_eq!((failed.response_code, failed.answers.len()), (ResponseCode::ServFail, 0));
    }
    let found = ask(&listener, FORECAST, false).await;
    assert_eq!(found.answers.iter().map(|record| record.ttl).collect::<Vec<_>>(), [0]);
    let refused = ask(&listener, FORECAST, true).await;
    assert_eq!((refused.response_code, refused.answers.len()), (ResponseCode::Refused, 0));
    assert_eq!(listener.stats().no_local_address, 3);
}

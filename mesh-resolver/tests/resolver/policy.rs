//! Tests of the answer policy, which replaces addresses of the name table.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use hickory_resolver::{Resolver, net::runtime::TokioRuntimeProvider, proto::rr::RecordType};
use mesh_resolver::{
    LocalAddresses, MeshResolver, Source, Upstream,
    hickory::{MeshProvider, config_for},
    listener::DnsListener,
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
    fn address(&self, host: &str) -> Option<IpAddr> {
        match host {
            FORECAST => "127.64.0.1".parse().ok(),
            "a.wildcard.example" => "127.64.0.2".parse().ok(),
            _ => None,
        }
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

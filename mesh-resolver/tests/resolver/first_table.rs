//! Lookups before istiod's first name table.

use std::{error::Error as _, io::Write as _, time::Duration};

use futures_util::poll;
use mesh_resolver::{ErrorKind, Source, Upstream};
use nds_client::Config;
use tokio::{pin, time::Instant};

use crate::{
    mesh::{FORECAST, Mesh},
    name_server::{NameServer, Reply, ips},
};

#[tokio::test(start_paused = true)]
async fn a_mesh_name_waits_for_the_first_table() {
    let mesh = Mesh::connecting();
    let resolver = mesh.resolver(Upstream::none());
    let lookup = resolver.lookup_ip(FORECAST);
    pin!(lookup);
    assert!(poll!(&mut lookup).is_pending());
    mesh.sync(&[(FORECAST, &["10.1.2.3"])]);
    assert_eq!(lookup.await.unwrap().addresses(), ips(&["10.1.2.3"]));
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_the_first_table_is_bounded_and_the_error_has_the_cause() {
    let mesh = Mesh::connecting();
    let cause = Config::from_vm_files("/nonexistent").unwrap_err();
    mesh.health(|health| health.stream = Some(cause.clone()));
    let limit = Duration::from_secs(7);
    let resolver = mesh.builder().with_first_table_timeout(limit).build().unwrap();
    let start = Instant::now();
    for name in [FORECAST, "forecast.weather.svc", "forecast.weather", "forecast"] {
        let error = resolver.lookup_ip(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotReady, "{name}");
        assert!(error.to_string().contains("istiod"), "{error}");
        assert_eq!(error.source().unwrap().to_string(), cause.to_string());
    }
    assert_eq!(start.elapsed(), 4 * limit);
}

#[tokio::test(start_paused = true)]
async fn with_a_zero_timeout_a_mesh_name_fails_immediately() {
    let resolver = Mesh::connecting().builder().with_first_table_timeout(Duration::ZERO).build().unwrap();
    let start = Instant::now();
    assert_eq!(resolver.lookup_ip(FORECAST).await.unwrap_err().kind(), ErrorKind::NotReady);
    assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lookup_does_not_wait_for_a_client_that_is_shut_down() {
    let mesh = Mesh::connecting();
    let resolver = mesh.resolver(Upstream::none());
    drop(mesh);
    let start = Instant::now();
    assert_eq!(resolver.lookup_ip(FORECAST).await.unwrap_err().kind(), ErrorKind::NotReady);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// This test uses the real clock, because it uses sockets. A lookup that waited for the table would take a minute.
#[tokio::test]
async fn a_name_that_upstream_dns_knows_does_not_wait() {
    let server = NameServer::start(|name, _| match name {
        "www.example.org" => Reply::Addresses(ips(&["192.0.2.1"])),
        _ => Reply::NxDomain,
    })
    .await;
    let mesh = Mesh::connecting();
    let upstream = Upstream::servers([server.address()]);
    let resolver = mesh
        .builder()
        .with_upstream(upstream)
        .with_first_table_timeout(Duration::from_secs(60))
        .build()
        .unwrap();
    let found = resolver.lookup_ip("www.example.org").await.unwrap();
    assert_eq!(found.source(), &Source::Upstream);
}

#[tokio::test]
async fn names_with_mesh_suffixes_are_not_sent_upstream() {
    let server = NameServer::start(|_, _| Reply::NxDomain).await;
    let mesh = Mesh::connecting();
    let upstream = Upstream::servers([server.address()]);
    let resolver =
        mesh.builder().with_upstream(upstream).with_first_table_timeout(Duration::ZERO).build().unwrap();
    for name in [FORECAST, "forecast.weather.svc", "a.b.svc.clusterset.local"] {
        assert_eq!(resolver.lookup_ip(name).await.unwrap_err().kind(), ErrorKind::NotReady);
    }
    assert!(server.asked().is_empty());
}

/// Upstream DNS knows names like those of services: `weather` may be a top-level domain, and an attacker may answer.
#[tokio::test]
async fn a_name_with_one_or_two_labels_is_the_service_although_upstream_dns_answers_first() {
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.66"]))).await;
    let mesh = Mesh::connecting();
    let search = Upstream::servers([server.address()]).with_search_domains(["corp.example"]);
    let resolver = mesh.resolver(search);
    let names = ["forecast.weather", "Forecast.Weather.", "db", "forecast.weather.corp.example"];
    let lookups = names.map(|name| {
        let resolver = resolver.clone();
        tokio::spawn(async move { resolver.lookup_ip(name).await })
    });
    let other = resolver.lookup_ip("www.example.org").await.unwrap();
    assert_eq!(other.source(), &Source::Upstream);
    assert_eq!(server.asked(), ["www.example.org"; 2], "for IPv4 and IPv6");
    mesh.sync(&[(FORECAST, &["10.1.2.3"]), ("db.vms.svc.cluster.local", &["10.1.2.4"])]);
    for (name, lookup) in names.into_iter().zip(lookups) {
        assert!(lookup.await.unwrap().unwrap().mesh_name().is_some(), "{name}");
    }
}

#[tokio::test]
async fn short_names_may_be_allowed_upstream_before_the_first_table() {
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.1"]))).await;
    let upstream = Upstream::servers([server.address()]).with_short_names_before_first_table(true);
    let resolver = Mesh::connecting().resolver(upstream);
    assert_eq!(resolver.lookup_ip("github.example").await.unwrap().source(), &Source::Upstream);
}

/// The client resolves istiod to receive the table, possibly through the DNS listener of this resolver.
#[tokio::test]
async fn the_name_of_istiod_does_not_wait_for_the_first_table() {
    const ISTIOD: &str = "istiod.istio-system.svc";
    let server = NameServer::start(|name, _| match name {
        ISTIOD => Reply::Addresses(ips(&["192.0.2.1"])),
        _ => Reply::NxDomain,
    })
    .await;
    let mesh = Mesh::connecting();
    let build = |upstream: Upstream| {
        let builder = mesh.builder().with_istiod_hosts([ISTIOD, "istiod"]).with_upstream(upstream);
        builder.with_first_table_timeout(Duration::from_secs(60)).build().unwrap()
    };
    let resolver = build(Upstream::servers([server.address()]));
    for name in [ISTIOD, "Istiod.istio-system.SVC."] {
        assert_eq!(resolver.lookup_ip(name).await.unwrap().addresses(), ips(&["192.0.2.1"]));
    }
    let error = resolver.lookup_ip("istiod").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameNotFound, "upstream DNS alone decides: {error}");
}

#[tokio::test]
async fn a_name_unknown_upstream_waits_for_the_first_table() {
    let server = NameServer::start(|_, _| Reply::NxDomain).await;
    let mesh = Mesh::connecting();
    let resolver = mesh.resolver(Upstream::servers([server.address()]));
    let lookup = async {
        let found = resolver.lookup_ip("mymongodb.some.domain").await.unwrap();
        assert_eq!(found.mesh_name(), Some("mymongodb.some.domain"));
    };
    let istiod = async {
        server.has_seen(|seen| seen.asked.len() == 2).await;
        mesh.sync(&[("mymongodb.some.domain", &["240.240.0.1"])]);
    };
    tokio::join!(lookup, istiod);
}

#[tokio::test]
async fn a_name_missing_from_the_first_table_and_upstream_is_unknown() {
    let server = NameServer::start(|_, _| Reply::NxDomain).await;
    let mesh = Mesh::connecting();
    let resolver = mesh.resolver(Upstream::servers([server.address()]));
    for name in ["www.example.org", "other.weather.svc.cluster.local"] {
        let lookup = async { resolver.lookup_ip(name).await.unwrap_err().kind() };
        let istiod = async { mesh.sync(&[(FORECAST, &["10.1.2.3"])]) };
        assert_eq!(tokio::join!(lookup, istiod).0, ErrorKind::NameNotFound);
    }
}

/// The search list also applies to the first table, although upstream DNS has already denied the completed names.
#[tokio::test(start_paused = true)]
async fn a_short_name_is_completed_after_the_first_table_arrives() {
    let mesh = Mesh::connecting();
    let resolver =
        mesh.resolver(Upstream::none().with_search_domains(["corp.example", "weather.svc.cluster.local"]));
    let lookup = resolver.lookup_ip("forecast");
    pin!(lookup);
    assert!(poll!(&mut lookup).is_pending());
    mesh.sync(&[(FORECAST, &["10.1.2.3"])]);
    assert_eq!(lookup.await.unwrap().mesh_name(), Some(FORECAST));
}

/// istioctl writes istiod's name, which is a mesh name, into the `hosts` file of a VM.
#[tokio::test(start_paused = true)]
async fn a_name_in_the_hosts_file_does_not_wait() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"192.0.2.1 istiod.istio-system.svc\n").unwrap();
    let resolver = Mesh::connecting().resolver(Upstream::none().with_hosts_file(file.path()));
    let found = resolver.lookup_ip("istiod.istio-system.svc").await.unwrap();
    assert_eq!(found.source(), &Source::HostsFile);
}

/// A table that arrives while a dead upstream server is queried answers the lookup.
#[tokio::test]
async fn a_dead_upstream_does_not_delay_the_first_table() {
    let server = NameServer::silent().await;
    let mesh = Mesh::connecting();
    let upstream = Upstream::servers([server.address()]).with_timeout(Duration::from_secs(60));
    let resolver = mesh.resolver(upstream);
    let lookup = resolver.lookup_ip("forecast.weather");
    pin!(lookup);
    assert!(poll!(&mut lookup).is_pending());
    mesh.sync(&[(FORECAST, &["10.1.2.3"])]);
    assert_eq!(lookup.await.unwrap().mesh_name(), Some(FORECAST));
}

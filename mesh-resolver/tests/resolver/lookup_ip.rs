//! Tests of `lookup_ip`: the order of the sources, and the contents of an answer.

use std::{io::Write as _, net::IpAddr, time::Duration};

use mesh_resolver::{ErrorKind, MatchKind, Source, Upstream};
use nds_client::health::SyncState;

use crate::{
    mesh::{FORECAST, Mesh},
    name_server::{NameServer, Reply, ips},
};

#[tokio::test]
async fn a_mesh_name_is_answered_from_the_table_for_each_kind_of_match() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"]), ("*.example.com", &["10.1.2.4"])]);
    let resolver = mesh.resolver(Upstream::none());
    for (name, canonical, expected) in [
        (FORECAST, FORECAST, MatchKind::Exact),
        ("Forecast.Weather", FORECAST, MatchKind::ShortName),
        ("forecast.weather.svc.", FORECAST, MatchKind::ShortName),
        ("www.example.com", "*.example.com", MatchKind::Wildcard),
    ] {
        let found = resolver.lookup_ip(name).await.unwrap();
        assert_eq!(found.canonical_name(), canonical);
        assert_eq!(found.mesh_name(), Some(canonical));
        assert_eq!(found.ttl(), Duration::from_secs(30));
        let Source::Mesh { match_kind, state, .. } = found.source() else { panic!("{:?}", found.source()) };
        assert_eq!((*match_kind, state), (expected, &SyncState::Synced));
    }
}

#[tokio::test]
async fn an_answer_contains_the_sync_state_of_the_table() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let resolver = mesh.resolver(Upstream::none());
    let stale = SyncState::Stale { since: std::time::SystemTime::UNIX_EPOCH };
    let from_disk = SyncState::FromDisk { age: Duration::from_secs(1) };
    for expected in [from_disk, SyncState::Synced, SyncState::Synced, stale.clone(), SyncState::Synced, stale]
    {
        mesh.health(|health| health.sync = expected.clone());
        for found in [resolver.lookup_ip(FORECAST).await.unwrap(), resolver.try_lookup_ip(FORECAST).unwrap()]
        {
            let Source::Mesh { state, .. } = found.source() else { panic!("{:?}", found.source()) };
            assert_eq!(state, &expected);
        }
    }
}

#[tokio::test]
async fn addresses_are_shuffled_within_their_family() {
    let all = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1", "2001:db8::2"];
    let mesh = Mesh::synced(&[(FORECAST, &all)]);
    let resolver = mesh.resolver(Upstream::none());
    let mut first = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let found = resolver.lookup_ip(FORECAST).await.unwrap();
        assert!(found.addresses()[..3].iter().all(IpAddr::is_ipv4), "IPv4 comes first");
        let mut sorted = found.addresses().to_vec();
        sorted.sort();
        assert_eq!(sorted, ips(&all));
        first.insert(found.addresses()[0]);
    }
    assert_eq!(first.len(), 3);
}

#[tokio::test]
async fn an_address_literal_resolves_to_itself_without_a_query() {
    let server = NameServer::silent().await;
    let resolver = Mesh::connecting().resolver(Upstream::servers([server.address()]));
    for (text, address) in [("192.0.2.1", "192.0.2.1"), ("::1", "::1"), ("[2001:db8::1]", "2001:db8::1")] {
        let found = resolver.lookup_ip(text).await.unwrap();
        assert_eq!(found.addresses(), ips(&[address]));
        assert_eq!((found.source(), found.ttl()), (&Source::Literal, Duration::MAX));
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_name_outside_the_mesh_is_resolved_upstream() {
    let server = NameServer::start(|name, _| match name {
        "www.example.org" => Reply::Addresses(ips(&["192.0.2.1", "2001:db8::1"])),
        "alias.example.org" => Reply::Alias("www.example.org.", ips(&["192.0.2.1"])),
        "nodata.example.org" => Reply::Addresses(Vec::new()),
        "broken.example.org" => Reply::ServFail,
        _ => Reply::NxDomain,
    })
    .await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let resolver = mesh.resolver(Upstream::servers([server.address()]).with_attempts(1));

    let found = resolver.lookup_ip("www.example.org").await.unwrap();
    assert_eq!(found.addresses(), ips(&["192.0.2.1", "2001:db8::1"]));
    assert_eq!((found.source(), found.mesh_name()), (&Source::Upstream, None));
    assert!(
        found.ttl() <= Duration::from_secs(60) && found.ttl() > Duration::from_secs(30),
        "{:?}",
        found.ttl()
    );

    let found = resolver.lookup_ip("Alias.example.org.").await.unwrap();
    assert_eq!(found.canonical_name(), "www.example.org");

    for (name, kind) in [
        ("nodata.example.org", ErrorKind::NoRecords),
        ("nobody.example.org", ErrorKind::NameNotFound),
        ("broken.example.org", ErrorKind::Upstream),
        ("other.weather.svc.cluster.local", ErrorKind::NameNotFound),
    ] {
        let error = resolver.lookup_ip(name).await.unwrap_err();
        assert_eq!((error.kind(), error.host()), (kind, name), "{}", error.report());
        assert!(error.to_string().starts_with(name), "{error}");
    }
}

#[tokio::test]
async fn an_invalid_host_name_is_rejected_without_a_query() {
    let server = NameServer::silent().await;
    let resolver = Mesh::synced(&[]).resolver(Upstream::servers([server.address()]));
    let error = resolver.lookup_ip("http://forecast").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName);
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn the_table_precedes_the_hosts_file_which_precedes_upstream_dns() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "192.0.2.7 {FORECAST} db.example.org # a comment\n2001:db8::7 db.example.org").unwrap();
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.99"]))).await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let resolver = mesh.resolver(Upstream::servers([server.address()]).with_hosts_file(file.path()));

    assert_eq!(resolver.lookup_ip(FORECAST).await.unwrap().addresses(), ips(&["10.1.2.3"]));
    let found = resolver.lookup_ip("DB.example.org").await.unwrap();
    assert_eq!(found.addresses(), ips(&["192.0.2.7", "2001:db8::7"]));
    assert_eq!((found.source(), found.canonical_name()), (&Source::HostsFile, "db.example.org"));
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn localhost_resolves_to_loopback_without_upstream_dns() {
    let resolver = Mesh::synced(&[]).resolver(Upstream::none());
    for name in ["localhost", "LocalHost.", "www.localhost"] {
        let found = resolver.lookup_ip(name).await.unwrap();
        assert_eq!(found.addresses(), ips(&["127.0.0.1", "::1"]), "{name}");
    }
}

#[tokio::test]
async fn try_lookup_finds_only_mesh_names() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3", "2001:db8::1"])]);
    let resolver = mesh.resolver(Upstream::none());
    let found = resolver.try_lookup("forecast.weather").unwrap();
    assert_eq!(
        (found.as_slice(), found.match_kind()),
        (&ips(&["10.1.2.3", "2001:db8::1"])[..], MatchKind::ShortName)
    );
    assert_eq!(found.into_iter().count(), 2);
    assert!(resolver.try_lookup("www.example.org").is_none());
    assert!(resolver.try_lookup("192.0.2.1").is_none());
    assert!(resolver.try_lookup("").is_none());
}

#[tokio::test]
async fn try_lookup_ip_returns_the_same_answer_as_lookup_ip_and_records_it() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let resolver = mesh.resolver(Upstream::none().with_search_domains(["weather.svc.cluster.local"]));
    resolver.try_lookup("forecast.weather").unwrap();
    assert_eq!(resolver.last_resolved("10.1.2.3".parse().unwrap()), None, "try_lookup records nothing");
    let found = resolver.try_lookup_ip("forecast.weather").unwrap();
    assert_eq!(found, resolver.lookup_ip("forecast.weather").await.unwrap());
    assert_eq!(resolver.last_resolved("10.1.2.3".parse().unwrap()).as_deref(), Some(FORECAST));
    for other in ["www.example.org", "192.0.2.1", "localhost", ""] {
        assert_eq!(resolver.try_lookup_ip(other), None);
    }
}

#[tokio::test]
async fn a_new_table_applies_immediately() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let resolver = mesh.resolver(Upstream::none());
    assert!(resolver.try_lookup("new.example").is_none());
    mesh.sync(&[("new.example", &["10.1.2.4"])]);
    assert!(resolver.try_lookup("new.example").is_some());
    assert_eq!(resolver.lookup_ip(FORECAST).await.unwrap_err().kind(), ErrorKind::NameNotFound);
}

#[tokio::test]
async fn a_name_is_mapped_to_its_canonical_name() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"]), ("db.vms.svc.cluster.local", &["10.1.2.4"])]);
    let search = ["weather.svc.cluster.local", "example.org"];
    let resolver = mesh.resolver(Upstream::none().with_search_domains(search));
    assert_eq!(resolver.canonical_name("forecast.weather").as_deref(), Some(FORECAST));
    assert_eq!(
        resolver.canonical_name("db").as_deref(),
        Some("db.vms.svc.cluster.local"),
        "in the own namespace"
    );
    assert_eq!(resolver.canonical_name("forecast").as_deref(), Some(FORECAST), "through the search list");
    assert_eq!(resolver.canonical_name("forecast."), None, "a name with a trailing dot is not completed");
    assert_eq!(resolver.canonical_name("www.example.org"), None);
}

#[tokio::test]
async fn an_address_maps_to_the_mesh_name_that_was_last_resolved_to_it() {
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["10.1.2.3"]))).await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"]), ("other.example", &["10.1.2.3", "10.1.2.4"])]);
    let resolver = mesh.resolver(Upstream::servers([server.address()]));
    let [one, two] = [0, 1].map(|at| ips(&["10.1.2.3", "10.1.2.4"])[at]);

    assert_eq!(resolver.last_resolved(one), None);
    resolver.lookup_ip("forecast.weather").await.unwrap();
    assert_eq!(resolver.last_resolved(one).as_deref(), Some(FORECAST));
    resolver.clone().lookup_ip("other.example").await.unwrap();
    assert_eq!(resolver.last_resolved(one).as_deref(), Some("other.example"));
    assert_eq!(resolver.last_resolved("::ffff:10.1.2.4".parse().unwrap()).as_deref(), Some("other.example"));

    resolver.lookup_ip("outside.example.org").await.unwrap();
    assert_eq!(resolver.last_resolved(one), None, "the address now belongs to a name outside the mesh");
    assert_eq!(resolver.last_resolved(two).as_deref(), Some("other.example"));
}

#[tokio::test]
async fn a_removed_name_remains_a_mesh_name() {
    let mesh = Mesh::connecting();
    mesh.sync_after(&[(FORECAST, &["10.1.2.3"]), ("ledger.payments.example", &["240.240.0.1"])]);
    let resolver = mesh.resolver(Upstream::none().with_search_domains(["payments.example"]));
    mesh.sync_after(&[("other.example", &["240.240.0.2"])]);
    for name in [
        FORECAST,
        "forecast.weather",
        "Ledger.payments.example.",
        "ledger",
        "other.example",
        "new.weather.svc",
    ] {
        assert!(resolver.is_mesh_name(name), "{name}");
    }
    for name in ["www.example.org", "192.0.2.1", "forecast", ""] {
        assert!(!resolver.is_mesh_name(name), "{name}");
    }
}

#[tokio::test]
async fn a_service_entry_with_the_short_name_of_a_service_is_shadowed() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"]), ("forecast.weather", &["240.240.0.1"])]);
    let resolver = mesh.resolver(Upstream::none());
    assert_eq!(resolver.lookup_ip("forecast.weather").await.unwrap().mesh_name(), Some(FORECAST));
    assert_eq!(resolver.try_lookup("forecast.weather").unwrap().as_slice(), ips(&["10.1.2.3"]));
    assert_eq!(resolver.canonical_name("forecast.weather").as_deref(), Some(FORECAST));
    assert_eq!(resolver.shadowed_name("forecast.weather").as_deref(), Some("forecast.weather"));
    assert_eq!(resolver.shadowed_name(FORECAST), None);
}

/// An administrator's comment in another encoding must not end the pins of the file.
#[tokio::test]
async fn a_hosts_file_with_a_byte_that_is_not_utf8_is_used() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"# der Rechner von M\xfcller\n10.9.8.7 www.example.org\n").unwrap();
    let resolver = Mesh::synced(&[]).resolver(Upstream::none().with_hosts_file(file.path()));
    let found = resolver.lookup_ip("www.example.org").await.unwrap();
    assert_eq!((found.addresses(), found.source()), (&ips(&["10.9.8.7"])[..], &Source::HostsFile));
}

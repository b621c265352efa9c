//! The time before istiod's first table.

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
async fn a_mesh_name_waits_for_the_first_table_and_is_then_answered() {
    let mesh = Mesh::connecting();
    let resolver = mesh.resolver(Upstream::none());
    let lookup = resolver.lookup_ip(FORECAST);
    pin!(lookup);
    assert!(poll!(&mut lookup).is_pending());
    mesh.sync(&[(FORECAST, &["10.1.2.3"])]);
    assert_eq!(lookup.await.unwrap().addresses(), ips(&["10.1.2.3"]));
}

#[tokio::test(start_paused = true)]
async fn a_mesh_name_waits_no_longer_than_set_and_the_error_says_why() {
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
async fn with_no_time_to_wait_a_mesh_name_fails_at_once() {
    let resolver = Mesh::connecting().builder().with_first_table_timeout(Duration::ZERO).build().unwrap();
    let start = Instant::now();
    assert_eq!(resolver.lookup_ip(FORECAST).await.unwrap_err().kind(), ErrorKind::NotReady);
    assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn when_the_client_is_gone_nobody_waits_for_it() {
    let mesh = Mesh::connecting();
    let resolver = mesh.resolver(Upstream::none());
    drop(mesh);
    let start = Instant::now();
    assert_eq!(resolver.lookup_ip(FORECAST).await.unwrap_err().kind(), ErrorKind::NotReady);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// On the real clock: there are sockets here, and whoever waits for the table would wait for a minute.
#[tokio::test]
async fn a_name_that_upstream_knows_does_not_wait() {
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
async fn only_the_meshs_own_suffixes_are_kept_from_upstream() {
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

#[tokio::test]
async fn a_name_that_upstream_does_not_know_may_be_the_meshs_and_waits() {
    let server = NameServer::start(|_, _| Reply::NxDomain).await;
    let mesh = Mesh::connecting();
    let resolver = mesh.resolver(Upstream::servers([server.address()]));
    let lookup = async {
        let found = resolver.lookup_ip("mymongodb.somedomain").await.unwrap();
        assert_eq!(found.mesh_name(), Some("mymongodb.somedomain"));
    };
    let istiod = async {
        server.has_seen(|seen| seen.asked.len() == 2).await;
        mesh.sync(&[("mymongodb.somedomain", &["240.240.0.1"])]);
    };
    tokio::join!(lookup, istiod);
}

#[tokio::test]
async fn a_name_that_the_first_table_does_not_have_either_is_unknown() {
    let server = NameServer::start(|_, _| Reply::NxDomain).await;
    let mesh = Mesh::connecting();
    let resolver = mesh.resolver(Upstream::servers([server.address()]));
    for name in ["www.example.org", "other.weather.svc.cluster.local"] {
        let lookup = async { resolver.lookup_ip(name).await.unwrap_err().kind() };
        let istiod = async { mesh.sync(&[(FORECAST, &["10.1.2.3"])]) };
        assert_eq!(tokio::join!(lookup, istiod).0, ErrorKind::NameNotFound);
    }
}

/// The search list counts for the first table too, although upstream has long denied the completed names.
#[tokio::test(start_paused = true)]
async fn a_short_name_is_completed_once_the_first_table_is_there() {
    let mesh = Mesh::connecting();
    let resolver = mesh.resolver(Upstream::none().with_search(["corp.example", "weather.svc.cluster.local"]));
    let lookup = resolver.lookup_ip("forecast");
    pin!(lookup);
    assert!(poll!(&mut lookup).is_pending());
    mesh.sync(&[(FORECAST, &["10.1.2.3"])]);
    assert_eq!(lookup.await.unwrap().mesh_name(), Some(FORECAST));
}

/// istioctl writes istiod's own name, a mesh name, into the `hosts` file of a VM.
#[tokio::test(start_paused = true)]
async fn a_name_in_the_hosts_file_does_not_wait() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"192.0.2.1 istiod.istio-system.svc\n").unwrap();
    let resolver = Mesh::connecting().resolver(Upstream::none().with_hosts_file(file.path()));
    let found = resolver.lookup_ip("istiod.istio-system.svc").await.unwrap();
    assert_eq!(found.source(), &Source::Hosts);
}

/// A table that comes while a dead upstream is being asked answers without it.
#[tokio::test]
async fn a_dead_upstream_does_not_hold_up_the_first_table() {
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

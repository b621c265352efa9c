//! Tests of hickory's resolver with the mesh provider.

use std::{net::IpAddr, time::Duration};

use futures_util::poll;
use hickory_resolver::{
    Resolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    lookup::Lookup,
    net::runtime::TokioRuntimeProvider,
    proto::rr::{RData, RecordType, rdata::TXT},
};
use mesh_resolver::{Upstream, hickory::MeshProvider};

use crate::{
    mesh::{FORECAST, Mesh},
    name_server::{NameServer, Reply, ips},
};

fn resolver(mesh: &Mesh, upstream: Upstream) -> Resolver<MeshProvider> {
    MeshProvider::new(mesh.resolver(upstream)).into_resolver().unwrap()
}

fn addresses(lookup: &Lookup) -> Vec<IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect()
}

/// Starts a server that knows one address, a TXT record for every name, and nothing else.
async fn upstream() -> NameServer {
    NameServer::start(|name, kind| match (name, kind) {
        (_, RecordType::TXT) => Reply::Records(vec![RData::TXT(TXT::new(vec!["upstream".into()]))]),
        ("www.example.org", _) => Reply::Addresses(ips(&["192.0.2.1"])),
        _ => Reply::NxDomain,
    })
    .await
}

#[tokio::test]
async fn hickory_resolves_mesh_names_and_upstream_names() {
    let server = upstream().await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let resolver = resolver(&mesh, Upstream::servers([server.address()]));
    for name in ["forecast.weather", "Forecast.Weather.svc.", FORECAST] {
        let found: Vec<_> = resolver.lookup_ip(name).await.unwrap().iter().collect();
        assert_eq!(found, ips(&["10.1.2.3"]), "{name}");
    }
    assert!(server.asked().is_empty());
    let found: Vec<_> = resolver.lookup_ip("www.example.org.").await.unwrap().iter().collect();
    assert_eq!(found, ips(&["192.0.2.1"]));
}

#[tokio::test]
async fn nodata_differs_from_nxdomain() {
    let server = upstream().await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let resolver = resolver(&mesh, Upstream::servers([server.address()]));
    let nodata = resolver.ipv6_lookup(format!("{FORECAST}.")).await.unwrap_err();
    assert!(nodata.is_no_records_found() && !nodata.is_nx_domain(), "{nodata:?}");
    assert!(server.asked().is_empty(), "NODATA comes from the name table");
    let no_name = resolver.ipv4_lookup("nobody.weather.svc.cluster.local.").await.unwrap_err();
    assert!(no_name.is_nx_domain(), "{no_name:?}");
    let nobody_upstream = self::resolver(&mesh, Upstream::none());
    assert!(nobody_upstream.ipv4_lookup("www.example.org.").await.unwrap_err().is_nx_domain());
}

/// `pkg/dns/client/dns.go:587-590`, `lookupHost`.
#[tokio::test]
async fn other_record_types_of_mesh_names_go_upstream() {
    let server = upstream().await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let resolver = resolver(&mesh, Upstream::servers([server.address()]));
    let found = resolver.txt_lookup(format!("{FORECAST}.")).await.unwrap();
    assert!(matches!(found.answers()[0].data, RData::TXT(_)));
    assert_eq!(server.asked(), [FORECAST]);
}

/// `pkg/dns/client/dns.go:573-580,608-617`, `lookupHost`.
#[tokio::test]
async fn a_name_completed_with_the_first_search_domain_has_a_cname_record() {
    let mesh = Mesh::synced(&[("www.example.com", &["10.1.2.3"]), ("*.wildcard", &["10.1.2.4"])]);
    let resolver = resolver(&mesh, Upstream::none().with_search_domains(["vms.svc.cluster.local"]));
    for (name, target) in [("www.example.com", "www.example.com."), ("foo.wildcard", "*.wildcard.")] {
        let found = resolver.ipv4_lookup(format!("{name}.vms.svc.cluster.local.")).await.unwrap();
        let [alias, address] = found.answers() else { panic!("{:?}", found.answers()) };
        assert_eq!(alias.name.to_ascii(), format!("{name}.vms.svc.cluster.local."));
        let RData::CNAME(stands_for) = &alias.data else { panic!("{alias:?}") };
        assert_eq!(stands_for.0.to_ascii(), target);
        assert_eq!(address.name.to_ascii(), target);
    }
}

#[tokio::test]
async fn a_change_of_the_name_table_is_visible_immediately() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let resolver = resolver(&mesh, Upstream::none());
    let ask = async || resolver.ipv4_lookup(format!("{FORECAST}.")).await.map(|found| addresses(&found));
    assert_eq!(ask().await.unwrap(), ips(&["10.1.2.3"]));
    mesh.sync(&[(FORECAST, &["10.1.2.4"])]);
    assert_eq!(ask().await.unwrap(), ips(&["10.1.2.4"]));
    mesh.sync(&[]);
    assert!(ask().await.unwrap_err().is_nx_domain());
    mesh.sync(&[(FORECAST, &["10.1.2.5"])]);
    assert_eq!(ask().await.unwrap(), ips(&["10.1.2.5"]), "a negative answer is not cached");
}

#[tokio::test]
async fn an_address_that_hickory_resolved_maps_to_its_name() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let mesh_resolver = mesh.resolver(Upstream::none());
    let hickory = MeshProvider::new(mesh_resolver.clone()).into_resolver().unwrap();
    hickory.lookup_ip("forecast.weather").await.unwrap();
    assert_eq!(mesh_resolver.last_resolved("10.1.2.3".parse().unwrap()).as_deref(), Some(FORECAST));
}

fn configured(server: &NameServer, connection: ConnectionConfig) -> ResolverConfig {
    let mut connection = connection;
    connection.port = server.address().port();
    ResolverConfig::from_name_servers(vec![NameServerConfig::new(
        server.address().ip(),
        true,
        vec![connection],
    )])
}

#[tokio::test]
async fn the_servers_of_hickorys_configuration_answer_other_names() {
    let server = upstream().await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    for connection in [ConnectionConfig::udp(), ConnectionConfig::tcp()] {
        let provider =
            MeshProvider::with_provider(mesh.resolver(Upstream::none()), TokioRuntimeProvider::default());
        let config = configured(&server, connection);
        let resolver: Resolver<MeshProvider> =
            Resolver::builder_with_config(config, provider).build().unwrap();
        assert!(resolver.lookup_ip("forecast.weather.").await.is_ok());
        let found: Vec<_> = resolver.lookup_ip("www.example.org.").await.unwrap().iter().collect();
        assert_eq!(found, ips(&["192.0.2.1"]));
    }
}

/// A server that is down must not delay mesh names.
#[tokio::test]
async fn mesh_names_need_no_upstream_connection() {
    let server = upstream().await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let config = configured(&server, ConnectionConfig::tcp());
    let provider =
        MeshProvider::with_provider(mesh.resolver(Upstream::none()), TokioRuntimeProvider::default());
    let resolver: Resolver<MeshProvider> = Resolver::builder_with_config(config, provider).build().unwrap();
    assert!(resolver.lookup_ip("forecast.weather.").await.is_ok());
    assert_eq!(server.connections(), 0);
    assert!(resolver.lookup_ip("www.example.org.").await.is_ok());
    assert!(server.connections() > 0);
    drop(server);
    for _ in 0..3 {
        assert!(resolver.lookup_ip("forecast.weather.").await.is_ok());
        assert!(resolver.lookup_ip("other.example.org.").await.is_err());
    }
}

#[tokio::test]
async fn before_the_first_table_an_upstream_name_with_one_family_does_not_wait() {
    let server = upstream().await;
    let limit = Duration::from_secs(60);
    let upstream = Upstream::servers([server.address()]);
    let mesh_resolver =
        Mesh::connecting().builder().with_upstream(upstream).with_first_table_timeout(limit).build().unwrap();
    let resolver = MeshProvider::new(mesh_resolver).into_resolver().unwrap();
    let found = tokio::time::timeout(limit / 2, resolver.lookup_ip("www.example.org.")).await;
    assert_eq!(found.unwrap().unwrap().iter().count(), 1);
}

#[tokio::test]
async fn before_the_first_table_a_name_unknown_upstream_waits_for_it() {
    let server = upstream().await;
    for name in [FORECAST, "forecast.weather."] {
        let mesh = Mesh::connecting();
        let resolver = resolver(&mesh, Upstream::servers([server.address()]));
        let lookup = resolver.ipv4_lookup(name);
        tokio::pin!(lookup);
        assert!(poll!(&mut lookup).is_pending());
        mesh.sync(&[(FORECAST, &["10.1.2.3"])]);
        assert_eq!(addresses(&lookup.await.unwrap()), ips(&["10.1.2.3"]), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_the_first_table_is_bounded_and_the_error_names_istiod() {
    let mesh = Mesh::connecting();
    let mesh_resolver = mesh.builder().with_first_table_timeout(Duration::from_secs(3)).build().unwrap();
    let resolver = MeshProvider::new(mesh_resolver).into_resolver().unwrap();
    let start = tokio::time::Instant::now();
    let error = resolver.ipv4_lookup(format!("{FORECAST}.")).await.unwrap_err();
    assert!(error.to_string().contains("istiod"), "{error}");
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

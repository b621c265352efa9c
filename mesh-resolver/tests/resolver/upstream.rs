//! Tests that upstream DNS behaves like the host's resolver.

use std::{
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

use mesh_resolver::{ErrorKind, Source, Upstream};
use tokio::runtime::Handle;

use crate::{
    mesh::{FORECAST, Mesh},
    name_server::{NameServer, Reply, ips},
};

const SHORT: Duration = Duration::from_millis(100);

/// Starts a server that knows one name.
async fn server_for(known: &'static str) -> NameServer {
    NameServer::start(move |name, _| match name == known {
        true => Reply::Addresses(ips(&["192.0.2.1"])),
        false => Reply::NxDomain,
    })
    .await
}

#[tokio::test]
async fn a_dead_upstream_does_not_affect_mesh_names() {
    let server = NameServer::silent().await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let resolver = mesh.resolver(Upstream::servers([server.address()]).with_timeout(SHORT).with_attempts(1));
    let (mesh_name, other) =
        tokio::join!(resolver.lookup_ip(FORECAST), resolver.lookup_ip("www.example.org"));
    assert_eq!(mesh_name.unwrap().addresses(), ips(&["10.1.2.3"]));
    let error = other.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.report());
    assert!(!server.asked().contains(&FORECAST.to_owned()));
}

#[tokio::test]
async fn without_a_usable_resolv_conf_only_mesh_names_resolve() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let missing = empty.path().with_extension("missing");
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    for file in [empty.path(), &missing] {
        let resolver = mesh.resolver(Upstream::resolv_conf(file));
        assert!(resolver.lookup_ip(FORECAST).await.is_ok());
        let error = resolver.lookup_ip("www.example.org").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.report().contains(&file.display().to_string()), "{}", error.report());
    }
}

/// `pkg/dns/client/dns.go:135-150`.
#[tokio::test]
async fn resolv_conf_provides_the_search_list_and_options() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text =
        "search corp.example. lan.example\nnameserver 192.0.2.53\noptions ndots:2 timeout:1 attempts:1\n";
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    let mesh = Mesh::synced(&[("db.lan.example", &["10.1.2.4"]), ("a.b.corp.example", &["10.1.2.5"])]);
    let resolver = mesh.resolver(Upstream::resolv_conf(file.path()));
    assert_eq!(resolver.search_scope().search_domain(), "corp.example");
    assert_eq!(resolver.canonical_name("a.b").as_deref(), Some("a.b.corp.example"), "fewer dots than ndots");
}

#[test]
fn building_a_resolver_with_an_empty_server_list_fails() {
    let error = Mesh::connecting().builder().with_upstream(Upstream::servers([])).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[test]
fn a_configured_hosts_file_must_exist() {
    let upstream = Upstream::none().with_hosts_file("/nonexistent/hosts");
    let error = Mesh::connecting().builder().with_upstream(upstream).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("/nonexistent/hosts"), "{error}");
}

/// resolv.conf(5): `ndots`, `search`.
#[tokio::test]
async fn a_name_with_fewer_dots_than_ndots_is_completed_first() {
    let server = server_for("db.lan.example").await;
    let upstream =
        Upstream::servers([server.address()]).with_search_domains(["corp.example", "lan.example."]);
    let resolver = Mesh::synced(&[]).resolver(upstream);
    let found = resolver.lookup_ip("db").await.unwrap();
    assert_eq!(found.canonical_name(), "db.lan.example");
    assert_eq!(in_order(&server), ["db.corp.example", "db.lan.example"]);

    assert!(resolver.lookup_ip("a.b").await.is_err());
    assert_eq!(in_order(&server)[2..], ["a.b", "a.b.corp.example", "a.b.lan.example"]);

    assert!(resolver.lookup_ip("db.").await.is_err());
    assert_eq!(in_order(&server)[5..], ["db"]);
}

/// Returns the queried names without repetitions, because both families are queried.
fn in_order(server: &NameServer) -> Vec<String> {
    let mut asked = server.asked();
    asked.dedup();
    asked
}

#[tokio::test]
async fn a_completed_name_is_looked_up_in_the_mesh_before_upstream() {
    let server = server_for("forecast").await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let search = ["corp.example", "weather.svc.cluster.local"];
    let resolver = mesh.resolver(Upstream::servers([server.address()]).with_search_domains(search));
    let found = resolver.lookup_ip("forecast").await.unwrap();
    assert_eq!(found.mesh_name(), Some(FORECAST));
    assert_eq!(
        in_order(&server),
        ["forecast.corp.example"],
        "earlier domains of the search list go upstream"
    );
}

#[tokio::test]
async fn nodata_for_one_completed_name_outweighs_nxdomain_for_others() {
    let server = NameServer::start(|name, _| match name {
        "a.b" => Reply::Addresses(Vec::new()),
        _ => Reply::NxDomain,
    })
    .await;
    let upstream = Upstream::servers([server.address()]).with_search_domains(["corp.example"]);
    let resolver = Mesh::synced(&[]).resolver(upstream);
    assert_eq!(resolver.lookup_ip("a.b").await.unwrap_err().kind(), ErrorKind::NoRecords);
}

/// `pkg/dns/client/dns.go:425-435`, `453-498`: the agent queries servers in random order, or all simultaneously. Here
/// one server sees each name.
#[tokio::test]
async fn servers_are_queried_in_order_until_one_succeeds() {
    let failing = NameServer::start(|_, _| Reply::ServFail).await;
    let (good, idle) = (server_for("www.example.org").await, server_for("www.example.org").await);
    let servers = [&failing, &good, &idle].map(NameServer::address);
    let resolver = Mesh::synced(&[]).resolver(Upstream::servers(servers));
    assert_eq!(resolver.lookup_ip("www.example.org").await.unwrap().source(), &Source::Upstream);
    assert_eq!(in_order(&failing), ["www.example.org"]);
    assert_eq!(in_order(&good), ["www.example.org"]);
    assert!(idle.asked().is_empty());
}

#[tokio::test]
async fn an_unresponsive_server_is_followed_by_the_next_one() {
    let (silent, good) = (NameServer::silent().await, server_for("www.example.org").await);
    let servers = [&silent, &good].map(NameServer::address);
    let resolver = Mesh::synced(&[]).resolver(Upstream::servers(servers).with_timeout(SHORT));
    assert!(resolver.lookup_ip("www.example.org").await.is_ok());
}

/// `pkg/dns/client/dns.go:425-435`: the agent accepts any response. Here SERVFAIL, NOTIMP and REFUSED lead to the
/// next server.
#[tokio::test]
async fn after_a_negative_answer_the_next_server_is_not_queried() {
    let (first, second) = (server_for("nothing").await, server_for("www.example.org").await);
    let servers = [&first, &second].map(NameServer::address);
    let resolver = Mesh::synced(&[]).resolver(Upstream::servers(servers));
    assert_eq!(resolver.lookup_ip("www.example.org").await.unwrap_err().kind(), ErrorKind::NameNotFound);
    assert!(second.asked().is_empty());
}

#[tokio::test]
async fn an_answer_too_long_for_udp_is_queried_over_tcp() {
    let many: Vec<_> = (1..=200).map(|last| format!("192.0.2.{last}").parse().unwrap()).collect();
    let expected = many.len();
    let server = NameServer::start(move |_, _| Reply::TcpOnly(many.clone())).await;
    let resolver = Mesh::synced(&[]).resolver(Upstream::servers([server.address()]));
    assert_eq!(resolver.lookup_ip("giant.example.org").await.unwrap().addresses().len(), expected);
    assert!(server.connections() > 0);
}

#[tokio::test]
async fn answers_are_cached_for_their_ttl() {
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.1", "2001:db8::1"]))).await;
    let resolver = Mesh::synced(&[]).resolver(Upstream::servers([server.address()]));
    resolver.lookup_ip("www.example.org").await.unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 2, "once for each family");
    resolver.lookup_ip("www.example.org").await.unwrap();
    assert_eq!(server.asked(), asked);
}

#[tokio::test]
async fn without_upstream_dns_other_names_are_unknown() {
    let resolver = Mesh::synced(&[]).resolver(Upstream::none());
    assert_eq!(resolver.lookup_ip("www.example.org").await.unwrap_err().kind(), ErrorKind::NameNotFound);
}

#[tokio::test]
async fn building_a_resolver_sends_no_query() {
    let server = NameServer::silent().await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    let _resolver = Mesh::synced(&[]).resolver(Upstream::servers([server.address(), unroutable()]));
    assert_eq!(Handle::current().metrics().num_alive_tasks(), tasks);
    assert!(server.asked().is_empty());
}

fn unroutable() -> SocketAddr {
    "192.0.2.53:53".parse().unwrap()
}

/// resolv.conf(5): `options rotate`.
#[tokio::test]
async fn with_rotation_each_query_starts_with_the_next_server() {
    let (first, second) = (server_for("www.example.org").await, server_for("www.example.org").await);
    let servers = [&first, &second].map(NameServer::address);
    let upstream = Upstream::servers(servers).with_rotation(true);
    let resolver = Mesh::synced(&[]).resolver(upstream);
    for name in ["a.example", "b.example", "c.example", "d.example"] {
        assert!(resolver.lookup_ip(name).await.is_err());
    }
    assert_eq!((first.asked().len(), second.asked().len()), (4, 4), "both families of each name");
}

#[tokio::test]
async fn a_server_may_have_an_ipv6_address() {
    let server = NameServer::start_at(Ipv6Addr::LOCALHOST.into(), |_, _| {
        Reply::Addresses(ips(&["192.0.2.1", "2001:db8::1"]))
    })
    .await;
    let resolver = Mesh::synced(&[]).resolver(Upstream::servers([server.address()]));
    let found = resolver.lookup_ip("www.example.org").await.unwrap();
    assert_eq!(found.addresses(), ips(&["192.0.2.1", "2001:db8::1"]));
}

/// `getaddrinfo` accepts number formats that no DNS server resolves.
#[tokio::test]
async fn getaddrinfo_is_the_last_source_and_only_used_if_enabled() {
    let server = server_for("www.example.org").await;
    let upstream = || Upstream::servers([server.address()]);
    let resolver = Mesh::synced(&[]).resolver(upstream().with_getaddrinfo(true));
    let found = resolver.lookup_ip("127.1").await.unwrap();
    assert_eq!((found.addresses(), found.source()), (&ips(&["127.0.0.1"])[..], &Source::GetAddrInfo));
    assert_eq!(in_order(&server), ["127.1"], "DNS comes first");
    let silent = NameServer::silent().await;
    let dead = Upstream::servers([silent.address()]).with_timeout(SHORT).with_getaddrinfo(true);
    let resolver = Mesh::synced(&[]).resolver(dead);
    assert!(resolver.lookup_ip("127.1").await.is_ok(), "also if DNS does not answer");
    let resolver = Mesh::synced(&[]).resolver(upstream());
    assert_eq!(resolver.lookup_ip("127.1").await.unwrap_err().kind(), ErrorKind::NameNotFound);
}

#[tokio::test]
async fn an_internationalised_name_is_looked_up_in_its_ascii_form() {
    let server = server_for("xn--bcher-kva.example.org").await;
    let mesh = Mesh::synced(&[("xn--bcher-kva.example", &["10.1.2.3"])]);
    let resolver = mesh.resolver(Upstream::servers([server.address()]));
    assert_eq!(resolver.lookup_ip("Bücher.example").await.unwrap().addresses(), ips(&["10.1.2.3"]));
    assert_eq!(resolver.try_lookup("bücher.example").unwrap().as_slice(), ips(&["10.1.2.3"]));
    assert_eq!(resolver.lookup_ip("bücher.example.org").await.unwrap().source(), &Source::Upstream);
    let error = resolver.lookup_ip("bücher.example.com").await.unwrap_err();
    assert_eq!(error.host(), "bücher.example.com", "as it was passed");
}

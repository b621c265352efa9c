//! Tests of the configuration of the DNS proxy.

use std::fs;

use mesh_resolver::listener::DEFAULT_ADDRESS;

use super::*;

/// `pkg/dns/client/dns.go:178-204`. The default address is 127.0.0.1, for any family of the upstream servers; `[::1]`
/// must be added.
#[tokio::test]
async fn the_default_address_is_that_of_the_agent() {
    assert_eq!(DEFAULT_ADDRESS, "127.0.0.1:15053".parse().unwrap());
    let listener = start(Mesh::synced(&[(FORECAST, &["10.1.2.3"])]).resolver(Upstream::none()));
    let answer = both(&listener, "forecast.weather.", A).await;
    assert_eq!(said(&answer), [("forecast.weather.".to_owned(), "10.1.2.3".to_owned())]);
    assert_eq!(listener.addresses().len(), 1, "one address for UDP and TCP");
}

/// `pkg/dns/client/dns.go:135-150`: names match with the first search domain of the file. The agent prefers
/// `/var/lib/istio/resolv.conf` as root on port 53; here the caller chooses the file.
#[tokio::test]
async fn the_search_domain_comes_from_the_configured_resolv_conf() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("resolv.conf");
    fs::write(&file, "nameserver 192.0.2.1\nsearch corp.example ns1.svc.cluster.local\n").unwrap();
    let mesh = Mesh::synced(&[("www.google.com", &["1.1.1.1"])]);
    let listener = start(mesh.resolver(Upstream::resolv_conf(&file)));
    let answer = both(&listener, "www.google.com.corp.example.", A).await;
    assert!(answer.metadata.authoritative);
    assert_eq!(addresses(&answer), ["1.1.1.1"]);
}

/// `pkg/dns/client/dns.go:135-150`: like the agent on port 53, but on any port.
#[tokio::test]
async fn before_the_first_table_other_names_go_upstream() {
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.1"]))).await;
    let listener = start(Mesh::connecting().resolver(Upstream::servers([server.address()])));
    assert_eq!(addresses(&ask(&listener, "www.bing.com.", A).await), ["192.0.2.1"]);
}

/// `pkg/dns/client/dns.go:124-133`: the domain of the services is the proxy domain without its namespace.
#[tokio::test]
async fn services_in_the_proxy_domain_without_the_namespace_have_short_names() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    for domain in ["vms.svc.cluster.local", "svc.cluster.local"] {
        let scope = SearchScope::new("vms", domain);
        let builder = MeshResolver::builder(mesh.names.subscribe(), mesh.health.subscribe(), scope);
        let listener = start(builder.with_upstream(Upstream::none()).build().unwrap());
        let answer = both(&listener, "forecast.weather.", A).await;
        assert_eq!(said(&answer), [("forecast.weather.".to_owned(), "10.1.2.3".to_owned())]);
    }
}

/// `pkg/dns/client/dns.go:425-435`: the agent shuffles its servers. Here they are queried in order, and the first one
/// that answers is the only one that sees the query.
#[tokio::test]
async fn only_the_first_server_that_answers_sees_a_query() {
    let knowing = || NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.1"])));
    let (first, second) = (knowing().await, knowing().await);
    let servers = [&first, &second].map(NameServer::address);
    let listener = start(Mesh::synced(&[]).resolver(Upstream::servers(servers)));
    for number in 0..20 {
        ask(&listener, &format!("n{number}.example.org."), A).await;
    }
    assert_eq!((first.asked().len(), second.asked().len()), (20, 0));
}

/// `pkg/dns/client/dns.go:453-498` (`DNS_FORWARD_PARALLEL`), which is not supported: a failure leads to the next
/// server, and the answer is SERVFAIL if all servers fail.
#[tokio::test]
async fn a_query_is_answered_unless_all_servers_fail() {
    let good = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.1"]))).await;
    let failing = NameServer::start(|_, _| Reply::ServFail).await;
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let answered = async |servers: &[SocketAddr]| {
        let upstream = Upstream::servers(servers.iter().copied());
        ask(&start(Mesh::synced(&[]).resolver(upstream)), "www.bing.com.", A).await
    };
    let found = answered(&[closed, failing.address(), good.address()]).await;
    assert_eq!(addresses(&found), ["192.0.2.1"]);
    for dead in [&[closed][..], &[failing.address(), closed]] {
        assert_eq!(code(&answered(dead).await), ResponseCode::ServFail);
    }
}

//! Tests of the queries that the listener forwards.

use std::{io::Write as _, time::Duration};

use hickory_resolver::proto::{
    op::Edns,
    rr::{RData, rdata::TXT},
};

use super::*;
use crate::name_server::{NameServer, Reply, ips};

const SHORT: Duration = Duration::from_millis(100);

async fn server_for(known: &'static str) -> NameServer {
    NameServer::start(move |name, kind| match (name == known, kind) {
        (true, RecordType::TXT) => Reply::Records(vec![RData::TXT(TXT::new(vec!["v=spf1 -all".into()]))]),
        (true, _) => Reply::Addresses(ips(&["192.0.2.1"])),
        (false, _) => Reply::NxDomain,
    })
    .await
}

#[tokio::test]
async fn a_name_outside_the_mesh_is_answered_by_upstream_dns() {
    let server = server_for("www.example.org").await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let listener = start(mesh.resolver(Upstream::servers([server.address()])));
    let found = ask(&listener, "www.example.org.", RecordType::A).await;
    assert_eq!(addresses(&found), ["192.0.2.1"]);
    assert!(!found.metadata.authoritative);
    let unknown = ask(&listener, "www.example.com.", RecordType::A).await;
    assert_eq!(code(&unknown), ResponseCode::NXDomain);
    ask(&listener, FORECAST, RecordType::A).await;
    assert_eq!(server.asked(), ["www.example.org", "www.example.com"]);
    assert_eq!((listener.stats().mesh, listener.stats().forwarded), (1, 2));
}

/// `pkg/dns/client/dns.go:587-590`.
#[tokio::test]
async fn other_record_types_of_a_mesh_name_go_upstream() {
    let server = server_for(FORECAST).await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let listener = start(mesh.resolver(Upstream::servers([server.address()])));
    let found = ask(&listener, FORECAST, RecordType::TXT).await;
    assert_eq!(found.answers[0].record_type(), RecordType::TXT);
    let alone = start(mesh.resolver(Upstream::none()));
    let found = ask(&alone, FORECAST, RecordType::TXT).await;
    assert_eq!((code(&found), found.answers.len()), (ResponseCode::NoError, 0), "the name exists");
    assert_eq!(code(&ask(&alone, "www.example.org.", RecordType::TXT).await), ResponseCode::NXDomain);
}

/// `pkg/dns/client/dns.go:425-435`, `453-498`. Unlike here, the agent accepts any response. Both return SERVFAIL if
/// no server answers.
#[tokio::test]
async fn a_failing_server_is_followed_by_the_next_one() {
    let (silent, failing) = (NameServer::silent().await, NameServer::start(|_, _| Reply::ServFail).await);
    let good = server_for("www.example.org").await;
    let mesh = Mesh::synced(&[]);
    let servers = |servers: &[&NameServer]| {
        let upstream = Upstream::servers(servers.iter().map(|server| server.address()));
        mesh.resolver(upstream.with_timeout(SHORT).with_attempts(1))
    };
    let listener = start(servers(&[&silent, &failing, &good]));
    assert_eq!(addresses(&ask(&listener, "www.example.org.", RecordType::A).await), ["192.0.2.1"]);
    for dead in [&[&silent][..], &[&failing, &silent]] {
        let answer = ask(&start(servers(dead)), "www.example.org.", RecordType::A).await;
        assert_eq!(code(&answer), ResponseCode::ServFail);
        assert_eq!(answer.queries.len(), 1);
    }
}

/// `pkg/dns/client/proxy.go:35-47`: the upstream query uses the transport of the client.
#[tokio::test]
async fn an_upstream_answer_too_long_for_udp_is_available_over_tcp() {
    let many: Vec<_> = (1..=200).map(|last| format!("192.0.2.{last}").parse().unwrap()).collect();
    let server = NameServer::start(move |_, _| Reply::TcpOnly(many.clone())).await;
    let listener = start(Mesh::synced(&[]).resolver(Upstream::servers([server.address()])));
    let asked = question("giant.example.org.", RecordType::A);
    let cut = ask_with(&listener, &asked).await;
    assert!(cut.metadata.truncation && cut.answers.is_empty(), "as upstream sent it");
    let mut stream = TcpStream::connect(listener.addresses()[0]).await.unwrap();
    write(&mut stream, &asked).await;
    assert_eq!(read(&mut stream).await.answers.len(), 200);
    assert_eq!(server.connections(), 1);
}

/// `pkg/dns/client/dns.go:258-267`, `332-336,708-730`. The agent fails where this listener truncates.
#[tokio::test]
async fn an_answer_larger_than_the_client_accepts_is_truncated() {
    let many: Vec<_> = (1..=64).map(|last| format!("240.0.0.{last}").parse().unwrap()).collect();
    let server = NameServer::start(move |_, _| Reply::Addresses(many.clone())).await;
    let listener = start(Mesh::synced(&[]).resolver(Upstream::servers([server.address()])));
    let mut asked = question("giant.", RecordType::A);
    assert!(ask_with(&listener, &asked).await.metadata.truncation);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    asked.set_edns(edns);
    assert_eq!(ask_with(&listener, &asked).await.answers.len(), 64);
}

#[tokio::test]
async fn without_upstream_dns_other_names_are_answered_with_servfail() {
    let missing = tempfile::tempdir().unwrap();
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let listener = start(mesh.resolver(Upstream::resolv_conf(missing.path().join("resolv.conf"))));
    assert_eq!(code(&ask(&listener, "www.example.org.", RecordType::A).await), ResponseCode::ServFail);
    assert_eq!(addresses(&ask(&listener, FORECAST, RecordType::A).await), ["10.1.2.3"]);
}

/// The resolv.conf of a host may name the listener, so that other programs use it.
#[tokio::test]
async fn a_listener_that_is_its_own_upstream_does_not_ask_itself() {
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let own = udp.local_addr().unwrap();
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let alone = DnsListener::builder(mesh.resolver(Upstream::servers([own])));
    let listener = alone.with_udp_socket(udp.try_clone().unwrap()).start().unwrap();
    assert_eq!(code(&ask(&listener, "www.example.org.", RecordType::A).await), ResponseCode::ServFail);
    assert_eq!(listener.stats().forwarded, 1, "the query did not return");
    drop(listener);
    let server = server_for("www.example.org").await;
    let both = DnsListener::builder(mesh.resolver(Upstream::servers([own, server.address()])));
    let listener = both.with_udp_socket(udp).start().unwrap();
    assert_eq!(addresses(&ask(&listener, "www.example.org.", RecordType::A).await), ["192.0.2.1"]);
}

/// `pkg/dns/client/dns.go:290-303`. The agent fails immediately and queries upstream DNS only on port 53.
#[tokio::test]
async fn before_the_first_table_mesh_names_wait_and_others_do_not() {
    let server = server_for("www.example.org").await;
    let mesh = Mesh::connecting();
    let resolver = mesh.builder().with_upstream(Upstream::servers([server.address()]));
    let listener = start(resolver.with_first_table_timeout(Duration::from_secs(60)).build().unwrap());
    let forecast = ask(&listener, FORECAST, RecordType::A);
    tokio::pin!(forecast);
    let other = async {
        let found = ask(&listener, "www.example.org.", RecordType::A).await;
        assert_eq!(addresses(&found), ["192.0.2.1"]);
        mesh.sync(&[(FORECAST, &["10.1.2.3"])]);
    };
    let (found, ()) = tokio::join!(forecast, other);
    assert_eq!(addresses(&found), ["10.1.2.3"]);
    assert_eq!(server.asked(), ["www.example.org"]);
}

/// `pkg/dns/client/dns.go:290-303`.
#[tokio::test]
async fn without_a_table_in_time_a_mesh_name_is_answered_with_servfail() {
    let resolver = Mesh::connecting().builder().with_first_table_timeout(Duration::ZERO).build().unwrap();
    let listener = start(resolver);
    assert_eq!(code(&ask(&listener, FORECAST, RecordType::A).await), ResponseCode::ServFail);
}

#[tokio::test]
async fn upstream_servers_come_from_resolv_conf() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    // No server listens on this address. The response is a failure, not NXDOMAIN.
    file.write_all(b"nameserver 127.0.0.99\noptions timeout:1 attempts:1\n").unwrap();
    let listener = start(Mesh::synced(&[]).resolver(Upstream::resolv_conf(file.path())));
    assert_eq!(code(&ask(&listener, "www.example.org.", RecordType::A).await), ResponseCode::ServFail);
}

/// The agent caches nothing (`pkg/dns/client/dns.go:258-267`).
#[tokio::test]
async fn a_cached_answer_has_the_id_and_spelling_of_each_query() {
    let server = server_for("www.example.org").await;
    let listener = start(Mesh::synced(&[]).resolver(Upstream::servers([server.address()])));
    for name in ["www.example.org.", "WWW.Example.Org.", "www.EXAMPLE.org."] {
        let found = ask(&listener, name, RecordType::A).await;
        assert_eq!(addresses(&found), ["192.0.2.1"]);
        assert_eq!(found.queries[0].name().to_ascii(), name);
    }
    assert_eq!(server.asked(), ["www.example.org"]);
    // A query with other EDNS parameters may have another answer.
    let mut secure = question("www.example.org.", RecordType::A);
    secure.set_edns(Edns::new());
    ask_with(&listener, &secure).await;
    secure.edns.as_mut().unwrap().set_dnssec_ok(true);
    ask_with(&listener, &secure).await;
    assert_eq!(server.asked().len(), 3);
}

/// Starts a DNS server that forwards each query to an address that is set later, like another forwarder on the host.
async fn mirror() -> (SocketAddr, oneshot::Sender<SocketAddr>, tokio::task::JoinSet<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (set_target, target) = oneshot::channel();
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move {
        let target: SocketAddr = target.await.unwrap();
        let mut packet = [0; 4096];
        while let Ok((len, _)) = socket.recv_from(&mut packet).await {
            let _ = socket.send_to(&packet[..len], target).await;
        }
    });
    (address, set_target, task)
}

/// The listener cannot detect this loop by the server addresses. Each query still passes through the loop only once.
#[tokio::test]
async fn a_query_that_returns_through_another_server_is_not_sent_again() {
    let (address, set_target, _task) = mirror().await;
    let upstream = Upstream::servers([address]).with_timeout(SHORT).with_attempts(1);
    let listener = start(Mesh::synced(&[]).resolver(upstream));
    set_target.send(listener.addresses()[0]).unwrap();
    assert_eq!(code(&ask(&listener, "www.example.org.", RecordType::A).await), ResponseCode::ServFail);
    assert_eq!(listener.stats().forwarded, 2, "the query and its return");
}

/// A program may run the listener that its own resolv.conf names.
#[tokio::test]
async fn lookups_of_the_same_program_do_not_query_the_listener() {
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let own = udp.local_addr().unwrap();
    let server = server_for("www.example.org").await;
    let resolver = Mesh::synced(&[]).resolver(Upstream::servers([own, server.address()]));
    let listener = DnsListener::builder(resolver.clone()).with_udp_socket(udp).start().unwrap();
    assert!(resolver.lookup_ip("www.example.org").await.is_ok());
    assert_eq!(listener.stats().forwarded, 0);
}

//! The cases of the tests of Istio's DNS proxy (`pkg/dns/client/dns_test.go:139-343`), over the same fixture
//! (607-672) and with the same upstream answers (498-592), over UDP and TCP.
//!
//! A case whose result differs from the agent explains the difference. The module `setup` covers the configuration.

mod setup;

use std::collections::BTreeSet;

use hickory_resolver::proto::{
    op::Edns,
    rr::{RData, RecordType::A, RecordType::AAAA},
};
use mesh_resolver::SearchScope;
use nds_client::{
    health::{Health, SyncState},
    resources::name_table::NameTable,
    watch::WatchSender,
};
use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

use super::*;
use crate::name_server::{NameServer, Reply, ips};

/// `fillTable`, 607-672.
fn table() -> NameTable {
    let entry = |name: &str, ips: &[&str], service: Option<(&str, &str)>, alternates: &[&str]| {
        let (shortname, namespace) = service.unwrap_or_default();
        let info = NameInfo {
            ips: ips.iter().map(ToString::to_string).collect(),
            registry: if service.is_some() { "Kubernetes" } else { "External" }.into(),
            shortname: shortname.into(),
            namespace: namespace.into(),
            alt_hosts: alternates.iter().map(ToString::to_string).collect(),
        };
        (name.to_owned(), info)
    };
    let details = ["11.11.11.11", "12.12.12.12", "13.13.13.13", "14.14.14.14"];
    let v6 = "2001:db8::ff00:42:8329";
    let table = [
        entry("www.google.com", &["1.1.1.1"], None, &[]),
        entry("productpage.ns1.svc.cluster.local", &["9.9.9.9"], Some(("productpage", "ns1")), &[]),
        entry("example.ns2.svc.cluster.local", &["10.10.10.10"], Some(("example", "ns2")), &[]),
        entry("details.ns2.svc.cluster.remote", &details, Some(("details", "ns2")), &[]),
        entry(
            "svc-with-alt.ns1.svc.cluster.local",
            &["15.15.15.15"],
            Some(("svc-with-alt", "ns1")),
            &["svc-with-alt.ns1.svc.clusterset.local"],
        ),
        entry("ipv6.localhost", &[v6], None, &[]),
        entry("dual.localhost", &["2.2.2.2", v6], None, &[]),
        entry("ipv4.localhost", &["2.2.2.2"], None, &[]),
        entry("*.b.wildcard", &["11.11.11.11"], None, &[]),
        entry("*.wildcard", &["10.10.10.10"], None, &[]),
        entry("*.svc.mesh.company.net", &["10.1.2.3"], None, &[]),
        entry("example.localhost.", &["3.3.3.3"], None, &[]),
    ];
    NameTable::decode(&Wire { table: table.into() }.encode_to_vec()).unwrap()
}

/// The owner of the addresses of the two large answers, for any query.
const GIANT: &str = "aaaaaaaaaaaa.aaaaaa.";

/// Starts the proxy of `initDNS`, 594-605, and its upstream server, which knows `www.bing.com` and two large answers.
async fn proxy() -> (NameServer, DnsListener) {
    let giant: Vec<_> = (0..64).map(|last| format!("240.0.0.{last}").parse().unwrap()).collect();
    let server = NameServer::start(move |name, _| match name {
        "www.bing.com" => Reply::Addresses(ips(&["1.1.1.1"])),
        "giant" => Reply::Addresses(giant.clone()),
        "giant-tc" => Reply::Truncated(GIANT, giant.clone()),
        _ => Reply::NxDomain,
    })
    .await;
    let mut health = Health::default();
    health.sync = SyncState::Synced;
    let (names, health) = (WatchSender::new(table()), WatchSender::new(health));
    let upstream = Upstream::servers([server.address()]);
    let search = ["ns1.svc.cluster.local", "svc.cluster.local", "cluster.local"];
    let scope = SearchScope::new("ns1", "ns1.svc.cluster.local");
    let builder = MeshResolver::builder(names.subscribe(), health.subscribe(), scope);
    let resolver = builder.with_upstream(upstream.with_search_domains(search)).build().unwrap();
    (server, start(resolver))
}

/// Queries over UDP and TCP and checks that the responses are equal.
async fn both(listener: &DnsListener, name: &str, kind: RecordType) -> Message {
    let asked = question(name, kind);
    let udp = ask_with(listener, &asked).await;
    let mut stream = TcpStream::connect(listener.addresses()[0]).await.unwrap();
    write(&mut stream, &asked).await;
    let tcp = read(&mut stream).await;
    assert_eq!(said(&udp), said(&tcp), "{name}");
    assert_eq!(code(&udp), code(&tcp), "{name}");
    udp
}

/// Returns the owner and the address or target of each record, sorted.
fn said(message: &Message) -> Vec<(String, String)> {
    let data = |data: &RData| match data {
        RData::CNAME(target) => format!("CNAME {}", target.0.to_ascii()),
        data => data.ip_addr().unwrap().to_string(),
    };
    let mut said: Vec<_> =
        message.answers.iter().map(|record| (record.name.to_ascii(), data(&record.data))).collect();
    said.sort();
    said
}

const PRODUCTPAGE: (&str, &[(&str, &str)]) = ("", &[("", "9.9.9.9")]);

/// The query name, the type, and the records. An empty owner stands for the query name.
type Case<'a> = (&'a str, RecordType, &'a [(&'a str, &'a str)]);

const SEARCHED: &str = ".ns1.svc.cluster.local.";

/// The remaining cases that the name table answers.
const KNOWN: &[Case<'_>] = &[
    ("www.google.com.", A, &[("", "1.1.1.1")]),
    ("productpage.ns1.svc.cluster.local.", A, PRODUCTPAGE.1),
    ("productpage.ns1.", A, PRODUCTPAGE.1),
    ("productpage.", A, PRODUCTPAGE.1),
    ("example.ns2.", A, &[("", "10.10.10.10")]),
    ("example.ns2.svc.cluster.local.", A, &[("", "10.10.10.10")]),
    ("example.ns2.svc.", A, &[("", "10.10.10.10")]),
    ("svc-with-alt.", A, &[("", "15.15.15.15")]),
    ("svc-with-alt.ns1.", A, &[("", "15.15.15.15")]),
    ("svc-with-alt.ns1.svc.", A, &[("", "15.15.15.15")]),
    ("svc-with-alt.ns1.svc.cluster.local.", A, &[("", "15.15.15.15")]),
    ("svc-with-alt.ns1.svc.clusterset.local.", A, &[("", "15.15.15.15")]),
    ("dual.localhost.", A, &[("", "2.2.2.2")]),
    ("dual.localhost.", AAAA, &[("", "2001:db8::ff00:42:8329")]),
    ("foo.wildcard.", A, &[("", "10.10.10.10")]),
    ("a.b.wildcard.", A, &[("", "11.11.11.11")]),
    ("foo.svc.mesh.company.net.", A, &[("", "10.1.2.3")]),
    ("foo.foons.svc.mesh.company.net.", A, &[("", "10.1.2.3")]),
    ("example.localhost.", A, &[("", "3.3.3.3")]),
    (
        "details.ns2.svc.cluster.remote.",
        A,
        &[("", "11.11.11.11"), ("", "12.12.12.12"), ("", "13.13.13.13"), ("", "14.14.14.14")],
    ),
];

#[tokio::test]
async fn records_of_mesh_names_are_owned_by_the_queried_name() {
    let (server, listener) = proxy().await;
    for (name, kind, expected) in KNOWN {
        let answer = both(&listener, name, *kind).await;
        let expected: Vec<_> =
            expected.iter().map(|(_, ip)| ((*name).to_owned(), (*ip).to_owned())).collect();
        assert_eq!((said(&answer), code(&answer)), (expected, ResponseCode::NoError), "{name}");
    }
    assert!(server.asked().is_empty());
}

/// Each case has a name without the search domain, the CNAME target and the address.
#[tokio::test]
async fn names_in_the_search_domain_have_a_cname_record() {
    let (server, listener) = proxy().await;
    for (name, target, ip) in [
        ("www.google.com", "www.google.com.", "1.1.1.1"),
        ("productpage.ns1", "productpage.ns1.", "9.9.9.9"),
        ("foo.wildcard", "*.wildcard.", "10.10.10.10"),
        ("foo.svc.mesh.company.net", "*.svc.mesh.company.net.", "10.1.2.3"),
    ] {
        let question = format!("{name}{SEARCHED}");
        let answer = both(&listener, &question, A).await;
        let mut expected =
            vec![(question.clone(), format!("CNAME {target}")), (target.into(), ip.to_owned())];
        expected.sort();
        assert_eq!(said(&answer), expected);
        assert!(matches!(answer.answers[0].data, RData::CNAME(_)), "the CNAME record comes first");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_name_without_addresses_of_the_family_is_nodata() {
    let (_server, listener) = proxy().await;
    for (name, kind) in
        [("ipv6.localhost.", A), ("ipv4.localhost.", AAAA), ("productpage.ns1.ns1.svc.cluster.local.", AAAA)]
    {
        let answer = both(&listener, name, kind).await;
        assert_eq!((said(&answer), code(&answer)), (Vec::new(), ResponseCode::NoError), "{name}");
        assert!(answer.metadata.authoritative);
        assert!(answer.authorities.is_empty(), "no SOA record: `pkg/dns/client/dns.go:312-321`");
    }
}

#[tokio::test]
async fn unknown_names_go_upstream() {
    let (server, listener) = proxy().await;
    let found = both(&listener, "www.bing.com.", A).await;
    assert_eq!(said(&found), [("www.bing.com.".to_owned(), "1.1.1.1".to_owned())]);
    assert_eq!((code(&found), found.metadata.authoritative), (ResponseCode::NoError, false));
    for unknown in ["example.", "details.ns2.", "productpage.ns1.svc.cluster.local.ns1.svc.cluster.local."] {
        let answer = both(&listener, unknown, A).await;
        assert_eq!((code(&answer), answer.answers.len()), (ResponseCode::NXDomain, 0), "{unknown}");
        assert!(server.asked().contains(&unknown.trim_end_matches('.').to_owned()));
    }
}

/// The agent's order of `details` follows from its random numbers. Here each address comes first sometimes.
#[tokio::test]
async fn the_addresses_of_a_service_are_shuffled() {
    let (_server, listener) = proxy().await;
    let (mut first, mut orders) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..300 {
        let order = addresses(&ask(&listener, "details.ns2.svc.cluster.remote.", A).await);
        assert_eq!(
            order.iter().collect::<BTreeSet<_>>().len(),
            4,
            "each response has all addresses: {order:?}"
        );
        first.insert(order[0].clone());
        orders.insert(order);
    }
    assert_eq!(first.len(), 4);
    assert!(orders.len() > 4, "the order is not only rotated: {orders:?}");
}

/// Without EDNS, the agent fails and this listener truncates the response (`udp: large request`).
#[tokio::test]
async fn a_response_too_long_for_udp_is_available_over_tcp_or_with_edns() {
    let (_server, listener) = proxy().await;
    let mut asked = question("giant.", A);
    let cut = ask_with(&listener, &asked).await;
    assert!(cut.metadata.truncation && code(&cut) == ResponseCode::NoError);
    let mut stream = TcpStream::connect(listener.addresses()[0]).await.unwrap();
    write(&mut stream, &asked).await;
    assert_eq!(sorted(&read(&mut stream).await), giant(64));
    let mut edns = Edns::new();
    edns.set_max_payload(u16::MAX);
    asked.set_edns(edns);
    assert_eq!(sorted(&ask_with(&listener, &asked).await), giant(64));
}

/// Returns the first `count` addresses of a large answer.
fn giant(count: u8) -> Vec<Ipv4Addr> {
    (0..count).map(|last| Ipv4Addr::new(240, 0, 0, last)).collect()
}

fn sorted(message: &Message) -> Vec<Ipv4Addr> {
    let mut found: Vec<_> = addresses(message).iter().map(|ip| ip.parse().unwrap()).collect();
    found.sort();
    found
}

/// `large request truncated`: a response that upstream DNS truncated is forwarded unchanged, with the 29 records that
/// fit.
#[tokio::test]
async fn a_response_that_upstream_truncated_is_forwarded_truncated() {
    let (_server, listener) = proxy().await;
    let cut = ask(&listener, "giant-tc.", A).await;
    assert!(cut.metadata.truncation && code(&cut) == ResponseCode::NoError);
    let in_order: Vec<_> = giant(29).iter().map(ToString::to_string).collect();
    assert_eq!(addresses(&cut), in_order);
    assert!(cut.answers.iter().all(|record| record.name.to_ascii() == GIANT));
    let mut stream = TcpStream::connect(listener.addresses()[0]).await.unwrap();
    write(&mut stream, &question("giant-tc.", A)).await;
    let whole = read(&mut stream).await;
    assert!(!whole.metadata.truncation);
    assert_eq!(sorted(&whole), giant(64));
}

/// `TestBuildAlternateHosts`, 44-126: these names and no others.
#[tokio::test]
async fn a_service_has_only_its_short_names() {
    let (_server, listener) = proxy().await;
    for (short, known) in [
        ("example", &["example.ns2", "example.ns2.svc", "example.ns2.svc.cluster.local"][..]),
        ("details", &["details.ns2.svc.cluster.remote"]),
        (
            "productpage",
            &["productpage", "productpage.ns1", "productpage.ns1.svc", "productpage.ns1.svc.cluster.local"],
        ),
        (
            "svc-with-alt",
            &[
                "svc-with-alt",
                "svc-with-alt.ns1",
                "svc-with-alt.ns1.svc",
                "svc-with-alt.ns1.svc.cluster.local",
                "svc-with-alt.ns1.svc.clusterset.local",
            ],
        ),
    ] {
        let all = [".ns1", ".ns2"].iter().flat_map(|namespace| {
            let suffixes = ["", ".svc", ".svc.cluster", ".svc.cluster.local", ".svc.cluster.remote"];
            let suffixes = suffixes.into_iter().chain([".svc.clusterset", ".svc.clusterset.local"]);
            suffixes.map(move |suffix| format!("{short}{namespace}{suffix}"))
        });
        for name in all.chain([short.to_owned()]) {
            let answer = ask(&listener, &format!("{name}."), A).await;
            assert_eq!(answer.metadata.authoritative, known.contains(&&*name), "{name}");
        }
    }
}

/// `TestBuildAlternateHosts`, 44-126: hosts outside Kubernetes have no other names.
#[tokio::test]
async fn a_host_outside_kubernetes_has_one_name() {
    let (_server, listener) = proxy().await;
    for (name, known) in [
        ("www.google.com", true),
        ("*.wildcard", true),
        ("example.localhost", true),
        ("www", false),
        ("www.google", false),
        ("google.com", false),
        ("www.google.com.ns1", false),
        ("www.google.com.svc", false),
        ("example.localhost.svc", false),
        ("localhost", false),
        ("wildcard", false),
    ] {
        let answer = ask(&listener, &format!("{name}."), A).await;
        assert_eq!(answer.metadata.authoritative, known, "{name}");
    }
}

/// `TestDNSTimeoutBehavior`, 684-774.
#[tokio::test]
async fn an_upstream_timeout_is_answered_with_servfail() {
    let silent = NameServer::silent().await;
    for limit in [100, 200].map(Duration::from_millis) {
        let upstream = Upstream::servers([silent.address()]).with_timeout(limit).with_attempts(1);
        let listener = start(Mesh::synced(&[]).resolver(upstream));
        let start = std::time::Instant::now();
        let answer = ask(&listener, "www.example.org.", A).await;
        assert_eq!((code(&answer), answer.answers.len()), (ResponseCode::ServFail, 0));
        assert!(start.elapsed() >= limit);
    }
}

/// `pkg/dns/client/dns.go:216-227`, `248-252`, `511-514`.
#[tokio::test]
async fn a_new_table_replaces_the_old_one_and_entries_without_address_or_with_an_invalid_key_are_ignored() {
    let (server, names) = (NameServer::start(|_, _| Reply::NxDomain).await, Mesh::synced(&[]));
    let listener = start(names.resolver(Upstream::servers([server.address()])));
    let info = |ips: &[&str], registry: &str| NameInfo {
        ips: ips.iter().map(ToString::to_string).collect(),
        registry: registry.into(),
        shortname: "odd".into(),
        namespace: "vms".into(),
        ..NameInfo::default()
    };
    let wire = Wire {
        table: [
            ("empty.example".to_owned(), info(&[], "External")),
            ("nonsense.example".to_owned(), info(&["nonsense", "10.0.0.0/8"], "External")),
            ("partly.example".to_owned(), info(&["nonsense", "10.1.2.4"], "External")),
            ("odd.vms.svc.cluster.local.".to_owned(), info(&["10.1.2.5"], "Kubernetes")),
        ]
        .into(),
    };
    names.names.send(NameTable::decode(&wire.encode_to_vec()).unwrap());
    for unknown in ["empty.example.", "nonsense.example.", "odd.vms.svc.cluster.local.", "odd.", FORECAST] {
        assert_eq!(code(&ask(&listener, unknown, A).await), ResponseCode::NXDomain, "{unknown}");
    }
    assert_eq!(addresses(&ask(&listener, "partly.example.", A).await), ["10.1.2.4"]);
}

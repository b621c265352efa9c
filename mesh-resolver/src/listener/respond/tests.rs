//! Tests with packets that hickory writes, responses that hickory reads, and arbitrary bytes.

mod malformed;

use std::{collections::BTreeSet, net::IpAddr, sync::LazyLock};

use hickory_resolver::proto::{
    op::{Edns, Message, OpCode, Query as Question, ResponseCode},
    rr::{Name, RData, RecordType},
};
use nds_client::{health::Health, resources::name_table::NameTable, watch::WatchSender};
use proptest::{prelude::*, sample::select};
use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

use super::*;
use crate::{MeshResolver, SearchScope, Upstream, dns::MAX_MESSAGE};

const UDP: Transport = Transport::Udp { max_size: 65_507 };

/// A shortened version of the fixture of Istio's tests, with a headless service of many pods.
fn resolver() -> &'static MeshResolver {
    static RESOLVER: LazyLock<MeshResolver> = LazyLock::new(new_resolver);
    &RESOLVER
}

fn new_resolver() -> MeshResolver {
    let many: Vec<_> = (0..100).map(|pod| format!("10.9.0.{pod}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let entry = |name: &str, ips: &[&str], service: Option<(&str, &str)>| {
        let (shortname, namespace) = service.unwrap_or_default();
        let info = NameInfo {
            ips: ips.iter().map(ToString::to_string).collect(),
            registry: if service.is_some() { "Kubernetes" } else { "External" }.into(),
            shortname: shortname.into(),
            namespace: namespace.into(),
            ..NameInfo::default()
        };
        (name.to_owned(), info)
    };
    let table = [
        entry("www.google.com", &["1.1.1.1"], None),
        entry("productpage.ns1.svc.cluster.local", &["9.9.9.9"], Some(("productpage", "ns1"))),
        entry("details.ns2.svc.cluster.remote", &["1.1.1.1", "2.2.2.2", "3.3.3.3"], Some(("details", "ns2"))),
        entry("many.ns1.svc.cluster.local", &many, Some(("many", "ns1"))),
        entry("dual.localhost", &["2.2.2.2", "2001:db8::1", "2001:db8::2"], None),
        entry("ipv4.localhost", &["2.2.2.2"], None),
        entry("*.wildcard", &["10.10.10.10"], None),
    ];
    let table = NameTable::decode(&Wire { table: table.into() }.encode_to_vec()).unwrap();
    let scope = SearchScope::new("ns1", "ns1.svc.cluster.local").with_search_domain("ns1.svc.cluster.local");
    let (names, health) = (WatchSender::new(table), WatchSender::new(Health::default()));
    let builder = MeshResolver::builder(names.subscribe(), health.subscribe(), scope);
    builder.with_upstream(Upstream::none()).build().unwrap()
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Question::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn with_edns(mut message: Message, size: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(size).set_version(0);
    message.set_edns(edns);
    message
}

/// Returns the result and the bytes that replaced the packet.
fn answered(packet: &[u8], transport: Transport) -> (Disposition, Vec<u8>) {
    let mut room = vec![0; MAX_MESSAGE];
    room[..packet.len()].copy_from_slice(packet);
    let disposition =
        respond(&resolver().inner().mesh.load(), &mut room, packet.len(), transport, Asker::Unknown);
    let len = match &disposition {
        Disposition::Answer(len) | Disposition::NoLocalAddress(len) | Disposition::Invalid(Some(len)) => *len,
        Disposition::Forward(_) | Disposition::Invalid(None) => packet.len(),
    };
    room.truncate(len);
    (disposition, room)
}

#[track_caller]
fn answer(question: &Message, transport: Transport) -> (Message, usize) {
    let (disposition, bytes) = answered(&question.to_vec().unwrap(), transport);
    assert!(matches!(disposition, Disposition::Answer(_)), "{disposition:?}");
    (Message::from_vec(&bytes).unwrap(), bytes.len())
}

/// Returns the owner and the address or target of each record.
fn records(message: &Message) -> Vec<(String, String)> {
    let data = |data: &RData| match data {
        RData::CNAME(target) => target.0.to_ascii(),
        data => data.ip_addr().unwrap().to_string(),
    };
    message.answers.iter().map(|record| (record.name.to_ascii(), data(&record.data))).collect()
}

#[track_caller]
fn assert_answer(name: &str, kind: RecordType, expected: &[(&str, &str)]) {
    let (message, _) = answer(&question(name, kind), UDP);
    let expected: Vec<_> = expected.iter().map(|(owner, data)| ((*owner).into(), (*data).into())).collect();
    assert_eq!(records(&message), expected);
    assert_eq!(message.metadata.response_code, ResponseCode::NoError);
    assert!(message.answers.iter().all(|record| record.ttl == 30), "pkg/dns/client/dns.go:89,677");
}

/// `pkg/dns/client/dns.go:289,640`, `pkg/dns/client/dns.go:312-321,592-620`.
#[test]
fn the_response_for_a_mesh_name_is_authoritative_and_repeats_id_and_question() {
    let mut asked = question("Www.Google.com.", RecordType::A);
    asked.metadata.recursion_desired = true;
    asked.metadata.checking_disabled = true;
    let (message, _) = answer(&asked, UDP);
    assert_eq!(message.id, asked.id);
    assert_eq!(message.queries, asked.queries);
    assert_eq!(
        records(&message),
        [("Www.Google.com.".into(), "1.1.1.1".into())],
        "in the spelling of the query"
    );
    let flags = message.metadata;
    assert!(flags.authoritative && flags.recursion_desired && flags.recursion_available);
    assert!(flags.checking_disabled && !flags.truncation);
    assert!(message.edns.is_none(), "no OPT record without one in the query");
}

/// `pkg/dns/client/dns.go:648-667`, `pkg/dns/client/dns.go:573-580,608-617`.
#[test]
fn a_name_in_the_search_domain_is_answered_with_a_cname_record_and_the_addresses() {
    assert_answer(
        "www.google.com.ns1.svc.cluster.local.",
        RecordType::A,
        &[("www.google.com.ns1.svc.cluster.local.", "www.google.com."), ("www.google.com.", "1.1.1.1")],
    );
}

/// `pkg/dns/client/dns.go:594-605`.
#[test]
fn a_wildcard_answer_is_owned_by_the_queried_name_or_by_the_literal_wildcard() {
    assert_answer("foo.wildcard.", RecordType::A, &[("foo.wildcard.", "10.10.10.10")]);
    assert_answer(
        "foo.wildcard.ns1.svc.cluster.local.",
        RecordType::A,
        &[("foo.wildcard.ns1.svc.cluster.local.", "*.wildcard."), ("*.wildcard.", "10.10.10.10")],
    );
}

/// `pkg/dns/client/dns.go:312-321,592-620`.
#[test]
fn a_known_name_without_addresses_of_the_family_has_no_records() {
    assert_answer("ipv4.localhost.", RecordType::AAAA, &[]);
    assert_answer("ipv4.localhost.ns1.svc.cluster.local.", RecordType::AAAA, &[]);
}

/// `pkg/dns/client/dns.go:329-331`, `pkg/dns/client/dns.go:587-590`.
#[test]
fn other_types_classes_and_names_are_forwarded_unchanged() {
    let mut chaos = question("www.google.com.", RecordType::A);
    chaos.queries[0].set_query_class(hickory_resolver::proto::rr::DNSClass::CH);
    let others = [RecordType::MX, RecordType::TXT, RecordType::SRV, RecordType::HTTPS, RecordType::ANY];
    let others = others.map(|kind| question("www.google.com.", kind));
    let unknown = question("www.bing.com.", RecordType::A);
    for asked in others.into_iter().chain([chaos, unknown, question(".", RecordType::NS)]) {
        let bytes = asked.to_vec().unwrap();
        let (disposition, after) = answered(&bytes, UDP);
        assert!(matches!(disposition, Disposition::Forward(_)), "{asked:?}");
        assert_eq!(bytes, after);
    }
}

/// `pkg/dns/client/dns.go:325-327,352-412`.
#[test]
fn every_address_comes_first_sometimes() {
    for (name, kind, addresses) in
        [("details.ns2.svc.cluster.remote.", RecordType::A, 3), ("dual.localhost.", RecordType::AAAA, 2)]
    {
        let first = |_| records(&answer(&question(name, kind), UDP).0)[0].1.clone();
        assert_eq!((0..200).map(first).collect::<BTreeSet<_>>().len(), addresses);
    }
}

/// `pkg/dns/client/dns.go:325-327,352-412`.
#[test]
fn the_cname_record_precedes_the_shuffled_addresses() {
    let asked = question("details.ns2.svc.cluster.remote.ns1.svc.cluster.local.", RecordType::A);
    let first = |_| {
        let records = records(&answer(&asked, UDP).0);
        assert_eq!(records[0].1, "details.ns2.svc.cluster.remote.");
        records[1].1.clone()
    };
    assert_eq!((0..200).map(first).collect::<BTreeSet<_>>().len(), 3);
}

/// `pkg/dns/client/dns.go:332-336,708-730`, RFC 6891 §6.2.3.
#[test]
fn a_response_that_does_not_fit_is_truncated_to_whole_records() {
    let plain = question("many.ns1.svc.cluster.local.", RecordType::A);
    for (asked, limit, fit) in [
        (plain.clone(), 512, 29),
        (with_edns(plain.clone(), 100), 512, 28),
        (with_edns(plain.clone(), 1000), 1000, 59),
        (with_edns(plain.clone(), 4096), 4096, 100),
    ] {
        let (message, len) = answer(&asked, UDP);
        assert!(len <= limit, "{len}");
        assert_eq!(message.answers.len(), fit);
        assert_eq!(message.metadata.truncation, fit < 100);
        assert_eq!(message.edns.is_some(), asked.edns.is_some(), "RFC 6891 §6.1.1");
    }
    assert_eq!(answer(&plain, Transport::Tcp).0.answers.len(), 100);
    let (other_host, len) = answer(&with_edns(plain, 4096), Transport::Udp { max_size: 1232 });
    assert!(other_host.metadata.truncation && len <= 1232);
}

/// RFC 3225 §3.
#[test]
fn the_dnssec_ok_bit_is_repeated() {
    let mut asked = with_edns(question("www.google.com.", RecordType::A), 1232);
    asked.edns.as_mut().unwrap().set_dnssec_ok(true);
    assert!(answer(&asked, UDP).0.edns.unwrap().flags().dnssec_ok);
}

#[test]
fn a_dot_inside_a_label_does_not_separate_labels() {
    let mut bytes = question("www.google.com.", RecordType::A).to_vec().unwrap();
    bytes[12] = 10;
    bytes[16] = b'.';
    assert!(matches!(answered(&bytes, UDP).0, Disposition::Forward(_)));
}

/// Generates names that often match the table, in any case.
fn name() -> impl Strategy<Value = String> {
    let label =
        select(&["a", "WWW", "google", "com", "many", "details", "Dual", "localhost", "productpage"][..]);
    let suffix = select(
        &[
            "",
            ".google.com",
            ".wildcard",
            ".ns1",
            ".ns1.svc.Cluster.local",
            ".wildcard.ns1.svc.cluster.local",
        ][..],
    );
    (label, suffix).prop_map(|(label, suffix)| format!("{label}{suffix}."))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// hickory reads exactly the addresses of the table from the response.
    #[test]
    fn a_response_contains_the_addresses_of_the_table(
        name in name(),
        kind in select(&[RecordType::A, RecordType::AAAA][..]),
        size in proptest::option::of(any::<u16>()),
    ) {
        let asked = question(&name, kind);
        let asked = size.map_or(asked.clone(), |size| with_edns(asked, size));
        let names = resolver().inner().mesh.load();
        let expected: Option<BTreeSet<IpAddr>> = names.lookup(&name).map(|answer| {
            answer.entry().addresses().filter(|ip| ip.is_ipv4() == (kind == RecordType::A)).collect()
        });
        let (disposition, bytes) = answered(&asked.to_vec().unwrap(), UDP);
        let Some(expected) = expected else {
            prop_assert!(matches!(disposition, Disposition::Forward(_)));
            return Ok(());
        };
        prop_assert!(bytes.len() <= usize::from(size.unwrap_or(512).max(512)));
        let message = Message::from_vec(&bytes).unwrap();
        prop_assert_eq!(message.id, asked.id);
        prop_assert_eq!(message.metadata.op_code, OpCode::Query);
        let found: BTreeSet<IpAddr> =
            message.answers.iter().filter_map(|record| record.data.ip_addr()).collect();
        if message.metadata.truncation {
            prop_assert!(found.is_subset(&expected) && found.len() < expected.len());
        } else {
            prop_assert_eq!(found, expected);
        }
        // The records form a chain: the owner of each record is the queried name, or the target of the previous CNAME
        // record.
        let mut owner = asked.queries[0].name().clone();
        for record in &message.answers {
            prop_assert_eq!(&record.name, &owner);
            if let RData::CNAME(target) = &record.data {
                owner = target.0.clone();
            }
        }
    }
}

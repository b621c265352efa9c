//! The entry points of the fuzz targets. They check that arbitrary input causes no panic and no invalid output.
#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a panic is a finding of the fuzzer")]

use std::sync::OnceLock;

use hickory_resolver::proto::op::Message;
use nds_client::{health::Health, resources::name_table::NameTable, watch::WatchSender};

use crate::{MeshResolver, SearchScope, Upstream, listener, upstream};

/// Encodes an `istio.networking.nds.v1.NameTable` with one name of each kind. This crate has no protobuf dependency.
fn wire() -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        field.extend_from_slice(bytes);
        field
    };
    let entry = |name: &str, ips: &[&str], service: Option<(&str, &str)>| {
        let mut info: Vec<u8> = ips.iter().flat_map(|ip| field(1, ip.as_bytes())).collect();
        if let Some((short, namespace)) = service {
            for (number, text) in [(2, "Kubernetes"), (3, short), (4, namespace)] {
                info.extend(field(number, text.as_bytes()));
            }
        }
        field(1, &[field(1, name.as_bytes()), field(2, &info)].concat())
    };
    let many: Vec<_> = (0..8).map(|pod| format!("10.0.0.{pod}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    [
        entry("a.b", &["1.1.1.1"], None),
        entry("s.n.svc.cluster.local", &["2.2.2.2", "2001:db8::1"], Some(("s", "n"))),
        entry("*.w", &many, None),
    ]
    .concat()
}

fn resolver() -> &'static MeshResolver {
    static RESOLVER: OnceLock<MeshResolver> = OnceLock::new();
    RESOLVER.get_or_init(|| {
        let table = NameTable::decode(&wire()).unwrap();
        assert_eq!(table.len(), 3);
        let (names, health) = (WatchSender::new(table), WatchSender::new(Health::default()));
        let scope = SearchScope::new("n", "svc.cluster.local").with_search_domain("n.svc.cluster.local");
        let builder = MeshResolver::builder(names.subscribe(), health.subscribe(), scope);
        builder.with_upstream(Upstream::none()).build().unwrap()
    })
}

/// Sends a packet to the DNS listener. A response must be a DNS message with the ID of the packet and a valid length.
/// A forwarded packet must be unchanged.
pub fn query(bytes: &[u8]) {
    for answer in listener::responses(&resolver().inner().mesh.load(), bytes) {
        assert_eq!(answer[..2], bytes[..2]);
        assert_eq!(answer[2] & 0x80, 0x80);
        Message::from_vec(&answer).unwrap();
    }
}

/// Parses the input as a `hosts` file. Every name of a valid line must be found with its address.
pub fn hosts(bytes: &[u8]) {
    let (hosts, skipped) = upstream::Hosts::parse(bytes.to_vec());
    assert!(hosts.len() <= bytes.len() && skipped.first <= bytes.len() + 1);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for line in text.strip_prefix('\u{feff}').unwrap_or(text).split(['\n', '\r']) {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<std::net::IpAddr>) else { continue };
        let is_name = |name: &str| sidestep_util::host_name::validate(name).is_ok();
        for name in words.filter(|name| name.is_ascii() && is_name(name)) {
            assert!(hosts.addresses(name).any(|found| found == address), "{name:?} {address}");
        }
    }
}

/// Parses the input as a resolv.conf. The options must be within glibc's limits.
pub fn resolv_conf(bytes: &[u8]) {
    upstream::parse_resolv_conf(bytes);
}

/// Treats the input as a packet from an upstream server, which is cached, aged and parsed.
pub fn answer(bytes: &[u8]) {
    upstream::cache_and_parse(bytes);
}

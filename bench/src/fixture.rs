//! The name table of a large mesh, as istiod sends it.

use std::net::Ipv4Addr;

use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable, name_table::NameInfo};

/// The number of names in the large mesh.
pub(crate) const NAMES: u32 = 100_000;

/// Returns the name of a Kubernetes service.
pub(crate) fn name(number: u32) -> String {
    format!("service-{number}.namespace-{}.svc.cluster.local", number % 100)
}

/// Returns the ClusterIP of the service.
pub(crate) fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number)
}

/// Returns the encoded name table in istiod's order.
pub(crate) fn name_table(names: u32) -> Vec<u8> {
    name_table_but(names, None)
}

/// Returns the encoded name table, with a different address for one service.
pub(crate) fn name_table_but(names: u32, moved: Option<u32>) -> Vec<u8> {
    let info = |number| NameInfo {
        ips: vec![address(if moved == Some(number) { names } else { number }).to_string()],
        registry: "Kubernetes".into(),
        shortname: format!("service-{number}"),
        namespace: format!("namespace-{}", number % 100),
        ..NameInfo::default()
    };
    let mut sorted: Vec<_> = (0..names).map(|number| (name(number), info(number))).collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    // The encoding of a table is the concatenation of the encodings of its entries.
    let part = |entry| NameTable { table: [entry].into() }.encode_to_vec();
    sorted.into_iter().flat_map(part).collect()
}

/// Returns the names in random order, each separately allocated.
pub(crate) fn random_names(count: u32) -> Vec<Box<str>> {
    let mut names: Vec<_> = (0..count).map(|number| name(number).into_boxed_str()).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut names);
    names
}

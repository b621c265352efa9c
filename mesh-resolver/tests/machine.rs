//! Tests that need more than every machine provides: other programs, or namespaces. If something is missing, the
//! affected tests print a message and count as ignored.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a failed unwrap fails the test, and an ignored test prints the reason"
)]

#[path = "machine/dig.rs"]
mod dig;
#[path = "machine/namespace.rs"]
mod namespace;

use std::process::Command;

use libtest_mimic::{Arguments, Trial};
use mesh_resolver::{MeshResolver, SearchScope, Upstream};
use nds_client::{
    health::{Health, SyncState},
    resources::name_table::NameTable,
    watch::WatchSender,
};
use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

fn main() {
    if let Some(test) = namespace::inside() {
        return test();
    }
    let no_dig = Command::new("dig").arg("-v").output().is_err();
    if no_dig {
        eprintln!("dig is not installed (package bind9-dnsutils): its test is ignored");
    }
    let no_namespace = namespace::missing();
    if no_namespace {
        eprintln!("this machine cannot create namespaces (unshare, ip, mount): their tests are ignored");
    }
    let dig = Trial::test("dig_reads_the_responses", || {
        dig::reads_the_responses();
        Ok(())
    });
    let namespaces = namespace::TESTS
        .iter()
        .map(|(name, _)| Trial::test(*name, || namespace::run(name)).with_ignored_flag(no_namespace));
    let trials = [dig.with_ignored_flag(no_dig)].into_iter().chain(namespaces).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn resolver() -> MeshResolver {
    with_upstream(Upstream::none())
}

fn with_upstream(upstream: Upstream) -> MeshResolver {
    let info = |ips: Vec<String>| NameInfo { ips, registry: "External".into(), ..NameInfo::default() };
    let many = (0..250).map(|pod| format!("10.2.0.{pod}")).collect();
    let table = [
        ("forecast.example".to_owned(), info(vec!["10.1.2.3".into(), "2001:db8::3".into()])),
        ("many.example".to_owned(), info(many)),
        ("*.wildcard.example".to_owned(), info(vec!["10.3.0.1".into()])),
    ];
    let table = NameTable::decode(&Wire { table: table.into() }.encode_to_vec()).unwrap();
    let mut health = Health::default();
    health.sync = SyncState::Synced;
    let (names, health) = (WatchSender::new(table), WatchSender::new(health));
    let scope = SearchScope::new("vms", "svc.cluster.local").with_search_domain("corp.example");
    let builder = MeshResolver::builder(names.subscribe(), health.subscribe(), scope);
    builder.with_upstream(upstream).build().unwrap()
}

//! `dig` reads what the DNS listener answers.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, one that cannot run says so"
)]

use std::process::Command;

use libtest_mimic::{Arguments, Trial};
use mesh_resolver::{MeshResolver, Scope, Upstream, listener::DnsListener};
use nds_client::{Health, NameTable, Publisher, SyncState};
use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

fn main() {
    let arguments = Arguments::from_args();
    let missing = Command::new("dig").arg("-v").output().is_err();
    if missing {
        eprintln!("dig is not on this machine (package bind9-dnsutils): its test is ignored");
    }
    let test = Trial::test("dig_reads_the_answers", || {
        dig_reads_the_answers();
        Ok(())
    });
    libtest_mimic::run(&arguments, vec![test.with_ignored_flag(missing)]).exit();
}

fn resolver() -> MeshResolver {
    let info = |ips: Vec<String>| NameInfo { ips, registry: "External".into(), ..NameInfo::default() };
    let many = (0..250).map(|pod| format!("10.2.0.{pod}")).collect();
    let table = [
        ("forecast.example".to_owned(), info(vec!["10.1.2.3".into(), "2001:db8::3".into()])),
        ("many.example".to_owned(), info(many)),
        ("*.wildcard.example".to_owned(), info(vec!["10.3.0.1".into()])),
    ];
    let table = NameTable::decode(Wire { table: table.into() }.encode_to_vec().into()).unwrap();
    let mut health = Health::default();
    health.sync = SyncState::Synced;
    let (names, health) = (Publisher::new(table), Publisher::new(health));
    let scope = Scope::new("vms", "svc.cluster.local").with_search_domain("corp.example");
    let builder = MeshResolver::builder(names.watched(), health.watched(), scope);
    builder.with_upstream(Upstream::none()).build().unwrap()
}

fn dig_reads_the_answers() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let builder = DnsListener::builder(resolver()).bind("127.0.0.1:0").with_runtime(runtime.handle().clone());
    let listener = builder.start().unwrap();
    let port = listener.addresses()[0].port().to_string();
    let dig = |arguments: &[&str]| {
        let output = Command::new("dig").args(["@127.0.0.1", "-p", &port]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(dig(&["+short", "Forecast.Example", "A"]), "10.1.2.3\n");
    assert_eq!(dig(&["+short", "+tcp", "forecast.example", "AAAA"]), "2001:db8::3\n");
    assert_eq!(dig(&["+short", "+noedns", "many.example"]).lines().count(), 250);
    let alias = dig(&["+noall", "+answer", "a.wildcard.example.corp.example"]);
    assert!(alias.contains("CNAME\t*.wildcard.example."), "{alias}");
    let unknown = dig(&["nobody.example"]);
    assert!(unknown.contains("status: NXDOMAIN"), "{unknown}");
}

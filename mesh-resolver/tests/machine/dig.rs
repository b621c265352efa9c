//! Queries the listener with `dig`, an independent DNS client.

use std::process::Command;

use mesh_resolver::listener::DnsListener;

pub(super) fn reads_the_responses() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let builder =
        DnsListener::builder(super::resolver()).bind("127.0.0.1:0").with_runtime(runtime.handle().clone());
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

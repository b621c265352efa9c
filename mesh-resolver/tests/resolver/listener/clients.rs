//! Tests of the listener with independent clients.

use hickory_resolver::TokioResolver;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use mesh_resolver::hickory::config_for;

use super::*;
use crate::name_server::{NameServer, Reply, ips};

async fn listener() -> (NameServer, DnsListener) {
    let server = NameServer::start(|name, _| match name {
        "www.example.org" => Reply::Addresses(ips(&["192.0.2.1"])),
        _ => Reply::NxDomain,
    })
    .await;
    let many: Vec<_> = (0..250).map(|pod| format!("10.2.0.{pod}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3", "2001:db8::3"]), ("many.example", &many)]);
    let listener = start(mesh.resolver(Upstream::servers([server.address()])));
    (server, listener)
}

#[tokio::test]
async fn hickorys_tokio_resolver_resolves_through_the_listener() {
    let (_server, listener) = listener().await;
    let config = config_for(&listener).unwrap();
    let resolver: TokioResolver =
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap();
    let found = async |name: &str| {
        let mut found: Vec<_> =
            resolver.lookup_ip(name).await.unwrap().iter().map(|ip| ip.to_string()).collect();
        found.sort();
        found
    };
    assert_eq!(found("forecast.weather.").await, ["10.1.2.3", "2001:db8::3"]);
    assert_eq!(found("www.example.org.").await, ["192.0.2.1"]);
    assert_eq!(found("many.example.").await.len(), 250, "over TCP, because the response is too long for UDP");
    let unknown = resolver.lookup_ip("www.example.com.").await.unwrap_err();
    assert!(unknown.is_nx_domain(), "{unknown}");
}

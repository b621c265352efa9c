//! Tests of the mesh handler in hickory's server.

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::{RData, RecordType},
};
use hickory_server::Server;
use mesh_resolver::{Upstream, hickory_server::MeshHandler};
use tokio::net::{TcpListener, UdpSocket};

use crate::{
    mesh::{FORECAST, Mesh},
    name_server::{NameServer, Reply, ips},
};

/// Starts a server and creates a resolver that queries it.
async fn serving(handler: MeshHandler) -> (Server<MeshHandler>, TokioResolver) {
    let mut server = Server::new(handler);
    let (udp, tcp) = loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    server.register_socket(udp);
    server.register_listener(tcp, std::time::Duration::from_secs(5), 4096);
    let mut config = NameServerConfig::udp_and_tcp(address.ip());
    config.connections.iter_mut().for_each(|connection| connection.port = address.port());
    let config = ResolverConfig::from_name_servers(vec![config]);
    let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    (server, resolver.build().unwrap())
}

#[tokio::test]
async fn hickorys_server_answers_mesh_names_and_other_names() {
    let upstream = NameServer::start(|name, _| match name {
        "www.example.org" => Reply::Addresses(ips(&["192.0.2.1"])),
        _ => Reply::Denied,
    })
    .await;
    let many: Vec<_> = (0..250).map(|pod| format!("10.2.0.{pod}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let mesh =
        Mesh::synced(&[(FORECAST, &["10.1.2.3"]), ("many.example", &many), ("*.wildcard", &["10.3.0.1"])]);
    let handler = MeshHandler::new(mesh.resolver(Upstream::servers([upstream.address()])));
    let (_server, resolver) = serving(handler).await;
    let found = resolver.lookup("Forecast.Weather.", RecordType::A).await.unwrap();
    assert_eq!(found.answers()[0].data, RData::from(ips(&["10.1.2.3"])[0]));
    assert_eq!(found.answers()[0].ttl, 30, "pkg/dns/client/dns.go:89,677");
    let missing = resolver.lookup("forecast.weather.", RecordType::AAAA).await.unwrap_err();
    assert!(
        missing.is_no_records_found() && !missing.is_nx_domain(),
        "pkg/dns/client/dns.go:312-321,592-620: {missing:?}"
    );
    assert!(resolver.lookup_ip("a.wildcard.").await.is_ok());
    assert_eq!(resolver.lookup_ip("many.example.").await.unwrap().iter().count(), 250, "over TCP");
    let found: Vec<_> = resolver.lookup_ip("www.example.org.").await.unwrap().iter().collect();
    assert_eq!(found, ips(&["192.0.2.1"]));
    assert!(resolver.lookup_ip("nobody.example.").await.unwrap_err().is_nx_domain());
}

#[tokio::test]
async fn an_unresponsive_upstream_is_answered_with_servfail() {
    let silent = NameServer::silent().await;
    let upstream = Upstream::servers([silent.address()]).with_timeout(std::time::Duration::from_millis(50));
    let handler = MeshHandler::new(Mesh::synced(&[(FORECAST, &["10.1.2.3"])]).resolver(upstream));
    let (_server, resolver) = serving(handler).await;
    let error = resolver.lookup_ip("www.example.org.").await.unwrap_err();
    assert!(!error.is_no_records_found(), "{error:?}");
    assert!(resolver.lookup_ip("forecast.weather.").await.is_ok());
}

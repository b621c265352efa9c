use super::*;
use crate::{
    ErrorKind,
    testing::{Authority, auto_mtls},
};

const NAME: &str = "outbound|3002||forecast.weather.svc.cluster.local";
const CLIENT: &str = "spiffe://cluster.local/ns/vms/sa/vm";

fn context(cluster: &Cluster) -> &TlsContext {
    let nds_client::TransportSocket::Tls(context) = &cluster.transport_socket_matches[0].transport_socket
    else {
        panic!("not TLS")
    };
    context
}

fn with_sni(sni: Option<&str>, name: &str) -> Arc<Cluster> {
    let mut cluster = auto_mtls(name, &[]);
    let nds_client::TransportSocket::Tls(context) = &mut cluster.transport_socket_matches[0].transport_socket
    else {
        panic!("not TLS")
    };
    context.sni = sni.map(Into::into);
    Arc::new(cluster)
}

fn prepared(configs: &TlsConfigs, cluster: &Arc<Cluster>, identity: &Identity) -> Arc<Prepared> {
    configs.get(cluster, context(cluster), Protocol::Tcp, identity).unwrap()
}

#[test]
fn one_configuration_serves_until_identity_or_cluster_change() {
    let authority = Authority::new();
    let (one, two) = (authority.identity(CLIENT), authority.identity(CLIENT));
    let cluster = Arc::new(auto_mtls(NAME, &[]));
    let configs = TlsConfigs::new(None);
    let first = prepared(&configs, &cluster, &one);
    assert!(Arc::ptr_eq(&first, &prepared(&configs, &cluster, &one)));
    let of_other_identity = prepared(&configs, &cluster, &two);
    assert!(!Arc::ptr_eq(&first.config, &of_other_identity.config));
    let changed = Arc::new(auto_mtls(NAME, &["spiffe://cluster.local/ns/weather/sa/forecast"]));
    assert!(!Arc::ptr_eq(&of_other_identity.config, &prepared(&configs, &changed, &two).config));
}

#[test]
fn each_protocol_has_a_configuration_of_its_own() {
    let identity = Authority::new().identity(CLIENT);
    let cluster = Arc::new(auto_mtls(NAME, &[]));
    let configs = TlsConfigs::new(None);
    let of = |protocol| configs.get(&cluster, context(&cluster), protocol, &identity).unwrap();
    assert_eq!(of(Protocol::Tcp).config.alpn_protocols, [b"istio"]);
    assert_eq!(of(Protocol::Http2).config.alpn_protocols.last().unwrap(), b"h2");
}

#[test]
fn configurations_of_clusters_that_are_gone_are_forgotten() {
    let identity = Authority::new().identity(CLIENT);
    let configs = TlsConfigs::new(None);
    for _ in 0..100 {
        prepared(&configs, &Arc::new(auto_mtls(NAME, &[])), &identity);
    }
    assert_eq!(configs.current.load().prepared.len(), 1);
}

#[test]
fn the_server_name_is_the_control_planes_and_only_where_it_gives_none_the_gateways() {
    let identity = Authority::new().identity(CLIENT);
    let made = "outbound_.3002_._.forecast.weather.svc.cluster.local";
    for (given, sent) in [(Some("own.example"), "own.example"), (None, made), (Some(NAME), made)] {
        let cluster = with_sni(given, NAME);
        assert_eq!(&*prepared(&TlsConfigs::new(None), &cluster, &identity).sni, sent);
    }
}

#[test]
fn a_server_name_that_tls_cannot_carry_is_refused_with_the_reason() {
    let identity = Authority::new().identity(CLIENT);
    let long = format!("outbound|80|{}|a.b", "s".repeat(63));
    for name in [&*long, "outbound|443||*.example.com"] {
        let cluster = with_sni(None, name);
        let error =
            TlsConfigs::new(None).get(&cluster, context(&cluster), Protocol::Tcp, &identity).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("63 letters"), "{error}");
    }
}

use super::*;
use crate::{
    error::ErrorKind,
    testing::{Authority, auto_mtls},
};

const NAME: &str = "outbound|3002||forecast.weather.svc.cluster.local";
const CLIENT: &str = "spiffe://cluster.local/ns/vms/sa/vm";

fn context(cluster: &Cluster) -> &TlsContext {
    let nds_client::resources::cluster::TransportSocket::Tls(context) =
        &cluster.transport_socket_matches[0].transport_socket
    else {
        panic!("not TLS")
    };
    context
}

fn with_sni(sni: Option<&str>, name: &str) -> Arc<Cluster> {
    let mut cluster = auto_mtls(name, &[]);
    let nds_client::resources::cluster::TransportSocket::Tls(context) =
        &mut cluster.transport_socket_matches[0].transport_socket
    else {
        panic!("not TLS")
    };
    context.sni = sni.map(Into::into);
    Arc::new(cluster)
}

fn configs(cluster: &Cluster) -> TlsConfigs {
    TlsConfigs::new(cluster, Arc::default())
}

fn of<'a>(cluster: &'a Cluster, identity: &'a Identity, protocol: Protocol) -> TlsRequest<'a> {
    TlsRequest { cluster, identity, socket: 0, context: context(cluster), protocol }
}

fn mutual(cluster: &Cluster, identity: &Identity) -> Result<Arc<ClientTls>, Error> {
    configs(cluster).mutual(of(cluster, identity, Protocol::Tcp))
}

#[test]
fn all_connections_of_a_cluster_and_identity_share_one_configuration() {
    let identity = Authority::new().identity(CLIENT);
    let cluster = auto_mtls(NAME, &[]);
    let configs = configs(&cluster);
    let first = configs.mutual(of(&cluster, &identity, Protocol::Tcp)).unwrap();
    let second = configs.mutual(of(&cluster, &identity, Protocol::Tcp)).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn each_protocol_has_its_own_configuration() {
    let identity = Authority::new().identity(CLIENT);
    let cluster = auto_mtls(NAME, &[]);
    let configs = configs(&cluster);
    let of = |protocol| configs.mutual(of(&cluster, &identity, protocol)).unwrap();
    let (tcp, http2) = (of(Protocol::Tcp), of(Protocol::Http2));
    assert_eq!(tcp.config.alpn_protocols, [b"istio"]);
    assert_eq!(http2.config.alpn_protocols.last().unwrap(), b"h2");
    assert_ne!(tcp.id, http2.id);
}

#[test]
fn the_sni_comes_from_the_control_plane_or_is_derived_for_the_gateway() {
    let identity = Authority::new().identity(CLIENT);
    let made = "outbound_.3002_._.forecast.weather.svc.cluster.local";
    for (given, sent) in [(Some("own.example"), "own.example"), (None, made), (Some(NAME), made)] {
        let cluster = with_sni(given, NAME);
        assert_eq!(&*mutual(&cluster, &identity).unwrap().sni, sent);
    }
}

#[test]
fn an_invalid_server_name_is_an_error_with_the_reason() {
    let identity = Authority::new().identity(CLIENT);
    let long = format!("outbound|80|{}|a.b", "s".repeat(63));
    for name in [&*long, "outbound|443||*.example.com"] {
        let cluster = with_sni(None, name);
        let error = mutual(&cluster, &identity).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("63 letters"), "{error}");
    }
}

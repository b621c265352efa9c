//! The compact form preserves clusters.

use super::*;

fn read(wire: &Wire) -> Clusters {
    let entry = Templates::default().read(wire.encode_to_vec().into()).unwrap().unwrap();
    Clusters::default().changed(vec![entry], |_| true)
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

/// Returns a cluster in the form of istiod for a service with this name.
fn service(host: &str, identity: &str) -> Wire {
    let named = |text: &mut String| *text = text.replace("forecast.weather.svc.cluster.local", host);
    let mut wire = auto_mtls();
    named(&mut wire.name);
    named(&mut wire.eds_cluster_config.as_mut().unwrap().service_name);
    let socket = wire.transport_socket_matches[0].transport_socket.as_mut().unwrap();
    let mut tls: UpstreamTlsContext = any::unpack(socket.typed_config.as_ref().unwrap()).unwrap();
    named(&mut tls.sni);
    let common = tls.common_tls_context.as_mut().unwrap();
    let Some(ValidationContextType::CombinedValidationContext(combined)) =
        &mut common.validation_context_type
    else {
        panic!("no combined context")
    };
    combined.default_validation_context.as_mut().unwrap().match_subject_alt_names =
        vec![StringMatcher { match_pattern: Some(MatchPattern::Exact(identity.into())), ignore_case: false }];
    socket.typed_config = Some(any::pack(type_url::UPSTREAM_TLS_CONTEXT, &tls));
    let entry = |text_of: &str| [("host".to_owned(), text(text_of)), ("name".to_owned(), text("x"))].into();
    let value = Value { kind: Some(Kind::StructValue(Struct { fields: entry(host) })) };
    let services = Kind::ListValue(xds_proto::google::protobuf::ListValue { values: vec![value] });
    let fields = [("services".to_owned(), Value { kind: Some(services) }), ("subset".to_owned(), text("v1"))];
    wire.metadata =
        Some(Metadata { filter_metadata: [("istio".into(), Struct { fields: fields.into() })].into() });
    wire
}

fn debug_of(cluster: &Cluster) -> String {
    format!("{cluster:?}")
}

#[test]
fn clusters_that_differ_only_in_names_share_a_template() {
    let mut templates = Templates::default();
    let wires: Vec<_> = (0..100)
        .map(|at| {
            service(&format!("s{at}.ns.svc.cluster.local"), &format!("spiffe://cluster.local/ns/ns/sa/{at}"))
        })
        .collect();
    let entries: Vec<_> =
        wires.iter().map(|wire| templates.read(wire.encode_to_vec().into()).unwrap().unwrap()).collect();
    assert_eq!(templates.len(), 1);
    let clusters = Clusters::default().changed(entries, |_| true);
    for (at, wire) in wires.iter().enumerate() {
        let cluster = clusters.get(&format!("s{at}.ns.svc.cluster.local"), 3002, "").unwrap();
        assert_eq!(debug_of(&cluster), debug_of(&decode(wire).unwrap()));
    }
    drop(clusters);
    templates.sweep();
    assert_eq!(templates.len(), 0);
}

#[test]
fn an_unchanged_cluster_is_reused() {
    let first = read(&auto_mtls());
    let cluster = first.for_host("forecast.weather.svc.cluster.local").remove(0);
    let again = |wire: &Wire| {
        let entry = Templates::default().read(wire.encode_to_vec().into()).unwrap().unwrap();
        first.changed(vec![entry], |_| true).for_host("forecast.weather.svc.cluster.local").remove(0)
    };
    assert!(Arc::ptr_eq(&again(&auto_mtls()), &cluster));
    let changed = again(&Wire { connect_timeout: None, ..auto_mtls() });
    assert_eq!(changed.connect_timeout, Duration::from_secs(5));
}

#[test]
fn the_last_of_two_clusters_with_one_name_is_used_even_if_it_was_known() {
    let mut templates = Templates::default();
    let mut entry = |wire: &Wire| templates.read(wire.encode_to_vec().into()).unwrap().unwrap();
    let (known, other) = (auto_mtls(), Wire { connect_timeout: None, ..auto_mtls() });
    let clusters = Clusters::default().changed(vec![entry(&known)], |_| true);
    let clusters = clusters.changed(vec![entry(&other), entry(&known)], |_| true);
    assert_eq!(
        (clusters.len(), clusters.iter().next().unwrap().connect_timeout),
        (1, Duration::from_secs(10))
    );
}

#[test]
fn identities_equal_to_the_placeholder_are_preserved() {
    let marked = service("forecast.weather.svc.cluster.local", "\u{1}");
    let cluster = read(&marked).for_host("forecast.weather.svc.cluster.local").remove(0);
    assert_eq!(debug_of(&cluster), debug_of(&decode(&marked).unwrap()));
}

#[test]
fn an_sni_that_equals_or_starts_with_the_placeholder_is_preserved() {
    for sni in ["\u{1}", "\u{1}\u{1}", "\u{1}a"] {
        let mut wire = auto_mtls();
        let socket = wire.transport_socket_matches[0].transport_socket.as_mut().unwrap();
        let mut tls: UpstreamTlsContext = any::unpack(socket.typed_config.as_ref().unwrap()).unwrap();
        tls.sni = sni.into();
        socket.typed_config = Some(any::pack(type_url::UPSTREAM_TLS_CONTEXT, &tls));
        let cluster = read(&wire).for_host("forecast.weather.svc.cluster.local").remove(0);
        assert_eq!(debug_of(&cluster), debug_of(&decode(&wire).unwrap()));
    }
}

#[test]
fn a_proxy_protocol_socket_is_preserved() {
    let around =
        xds_proto::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport {
            config: None,
            transport_socket: Some(mesh_tls()),
        };
    let socket = |value: Vec<u8>| WireSocket {
        name: "envoy.transport_sockets.upstream_proxy_protocol".into(),
        typed_config: Some(xds_proto::google::protobuf::Any {
            type_url: type_url::PROXY_PROTOCOL.into(),
            value: value.into(),
        }),
    };
    let wire = Wire { transport_socket: Some(socket(around.encode_to_vec())), ..auto_mtls() };
    let cluster = read(&wire).for_host("forecast.weather.svc.cluster.local").remove(0);
    assert_eq!(debug_of(&cluster), debug_of(&decode(&wire).unwrap()));
    let broken = Wire { transport_socket: Some(socket(vec![0xff])), ..auto_mtls() };
    assert!(Templates::default().read(broken.encode_to_vec().into()).is_err());
}

proptest! {
    #[test]
    fn a_message_with_a_changed_byte_is_an_error_or_decoded_like_by_prost(at in 0usize..1000, byte: u8) {
        let mut bytes = service("s.ns.svc.cluster.local", ID).encode_to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let whole = Cluster::decode(&bytes);
        match (Templates::default().read(bytes.into()), whole) {
            (Ok(Some(entry)), Ok(Some(whole))) => {
                let host = whole.name.host.clone();
                let cluster = Clusters::default().changed(vec![entry], |_| true).for_host(&host).remove(0);
                prop_assert_eq!(debug_of(&cluster), debug_of(&whole));
            }
            (Ok(None), Ok(None)) | (Err(_), Err(_)) => {}
            (compact, whole) => prop_assert!(false, "{compact:?} {whole:?}"),
        }
    }
}

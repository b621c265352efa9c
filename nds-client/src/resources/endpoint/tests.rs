//! Tests of endpoints.

use xds_proto::envoy::config::core::v3::{
    EnvoyInternalAddress, Pipe, envoy_internal_address::AddressNameSpecifier,
};

use super::*;

#[test]
fn the_addresses_of_both_families_survive_encoding_and_decoding() {
    let mut endpoint = Endpoint { host: "10.1.2.3".into(), port: 8080, weight: 1, ..Endpoint::default() };
    endpoint.additional_addresses = vec!["[2001:db8::3]:8080".parse().unwrap()];
    let locality = LocalityEndpoints { endpoints: vec![endpoint], ..LocalityEndpoints::default() };
    let endpoints = Endpoints { localities: vec![locality], unsupported: Vec::new() };
    assert_eq!(Endpoints::decode(&encode(&endpoints).encode_to_vec()).unwrap(), endpoints);
}

#[test]
fn an_unusable_additional_address_is_omitted() {
    let address = |address| AdditionalAddress { address: Some(Address { address }) };
    let named =
        SocketAddress { address: "host.example".into(), port_specifier: Some(PortSpecifier::PortValue(80)) };
    let mut wire = encode_endpoint(&Endpoint { host: "10.1.2.3".into(), port: 80, ..Endpoint::default() });
    let Some(HostIdentifier::Endpoint(inner)) = &mut wire.host_identifier else { panic!("no endpoint") };
    inner.additional_addresses = vec![
        address(None),
        address(Some(address::Address::SocketAddress(named))),
        AdditionalAddress::default(),
    ];
    let read = endpoint(wire).unwrap();
    assert_eq!((&*read.host, read.additional_addresses), ("10.1.2.3", Vec::new()));
}

fn internal(listener: &str, id: &str) -> Address {
    Address {
        address: Some(address::Address::EnvoyInternalAddress(EnvoyInternalAddress {
            address_name_specifier: Some(AddressNameSpecifier::ServerListenerName(listener.into())),
            endpoint_id: id.into(),
        })),
    }
}

fn without_port(host: &str) -> Address {
    let socket = SocketAddress { address: host.into(), port_specifier: None };
    Address { address: Some(address::Address::SocketAddress(socket)) }
}

/// An assignment of one locality with endpoints of these addresses and metadata.
fn assignment(endpoints: Vec<(Option<Address>, Metadata)>) -> Endpoints {
    let endpoint = |(address, metadata)| LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(WireEndpoint { address, ..WireEndpoint::default() })),
        metadata: Some(metadata),
        ..LbEndpoint::default()
    };
    let locality = LocalityLbEndpoints {
        lb_endpoints: endpoints.into_iter().map(endpoint).collect(),
        ..LocalityLbEndpoints::default()
    };
    decode(ClusterLoadAssignment { endpoints: vec![locality], ..ClusterLoadAssignment::default() })
}

fn metadata(workload: &str, matched: &[(&str, &str)]) -> Metadata {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let fields = matched.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect();
    let istio = Struct { fields: [("workload".to_owned(), text(workload))].into() };
    Metadata {
        filter_metadata: [
            ("envoy.transport_socket_match".to_owned(), Struct { fields }),
            ("istio".to_owned(), istio),
        ]
        .into(),
    }
}

#[test]
fn endpoints_without_a_direct_address_are_unsupported_and_the_others_remain() {
    let endpoints = assignment(vec![
        (Some(socket_address("10.0.0.1".into(), 8080)), metadata("one;shop;;;c1", &[("tlsMode", "istio")])),
        (
            Some(internal("connect_originate", "10.0.0.2:8080")),
            metadata("two;shop;;;c1", &[("tunnel", "http")]),
        ),
        (Some(internal("other", "x")), metadata("", &[])),
        (
            Some(Address { address: Some(address::Address::Pipe(Pipe { path: "/run/a".into() })) }),
            metadata("", &[]),
        ),
        (None, metadata("", &[])),
        (Some(socket_address("10.0.0.3".into(), 0)), metadata("", &[])),
    ]);
    let hosts: Vec<_> = endpoints.iter().map(|(_, endpoint)| endpoint.authority()).collect();
    assert_eq!(hosts, ["10.0.0.1:8080"]);
    let unsupported: Vec<_> =
        endpoints.unsupported.iter().map(|one| (one.address.as_str(), one.reason.clone())).collect();
    assert_eq!(
        unsupported,
        [
            ("10.0.0.2:8080", Unsupported::Hbone),
            ("x", Unsupported::InternalListener("other".into())),
            ("/run/a", Unsupported::UnixSocket),
            ("", Unsupported::NoAddress),
            ("10.0.0.3:0", Unsupported::NoAddress),
        ]
    );
    assert_eq!(endpoints.unsupported[0].workload.name, "two");
}

#[test]
fn an_endpoint_with_the_metadata_of_a_tunnel_is_unsupported_even_with_a_socket_address() {
    let tunnel = metadata("two;shop;;;c1", &[("tunnel", "http"), ("tlsMode", "istio")]);
    let endpoints = assignment(vec![(Some(socket_address("10.0.0.2".into(), 8080)), tunnel)]);
    assert_eq!(endpoints.unsupported[0].reason, Unsupported::Hbone);
    assert!(endpoints.iter().next().is_none());
}

#[test]
fn a_gateway_that_accepts_only_hbone_is_unsupported() {
    for port in [0, 15008] {
        let gateway =
            (Some(socket_address("10.9.9.9".into(), port)), metadata(";;;;c2", &[("tlsMode", "istio")]));
        assert_eq!(assignment(vec![gateway]).unsupported[0].reason, Unsupported::HboneGateway);
    }
    let workload = (Some(socket_address("10.9.9.9".into(), 15008)), metadata("w;shop;;;c2", &[]));
    assert!(assignment(vec![workload]).unsupported.is_empty());
}

#[test]
fn unsupported_endpoints_survive_encoding_and_decoding() {
    let endpoints = assignment(vec![
        (Some(socket_address("10.0.0.1".into(), 8080)), metadata("one;shop;;;c1", &[])),
        (Some(internal("connect_originate", "[::1]:8080")), metadata("two;shop;;;c1", &[])),
        (Some(internal("other", "x")), metadata("", &[])),
        (
            Some(Address { address: Some(address::Address::Pipe(Pipe { path: "/run/a".into() })) }),
            metadata("", &[]),
        ),
        (None, metadata("", &[])),
        (Some(socket_address("2001:db8::1".into(), 15008)), metadata(";;;;c2", &[])),
        (Some(socket_address("10.0.0.3".into(), 0)), metadata("three;shop;;;c1", &[])),
        (Some(socket_address("[x".into(), 0)), metadata(";;;;c2", &[])),
        (Some(without_port("2001:db8::0")), metadata(";;;;c2", &[])),
    ]);
    assert_eq!(endpoints.unsupported.len(), 8);
    assert_eq!(Endpoints::decode(&encode(&endpoints).encode_to_vec()).unwrap(), endpoints);
}

//! Entry points of the fuzz targets for private parsers. Compiled only for fuzzing.
#![allow(clippy::expect_used, missing_docs, reason = "what fails here is found")]

use std::time::{Duration, SystemTime};

use prost::Message as _;
use xds_proto::{
    any,
    envoy::{
        config::{
            cluster::v3::Cluster as Wire,
            core::v3::{Node, TransportSocket},
        },
        extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport,
        service::discovery::v3::DeltaDiscoveryResponse,
    },
    google::protobuf::Any,
    type_url,
};

use crate::{
    identity::Token,
    resources::{
        cluster::{Cluster, Clusters, Templates},
        endpoint::{self, Endpoints},
        name_table::NameHasher,
    },
    state_dir::snapshot,
    subscriptions::SubscriptionSet,
    xds::session::Session,
};

/// Passes responses to a session. Each response has a length prefix of two bytes.
pub fn ads_session(mut bytes: &[u8]) {
    let mut session = Session::new(Node::default(), 0);
    session.open(SubscriptionSet { clusters: true, endpoints: ["a".into()].into() });
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (response, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        bytes = rest;
        let Ok(response) = DeltaDiscoveryResponse::decode(response) else { continue };
        let Ok(reaction) = session.receive(response) else { continue };
        assert_eq!(reaction.reply.error_detail.is_some(), reaction.rejected.is_some());
    }
}

pub fn cluster(bytes: &[u8]) {
    let whole = Cluster::decode(bytes);
    let compact = Templates::default().read(bytes.to_vec().into());
    let (Ok(Some(whole)), Ok(Some(compact))) = (&whole, compact) else {
        return;
    };
    let compact = Clusters::default().changed(vec![compact], |_| true).iter().next().expect("the cluster");
    assert_eq!(format!("{whole:?}"), format!("{compact:?}"));
}

/// Passes the configuration of a TLS transport socket. The first byte is the number of PROXY protocol sockets around
/// it.
pub fn transport_socket(bytes: &[u8]) {
    let Some((depth, context)) = bytes.split_first() else { return };
    let config = Any { type_url: type_url::UPSTREAM_TLS_CONTEXT.to_owned(), value: context.to_vec().into() };
    let tls = TransportSocket { name: String::new(), typed_config: Some(config) };
    let socket = (0..*depth).fold(tls, |inner, _| {
        let around = ProxyProtocolUpstreamTransport { config: None, transport_socket: Some(inner) };
        let config = any::pack(type_url::PROXY_PROTOCOL, &around);
        TransportSocket { name: String::new(), typed_config: Some(config) }
    });
    let name = "outbound|80||a.example".to_owned();
    cluster(&Wire { name, transport_socket: Some(socket), ..Wire::default() }.encode_to_vec());
}

pub fn endpoints(bytes: &[u8]) {
    let Ok(endpoints) = Endpoints::decode(bytes) else { return };
    let again = Endpoints::decode(&endpoint::encode(&endpoints).encode_to_vec());
    assert_eq!(again.expect("our own message"), endpoints);
}

pub fn snapshot(bytes: &[u8]) {
    let us = snapshot::Owner::named("us", None);
    let _ = snapshot::read(
        &snapshot::signed(bytes),
        &us,
        SystemTime::UNIX_EPOCH,
        Duration::MAX,
        NameHasher::default(),
    );
}

pub fn token(text: &str) {
    let _ = Token::new(text).rejection_reason(SystemTime::now());
}

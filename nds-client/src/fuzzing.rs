//! Entry points of the fuzz targets for private parsers. Compiled only for fuzzing.
#![allow(clippy::expect_used, missing_docs, reason = "what fails here is found")]

use std::time::{Duration, SystemTime};

use prost::Message as _;
use xds_proto::envoy::{config::core::v3::Node, service::discovery::v3::DeltaDiscoveryResponse};

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

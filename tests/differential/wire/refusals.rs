//! Rejected requests, and the status with which the stream ends.

use std::time::Duration;

use mesh_sandbox::TokenOptions;
use mesh_tests::{
    ads::{Credentials, NodeBuilder, csr},
    vm_files::Vm,
};
use tokio::{net::TcpStream, time::timeout};
use tonic::Status;
use xds_proto::{
    envoy::config::core::v3::Node,
    google::protobuf::{Struct, value::Kind},
    type_url,
};

use super::Transcript;
use crate::side::Side;

/// The time in which a process writes its last output.
const DYING: Duration = Duration::from_secs(5);

fn status(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

async fn refused(side: &Side, node: &Node) -> String {
    let mut stream = side.stream().await;
    stream.introduce(node, type_url::NAME_TABLE).await;
    match stream.outcome().await {
        Ok(_) => "gets a response".into(),
        Err(end) => status(&end),
    }
}

pub(crate) async fn an_invalid_node_is_rejected(side: &mut Side) -> Transcript {
    let node = NodeBuilder::default;
    let id = |id: &str| Node { id: id.to_owned(), ..node().build() };
    let nodes = [
        ("no node", Node::default()),
        ("three parts", id("sidecar~192.168.7.7~vm.legacy")),
        ("five parts", id("sidecar~192.168.7.7~vm.legacy~legacy.svc.cluster.local~x")),
        ("unknown type", id("car~192.168.7.7~vm.legacy~legacy.svc.cluster.local")),
        ("empty parts", id("sidecar~~~")),
        (
            "no address, none in the metadata",
            Node {
                metadata: node().addresses(&["x"]).build().metadata,
                ..id("sidecar~host~vm.legacy~legacy.svc.cluster.local")
            },
        ),
        ("no address, one in the metadata", id("sidecar~host~vm.legacy~legacy.svc.cluster.local")),
        ("an invalid address among valid ones", node().addresses(&["192.168.7.7", "x"]).build()),
        ("DNS_CAPTURE as JSON true", node().value("DNS_CAPTURE", Kind::BoolValue(true)).build()),
        ("DNS_CAPTURE yes", node().text("DNS_CAPTURE", "yes").build()),
        ("DNS_CAPTURE empty", node().text("DNS_CAPTURE", "").build()),
        ("DNS_CAPTURE 1", node().text("DNS_CAPTURE", "1").build()),
        ("DNS_CAPTURE T", node().text("DNS_CAPTURE", "T").build()),
        ("DNS_CAPTURE 1 as a number", node().value("DNS_CAPTURE", Kind::NumberValue(1.0)).build()),
        ("DNS_CAPTURE null", node().value("DNS_CAPTURE", Kind::NullValue(0)).build()),
        ("HTTP10 as JSON true", node().value("HTTP10", Kind::BoolValue(true)).build()),
        ("NETWORK as a number", node().value("NETWORK", Kind::NumberValue(1.0)).build()),
        ("CLUSTER_ID null", node().value("CLUSTER_ID", Kind::NullValue(0)).build()),
        ("INSTANCE_IPS as a list", node().value("INSTANCE_IPS", Kind::ListValue(Default::default())).build()),
        ("LABELS as a string", node().text("LABELS", "app=vm").build()),
        ("PROXY_CONFIG as a string", node().text("PROXY_CONFIG", "x").build()),
        ("PROXY_CONFIG with an unknown key", {
            let fields = [("nonsense".to_owned(), Kind::BoolValue(true))];
            let fields =
                fields.map(|(key, kind)| (key, xds_proto::google::protobuf::Value { kind: Some(kind) }));
            node().value("PROXY_CONFIG", Kind::StructValue(Struct { fields: fields.into() })).build()
        }),
        ("an unknown key", node().value("NONSENSE", Kind::BoolValue(true)).build()),
        ("an unknown cluster", node().cluster("cluster9").build()),
        ("no cluster", node().without("CLUSTER_ID").build()),
        ("no metadata", Node { metadata: None, ..node().build() }),
    ];
    let mut lines = Vec::new();
    for (name, node) in nodes {
        lines.push(format!("{name}: {}", refused(side, &node).await));
    }
    lines
}

pub(crate) async fn a_node_of_another_account_is_rejected(side: &mut Side) -> Transcript {
    let mut lines = Vec::new();
    for (namespace, account) in [("weather", "vm"), ("legacy", "other"), ("weather", "other"), ("legacy", "")]
    {
        let node = NodeBuilder::default().account(namespace, account).build();
        lines.push(refused(side, &node).await);
    }
    let mut other = NodeBuilder::default().build();
    other.metadata.as_mut().expect("metadata").fields.remove("NAMESPACE");
    lines.push(refused(side, &other).await);
    other.id = "sidecar~192.168.7.7~vm.legacy~weather.svc.cluster.local".to_owned();
    lines.push(refused(side, &other).await);
    other.id = "sidecar~192.168.7.7~vm.legacy~nowhere".to_owned();
    lines.push(refused(side, &other).await);
    lines
}

fn token(side: &Side, audience: &str, lifetime: Duration) -> String {
    match side {
        Side::Real(_) => Vm::default().token(audience, lifetime),
        Side::Imitation(imitation) => {
            let options = TokenOptions::default().with_audience(audience).with_lifetime(lifetime);
            imitation.sandbox.token("legacy", "vm", &options)
        }
    }
}

pub(crate) async fn an_invalid_token_is_rejected_without_a_reason(side: &mut Side) -> Transcript {
    let hour = Duration::from_secs(3600);
    let good = token(side, "istio-ca", hour);
    let with = |token: &str, cluster: &[&str]| Credentials {
        token: Some(token.to_owned()),
        cluster_header: cluster.iter().map(|cluster| (*cluster).to_owned()).collect(),
    };
    let shown = [
        ("nothing", Credentials::default()),
        ("a cluster and no token", Credentials { token: None, ..with("", &["cluster1"]) }),
        ("an empty token", with("", &["cluster1"])),
        ("nonsense", with("nonsense", &["cluster1"])),
        ("an expired token", with(&token(side, "istio-ca", Duration::ZERO), &["cluster1"])),
        ("another audience", with(&token(side, "vault", hour), &["cluster1"])),
        ("an unknown cluster", with(&good, &["cluster9"])),
        ("no cluster", with(&good, &[])),
        ("an empty cluster", with(&good, &[""])),
        ("two clusters", with(&good, &["cluster1", "cluster1"])),
        ("the cluster", with(&good, &["cluster1"])),
    ];
    let mut lines = Vec::new();
    for (name, credentials) in shown {
        let mut stream = side.server().stream(&credentials).await;
        stream.introduce(&NodeBuilder::default().build(), type_url::NAME_TABLE).await;
        let ads = stream.outcome().await.map_or_else(|end| status(&end), |_| "gets a response".into());
        let ca = side.server().sign(&credentials, &csr(), 3600).await;
        let ca = ca.map_or_else(|end| status(&end), |it| format!("{} certificates", it.cert_chain.len()));
        lines.push(format!("{name}: ADS {ads}, CA {ca}"));
    }
    lines
}

pub(crate) async fn an_invalid_csr_is_rejected(side: &mut Side) -> Transcript {
    let credentials = side.credentials(&NodeBuilder::default());
    let (good, day) = (csr(), 24 * 3600);
    let asked = [
        ("an hour", good.clone(), 3600),
        ("no lifetime", good.clone(), 0),
        ("a negative lifetime", good.clone(), -1),
        ("the maximum lifetime", good.clone(), 90 * day),
        ("a lifetime above the maximum", good.clone(), 90 * day + 1),
        ("nothing", String::new(), 3600),
        ("no PEM", "nonsense".to_owned(), 3600),
        (
            "PEM of random bytes",
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n".to_owned(),
            3600,
        ),
        ("PEM with another label", good.replace("CERTIFICATE REQUEST", "CERTIFICATE"), 3600),
        ("two requests", good.repeat(2), 3600),
    ];
    let mut lines = Vec::new();
    for (name, csr, seconds) in asked {
        let answer = side.server().sign(&credentials, &csr, seconds).await;
        let answer =
            answer.map_or_else(|end| status(&end), |it| format!("{} certificates", it.cert_chain.len()));
        lines.push(format!("{name}: {answer}"));
    }
    lines
}

pub(crate) async fn an_unknown_type_ends_the_stream(side: &mut Side) -> Transcript {
    let mut lines = Vec::new();
    for kind in ["type.googleapis.com/a.Unknown", "nonsense", ""] {
        let mut stream = side.subscribed(&[type_url::NAME_TABLE], &[]).await;
        stream.subscribe(kind, &[]).await;
        lines.push(status(&stream.end().await));
    }
    lines
}

pub(crate) async fn a_nack_for_a_type_without_a_subscription_crashes_istiod(side: &mut Side) -> Transcript {
    let mut stream = side.subscribed(&[type_url::NAME_TABLE], &[]).await;
    let mut bystander = side.subscribed(&[type_url::NAME_TABLE], &[]).await;
    stream.nack(type_url::CLUSTER, "", "replayed after a reconnect").await;
    // The status after a broken connection is created by the client, so only the fact that the connection broke is
    // compared.
    let ends = [stream.end().await, bystander.end().await].map(|status| status.code() != tonic::Code::Ok);
    let address = side.server().address;
    let closed = timeout(DYING, async { while TcpStream::connect(address).await.is_ok() {} }).await;
    vec![format!("both streams broke: {ends:?}, the port is closed: {}", closed.is_ok())]
}

mod contents;
mod model;

use proptest::prelude::*;
use prost::Message as _;
use xds_proto::{
    any,
    envoy::config::{
        cluster::v3::Cluster as WireCluster,
        core::v3::{Address, SocketAddress, address, socket_address::PortSpecifier},
        endpoint::v3::{
            ClusterLoadAssignment, Endpoint as WireEndpoint, LbEndpoint, LocalityLbEndpoints,
            lb_endpoint::HostIdentifier,
        },
    },
    google::protobuf::{Any, Duration as WireDuration},
    istio::networking::nds::v1::{NameTable as WireTable, name_table::NameInfo},
};

use super::*;

const FORECAST: &str = "outbound|3002||forecast.weather.svc.cluster.local";

fn session() -> Session {
    Session::new(Node { id: "sidecar~10.0.0.1~vm.vms~vms.svc.cluster.local".into(), ..Node::default() }, 0)
}

fn wanted(clusters: bool, endpoints: &[&str]) -> SubscriptionSet {
    SubscriptionSet { clusters, endpoints: endpoints.iter().map(|name| (*name).into()).collect() }
}

fn change(subscribe: &[&str], unsubscribe: &[&str]) -> SubscriptionDelta {
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    SubscriptionDelta { clusters: false, subscribe: names(subscribe), unsubscribe: names(unsubscribe) }
}

fn response(type_url: &str, nonce: &str, resources: Vec<(&str, Any)>) -> DeltaDiscoveryResponse {
    let resource = |(name, any): (&str, Any)| Resource {
        name: name.into(),
        resource: Some(any),
        version: String::new(),
    };
    DeltaDiscoveryResponse {
        type_url: type_url.into(),
        nonce: nonce.into(),
        resources: resources.into_iter().map(resource).collect(),
        ..DeltaDiscoveryResponse::default()
    }
}

fn names(name: &str) -> Any {
    let info = NameInfo { ips: vec!["10.0.0.1".into()], ..NameInfo::default() };
    any::pack(type_url::NAME_TABLE, &WireTable { table: [(name.to_owned(), info)].into() })
}

fn cluster(name: &str) -> Any {
    any::pack(type_url::CLUSTER, &WireCluster { name: name.into(), ..WireCluster::default() })
}

fn endpoints(name: &str, port: u32) -> Any {
    let address =
        SocketAddress { address: "10.0.0.9".into(), port_specifier: Some(PortSpecifier::PortValue(port)) };
    let endpoint = WireEndpoint {
        address: Some(Address { address: Some(address::Address::SocketAddress(address)) }),
        ..WireEndpoint::default()
    };
    let one =
        LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    let locality = LocalityLbEndpoints { lb_endpoints: vec![one], ..LocalityLbEndpoints::default() };
    let assignment = ClusterLoadAssignment { cluster_name: name.into(), endpoints: vec![locality] };
    any::pack(type_url::ENDPOINT, &assignment)
}

fn broken(type_url: &str) -> Any {
    Any { type_url: type_url.into(), value: vec![0x0a, 0xff].into() }
}

#[test]
fn a_stream_starts_with_the_node_and_the_name_subscription() {
    let messages = session().open(wanted(true, &[FORECAST]));
    let types: Vec<_> = messages.iter().map(|message| &message.type_url[..]).collect();
    assert_eq!(types, [type_url::NAME_TABLE, type_url::PROXY_CONFIG, type_url::CLUSTER, type_url::ENDPOINT]);
    let nodes: Vec<_> = messages.iter().map(|message| message.node.is_some()).collect();
    assert_eq!(nodes, [true, false, false, false]);
    assert!(messages[0].resource_names_subscribe.is_empty());
    assert_eq!(messages[3].resource_names_subscribe, [FORECAST]);
    assert!(
        messages.iter().all(|message| message.response_nonce.is_empty() && message.error_detail.is_none())
    );
}

#[test]
fn requests_for_many_clusters_stay_under_the_size_limit() {
    let many: Vec<_> =
        (0..100_000).map(|at| format!("outbound|80||service-{at}.namespace.svc.cluster.local")).collect();
    let mut session = session();
    let all =
        SubscriptionSet { clusters: true, endpoints: many.iter().map(|name| (&**name).into()).collect() };
    let messages = session.open(all.clone());
    assert!(messages.iter().all(|message| message.encoded_len() < 4 << 20));
    let subscribed: usize = messages.iter().map(|message| message.resource_names_subscribe.len()).sum();
    assert_eq!(subscribed, many.len());
    // The next stream would have to name all known clusters. That exceeds the limit, so none is named, and clusters
    // that are not sent are removed.
    let push = many.iter().map(|name| (&**name, cluster(name))).collect();
    session.receive(response(type_url::CLUSTER, "n1", push)).unwrap();
    let messages = session.open(all);
    assert!(messages.iter().all(|message| message.encoded_len() < 4 << 20));
    assert!(messages.iter().all(|message| message.initial_resource_versions.is_empty()));
    let push = response(type_url::CLUSTER, "n2", vec![(&many[7], cluster(&many[7]))]);
    let reaction = session.receive(push).unwrap();
    assert!(matches!(reaction.update, Some(Update::Clusters(clusters)) if clusters.len() == 1));
}

#[test]
fn a_push_is_acknowledged_with_its_nonce_and_nothing_else() {
    let mut session = session();
    session.open(SubscriptionSet::default());
    let reaction =
        session.receive(response(type_url::NAME_TABLE, "n1", vec![("", names("a.example"))])).unwrap();
    assert!(matches!(reaction.update, Some(Update::Names(Some(table))) if table.get("a.example").is_some()));
    let reply = reaction.reply;
    assert_eq!((&reply.response_nonce[..], &reply.type_url[..]), ("n1", type_url::NAME_TABLE));
    assert_eq!(reply, DeltaDiscoveryRequest { response_nonce: "n1".into(), ..request(type_url::NAME_TABLE) });
}

#[test]
fn an_invalid_cluster_is_rejected_and_the_valid_ones_are_used() {
    let mut session = session();
    session.open(wanted(true, &[]));
    let push = vec![
        (FORECAST, cluster(FORECAST)),
        ("bad", broken(type_url::CLUSTER)),
        ("", cluster("BlackHoleCluster")),
    ];
    let reaction = session.receive(response(type_url::CLUSTER, "c1", push)).unwrap();
    let Some(Update::Clusters(clusters)) = reaction.update else { panic!("no clusters") };
    assert!(clusters.get("forecast.weather.svc.cluster.local", 3002, "").is_some());
    assert_eq!(clusters.len(), 1);
    assert!(reaction.reply.error_detail.unwrap().message.contains("cluster bad"));
}

#[test]
fn the_next_stream_names_the_known_clusters() {
    let mut session = session();
    session.open(wanted(true, &[]));
    session.receive(response(type_url::CLUSTER, "c1", vec![(FORECAST, cluster(FORECAST))])).unwrap();
    let messages = session.open(wanted(true, &[]));
    assert_eq!(messages[2].initial_resource_versions.keys().collect::<Vec<_>>(), [FORECAST]);
    assert!(messages[0].initial_resource_versions.is_empty());
    let mut vanished = response(type_url::CLUSTER, "c2", vec![]);
    vanished.removed_resources = vec![FORECAST.into()];
    assert!(
        matches!(session.receive(vanished).unwrap().update, Some(Update::Clusters(clusters)) if clusters.is_empty())
    );
}

#[test]
fn endpoint_subscriptions_change_in_separate_messages() {
    let mut session = session();
    session.open(wanted(true, &["a", "b"]));
    let known = SubscriptionDelta { clusters: true, ..change(&["a", "b"], &["never"]) };
    assert!(session.change(known).is_empty(), "existing subscriptions are not sent again");
    let messages = session.change(change(&["c"], &["a"]));
    let [drop, add] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(
        (&add.resource_names_subscribe[..], drop.resource_names_subscribe.len()),
        (&["c".to_owned()][..], 0)
    );
    assert_eq!(
        (&drop.resource_names_unsubscribe[..], add.resource_names_unsubscribe.len()),
        (&["a".to_owned()][..], 0)
    );
    assert!(messages.iter().all(|message| message.response_nonce.is_empty()));
}

#[test]
fn a_subscription_above_the_size_limit_is_split() {
    let names: Vec<String> =
        (0..100_000).map(|i| format!("outbound|80||service-{i}.namespace.svc.cluster.local")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let messages = session().open(wanted(false, &names));
    assert!(messages.len() > 3, "{}", messages.len());
    assert!(messages.iter().all(|message| message.encoded_len() < 4 << 20));
    let subscribed: usize = messages.iter().map(|message| message.resource_names_subscribe.len()).sum();
    assert_eq!(subscribed, names.len());
}

#[test]
fn clusters_above_the_size_limit_are_replaced_by_the_first_response() {
    let mut session = session();
    session.open(wanted(true, &[]));
    let names: Vec<String> =
        (0..50_000).map(|i| format!("outbound|80||service-{i}.{:060}.local", 0)).collect();
    let push = names.iter().map(|name| (&name[..], cluster(name))).collect();
    session.receive(response(type_url::CLUSTER, "c1", push)).unwrap();
    let messages = session.open(wanted(true, &[]));
    assert!(messages[2].initial_resource_versions.is_empty());
    let push = response(type_url::CLUSTER, "c2", vec![(&names[7], cluster(&names[7]))]);
    assert!(
        matches!(session.receive(push).unwrap().update, Some(Update::Clusters(clusters)) if clusters.len() == 1)
    );
    let push = response(type_url::CLUSTER, "c3", vec![(&names[8], cluster(&names[8]))]);
    assert!(
        matches!(session.receive(push).unwrap().update, Some(Update::Clusters(clusters)) if clusters.len() == 2)
    );
}

#[test]
fn an_unanswered_subscription_is_known() {
    let mut session = session();
    session.open(wanted(true, &[]));
    session.receive(response(type_url::NAME_TABLE, "n1", vec![("", names("a.example"))])).unwrap();
    assert_eq!(session.unanswered(), Some(type_url::CLUSTER));
    session.receive(response(type_url::CLUSTER, "c1", vec![])).unwrap();
    assert_eq!(session.unanswered(), None, "istiod does not have to answer roots");
    session.change(change(&["a"], &[]));
    assert_eq!(session.unanswered(), Some(type_url::ENDPOINT));
    session.change(change(&[], &["a"]));
    assert_eq!(session.unanswered(), None);
}

#[test]
fn a_push_of_endpoints_changes_only_its_names() {
    let mut session = session();
    session.open(wanted(true, &["a", "b"]));
    let push = vec![("a", endpoints("a", 8080)), ("nobody's", endpoints("nobody's", 1))];
    let reaction = session.receive(response(type_url::ENDPOINT, "e1", push)).unwrap();
    let Some(Update::Endpoints(changed)) = reaction.update else { panic!("no endpoints") };
    assert_eq!(changed.len(), 1);
    assert_eq!((&*changed[0].0, changed[0].1.iter().count()), ("a", 1));
}

#[test]
fn a_type_without_a_subscription_gets_no_reply() {
    let mut session = session();
    session.open(SubscriptionSet::default());
    for type_url in ["type.googleapis.com/unknown", type_url::CLUSTER] {
        let error = session.receive(response(type_url, "x", vec![("x", broken(type_url))])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResource);
    }
}

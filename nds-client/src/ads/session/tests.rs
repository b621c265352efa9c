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
    google::protobuf::Any,
    istio::networking::nds::v1::{NameTable as WireTable, name_table::NameInfo},
};

use super::*;

const FORECAST: &str = "outbound|3002||forecast.weather.svc.cluster.local";

fn session() -> Session {
    Session::new(Node { id: "sidecar~10.0.0.1~vm.vms~vms.svc.cluster.local".into(), ..Node::default() })
}

fn wanted(clusters: bool, endpoints: &[&str]) -> Wanted {
    Wanted { clusters, endpoints: endpoints.iter().map(|name| (*name).to_owned()).collect() }
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
fn a_stream_begins_with_the_node_and_the_names_without_a_nonce() {
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
fn a_push_is_acknowledged_with_its_nonce_and_nothing_else() {
    let mut session = session();
    session.open(Wanted::default());
    let reaction = session.receive(response(type_url::NAME_TABLE, "n1", vec![("", names("a.example"))]));
    assert!(matches!(reaction.update, Some(Update::Names(table)) if table.get("a.example").is_some()));
    let reply = reaction.reply.unwrap();
    assert_eq!((&reply.response_nonce[..], &reply.type_url[..]), ("n1", type_url::NAME_TABLE));
    assert_eq!(reply, DeltaDiscoveryRequest { response_nonce: "n1".into(), ..request(type_url::NAME_TABLE) });
}

#[test]
fn a_name_table_that_does_not_decode_is_rejected_once_and_changes_nothing() {
    let mut session = session();
    session.open(Wanted::default());
    let reaction =
        session.receive(response(type_url::NAME_TABLE, "n1", vec![("", broken(type_url::NAME_TABLE))]));
    assert!(reaction.update.is_none());
    assert_eq!(reaction.rejected.unwrap().kind(), ErrorKind::InvalidResource);
    let reply = reaction.reply.unwrap();
    assert_eq!(reply.response_nonce, "n1");
    assert!(reply.error_detail.unwrap().message.contains("name table"));
    assert!(session.want(Wanted::default()).is_empty(), "nothing more is said about it");
}

#[test]
fn an_answer_without_a_table_says_nothing_new() {
    let mut session = session();
    session.open(Wanted::default());
    let reaction = session.receive(response(type_url::NAME_TABLE, "n1", vec![]));
    assert!(reaction.update.is_none() && reaction.rejected.is_none());
}

#[test]
fn a_bad_cluster_is_rejected_and_the_good_ones_beside_it_are_taken() {
    let mut session = session();
    session.open(wanted(true, &[]));
    let push = vec![
        (FORECAST, cluster(FORECAST)),
        ("bad", broken(type_url::CLUSTER)),
        ("", cluster("BlackHoleCluster")),
    ];
    let reaction = session.receive(response(type_url::CLUSTER, "c1", push));
    let Some(Update::Clusters(clusters)) = reaction.update else { panic!("no clusters") };
    assert!(clusters.get("forecast.weather.svc.cluster.local", 3002, "").is_some());
    assert_eq!(clusters.len(), 1);
    assert!(reaction.reply.unwrap().error_detail.unwrap().message.contains("cluster bad"));
}

#[test]
fn the_next_stream_names_the_clusters_it_knows_so_that_vanished_ones_are_reported() {
    let mut session = session();
    session.open(wanted(true, &[]));
    session.receive(response(type_url::CLUSTER, "c1", vec![(FORECAST, cluster(FORECAST))]));
    let messages = session.open(wanted(true, &[]));
    assert_eq!(messages[2].initial_resource_versions.keys().collect::<Vec<_>>(), [FORECAST]);
    assert!(messages[0].initial_resource_versions.is_empty());
    let mut vanished = response(type_url::CLUSTER, "c2", vec![]);
    vanished.removed_resources = vec![FORECAST.into()];
    assert!(
        matches!(session.receive(vanished).update, Some(Update::Clusters(clusters)) if clusters.is_empty())
    );
}

#[test]
fn endpoints_are_subscribed_and_dropped_in_messages_of_their_own() {
    let mut session = session();
    session.open(wanted(true, &["a", "b"]));
    assert!(session.want(wanted(true, &["a", "b"])).is_empty(), "what is subscribed is not asked for again");
    let messages = session.want(wanted(true, &["b", "c"]));
    let [message] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(message.resource_names_subscribe, ["c"]);
    assert_eq!(message.resource_names_unsubscribe, ["a"]);
    assert!(message.response_nonce.is_empty());
}

#[test]
fn a_push_of_endpoints_changes_only_the_clusters_it_names() {
    let mut session = session();
    session.open(wanted(true, &["a", "b"]));
    let push = vec![("a", endpoints("a", 8080)), ("nobody's", endpoints("nobody's", 1))];
    let reaction = session.receive(response(type_url::ENDPOINT, "e1", push));
    let Some(Update::Endpoints(changed)) = reaction.update else { panic!("no endpoints") };
    assert_eq!(changed.len(), 1);
    assert_eq!((&changed[0].0[..], changed[0].1.iter().count()), ("a", 1));
}

#[test]
fn a_type_that_nobody_asked_for_gets_no_reply() {
    let mut session = session();
    session.open(Wanted::default());
    for type_url in ["type.googleapis.com/unknown", type_url::CLUSTER] {
        let reaction = session.receive(response(type_url, "x", vec![("x", broken(type_url))]));
        assert!(reaction.reply.is_none() && reaction.update.is_none() && reaction.rejected.is_some());
    }
}

/// What an adversarial server and impatient callers do.
#[derive(Clone, Debug)]
enum Event {
    Garbage { type_url: usize, value: Vec<u8>, nonce: String },
    Open,
    Push { type_url: usize, name: usize, removed: bool },
    Want { clusters: bool, endpoints: BTreeSet<usize> },
}

const TYPES: [&str; 5] = [
    type_url::NAME_TABLE,
    type_url::PROXY_CONFIG,
    type_url::CLUSTER,
    type_url::ENDPOINT,
    "type.googleapis.com/other",
];
const NAMES: [&str; 3] = [FORECAST, "outbound|1||a", "BlackHoleCluster"];

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Open),
        (0..5usize, any::<Vec<u8>>(), "[a-z]{0,3}").prop_map(|(type_url, value, nonce)| Event::Garbage {
            type_url,
            value,
            nonce
        }),
        (0..5usize, 0..3usize, any::<bool>()).prop_map(|(type_url, name, removed)| Event::Push {
            type_url,
            name,
            removed
        }),
        (any::<bool>(), proptest::collection::btree_set(0..3usize, 0..3))
            .prop_map(|(clusters, endpoints)| Event::Want { clusters, endpoints }),
    ]
}

fn pushed(type_url: &str, name: &str) -> Any {
    match type_url {
        type_url::NAME_TABLE => names(name),
        type_url::CLUSTER => cluster(name),
        _ => endpoints(name, 1),
    }
}

proptest! {
    #[test]
    fn nothing_is_said_that_istiod_loses_or_dies_of(events in proptest::collection::vec(event(), 1..60)) {
        let mut session = session();
        let mut wanted = Wanted::default();
        let mut subscribed = BTreeSet::from([type_url::NAME_TABLE, type_url::PROXY_CONFIG].map(str::to_owned));
        session.open(wanted.clone());
        for event in events {
            let opens = matches!(event, Event::Open);
            let said: Vec<_> = match event {
                Event::Open => {
                    subscribed.clear();
                    session.open(wanted.clone())
                }
                Event::Want { clusters, endpoints } => {
                    wanted = Wanted {
                        clusters: clusters || wanted.clusters,
                        endpoints: endpoints.into_iter().map(|at| NAMES[at].to_owned()).collect(),
                    };
                    session.want(wanted.clone())
                }
                Event::Garbage { type_url, value, nonce } => {
                    let any = Any { type_url: TYPES[type_url].into(), value: value.into() };
                    session.receive(response(TYPES[type_url], &nonce, vec![("x", any)])).reply.into_iter().collect()
                }
                Event::Push { type_url, name, removed } => {
                    let (type_url, name) = (TYPES[type_url], NAMES[name]);
                    let mut push = response(type_url, "n", vec![(name, pushed(type_url, name))]);
                    if removed {
                        push.resources.clear();
                        push.removed_resources.push(name.into());
                    }
                    session.receive(push).reply.into_iter().collect()
                }
            };
            for (at, message) in said.iter().enumerate() {
                let first = opens && at == 0;
                prop_assert_eq!(message.node.is_some(), first, "the node comes in the first message alone");
                prop_assert!(TYPES[..4].contains(&&message.type_url[..]), "an unknown type ends the stream");
                let changes = !message.resource_names_subscribe.is_empty() || !message.resource_names_unsubscribe.is_empty();
                prop_assert!(!changes || message.response_nonce.is_empty(), "a change never rides on a nonce");
                if message.error_detail.is_some() {
                    prop_assert!(!first && subscribed.contains(&message.type_url), "an error only to a type of this stream");
                }
                prop_assert!(message.encode_to_vec().len() < 4 << 20);
                subscribed.insert(message.type_url.clone());
            }
        }
    }
}

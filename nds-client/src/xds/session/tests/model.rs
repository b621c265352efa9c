//! Compares the session with a simple model, under an adversarial server and random callers.

use std::collections::BTreeMap;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    /// Arbitrary bytes under an arbitrary type.
    Garbage {
        type_url: usize,
        value: Vec<u8>,
        nonce: String,
    },
    /// The stream is lost and another one is opened.
    Open,
    /// A push of several valid or invalid resources and of removals.
    Push {
        type_url: usize,
        resources: Vec<(usize, u16, bool)>,
        removed: Vec<usize>,
        nonce: u8,
    },
    /// An earlier response is repeated.
    Again(usize),
    Want {
        clusters: bool,
        endpoints: BTreeSet<usize>,
    },
}

const TYPES: [&str; 5] = [
    type_url::NAME_TABLE,
    type_url::PROXY_CONFIG,
    type_url::CLUSTER,
    type_url::ENDPOINT,
    "type.googleapis.com/other",
];
const NAMES: [&str; 4] = [FORECAST, "outbound|1||a", "outbound|2||b", "BlackHoleCluster"];

fn event() -> impl Strategy<Value = Event> {
    use proptest::collection::{btree_set, vec};
    let names = || 0..NAMES.len();
    prop_oneof![
        1 => Just(Event::Open),
        1 => (0..TYPES.len(), any::<Vec<u8>>(), "[a-z]{0,3}")
            .prop_map(|(type_url, value, nonce)| Event::Garbage { type_url, value, nonce }),
        4 => (0..TYPES.len(), vec((names(), 1u16..9, prop::bool::weighted(0.9)), 0..4), vec(names(), 0..2), 0u8..3)
            .prop_map(|(type_url, resources, removed, nonce)| Event::Push { type_url, resources, removed, nonce }),
        1 => (0usize..8).prop_map(Event::Again),
        2 => (any::<bool>(), btree_set(names(), 0..3))
            .prop_map(|(clusters, endpoints)| Event::Want { clusters, endpoints }),
    ]
}

/// The expected state: the last valid value of each resource.
#[derive(Debug, Default)]
struct Model {
    subscriptions: SubscriptionSet,
    clusters_asked: bool,
    endpoints_asked: bool,
    names: Option<String>,
    clusters: BTreeMap<String, u64>,
    endpoints: BTreeMap<Arc<str>, u16>,
}

impl Model {
    fn push(&mut self, push: &DeltaDiscoveryResponse) {
        match &push.type_url[..] {
            type_url::NAME_TABLE => {
                let table = push.resources.first().and_then(|first| first.resource.as_ref());
                let table = table.and_then(|any| any::unpack::<WireTable>(any).ok());
                self.names = table.and_then(|table| table.table.into_keys().next()).or(self.names.take());
            }
            type_url::CLUSTER if self.clusters_asked => {
                self.clusters.retain(|name, _| !push.removed_resources.contains(name));
                for resource in &push.resources {
                    let value: Option<WireCluster> =
                        resource.resource.as_ref().and_then(|any| any::unpack(any).ok());
                    let Some(value) = value.filter(|value| value.name.starts_with("outbound|")) else {
                        continue;
                    };
                    let timeout = value.connect_timeout.map_or(5, |timeout| timeout.seconds.unsigned_abs());
                    self.clusters.insert(value.name, timeout);
                }
            }
            type_url::ENDPOINT if self.endpoints_asked => {
                let removed = push.removed_resources.iter().map(|name| (name, Some(0)));
                let pushed =
                    push.resources.iter().map(|one| (&one.name, one.resource.as_ref().and_then(port)));
                for (name, port) in pushed.chain(removed) {
                    if let (Some(name), Some(port)) = (self.subscriptions.endpoints.get(&name[..]), port) {
                        self.endpoints.insert(name.clone(), port);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Returns the port of the only endpoint, 0 without one; `None` for an invalid assignment.
fn port(any: &Any) -> Option<u16> {
    let endpoints = Endpoints::decode(&any.value).ok()?;
    Some(endpoints.iter().next().map_or(0, |(_, endpoint)| endpoint.port))
}

/// The values that the session has published.
#[derive(Debug, Default)]
struct Published {
    names: Option<String>,
    clusters: BTreeMap<String, u64>,
    endpoints: BTreeMap<Arc<str>, u16>,
}

impl Published {
    fn take(&mut self, update: Option<Update>) {
        match update {
            Some(Update::Names(Some(table))) => {
                self.names = table.iter().next().map(|entry| entry.name().to_owned()).or(self.names.take());
            }
            Some(Update::Clusters(clusters)) => {
                let each = clusters.iter();
                self.clusters =
                    each.map(|one| (one.name.to_string(), one.connect_timeout.as_secs())).collect();
            }
            Some(Update::Endpoints(changed)) => self.endpoints.extend(
                changed
                    .into_iter()
                    .map(|(name, all)| (name, all.iter().next().map_or(0, |(_, one)| one.port))),
            ),
            Some(Update::Names(None) | Update::Roots(_)) | None => {}
        }
    }
}

fn pushed(type_url: &str, name: &str, number: u16, good: bool) -> Any {
    match type_url {
        _ if !good => broken(type_url),
        type_url::NAME_TABLE => names(&format!("{number}.example")),
        type_url::CLUSTER => {
            let connect_timeout = Some(WireDuration { seconds: number.into(), nanos: 0 });
            let cluster = WireCluster { name: name.into(), connect_timeout, ..WireCluster::default() };
            any::pack(type_url::CLUSTER, &cluster)
        }
        _ => endpoints(name, number.into()),
    }
}

fn push(
    type_url: usize,
    resources: &[(usize, u16, bool)],
    removed: &[usize],
    nonce: u8,
) -> DeltaDiscoveryResponse {
    let type_url = TYPES[type_url];
    let resources = resources.iter().map(|(name, number, good)| {
        // Only clusters and endpoints have names.
        let name = NAMES[*name];
        (name, pushed(type_url, name, *number, *good))
    });
    let mut push = response(type_url, &format!("n{nonce}"), resources.collect());
    push.removed_resources = removed.iter().map(|name| NAMES[*name].to_owned()).collect();
    push
}

/// Checks every message against the rules of istiod.
fn check(
    said: &[DeltaDiscoveryRequest],
    opens: bool,
    subscribed: &mut BTreeSet<String>,
) -> Result<(), TestCaseError> {
    for (at, message) in said.iter().enumerate() {
        let first = opens && at == 0;
        prop_assert_eq!(message.node.is_some(), first, "only the first message contains the node");
        prop_assert!(TYPES[..4].contains(&&message.type_url[..]), "an unknown type ends the stream");
        let (more, less) = (&message.resource_names_subscribe, &message.resource_names_unsubscribe);
        let changes = !more.is_empty() || !less.is_empty();
        prop_assert!(!changes || message.response_nonce.is_empty(), "a change has no nonce");
        prop_assert!(
            !changes || message.type_url == type_url::ENDPOINT,
            "only endpoints have explicit names"
        );
        if message.error_detail.is_some() {
            prop_assert!(
                !first && subscribed.contains(&message.type_url),
                "an error only for a type of this stream"
            );
        }
        prop_assert!(message.encoded_len() < 4 << 20);
        subscribed.insert(message.type_url.clone());
    }
    Ok(())
}

fn want(model: &mut Model, clusters: bool, endpoints: BTreeSet<usize>) -> SubscriptionDelta {
    let endpoints: BTreeSet<Arc<str>> = endpoints.into_iter().map(|at| NAMES[at].into()).collect();
    let before = std::mem::replace(&mut model.subscriptions.endpoints, endpoints.clone());
    model.subscriptions.clusters |= clusters;
    model.endpoints.retain(|name, _| endpoints.contains(name));
    SubscriptionDelta {
        clusters: model.subscriptions.clusters,
        subscribe: endpoints.difference(&before).cloned().collect(),
        unsubscribe: before.difference(&endpoints).cloned().collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_server_makes_it_lose_what_was_good_or_say_what_istiod_loses_or_dies_of(
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let (mut session, mut model, mut published) = (session(), Model::default(), Published::default());
        let mut subscribed = BTreeSet::new();
        let mut pushes = Vec::new();
        check(&session.open(SubscriptionSet::default()), true, &mut subscribed)?;
        for event in events {
            let next = match event {
                Event::Open => {
                    subscribed.clear();
                    let said = session.open(model.subscriptions.clone());
                    check(&said, true, &mut subscribed)?;
                    model.clusters_asked = model.subscriptions.clusters;
                    model.endpoints_asked = !model.subscriptions.endpoints.is_empty();
                    None
                }
                Event::Want { clusters, endpoints } => {
                    let change = want(&mut model, clusters, endpoints);
                    model.clusters_asked = model.subscriptions.clusters;
                    model.endpoints_asked |= !change.subscribe.is_empty();
                    check(&session.change(change), false, &mut subscribed)?;
                    published.endpoints.retain(|name, _| model.subscriptions.endpoints.contains(name));
                    None
                }
                Event::Garbage { type_url, value, nonce } => {
                    let any = Any { type_url: TYPES[type_url].into(), value: value.into() };
                    Some(response(TYPES[type_url], &nonce, vec![("x", any)]))
                }
                Event::Push { type_url, resources, removed, nonce } => {
                    Some(push(type_url, &resources, &removed, nonce))
                }
                Event::Again(at) => pushes.iter().rev().nth(at).cloned(),
            };
            let Some(push) = next else { continue };
            pushes.push(push.clone());
            model.push(&push);
            let nonce = push.nonce.clone();
            if let Ok(Reaction { reply, update, rejected, .. }) = session.receive(push) {
                prop_assert_eq!(&reply.response_nonce, &nonce);
                prop_assert_eq!(reply.error_detail.is_some(), rejected.is_some());
                check(&[reply], false, &mut subscribed)?;
                published.take(update);
            }
            prop_assert_eq!(&published.names, &model.names);
            prop_assert_eq!(&published.clusters, &model.clusters);
            prop_assert_eq!(&published.endpoints, &model.endpoints);
        }
    }
}

use super::*;
use crate::{
    hosts::Held,
    testing::{Authority, auto_mtls, bare, clusters, endpoint, endpoints, locality},
};

const NAME: &str = "outbound|3002||forecast.weather.svc.cluster.local";

/// The state of a control plane with these clusters.
fn inputs(clusters: Clusters, identity: Option<&Arc<Identity>>) -> Inputs {
    Inputs { names: Arc::default(), clusters: Arc::new(clusters), identity: identity.cloned() }
}

fn entry(config: Arc<Cluster>, inputs: &Inputs, before: Option<&ClusterEntry>) -> Arc<ClusterEntry> {
    let tls = TlsConfigs::new(&config, Arc::default());
    let source = EndpointSource::Inline(Arc::default());
    Arc::new(ClusterEntry::new(config, inputs.identity.clone(), tls, source, before))
}

/// A snapshot in which all clusters are in use.
fn in_use(inputs: &Inputs) -> Snapshot {
    let entries = inputs.clusters.iter().map(|cluster| (cluster.name.clone(), entry(cluster, inputs, None)));
    Snapshot { of: Some(inputs.clone()), routes: HashMap::default(), entries: entries.collect() }
}

fn updated(snapshot: &Snapshot, inputs: &Inputs) -> Snapshot {
    let config = |name: &ClusterName| inputs.clusters.get(&name.host, name.port, &name.subset);
    snapshot.updated(inputs, config, |config, before| entry(config, inputs, Some(before)))
}

fn only(snapshot: &Snapshot) -> &Arc<ClusterEntry> {
    assert_eq!(snapshot.entries.len(), 1);
    snapshot.entries.values().next().unwrap()
}

/// The same cluster values and one more, as a push that changes another cluster has them.
fn with_another(inputs: &Inputs) -> Clusters {
    inputs.clusters.iter().chain([Arc::new(bare("outbound|1||another"))]).collect()
}

#[tokio::test]
async fn a_push_that_does_not_affect_a_cluster_keeps_its_entry() {
    let identity = Arc::new(Authority::new().identity("spiffe://cluster.local/ns/vms/sa/vm"));
    let first = inputs(clusters([auto_mtls(NAME, &[])]), Some(&identity));
    let before = in_use(&first);
    let after = updated(&before, &inputs(with_another(&first), Some(&identity)));
    assert!(Arc::ptr_eq(only(&before), only(&after)));
}

#[tokio::test]
async fn another_configuration_or_identity_replaces_the_entry_and_its_statistics_go_on() {
    let authority = Authority::new();
    let [one, two] = [(), ()].map(|()| Arc::new(authority.identity("spiffe://cluster.local/ns/vms/sa/vm")));
    let first = inputs(clusters([auto_mtls(NAME, &[])]), Some(&one));
    let before = in_use(&first);
    let address = endpoint(([127, 0, 0, 1], 1).into());
    let hosts = only(&before).hosts_of(Arc::new(endpoints(vec![locality(0, 1, vec![address])])));
    let _connection = Held::new(&hosts, 0);
    let same_clusters = || first.clusters.iter().collect();
    let changed = clusters([auto_mtls(NAME, &["spiffe://cluster.local/ns/weather/sa/forecast"])]);
    for next in
        [inputs(changed, Some(&one)), inputs(same_clusters(), Some(&two)), inputs(same_clusters(), None)]
    {
        let after = updated(&before, &next);
        assert!(!Arc::ptr_eq(only(&before), only(&after)));
        assert_eq!(only(&after).statuses()[0].connections, 1);
    }
}

#[tokio::test]
async fn entries_of_clusters_that_are_gone_are_dropped() {
    let names = (1..=100).map(|port| bare(&format!("outbound|{port}||gone")));
    let before = in_use(&inputs(clusters(names.chain([bare("outbound|80||stays")])), None));
    let stays = before.of.as_ref().unwrap().clusters.get("stays", 80, "").unwrap();
    let after = updated(&before, &inputs([stays].into_iter().collect(), None));
    assert_eq!(only(&after).name().host, "stays");
}

#[test]
fn a_static_gateways_cluster_is_one_value_per_trust_domain() {
    let gateways = StaticGateways::new(Vec::new());
    let name = ClusterName { port: 80, subset: String::new(), host: "a.b.svc.cluster.local".into() };
    let [one, two] = ["spiffe://one/ns/a/sa/b", "spiffe://two/ns/a/sa/b"].map(|id| id.parse().unwrap());
    let first = gateways.cluster(name.clone(), Some(&one));
    assert!(Arc::ptr_eq(&first, &gateways.cluster(name.clone(), Some(&one))));
    assert!(!Arc::ptr_eq(&first, &gateways.cluster(name, Some(&two))));
}

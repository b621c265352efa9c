use std::{net::IpAddr, time::Duration};

use super::{entry::INLINE_IDLE, *};
use crate::{
    dns::MeshNames,
    hosts::ActiveConnection,
    testing::{Authority, auto_mtls, bare, clusters, endpoint, endpoints, locality},
};

const NAME: &str = "outbound|3002||forecast.weather.svc.cluster.local";

/// A name table without names.
struct NoNames;

impl MeshNames for NoNames {
    fn canonical(&self, _host: &str) -> Option<String> {
        None
    }
    fn service_names(&self, _host: &str) -> Vec<String> {
        Vec::new()
    }

    fn addresses(&self, _host: &str) -> Vec<IpAddr> {
        Vec::new()
    }
    fn last_resolved(&self, _ip: IpAddr) -> Option<String> {
        None
    }
    fn at(&self, _ip: IpAddr) -> Vec<String> {
        Vec::new()
    }
}

/// Returns the state of a control plane with these clusters.
fn inputs(clusters: Clusters, identity: Option<&Arc<Identity>>) -> Inputs {
    Inputs { names: Arc::default(), clusters: Arc::new(clusters), identity: identity.cloned() }
}

fn entry(config: Arc<Cluster>, inputs: &Inputs, before: Option<&ClusterEntry>) -> Arc<ClusterEntry> {
    let tls = TlsConfigs::new(&config, Arc::default());
    let source = EndpointSource::Inline(Arc::default());
    Arc::new(ClusterEntry::new(config, inputs.identity.clone(), tls, source, before))
}

/// Returns a snapshot in which all clusters are in use.
fn in_use(inputs: &Inputs) -> Snapshot {
    let entries = inputs.clusters.iter().map(|cluster| (cluster.name.clone(), entry(cluster, inputs, None)));
    Snapshot { of: Some(inputs.clone()), routes: HashMap::default(), entries: entries.collect() }
}

fn updated(snapshot: &Snapshot, inputs: &Inputs) -> Snapshot {
    let config = |cluster: &Arc<Cluster>| inputs.cluster(&cluster.name);
    snapshot.updated(inputs, config, |config, before| entry(config, inputs, Some(before)))
}

fn only(snapshot: &Snapshot) -> &Arc<ClusterEntry> {
    assert_eq!(snapshot.entries.len(), 1);
    snapshot.entries.values().next().unwrap()
}

/// Returns the same clusters and one more, like a push that changes another cluster.
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
async fn a_new_configuration_or_identity_replaces_the_entry_and_keeps_its_statistics() {
    let authority = Authority::new();
    let [one, two] = [(), ()].map(|()| Arc::new(authority.identity("spiffe://cluster.local/ns/vms/sa/vm")));
    let first = inputs(clusters([auto_mtls(NAME, &[])]), Some(&one));
    let before = in_use(&first);
    let address = endpoint(([127, 0, 0, 1], 1).into());
    let hosts = only(&before).hosts_of(Arc::new(endpoints(vec![locality(0, 1, vec![address])])));
    let _connection = ActiveConnection::new(&hosts, 0);
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
async fn entries_of_removed_clusters_are_dropped() {
    let names = (1..=100).map(|port| bare(&format!("outbound|{port}||gone")));
    let before = in_use(&inputs(clusters(names.chain([bare("outbound|80||stays")])), None));
    let stays = before.of.as_ref().unwrap().clusters.get("stays", 80, "").unwrap();
    let after = updated(&before, &inputs([stays].into_iter().collect(), None));
    assert_eq!(only(&after).name().host, "stays");
}

#[tokio::test(start_paused = true)]
async fn an_inline_cluster_without_connections_is_dropped_after_an_idle_time() {
    let state =
        inputs(clusters([bare("outbound|80||a"), bare("outbound|80||b"), bare("outbound|80||c")]), None);
    let before = in_use(&state);
    let entry = |host: &str| before.entries.values().find(|entry| entry.name().host == host).unwrap();
    let address = endpoint(([127, 0, 0, 1], 1).into());
    let hosts = entry("a").hosts_of(Arc::new(endpoints(vec![locality(0, 1, vec![address])])));
    let _connection = ActiveConnection::new(&hosts, 0);
    let target = Target::new("b", 80).unwrap();
    tokio::time::advance(INLINE_IDLE - Duration::from_secs(1)).await;
    assert_eq!(updated(&before, &state).entries.len(), 3);
    assert!(entry("b").hosts(&target, &NoNames).is_some());
    tokio::time::advance(Duration::from_secs(2)).await;
    let left = updated(&before, &state);
    let mut left: Vec<_> = left.entries.keys().map(|name| &*name.host).collect();
    left.sort_unstable();
    assert_eq!(left, ["a", "b"]);
}

#[tokio::test]
async fn the_clusters_in_use_are_bounded() {
    let state = inputs(clusters([bare("outbound|80||in-use")]), None);
    let mut snapshot = in_use(&state);
    let address = endpoint(([127, 0, 0, 1], 1).into());
    let hosts = only(&snapshot).hosts_of(Arc::new(endpoints(vec![locality(0, 1, vec![address])])));
    let _connection = ActiveConnection::new(&hosts, 0);
    for number in 0..3 * MAX_ENTRIES {
        let config = Arc::new(bare(&format!("outbound|80||h{number}")));
        let target = Target::new(&config.name.host, 80).unwrap();
        let one = snapshot.entry(&config.name.clone(), || entry(config, &state, None));
        snapshot.routes.insert(target, Route::Cluster(one));
        assert!(snapshot.entries.len() <= MAX_ENTRIES && snapshot.routes.len() <= MAX_ENTRIES);
    }
    assert!(snapshot.entries.keys().any(|name| name.host == "in-use"));
}

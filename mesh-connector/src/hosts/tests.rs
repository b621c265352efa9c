use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use nds_client::resources::{cluster::Cluster, endpoint::Endpoints};

use super::*;
use crate::{
    balance::Place,
    error::ErrorKind,
    testing::{bare, ejecting, endpoint, endpoints, growing, locality},
};

const NAME: &str = "outbound|80||a.b";

fn three() -> Arc<Endpoints> {
    let all = (1..=3).map(|port| endpoint(([127, 0, 0, 1], port).into())).collect();
    Arc::new(endpoints(vec![locality(0, 3, all)]))
}

fn set(cluster: &Arc<Cluster>) -> Arc<HostSet> {
    HostSet::new(cluster.clone(), three(), None, Arc::default()).into()
}

/// The next push of the same cluster.
fn pushed(before: &HostSet, cluster: &Arc<Cluster>, endpoints: Arc<Endpoints>) -> Arc<HostSet> {
    HostSet::new(cluster.clone(), endpoints, Some(before), before.stats.clone()).into()
}

fn fail(set: &Arc<HostSet>, index: usize) {
    Held::new(set, index).failed(ErrorKind::Dial);
}

fn places(set: &HostSet) -> Vec<Place> {
    let look = set.plan(&mut Rng::with_seed(1));
    (0..set.hosts.len()).map(|index| look.place(index)).collect()
}

fn is_first(place: Place) -> bool {
    matches!(place, Place::First { .. })
}

#[tokio::test(start_paused = true)]
async fn each_failure_in_a_row_defers_for_twice_as_long_and_a_success_ends_it() {
    let cluster = Arc::new(bare(NAME));
    let set = set(&cluster);
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        fail(&set, 0);
        assert_eq!(set.statuses().next().unwrap().deferred_for, Duration::from_secs(seconds));
        assert!(!is_first(places(&set)[0]));
        tokio::time::advance(Duration::from_secs(seconds)).await;
        assert!(is_first(places(&set)[0]), "by itself, when the time is over");
    }
    let status = set.statuses().next().unwrap();
    assert_eq!(
        (status.failures, status.last_failure),
        (7, Some(ErrorKind::Dial)),
        "it has not succeeded yet"
    );
    Held::new(&set, 0).connected();
    let status = set.statuses().next().unwrap();
    assert!(status.is_ok() && status.failures == 0 && status.last_failure.is_none(), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_long_over_is_forgotten() {
    let cluster = Arc::new(bare(NAME));
    let set = set(&cluster);
    fail(&set, 0);
    tokio::time::advance(Duration::from_secs(120)).await;
    fail(&set, 0);
    assert_eq!(set.statuses().next().unwrap().failures, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_outlives_a_push_and_goes_with_the_endpoint() {
    let cluster = Arc::new(bare(NAME));
    let set = set(&cluster);
    let held = Held::new(&set, 0);
    held.failed(ErrorKind::Dial);
    let changed = Arc::new(bare(NAME));
    let next = pushed(&set, &changed, three());
    assert_eq!(next.statuses().next().unwrap().connections, 1);
    assert!(!is_first(places(&next)[0]));
    let others = Arc::new(endpoints(vec![locality(0, 1, vec![endpoint(([127, 0, 0, 1], 9).into())])]));
    let without = pushed(&next, &changed, others);
    assert!(pushed(&without, &changed, three()).statuses().all(|status| status.is_ok()));
    drop(held);
}

/// Two failures in a row, 10 s, half of the endpoints.
#[tokio::test(start_paused = true)]
async fn an_endpoint_is_ejected_as_the_cluster_says_and_comes_back() {
    let cluster = Arc::new(ejecting(NAME));
    let set = set(&cluster);
    let fail = |index| fail(&set, index);
    fail(0);
    assert!(set.statuses().next().unwrap().ejected_for.is_zero());
    fail(0);
    assert_eq!(set.statuses().next().unwrap().ejected_for, Duration::from_secs(10));
    assert_eq!(places(&set)[0], Place::Out, "it is not offered at all");
    // Half of three is one: the next is put last.
    fail(1);
    assert!(is_first(places(&set)[1]), "one failure is not two");
    fail(1);
    assert!(set.statuses().nth(1).unwrap().ejected_for.is_zero());
    assert!(matches!(places(&set)[1], Place::Later(_)));
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(is_first(places(&set)[0]));
    Held::new(&set, 0).connected();
    fail(0);
    fail(0);
    let status = set.statuses().next().unwrap();
    assert_eq!((status.ejected_for, status.ejections), (Duration::from_secs(20), 2));
}

#[tokio::test(start_paused = true)]
async fn statuses_of_requests_eject_too() {
    let cluster = Arc::new(ejecting(NAME));
    let set = set(&cluster);
    let held = Held::new(&set, 2);
    held.answered(503);
    held.answered(200);
    held.answered(503);
    assert_ne!(places(&set)[2], Place::Out);
    held.answered(500);
    assert_eq!(places(&set)[2], Place::Out);
}

#[tokio::test(start_paused = true)]
async fn with_too_few_left_ejected_endpoints_are_used_again_where_there_is_a_panic_threshold() {
    for threshold in [0.0, 50.0] {
        let mut cluster = ejecting(NAME);
        cluster.outlier_detection.as_mut().unwrap().max_ejection_percent = 100;
        cluster.load_balancing.healthy_panic_threshold = threshold;
        let set = set(&Arc::new(cluster));
        for index in [0, 0, 1, 1, 2, 2] {
            fail(&set, index);
        }
        assert!(set.statuses().all(|status| !status.ejected_for.is_zero()));
        let usable = set.plan(&mut Rng::new()).usable();
        assert_eq!(usable, if threshold > 0.0 { 3 } else { 0 }, "threshold {threshold}");
    }
}

#[test]
fn connections_have_the_clusters_limit() {
    let mut cluster = bare(NAME);
    (cluster.circuit_breakers.max_connections, cluster.circuit_breakers.max_pending_requests) = (2, 1);
    let cluster = Arc::new(cluster);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let set = set(&cluster);
    let pending = set.begin().unwrap();
    let error = set.begin().map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyConnections);
    assert!(error.to_string().contains("under way"), "{error}");
    drop(pending);
    let (one, two) = (Held::new(&set, 0), Held::new(&set, 1));
    let error = set.begin().map(drop).unwrap_err();
    assert!(error.to_string().contains("has 2 connections"), "{error}");
    drop(one);
    drop(set.begin().unwrap());
    drop(two);
    assert_eq!((set.connections(0), set.connections(1)), (0, 0));
}

/// A window of 100 s, from a tenth.
#[tokio::test(start_paused = true)]
async fn a_new_endpoint_grows_to_its_weight() {
    let cluster = Arc::new(growing(NAME));
    let before = set(&cluster);
    let mut all = Endpoints::clone(&three());
    tokio::time::advance(Duration::from_secs(200)).await;
    all.localities[0].endpoints.push(endpoint(([127, 0, 0, 1], 4).into()));
    let set = pushed(&before, &cluster, Arc::new(all));
    let share = || match places(&set)[3] {
        Place::First { share } => share,
        place => panic!("{place:?}"),
    };
    assert!((share() - 0.1 / 3.1).abs() < 0.001, "{}", share());
    tokio::time::advance(Duration::from_secs(50)).await;
    assert!((share() - 0.5 / 3.5).abs() < 0.01, "{}", share());
    tokio::time::advance(Duration::from_secs(50)).await;
    assert!((share() - 0.25).abs() < 0.001, "{}", share());
}

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use nds_client::resources::{cluster::Cluster, endpoint::Endpoints};

use super::*;
use crate::{
    balance::PickOrder,
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

/// Returns the host set of the next push of the same cluster.
fn pushed(before: &HostSet, cluster: &Arc<Cluster>, endpoints: Arc<Endpoints>) -> Arc<HostSet> {
    HostSet::new(cluster.clone(), endpoints, Some(before), before.stats.clone()).into()
}

fn fail(set: &Arc<HostSet>, index: usize) {
    ActiveConnection::new(set, index).failed(ErrorKind::Dial);
}

fn places(set: &HostSet) -> Vec<PickOrder> {
    let snapshot = set.plan_snapshot(&mut Rng::with_seed(1));
    (0..set.hosts.len()).map(|index| snapshot.plan().pick_order(index)).collect()
}

fn is_first(place: PickOrder) -> bool {
    matches!(place, PickOrder::First { .. })
}

#[tokio::test(start_paused = true)]
async fn each_consecutive_failure_doubles_the_deferral_and_a_success_ends_it() {
    let cluster = Arc::new(bare(NAME));
    let set = set(&cluster);
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        fail(&set, 0);
        assert_eq!(set.statuses().next().unwrap().deferred_for, Duration::from_secs(seconds));
        assert!(!is_first(places(&set)[0]));
        tokio::time::advance(Duration::from_secs(seconds)).await;
        assert!(is_first(places(&set)[0]), "the deferral ends by itself");
    }
    let status = set.statuses().next().unwrap();
    assert_eq!((status.failures, status.last_failure), (7, Some(ErrorKind::Dial)), "no success yet");
    ActiveConnection::new(&set, 0).connected();
    let status = set.statuses().next().unwrap();
    assert!(status.is_ok() && status.failures == 0 && status.last_failure.is_none(), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn an_old_failure_is_forgotten() {
    let cluster = Arc::new(bare(NAME));
    let set = set(&cluster);
    fail(&set, 0);
    tokio::time::advance(Duration::from_secs(120)).await;
    fail(&set, 0);
    assert_eq!(set.statuses().next().unwrap().failures, 1);
}

#[tokio::test(start_paused = true)]
async fn statistics_outlive_a_push_and_end_with_the_endpoint() {
    let cluster = Arc::new(bare(NAME));
    let set = set(&cluster);
    let active = ActiveConnection::new(&set, 0);
    active.failed(ErrorKind::Dial);
    let changed = Arc::new(bare(NAME));
    let next = pushed(&set, &changed, three());
    assert_eq!(next.statuses().next().unwrap().connections, 1);
    assert!(!is_first(places(&next)[0]));
    let others = Arc::new(endpoints(vec![locality(0, 1, vec![endpoint(([127, 0, 0, 1], 9).into())])]));
    let without = pushed(&next, &changed, others);
    assert!(pushed(&without, &changed, three()).statuses().all(|status| status.is_ok()));
    drop(active);
}

/// The rules: two consecutive failures, 10 s, half of the endpoints.
#[tokio::test(start_paused = true)]
async fn an_endpoint_is_ejected_by_the_rules_of_the_cluster_and_returns() {
    let cluster = Arc::new(ejecting(NAME));
    let set = set(&cluster);
    let fail = |index| fail(&set, index);
    fail(0);
    assert!(set.statuses().next().unwrap().ejected_for.is_zero());
    fail(0);
    assert_eq!(set.statuses().next().unwrap().ejected_for, Duration::from_secs(10));
    assert_eq!(places(&set)[0], PickOrder::Excluded, "an ejected endpoint is not used");
    // Half of three endpoints is one, so the next one is only deferred.
    fail(1);
    assert!(is_first(places(&set)[1]), "one failure is not two");
    fail(1);
    assert!(set.statuses().nth(1).unwrap().ejected_for.is_zero());
    assert!(matches!(places(&set)[1], PickOrder::Later(_)));
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(is_first(places(&set)[0]));
    ActiveConnection::new(&set, 0).connected();
    fail(0);
    fail(0);
    let status = set.statuses().next().unwrap();
    assert_eq!((status.ejected_for, status.ejections), (Duration::from_secs(20), 2));
}

#[tokio::test(start_paused = true)]
async fn response_statuses_also_eject_an_endpoint() {
    let cluster = Arc::new(ejecting(NAME));
    let set = set(&cluster);
    let active = ActiveConnection::new(&set, 2);
    active.answered(503);
    active.answered(200);
    active.answered(503);
    assert_ne!(places(&set)[2], PickOrder::Excluded);
    active.answered(500);
    assert_eq!(places(&set)[2], PickOrder::Excluded);
}

#[tokio::test(start_paused = true)]
async fn below_the_panic_threshold_ejected_endpoints_are_used_again() {
    for threshold in [0.0, 50.0] {
        let mut cluster = ejecting(NAME);
        cluster.outlier_detection.as_mut().unwrap().max_ejection_percent = 100;
        cluster.load_balancing.healthy_panic_threshold = threshold;
        let set = set(&Arc::new(cluster));
        for index in [0, 0, 1, 1, 2, 2] {
            fail(&set, index);
        }
        assert!(set.statuses().all(|status| !status.ejected_for.is_zero()));
        let usable = set.plan_snapshot(&mut Rng::new()).plan().usable();
        assert_eq!(usable, if threshold > 0.0 { 3 } else { 0 }, "threshold {threshold}");
    }
}

#[test]
fn the_circuit_breaker_of_the_cluster_limits_connections() {
    let mut cluster = bare(NAME);
    (cluster.circuit_breakers.max_connections, cluster.circuit_breakers.max_pending_requests) = (2, 1);
    let cluster = Arc::new(cluster);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let set = set(&cluster);
    let pending = set.begin().unwrap();
    let error = set.begin().map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyConnections);
    assert!(error.to_string().contains("pending connections"), "{error}");
    drop(pending);
    let (one, two) = (ActiveConnection::new(&set, 0), ActiveConnection::new(&set, 1));
    let error = set.begin().map(drop).unwrap_err();
    assert!(error.to_string().contains("has 2 connections"), "{error}");
    drop(one);
    drop(set.begin().unwrap());
    drop(two);
    assert_eq!((set.connections(0), set.connections(1)), (0, 0));
}

/// The rules: a window of 100 s, starting at a tenth.
#[tokio::test(start_paused = true)]
async fn slow_start_raises_the_weight_of_a_new_endpoint() {
    let cluster = Arc::new(growing(NAME));
    let before = set(&cluster);
    let mut all = Endpoints::clone(&three());
    tokio::time::advance(Duration::from_secs(200)).await;
    all.localities[0].endpoints.push(endpoint(([127, 0, 0, 1], 4).into()));
    let set = pushed(&before, &cluster, Arc::new(all));
    let share = || match places(&set)[3] {
        PickOrder::First { share } => share,
        place => panic!("{place:?}"),
    };
    assert!((share() - 0.1 / 3.1).abs() < 0.001, "{}", share());
    tokio::time::advance(Duration::from_secs(50)).await;
    assert!((share() - 0.5 / 3.5).abs() < 0.01, "{}", share());
    tokio::time::advance(Duration::from_secs(50)).await;
    assert!((share() - 0.25).abs() < 0.001, "{}", share());
}

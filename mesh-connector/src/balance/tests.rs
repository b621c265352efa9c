use std::collections::HashSet;

use fastrand::Rng;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::testing::{self, endpoints, locality};

fn endpoint(port: u16, weight: u32, health: EndpointHealth) -> Endpoint {
    let mut endpoint = testing::endpoint(([127, 0, 0, 1], port).into());
    (endpoint.weight, endpoint.health) = (weight, health);
    endpoint
}

fn healthy(port: u16, weight: u32) -> Endpoint {
    endpoint(port, weight, EndpointHealth::Healthy)
}

fn drain(endpoints: &Endpoints, seed: u64) -> Vec<u16> {
    let mut rng = Rng::with_seed(seed);
    let mut candidates = Candidates::new(endpoints, |_| false);
    std::iter::from_fn(|| candidates.next(&mut rng).map(|endpoint| endpoint.port)).collect()
}

/// How often each port comes first, in 100 000 tries.
fn shares(endpoints: &Endpoints, ports: &[u16]) -> Vec<f64> {
    let mut rng = Rng::with_seed(1);
    let mut first = || Candidates::new(endpoints, |_| false).next(&mut rng).unwrap().port;
    let all: Vec<_> = (0..100_000).map(|_| first()).collect();
    ports.iter().map(|port| all.iter().filter(|one| *one == port).count() as f64 / all.len() as f64).collect()
}

fn assert_near(shares: &[f64], expected: &[f64]) {
    for (share, expected) in shares.iter().zip(expected) {
        assert!((share - expected).abs() < 0.01, "{shares:?}, expected {expected:?}");
    }
}

#[test]
fn a_point_falls_on_the_weight_that_covers_it() {
    let at = |point| choose([1.0, 2.0, 1.0].into_iter(), point);
    assert_eq!([0.0, 0.99, 1.0, 2.99, 3.0, 3.99, 4.0].map(at), [0, 0, 1, 1, 2, 2, 2]);
}

#[test]
fn gateways_share_as_their_weights_say() {
    // What istiod gives a third network: one pod behind gateway 1, two behind gateway 2.
    let all = endpoints(vec![locality(0, 1, vec![healthy(1, 1)]), locality(0, 2, vec![healthy(2, 2)])]);
    assert_near(&shares(&all, &[1, 2]), &[1.0 / 3.0, 2.0 / 3.0]);
}

#[test]
fn a_locality_weight_is_divided_over_its_endpoints() {
    let all = endpoints(vec![
        locality(0, 80, vec![healthy(1, 1), healthy(2, 3)]),
        locality(0, 20, vec![healthy(3, 100)]),
    ]);
    assert_near(&shares(&all, &[1, 2, 3]), &[0.2, 0.6, 0.2]);
}

#[test]
fn without_locality_weights_endpoints_count_by_their_own() {
    let all = endpoints(vec![locality(0, 0, vec![healthy(1, 1)]), locality(0, 0, vec![healthy(2, 3)])]);
    assert_near(&shares(&all, &[1, 2]), &[0.25, 0.75]);
}

#[test]
fn a_locality_with_unhealthy_endpoints_gets_less() {
    let dead = endpoint(2, 1, EndpointHealth::Unhealthy);
    let all = endpoints(vec![locality(0, 1, vec![healthy(1, 1), dead]), locality(0, 1, vec![healthy(3, 1)])]);
    assert_near(&shares(&all, &[1, 2, 3]), &[1.0 / 3.0, 0.0, 2.0 / 3.0]);
}

#[test]
fn other_priorities_and_degraded_endpoints_come_later() {
    let all = endpoints(vec![
        locality(1, 1, vec![healthy(4, 1000), endpoint(3, 1, EndpointHealth::Unknown)]),
        locality(0, 1, vec![endpoint(2, 1000, EndpointHealth::Degraded), healthy(1, 1)]),
    ]);
    for seed in 0..100 {
        let order = drain(&all, seed);
        assert_eq!(order[..2], [1, 2]);
        assert_eq!(order[2..].iter().copied().collect::<HashSet<_>>(), HashSet::from([3, 4]));
    }
}

fn any_endpoints() -> impl Strategy<Value = Endpoints> {
    let health = prop_oneof![
        Just(EndpointHealth::Healthy),
        Just(EndpointHealth::Unknown),
        Just(EndpointHealth::Degraded),
        Just(EndpointHealth::Unhealthy),
    ];
    let one = (1..=u32::MAX, health);
    let some = (0..3_u32, any::<u32>(), prop::collection::vec(one, 0..6));
    prop::collection::vec(some, 0..5).prop_map(|localities| {
        let mut port = 0;
        let mut endpoint = |(weight, health)| {
            port += 1;
            endpoint(port, weight, health)
        };
        let mut of = |(priority, weight, all): (u32, u32, Vec<_>)| {
            locality(priority, weight, all.into_iter().map(&mut endpoint).collect())
        };
        endpoints(localities.into_iter().map(&mut of).collect())
    })
}

proptest! {
    #[test]
    fn every_usable_endpoint_is_offered_once_and_an_unhealthy_one_never(
        all in any_endpoints(),
        seed: u64,
    ) {
        let mut expected: Vec<_> = all
            .iter()
            .filter(|(_, endpoint)| endpoint.health != EndpointHealth::Unhealthy)
            .map(|(locality, endpoint)| {
                (locality.priority, endpoint.health == EndpointHealth::Degraded, endpoint.port)
            })
            .collect();
        let rank_of = |port| expected.iter().find(|one| one.2 == port).map(|one| (one.0, one.1));
        let order = drain(&all, seed);
        let ranks: Vec<_> = order.iter().map(|port| rank_of(*port)).collect();
        prop_assert!(ranks.is_sorted(), "{ranks:?}");
        let mut offered = order;
        offered.sort_unstable();
        expected.sort_by_key(|one| one.2);
        prop_assert_eq!(offered, expected.iter().map(|one| one.2).collect::<Vec<_>>());
    }
}

#[test]
fn endpoints_that_failed_lately_come_after_all_others() {
    let all = endpoints(vec![
        locality(0, 1, vec![healthy(1, 1), healthy(2, 1)]),
        locality(1, 1, vec![healthy(3, 1)]),
    ]);
    let mut candidates = Candidates::new(&all, |endpoint| endpoint.port == 1);
    let mut rng = Rng::with_seed(1);
    let order: Vec<_> =
        std::iter::from_fn(|| candidates.next(&mut rng)).map(|endpoint| endpoint.port).collect();
    assert_eq!(order, [2, 3, 1]);
    let places: Vec<_> = places(&all, |endpoint| endpoint.port == 1).map(|(.., place)| place).collect();
    assert_eq!(
        places,
        [Place::Later(Why::FailedLately), Place::First { share: 1.0 }, Place::Later(Why::Priority)]
    );
}

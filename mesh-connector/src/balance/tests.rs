use std::collections::{HashMap, HashSet};

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::testing;

fn settings(policy: LbPolicy) -> LoadBalancing {
    let mut settings = testing::bare("outbound|80||a.b").load_balancing;
    (settings.policy, settings.locality_weighted, settings.healthy_panic_threshold) = (policy, true, 0.0);
    settings
}

const RR: LbPolicy = LbPolicy::RoundRobin;

/// Returns a candidate in the given locality.
fn one(locality: usize, weight: u32) -> Candidate {
    Candidate {
        priority: 0,
        locality,
        locality_weight: 1,
        weight,
        health: HostHealth::Healthy,
        recently_failed: false,
        slow_start_factor: 1.0,
    }
}

fn out(candidate: Candidate) -> Candidate {
    Candidate { health: HostHealth::Unhealthy, ..candidate }
}

fn at(priority: u32, candidate: Candidate) -> Candidate {
    Candidate { priority, locality: 10 * priority as usize + candidate.locality, ..candidate }
}

fn plan(all: &[Candidate], settings: &LoadBalancing) -> Plan {
    Plan::new(all, settings, &mut Rng::with_seed(1))
}

/// Counts how often each endpoint is chosen first.
fn firsts(plan: &Plan, count: usize, active: impl Fn(usize) -> u32 + Copy) -> HashMap<usize, usize> {
    let mut rng = Rng::with_seed(2);
    let mut firsts = HashMap::new();
    for _ in 0..count {
        *firsts.entry(plan.first(&mut rng, active).unwrap()).or_default() += 1;
    }
    firsts
}

fn shares(plan: &Plan, of: usize) -> Vec<f64> {
    let firsts = firsts(plan, 100_000, |_| 0);
    (0..of).map(|index| *firsts.get(&index).unwrap_or(&0) as f64 / 100_000.0).collect()
}

/// Checks the shares of first choices, both measured and computed.
fn assert_shares(all: &[Candidate], settings: &LoadBalancing, expected: &[f64]) {
    let plan = plan(all, settings);
    let shares = shares(&plan, all.len());
    for (index, (share, expected)) in shares.iter().zip(expected).enumerate() {
        assert!((share - expected).abs() < 0.01, "{shares:?}, expected {expected:?}");
        let computed = match plan.pick_order(index) {
            PickOrder::First { share } => share,
            _ => 0.0,
        };
        assert!((computed - expected).abs() < 0.001, "{index}: {computed}, expected {expected}");
    }
}

#[test]
fn gateways_share_the_load_by_their_weights() {
    // The weights that istiod sends to a third network: one pod behind gateway 1, two behind gateway 2.
    let all = [one(0, 1), Candidate { locality_weight: 2, ..one(1, 2) }];
    assert_shares(&all, &settings(RR), &[1.0 / 3.0, 2.0 / 3.0]);
}

#[test]
fn a_locality_weight_is_divided_among_its_endpoints_if_locality_weights_apply() {
    let heavy = |candidate| Candidate { locality_weight: 80, ..candidate };
    let all = [heavy(one(0, 1)), heavy(one(0, 3)), Candidate { locality_weight: 20, ..one(1, 100) }];
    assert_shares(&all, &settings(RR), &[0.2, 0.6, 0.2]);
    let mut unweighted = settings(RR);
    unweighted.locality_weighted = false;
    assert_shares(&all, &unweighted, &[1.0 / 104.0, 3.0 / 104.0, 100.0 / 104.0]);
}

#[test]
fn without_locality_weights_endpoint_weights_decide() {
    let without = |candidate| Candidate { locality_weight: 0, ..candidate };
    assert_shares(&[without(one(0, 1)), without(one(1, 3))], &settings(RR), &[0.25, 0.75]);
}

#[test]
fn a_locality_with_unhealthy_endpoints_gets_less_load() {
    // One of two endpoints is healthy, so the locality has 0.7 of its weight. The other locality has its full weight.
    let all = [one(0, 1), out(one(0, 1)), one(1, 1)];
    assert_shares(&all, &settings(RR), &[0.7 / 1.7, 0.0, 1.0 / 1.7]);
}

#[test]
fn round_robin_chooses_each_endpoint_once_per_round() {
    for count in 1..20 {
        let all: Vec<_> = (0..count).map(|_| one(0, 7)).collect();
        let plan = plan(&all, &settings(RR));
        for round in 0..5 {
            let firsts = firsts(&plan, count, |_| 0);
            assert_eq!(firsts.len(), count, "round {round} of {count}: {firsts:?}");
        }
    }
}

#[test]
fn weighted_round_robin_is_exact_in_each_round() {
    let plan = plan(&[one(0, 1), one(0, 2), one(0, 5)], &settings(RR));
    for _ in 0..5 {
        assert_eq!(firsts(&plan, 8, |_| 0), HashMap::from([(0, 1), (1, 2), (2, 5)]));
    }
}

#[test]
fn least_request_chooses_the_least_busy_of_the_sampled_endpoints() {
    let all: Vec<_> = (0..4).map(|_| one(0, 1)).collect();
    let plan = plan(&all, &settings(LbPolicy::LeastRequest { choice_count: 2 }));
    let busy = |index| if index == 0 { 100 } else { 0 };
    let firsts = firsts(&plan, 10_000, busy);
    // The busy endpoint is chosen only if both samples are that endpoint: 1 in 16.
    let share = f64::from(u32::try_from(firsts[&0]).unwrap()) / 10_000.0;
    assert!((share - 1.0 / 16.0).abs() < 0.01, "{firsts:?}");
    assert!(firsts[&1].abs_diff(firsts[&2]) < 500, "{firsts:?}");
}

#[test]
fn least_request_with_different_weights_divides_the_weight_by_the_connections() {
    let all = [one(0, 1), one(0, 2)];
    let least = settings(LbPolicy::LeastRequest { choice_count: 2 });
    assert_shares(&all, &least, &[1.0 / 3.0, 2.0 / 3.0]);
    // The ratio is 1/1 to 2/4.
    let firsts = firsts(&plan(&all, &least), 100_000, |index| if index == 1 { 3 } else { 0 });
    assert!((firsts[&0] as f64 / 100_000.0 - 2.0 / 3.0).abs() < 0.01, "{firsts:?}");
}

#[test]
fn random_ignores_weights_and_hash_policies_use_them() {
    let all = [one(0, 1), one(0, 3)];
    assert_shares(&all, &settings(LbPolicy::Random), &[0.5, 0.5]);
    let ring = LbPolicy::RingHash { minimum_size: 1024, maximum_size: 8 << 20 };
    for policy in [ring, LbPolicy::Maglev { table_size: 65537 }] {
        assert_shares(&all, &settings(policy), &[0.25, 0.75]);
    }
}

#[test]
fn a_partly_unhealthy_priority_passes_the_remaining_load_to_the_next() {
    // Half of the endpoints are healthy: 140 % of a half is 70 %.
    let all = [one(0, 1), out(one(0, 1)), at(1, one(0, 1))];
    assert_shares(&all, &settings(RR), &[0.7, 0.0, 0.3]);
    let all = [one(0, 1), one(0, 1), one(0, 1), out(one(0, 1)), at(1, one(0, 1))];
    assert_shares(&all, &settings(RR), &[1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
    let all = [out(one(0, 1)), at(1, one(0, 1))];
    assert_shares(&all, &settings(RR), &[0.0, 1.0]);
}

#[test]
fn in_panic_mode_a_priority_uses_all_of_its_endpoints() {
    let mut panic = settings(RR);
    panic.healthy_panic_threshold = 50.0;
    let all = [one(0, 1), out(one(0, 1)), out(one(0, 1)), out(one(0, 1))];
    assert_shares(&all, &panic, &[0.25; 4]);
    assert_shares(&all, &settings(RR), &[1.0, 0.0, 0.0, 0.0]);
    // A second priority that can carry the load prevents panic mode.
    let all = [all[0], all[1], all[2], all[3], at(1, one(0, 1)), at(1, one(0, 1))];
    assert_shares(&all, &panic, &[0.35, 0.0, 0.0, 0.0, 0.325, 0.325]);
    // Without any healthy endpoint, all endpoints count equally.
    assert_shares(&[out(one(0, 1)), at(1, out(one(0, 1)))], &panic, &[0.5, 0.5]);
    assert_eq!(plan(&[out(one(0, 1))], &settings(RR)).first(&mut Rng::new(), |_| 0), None);
}

#[test]
fn degraded_endpoints_take_the_load_that_healthy_ones_cannot_carry() {
    let degraded = Candidate { health: HostHealth::Degraded, ..one(0, 1) };
    assert_shares(&[one(0, 1), degraded], &settings(RR), &[0.7, 0.3]);
    let all = [one(0, 1), one(0, 1), one(0, 1), degraded];
    assert_shares(&all, &settings(RR), &[1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0]);
    assert_eq!(plan(&all, &settings(RR)).pick_order(3), PickOrder::Later(DeferReason::Degraded));
}

#[test]
fn slow_start_reduces_the_weight_of_a_new_endpoint() {
    let wire = testing::growing("outbound|80||a.b");
    let mut growing = wire.load_balancing;
    growing.locality_weighted = false;
    assert_shares(&[one(0, 1), Candidate { slow_start_factor: 0.25, ..one(0, 1) }], &growing, &[0.8, 0.2]);
}

#[test]
fn endpoints_that_failed_recently_come_last() {
    let all = [Candidate { recently_failed: true, ..one(0, 1) }, one(0, 1), at(1, one(0, 1))];
    let plan = plan(&all, &settings(RR));
    let order = drain(&plan, 1);
    assert_eq!(order, [1, 2, 0]);
    let places: Vec<_> = (0..3).map(|index| plan.pick_order(index)).collect();
    assert_eq!(
        places,
        [
            PickOrder::Later(DeferReason::FailedRecently),
            PickOrder::First { share: 1.0 },
            PickOrder::Later(DeferReason::Priority)
        ]
    );
    // If all endpoints failed recently, they are tried as if none had.
    let failed = all.map(|one| Candidate { recently_failed: true, ..one });
    assert_shares(&failed, &settings(RR), &[0.5, 0.5, 0.0]);
    // The next priority comes before an endpoint that failed recently, although that endpoint could carry the load.
    assert_shares(&[failed[0], all[2]], &settings(RR), &[0.0, 1.0]);
}

fn drain(plan: &Plan, seed: u64) -> Vec<usize> {
    let mut rng = Rng::with_seed(seed);
    let mut tried: Vec<_> = plan.first(&mut rng, |_| 0).into_iter().collect();
    if tried.is_empty() {
        return tried;
    }
    while let Some(next) = plan.after(|index| tried.contains(&index), &mut rng) {
        tried.push(next);
    }
    tried
}

fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let health =
        prop_oneof![Just(HostHealth::Healthy), Just(HostHealth::Degraded), Just(HostHealth::Unhealthy)];
    let one = (0..3_u32, 0..4_usize, 0..=u32::MAX, health, any::<bool>(), 0.0..1.0);
    let candidate = |(priority, locality, weight, health, recently_failed, slow_start_factor)| Candidate {
        priority,
        locality,
        // All endpoints of a locality have the same locality weight.
        locality_weight: u32::try_from(locality).unwrap() * 7,
        weight,
        health,
        recently_failed,
        slow_start_factor,
    };
    prop::collection::vec(one.prop_map(candidate), 0..8)
}

fn any_settings() -> impl Strategy<Value = LoadBalancing> {
    let policy = prop_oneof![
        Just(LbPolicy::RoundRobin),
        Just(LbPolicy::LeastRequest { choice_count: 2 }),
        Just(LbPolicy::Random),
        Just(LbPolicy::Maglev { table_size: 65537 }),
    ];
    (policy, any::<bool>(), any::<bool>(), 0.0..100.0).prop_map(
        |(policy, has_slow_start, weighted, threshold)| {
            let cluster = if has_slow_start {
                testing::growing("outbound|80||a.b")
            } else {
                testing::bare("outbound|80||a.b")
            };
            let mut settings = cluster.load_balancing;
            settings.policy = policy;
            (settings.locality_weighted, settings.healthy_panic_threshold) = (weighted, threshold);
            settings
        },
    )
}

proptest! {
    #[test]
    fn every_usable_endpoint_is_tried_once_in_rank_order_and_no_other_is_tried(
        all in any_candidates(),
        settings in any_settings(),
        seed: u64,
    ) {
        let plan = plan(&all, &settings);
        let order = drain(&plan, seed);
        let usable: HashSet<_> =
            (0..all.len()).filter(|index| plan.pick_order(*index) != PickOrder::Excluded).collect();
        prop_assert_eq!(usable.len(), plan.usable());
        prop_assert_eq!(order.len(), usable.len());
        prop_assert_eq!(&order.iter().copied().collect::<HashSet<_>>(), &usable);
        let rank = |index: &usize| (all[*index].recently_failed, all[*index].priority);
        if let Some((first, rest)) = order.split_first() {
            prop_assert!(rest.is_sorted_by_key(rank), "{order:?}");
            let place = plan.pick_order(*first);
            prop_assert!(matches!(place, PickOrder::First { .. }), "{place:?}");
        }
        if settings.healthy_panic_threshold == 0.0 {
            prop_assert!(usable.iter().all(|index| all[*index].health != HostHealth::Unhealthy));
        }
        let total: f64 = (0..all.len())
            .map(|index| match plan.pick_order(index) { PickOrder::First { share } => share, _ => 0.0 })
            .sum();
        prop_assert!(usable.is_empty() || (total - 1.0).abs() < 1e-9, "{total}");
    }
}

/// The control plane sends any number of choices; a decision must not take longer than the list of endpoints is long.
#[test]
fn a_decision_looks_at_each_endpoint_at_most_twice_for_any_number_of_choices() {
    proptest!(|(choice_count: u32, count in 1_usize..20, seed: u64)| {
        let all = vec![one(0, 1); count];
        let plan = plan(&all, &settings(LbPolicy::LeastRequest { choice_count }));
        let steps = std::cell::Cell::new(0);
        let active = |index: usize| {
            steps.set(steps.get() + 1);
            u32::from(index != 0)
        };
        let chosen = plan.first(&mut Rng::with_seed(seed), active).unwrap();
        prop_assert!(steps.get() <= 2 * count, "{} steps for {count} endpoints", steps.get());
        prop_assert!(choice_count as usize <= 2 * count || chosen == 0, "the least busy one is chosen");
    });
}

/// A plan over localities, priorities and panicking priorities whose number is that of the endpoints. A quadratic
/// algorithm does not finish in a useful time.
#[test]
fn a_plan_is_made_for_as_many_localities_and_priorities_as_endpoints() {
    const MANY: u32 = 200_000;
    let localities: Vec<_> = (0..MANY).map(|n| one(n as usize, 1)).collect();
    assert_eq!(plan(&localities, &settings(RR)).usable(), MANY as usize);
    let priorities: Vec<_> =
        (0..MANY).rev().map(|n| Candidate { priority: n, ..out(one(n as usize, 1)) }).collect();
    let mut panicking = settings(RR);
    panicking.healthy_panic_threshold = 100.0;
    assert_eq!(plan(&priorities, &panicking).usable(), MANY as usize);
}

proptest! {
    #[test]
    fn no_value_of_the_control_plane_makes_a_plan_fail(
        all in prop::collection::vec((any::<(u32, u8, u32, u32)>(), any::<bool>(), any::<f64>(), 0_usize..3), 0..20),
        threshold: f64,
        choice_count: u32,
        policy in 0_usize..3,
        weighted: bool,
        seed: u64,
    ) {
        let candidate = |((priority, locality, locality_weight, weight), recently_failed, slow_start_factor, health)| Candidate {
            priority,
            locality: usize::from(locality),
            locality_weight,
            weight,
            health: [HostHealth::Healthy, HostHealth::Degraded, HostHealth::Unhealthy][health],
            recently_failed,
            slow_start_factor,
        };
        let all: Vec<_> = all.into_iter().map(candidate).collect();
        let policy = [LbPolicy::LeastRequest { choice_count }, LbPolicy::Random, RR][policy];
        let mut settings = testing::growing("outbound|80||a.b").load_balancing;
        (settings.policy, settings.locality_weighted, settings.healthy_panic_threshold) = (policy, weighted, threshold);
        let plan = plan(&all, &settings);
        let mut rng = Rng::with_seed(seed);
        for _ in 0..3 {
            prop_assert_eq!(plan.first(&mut rng, |_| u32::MAX).is_some(), plan.usable() > 0);
        }
        prop_assert_eq!(drain(&plan, seed).len(), plan.usable());
    }
}

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

/// One in a locality of its own.
fn one(locality: usize, weight: u32) -> Candidate {
    Candidate {
        priority: 0,
        locality,
        locality_weight: 1,
        weight,
        standing: Standing::Healthy,
        deferred: false,
        grown: 1.0,
    }
}

fn out(candidate: Candidate) -> Candidate {
    Candidate { standing: Standing::Out, ..candidate }
}

fn at(priority: u32, candidate: Candidate) -> Candidate {
    Candidate { priority, locality: 10 * priority as usize + candidate.locality, ..candidate }
}

fn plan(all: &[Candidate], settings: &LoadBalancing) -> Plan {
    Plan::new(all, settings, &mut Rng::with_seed(1))
}

/// How often each comes first.
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

/// They come first so often, and their places say so.
fn assert_shares(all: &[Candidate], settings: &LoadBalancing, expected: &[f64]) {
    let plan = plan(all, settings);
    let shares = shares(&plan, all.len());
    for (index, (share, expected)) in shares.iter().zip(expected).enumerate() {
        assert!((share - expected).abs() < 0.01, "{shares:?}, expected {expected:?}");
        let told = match plan.place(index) {
            Place::First { share } => share,
            _ => 0.0,
        };
        assert!((told - expected).abs() < 0.001, "{index}: {told}, expected {expected}");
    }
}

#[test]
fn gateways_share_as_their_weights_say() {
    // What istiod gives a third network: one pod behind gateway 1, two behind gateway 2.
    let all = [one(0, 1), Candidate { locality_weight: 2, ..one(1, 2) }];
    assert_shares(&all, &settings(RR), &[1.0 / 3.0, 2.0 / 3.0]);
}

#[test]
fn a_locality_weight_is_divided_over_its_endpoints_where_the_cluster_says_so() {
    let heavy = |candidate| Candidate { locality_weight: 80, ..candidate };
    let all = [heavy(one(0, 1)), heavy(one(0, 3)), Candidate { locality_weight: 20, ..one(1, 100) }];
    assert_shares(&all, &settings(RR), &[0.2, 0.6, 0.2]);
    let mut unweighted = settings(RR);
    unweighted.locality_weighted = false;
    assert_shares(&all, &unweighted, &[1.0 / 104.0, 3.0 / 104.0, 100.0 / 104.0]);
}

#[test]
fn without_locality_weights_endpoints_count_by_their_own() {
    let without = |candidate| Candidate { locality_weight: 0, ..candidate };
    assert_shares(&[without(one(0, 1)), without(one(1, 3))], &settings(RR), &[0.25, 0.75]);
}

#[test]
fn a_locality_with_unhealthy_endpoints_gets_less() {
    // One of two is healthy: 0.7 of its weight, against the whole of the other's.
    let all = [one(0, 1), out(one(0, 1)), one(1, 1)];
    assert_shares(&all, &settings(RR), &[0.7 / 1.7, 0.0, 1.0 / 1.7]);
}

#[test]
fn endpoints_in_turn_each_come_once_in_a_round_whatever_their_number() {
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
fn weights_are_kept_exactly_in_each_round() {
    let plan = plan(&[one(0, 1), one(0, 2), one(0, 5)], &settings(RR));
    for _ in 0..5 {
        assert_eq!(firsts(&plan, 8, |_| 0), HashMap::from([(0, 1), (1, 2), (2, 5)]));
    }
}

#[test]
fn the_least_busy_of_some_is_chosen() {
    let all: Vec<_> = (0..4).map(|_| one(0, 1)).collect();
    let plan = plan(&all, &settings(LbPolicy::LeastRequest { choice_count: 2 }));
    let busy = |index| if index == 0 { 100 } else { 0 };
    let firsts = firsts(&plan, 10_000, busy);
    // Only where both choices are the busy one: 1 of 16.
    let share = f64::from(u32::try_from(firsts[&0]).unwrap()) / 10_000.0;
    assert!((share - 1.0 / 16.0).abs() < 0.01, "{firsts:?}");
    assert!(firsts[&1].abs_diff(firsts[&2]) < 500, "{firsts:?}");
}

#[test]
fn with_different_weights_the_least_busy_has_the_share_of_its_weight_over_its_connections() {
    let all = [one(0, 1), one(0, 2)];
    let least = settings(LbPolicy::LeastRequest { choice_count: 2 });
    assert_shares(&all, &least, &[1.0 / 3.0, 2.0 / 3.0]);
    // 1 over 1, and 2 over 4.
    let firsts = firsts(&plan(&all, &least), 100_000, |index| if index == 1 { 3 } else { 0 });
    assert!((firsts[&0] as f64 / 100_000.0 - 2.0 / 3.0).abs() < 0.01, "{firsts:?}");
}

#[test]
fn chance_alone_does_not_look_at_weights_and_hashes_without_a_request_do() {
    let all = [one(0, 1), one(0, 3)];
    assert_shares(&all, &settings(LbPolicy::Random), &[0.5, 0.5]);
    let ring = LbPolicy::RingHash { minimum_size: 1024, maximum_size: 8 << 20 };
    for policy in [ring, LbPolicy::Maglev { table_size: 65537 }] {
        assert_shares(&all, &settings(policy), &[0.25, 0.75]);
    }
}

#[test]
fn a_priority_that_is_ill_passes_on_what_its_healthy_endpoints_do_not_carry() {
    // 140 % of a half: 70 % stay.
    let all = [one(0, 1), out(one(0, 1)), at(1, one(0, 1))];
    assert_shares(&all, &settings(RR), &[0.7, 0.0, 0.3]);
    let all = [one(0, 1), one(0, 1), one(0, 1), out(one(0, 1)), at(1, one(0, 1))];
    assert_shares(&all, &settings(RR), &[1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
    let all = [out(one(0, 1)), at(1, one(0, 1))];
    assert_shares(&all, &settings(RR), &[0.0, 1.0]);
}

#[test]
fn in_panic_a_priority_uses_all_it_has() {
    let mut panic = settings(RR);
    panic.healthy_panic_threshold = 50.0;
    let all = [one(0, 1), out(one(0, 1)), out(one(0, 1)), out(one(0, 1))];
    assert_shares(&all, &panic, &[0.25; 4]);
    assert_shares(&all, &settings(RR), &[1.0, 0.0, 0.0, 0.0]);
    // Another priority that carries the rest keeps it from panic.
    let all = [all[0], all[1], all[2], all[3], at(1, one(0, 1)), at(1, one(0, 1))];
    assert_shares(&all, &panic, &[0.35, 0.0, 0.0, 0.0, 0.325, 0.325]);
    // With nobody healthy anywhere, all count by their number.
    assert_shares(&[out(one(0, 1)), at(1, out(one(0, 1)))], &panic, &[0.5, 0.5]);
    assert_eq!(plan(&[out(one(0, 1))], &settings(RR)).first(&mut Rng::new(), |_| 0), None);
}

#[test]
fn degraded_endpoints_carry_what_healthy_ones_do_not() {
    let degraded = Candidate { standing: Standing::Degraded, ..one(0, 1) };
    assert_shares(&[one(0, 1), degraded], &settings(RR), &[0.7, 0.3]);
    let all = [one(0, 1), one(0, 1), one(0, 1), degraded];
    assert_shares(&all, &settings(RR), &[1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0]);
    assert_eq!(plan(&all, &settings(RR)).place(3), Place::Later(Why::Degraded));
}

#[test]
fn a_new_endpoint_has_the_part_of_its_weight_that_it_has_grown_to() {
    let wire = testing::growing("outbound|80||a.b");
    let mut growing = wire.load_balancing;
    growing.locality_weighted = false;
    assert_shares(&[one(0, 1), Candidate { grown: 0.25, ..one(0, 1) }], &growing, &[0.8, 0.2]);
}

#[test]
fn endpoints_that_failed_lately_come_after_all_others() {
    let all = [Candidate { deferred: true, ..one(0, 1) }, one(0, 1), at(1, one(0, 1))];
    let plan = plan(&all, &settings(RR));
    let order = drain(&plan, 1);
    assert_eq!(order, [1, 2, 0]);
    let places: Vec<_> = (0..3).map(|index| plan.place(index)).collect();
    assert_eq!(
        places,
        [Place::Later(Why::FailedLately), Place::First { share: 1.0 }, Place::Later(Why::Priority)]
    );
    // Where all have failed, all are tried as if none had.
    let failed = all.map(|one| Candidate { deferred: true, ..one });
    assert_shares(&failed, &settings(RR), &[0.5, 0.5, 0.0]);
    // The next priority is used before an endpoint that failed, although that would carry everything.
    assert_shares(&[failed[0], all[2]], &settings(RR), &[0.0, 1.0]);
}

fn drain(plan: &Plan, seed: u64) -> Vec<usize> {
    let mut rng = Rng::with_seed(seed);
    let mut tried: Vec<_> = plan.first(&mut rng, |_| 0).into_iter().collect();
    if tried.is_empty() {
        return tried;
    }
    while let Some(next) = plan.after(&tried, &mut rng) {
        tried.push(next);
    }
    tried
}

fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let standing = prop_oneof![Just(Standing::Healthy), Just(Standing::Degraded), Just(Standing::Out)];
    let one = (0..3_u32, 0..4_usize, 0..=u32::MAX, standing, any::<bool>(), 0.0..1.0);
    let candidate = |(priority, locality, weight, standing, deferred, grown)| Candidate {
        priority,
        locality,
        // Of one locality all have the same.
        locality_weight: u32::try_from(locality).unwrap() * 7,
        weight,
        standing,
        deferred,
        grown,
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
    (policy, any::<bool>(), any::<bool>(), 0.0..100.0).prop_map(|(policy, grows, weighted, threshold)| {
        let cluster =
            if grows { testing::growing("outbound|80||a.b") } else { testing::bare("outbound|80||a.b") };
        let mut settings = cluster.load_balancing;
        settings.policy = policy;
        (settings.locality_weighted, settings.healthy_panic_threshold) = (weighted, threshold);
        settings
    })
}

proptest! {
    #[test]
    fn every_usable_endpoint_is_offered_once_in_the_order_of_ranks_and_no_other_ever(
        all in any_candidates(),
        settings in any_settings(),
        seed: u64,
    ) {
        let plan = plan(&all, &settings);
        let order = drain(&plan, seed);
        let usable: HashSet<_> =
            (0..all.len()).filter(|index| plan.place(*index) != Place::Out).collect();
        prop_assert_eq!(usable.len(), plan.usable());
        prop_assert_eq!(order.len(), usable.len());
        prop_assert_eq!(&order.iter().copied().collect::<HashSet<_>>(), &usable);
        let rank = |index: &usize| (all[*index].deferred, all[*index].priority);
        if let Some((first, rest)) = order.split_first() {
            prop_assert!(rest.is_sorted_by_key(rank), "{order:?}");
            let place = plan.place(*first);
            prop_assert!(matches!(place, Place::First { .. }), "{place:?}");
        }
        if settings.healthy_panic_threshold == 0.0 {
            prop_assert!(usable.iter().all(|index| all[*index].standing != Standing::Out));
        }
        let total: f64 = (0..all.len())
            .map(|index| match plan.place(index) { Place::First { share } => share, _ => 0.0 })
            .sum();
        prop_assert!(usable.is_empty() || (total - 1.0).abs() < 1e-9, "{total}");
    }
}

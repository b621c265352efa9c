use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::testing::ejecting;

fn rules() -> OutlierDetection {
    // Three consecutive failures, 10 s to 60 s, an interval of 10 s.
    let mut rules = ejecting("outbound|80||a.b").outlier_detection.unwrap();
    (rules.consecutive_5xx, rules.enforcing_consecutive_5xx) = (3, 100);
    (rules.base_ejection_time, rules.max_ejection_time) = (seconds(10), seconds(60));
    rules.interval = seconds(10);
    rules
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns the indices of the events that reach a threshold.
fn reaching(rules: &OutlierDetection, events: &[Event]) -> Vec<usize> {
    let mut record = Record::default();
    let reached = |event: &Event| record.count(*event, rules, Duration::ZERO).is_some();
    let reached: Vec<_> = events.iter().map(reached).collect();
    reached.iter().enumerate().filter(|(_, reached)| **reached).map(|(at, _)| at).collect()
}

#[test]
fn consecutive_failures_reach_the_threshold_and_a_success_resets_the_count() {
    use Event::{Connected, Failed, Status};
    let rules = rules();
    assert_eq!(reaching(&rules, &[Failed, Failed, Failed]), [2]);
    assert_eq!(reaching(&rules, &[Failed, Failed, Connected, Failed, Failed, Failed]), [5]);
    assert_eq!(reaching(&rules, &[Status(500), Connected, Status(502), Status(599)]), [3]);
    assert!(reaching(&rules, &[Status(500), Status(500), Status(404), Status(500)]).is_empty());
}

#[test]
fn gateway_errors_have_a_separate_threshold() {
    use Event::Status;
    let mut rules = rules();
    (rules.consecutive_gateway_failure, rules.enforcing_consecutive_gateway_failure) = (2, 100);
    assert_eq!(reaching(&rules, &[Status(502), Status(504)]), [1]);
    assert!(reaching(&rules, &[Status(502), Status(500)]).is_empty());
    assert_eq!(reaching(&rules, &[Event::Failed, Event::Failed]), [1], "a local failure counts as 503");
    rules.enforcing_consecutive_gateway_failure = 0;
    assert!(reaching(&rules, &[Status(502), Status(504)]).is_empty(), "counted, but not enforced");
}

#[test]
fn local_failures_are_counted_separately_if_the_cluster_separates_them() {
    let mut rules = rules();
    (rules.split_external_local_origin_errors, rules.consecutive_local_origin_failure) = (true, 4);
    assert_eq!(reaching(&rules, &[Event::Failed; 4]), [3]);
    rules.enforcing_consecutive_local_origin_failure = 0;
    assert!(reaching(&rules, &[Event::Failed; 9]).is_empty());
    rules.consecutive_5xx = 0;
    assert!(reaching(&rules, &[Event::Status(500); 9]).is_empty(), "0 disables a threshold");
}

#[test]
fn each_ejection_is_longer_up_to_a_maximum_and_healthy_intervals_shorten_it() {
    let rules = rules();
    let mut record = Record::default();
    let mut now = Duration::ZERO;
    for expected in [10, 20, 30, 40, 50, 60, 60] {
        assert_eq!(record.eject(&rules, now), seconds(expected));
        assert!(record.is_ejected(now + seconds(expected) - Duration::from_nanos(1)));
        now += seconds(expected);
        assert!(!record.is_ejected(now));
    }
    assert_eq!(record.ejections, 7);
    assert_eq!(
        record.eject(&rules, now + seconds(65)),
        seconds(20),
        "six intervals without an ejection: 7 - 6 + 1"
    );
}

#[test]
fn the_share_of_ejected_endpoints_is_limited() {
    let mut rules = rules();
    for (percent, ejected, all, may) in [
        (10, 0, 9, false),
        (10, 0, 10, true),
        (10, 1, 10, false),
        (50, 0, 2, true),
        (50, 1, 2, false),
        (100, 1, 2, true),
        (0, 0, 100, false),
    ] {
        rules.max_ejection_percent = percent;
        assert_eq!(may_eject(ejected, all, &rules), may, "{percent} % of {all}, {ejected} ejected");
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![Just(Event::Connected), Just(Event::Failed), any::<u16>().prop_map(Event::Status)]
}

proptest! {
    #[test]
    fn an_ejection_ends_within_the_maximum_time_and_nothing_is_counted_during_it(
        events in prop::collection::vec((any_event(), 0..100_u64), 0..50),
    ) {
        let rules = rules();
        let (mut record, mut now) = (Record::default(), Duration::ZERO);
        for (event, pause) in events {
            now += seconds(pause);
            let ejected = record.is_ejected(now);
            let reached = record.count(event, &rules, now);
            prop_assert!(!(ejected && reached.is_some()));
            if reached.is_some() {
                let time = record.eject(&rules, now);
                prop_assert!(time >= rules.base_ejection_time && time <= rules.max_ejection_time);
                prop_assert!(!record.is_ejected(now + time));
                prop_assert_eq!(record.failures + record.server_errors + record.gateway_errors, 0);
            }
        }
    }
}

use hickory_resolver::proto::{
    op::{Message, OpCode, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{CNAME, SOA},
    },
};
use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn asked(text: &str) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(name(text), RecordType::A));
    message
}

fn question(text: &str) -> Question {
    Question::from_message(&asked(text).to_vec().unwrap()).unwrap()
}

fn answer(text: &str, records: &[(RData, u32)], soa: Option<(u32, u32)>, code: ResponseCode) -> Vec<u8> {
    let mut message = Message::response(7, OpCode::Query);
    message.add_query(Query::query(name(text), RecordType::A));
    message.metadata.response_code = code;
    let records = records.iter().map(|(data, ttl)| Record::from_rdata(name(text), *ttl, data.clone()));
    message.add_answers(records);
    if let Some((ttl, minimum)) = soa {
        let data = SOA::new(name("ns."), name("admin."), 1, 2, 3, 4, minimum);
        message.add_authority(Record::from_rdata(name("example."), ttl, RData::SOA(data)));
    }
    message.to_vec().unwrap()
}

fn ip(last: u8) -> RData {
    RData::from(std::net::IpAddr::from([192, 0, 2, last]))
}

fn positive(ttl: u32) -> Vec<u8> {
    answer("a.example.", &[(ip(1), ttl), (ip(2), ttl + 5)], None, ResponseCode::NoError)
}

fn ttls(found: &CacheLookup) -> Vec<u32> {
    let (CacheLookup::Fresh(bytes) | CacheLookup::Stale { answer: bytes, .. }) = found else {
        panic!("{found:?}")
    };
    Message::from_vec(bytes).unwrap().answers.iter().map(|record| record.ttl).collect()
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn an_answer_is_cached_for_its_shortest_ttl_and_its_ttls_decrease() {
    let (cache, start) = (Cache::new(Duration::ZERO), Instant::now());
    cache.insert(question("a.example."), &positive(60), start);
    assert_eq!(ttls(&cache.get(&question("A.Example."), after(start, 10))), [50, 55], "the case is ignored");
    assert!(matches!(cache.get(&question("a.example."), after(start, 59)), CacheLookup::Fresh(_)));
    assert_eq!(cache.get(&question("a.example."), after(start, 60)), CacheLookup::Miss);
    assert_eq!(cache.get(&question("b.example."), start), CacheLookup::Miss);
}

/// RFC 2308 §5.
#[test]
fn a_negative_answer_is_cached_for_the_ttl_of_its_soa_record() {
    let start = Instant::now();
    for (ttl, minimum, cached) in [(300, 20, 20), (20, 300, 20), (u32::MAX, 300, 0), (99_999, 99_999, 10_800)]
    {
        for code in [ResponseCode::NXDomain, ResponseCode::NoError] {
            let cache = Cache::new(DAY);
            let denial = answer("a.example.", &[], Some((ttl, minimum)), code);
            cache.insert(question("a.example."), &denial, start);
            let at = |seconds| cache.get(&question("a.example."), after(start, seconds));
            if cached > 0 {
                assert!(matches!(at(cached - 1), CacheLookup::Fresh(_)));
            }
            assert_eq!(at(cached), CacheLookup::Miss, "a negative answer is never stale");
        }
    }
    let cache = Cache::new(DAY);
    let denial = answer("a.example.", &[], None, ResponseCode::NXDomain);
    cache.insert(question("a.example."), &denial, start);
    assert_eq!(cache.get(&question("a.example."), start), CacheLookup::Miss);
}

/// A CNAME record whose target has no address is a negative answer.
#[test]
fn a_negative_answer_is_cached_no_longer_than_its_cname_record() {
    let (cache, start) = (Cache::new(DAY), Instant::now());
    let alias = (RData::CNAME(CNAME(name("b.example."))), 10);
    let denial = answer("a.example.", &[alias], Some((300, 300)), ResponseCode::NoError);
    cache.insert(question("a.example."), &denial, start);
    assert!(matches!(cache.get(&question("a.example."), after(start, 9)), CacheLookup::Fresh(_)));
    assert_eq!(cache.get(&question("a.example."), after(start, 10)), CacheLookup::Miss);
}

#[test]
fn failures_truncated_answers_and_answers_with_a_zero_ttl_are_not_cached() {
    let start = Instant::now();
    let mut truncated = positive(60);
    truncated[2] |= 2;
    let servfail = answer("a.example.", &[], Some((300, 300)), ResponseCode::ServFail);
    for uncacheable in [truncated, servfail, positive(0), positive(60)[..40].to_vec(), Vec::new()] {
        let cache = Cache::new(DAY);
        cache.insert(question("a.example."), &positive(60), start);
        cache.insert(question("a.example."), &uncacheable, start);
        assert_eq!(cache.get(&question("a.example."), start), CacheLookup::Miss);
    }
}

/// RFC 8767 §4, §5.
#[test]
fn a_stale_answer_has_a_ttl_of_thirty_seconds() {
    let (cache, start) = (Cache::new(Duration::from_secs(100)), Instant::now());
    cache.insert(question("a.example."), &positive(60), start);
    let found = cache.get(&question("a.example."), after(start, 70));
    let CacheLookup::Stale { age, refresh, .. } = &found else { panic!("{found:?}") };
    assert_eq!((*age, *refresh, ttls(&found)), (Duration::from_secs(10), true, vec![30, 30]));
    assert!(matches!(cache.get(&question("a.example."), after(start, 159)), CacheLookup::Stale { .. }));
    assert_eq!(cache.get(&question("a.example."), after(start, 160)), CacheLookup::Miss);
}

/// RFC 8767 §5, failure recheck timer.
#[test]
fn unresponsive_servers_are_not_queried_again_for_thirty_seconds() {
    let (cache, start) = (Cache::new(DAY), Instant::now());
    cache.insert(question("a.example."), &positive(60), start);
    cache.record_failure(&question("a.example."), after(start, 70));
    let refreshes = |seconds| match cache.get(&question("a.example."), after(start, seconds)) {
        CacheLookup::Stale { refresh, .. } => refresh,
        other => panic!("{other:?}"),
    };
    assert!(!refreshes(71) && !refreshes(99) && refreshes(100));
    cache.insert(question("a.example."), &positive(60), after(start, 101));
    assert!(matches!(cache.get(&question("a.example."), after(start, 102)), CacheLookup::Fresh(_)));
}

#[test]
fn memory_is_bounded_and_answers_in_use_stay() {
    let (cache, start) = (Cache::new(DAY), Instant::now());
    cache.insert(question("used.example."), &positive(60), start);
    for number in 0..50_000 {
        cache.insert(question(&format!("n{number}.example.")), &positive(60), start);
        assert!(matches!(cache.get(&question("used.example."), start), CacheLookup::Fresh(_)));
    }
    assert!(cache.answers.lock().weight() <= 2 * CAPACITY);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_from_upstream_are_handled(
        mut bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            Just(positive(60)),
            Just(answer("a.example.", &[], Some((1, 2)), ResponseCode::NXDomain)),
        ],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        seconds in 0..200u64,
    ) {
        for (at, byte) in changes {
            let at = at.index(bytes.len().max(1));
            bytes.iter_mut().skip(at).take(1).for_each(|changed| *changed = byte);
        }
        let (cache, start) = (Cache::new(DAY), Instant::now());
        let _ = Question::from_message(&bytes);
        cache.insert(question("a.example."), &bytes, start);
        match cache.get(&question("a.example."), after(start, seconds)) {
            CacheLookup::Fresh(found) | CacheLookup::Stale { answer: found, .. } => prop_assert_eq!(found.len(), bytes.len()),
            CacheLookup::Miss => {}
        }
    }
}

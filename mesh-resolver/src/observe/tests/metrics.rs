//! The metrics of lookups.

use std::{collections::BTreeMap, sync::Arc};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;

use super::{FORECAST, mesh_resolver};
use crate::Upstream;

/// A recorder that counts the records of each metric by name and labels.
#[derive(Default)]
struct Seen(Arc<Mutex<BTreeMap<String, u64>>>);

struct One(Arc<Mutex<BTreeMap<String, u64>>>, String);

impl One {
    fn add(&self, value: u64) {
        *self.0.lock().entry(self.1.clone()).or_default() += value;
    }
}

impl metrics::CounterFn for One {
    fn increment(&self, value: u64) {
        self.add(value);
    }
    fn absolute(&self, _: u64) {}
}

impl metrics::HistogramFn for One {
    fn record(&self, _: f64) {
        self.add(1);
    }
}

impl Seen {
    fn one(&self, key: &Key) -> Arc<One> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(One(self.0.clone(), format!("{} {}", key.name(), labels.join(","))))
    }
}

impl Recorder for Seen {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key))
    }
}

/// Runs `work` and returns the number of records of each metric.
fn counted<F: Future>(work: impl FnOnce() -> F) -> BTreeMap<String, u64> {
    let seen = Seen::default();
    let counts = seen.0.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&seen, || runtime.block_on(work()));
    let counts = counts.lock();
    counts.clone()
}

#[test]
fn each_lookup_is_counted_by_its_source() {
    let counts = counted(async || {
        let resolver = mesh_resolver(Upstream::none());
        assert!(resolver.lookup_ip("192.0.2.1").await.is_ok());
        assert!(resolver.lookup_ip("localhost").await.is_ok());
        assert!(resolver.lookup_ip("www.example.org").await.is_err());
        assert!(resolver.lookup_ip("not a name").await.is_err());
    });
    for outcome in ["literal", "hosts_file", "name_not_found", "invalid_name"] {
        assert_eq!(counts[&format!("mesh_resolver_lookups_total outcome={outcome}")], 1);
    }
    for outcome in ["literal", "hosts_file", "name_not_found", "invalid_name"] {
        assert_eq!(counts[&format!("mesh_resolver_lookup_seconds outcome={outcome}")], 1);
    }
    assert_eq!(counts["mesh_resolver_upstream_lookup_seconds outcome=name_not_found"], 1);
}

#[test]
fn each_upstream_query_is_counted_by_server_and_outcome() {
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let counts = counted(async || {
        let upstream = Upstream::servers([closed]).with_attempts(1);
        assert!(mesh_resolver(upstream).lookup_ip("www.example.org").await.is_err());
    });
    let name = format!("mesh_resolver_upstream_query_seconds server={closed},outcome=unreachable");
    assert_eq!(counts.get(&name), Some(&2), "both families: {counts:?}");
}

/// Reading a clock takes as long as the lookup.
#[test]
fn a_lookup_in_the_name_table_is_counted_but_not_timed() {
    let counts = counted(async || {
        assert!(mesh_resolver(Upstream::none()).lookup_ip(FORECAST).await.is_ok());
    });
    assert_eq!(counts["mesh_resolver_lookups_total outcome=mesh"], 1);
    assert!(!counts.keys().any(|name| name.contains("seconds")), "{counts:?}");
}

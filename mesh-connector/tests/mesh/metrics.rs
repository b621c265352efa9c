//! Metrics in an installed recorder.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;

use crate::{FORECAST, US, World, exchange};

/// A recorder of counters by name and labels.
#[derive(Default)]
struct Counts(Mutex<HashMap<Key, Arc<AtomicU64>>>);

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.0.lock().entry(key.clone()).or_default().clone())
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

impl Counts {
    /// Returns the sum of a counter over all labels.
    fn of(&self, name: &str) -> u64 {
        let counts = self.0.lock();
        let named = counts.iter().filter(|(key, _)| key.name() == name);
        named.map(|(_, count)| count.load(Ordering::Relaxed)).sum()
    }

    fn labels(&self, name: &str) -> HashMap<String, String> {
        let counts = self.0.lock();
        let (key, _) = counts.iter().find(|(key, _)| key.name() == name).unwrap();
        key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect()
    }
}

#[tokio::test]
async fn connections_are_counted_like_in_istios_proxies() {
    let counts = Counts::default();
    let _installed = metrics::set_default_local_recorder(&counts);
    let world = World::start().await;
    let mesh = world.join().await;
    let mut stream = mesh.connect("ledger.payments.example", 5432).await.unwrap();
    let answer = exchange(&mut stream, "hello").await.unwrap();
    assert_eq!(counts.of("istio_tcp_connections_opened_total"), 1);
    assert_eq!(counts.of("istio_tcp_connections_closed_total"), 0);
    assert_eq!(counts.of("istio_tcp_received_bytes_total"), 6);
    assert_eq!(counts.of("istio_tcp_sent_bytes_total"), answer.len() as u64);
    drop(stream);
    assert_eq!(counts.of("istio_tcp_connections_closed_total"), 1);
    let labels = counts.labels("istio_tcp_connections_opened_total");
    for (label, value) in [
        ("reporter", "source"),
        ("source_principal", US),
        ("destination_service", "ledger.payments.example"),
        ("destination_principal", "spiffe://cluster.local/ns/payments/sa/ledger"),
        ("destination_cluster", "cluster2"),
        ("destination_workload", "unknown"),
        ("connection_security_policy", "mutual_tls"),
        ("request_protocol", "tcp"),
    ] {
        assert_eq!(labels[label], value, "{label}");
    }
}

#[tokio::test]
async fn metrics_contain_the_service_name_and_namespace_and_the_error_kind() {
    let counts = Counts::default();
    let _installed = metrics::set_default_local_recorder(&counts);
    let world = World::start().await;
    let mesh = world.join().await;
    mesh.connect("forecast.weather", 3002).await.unwrap();
    let labels = counts.labels("istio_tcp_connections_opened_total");
    assert_eq!(
        (&*labels["destination_service_name"], &*labels["destination_service_namespace"]),
        ("forecast", "weather")
    );
    assert_eq!(labels["destination_principal"], FORECAST);
    assert!(mesh.connect("forecast.weather", 80).await.is_err());
    let labels = counts.labels("mesh_connector_connect_failures_total");
    assert_eq!((&*labels["cluster"], &*labels["kind"]), ("unknown", "unknown_port"));
}

/// A port scan through the program must not fill the memory of the recorder.
#[tokio::test]
async fn the_number_of_series_does_not_depend_on_the_targets() {
    let counts = Counts::default();
    let _installed = metrics::set_default_local_recorder(&counts);
    let world = World::start().await;
    let mesh = world.join().await;
    for number in 1..200_u16 {
        assert!(mesh.connect("127.0.0.1", number).await.is_err());
        assert!(mesh.connect("forecast.weather", 10_000 + number).await.is_err());
        assert!(mesh.connect(&format!("host-{number}.invalid"), 80).await.is_err());
    }
    let keys = counts.0.lock();
    let failures = keys.keys().filter(|key| key.name() == "mesh_connector_connect_failures_total");
    assert!(failures.count() < 10, "{:?}", keys.keys());
}

#[tokio::test]
async fn hosts_outside_the_mesh_are_one_destination() {
    let counts = Counts::default();
    let _installed = metrics::set_default_local_recorder(&counts);
    let world = World::start().await;
    let mesh = world.join().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    mesh.connect("127.0.0.1", listener.local_addr().unwrap().port()).await.unwrap();
    let labels = counts.labels("istio_tcp_connections_opened_total");
    assert_eq!(labels["destination_service_name"], "PassthroughCluster");
    assert_eq!(labels["destination_service"], "unknown");
}

use std::{collections::BTreeMap, sync::Arc};

use ::metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;

use crate::{
    health::Health,
    testing::{Connectivity, mesh},
};

/// The last or summed value by name and labels.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<String, f64>>>);

struct One(Seen, String);

impl One {
    fn set(&self, change: impl FnOnce(f64) -> f64) {
        let mut all = self.0.0.lock();
        let value = all.entry(self.1.clone()).or_default();
        *value = change(*value);
    }
}

impl metrics::CounterFn for One {
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    fn increment(&self, more: u64) {
        self.set(|value| value + more as f64);
    }
    fn absolute(&self, _: u64) {}
}

impl metrics::GaugeFn for One {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, value: f64) {
        self.set(|_| value);
    }
}

impl metrics::HistogramFn for One {
    fn record(&self, _: f64) {
        self.set(|value| value + 1.0);
    }
}

impl Seen {
    fn one(&self, key: &Key) -> Arc<One> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(One(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }

    fn value(&self, name: &str) -> f64 {
        let all = self.0.lock();
        *all.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", all.keys()))
    }
}

impl Recorder for Seen {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key))
    }
}

#[test]
fn certificates_streams_pushes_and_failures_are_counted() {
    let seen = Seen::default();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&seen, || {
        runtime.block_on(async {
            let (_dir, istiod, config) = mesh();
            let client = istiod.join(config).await.unwrap();
            istiod.crash();
            let mut health = client.health().clone();
            health.wait_for(|health| health.stream.is_some()).await.unwrap();
            assert!((seen.value("nds_client_failing{component=stream}") - 1.0).abs() < f64::EPSILON);
            assert!((seen.value("nds_client_sync_state{state=stale}") - 1.0).abs() < f64::EPSILON);
            istiod.set_connectivity(Connectivity::Open);
            health.wait_for(Health::is_ok).await.unwrap();
        });
    });
    let expected = [
        ("istio_agent_num_outgoing_requests{request_type=csr}", 1.0),
        ("istio_agent_istiod_connection_terminations{type=error}", 1.0),
        ("nds_client_pushes_total{type=NameTable,outcome=accepted}", 1.0),
        ("nds_client_pushes_total{type=NameTable,outcome=unchanged}", 1.0),
        ("nds_client_names{}", 1.0),
        ("nds_client_sync_state{state=synced}", 1.0),
        ("nds_client_failing{component=stream}", 0.0),
    ];
    for (name, value) in expected {
        assert!((seen.value(name) - value).abs() < f64::EPSILON, "{name}: {}", seen.value(name));
    }
    assert!(seen.value("istio_agent_istiod_connection_failures{}") >= 1.0);
    assert!(seen.value("istio_agent_xds_proxy_requests{}") >= 4.0);
    let remaining = seen.value("istio_agent_cert_expiry_seconds{resource_name=default}");
    assert!((80_000.0..86_401.0).contains(&remaining), "{remaining}");
}

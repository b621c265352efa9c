//! A recorder of the `metrics` facade, and its output in the text format of Prometheus (exposition format 0.0.4).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;

/// The metrics of one mesh. A histogram is recorded as sum and count, so that its memory does not grow.
#[derive(Default)]
pub(crate) struct MeshRecorder {
    counters: Series<AtomicU64>,
    gauges: Series<AtomicU64>,
    summaries: Series<Summary>,
}

/// The metrics of one type (counters, gauges or histograms), by the hash of their key.
///
/// A map by `Key` would be slow: `Key` ignores the order of labels, so it sorts the labels for each comparison. The
/// library records each metric in one place, so its labels are always in the same order.
struct Series<T>(Mutex<HashMap<u64, Bucket<T>>>);

/// The metrics whose keys have the same hash.
type Bucket<T> = Vec<(Key, Arc<T>)>;

#[derive(Default)]
struct Summary(Mutex<(f64, u64)>);

impl<T> Default for Series<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> Series<T> {
    fn get(&self, key: &Key) -> Arc<T> {
        let mut series = self.0.lock();
        let bucket = series.entry(key.get_hash()).or_default();
        if let Some((_, known)) = bucket.iter().find(|(known, _)| is_same(known, key)) {
            return known.clone();
        }
        let new = Arc::<T>::default();
        bucket.push((key.clone(), new.clone()));
        new
    }

    /// Adds the lines of all metrics to `lines`.
    fn lines(&self, lines: &mut Lines, kind: &'static str, write: impl Fn(&T, &str, &str) -> String) {
        for (key, value) in self.0.lock().values().flatten() {
            let (_, of_name) = lines.entry(key.name().to_owned()).or_insert((kind, BTreeSet::new()));
            of_name.insert(write(value, key.name(), &labels(key)));
        }
    }
}

fn is_same(one: &Key, other: &Key) -> bool {
    one.name() == other.name() && one.labels().eq(other.labels())
}

/// The output for each metric name: the type of the metric, and its lines.
type Lines = BTreeMap<String, (&'static str, BTreeSet<String>)>;

impl MeshRecorder {
    pub(crate) fn render(&self) -> String {
        let mut lines = Lines::new();
        self.counters.lines(&mut lines, "counter", |value, name, labels| {
            format!("{name}{labels} {}\n", value.load(Ordering::Relaxed))
        });
        self.gauges.lines(&mut lines, "gauge", |value, name, labels| {
            format!("{name}{labels} {}\n", f64::from_bits(value.load(Ordering::Relaxed)))
        });
        self.summaries.lines(&mut lines, "summary", |value, name, labels| {
            let (sum, count) = *value.0.lock();
            format!("{name}_sum{labels} {sum}\n{name}_count{labels} {count}\n")
        });
        lines.into_iter().fold(String::new(), |mut text, (name, (kind, lines))| {
            // Writing to a `String` does not fail.
            let _ = writeln!(text, "# TYPE {name} {kind}");
            text.extend(lines);
            text
        })
    }
}

fn labels(key: &Key) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<_> =
        key.labels().map(|label| format!("{}=\"{}\"", label.key(), escaped(label.value()))).collect();
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

impl HistogramFn for Summary {
    fn record(&self, value: f64) {
        let mut all = self.0.lock();
        *all = (all.0 + value, all.1 + 1);
    }
}

impl Recorder for MeshRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.counters.get(key).into()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.gauges.get(key).into()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.summaries.get(key).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_has_a_type_line_for_each_name() {
        let recorder = MeshRecorder::default();
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("opened", "to" => "a \"quoted\\ name\nand a line").increment(2);
            metrics::counter!("opened", "to" => "b").increment(1);
            metrics::gauge!("left").set(-1.5);
            metrics::histogram!("seconds").record(0.25);
            metrics::histogram!("seconds").record(0.5);
        });
        let expected = "# TYPE left gauge\nleft -1.5\n\
            # TYPE opened counter\nopened{to=\"a \\\"quoted\\\\ name\\nand a line\"} 2\nopened{to=\"b\"} 1\n\
            # TYPE seconds summary\nseconds_sum 0.75\nseconds_count 2\n";
        assert_eq!(recorder.render(), expected);
    }
}

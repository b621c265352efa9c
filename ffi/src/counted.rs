//! Counters, gauges and sums behind the `metrics` facade, and their text (Prometheus' exposition format 0.0.4).

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

/// What one mesh counts. What is measured is summed: a fixed amount of memory per name and labels.
#[derive(Default)]
pub(crate) struct Counted {
    counters: Series<AtomicU64>,
    gauges: Series<AtomicU64>,
    summaries: Series<Summary>,
}

/// By the hashes of their keys. `Key` is equal to one with the same labels in another order, and sorts both sides to see
/// that, which is more than all else that counting a connection takes. Each metric is counted in one place, with one order.
struct Series<T>(Mutex<HashMap<u64, OfOneHash<T>>>);

type OfOneHash<T> = Vec<(Key, Arc<T>)>;

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
        let of_hash = series.entry(key.get_hash()).or_default();
        if let Some((_, known)) = of_hash.iter().find(|(known, _)| is_same(known, key)) {
            return known.clone();
        }
        let new = Arc::<T>::default();
        of_hash.push((key.clone(), new.clone()));
        new
    }

    /// Adds to the lines of each name.
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

/// By name: what kind it is, and its lines.
type Lines = BTreeMap<String, (&'static str, BTreeSet<String>)>;

impl Counted {
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
            // Writing to a text does not fail.
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

impl Recorder for Counted {
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
    fn what_is_counted_is_text_with_a_type_for_each_name() {
        let counted = Counted::default();
        metrics::with_local_recorder(&counted, || {
            metrics::counter!("opened", "to" => "a \"quoted\\ name\nand a line").increment(2);
            metrics::counter!("opened", "to" => "b").increment(1);
            metrics::gauge!("left").set(-1.5);
            metrics::histogram!("seconds").record(0.25);
            metrics::histogram!("seconds").record(0.5);
        });
        let expected = "# TYPE left gauge\nleft -1.5\n\
            # TYPE opened counter\nopened{to=\"a \\\"quoted\\\\ name\\nand a line\"} 2\nopened{to=\"b\"} 1\n\
            # TYPE seconds summary\nseconds_sum 0.75\nseconds_count 2\n";
        assert_eq!(counted.render(), expected);
    }
}

//! Metrics of the client through the `metrics` facade. Without the feature `metrics` all functions are empty.

use std::time::{Duration, SystemTime};

use crate::error::Error;

/// The outcome of a push.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Push {
    Accepted,
    Rejected,
    Unchanged,
}

/// A gauge that contains a number of objects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gauge {
    Clusters,
    /// The number of EDS subscriptions.
    Endpoints,
    Names,
}

#[cfg(feature = "metrics")]
mod counted {
    use ::metrics::{counter, gauge, histogram};

    use super::{Duration, Error, Gauge, Push, SystemTime};

    pub(crate) fn request_sent() {
        counter!("istio_agent_xds_proxy_requests").increment(1);
    }

    pub(crate) fn response_received() {
        counter!("istio_agent_xds_proxy_responses").increment(1);
    }

    pub(crate) fn connection_failed() {
        counter!("istio_agent_istiod_connection_failures").increment(1);
    }

    pub(crate) fn stream_ended(error: Option<&Error>) {
        let kind = if error.is_some() { "error" } else { "cancelled" };
        counter!("istio_agent_istiod_connection_terminations", "type" => kind).increment(1);
    }

    pub(crate) fn certificate_requested(outcome: Result<(), &Error>, took: Duration) {
        counter!("istio_agent_num_outgoing_requests", "request_type" => "csr").increment(1);
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        counter!("istio_agent_outgoing_latency", "request_type" => "csr").increment(milliseconds);
        if let Err(error) = outcome {
            counter!("istio_agent_num_failed_outgoing_requests", "request_type" => "csr").increment(1);
            counter!("nds_client_certificate_failures_total", "kind" => error.kind().as_label()).increment(1);
        }
    }

    pub(crate) fn certificate_ends(at: SystemTime, now: SystemTime) {
        let remaining = match at.duration_since(now) {
            Ok(remaining) => remaining.as_secs_f64(),
            Err(past) => -past.duration().as_secs_f64(),
        };
        gauge!("istio_agent_cert_expiry_seconds", "resource_name" => "default").set(remaining);
    }

    pub(crate) fn pushed(type_url: &str, push: Push, took: Duration) {
        let type_name = type_url.rsplit('.').next().unwrap_or_default().to_owned();
        let outcome = match push {
            Push::Accepted => "accepted",
            Push::Rejected => "rejected",
            Push::Unchanged => "unchanged",
        };
        histogram!("nds_client_push_seconds", "type" => type_name.clone()).record(took);
        counter!("nds_client_pushes_total", "type" => type_name, "outcome" => outcome).increment(1);
    }

    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub(crate) fn set_gauge(what: Gauge, count: usize) {
        let gauge = match what {
            Gauge::Clusters => gauge!("nds_client_clusters"),
            Gauge::Endpoints => gauge!("nds_client_endpoint_subscriptions"),
            Gauge::Names => gauge!("nds_client_names"),
        };
        gauge.set(count as f64);
    }

    pub(crate) fn sync_state(current: &str) {
        for state in ["connecting", "from_disk", "synced", "stale"] {
            gauge!("nds_client_sync_state", "state" => state).set(flag(state == current));
        }
    }

    pub(crate) fn failing(component: &'static str, fails: bool) {
        gauge!("nds_client_failing", "component" => component).set(flag(fails));
    }

    fn flag(is: bool) -> f64 {
        if is { 1.0 } else { 0.0 }
    }
}

#[cfg(not(feature = "metrics"))]
mod counted {
    use super::{Duration, Error, Gauge, Push, SystemTime};

    pub(crate) fn request_sent() {}
    pub(crate) fn response_received() {}
    pub(crate) fn connection_failed() {}
    pub(crate) fn stream_ended(_: Option<&Error>) {}
    pub(crate) fn certificate_requested(_: Result<(), &Error>, _: Duration) {}
    pub(crate) fn certificate_ends(_: SystemTime, _: SystemTime) {}
    pub(crate) fn pushed(_: &str, _: Push, _: Duration) {}
    pub(crate) fn set_gauge(_: Gauge, _: usize) {}
    pub(crate) fn sync_state(_: &str) {}
    pub(crate) fn failing(_: &str, _: bool) {}
}

pub(crate) use self::counted::*;

#[cfg(all(test, feature = "metrics"))]
mod tests;

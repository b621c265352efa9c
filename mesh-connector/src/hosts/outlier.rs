//! Outlier detection of one endpoint, as a value: it takes events with their time, and returns whether to eject the
//! endpoint (Envoy `source/common/upstream/outlier_detection_impl.cc`).
//!
//! This client observes two kinds of failures: connection failures (no connection, failed handshake, timeout) and, for
//! requests of its HTTP client, a status of 500 or above. Envoy also counts a connection failure as a status, unless
//! the cluster sets `split_external_local_origin_errors`. This client counts the two kinds separately, because a
//! successful handshake says nothing about later statuses. It compares each count with the threshold that Envoy would
//! use.

use std::time::Duration;

use nds_client::resources::cluster::OutlierDetection;

/// An event of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    /// A connection was established.
    Connected,
    /// The connection attempt failed.
    Failed,
    /// The endpoint answered a request with this status.
    Status(u16),
}

/// The failures and ejections of an endpoint. All times are relative to the start of the statistics of the cluster.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Record {
    failures: u32,
    server_errors: u32,
    gateway_errors: u32,
    /// The next ejection lasts for the base ejection time, multiplied by this number plus one.
    backoff: u32,
    ejected_until: Option<Duration>,
    /// The number of ejections so far.
    pub(crate) ejections: u32,
}

impl Record {
    /// Counts an event. If a threshold is reached, returns the probability of an ejection in percent. `None` if no
    /// ejection is due.
    pub(crate) fn count(&mut self, event: Event, rules: &OutlierDetection, now: Duration) -> Option<u32> {
        if self.is_ejected(now) {
            return None;
        }
        match event {
            Event::Connected => self.failures = 0,
            Event::Failed => self.failures = self.failures.saturating_add(1),
            Event::Status(500..) => {
                self.server_errors = self.server_errors.saturating_add(1);
                let gateway = matches!(event, Event::Status(502..=504));
                self.gateway_errors = if gateway { self.gateway_errors.saturating_add(1) } else { 0 };
            }
            Event::Status(_) => (self.server_errors, self.gateway_errors) = (0, 0),
        }
        let five = (rules.consecutive_5xx, rules.enforcing_consecutive_5xx);
        let gateway = (rules.consecutive_gateway_failure, rules.enforcing_consecutive_gateway_failure);
        let local =
            (rules.consecutive_local_origin_failure, rules.enforcing_consecutive_local_origin_failure);
        // The counts and their thresholds. If the cluster does not separate connection failures from statuses, a
        // connection failure is compared with both thresholds for statuses.
        let thresholds = match (event, rules.split_external_local_origin_errors) {
            (Event::Connected, _) => return None,
            (Event::Failed, true) => [(self.failures, local), (0, local)],
            (Event::Failed, false) => [(self.failures, five), (self.failures, gateway)],
            (Event::Status(_), _) => [(self.server_errors, five), (self.gateway_errors, gateway)],
        };
        let reached = thresholds.into_iter().filter(|(count, (limit, _))| *limit > 0 && count >= limit);
        reached.map(|(_, (_, chance))| chance).max().filter(|chance| *chance > 0)
    }

    /// Ejects the endpoint, and returns the duration of the ejection. If ejections follow each other quickly, each one
    /// lasts longer than the last.
    pub(crate) fn eject(&mut self, rules: &OutlierDetection, now: Duration) -> Duration {
        // Each interval since the end of the last ejection shortens the next ejection.
        let healthy = self.ejected_until.map_or(Duration::ZERO, |until| now.saturating_sub(until));
        let intervals = healthy.as_nanos() / rules.interval.as_nanos().max(1);
        self.backoff =
            self.backoff.saturating_sub(u32::try_from(intervals).unwrap_or(u32::MAX)).saturating_add(1);
        self.ejections += 1;
        (self.failures, self.server_errors, self.gateway_errors) = (0, 0, 0);
        let longest = rules.max_ejection_time.max(rules.base_ejection_time);
        let time = rules.base_ejection_time.saturating_mul(self.backoff).min(longest);
        self.ejected_until = Some(now.saturating_add(time));
        time
    }

    pub(crate) fn is_ejected(&self, now: Duration) -> bool {
        self.ejected_until.is_some_and(|until| now < until)
    }
}

/// Returns whether one more endpoint may be ejected if `ejected` of `all` endpoints are ejected. If the maximum share
/// is less than one endpoint, none may be ejected.
pub(crate) fn may_eject(ejected: usize, all: usize, rules: &OutlierDetection) -> bool {
    (ejected + 1) * 100 <= all * rules.max_ejection_percent as usize
}

/// Returns the number of consecutive connection failures after which an endpoint is ejected. `None` if connection
/// failures never eject it.
pub(crate) fn failures_to_eject(rules: &OutlierDetection) -> Option<u32> {
    let counts = match rules.split_external_local_origin_errors {
        true => {
            vec![(rules.consecutive_local_origin_failure, rules.enforcing_consecutive_local_origin_failure)]
        }
        false => vec![
            (rules.consecutive_5xx, rules.enforcing_consecutive_5xx),
            (rules.consecutive_gateway_failure, rules.enforcing_consecutive_gateway_failure),
        ],
    };
    counts.into_iter().filter(|(count, chance)| *count > 0 && *chance > 0).map(|(count, _)| count).min()
}

#[cfg(test)]
mod tests;

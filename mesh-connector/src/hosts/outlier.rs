//! Outlier detection of one endpoint, as a value: what happened to it goes in with the time, and whether it is to be
//! ejected comes out (Envoy `source/common/upstream/outlier_detection_impl.cc`).
//!
//! A client of connections knows two kinds of failures: those of its own (no connection, no handshake, no answer in time),
//! and, where its HTTP client made the call, a status of 500 and above. Envoy counts the former as a status too, unless
//! the cluster tells them apart (`split_external_local_origin_errors`); here each is counted for itself, against the
//! number that Envoy would hold it to: a handshake that succeeds says nothing about the statuses that follow it.

use std::time::Duration;

use nds_client::resources::cluster::OutlierDetection;

/// What an endpoint did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    /// A connection came about.
    Connected,
    /// None did.
    Failed,
    /// It answered a request with this status.
    Status(u16),
}

/// What is remembered of one endpoint. Times are since a beginning that all of them share.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Record {
    failures: u32,
    server_errors: u32,
    gateway_errors: u32,
    /// By how much the next ejection is longer than the first.
    backoff: u32,
    ejected_until: Option<Duration>,
    /// How often it was ejected.
    pub(crate) ejections: u32,
}

impl Record {
    /// Counts an event. With how many percent of chance the endpoint is to be ejected now, if a number is reached.
    pub(crate) fn note(&mut self, event: Event, rules: &OutlierDetection, now: Duration) -> Option<u32> {
        if self.is_ejected(now) {
            return None;
        }
        match event {
            Event::Connected => self.failures = 0,
            Event::Failed => self.failures += 1,
            Event::Status(500..) => {
                self.server_errors += 1;
                let gateway = matches!(event, Event::Status(502..=504));
                self.gateway_errors = if gateway { self.gateway_errors + 1 } else { 0 };
            }
            Event::Status(_) => (self.server_errors, self.gateway_errors) = (0, 0),
        }
        let five = (rules.consecutive_5xx, rules.enforcing_consecutive_5xx);
        let gateway = (rules.consecutive_gateway_failure, rules.enforcing_consecutive_gateway_failure);
        let local =
            (rules.consecutive_local_origin_failure, rules.enforcing_consecutive_local_origin_failure);
        // Which number each count is held to; a local failure is both kinds of error where they are not told apart.
        let held = match (event, rules.split_external_local_origin_errors) {
            (Event::Connected, _) => return None,
            (Event::Failed, true) => [(self.failures, local), (0, local)],
            (Event::Failed, false) => [(self.failures, five), (self.failures, gateway)],
            (Event::Status(_), _) => [(self.server_errors, five), (self.gateway_errors, gateway)],
        };
        let reached = held.into_iter().filter(|(count, (limit, _))| *limit > 0 && count >= limit);
        reached.map(|(_, (_, chance))| chance).max().filter(|chance| *chance > 0)
    }

    /// Ejects the endpoint, each time for longer, and says for how long.
    pub(crate) fn eject(&mut self, rules: &OutlierDetection, now: Duration) -> Duration {
        // Each interval without an ejection takes one off.
        let healthy = self.ejected_until.map_or(Duration::ZERO, |until| now.saturating_sub(until));
        let intervals = healthy.as_nanos() / rules.interval.as_nanos().max(1);
        self.backoff = self.backoff.saturating_sub(u32::try_from(intervals).unwrap_or(u32::MAX)) + 1;
        self.ejections += 1;
        (self.failures, self.server_errors, self.gateway_errors) = (0, 0, 0);
        let longest = rules.max_ejection_time.max(rules.base_ejection_time);
        let time = rules.base_ejection_time.saturating_mul(self.backoff).min(longest);
        self.ejected_until = Some(now + time);
        time
    }

    pub(crate) fn is_ejected(&self, now: Duration) -> bool {
        self.ejected_until.is_some_and(|until| now < until)
    }
}

/// Whether one more of so many endpoints may be ejected. A share that is less than one endpoint is none.
pub(crate) fn may_eject(ejected: usize, all: usize, rules: &OutlierDetection) -> bool {
    (ejected + 1) * 100 <= all * rules.max_ejection_percent as usize
}

/// After how many failures to connect an endpoint is ejected, if ever.
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

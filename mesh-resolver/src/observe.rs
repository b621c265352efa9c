//! What lookups leave behind for those who watch: events of `tracing`, and metrics where the feature is on.

use std::time::Duration;

use crate::{answer::Lookup, error::Error};

/// The query log: one line at debug for each lookup. Here those for which more than the table was asked.
pub(crate) fn looked_up(host: &str, took: Duration, outcome: &Result<Lookup, Error>) {
    let label = match outcome {
        Ok(answer) => {
            found(host, answer);
            answer.source().as_label()
        }
        Err(error) => {
            let label = error.kind().as_label();
            tracing::debug!(host, error = %error.report(), "not resolved");
            count(label);
            label
        }
    };
    tracing::trace!(host, outcome = label, ?took, "looked up");
    #[cfg(feature = "metrics")]
    metrics::histogram!("mesh_resolver_lookup_seconds", "outcome" => label).record(took);
}

/// The same, of one that found something. What the table answers at once is not timed: to read a clock takes as long.
#[inline]
pub(crate) fn found(host: &str, answer: &Lookup) {
    tracing::debug!(
        host,
        source = answer.source().as_label(),
        name = answer.canonical_name(),
        addresses = ?answer.addresses(),
        "resolved"
    );
    count(answer.source().as_label());
}

#[inline]
fn count(outcome: &'static str) {
    #[cfg(feature = "metrics")]
    match outcome {
        // A label that is known beforehand needs no memory.
        "mesh" => metrics::counter!("mesh_resolver_lookups_total", "outcome" => "mesh").increment(1),
        _ => metrics::counter!("mesh_resolver_lookups_total", "outcome" => outcome).increment(1),
    }
    #[cfg(not(feature = "metrics"))]
    let _ = outcome;
}

#[cfg(test)]
pub(crate) mod events;
#[cfg(test)]
mod tests;

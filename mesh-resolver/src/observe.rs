//! Log events and metrics of lookups.

use std::time::Duration;

use crate::{answer::Lookup, error::Error};

/// Logs and measures a lookup that needed more than the name table.
pub(crate) fn looked_up(host: &str, took: Duration, outcome: &Result<Lookup, Error>) {
    let label = match outcome {
        Ok(answer) => {
            found(host, answer);
            answer.source().as_label()
        }
        Err(error) => {
            let label = error.kind().as_label();
            tracing::debug!(host, error = %error.report(), "lookup failed");
            count(label);
            label
        }
    };
    tracing::trace!(host, outcome = label, ?took, "lookup finished");
    #[cfg(feature = "metrics")]
    metrics::histogram!("mesh_resolver_lookup_seconds", "outcome" => label).record(took);
}

/// Logs and counts a successful lookup. An answer from the name table is not timed, because reading a clock takes as
/// long as the lookup.
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
        // A constant label needs no allocation.
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

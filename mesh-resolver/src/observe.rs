//! What lookups leave behind for those who watch: events of `tracing`, and metrics where the feature is on.

use std::time::Duration;

use crate::{
    Error,
    answer::{Lookup, Source},
    upstream::Failure,
};

/// The query log: one line at debug for each lookup. Here those for which more than the table was asked.
pub(crate) fn looked_up(host: &str, took: Duration, outcome: &Result<Lookup, Error>) {
    let label = match outcome {
        Ok(answer) => {
            found(host, answer);
            source(answer)
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
        source = source(answer),
        name = answer.canonical_name(),
        addresses = ?answer.addresses(),
        "resolved"
    );
    count(source(answer));
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

/// One name asked for upstream, in both families.
pub(crate) fn asked_upstream(name: &str, took: Duration, outcome: &Result<Lookup, Failure>) {
    let outcome = match outcome {
        Ok(found) => source(found),
        Err(failure) => failure.as_label(),
    };
    tracing::debug!(name, outcome, ?took, "asked upstream DNS");
    #[cfg(feature = "metrics")]
    metrics::histogram!("mesh_resolver_upstream_seconds", "outcome" => outcome).record(took);
}

fn source(found: &Lookup) -> &'static str {
    match found.source() {
        Source::Hosts => "hosts",
        Source::Literal => "literal",
        Source::Mesh { .. } => "mesh",
        Source::Stale { .. } => "stale",
        Source::System => "system",
        Source::Upstream => "upstream",
    }
}

#[cfg(test)]
pub(crate) mod events;
#[cfg(test)]
mod tests;

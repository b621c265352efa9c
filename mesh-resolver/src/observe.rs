//! What lookups leave behind for those who watch: events of `tracing`, and metrics where the feature is on.

use std::time::Duration;

use crate::{Error, answer::Lookup, answer::Source, upstream::Failure};

/// An upstream server that takes longer is slow.
const SLOW: Duration = Duration::from_secs(1);

/// The query log: one line at debug for each lookup.
pub(crate) fn looked_up(host: &str, outcome: &Result<Lookup, Error>) {
    match outcome {
        Ok(found) => tracing::debug!(
            host,
            source = source(found),
            name = found.canonical_name(),
            addresses = ?found.addresses(),
            "resolved"
        ),
        Err(error) => tracing::debug!(host, error = %error.report(), "not resolved"),
    }
    #[cfg(feature = "metrics")]
    {
        let outcome = outcome.as_ref().map_or_else(|error| error.kind().as_label(), source);
        metrics::counter!("mesh_resolver_lookups_total", "outcome" => outcome).increment(1);
    }
}

/// One name asked for upstream, in both families.
pub(crate) fn asked_upstream(name: &str, took: Duration, outcome: &Result<Lookup, Failure>) {
    let outcome = match outcome {
        Ok(_) => "found",
        Err(failure) => failure.as_label(),
    };
    if took >= SLOW {
        tracing::info!(name, outcome, ?took, "upstream DNS is slow");
    } else {
        tracing::debug!(name, outcome, ?took, "asked upstream DNS");
    }
    #[cfg(feature = "metrics")]
    metrics::histogram!("mesh_resolver_upstream_seconds", "outcome" => outcome).record(took);
}

fn source(found: &Lookup) -> &'static str {
    match found.source() {
        Source::Hosts => "hosts",
        Source::Literal => "literal",
        Source::Mesh { .. } => "mesh",
        Source::Upstream => "upstream",
    }
}

#[cfg(all(test, feature = "metrics"))]
mod tests;

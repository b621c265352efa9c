//! What lookups leave behind for those who watch: events of `tracing`, and metrics where the feature is on.

use std::{io, net::SocketAddr, time::Duration};

use crate::{
    Error,
    answer::{Lookup, Source},
    upstream::Failure,
};

/// An upstream server that takes longer is slow.
const SLOW: Duration = Duration::from_secs(1);

/// The query log: one line at debug for each lookup.
pub(crate) fn looked_up(host: &str, outcome: &Result<Lookup, Error>) {
    match outcome {
        Ok(answer) => found(host, answer),
        Err(error) => {
            tracing::debug!(host, error = %error.report(), "not resolved");
            count(error.kind().as_label());
        }
    }
}

/// The same, of one that found something.
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
    metrics::counter!("mesh_resolver_lookups_total", "outcome" => outcome).increment(1);
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

/// One server asked one question.
pub(crate) fn server_asked(server: SocketAddr, took: Duration, outcome: &io::Result<Vec<u8>>) {
    let outcome = match outcome {
        Ok(answer) => match answer.get(3).map(|flags| flags & 0x0f) {
            Some(0) => "answer",
            Some(3) => "name_not_found",
            _ => "failure",
        },
        Err(error) if error.kind() == io::ErrorKind::TimedOut => "timeout",
        Err(_) => "unreachable",
    };
    if took >= SLOW {
        tracing::info!(%server, outcome, ?took, "an upstream name server is slow");
    } else {
        tracing::debug!(%server, outcome, ?took, "asked an upstream name server");
    }
    #[cfg(feature = "metrics")]
    {
        let server = server.to_string();
        let labels = [("server", server.into()), ("outcome", metrics::SharedString::from(outcome))];
        metrics::histogram!("mesh_resolver_server_seconds", &labels).record(took);
    }
}

/// A question that was answered from what is kept.
pub(crate) fn cached(kind: &'static str) {
    tracing::trace!(kind, "an answer of upstream DNS that was kept");
    #[cfg(feature = "metrics")]
    metrics::counter!("mesh_resolver_cached_total", "kind" => kind).increment(1);
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

#[cfg(all(test, feature = "metrics"))]
mod tests;

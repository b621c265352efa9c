//! Log events and metrics of upstream DNS.

use std::{io, net::SocketAddr, time::Duration};

use sidestep_util::local_error::is_local_resource;

use super::failure::Failure;
use crate::{answer::Lookup, dns::header::Code};

/// The time from which a server counts as slow.
const SLOW: Duration = Duration::from_secs(1);

/// Logs and measures one query to one server.
pub(super) fn server_queried(server: SocketAddr, took: Duration, outcome: &io::Result<Vec<u8>>) {
    let outcome = match outcome {
        Ok(answer) => match Code::from_message(answer) {
            Some(Code::NoError) => "answer",
            Some(Code::NxDomain) => "name_not_found",
            _ => "failure",
        },
        Err(error) if error.kind() == io::ErrorKind::TimedOut => "timeout",
        Err(error) if is_local_resource(error) => "local_resource",
        Err(_) => "unreachable",
    };
    if took >= SLOW {
        tracing::info!(%server, outcome, ?took, "an upstream DNS server is slow");
    } else {
        tracing::debug!(%server, outcome, ?took, "queried an upstream DNS server");
    }
    #[cfg(feature = "metrics")]
    {
        let server = server.to_string();
        let labels = [("server", server.into()), ("outcome", metrics::SharedString::from(outcome))];
        metrics::histogram!("mesh_resolver_upstream_query_seconds", &labels).record(took);
    }
}

/// Logs and measures the lookup of the IPv4 and IPv6 addresses of one name.
pub(crate) fn name_queried(name: &str, took: Duration, outcome: &Result<Lookup, Failure>) {
    let outcome = match outcome {
        Ok(found) => found.source().as_label(),
        Err(failure) => failure.as_label(),
    };
    tracing::debug!(name, outcome, ?took, "queried upstream DNS");
    #[cfg(feature = "metrics")]
    metrics::histogram!("mesh_resolver_upstream_lookup_seconds", "outcome" => outcome).record(took);
}

/// Logs and counts an answer from the cache.
pub(super) fn cached(kind: &'static str) {
    tracing::trace!(kind, "answered from the upstream cache");
    #[cfg(feature = "metrics")]
    metrics::counter!("mesh_resolver_cached_answers_total", "kind" => kind).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::events;

    /// Operators must see slow servers without debug logs.
    #[test]
    fn a_slow_server_is_logged_at_info_and_others_at_debug() {
        let server = SocketAddr::from(([192, 0, 2, 53], 53));
        let (quick, slow) = (SLOW - Duration::from_nanos(1), SLOW);
        let late = || Err(io::ErrorKind::TimedOut.into());
        for (took, outcome, expected) in [
            (
                quick,
                Ok(vec![0; 12]),
                "DEBUG queried an upstream DNS server server=192.0.2.53:53 outcome=\"answer\"",
            ),
            (
                slow,
                Ok(vec![0; 12]),
                "INFO an upstream DNS server is slow server=192.0.2.53:53 outcome=\"answer\"",
            ),
            (slow, late(), "INFO an upstream DNS server is slow server=192.0.2.53:53 outcome=\"timeout\""),
        ] {
            let events = events::of(|| server_queried(server, took, &outcome));
            assert!(events.iter().any(|event| event.starts_with(expected)), "{events:?}");
            assert_eq!(events.len(), 1);
        }
    }
}

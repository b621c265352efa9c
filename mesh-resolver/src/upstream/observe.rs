//! What asking upstream leaves behind for those who watch.

use std::{io, net::SocketAddr, time::Duration};

use super::failure::Failure;
use crate::{answer::Lookup, dns::header::Code};

/// An upstream server that takes longer is slow.
const SLOW: Duration = Duration::from_secs(1);

/// One server asked one question.
pub(super) fn server_asked(server: SocketAddr, took: Duration, outcome: &io::Result<Vec<u8>>) {
    let outcome = match outcome {
        Ok(answer) => match Code::of(answer) {
            Some(Code::NoError) => "answer",
            Some(Code::NxDomain) => "name_not_found",
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

/// One name asked for, in both families.
pub(crate) fn asked(name: &str, took: Duration, outcome: &Result<Lookup, Failure>) {
    let outcome = match outcome {
        Ok(found) => found.source().as_label(),
        Err(failure) => failure.as_label(),
    };
    tracing::debug!(name, outcome, ?took, "asked upstream DNS");
    #[cfg(feature = "metrics")]
    metrics::histogram!("mesh_resolver_upstream_seconds", "outcome" => outcome).record(took);
}

/// A question that was answered from what is kept.
pub(super) fn cached(kind: &'static str) {
    tracing::trace!(kind, "an answer of upstream DNS that was kept");
    #[cfg(feature = "metrics")]
    metrics::counter!("mesh_resolver_cached_total", "kind" => kind).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::events;

    /// Slow servers are what an operator looks for, and are told without a debug log.
    #[test]
    fn a_server_that_takes_a_second_is_told_at_info_and_others_at_debug() {
        let server = SocketAddr::from(([192, 0, 2, 53], 53));
        let (quick, slow) = (SLOW - Duration::from_nanos(1), SLOW);
        let late = || Err(io::ErrorKind::TimedOut.into());
        for (took, outcome, expected) in [
            (
                quick,
                Ok(vec![0; 12]),
                "DEBUG asked an upstream name server server=192.0.2.53:53 outcome=\"answer\"",
            ),
            (
                slow,
                Ok(vec![0; 12]),
                "INFO an upstream name server is slow server=192.0.2.53:53 outcome=\"answer\"",
            ),
            (slow, late(), "INFO an upstream name server is slow server=192.0.2.53:53 outcome=\"timeout\""),
        ] {
            let told = events::of(|| server_asked(server, took, &outcome));
            assert!(told.iter().any(|event| event.starts_with(expected)), "{told:?}");
            assert_eq!(told.len(), 1);
        }
    }
}

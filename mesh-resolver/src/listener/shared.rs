//! State that both transports of a listener share: the forwarder, the access rule and the counters.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    admission::{Admission, Admitted},
    forward::{self, Forwarder},
    respond::{ForwardedQuery, Transport},
    warnings::Warnings,
};
use crate::dns::{header::Code, query::Query};

/// Decides which clients may resolve names outside the mesh.
pub(super) type Recursion = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) forwarder: Forwarder,
    pub(super) recursion: Recursion,
    pub(super) counters: Arc<Counters>,
    pub(super) admission: Arc<Admission>,
    pub(super) warnings: Arc<Warnings>,
}

impl Shared {
    /// Admits a query to upstream DNS. Returns a SERVFAIL response if too many queries wait for it.
    pub(super) fn admit(&self, peer: IpAddr, message: &[u8], query: &Query) -> Result<Admitted, Vec<u8>> {
        self.admission.admit().ok_or_else(|| self.overload(peer, message, query))
    }

    /// Returns a SERVFAIL response to a query that cannot be forwarded, and counts it.
    pub(super) fn overload(&self, peer: IpAddr, message: &[u8], query: &Query) -> Vec<u8> {
        self.counters.overloaded.add(peer, message);
        forward::failure(message, query, Code::ServFail)
    }

    /// Returns a REFUSED response if the client may not resolve names outside the mesh, or if the query is a zone
    /// transfer. Returns `None` if the query may be forwarded.
    pub(super) fn refusal(&self, peer: IpAddr, message: &[u8], query: &Query) -> Option<Vec<u8>> {
        if (self.recursion)(peer.to_canonical()) && !query.is_for_a_zone() {
            return None;
        }
        self.counters.refused.add(peer, message);
        Some(forward::failure(message, query, Code::Refused))
    }

    /// Returns the response of upstream DNS.
    pub(super) async fn forward(
        &self,
        peer: IpAddr,
        message: &[u8],
        asked: &ForwardedQuery,
        transport: Transport,
    ) -> Vec<u8> {
        self.counters.forwarded.add(peer, message);
        self.forwarder.answer(message, asked, transport, &self.warnings).await
    }
}

/// The number of queries by outcome.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) mesh: OutcomeCounter,
    pub(super) forwarded: OutcomeCounter,
    pub(super) rate_limited: OutcomeCounter,
    pub(super) malformed: OutcomeCounter,
    pub(super) overloaded: OutcomeCounter,
    pub(super) refused: OutcomeCounter,
    pub(super) no_local_address: OutcomeCounter,
}

impl Counters {
    pub(super) fn new() -> Self {
        let [mesh, forwarded, rate_limited, malformed, overloaded, refused, no_local_address] =
            ["mesh", "forwarded", "rate_limited", "malformed", "overloaded", "refused", "no_local_address"]
                .map(OutcomeCounter::new);
        Self { mesh, forwarded, rate_limited, malformed, overloaded, refused, no_local_address }
    }

    pub(super) fn read(&self) -> ListenerStats {
        ListenerStats {
            mesh: self.mesh.read(),
            forwarded: self.forwarded.read(),
            rate_limited: self.rate_limited.read(),
            malformed: self.malformed.read(),
            overloaded: self.overloaded.read(),
            refused: self.refused.read(),
            no_local_address: self.no_local_address.read(),
        }
    }
}

/// The counter of one outcome. The feature `metrics` also exports it as a metric.
pub(super) struct OutcomeCounter {
    outcome: &'static str,
    total: AtomicU64,
    #[cfg(feature = "metrics")]
    metric: metrics::Counter,
}

impl OutcomeCounter {
    fn new(outcome: &'static str) -> Self {
        Self {
            outcome,
            total: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            metric: metrics::counter!("mesh_resolver_listener_queries_total", "outcome" => outcome),
        }
    }

    /// Counts a query and logs it. `packet` begins with the query or with its response.
    pub(super) fn add(&self, peer: IpAddr, packet: &[u8]) {
        self.total.fetch_add(1, Relaxed);
        #[cfg(feature = "metrics")]
        self.metric.increment(1);
        if tracing::enabled!(tracing::Level::DEBUG) {
            let question = Query::question(packet);
            let name = question.as_ref().map(Query::name);
            let kind = question.as_ref().map(|question| question.kind);
            tracing::debug!(%peer, name, kind, outcome = self.outcome, "DNS query");
        }
    }

    fn read(&self) -> u64 {
        self.total.load(Relaxed)
    }
}

impl fmt::Debug for OutcomeCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

/// The number of queries that a [`DnsListener`](super::DnsListener) received, by outcome.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ListenerStats {
    /// Queries answered from the name table.
    pub mesh: u64,
    /// Queries forwarded to upstream DNS.
    pub forwarded: u64,
    /// UDP queries answered with a truncated response, because their network exceeded the rate limit.
    pub rate_limited: u64,
    /// Packets that are not valid queries.
    pub malformed: u64,
    /// Queries answered with SERVFAIL, because too many queries waited for upstream DNS.
    pub overloaded: u64,
    /// Queries refused, because the client may not resolve names outside the mesh, or because they are zone
    /// transfers.
    pub refused: u64,
    /// Queries for mesh names without a loopback address for the client, answered with REFUSED or SERVFAIL
    /// ([`LocalAddresses`](crate::LocalAddresses)).
    pub no_local_address: u64,
}

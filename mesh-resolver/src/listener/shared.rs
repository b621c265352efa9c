//! What both transports of a listener share: how a query is decided, and what is counted.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    forward::{self, Forwarder},
    respond::{Forwarded, Transport},
};
use crate::dns::{header::Code, query::Query};

/// Who may ask for names outside the mesh.
pub(super) type Recursion = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) forwarder: Forwarder,
    pub(super) recursion: Recursion,
    pub(super) counters: Arc<Counters>,
}

impl Shared {
    /// The answer to a host that may not ask for names outside the mesh, or not for this.
    pub(super) fn refusal(&self, peer: IpAddr, message: &[u8], query: &Query) -> Option<Vec<u8>> {
        if (self.recursion)(peer.to_canonical()) && !query.is_for_a_zone() {
            return None;
        }
        self.counters.refused.add(peer, message);
        Some(forward::failure(message, query, Code::Refused))
    }

    /// The answer that upstream has.
    pub(super) async fn forward(
        &self,
        peer: IpAddr,
        message: &[u8],
        asked: &Forwarded,
        transport: Transport,
    ) -> Vec<u8> {
        self.counters.forwarded.add(peer, message);
        self.forwarder.answer(message, asked, transport).await
    }
}

/// How often what has happened.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) mesh: Count,
    pub(super) forwarded: Count,
    pub(super) limited: Count,
    pub(super) malformed: Count,
    pub(super) overload: Count,
    pub(super) refused: Count,
}

impl Counters {
    pub(super) fn new() -> Self {
        let [mesh, forwarded, limited, malformed, overload, refused] =
            ["mesh", "forwarded", "limited", "malformed", "overload", "refused"].map(Count::new);
        Self { mesh, forwarded, limited, malformed, overload, refused }
    }

    pub(super) fn read(&self) -> ListenerStats {
        ListenerStats {
            mesh: self.mesh.read(),
            forwarded: self.forwarded.read(),
            limited: self.limited.read(),
            malformed: self.malformed.read(),
            overload: self.overload.read(),
            refused: self.refused.read(),
        }
    }
}

/// One of them, here and for whoever watches.
pub(super) struct Count {
    outcome: &'static str,
    here: AtomicU64,
    #[cfg(feature = "metrics")]
    watched: metrics::Counter,
}

impl Count {
    fn new(outcome: &'static str) -> Self {
        Self {
            outcome,
            here: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            watched: metrics::counter!("mesh_resolver_queries_total", "outcome" => outcome),
        }
    }

    /// Counts a query, and writes it to the query log. `packet` begins with it, or with the answer to it.
    pub(super) fn add(&self, peer: IpAddr, packet: &[u8]) {
        self.here.fetch_add(1, Relaxed);
        #[cfg(feature = "metrics")]
        self.watched.increment(1);
        if tracing::enabled!(tracing::Level::DEBUG) {
            let question = Query::question(packet);
            let name = question.as_ref().map(Query::name);
            let kind = question.as_ref().map(|question| question.kind);
            tracing::debug!(%peer, name, kind, outcome = self.outcome, "DNS query");
        }
    }

    fn read(&self) -> u64 {
        self.here.load(Relaxed)
    }
}

impl fmt::Debug for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

/// How many queries a [`DnsListener`](super::DnsListener) has seen, by what became of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ListenerStats {
    /// Answered from the table.
    pub mesh: u64,
    /// Passed on to upstream DNS.
    pub forwarded: u64,
    /// Sent to TCP because the network they came from asks too often over UDP.
    pub limited: u64,
    /// Not a query that can be answered.
    pub malformed: u64,
    /// Answered SERVFAIL because too many others were on their way upstream.
    pub overload: u64,
    /// Refused because the host may not ask for names outside the mesh, or because a whole zone was asked for.
    pub refused: u64,
}

//! What both transports of a listener share: how a query is decided, and what is counted.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    forward::{self, Forwarder},
    packet::Query,
    reply::Code,
    respond::Transport,
};

/// Who may ask for names outside the mesh.
pub(super) type Recursion = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) forwarder: Forwarder,
    pub(super) recursion: Recursion,
    pub(super) counters: Arc<Counters>,
}

impl Shared {
    /// Whether a host may ask for names outside the mesh; `None` with the answer where it may not.
    pub(super) fn refusal(&self, peer: IpAddr, message: &[u8], query: &Query) -> Option<Vec<u8>> {
        if (self.recursion)(peer.to_canonical()) {
            return None;
        }
        Counters::add(&self.counters.refused);
        Some(forward::failure(message, query, Code::Refused))
    }

    /// The answer that upstream has.
    pub(super) async fn forward(&self, message: &[u8], query: &Query, transport: Transport) -> Vec<u8> {
        Counters::add(&self.counters.forwarded);
        self.forwarder.answer(message, query, transport).await
    }
}

/// How often what has happened.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) mesh: AtomicU64,
    pub(super) forwarded: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) overload: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self) -> ListenerStats {
        ListenerStats {
            mesh: self.mesh.load(Relaxed),
            forwarded: self.forwarded.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            overload: self.overload.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
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
    /// Not a query that can be answered.
    pub malformed: u64,
    /// Answered SERVFAIL because too many others were on their way upstream.
    pub overload: u64,
    /// Refused because the host may not ask for names outside the mesh.
    pub refused: u64,
}

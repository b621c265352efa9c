//! A DNS server for programs that only speak DNS (feature `listener`, Unix).
//!
//! ```no_run
//! use mesh_resolver::{MeshResolver, listener::DnsListener};
//!
//! # async fn listen(resolver: MeshResolver) -> Result<(), mesh_resolver::Error> {
//! let listener = DnsListener::builder(resolver).bind("127.0.0.1:15053").bind("[::1]:15053").start()?;
//! println!("dig @127.0.0.1 -p 15053 forecast.weather");
//! # drop(listener);
//! # Ok(())
//! # }
//! ```
//!
//! It answers as the DNS proxy of Istio's agent does. Mesh names are answered from the table, over the query itself and
//! on a thread of its own; everything else goes upstream, comes back as it is, and is kept for as long as it says
//! ([`Upstream`](crate::Upstream)).
//!
//! | case | answer |
//! |---|---|
//! | A or AAAA of a mesh name | its addresses in random order, TTL 30 seconds, authoritative; behind the search domain a CNAME record first |
//! | the mesh name has no address of this family | NOERROR without records |
//! | everything else | upstream's; SERVFAIL where nobody upstream answers |
//! | before istiod's first table | as [`MeshResolver::lookup_ip`]: mesh suffixes wait, others go upstream at once |
//! | a question from a host that may not ask it; a transfer of a zone (AXFR, IXFR) | REFUSED |
//! | the query cannot be read, has not exactly one question (RFC 9619), or not its only OPT record in its place (RFC 6891) | FORMERR; nothing where it has no header, or is an answer |
//! | another operation than a query | NOTIMP |
//! | a later version of EDNS | BADVERS |
//!
//! An answer of the mesh that is longer than the asker takes is cut to whole records, one of upstream's to none; both are
//! marked truncated, for the asker to come back over TCP.
//!
//! # Differences from Istio's agent
//!
//! Besides those of the table's semantics ([crate documentation](crate)):
//!
//! * the owner of a record is the name as it was asked, in its case; the agent makes it lower-case;
//! * RA is set; the answer to a query with an OPT record has one (RFC 6891 §6.1.1);
//! * classes other than IN go upstream; the agent answers them with records of class IN;
//! * NOTIFY is answered NOTIMP; the agent treats it as a query;
//! * upstream servers are asked in the order of resolv.conf, and one that fails (SERVFAIL, NOTIMP, REFUSED) makes way for
//!   the next; the agent asks in random order, and any answer counts;
//! * upstream's answers are kept, with what is left of their TTLs, and given for a while longer with a TTL of 30 seconds where
//!   no server answers; the agent asks each time;
//! * an answer too long for the asker is marked truncated; the agent answers SERVFAIL where upstream does not truncate;
//! * hosts other than this one get at most 1232 bytes over UDP, and no recursion unless that is set.
//!
//! # Limits
//!
//! Memory and work are bounded ([`Limits`]): a flood of questions for names outside the mesh is answered SERVFAIL beyond
//! a number of them; mesh names go on being answered. Those cost one thread a microsecond each and no memory, and are not
//! counted where they come from this host; other hosts, whose senders may be forged, get at most 1232 bytes an answer and so
//! many answers a second, and are sent to TCP for more. An upstream server that is this listener itself is not asked; a
//! query that comes back by way of another server waits for the one that is on its way already, and so ends.

mod abroad;
mod forward;
mod outbox;
mod respond;
mod shared;
mod start;
mod tcp;
mod udp;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::net::UnixStream,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::task::AbortHandle;

#[cfg(fuzzing)]
pub(crate) use self::respond::answers;
use self::shared::Shared;
pub use self::{shared::ListenerStats, start::DnsListenerBuilder};
use crate::{error::Error, resolver::MeshResolver};

/// Where a listener listens that is not told otherwise: where Istio's agent does.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15053);

/// A running DNS server. It ends when it is dropped: its thread, its tasks, its connections.
#[must_use = "a listener ends when it is dropped"]
pub struct DnsListener {
    addresses: Arc<[SocketAddr]>,
    shared: Shared,
    /// Closed to end the thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
    tasks: Vec<AbortHandle>,
}

/// How much a listener does at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// UDP queries on their way upstream. Those beyond are answered SERVFAIL.
    pub upstream_queries: usize,
    /// UDP queries in a second from one network of other hosts (IPv4 /24, IPv6 /56), whose senders may be forged. Those
    /// beyond have no records for an answer and are marked truncated, which sends whoever really asks to TCP. This host
    /// may ask as often as it likes.
    pub udp_queries_per_network: u32,
    /// Open TCP connections. Those beyond wait.
    pub tcp_connections: usize,
    /// How long a TCP connection may have nothing to say, or not read its answers.
    pub tcp_idle: Duration,
}

impl Default for Limits {
    /// 1024 queries on their way, 1000 a second from a network, 64 connections, 10 seconds.
    fn default() -> Self {
        Self {
            upstream_queries: 1024,
            udp_queries_per_network: 1000,
            tcp_connections: 64,
            tcp_idle: Duration::from_secs(10),
        }
    }
}

impl DnsListener {
    /// Starts to set a listener up.
    pub fn builder(resolver: MeshResolver) -> DnsListenerBuilder {
        DnsListenerBuilder::new(resolver)
    }

    /// A listener at [`DEFAULT_ADDRESS`], on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Listen`](crate::ErrorKind::Listen): the address is in use, or this is no tokio runtime.
    pub fn start(resolver: MeshResolver) -> Result<Self, Error> {
        Self::builder(resolver).start()
    }

    /// Where it listens, UDP first; each address once. Port 0 has become a real one.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What has become of the queries so far.
    #[must_use]
    pub fn stats(&self) -> ListenerStats {
        self.shared.counters.read()
    }
}

impl Drop for DnsListener {
    fn drop(&mut self) {
        self.shared.forwarder.resolver.inner().upstream.own().remove(&self.addresses);
        for task in &self.tasks {
            task.abort();
        }
        drop(self.stop.take());
        // It may be dropped on that thread itself, by what a log does there.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the thread of a DNS listener had panicked");
        }
    }
}

impl fmt::Debug for DnsListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsListener")
            .field("addresses", &self.addresses)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

//! A DNS server for programs that send DNS queries (feature `listener`, Unix).
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
//! The listener behaves like the DNS proxy of Istio's agent. A dedicated thread answers mesh names from the name
//! table. All other queries go upstream; their answers are forwarded unchanged and cached until their TTL expires
//! ([`Upstream`](crate::Upstream)).
//!
//! | case | response |
//! |---|---|
//! | A or AAAA query for a mesh name | its addresses in random order, TTL 30 seconds, authoritative; preceded by a CNAME record if the name ends in the search domain |
//! | the resolver has [`LocalAddresses`](crate::LocalAddresses): A query for a mesh name | the loopback address, TTL 0; REFUSED for a client without permission, SERVFAIL without an address |
//! | the mesh name has no address of the requested family | NOERROR without records |
//! | any other query | the upstream answer; SERVFAIL if no upstream server answers |
//! | before istiod's first name table | as in [`MeshResolver::lookup_ip`]: names with a mesh suffix, and names with one or two labels, wait; istiod's name and all others go upstream immediately |
//! | the client may not resolve names outside the mesh; zone transfer (AXFR, IXFR) | REFUSED |
//! | the query is malformed, does not have exactly one question (RFC 9619), or has a misplaced or second OPT record (RFC 6891) | FORMERR; none if the packet has no header or is a response |
//! | an opcode other than QUERY | NOTIMP |
//! | an EDNS version other than 0 | BADVERS |
//!
//! A response that exceeds the size that the client accepts is truncated: a mesh response to the records that fit, an
//! upstream response to no records. The client retries over TCP.
//!
//! # Differences from Istio's agent
//!
//! These differences add to those of the name table ([crate documentation](crate)):
//!
//! * The owner of a record has the spelling of the query. The agent converts it to lower case.
//! * The RA bit is set, and the response to a query with an OPT record has one (RFC 6891 §6.1.1).
//! * Classes other than IN go upstream. The agent answers them with records of class IN.
//! * The response to NOTIFY is NOTIMP. The agent treats NOTIFY as a query.
//! * Upstream servers are tried in the order of resolv.conf, and a failure (SERVFAIL, NOTIMP, REFUSED) leads to the
//!   next server. The agent tries them in random order and accepts any response.
//! * Upstream answers are cached until their TTL expires. While no server answers, an expired answer is returned with
//!   a TTL of 30 seconds. The agent caches nothing.
//! * A response that exceeds the size that the client accepts is truncated. The agent returns SERVFAIL unless the
//!   upstream server truncated it.
//! * Other hosts get at most 1232 bytes over UDP. Clients on other hosts may resolve names outside the mesh only if
//!   [`with_recursion_for`](DnsListenerBuilder::with_recursion_for) allows it.
//!
//! # Limits
//!
//! [`Limits`] bounds memory and work. When too many queries wait for upstream DNS, the listener answers further ones
//! with SERVFAIL; mesh names are still answered. Mesh names use no memory and no task, so local clients have no limit
//! for them. At the limit of TCP connections, a new connection replaces an idle one.
//!
//! The source address of a UDP query from another host may be forged. The listener therefore limits the size of these
//! responses and their rate per client network (response rate limiting), and makes the client retry over TCP.
//!
//! The listener does not send queries to itself if it is its own upstream server. A query that returns through
//! another server joins the pending query for the same name, which ends the loop.

mod admission;
mod builder;
mod connections;
mod forward;
mod rate_limit;
mod respond;
mod send_batch;
mod shared;
mod supervise;
mod tcp;
mod udp;
mod warnings;

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
pub(crate) use self::respond::responses;
use self::shared::Shared;
pub use self::{builder::DnsListenerBuilder, shared::ListenerStats};
use crate::{error::Error, resolver::MeshResolver};

/// The default listen address, the same as that of Istio's agent.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15053);

/// A running DNS server.
///
/// Dropping the listener stops its thread and its tasks, and closes its sockets and connections.
#[must_use = "dropping a listener stops it"]
pub struct DnsListener {
    addresses: Arc<[SocketAddr]>,
    shared: Shared,
    /// Closing this socket stops the thread of the listener.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
    tasks: Vec<AbortHandle>,
}

/// The resource limits of a listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// The maximum number of queries that wait for upstream DNS. Further ones are answered with SERVFAIL. At most half
    /// of the queries that the resolver may send simultaneously ([`Upstream`](crate::Upstream)) come from the listener,
    /// whatever this value is, so that its clients do not delay the lookups of this process.
    pub max_upstream_queries: usize,
    /// The maximum number of UDP queries per second from one network of other hosts (IPv4 /24, IPv6 /56). Responses
    /// to further queries have no records and are truncated, so that a genuine client retries over TCP. Queries from
    /// this host have no limit.
    pub udp_rate_limit: u32,
    /// The maximum number of open TCP connections, of all TCP sockets of the listener together. The listener has at
    /// most as many as an eighth of the file descriptors that the process may still open (`RLIMIT_NOFILE`). At the
    /// limit, a new connection replaces another one: the connection that has been idle longest, of the client address
    /// with the most connections (RFC 7766 §6.2.3).
    pub max_tcp_connections: usize,
    /// The time after which a TCP connection is closed if the client neither sends queries nor reads responses.
    pub tcp_idle_timeout: Duration,
}

impl Default for Limits {
    /// Returns 1024 upstream queries, 1000 queries per second and network, 64 connections and 10 seconds.
    fn default() -> Self {
        Self {
            max_upstream_queries: 1024,
            udp_rate_limit: 1000,
            max_tcp_connections: 64,
            tcp_idle_timeout: Duration::from_secs(10),
        }
    }
}

impl DnsListener {
    /// Returns a builder for a listener.
    pub fn builder(resolver: MeshResolver) -> DnsListenerBuilder {
        DnsListenerBuilder::new(resolver)
    }

    /// Starts a listener at [`DEFAULT_ADDRESS`] on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Listen`](crate::ErrorKind::Listen): the address is in use, or the function is called outside a tokio
    /// runtime.
    pub fn start(resolver: MeshResolver) -> Result<Self, Error> {
        Self::builder(resolver).start()
    }

    /// Returns the listen addresses, without duplicates: those of the UDP sockets, then those of the TCP sockets.
    /// Port 0 is replaced by the port that the system chose.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the number of queries by outcome.
    #[must_use]
    pub fn stats(&self) -> ListenerStats {
        self.shared.counters.read()
    }
}

impl Drop for DnsListener {
    fn drop(&mut self) {
        self.shared.forwarder.resolver.inner().upstream.self_addresses().remove(&self.addresses);
        for task in &self.tasks {
            task.abort();
        }
        drop(self.stop.take());
        // A subscriber of `tracing` may drop the listener on the listener's own thread, which cannot join itself.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the thread of a DNS listener panicked");
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

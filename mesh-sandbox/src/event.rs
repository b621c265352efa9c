//! What happened in the sandbox, for tests to wait on and to assert.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// How many events are remembered; older ones are forgotten.
const REMEMBERED: usize = 20_000;
/// How many names an event carries at most.
pub(crate) const NAMES: usize = 100;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An ADS stream was accepted: the node's id.
    AdsConnected {
        /// The node's id, as it introduced itself.
        node: String,
        /// The authenticated SPIFFE identity.
        identity: String,
    },
    /// An ADS stream ended.
    AdsDisconnected {
        /// The node's id.
        node: String,
    },
    /// A client rejected a response (a NACK).
    AdsRejected(Rejection),
    /// istiod sent a response on an ADS stream.
    AdsSent {
        /// The node's id.
        node: String,
        /// The type of the resources.
        type_url: String,
        /// The names of the resources sent: the first hundred, since a whole mesh may be thousands.
        resources: Vec<String>,
        /// How many were sent in all.
        count: usize,
        /// The names of the resources that are gone: the first hundred.
        removed: Vec<String>,
    },
    /// The CA issued a certificate.
    CertificateIssued {
        /// For whom.
        identity: String,
        /// What proved it: `certificate` or `token`.
        proof: &'static str,
        /// For how long.
        lifetime: Duration,
    },
    /// The CA refused.
    CertificateRefused {
        /// Why; istiod does not tell the caller.
        reason: String,
    },
    /// A gateway took a connection.
    Gateway(GatewayEvent),
    /// istiod died, as the real one does when it dereferences nil.
    IstiodCrashed {
        /// What the client sent.
        reason: String,
    },
    /// The YAML folder changed and the mesh with it.
    Reloaded {
        /// The objects that are new or changed, `kind namespace/name`.
        changed: Vec<String>,
        /// The objects that are gone.
        removed: Vec<String>,
    },
    /// The YAML folder changed, but cannot be used; the last good mesh stays.
    ReloadFailed {
        /// File, line and problem.
        error: String,
    },
    /// A workload took a connection.
    Workload(WorkloadEvent),
}

/// One connection at an east-west gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayEvent {
    /// The network that the gateway is the door of.
    pub network: String,
    /// The server name in the client hello.
    pub sni: Option<String>,
    /// The protocols that the client offered.
    pub alpn: Vec<String>,
    /// What the gateway did with it.
    pub outcome: GatewayOutcome,
}

/// What a gateway does with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayOutcome {
    /// Spliced to the endpoint with this address (as in the YAML).
    Forwarded {
        /// The endpoint's address and port.
        endpoint: String,
    },
    /// Reset: no client hello within the inspection timeout, or no TLS at all.
    NoClientHello,
    /// Reset: none of the five Istio ALPNs was offered.
    NoIstioAlpn,
    /// Reset: the service has no endpoint here that can take it.
    NoUpstream,
    /// Reset: no such SNI is exposed.
    UnknownSni,
}

/// One connection at a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadEvent {
    /// The workload's name (its pod's).
    pub workload: String,
    /// The cluster it runs in.
    pub cluster: String,
    /// The client's SPIFFE identity; nothing in plaintext.
    pub client: Option<String>,
    /// The protocol that TLS agreed on, if any.
    pub alpn: Option<String>,
    /// What became of it.
    pub outcome: WorkloadOutcome,
}

/// What a workload does with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkloadOutcome {
    /// Mutual TLS, then the application.
    MutualTls,
    /// Not TLS: the application, as PERMISSIVE allows.
    Plaintext,
    /// TLS that nothing here terminates: the application was given the TLS bytes.
    PassedThrough,
    /// Closed: no filter chain matches.
    NoFilterChain,
    /// The handshake failed.
    HandshakeFailed {
        /// Why.
        reason: String,
    },
}

/// A response that a client said no to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The node that rejected.
    pub node: String,
    /// The type that was rejected.
    pub type_url: String,
    /// The nonce of the rejected response.
    pub nonce: String,
    /// The status code.
    pub code: i32,
    /// What the client said.
    pub message: String,
}

/// A connected ADS client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The node's id.
    pub node: String,
    /// The authenticated SPIFFE identity.
    pub identity: String,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The types it watches, with the names of each.
    pub watched: Vec<(String, Vec<String>)>,
}

/// A record of what happened, in order. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Mutex<Log>,
    count: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Log {
    forgotten: u64,
    events: VecDeque<Event>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { log: Mutex::default(), count: watch::Sender::new(0) }))
    }

    pub(crate) fn record(&self, event: Event) {
        tracing::debug!(?event, "sandbox");
        {
            let mut log = self.0.log.lock();
            if log.events.len() == REMEMBERED {
                log.events.pop_front();
                log.forgotten += 1;
            }
            log.events.push_back(event);
        }
        self.0.count.send_modify(|count| *count += 1);
    }

    /// Everything that is remembered, oldest first.
    pub fn all(&self) -> Vec<Event> {
        self.0.log.lock().events.iter().cloned().collect()
    }

    /// A position in the record: now. See [`Events::wait_since`].
    pub fn mark(&self) -> u64 {
        let log = self.0.log.lock();
        log.forgotten + u64::try_from(log.events.len()).unwrap_or(u64::MAX)
    }

    /// Waits for an event that `wanted` accepts, past ones included, and returns what `wanted` made of it.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn wait<T>(&self, wanted: impl FnMut(&Event) -> Option<T>) -> T {
        self.wait_since(0, wanted).await
    }

    /// Waits for an event later than `mark`.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn wait_since<T>(&self, mark: u64, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let mut count = self.0.count.subscribe();
        let mut next = mark;
        loop {
            count.borrow_and_update();
            let (found, seen) = self.search(next, &mut wanted);
            if let Some(found) = found {
                return found;
            }
            next = seen;
            if count.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn search<T>(&self, from: u64, wanted: &mut impl FnMut(&Event) -> Option<T>) -> (Option<T>, u64) {
        let log = self.0.log.lock();
        let skip = usize::try_from(from.saturating_sub(log.forgotten)).unwrap_or(usize::MAX);
        let found = log.events.iter().skip(skip).find_map(wanted);
        (found, log.forgotten + u64::try_from(log.events.len()).unwrap_or(u64::MAX))
    }
}

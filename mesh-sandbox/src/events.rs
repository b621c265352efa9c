//! Events of the sandbox, for tests to wait for and to check.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// The maximum number of stored events. If there are more, the oldest event is dropped.
const REMEMBERED: usize = 20_000;
/// The maximum number of resource names in an event.
pub(crate) const NAMES: usize = 100;

/// An event in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// istiod accepted an ADS stream.
    AdsConnected {
        /// The id of the xDS node that the client sent.
        node: String,
        /// The authenticated SPIFFE ID of the client.
        identity: String,
    },
    /// An ADS stream ended.
    AdsDisconnected {
        /// The xDS node id of the client.
        node: String,
    },
    /// A client rejected a response (NACK).
    AdsRejected(Rejection),
    /// istiod sent a response on an ADS stream.
    AdsSent {
        /// The xDS node id of the client.
        node: String,
        /// The type URL of the resources.
        type_url: String,
        /// The names of the first hundred resources sent.
        resources: Vec<String>,
        /// The number of resources sent.
        count: usize,
        /// The names of the first hundred removed resources.
        removed: Vec<String>,
    },
    /// The CA issued a certificate.
    CertificateIssued {
        /// The SPIFFE ID in the certificate.
        identity: String,
        /// The credential that authenticated the request: `certificate` or `token`.
        proof: &'static str,
        /// The lifetime of the certificate.
        lifetime: Duration,
    },
    /// The CA rejected a certificate request.
    CertificateRefused {
        /// The reason, which istiod does not send to the client.
        reason: String,
    },
    /// A gateway accepted a connection.
    Gateway(GatewayEvent),
    /// istiod crashed, as a real istiod does when it dereferences a nil pointer.
    IstiodCrashed {
        /// The request that caused the crash.
        reason: String,
    },
    /// The sandbox reloaded the YAML folder after a change.
    Reloaded {
        /// The new and changed objects, as `kind namespace/name`.
        changed: Vec<String>,
        /// The removed objects, as `kind namespace/name`.
        removed: Vec<String>,
    },
    /// The YAML folder changed but is invalid; the previous mesh stays in use.
    ReloadFailed {
        /// The error, with file and line.
        error: String,
    },
    /// A workload accepted a connection.
    Workload(WorkloadEvent),
}

/// A connection to an east-west gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayEvent {
    /// The network that the gateway leads into.
    pub network: String,
    /// The server name (SNI) in the ClientHello.
    pub sni: Option<String>,
    /// The ALPN protocols that the client offered.
    pub alpn: Vec<String>,
    /// Whether and where the gateway forwarded the connection.
    pub outcome: GatewayOutcome,
}

/// How an east-west gateway handled a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayOutcome {
    /// The gateway forwarded the connection to an endpoint.
    Forwarded {
        /// The address and port of the endpoint in the YAML.
        endpoint: String,
    },
    /// The gateway reset the connection: it received no TLS, or no ClientHello within the inspection timeout.
    NoClientHello,
    /// The gateway reset the connection: the client offered none of the five ALPN protocols of Istio.
    NoIstioAlpn,
    /// The gateway reset the connection: the service has no endpoint in this network that accepts connections.
    NoUpstream,
    /// The gateway reset the connection: no exposed service has this SNI.
    UnknownSni,
}

/// A connection to a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkloadEvent {
    /// The name of the pod, of the WorkloadEntry or of the ServiceEntry endpoint. The address if the workload has no
    /// name.
    pub workload: String,
    /// The Kubernetes cluster in which the workload runs.
    pub cluster: String,
    /// The SPIFFE ID of the client; `None` if the sidecar did not terminate mutual TLS.
    pub client: Option<String>,
    /// The ALPN protocol that the sidecar selected; `None` if it selected none or did not terminate mutual TLS.
    pub alpn: Option<String>,
    /// How the sidecar of the workload handled the connection.
    pub outcome: WorkloadOutcome,
}

/// How the sidecar of a workload handled a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkloadOutcome {
    /// The sidecar terminated mutual TLS and passed the connection to the application.
    MutualTls,
    /// The application received a plaintext connection, which PERMISSIVE mode allows.
    Plaintext,
    /// The application received the TLS bytes, because the sidecar does not terminate this TLS connection.
    PassedThrough,
    /// The sidecar closed the connection because no filter chain matches.
    NoFilterChain,
    /// The TLS handshake failed.
    HandshakeFailed {
        /// The reason why the handshake failed.
        reason: String,
    },
}

/// A response that a client rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// The xDS node id of the client that rejected the response.
    pub node: String,
    /// The type URL of the response.
    pub type_url: String,
    /// The nonce of the rejected response.
    pub nonce: String,
    /// The status code in the NACK.
    pub code: i32,
    /// The error message in the NACK.
    pub message: String,
}

/// A connected ADS client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdsConnection {
    /// The xDS node id of the client.
    pub node: String,
    /// The authenticated SPIFFE ID of the client.
    pub identity: String,
    /// The socket address of the client.
    pub peer: SocketAddr,
    /// The resource types that the client subscribes to, with the subscribed names.
    pub subscriptions: Vec<(String, Vec<String>)>,
}

/// The log of events, in the order in which they happened. Clones are cheap and share the log.
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

    /// Returns all stored events, oldest first.
    pub fn all(&self) -> Vec<Event> {
        self.0.log.lock().events.iter().cloned().collect()
    }

    /// Returns the position in the log after the newest event, for [`Events::wait_since`].
    pub fn mark(&self) -> u64 {
        let log = self.0.log.lock();
        log.forgotten + u64::try_from(log.events.len()).unwrap_or(u64::MAX)
    }

    /// Waits until `wanted` returns `Some` for an event, past events included, and returns the value.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn wait<T>(&self, wanted: impl FnMut(&Event) -> Option<T>) -> T {
        self.wait_since(0, wanted).await
    }

    /// Waits as [`Events::wait`] does, but only for events after `mark`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
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

//! Explanations of a connection to a target, step by step.
//!
//! [`Mesh::explain`] and [`Mesh::explain_to`] return an [`Explanation`]. Its fields are the steps of the decision about
//! a connection: name, cluster, endpoints, connection.

mod collect;
mod endpoint;
mod name;
mod not_applied;
mod text;

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

pub use self::{
    endpoint::{Endpoint, EndpointState, Transport},
    name::{Name, NameMatch},
};
use crate::{error, error::Error, mesh::Mesh, target};

/// Whether an explanation includes a real connection attempt.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Probe {
    /// Connects in the same way as a caller would, records the peer, and closes the connection without sending
    /// application data. With TLS 1.3 a peer rejects the client certificate only after the handshake, so this probe
    /// waits 250 ms for such a rejection.
    Handshake,
    /// Makes no connection. Clusters and endpoints that are not loaded yet are requested from istiod.
    #[default]
    Nothing,
}

/// An explanation of how a connection to one target is made, as values, as text ([`Display`](std::fmt::Display)) and as
/// JSON. The fields are in the order of the decision.
///
/// The code that makes connections also makes the explanation, so an explanation agrees with real connections.
///
/// # JSON
///
/// [`to_json`](Self::to_json) returns the fields of this type and of the nested types under their Rust names. Enum
/// values are variant names in `snake_case`. Unknown values are `null`. A suffix of the field name gives the unit of a
/// duration. Later versions may add fields, but do not change the meaning of existing ones.
///
/// ```
/// # async fn example(mesh: mesh_connector::Mesh) -> Result<(), mesh_connector::Error> {
/// use mesh_connector::{Target, explain::Probe};
///
/// let explanation = mesh.explain_to(&Target::new("forecast.weather", 3002)?, Probe::Handshake).await;
/// println!("{explanation}");
/// if let Some(failure) = &explanation.failure {
///     println!("{}: {:?}", failure.kind, failure.possible_causes);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The requested target.
    pub target: Target,
    /// The membership of this process in the mesh.
    pub membership: Membership,
    /// The host in the name table. `None` if the decision ended before the lookup.
    pub name: Option<Name>,
    /// The addresses of the host outside the mesh. `None` for a host of the mesh.
    pub passthrough: Option<Passthrough>,
    /// The cluster of the target. `None` if the target is outside the mesh, or if the decision ended before the cluster
    /// was known.
    pub cluster: Option<Cluster>,
    /// The endpoints of the cluster, in the order of istiod. Empty if they are not known.
    pub endpoints: Vec<Endpoint>,
    /// The connection that [`Probe::Handshake`] made. `None` if no connection was made.
    pub connection: Option<Connection>,
    /// The reason why no connection is possible. `None` if the explanation found none.
    pub failure: Option<Failure>,
    /// Configuration that can affect the connection of a sidecar, and that this client does not receive.
    pub not_visible: Vec<String>,
    /// Settings of the cluster that this client does not apply, or applies only to some kinds of connections.
    pub not_applied: Vec<String>,
}

/// The requested target.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Target {
    /// The normalised host.
    pub host: String,
    /// The service port.
    pub port: u16,
    /// The subset: a name from the DestinationRule of the service. Empty for the whole service.
    pub subset: String,
    /// The protocol: `tcp`, `http1`, `http2`.
    pub protocol: &'static str,
}

/// The membership of this process in the mesh, and the state of its data.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Membership {
    /// The SPIFFE ID of this process. `None` before the first certificate.
    pub identity: Option<String>,
    /// The remaining validity of the certificate, in seconds. 0 for an expired certificate. `None` before the first
    /// certificate.
    pub certificate_seconds_left: Option<u64>,
    /// The network of this workload. Endpoints in other networks need an east-west gateway. Empty if no network is
    /// configured.
    pub network: String,
    /// The state of names, clusters and endpoints: `synced`, `stale`, `from_disk`, `connecting`
    /// ([`SyncState`](nds_client::health::SyncState)).
    pub state: String,
    /// The time since the stream to istiod ended, in seconds. For data from disk, this is the age of the data when it
    /// was loaded. `None` in all states except `stale` and `from_disk`.
    pub stale_seconds: Option<u64>,
    /// The problems of the membership, each with its reason.
    pub problems: Vec<String>,
}

/// A host outside the mesh.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Passthrough {
    /// Whether the settings of this program allow connections to the host.
    pub allowed: bool,
    /// The addresses from upstream DNS. Empty if they were not looked up.
    pub addresses: Vec<IpAddr>,
}

/// A cluster: one port, and optionally one subset, of a service.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Cluster {
    /// The name of the cluster: `outbound|3002||forecast.weather.svc.cluster.local`.
    pub name: String,
    /// The source of the endpoints: `eds`, `inline`, `original_destination`.
    pub discovery: &'static str,
    /// The protocol that the control plane expects on the port: `http2`, `http1_or_tcp`, `detected`.
    pub protocol: &'static str,
    /// The timeout of one connection attempt, in milliseconds.
    pub connect_timeout_millis: u64,
    /// Whether the service is outside the mesh (`MESH_EXTERNAL`).
    pub external: bool,
    /// The load balancing policy: `round_robin`, `least_request`, `random`, `hash`.
    pub load_balancing_policy: &'static str,
    /// Whether locality weights apply.
    pub locality_weighted: bool,
    /// The panic threshold in percent. If the share of healthy endpoints is smaller, unhealthy endpoints are used too.
    /// 0 disables the panic threshold.
    pub panic_threshold_percent: f64,
    /// The number of consecutive connection failures after which an endpoint is ejected. `None` if it is never ejected.
    pub ejection_threshold: Option<u32>,
    /// The maximum number of connections of this process to the cluster. `None` if there is no effective limit.
    pub max_connections: Option<u32>,
    /// The time for which HTTP clients retain an idle connection, in milliseconds. 0 means no timeout. `None` if the
    /// cluster sets no timeout: the default of the HTTP client applies.
    pub idle_timeout_millis: Option<u64>,
    /// The maximum age of an HTTP connection, in milliseconds. `None` without a limit.
    pub max_connection_duration_millis: Option<u64>,
    /// The maximum number of requests on an HTTP connection. `None` without a limit.
    pub max_requests_per_connection: Option<u32>,
    /// The path in the Kubernetes API of the DestinationRule that configures the cluster. `None` if there is none.
    pub destination_rule: Option<String>,
    /// The names of all subsets of the service on this port.
    pub subsets: Vec<String>,
}

/// The connection of [`Probe::Handshake`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Connection {
    /// Whether the peer has confirmed the connection.
    pub state: ConnectionState,
    /// The address of the endpoint that accepted the connection.
    pub endpoint: String,
    /// The peer address of the TCP connection.
    pub peer_addr: SocketAddr,
    /// Whether the endpoint is an east-west gateway.
    pub gateway: bool,
    /// The protection of the connection: `mutual_tls`, `tls` or `plaintext`.
    pub transport: &'static str,
    /// The server name of the TLS handshake. `None` for plaintext, and for a handshake without SNI.
    pub sni: Option<String>,
    /// The application protocol (ALPN) that the peer selected. `None` if it selected none, which is usual.
    pub alpn: Option<String>,
    /// The verified name of the peer: with mesh mTLS, its SPIFFE ID. `None` for plaintext.
    pub peer: Option<String>,
    /// The time to connect, including failed attempts, in microseconds.
    pub connect_micros: u64,
}

/// Whether the peer of a connection has confirmed it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectionState {
    /// The TLS handshake succeeded, or the peer sent data.
    Connected,
    /// The peer accepted a plaintext connection and has sent nothing. Most servers wait for a request; a peer that
    /// requires mTLS closes the connection when the request arrives.
    Accepted,
}

/// The reason why no connection is possible.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Failure {
    /// The kind of the error: [`ErrorKind::as_label`](crate::ErrorKind::as_label).
    pub kind: &'static str,
    /// The message and its causes, without attempts and possible causes.
    pub summary: String,
    /// The whole error with its attempts and possible causes, on one line.
    pub message: String,
    /// The possible causes in the configuration of the mesh. The client cannot determine which one applies.
    pub possible_causes: Vec<&'static str>,
    /// The failed connection attempts.
    pub attempts: Vec<Attempt>,
    /// The expected identities, if the failure is an identity mismatch. Empty for other failures.
    pub expected: Vec<String>,
    /// The presented identities, if the failure is an identity mismatch. Empty for other failures.
    pub presented: Vec<String>,
}

/// A failed connection attempt to one endpoint.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Attempt {
    /// The address of the endpoint.
    pub endpoint: String,
    /// The Kubernetes cluster behind the endpoint, if the endpoint is an east-west gateway. `None` if it is a workload.
    pub gateway: Option<String>,
    /// The server name for the TLS handshake. `None` for plaintext, and for a handshake without SNI.
    pub sni: Option<String>,
    /// The kind of the error: [`ErrorKind::as_label`](crate::ErrorKind::as_label).
    pub kind: &'static str,
    /// The message and its causes.
    pub summary: String,
}

impl Mesh {
    /// Explains how a connection to a host and port would be made. Does not connect.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidTarget`](crate::ErrorKind::InvalidTarget). All other failures are part of the explanation.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn explain(&self, host: &str, port: u16) -> Result<Explanation, Error> {
        Ok(self.explain_to(&target::Target::new(host, port)?, Probe::Nothing).await)
    }

    /// Explains how a connection to a target is made. With [`Probe::Handshake`], it also makes a connection. All
    /// failures are part of the explanation. The call takes at most the connect deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn explain_to(&self, target: &target::Target, probe: Probe) -> Explanation {
        collect::explain(self.membership(), self.settings(), target, probe).await
    }
}

impl Explanation {
    /// Returns the explanation as a JSON object on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Serialisation of these types cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns whether the explanation contains no failure. With [`Probe::Handshake`], this means that the connection
    /// succeeded.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.failure.is_none()
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let mismatch = error.identity_mismatch();
        let mut possible_causes = error.possible_causes().to_vec();
        for attempt in error.attempts() {
            let new = attempt.error.possible_causes().iter().filter(|cause| !possible_causes.contains(cause));
            let new: Vec<_> = new.copied().collect();
            possible_causes.extend(new);
        }
        Self {
            kind: error.kind().as_label(),
            summary: error.summary(),
            message: error.report(),
            possible_causes,
            attempts: error.attempts().iter().map(Attempt::from).collect(),
            expected: mismatch.map(|mismatch| mismatch.expected.clone()).unwrap_or_default(),
            presented: mismatch.map(|mismatch| mismatch.presented.clone()).unwrap_or_default(),
        }
    }
}

impl From<&error::Attempt> for Attempt {
    fn from(attempt: &error::Attempt) -> Self {
        Self {
            endpoint: attempt.endpoint.clone(),
            gateway: attempt.gateway.clone(),
            sni: attempt.sni.clone(),
            kind: attempt.error.kind().as_label(),
            summary: attempt.error.summary(),
        }
    }
}

//! Why a connection goes where it goes: the whole decision, step by step.

mod collect;
mod endpoint;
mod name;
mod not_applied;
mod text;

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

pub use self::endpoint::{EndpointState, ExplainedEndpoint, ExplainedTransport};
pub use self::name::{ExplainedName, NameFound};
use crate::{
    error::{Attempt, Error},
    mesh::Mesh,
    target::Target,
};

/// Whether an explanation makes a connection to see whether it is true.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Probe {
    /// Connects as a caller would, looks at who answers, and closes the connection without a byte of application
    /// data. A refusal of this workload's certificate, which TLS 1.3 delivers late, is waited for: a quarter of a
    /// second.
    Handshake,
    /// Only says what would be done. What istiod has to be asked for (clusters, endpoints) is asked for.
    #[default]
    Nothing,
}

/// The decision about one target, in the order in which it is made: as values, as text for people
/// ([`Display`](std::fmt::Display)), and as JSON.
///
/// It is made by the code that makes connections, so it cannot say another thing than they do.
///
/// # JSON
///
/// [`to_json`](Self::to_json) has the fields of this type and of those inside it under their own names; enumerations
/// are their variants' names in `snake_case`; what is not known is `null`; times are in the unit that their name
/// ends with. Fields are added in later versions and never change their meaning.
///
/// ```
/// # async fn example(mesh: mesh_connector::Mesh) -> Result<(), mesh_connector::Error> {
/// use mesh_connector::{Probe, Target};
///
/// let explanation = mesh.explain_to(&Target::new("forecast.weather", 3002)?, Probe::Handshake).await;
/// println!("{explanation}");
/// if let Some(failure) = &explanation.failure {
///     println!("{}: {:?}", failure.kind, failure.candidates);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// What was asked for.
    pub target: ExplainedTarget,
    /// Who asks, and how far its knowledge can be trusted.
    pub membership: ExplainedMembership,
    /// What the host is in the mesh's name table. `None` where it did not come to that.
    pub name: Option<ExplainedName>,
    /// How the host is reached outside of the mesh, where that is where it is.
    pub outside: Option<ExplainedOutside>,
    /// The cluster that stands for the target.
    pub cluster: Option<ExplainedCluster>,
    /// Its endpoints, in istiod's order.
    pub endpoints: Vec<ExplainedEndpoint>,
    /// The connection that was made on request.
    pub connection: Option<ExplainedConnection>,
    /// Why no connection comes about. `None` where nothing known stands in its way.
    pub failure: Option<ExplainedFailure>,
    /// What may decide the connection of a sidecar, and is invisible to this client.
    pub not_visible: Vec<String>,
    /// What the cluster says, and this client does not do, or not for every kind of connection.
    pub not_applied: Vec<String>,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplainedTarget {
    /// The host, normalised.
    pub host: String,
    /// The service port.
    pub port: u16,
    /// The subset of a DestinationRule; empty for the service as a whole.
    pub subset: String,
    /// What would be spoken: `tcp`, `http1`, `http2`.
    pub protocol: &'static str,
}

/// Who asks, and how far its knowledge can be trusted.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplainedMembership {
    /// The identity that is presented to peers. `None` before the first certificate.
    pub identity: Option<String>,
    /// How long the certificate still holds, in seconds; 0 for one that has expired.
    pub certificate_seconds_left: Option<u64>,
    /// The network of this workload, which decides where gateways are needed. Empty where none is configured.
    pub network: String,
    /// Where names, clusters and endpoints come from: `synced`, `stale`, `from_disk`, `connecting`.
    pub state: String,
    /// How long ago the stream to istiod ended whose last words they are, or how old they were when they were read from
    /// disk, in seconds.
    pub stale_seconds: Option<u64>,
    /// Everything of the membership that does not work, each with its reason.
    pub problems: Vec<String>,
}

/// A host outside of the mesh.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplainedOutside {
    /// Whether this program's settings let it be reached.
    pub allowed: bool,
    /// Its addresses by upstream DNS.
    pub addresses: Vec<IpAddr>,
}

/// One port, and possibly one subset, of one service.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplainedCluster {
    /// `outbound|3002||forecast.weather.svc.cluster.local`
    pub name: String,
    /// Where its endpoints come from: `eds`, `inline`, `original_destination`.
    pub discovery: &'static str,
    /// Which HTTP the control plane expects on the port: `http2`, `http1_or_tcp`, `detected`.
    pub protocol: &'static str,
    /// How long one attempt may take, in milliseconds.
    pub connect_timeout_millis: u64,
    /// Whether the service is outside of the mesh (`MESH_EXTERNAL`).
    pub external: bool,
    /// How connections are spread over the endpoints: `round_robin`, `least_request`, `random`, `hash`.
    pub balancing: &'static str,
    /// Whether localities count by their weights.
    pub locality_weighted: bool,
    /// With a smaller share of healthy endpoints, in percent, unhealthy ones are used as well; 0: never.
    pub panic_threshold_percent: f64,
    /// After how many failures to connect in a row an endpoint is ejected for a while. `None`: it never is.
    pub ejected_after: Option<u32>,
    /// How many connections this process may have. `None`: no limit that could be reached.
    pub max_connections: Option<u32>,
    /// How long HTTP clients keep a connection without a request, in milliseconds; 0: for ever. `None`: it is theirs to
    /// say.
    pub idle_timeout_millis: Option<u64>,
    /// How long HTTP clients use a connection in all, in milliseconds. `None`: no limit.
    pub max_connection_duration_millis: Option<u64>,
    /// For how many requests HTTP clients use a connection. `None`: no limit.
    pub max_requests_per_connection: Option<u32>,
    /// The DestinationRule that the cluster was made with: the path of the object in Kubernetes' API.
    pub config: Option<String>,
    /// The subsets that the service has on this port.
    pub subsets: Vec<String>,
}

/// A connection that was made to see whether it can be.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplainedConnection {
    /// The endpoint that answered.
    pub endpoint: String,
    /// The address that was dialled.
    pub peer_addr: SocketAddr,
    /// Whether it is an east-west gateway.
    pub gateway: bool,
    /// `mutual_tls` or `plaintext`.
    pub transport: &'static str,
    /// The server name that was sent.
    pub sni: Option<String>,
    /// The application protocol that the peer chose. `None` is usual.
    pub alpn: Option<String>,
    /// The identity that was presented, and verified.
    pub presented: Option<String>,
    /// How long it took to connect, attempts that failed included, in microseconds.
    pub micros: u64,
}

/// Why no connection comes about.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplainedFailure {
    /// [`ErrorKind::as_label`](crate::ErrorKind::as_label).
    pub kind: &'static str,
    /// What failed, and why where that is certain.
    pub summary: String,
    /// The whole error, with attempts and candidates, on one line.
    pub message: String,
    /// What may have caused it, in the mesh's terms, most of it indistinguishable from this side.
    pub candidates: Vec<&'static str>,
    /// The endpoints that were tried.
    pub attempts: Vec<ExplainedAttempt>,
    /// Where the peer was another one than expected: the identities that were.
    pub expected: Vec<String>,
    /// Where the peer was another one than expected: what it presented.
    pub presented: Vec<String>,
}

/// One endpoint that was tried in vain.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplainedAttempt {
    /// Its address.
    pub endpoint: String,
    /// Of an east-west gateway, the cluster behind it.
    pub gateway: Option<String>,
    /// The server name that was sent.
    pub sni: Option<String>,
    /// [`ErrorKind::as_label`](crate::ErrorKind::as_label).
    pub kind: &'static str,
    /// What failed, and why where that is certain.
    pub summary: String,
}

impl Mesh {
    /// Explains how a connection to this host and port would be made, without making one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidTarget`](crate::ErrorKind::InvalidTarget). Everything else that fails is part of the
    /// explanation.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn explain(&self, host: &str, port: u16) -> Result<Explanation, Error> {
        Ok(self.explain_to(&Target::new(host, port)?, Probe::Nothing).await)
    }

    /// Explains how a connection to a target is made, and on request makes one to see whether it is true. Whatever
    /// fails on the way is part of the explanation. It takes as long as a connection may take, at most.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn explain_to(&self, target: &Target, probe: Probe) -> Explanation {
        collect::explain(self.membership(), self.settings(), target, probe).await
    }
}

impl Explanation {
    /// The decision as JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        // Nothing in here has a serialisation that can fail; `Null` would say so all the same.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Whether nothing known stands in the way of a connection; after [`Probe::Handshake`], whether one was made.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.failure.is_none()
    }
}

impl From<&Error> for ExplainedFailure {
    fn from(error: &Error) -> Self {
        let mismatch = error.identity_mismatch();
        let mut candidates = error.candidates().to_vec();
        for attempt in error.attempts() {
            let new = attempt.error.candidates().iter().filter(|cause| !candidates.contains(cause));
            let new: Vec<_> = new.copied().collect();
            candidates.extend(new);
        }
        Self {
            kind: error.kind().as_label(),
            summary: error.summary(),
            message: error.report(),
            candidates,
            attempts: error.attempts().iter().map(ExplainedAttempt::from).collect(),
            expected: mismatch.map(|mismatch| mismatch.expected.clone()).unwrap_or_default(),
            presented: mismatch.map(|mismatch| mismatch.presented.clone()).unwrap_or_default(),
        }
    }
}

impl From<&Attempt> for ExplainedAttempt {
    fn from(attempt: &Attempt) -> Self {
        Self {
            endpoint: attempt.endpoint.clone(),
            gateway: attempt.gateway.clone(),
            sni: attempt.sni.clone(),
            kind: attempt.error.kind().as_label(),
            summary: attempt.error.summary(),
        }
    }
}

//! Connects to the endpoints of a cluster, one attempt after another, until one succeeds or the deadline passes.

mod attempt;
mod passthrough;
mod plan;
mod proxy_protocol;
mod socket;

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use nds_client::resources::cluster::{Cluster, ClusterName};
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

pub(crate) use self::{attempt::EndpointTransport, passthrough::passthrough, plan::PlannedAttempt};
use crate::{
    cluster::ClusterEntry,
    connection::ConnectionKey,
    dns::UpstreamLookup,
    error::{Attempt, Error, ErrorKind},
    hosts::{ActiveConnection, HostSet},
    settings::Mtls,
    stream::MeshStream,
    target::Target,
    transport,
};

/// The maximum number of attempts. Further attempts give no new information and add load to a failing service.
const MAX_ATTEMPTS: usize = 10;

/// The minimum share of the remaining time for an attempt, regardless of the number of remaining endpoints.
const MIN_ATTEMPT_TIME: Duration = Duration::from_secs(1);

/// The inputs of a connection to one cluster.
#[derive(Debug)]
pub(crate) struct Dialer<'a, L> {
    pub(crate) target: &'a Target,
    pub(crate) entry: &'a ClusterEntry,
    /// The endpoints of the cluster, fixed for this connection.
    pub(crate) hosts: &'a Arc<HostSet>,
    pub(crate) mtls: Mtls,
    pub(crate) upstream: &'a L,
    pub(crate) deadline: Instant,
}

/// An endpoint, and the parameters of a connection to it.
#[derive(Debug)]
pub(crate) struct Choice {
    index: usize,
    /// The key under which the connection can be pooled.
    pub(crate) key: ConnectionKey,
    transport: EndpointTransport,
}

/// The reason why an attempt at an endpoint failed.
enum AttemptError {
    /// The endpoint is refused before dialling, because its transport (TLS or plaintext) is not permitted or not
    /// usable.
    Refused(Error),
    /// Dialling failed.
    Failed(Attempt),
    /// The error applies to all endpoints, so no other endpoint is tried.
    Fatal(Error),
}

impl<'a, L: UpstreamLookup> Dialer<'a, L> {
    fn cluster(&self) -> &'a Arc<Cluster> {
        self.entry.config()
    }

    /// Chooses the endpoint of the first attempt. `None` if no endpoint can be used, or if the configuration does not
    /// permit a connection to the chosen endpoint, for instance because it would be plaintext. The caller then calls
    /// [`connect`](Self::connect) without a chosen endpoint, which tries the other endpoints or returns the error.
    #[cfg(feature = "hyper")]
    pub(crate) fn choose(&self, now: Instant, rng: &mut Rng) -> Option<Choice> {
        self.choice(self.hosts.first(now, rng)?).ok()
    }

    fn choice(&self, index: usize) -> Result<Choice, AttemptError> {
        let transport = self.transport(index)?;
        let tls = transport.tls.as_ref().map_or(0, |tls| tls.id);
        let key = ConnectionKey { host: self.hosts.host_id(index), socket: transport.socket, tls };
        Ok(Choice { index, key, transport })
    }

    /// Connects to one endpoint after another until one attempt succeeds. Each attempt chooses its endpoint by the
    /// current state; `first` is the endpoint of the first attempt, if the caller has already chosen one.
    pub(crate) async fn connect(&self, first: Option<Choice>, rng: &mut Rng) -> Result<MeshStream, Error> {
        let snapshot = self.hosts.plan_snapshot(rng);
        let plan = snapshot.plan();
        if plan.usable() == 0 {
            return Err(self.no_endpoint());
        }
        let _pending = self.hosts.begin()?;
        let mut first = first;
        // Endpoints that were tried, or to which no connection is permitted.
        let mut excluded = vec![false; self.hosts.len()];
        let mut attempts = Vec::new();
        let mut refused = None;
        while attempts.len() < MAX_ATTEMPTS && self.remaining() > Duration::ZERO {
            let left = plan.left(|index| excluded[index]);
            let budget = self.budget(left.min(MAX_ATTEMPTS - attempts.len()));
            let next = match first.take() {
                Some(choice) => Some((choice.index, Ok(choice))),
                None if attempts.is_empty() && refused.is_none() => plan
                    .first(rng, |index| self.hosts.connections(index))
                    .map(|index| (index, self.choice(index))),
                None => plan.after(|index| excluded[index], rng).map(|index| (index, self.choice(index))),
            };
            let Some((index, choice)) = next else {
                break;
            };
            let outcome = match choice {
                Ok(choice) => self.attempt(choice, budget).await,
                Err(refused) => Err(refused),
            };
            excluded[index] = true;
            match outcome {
                Ok(stream) => return Ok(stream),
                Err(AttemptError::Fatal(error)) => return Err(error),
                Err(AttemptError::Refused(error)) => {
                    // Many endpoints may have the same refused transport. Exclude all of them together.
                    if refused.is_none() {
                        self.exclude_refused(&mut excluded);
                    }
                    refused = refused.or(Some(error));
                }
                Err(AttemptError::Failed(attempt)) => {
                    log_failure(self.entry.name(), &attempt);
                    let is_exhausted = attempt.error.is_exhausted();
                    attempts.push(attempt);
                    if is_exhausted {
                        break;
                    }
                }
            }
        }
        match refused {
            Some(error) if attempts.is_empty() => Err(error),
            _ => {
                let what = format!("{} (`{}`)", self.target, self.entry.name());
                Err(Error::attempts_failed(&what, attempts, self.remaining() == Duration::ZERO))
            }
        }
    }

    /// Marks the endpoints to which no connection is permitted.
    fn exclude_refused(&self, excluded: &mut [bool]) {
        for (index, ((_, endpoint), excluded)) in self.hosts.endpoints().iter().zip(excluded).enumerate() {
            let decision = transport::decide(self.cluster(), endpoint, self.hosts.socket(index), self.mtls);
            *excluded |= decision.is_err();
        }
    }

    fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Returns the time limit of an attempt. It is the connect timeout of the cluster, reduced so that time remains for
    /// the other endpoints.
    fn budget(&self, left: usize) -> Duration {
        let remaining = self.remaining();
        let share = remaining / u32::try_from(left.max(1)).unwrap_or(u32::MAX);
        self.cluster().connect_timeout.min(share.max(MIN_ATTEMPT_TIME)).min(remaining)
    }

    async fn attempt(&self, choice: Choice, budget: Duration) -> Result<MeshStream, AttemptError> {
        let endpoint = self.hosts.endpoint(choice.index);
        let active = ActiveConnection::new(self.hosts, choice.index);
        let span =
            tracing::debug_span!("attempt", endpoint = active.address(), gateway = endpoint.is_gateway());
        let outcome = timeout(budget, self.open(endpoint, &choice.transport)).instrument(span).await;
        let error = match outcome {
            Ok(Ok(established)) => {
                active.connected();
                return Ok(self.stream(established, &choice, active));
            }
            Ok(Err(error)) => error,
            Err(_) => {
                Error::new(ErrorKind::Timeout, format!("no connection within {} ms", budget.as_millis()))
            }
        };
        // If this host lacks a resource, such as a file descriptor, the endpoint is not to blame.
        if error.kind() != ErrorKind::LocalResource {
            active.failed(error.kind());
        }
        let sni = choice.transport.tls.map(|tls| tls.sni.to_string()).filter(|sni| !sni.is_empty());
        Err(AttemptError::Failed(Attempt {
            endpoint: active.address().to_owned(),
            gateway: endpoint.is_gateway().then(|| endpoint.workload.cluster.clone()),
            sni,
            error,
        }))
    }

    /// Returns the error for a cluster without usable endpoints, with the possible causes.
    fn no_endpoint(&self) -> Error {
        let name = self.entry.name();
        let ejected = self.hosts.statuses().filter(|status| !status.ejected_for.is_zero()).count();
        let endpoints = self.hosts.endpoints();
        let with = |message: String| match endpoints.unsupported.len() {
            0 => Error::new(ErrorKind::NoEndpoint, message),
            more => Error::new(ErrorKind::NoEndpoint, format!("{message}; unsupported endpoints: {more}")),
        };
        let count = endpoints.iter().count();
        if let (0, Some(first)) = (count, endpoints.unsupported.first()) {
            let (all, address, reason) = (endpoints.unsupported.len(), &first.address, &first.reason);
            return Error::with_possible_causes(
                ErrorKind::Unsupported,
                format!(
                    "this client cannot connect to any of the {all} endpoints of `{name}`; the first is {address}: {reason}"
                ),
                None,
                &[
                    "its workloads are in ambient mode: workloads with a sidecar accept mesh mTLS without HBONE",
                ],
            );
        }
        match (count, ejected) {
            (0, _) => Error::with_possible_causes(
                ErrorKind::NoEndpoint,
                format!("`{name}` has no endpoint that this workload can reach"),
                None,
                &[
                    "no pod or WorkloadEntry matches the service, or all of them are terminating",
                    "its workloads are in another network and have no sidecar (no `tlsMode: istio`, no serviceAccount)",
                    "the network of its workloads has no east-west gateway of the IP family of this workload",
                    "a PeerAuthentication with mode DISABLE applies to the port of its workloads",
                    "a DestinationRule sets TLS mode SIMPLE, MUTUAL or DISABLE, and gateways forward only mesh mTLS",
                ],
            ),
            (1, 0) => with(format!("the only endpoint of `{name}` is unhealthy")),
            (count, 0) => with(format!("all {count} endpoints of `{name}` are unhealthy")),
            (count, ejected) => with(format!(
                "of the {count} endpoints of `{name}`, outlier detection has ejected {ejected}, and none of the others is \
                 healthy"
            )),
        }
    }
}

/// Logs a failed attempt. An identity mismatch is logged as a warning, because a later attempt may succeed and hide it
/// from the caller.
fn log_failure(cluster: &ClusterName, attempt: &Attempt) {
    if attempt.error.kind() == ErrorKind::PeerIdentity {
        tracing::warn!(%cluster, %attempt, "a connection attempt failed: the endpoint has an unexpected identity");
    } else {
        tracing::debug!(%cluster, %attempt, "a connection attempt failed");
    }
}

#[cfg(test)]
mod tests;

//! From a cluster and its endpoints to an open stream: one attempt after the other, within the caller's deadline.

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

pub(crate) use self::{attempt::Protected, passthrough::passthrough, plan::Planned};
use crate::{
    cluster::ClusterEntry,
    connection::ConnectionKey,
    dns::UpstreamLookup,
    error::{Attempt, Error, ErrorKind},
    hosts::{Held, HostSet},
    settings::Mtls,
    stream::MeshStream,
    target::Target,
};

/// More attempts than this say nothing new, and a client that hammers a thousand endpoints helps nobody.
const MAX_ATTEMPTS: usize = 10;

/// The least time that an attempt gets, however many endpoints are left.
const LEAST_ATTEMPT: Duration = Duration::from_secs(1);

/// Everything that connecting to one cluster needs.
#[derive(Debug)]
pub(crate) struct Dialer<'a, L> {
    pub(crate) target: &'a Target,
    pub(crate) entry: &'a ClusterEntry,
    /// The cluster's endpoints, as they are for this connection.
    pub(crate) hosts: &'a Arc<HostSet>,
    pub(crate) mtls: Mtls,
    pub(crate) upstream: &'a L,
    pub(crate) deadline: Instant,
}

/// An endpoint to connect to, and how.
#[derive(Debug)]
pub(crate) struct Choice {
    index: usize,
    /// What the connection may serve.
    pub(crate) key: ConnectionKey,
    protected: Protected,
}

/// What an endpoint's attempt ended with.
enum Failed {
    /// Before anything was dialled.
    Refused(Error),
    /// While dialling.
    Tried(Attempt),
    /// In a way that no other endpoint can change.
    Final(Error),
}

impl<'a, L: UpstreamLookup> Dialer<'a, L> {
    fn cluster(&self) -> &'a Arc<Cluster> {
        self.entry.config()
    }

    /// Chooses the endpoint of the first attempt. `None`: no endpoint may be dialled, or nothing may protect a connection
    /// to the chosen one; [`connect`](Self::connect) says why, or tries others.
    #[cfg(feature = "hyper")]
    pub(crate) fn choose(&self, now: Instant, rng: &mut Rng) -> Option<Choice> {
        self.choice(self.hosts.first(now, rng)?).ok()
    }

    fn choice(&self, index: usize) -> Result<Choice, Failed> {
        let protected = self.protection(self.hosts.endpoint(index))?;
        let tls = protected.tls.as_ref().map_or(0, |tls| tls.id);
        let key = ConnectionKey { host: self.hosts.host_id(index), socket: protected.socket, tls };
        Ok(Choice { index, key, protected })
    }

    /// Connects to one endpoint after the other, each chosen anew, until one answers. `first` is the choice for the first
    /// attempt, if it has been made.
    pub(crate) async fn connect(&self, first: Option<Choice>, rng: &mut Rng) -> Result<MeshStream, Error> {
        let plan = self.hosts.plan(rng);
        let usable = plan.usable();
        if usable == 0 {
            return Err(self.no_endpoint());
        }
        let _pending = self.hosts.begin()?;
        let mut first = first;
        let mut tried = Vec::new();
        let mut attempts = Vec::new();
        let mut refused = None;
        while attempts.len() < MAX_ATTEMPTS && self.remaining() > Duration::ZERO {
            let left = usable.saturating_sub(tried.len());
            let budget = self.budget(left.min(MAX_ATTEMPTS - attempts.len()));
            let next = match (first.take(), &tried[..]) {
                (Some(choice), _) => Some((choice.index, Ok(choice))),
                (None, []) => plan
                    .first(rng, |index| self.hosts.connections(index))
                    .map(|index| (index, self.choice(index))),
                (None, tried) => plan.after(tried, rng).map(|index| (index, self.choice(index))),
            };
            let Some((index, choice)) = next else {
                break;
            };
            let outcome = match choice {
                Ok(choice) => self.attempt(choice, budget).await,
                Err(refused) => Err(refused),
            };
            match outcome {
                Ok(stream) => return Ok(stream),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Refused(error)) => refused = refused.or(Some(error)),
                Err(Failed::Tried(attempt)) => {
                    log_failure(self.entry.name(), &attempt);
                    attempts.push(attempt);
                }
            }
            tried.push(index);
        }
        match refused {
            Some(error) if attempts.is_empty() => Err(error),
            _ => {
                let what = format!("{} (`{}`)", self.target, self.entry.name());
                Err(Error::attempts_failed(&what, attempts, self.remaining() == Duration::ZERO))
            }
        }
    }

    fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The cluster's connect timeout, but no more than leaves time for the endpoints after this one.
    fn budget(&self, left: usize) -> Duration {
        let remaining = self.remaining();
        let share = remaining / u32::try_from(left.max(1)).unwrap_or(u32::MAX);
        self.cluster().connect_timeout.min(share.max(LEAST_ATTEMPT)).min(remaining)
    }

    async fn attempt(&self, choice: Choice, budget: Duration) -> Result<MeshStream, Failed> {
        let endpoint = self.hosts.endpoint(choice.index);
        let held = Held::new(self.hosts, choice.index);
        let span =
            tracing::debug_span!("attempt", endpoint = held.address(), gateway = endpoint.is_gateway());
        let outcome = timeout(budget, self.open(endpoint, &choice.protected)).instrument(span).await;
        let error = match outcome {
            Ok(Ok(opened)) => {
                held.connected();
                return Ok(self.stream(opened, &choice, held));
            }
            Ok(Err(error)) => error,
            Err(_) => {
                Error::new(ErrorKind::Timeout, format!("no connection within {} ms", budget.as_millis()))
            }
        };
        held.failed(error.kind());
        let sni = choice.protected.tls.map(|tls| tls.sni.to_string()).filter(|sni| !sni.is_empty());
        Err(Failed::Tried(Attempt {
            endpoint: held.address().to_owned(),
            gateway: endpoint.is_gateway().then(|| endpoint.workload.cluster.clone()),
            sni,
            error,
        }))
    }

    /// Nothing to dial: says how many endpoints there are, and what makes a cluster empty in a mesh.
    fn no_endpoint(&self) -> Error {
        let name = self.entry.name();
        let ejected = self.hosts.statuses().filter(|status| !status.ejected_for.is_zero()).count();
        let with = |message: String| Error::new(ErrorKind::NoEndpoint, message);
        match (self.hosts.endpoints().iter().count(), ejected) {
            (0, _) => with(format!("`{name}` has no endpoint that this workload can reach")).because(&[
                "the service runs nowhere: no pod or WorkloadEntry is selected, or all are going away",
                "its workloads are in another network and have no sidecar (no `tlsMode: istio`, no serviceAccount)",
                "the network that they are in has no east-west gateway of this workload's IP family",
                "PeerAuthentication DISABLE on their port",
                "a DestinationRule with tls mode SIMPLE, MUTUAL or DISABLE, which no gateway forwards",
            ]),
            (1, 0) => with(format!("the only endpoint of `{name}` is unhealthy")),
            (count, 0) => with(format!("all {count} endpoints of `{name}` are unhealthy")),
            (count, ejected) => with(format!(
                "of {count} endpoints of `{name}`, {ejected} are ejected as its outlier detection says, and no other \
                 is healthy"
            )),
        }
    }
}

/// Logs a failed attempt. A peer with another identity is worth a warning: the attempts after it may hide it from the caller.
fn log_failure(cluster: &ClusterName, attempt: &Attempt) {
    if attempt.error.kind() == ErrorKind::PeerIdentity {
        tracing::warn!(%cluster, %attempt, "an endpoint has another identity than expected");
    } else {
        tracing::debug!(%cluster, %attempt, "an endpoint does not serve");
    }
}

#[cfg(test)]
mod tests;

//! From a cluster and its endpoints to an open stream: one attempt after the other, within the caller's deadline.

mod attempt;
mod outside;
mod plan;

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use nds_client::{Cluster, ClusterName, Endpoint, Endpoints, Identity};
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

pub(crate) use self::{
    attempt::authority,
    outside::{Lookup, outside},
    plan::Planned,
};
pub(crate) use crate::balance::{Place, Why};
use crate::{
    Attempt, Error, ErrorKind, MeshStream, Mtls, Target,
    balance::Candidates,
    failures::{Failing, Failures},
    tls::TlsConfigs,
};

/// More attempts than this say nothing new, and a client that hammers a thousand endpoints helps nobody.
const MAX_ATTEMPTS: usize = 10;

/// The least time that an attempt gets, however many endpoints are left.
const LEAST_ATTEMPT: Duration = Duration::from_secs(1);

/// Everything that connecting to one service needs.
#[derive(Debug)]
pub(crate) struct Dialer<'a, L> {
    pub(crate) target: &'a Target,
    pub(crate) cluster: &'a Arc<Cluster>,
    pub(crate) identity: Option<&'a Identity>,
    pub(crate) tls: &'a TlsConfigs,
    pub(crate) mtls: Mtls,
    pub(crate) lookup: &'a L,
    pub(crate) failures: &'a Arc<Failures>,
    pub(crate) deadline: Instant,
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

impl<L: Lookup> Dialer<'_, L> {
    /// Connects to one endpoint after the other, each chosen anew, until one answers.
    pub(crate) async fn connect(&self, endpoints: &Endpoints, rng: &mut Rng) -> Result<MeshStream, Error> {
        let mut candidates = Candidates::new(endpoints, |endpoint| self.deferred(endpoint).is_some());
        if candidates.len() == 0 {
            return Err(no_endpoint(self.cluster, endpoints));
        }
        let mut attempts = Vec::new();
        let mut refused = None;
        while attempts.len() < MAX_ATTEMPTS && self.remaining() > Duration::ZERO {
            let budget = self.budget(candidates.len().min(MAX_ATTEMPTS - attempts.len()));
            let Some(endpoint) = candidates.next(rng) else {
                break;
            };
            match self.attempt(endpoint, budget).await {
                Ok(stream) => return Ok(stream),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Refused(error)) => refused = refused.or(Some(error)),
                Err(Failed::Tried(attempt)) => {
                    told(&self.cluster.name, &attempt);
                    attempts.push(attempt);
                }
            }
        }
        match refused {
            Some(error) if attempts.is_empty() => Err(error),
            _ => {
                let what = format!("{} (`{}`)", self.target, self.cluster.name);
                Err(Error::attempts_failed(&what, attempts, self.remaining() == Duration::ZERO))
            }
        }
    }

    /// What is known of an endpoint that failed lately.
    pub(crate) fn deferred(&self, endpoint: &Endpoint) -> Option<Failing> {
        if self.failures.is_empty() {
            return None;
        }
        self.failures.deferred(&self.cluster.name.to_string(), &authority(endpoint))
    }

    fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The cluster's connect timeout, but no more than leaves time for the endpoints after this one.
    fn budget(&self, left: usize) -> Duration {
        let remaining = self.remaining();
        let share = remaining / u32::try_from(left.max(1)).unwrap_or(u32::MAX);
        self.cluster.connect_timeout.min(share.max(LEAST_ATTEMPT)).min(remaining)
    }

    fn succeeded(&self, endpoint: &Endpoint) {
        if !self.failures.is_empty() {
            self.failures.succeeded(&self.cluster.name.to_string(), &authority(endpoint));
        }
    }

    async fn attempt(&self, endpoint: &Endpoint, budget: Duration) -> Result<MeshStream, Failed> {
        let protection = self.protection(endpoint)?;
        let span =
            tracing::debug_span!("attempt", endpoint = authority(endpoint), gateway = endpoint.is_gateway());
        let outcome = timeout(budget, self.open(endpoint, protection.as_deref())).instrument(span).await;
        let error = match outcome {
            Ok(Ok(stream)) => {
                self.succeeded(endpoint);
                return Ok(stream);
            }
            Ok(Err(error)) => error,
            Err(_) => {
                Error::new(ErrorKind::Timeout, format!("no connection within {} ms", budget.as_millis()))
            }
        };
        let address = authority(endpoint);
        self.failures.failed(&self.cluster.name.to_string(), &address, error.kind());
        Err(Failed::Tried(Attempt {
            endpoint: address,
            gateway: endpoint.is_gateway().then(|| endpoint.workload.cluster.clone()),
            sni: protection.map(|prepared| prepared.sni.to_string()),
            error,
        }))
    }
}

/// Tells the log. A peer with another identity is worth a warning: the attempts after it may hide it from the caller.
fn told(cluster: &ClusterName, attempt: &Attempt) {
    if attempt.error.kind() == ErrorKind::PeerIdentity {
        tracing::warn!(%cluster, %attempt, "an endpoint has another identity than expected");
    } else {
        tracing::debug!(%cluster, %attempt, "an endpoint does not serve");
    }
}

/// Nothing to dial: says how many endpoints there are, and what makes a cluster empty in a mesh.
fn no_endpoint(cluster: &Cluster, endpoints: &Endpoints) -> Error {
    let name = &cluster.name;
    match endpoints.iter().count() {
        0 => Error::new(ErrorKind::NoEndpoint, format!("`{name}` has no endpoint that this workload can reach"))
            .because(&[
                "the service runs nowhere: no pod or WorkloadEntry is selected, or all are going away",
                "its workloads are in another network and have no sidecar (no `tlsMode: istio`, no serviceAccount)",
                "the network that they are in has no east-west gateway of this workload's IP family",
                "PeerAuthentication DISABLE on their port",
                "a DestinationRule with tls mode SIMPLE, MUTUAL or DISABLE, which no gateway forwards",
            ]),
        1 => Error::new(ErrorKind::NoEndpoint, format!("the only endpoint of `{name}` is unhealthy")),
        count => Error::new(ErrorKind::NoEndpoint, format!("all {count} endpoints of `{name}` are unhealthy")),
    }
}

#[cfg(test)]
mod tests;

//! From a cluster and its endpoints to an open stream: one attempt after the other, within the caller's deadline.

mod attempt;
mod outside;
mod plan;
mod proxy_protocol;
mod socket;

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use nds_client::{Cluster, ClusterName, Identity};
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

pub(crate) use self::{
    attempt::Protected,
    outside::{Lookup, outside},
    plan::Planned,
};
pub(crate) use crate::balance::{Place, Why};
use crate::{Attempt, Error, ErrorKind, MeshStream, Mtls, Target, hosts::HostSet, tls::TlsConfigs};

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
    pub(crate) hosts: &'a Arc<HostSet>,
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
    pub(crate) async fn connect(&self, rng: &mut Rng) -> Result<MeshStream, Error> {
        let look = self.hosts.look(rng);
        let usable = look.usable();
        if usable == 0 {
            return Err(self.no_endpoint());
        }
        let _pending = self.hosts.begin()?;
        let mut tried = Vec::new();
        let mut attempts = Vec::new();
        let mut refused = None;
        while attempts.len() < MAX_ATTEMPTS && self.remaining() > Duration::ZERO {
            let left = usable.saturating_sub(tried.len());
            let budget = self.budget(left.min(MAX_ATTEMPTS - attempts.len()));
            let next = match &tried[..] {
                [] => look.first(rng, |index| self.hosts.connections(index)),
                tried => look.after(tried, rng),
            };
            let Some(index) = next else {
                break;
            };
            match self.attempt(index, budget).await {
                Ok(stream) => return Ok(stream),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Refused(error)) => refused = refused.or(Some(error)),
                Err(Failed::Tried(attempt)) => {
                    told(&self.cluster.name, &attempt);
                    attempts.push(attempt);
                }
            }
            tried.push(index);
        }
        match refused {
            Some(error) if attempts.is_empty() => Err(error),
            _ => {
                let what = format!("{} (`{}`)", self.target, self.cluster.name);
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
        self.cluster.connect_timeout.min(share.max(LEAST_ATTEMPT)).min(remaining)
    }

    async fn attempt(&self, index: usize, budget: Duration) -> Result<MeshStream, Failed> {
        let endpoint = self.hosts.endpoint(index);
        let protection = self.protection(endpoint)?;
        let held = self.hosts.hold(index);
        let span =
            tracing::debug_span!("attempt", endpoint = held.address(), gateway = endpoint.is_gateway());
        let outcome = timeout(budget, self.open(endpoint, &protection)).instrument(span).await;
        let error = match outcome {
            Ok(Ok(opened)) => {
                held.connected();
                return Ok(self.stream(opened, endpoint, held));
            }
            Ok(Err(error)) => error,
            Err(_) => {
                Error::new(ErrorKind::Timeout, format!("no connection within {} ms", budget.as_millis()))
            }
        };
        held.failed(error.kind());
        Err(Failed::Tried(Attempt {
            endpoint: held.address().to_owned(),
            gateway: endpoint.is_gateway().then(|| endpoint.workload.cluster.clone()),
            sni: protection.tls.map(|prepared| prepared.sni.to_string()).filter(|sni| !sni.is_empty()),
            error,
        }))
    }

    /// Nothing to dial: says how many endpoints there are, and what makes a cluster empty in a mesh.
    fn no_endpoint(&self) -> Error {
        let name = &self.cluster.name;
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

/// Tells the log. A peer with another identity is worth a warning: the attempts after it may hide it from the caller.
fn told(cluster: &ClusterName, attempt: &Attempt) {
    if attempt.error.kind() == ErrorKind::PeerIdentity {
        tracing::warn!(%cluster, %attempt, "an endpoint has another identity than expected");
    } else {
        tracing::debug!(%cluster, %attempt, "an endpoint does not serve");
    }
}

#[cfg(test)]
mod tests;

//! The third step: each endpoint, and why it is kept or dropped.

use nds_client::EndpointHealth;
use serde::Serialize;

use crate::dial::{Place, Planned, Why, authority};

/// One endpoint of a cluster, and what is done with it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplainedEndpoint {
    /// `10.1.2.3:15443`
    pub address: String,
    /// What is done with it.
    pub state: EndpointState,
    /// Why, in words.
    pub reason: String,
    /// How many of a hundred connections choose it first.
    pub percent: f64,
    /// Whether it is an east-west gateway.
    pub gateway: bool,
    /// The cluster that it, or what is behind it, runs in.
    pub workload_cluster: Option<String>,
    /// The workload's name and namespace; empty for gateways.
    pub workload: Option<String>,
    /// `region/zone/subzone`, as far as istiod says.
    pub locality: String,
    /// Its priority: 0 is used first.
    pub priority: u32,
    /// Its weight within its locality.
    pub weight: u32,
    /// The weight of its locality; 0 where istiod gives none.
    pub locality_weight: u32,
    /// What istiod says about its health: `healthy`, `unknown`, `degraded`, `unhealthy`.
    pub health: &'static str,
    /// How a connection to it is protected. `None` where none is made.
    pub transport: Option<ExplainedTransport>,
}

/// What is done with an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndpointState {
    /// It is among those that a connection tries first.
    First,
    /// It is tried when those before it have failed.
    Later,
    /// It is not dialled: nothing may protect, or leave unprotected, a connection to it.
    Refused,
    /// It is not dialled: it is unhealthy.
    Unhealthy,
}

/// How a connection to an endpoint is protected.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExplainedTransport {
    /// `mutual_tls` or `plaintext`.
    pub kind: &'static str,
    /// The server name that is sent.
    pub sni: Option<String>,
    /// The application protocols that are offered.
    pub alpn_offered: Vec<String>,
    /// The identities that the peer may have: whole ones, or patterns.
    pub expected: Vec<String>,
}

/// A raw address out of another cluster is all that tells of a network without a gateway (istio
/// `pilot/pkg/xds/endpoints/ep_filters.go`).
const NO_GATEWAY: &str = "; it is in another cluster and no gateway leads to it: if its network is not this one's, it \
     cannot be reached";

pub(super) fn explain(planned: &Planned<'_>, own_cluster: &str) -> ExplainedEndpoint {
    let endpoint = planned.endpoint;
    let workload = &endpoint.workload;
    let (state, mut reason) = judged(planned);
    let foreign = !workload.cluster.is_empty() && workload.cluster != own_cluster;
    if state != EndpointState::Unhealthy && !endpoint.is_gateway() && foreign {
        reason.push_str(NO_GATEWAY);
    }
    let percent = match planned.place {
        Place::First { share } if state == EndpointState::First => (share * 1000.0).round() / 10.0,
        _ => 0.0,
    };
    ExplainedEndpoint {
        address: authority(endpoint),
        state,
        reason,
        percent,
        gateway: endpoint.is_gateway(),
        workload_cluster: Some(workload.cluster.clone()).filter(|cluster| !cluster.is_empty()),
        workload: (!workload.name.is_empty()).then(|| format!("{}.{}", workload.name, workload.namespace)),
        locality: planned.locality.locality.to_string(),
        priority: planned.locality.priority,
        weight: endpoint.weight,
        locality_weight: planned.locality.weight,
        health: health(endpoint.health),
        transport: transport(planned),
    }
}

fn judged(planned: &Planned<'_>) -> (EndpointState, String) {
    match (planned.place, &planned.protection) {
        (Place::Unhealthy, _) => {
            (EndpointState::Unhealthy, "it fails its checks, or is going away".to_owned())
        }
        (_, Err(error)) => (EndpointState::Refused, error.summary()),
        (Place::First { share }, Ok(_)) => {
            (EndpointState::First, format!("chosen first by {:.0} % of connections", share * 100.0))
        }
        (Place::Later(why), Ok(_)) => (EndpointState::Later, later(why, planned)),
    }
}

fn later(why: Why, planned: &Planned<'_>) -> String {
    let priority = planned.locality.priority;
    match (why, planned.failing) {
        (Why::Degraded, _) => "degraded: when the healthy ones of its priority have failed".to_owned(),
        (Why::FailedLately, Some(failing)) => format!(
            "failed {} time{} in a row, last with {}: for another {:.1} s when all others have failed",
            failing.count,
            if failing.count == 1 { "" } else { "s" },
            failing.kind.as_label(),
            failing.deferred_for().as_secs_f64(),
        ),
        (Why::FailedLately, None) => "failed lately".to_owned(),
        (Why::Priority, _) => format!("priority {priority}: when those of lower number have failed"),
    }
}

fn transport(planned: &Planned<'_>) -> Option<ExplainedTransport> {
    let prepared = planned.protection.as_ref().ok()?;
    Some(match prepared {
        None => ExplainedTransport {
            kind: "plaintext",
            sni: None,
            alpn_offered: Vec::new(),
            expected: Vec::new(),
        },
        Some(prepared) => ExplainedTransport {
            kind: "mutual_tls",
            sni: Some(prepared.sni.to_string()),
            alpn_offered: prepared.alpn.to_vec(),
            expected: prepared.expected.to_vec(),
        },
    })
}

fn health(health: EndpointHealth) -> &'static str {
    match health {
        EndpointHealth::Degraded => "degraded",
        EndpointHealth::Healthy => "healthy",
        EndpointHealth::Unknown => "unknown",
        _ => "unhealthy",
    }
}

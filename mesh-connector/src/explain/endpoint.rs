//! The third step: each endpoint, and why it is kept or dropped.

use nds_client::resources::{cluster::ProxyProtocol, endpoint::HealthStatus as EndpointHealth};
use serde::Serialize;

use crate::{
    balance::{Place, Why},
    connection::Transport,
    dial::Planned,
    error::ErrorKind,
    hosts::authority,
};

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
    /// It is not dialled for a while: it failed as often as the cluster's outlier detection allows.
    Ejected,
}

/// How a connection to an endpoint is protected.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExplainedTransport {
    /// `mutual_tls`, `tls` (of a DestinationRule's, outside of the mesh's own) or `plaintext`.
    pub kind: &'static str,
    /// The version of the PROXY protocol whose header comes first.
    pub proxy_protocol: Option<&'static str>,
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
    if !matches!(state, EndpointState::Unhealthy | EndpointState::Ejected)
        && !endpoint.is_gateway()
        && foreign
    {
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
    let ejected = planned.status.ejected_for;
    match (planned.place, &planned.protection) {
        (Place::Out, _) if !ejected.is_zero() => {
            let seconds = ejected.as_secs_f64();
            (EndpointState::Ejected, format!("ejected by outlier detection for another {seconds:.1} s"))
        }
        (Place::Out, _) => (EndpointState::Unhealthy, "it fails its checks, or is going away".to_owned()),
        (_, Err(error)) => (EndpointState::Refused, error.summary()),
        (Place::First { share }, Ok(_)) => {
            let mut reason = format!("chosen first by {:.0} % of connections", share * 100.0);
            if !ejected.is_zero() || planned.endpoint.health == EndpointHealth::Unhealthy {
                reason.push_str(
                    ", although it is unhealthy: too few of its priority are not (panic threshold)",
                );
            }
            (EndpointState::First, reason)
        }
        (Place::Later(why), Ok(_)) => (EndpointState::Later, later(why, planned)),
    }
}

fn later(why: Why, planned: &Planned<'_>) -> String {
    let (priority, status) = (planned.locality.priority, &planned.status);
    match why {
        Why::Degraded => "degraded: when the healthy ones of its priority have failed".to_owned(),
        Why::FailedLately => format!(
            "failed {} time{} in a row, last with {}: for another {:.1} s when all others have failed",
            status.failures,
            if status.failures == 1 { "" } else { "s" },
            status.last_failure.map_or("nothing", ErrorKind::as_label),
            status.deferred_for.as_secs_f64(),
        ),
        Why::Priority => format!("priority {priority}: when those of lower number have failed"),
    }
}

fn transport(planned: &Planned<'_>) -> Option<ExplainedTransport> {
    let protected = planned.protection.as_ref().ok()?;
    let proxy_protocol = protected.proxy_protocol.map(|version| match version {
        ProxyProtocol::V2 => "v2",
        _ => "v1",
    });
    let transport = ExplainedTransport {
        kind: Transport::Plaintext.as_label(),
        proxy_protocol,
        sni: None,
        alpn_offered: Vec::new(),
        expected: Vec::new(),
    };
    Some(match &protected.tls {
        None => transport,
        Some(tls) => ExplainedTransport {
            kind: tls.transport.as_label(),
            sni: Some(tls.sni.to_string()),
            alpn_offered: tls.alpn.to_vec(),
            expected: tls.expected.to_vec(),
            ..transport
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

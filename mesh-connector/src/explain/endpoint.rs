//! Step 3 of an explanation: the endpoints, and the reason why each endpoint is used or not.

use nds_client::resources::{
    cluster::ProxyProtocol,
    endpoint::{HealthStatus, Unsupported, UnsupportedEndpoint, Workload},
};
use serde::Serialize;

use crate::{
    balance::{DeferReason, PickOrder},
    connection,
    dial::PlannedAttempt,
    error::ErrorKind,
};

/// One endpoint of a cluster, with its place in the order of attempts.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Endpoint {
    /// The address of the endpoint: `10.1.2.3:15443`.
    pub address: String,
    /// The place of the endpoint in the order of attempts.
    pub state: EndpointState,
    /// The reason of the state, as text.
    pub reason: String,
    /// The percentage of connections that try this endpoint first.
    pub percent: f64,
    /// Whether the endpoint is an east-west gateway.
    pub gateway: bool,
    /// The Kubernetes cluster of the workload. For a gateway, the cluster behind it.
    pub workload_cluster: Option<String>,
    /// The workload as `name.namespace`. `None` for gateways, and if istiod does not send the name.
    pub workload: Option<String>,
    /// The locality as `region/zone/subzone`. Parts that istiod does not send are empty.
    pub locality: String,
    /// The priority. 0 is tried first.
    pub priority: u32,
    /// The weight within the locality. 0 if this client cannot connect to the endpoint.
    pub weight: u32,
    /// The weight of the locality. 0 if istiod sends none.
    pub locality_weight: u32,
    /// The health status in EDS: `healthy`, `unknown`, `degraded`, `unhealthy`.
    pub health: &'static str,
    /// The transport of a connection to this endpoint. `None` if such connections are refused.
    pub transport: Option<Transport>,
}

/// The place of an endpoint in the order of attempts.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndpointState {
    /// Some connections try this endpoint first.
    First,
    /// Connections try this endpoint only after other endpoints have failed.
    Later,
    /// The endpoint is not used, because its address, or the transport that a connection would need, is refused or not
    /// supported.
    Refused,
    /// The endpoint is not used, because it is unhealthy.
    Unhealthy,
    /// The endpoint is not used for a while, because outlier detection has ejected it.
    Ejected,
}

/// The transport of a connection to an endpoint.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Transport {
    /// `mutual_tls`, `tls` (with the certificates of a DestinationRule) or `plaintext`.
    pub kind: &'static str,
    /// The version of the PROXY protocol header that precedes the connection. `None` without a header.
    pub proxy_protocol: Option<&'static str>,
    /// The server name of the TLS handshake. Empty for a handshake without SNI. `None` for plaintext.
    pub sni: Option<String>,
    /// The application protocols that the client offers.
    pub alpn_offered: Vec<String>,
    /// The accepted identities of the peer: SPIFFE IDs or patterns.
    pub expected: Vec<String>,
}

/// If another network has no gateway, istiod sends the addresses of its pods. The only sign of such an endpoint is that
/// it is in another cluster and is not a gateway (istio `pilot/pkg/xds/endpoints/ep_filters.go`).
const NO_GATEWAY: &str = "; the endpoint is in another cluster without a gateway: it is unreachable if it is in \
     another network";

/// Explains an endpoint to which this client cannot connect.
pub(super) fn explain_unsupported(endpoint: &UnsupportedEndpoint) -> Endpoint {
    let workload = &endpoint.workload;
    Endpoint {
        address: endpoint.address.clone(),
        state: EndpointState::Refused,
        reason: endpoint.reason.to_string(),
        percent: 0.0,
        gateway: endpoint.reason == Unsupported::HboneGateway,
        workload_cluster: cluster_of(workload),
        workload: name_of(workload),
        locality: String::new(),
        priority: 0,
        weight: 0,
        locality_weight: 0,
        health: health(HealthStatus::Unknown),
        transport: None,
    }
}

pub(super) fn explain(planned: &PlannedAttempt<'_>, own_cluster: &str) -> Endpoint {
    let endpoint = planned.endpoint;
    let workload = &endpoint.workload;
    let (state, mut reason) = state(planned);
    let in_other_cluster = !workload.cluster.is_empty() && workload.cluster != own_cluster;
    if !matches!(state, EndpointState::Unhealthy | EndpointState::Ejected)
        && !endpoint.is_gateway()
        && in_other_cluster
    {
        reason.push_str(NO_GATEWAY);
    }
    let percent = match planned.pick_order {
        PickOrder::First { share } if state == EndpointState::First => (share * 1000.0).round() / 10.0,
        _ => 0.0,
    };
    Endpoint {
        address: endpoint.authority(),
        state,
        reason,
        percent,
        gateway: endpoint.is_gateway(),
        workload_cluster: cluster_of(workload),
        workload: name_of(workload),
        locality: planned.locality.locality.to_string(),
        priority: planned.locality.priority,
        weight: endpoint.weight,
        locality_weight: planned.locality.weight,
        health: health(endpoint.health),
        transport: transport(planned),
    }
}

fn cluster_of(workload: &Workload) -> Option<String> {
    Some(workload.cluster.clone()).filter(|cluster| !cluster.is_empty())
}

fn name_of(workload: &Workload) -> Option<String> {
    (!workload.name.is_empty()).then(|| format!("{}.{}", workload.name, workload.namespace))
}

fn state(planned: &PlannedAttempt<'_>) -> (EndpointState, String) {
    let ejected = planned.status.ejected_for;
    match (planned.pick_order, &planned.transport) {
        (PickOrder::Excluded, _) if !ejected.is_zero() => {
            let seconds = ejected.as_secs_f64();
            (EndpointState::Ejected, format!("ejected by outlier detection for another {seconds:.1} s"))
        }
        (PickOrder::Excluded, _) => {
            (EndpointState::Unhealthy, "unhealthy: its health checks fail or it is terminating".to_owned())
        }
        (_, Err(error)) => (EndpointState::Refused, error.summary()),
        (PickOrder::First { share }, Ok(_)) => {
            let mut reason = format!("chosen first by {:.0} % of connections", share * 100.0);
            if !ejected.is_zero() || planned.endpoint.health == HealthStatus::Unhealthy {
                reason.push_str(
                    ", although unhealthy: too few healthy endpoints at this priority (panic threshold)",
                );
            }
            (EndpointState::First, reason)
        }
        (PickOrder::Later(why), Ok(_)) => (EndpointState::Later, later(why, planned)),
    }
}

fn later(why: DeferReason, planned: &PlannedAttempt<'_>) -> String {
    let (priority, status) = (planned.locality.priority, &planned.status);
    match why {
        DeferReason::Degraded => "degraded: tried after the healthy endpoints of its priority".to_owned(),
        DeferReason::FailedRecently => format!(
            "failed {} time{} in a row (last: {}); tried only as a last resort for another {:.1} s",
            status.failures,
            if status.failures == 1 { "" } else { "s" },
            status.last_failure.map_or("nothing", ErrorKind::as_label),
            status.deferred_for.as_secs_f64(),
        ),
        DeferReason::Priority => format!("priority {priority}: tried after endpoints with a lower number"),
    }
}

fn transport(planned: &PlannedAttempt<'_>) -> Option<Transport> {
    let decided = planned.transport.as_ref().ok()?;
    let proxy_protocol = decided.proxy_protocol.map(|version| match version {
        ProxyProtocol::V2 => "v2",
        _ => "v1",
    });
    let transport = Transport {
        kind: connection::Transport::Plaintext.as_label(),
        proxy_protocol,
        sni: None,
        alpn_offered: Vec::new(),
        expected: Vec::new(),
    };
    Some(match &decided.tls {
        None => transport,
        Some(tls) => Transport {
            kind: tls.transport.as_label(),
            sni: Some(tls.sni.to_string()),
            alpn_offered: tls.alpn.to_vec(),
            expected: tls.expected.to_vec(),
            ..transport
        },
    })
}

fn health(health: HealthStatus) -> &'static str {
    match health {
        HealthStatus::Degraded => "degraded",
        HealthStatus::Healthy => "healthy",
        HealthStatus::Unknown => "unknown",
        _ => "unhealthy",
    }
}

//! Collects an explanation by running the routing and dialling code.

use std::time::Duration;

use fastrand::Rng;
use nds_client::{
    health::SyncState,
    resources::cluster::{
        Cluster, Clusters, DiscoveryType as Discovery, LbPolicy, UpstreamHttpProtocol as Http,
    },
};
use tokio::{
    io::AsyncReadExt as _,
    time::{Instant, timeout},
};

use super::{
    Connection, ConnectionState, Explanation, Failure, Passthrough, Probe, endpoint, name, not_applied,
};
use crate::{
    cluster::{ClusterEntry, Route},
    connection::{ConnectionKey, Transport},
    dial,
    error::{Error, ErrorKind},
    hosts::failures_to_eject,
    membership::{Membership, Resolved, after},
    settings::Settings,
    stream::MeshStream,
    target::{Protocol, Target},
};

/// The time that a peer has to reject the client certificate after the handshake (TLS 1.3).
const LATE_REJECTION_TIMEOUT: Duration = Duration::from_millis(250);

const NOT_VISIBLE: [&str; 2] = [
    "VirtualService rules (routes, weights, matches, timeouts, retries, faults) are sent only to sidecars: without a \
     subset, connections go to the service as a whole",
    "HTTP retries: a sidecar repeats failed requests, but this client only retries connection attempts",
];
const POLICY: &str = "the outboundTrafficPolicy of the mesh is not read: the setting of this program applies";
const SINGLE_PODS: &str = "single pods of a headless service cannot be reached in other networks: gateways forward only to the service as a whole";

/// The inputs of an explanation.
#[derive(Clone, Copy)]
struct Explainer<'a> {
    membership: &'a Membership,
    settings: &'a Settings,
    probe: Probe,
}

pub(super) async fn explain(
    membership: &Membership,
    settings: &Settings,
    target: &Target,
    probe: Probe,
) -> Explanation {
    let mut explanation = Explanation {
        target: explained_target(target),
        membership: explained_membership(membership),
        name: None,
        passthrough: None,
        cluster: None,
        endpoints: Vec::new(),
        connection: None,
        failure: None,
        not_visible: NOT_VISIBLE.map(str::to_owned).to_vec(),
        not_applied: Vec::new(),
    };
    let explainer = Explainer { membership, settings, probe };
    if let Err(error) = explainer.decide(target, &mut explanation).await {
        explanation.failure = Some(Failure::from(&error));
    }
    explanation
}

impl Explainer<'_> {
    fn deadline(self) -> Instant {
        after(Instant::now(), self.settings.connect_deadline)
    }

    async fn decide(self, target: &Target, explanation: &mut Explanation) -> Result<(), Error> {
        let membership = self.membership;
        membership.refuse_if_closed(target)?;
        explanation.name =
            Some(name::explain(target.host(), &membership.dns, membership.clusters.clusters().as_deref()));
        match membership.route(target, self.deadline()).await? {
            Route::Cluster(entry) => self.cluster(target, &entry, explanation).await,
            Route::Passthrough => self.passthrough(target, explanation).await,
        }
    }

    async fn cluster(
        self,
        target: &Target,
        entry: &ClusterEntry,
        explanation: &mut Explanation,
    ) -> Result<(), Error> {
        let Self { membership, settings, .. } = self;
        let deadline = self.deadline();
        let cluster = entry.config();
        let clusters = membership.clusters.clusters().unwrap_or_default();
        explanation.cluster = Some(explained_cluster(cluster, &clusters));
        explanation.not_applied = not_applied::of(cluster);
        if matches!(cluster.discovery, Discovery::OriginalDestination) {
            explanation.not_visible.push(SINGLE_PODS.to_owned());
        }
        let hosts = membership.hosts(target, entry, deadline).await?;
        let dialer = membership.dialer(target, entry, &hosts, settings, deadline);
        let plan = dialer.plan();
        let own_cluster = membership.client.config().cluster_id();
        let supported = plan.iter().map(|planned| endpoint::explain(planned, own_cluster));
        let unsupported = hosts.endpoints().unsupported.iter().map(endpoint::explain_unsupported);
        explanation.endpoints = supported.chain(unsupported).collect();
        if let Some(error) = dialer.obstacle(&plan) {
            return Err(error);
        }
        if self.probe == Probe::Handshake {
            let start = Instant::now();
            let stream = dialer.connect(None, &mut Rng::new()).await?;
            explanation.connection = Some(connected(stream, start).await?);
        }
        Ok(())
    }

    async fn passthrough(self, target: &Target, explanation: &mut Explanation) -> Result<(), Error> {
        explanation.not_visible.push(POLICY.to_owned());
        let deadline = self.deadline();
        let passthrough = Passthrough { allowed: true, addresses: Vec::new() };
        let passthrough = explanation.passthrough.insert(passthrough);
        if let Err(error) = self.settings.check_passthrough(target) {
            passthrough.allowed = false;
            return Err(error);
        }
        let resolved = self.membership.resolve_passthrough(target, self.settings, deadline).await;
        let addresses = match resolved {
            Err(error) => {
                passthrough.allowed = error.kind() != ErrorKind::PlaintextRefused;
                return Err(error);
            }
            Ok(Resolved::Passthrough(addresses)) => addresses,
            Ok(Resolved::Cluster(target, entry)) => {
                explanation.passthrough = None;
                explanation.name = Some(name::explain(
                    target.host(),
                    &self.membership.dns,
                    self.membership.clusters.clusters().as_deref(),
                ));
                return self.cluster(&target, &entry, explanation).await;
            }
        };
        passthrough.addresses.clone_from(&addresses);
        if self.probe == Probe::Handshake {
            let start = Instant::now();
            let stream = dial::passthrough(target, &addresses, ConnectionKey::default(), deadline).await?;
            explanation.connection = Some(connected(stream, start).await?);
        }
        Ok(())
    }
}

/// Describes a connection. A peer can refuse it after the handshake, so this function waits for a limited time for the
/// first byte.
async fn connected(mut stream: MeshStream, start: Instant) -> Result<Connection, Error> {
    let connect_micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    let first = timeout(LATE_REJECTION_TIMEOUT, stream.read(&mut [0; 1])).await;
    if let Ok(Err(error)) = &first
        && let Some(refusal) = Error::find(error)
    {
        return Err(refusal.clone());
    }
    let info = stream.connection();
    let state = match (first, info.transport()) {
        (Ok(Ok(0) | Err(_)), Transport::Plaintext) => {
            let message = format!(
                "the peer at {} accepted the plaintext connection and closed it without a response",
                info.endpoint()
            );
            let causes =
                ["the workload accepts only mTLS (PeerAuthentication STRICT), by a sidecar or by ztunnel"];
            return Err(Error::with_possible_causes(ErrorKind::Dial, message, None, &causes));
        }
        (Err(_), Transport::Plaintext) => ConnectionState::Accepted,
        _ => ConnectionState::Connected,
    };
    Ok(Connection {
        state,
        endpoint: info.endpoint().to_owned(),
        peer_addr: info.peer_addr(),
        gateway: info.is_through_gateway(),
        transport: info.transport().as_label(),
        sni: info.sni().map(str::to_owned),
        alpn: info.alpn().map(str::to_owned),
        peer: info.peer_name().map(str::to_owned),
        connect_micros,
    })
}

fn explained_target(target: &Target) -> super::Target {
    super::Target {
        host: target.host().to_string(),
        port: target.port(),
        subset: target.subset().to_owned(),
        protocol: match target.protocol() {
            Protocol::Http1 => "http1",
            Protocol::Http2 => "http2",
            Protocol::Tcp => "tcp",
        },
    }
}

fn explained_membership(membership: &Membership) -> super::Membership {
    let client = &membership.client;
    let identity = client.identity().current();
    let health = client.health().load();
    let now = std::time::SystemTime::now();
    let (state, stale_seconds) = match &health.sync {
        SyncState::Connecting => ("connecting", None),
        SyncState::FromDisk { age } => ("from_disk", Some(age.as_secs())),
        SyncState::Stale { since } => {
            ("stale", Some(now.duration_since(*since).unwrap_or_default().as_secs()))
        }
        SyncState::Synced => ("synced", None),
        _ => ("unknown", None),
    };
    super::Membership {
        identity: identity.as_ref().map(|identity| identity.spiffe_id().to_string()),
        certificate_seconds_left: identity.as_ref().map(|identity| identity.remaining(now).as_secs()),
        network: client.config().network().to_owned(),
        state: state.to_owned(),
        stale_seconds,
        problems: health.failures().map(|failure| failure.error.to_string()).collect(),
    }
}

fn explained_cluster(cluster: &Cluster, clusters: &Clusters) -> super::Cluster {
    let of_host = clusters.for_host(&cluster.name.host);
    let on_port = of_host.iter().filter(|other| other.name.port == cluster.name.port);
    let subsets = on_port.map(|other| other.name.subset.clone()).filter(|subset| !subset.is_empty());
    let balancing = &cluster.load_balancing;
    super::Cluster {
        name: cluster.name.to_string(),
        discovery: match cluster.discovery {
            Discovery::Eds { .. } => "eds",
            Discovery::Inline(_) => "inline",
            _ => "original_destination",
        },
        protocol: match cluster.http {
            Http::Http2 => "http2",
            Http::Http1 => "http1_or_tcp",
            _ => "detected",
        },
        connect_timeout_millis: millis(cluster.connect_timeout),
        external: cluster.external,
        load_balancing_policy: match balancing.policy {
            LbPolicy::LeastRequest { .. } => "least_request",
            LbPolicy::Random => "random",
            LbPolicy::RingHash { .. } | LbPolicy::Maglev { .. } => "hash",
            _ => "round_robin",
        },
        locality_weighted: balancing.locality_weighted,
        panic_threshold_percent: balancing.healthy_panic_threshold,
        ejection_threshold: cluster.outlier_detection.as_ref().and_then(failures_to_eject),
        max_connections: Some(cluster.circuit_breakers.max_connections).filter(|limit| *limit < u32::MAX),
        idle_timeout_millis: cluster.connection_limits.idle_timeout.map(millis),
        max_connection_duration_millis: cluster.connection_limits.max_duration.map(millis),
        max_requests_per_connection: cluster.connection_limits.max_requests,
        destination_rule: cluster.config.clone(),
        subsets: subsets.collect(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

//! Going through the decision, with the code that makes it.

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
    ExplainedCluster, ExplainedConnection, ExplainedFailure, ExplainedMembership, ExplainedOutside,
    ExplainedTarget, Explanation, Probe, endpoint, name, not_applied,
};
use crate::{
    cluster::{ClusterEntry, Route},
    connection::ConnectionKey,
    dial,
    error::Error,
    hosts::failures_to_eject,
    membership::{Membership, Resolved, after},
    settings::Settings,
    stream::MeshStream,
    target::{Protocol, Target},
};

/// How long a peer may take to refuse a certificate that it has already seen.
const LATE_REFUSAL: Duration = Duration::from_millis(250);

const NOT_VISIBLE: [&str; 2] = [
    "VirtualService rules (routes, weights, matches, timeouts, retries, faults) are sent to sidecars only: without a \
     subset, connections go to the service as a whole",
    "HTTP retries: a sidecar repeats failed requests, this client moves to the next endpoint while connecting",
];
const POLICY: &str =
    "the mesh's outboundTrafficPolicy: whether hosts outside may be reached is a setting here";
const SINGLE_PODS: &str =
    "single pods of a headless service: no gateway leads to one of them, only to the service";

/// What an explanation is made with.
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
        outside: None,
        cluster: None,
        endpoints: Vec::new(),
        connection: None,
        failure: None,
        not_visible: NOT_VISIBLE.map(str::to_owned).to_vec(),
        not_applied: Vec::new(),
    };
    let explainer = Explainer { membership, settings, probe };
    if let Err(error) = explainer.decide(target, &mut explanation).await {
        explanation.failure = Some(ExplainedFailure::from(&error));
    }
    explanation
}

impl Explainer<'_> {
    fn deadline(self) -> Instant {
        after(self.settings.connect_deadline)
    }

    async fn decide(self, target: &Target, explanation: &mut Explanation) -> Result<(), Error> {
        let membership = self.membership;
        membership.refuse_if_closed(target)?;
        explanation.name = Some(name::explain(target.host(), &membership.dns));
        match membership.route(target, self.deadline()).await? {
            Route::Cluster(entry) => self.inside(target, &entry, explanation).await,
            Route::Passthrough => self.outside(target, explanation).await,
        }
    }

    async fn inside(
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
        explanation.endpoints = plan.iter().map(|planned| endpoint::explain(planned, own_cluster)).collect();
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

    async fn outside(self, target: &Target, explanation: &mut Explanation) -> Result<(), Error> {
        explanation.not_visible.push(POLICY.to_owned());
        let deadline = self.deadline();
        let outside = ExplainedOutside { allowed: true, addresses: Vec::new() };
        let outside = explanation.outside.insert(outside);
        if let Err(error) = self.settings.allow_outside(target) {
            outside.allowed = false;
            return Err(error);
        }
        let addresses = match self.membership.resolve_outside(target, deadline).await? {
            Resolved::Passthrough(addresses) => addresses,
            Resolved::Cluster(target, entry) => {
                explanation.outside = None;
                explanation.name = Some(name::explain(target.host(), &self.membership.dns));
                return self.inside(&target, &entry, explanation).await;
            }
        };
        outside.addresses.clone_from(&addresses);
        if self.probe == Probe::Handshake {
            let start = Instant::now();
            let stream = dial::passthrough(target, &addresses, ConnectionKey::default(), deadline).await?;
            explanation.connection = Some(connected(stream, start).await?);
        }
        Ok(())
    }
}

async fn connected(mut stream: MeshStream, start: Instant) -> Result<ExplainedConnection, Error> {
    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    if let Ok(Err(error)) = timeout(LATE_REFUSAL, stream.read(&mut [0; 1])).await
        && let Some(refusal) = Error::find(&error)
    {
        return Err(refusal.clone());
    }
    let info = stream.connection();
    Ok(ExplainedConnection {
        endpoint: info.endpoint().to_owned(),
        peer_addr: info.peer_addr(),
        gateway: info.is_through_gateway(),
        transport: info.transport().as_label(),
        sni: info.sni().map(str::to_owned),
        alpn: info.alpn().map(str::to_owned),
        presented: info.peer_name().map(str::to_owned),
        micros,
    })
}

fn explained_target(target: &Target) -> ExplainedTarget {
    ExplainedTarget {
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

fn explained_membership(membership: &Membership) -> ExplainedMembership {
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
    ExplainedMembership {
        identity: identity.as_ref().map(|identity| identity.spiffe_id().to_string()),
        certificate_seconds_left: identity.as_ref().map(|identity| identity.remaining(now).as_secs()),
        network: client.config().network().to_owned(),
        state: state.to_owned(),
        stale_seconds,
        problems: health.failures().map(|failure| failure.error.to_string()).collect(),
    }
}

fn explained_cluster(cluster: &Cluster, clusters: &Clusters) -> ExplainedCluster {
    let of_host = clusters.for_host(&cluster.name.host);
    let on_port = of_host.iter().filter(|other| other.name.port == cluster.name.port);
    let subsets = on_port.map(|other| other.name.subset.clone()).filter(|subset| !subset.is_empty());
    let balancing = &cluster.load_balancing;
    ExplainedCluster {
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
        balancing: match balancing.policy {
            LbPolicy::LeastRequest { .. } => "least_request",
            LbPolicy::Random => "random",
            LbPolicy::RingHash { .. } | LbPolicy::Maglev { .. } => "hash",
            _ => "round_robin",
        },
        locality_weighted: balancing.locality_weighted,
        panic_threshold_percent: balancing.healthy_panic_threshold,
        ejected_after: cluster.outlier_detection.as_ref().and_then(failures_to_eject),
        max_connections: Some(cluster.circuit_breakers.max_connections).filter(|limit| *limit < u32::MAX),
        idle_timeout_millis: cluster.connection_limits.idle_timeout.map(millis),
        max_connection_duration_millis: cluster.connection_limits.max_duration.map(millis),
        max_requests_per_connection: cluster.connection_limits.max_requests,
        config: cluster.config.clone(),
        subsets: subsets.collect(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

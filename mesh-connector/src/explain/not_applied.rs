//! What a cluster says, and this client does not do: a sidecar would.

use nds_client::resources::cluster::{Cluster, ConnectionLimits as ConnectionLife, LbPolicy};

/// One sentence for each.
pub(super) fn of(cluster: &Cluster) -> Vec<String> {
    let limits = cluster.circuit_breakers;
    // istiod says so where the rule says nothing.
    let limit = |limit: u32| (limit < u32::MAX).then_some(limit);
    let hashes = matches!(cluster.load_balancing.policy, LbPolicy::RingHash { .. } | LbPolicy::Maglev { .. });
    let lives = cluster.connection_limits != ConnectionLife::default();
    [
        limit(limits.max_requests)
            .map(|most| format!("at most {most} requests at a time: counted by sidecars only")),
        limit(limits.max_retries)
            .map(|most| format!("at most {most} retries at a time: this client does not repeat requests")),
        hashes.then(|| {
            "the hash of something in the request: endpoints are chosen by chance, connections have nothing to hash"
                .to_owned()
        }),
        lives.then(|| {
            "how long connections live is limited for `HttpClient`, gRPC channels and the bridge's HTTP proxy; raw \
             streams live as long as they are held"
                .to_owned()
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

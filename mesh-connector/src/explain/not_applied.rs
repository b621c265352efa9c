//! Settings of a cluster that a sidecar applies and this client does not.

use nds_client::resources::cluster::{Cluster, ConnectionLimits as ConnectionLife, LbPolicy};

/// Returns one sentence for each setting that this client does not apply.
pub(super) fn of(cluster: &Cluster) -> Vec<String> {
    let limits = cluster.circuit_breakers;
    // istiod sends `u32::MAX` where the DestinationRule sets no limit.
    let limit = |limit: u32| (limit < u32::MAX).then_some(limit);
    let hashes = matches!(cluster.load_balancing.policy, LbPolicy::RingHash { .. } | LbPolicy::Maglev { .. });
    let lives = cluster.connection_limits != ConnectionLife::default();
    [
        limit(limits.max_requests)
            .map(|most| format!("at most {most} concurrent requests (http2MaxRequests): only sidecars count requests")),
        limit(limits.max_retries)
            .map(|most| format!("at most {most} concurrent retries (maxRetries): this client does not retry requests")),
        hashes.then(|| {
             "consistentHash: endpoints are chosen randomly, because a connection has no request to hash"
                .to_owned()
        }),
        lives.then(|| {
             "connection lifetime limits apply to `HttpClient`, gRPC channels and the bridge's HTTP proxy, not to raw \
                         streams"
                .to_owned()
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

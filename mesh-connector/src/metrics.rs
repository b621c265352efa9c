//! Metrics of connections, with the names of Istio's standard metrics, through the `metrics` facade.
//!
//! | metric | counts |
//! |---|---|
//! | `istio_tcp_connections_opened_total` | opened connections |
//! | `istio_tcp_connections_closed_total` | closed connections |
//! | `istio_tcp_received_bytes_total` | bytes that the caller wrote |
//! | `istio_tcp_sent_bytes_total` | bytes that the caller read |
//! | `mesh_connector_connect_failures_total` | failed connections, by `cluster` and `kind` |
//!
//! The first four metrics have the names and labels of Istio's standard metrics with `reporter="source"`, so that
//! dashboards for sidecars also show this process. Istio names the directions from the perspective of a proxy: data
//! from the server is *sent*. Labels with an unknown value are `unknown`: for instance, the workload behind a gateway.
//!
//! All hosts outside the mesh share the label value `PassthroughCluster`, as in Istio. The number of time series
//! therefore does not grow with the hosts outside the mesh that the program connects to. Names in certificates of
//! servers outside the mesh are not labels.

use crate::{connection::ConnectionInfo, error::Error};

/// Counts the bytes of one connection, and counts the connection as closed when it ends.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    #[cfg(feature = "metrics")]
    counters: Option<counters::Counters>,
}

/// The labels that describe this process.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "unused without the feature"))]
pub(crate) struct Source {
    pub(crate) namespace: String,
    pub(crate) cluster: String,
    pub(crate) principal: Option<String>,
}

#[cfg(feature = "metrics")]
impl Meter {
    /// Counts an opened connection.
    pub(crate) fn opened(source: impl FnOnce() -> Source, connection: &ConnectionInfo) -> Self {
        Self { counters: Some(counters::Counters::opened(&source(), connection)) }
    }

    pub(crate) fn read(&self, bytes: usize) {
        if let Some(counters) = &self.counters {
            counters.sent.increment(bytes as u64);
        }
    }

    pub(crate) fn written(&self, bytes: usize) {
        if let Some(counters) = &self.counters {
            counters.received.increment(bytes as u64);
        }
    }
}

#[cfg(not(feature = "metrics"))]
impl Meter {
    pub(crate) fn opened(_source: impl FnOnce() -> Source, _connection: &ConnectionInfo) -> Self {
        Self::default()
    }

    pub(crate) fn read(&self, _bytes: usize) {}

    pub(crate) fn written(&self, _bytes: usize) {}
}

/// The value of a label for all hosts outside the mesh.
pub(crate) const PASSTHROUGH: &str = "PassthroughCluster";

/// The value of a label that is not known.
pub(crate) const UNKNOWN: &str = "unknown";

/// Counts a failed connection. `cluster` returns the name of its cluster.
pub(crate) fn failed(cluster: impl FnOnce() -> String, error: &Error) {
    #[cfg(feature = "metrics")]
    metrics::counter!(
        "mesh_connector_connect_failures_total",
        "cluster" => cluster(),
        "kind" => error.kind().as_label(),
    )
    .increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = (cluster, error);
}

#[cfg(feature = "metrics")]
mod counters {
    use std::sync::Arc;

    use metrics::{Counter, Label, SharedString, counter};

    use super::{PASSTHROUGH, Source, UNKNOWN};
    use crate::connection::{ConnectionInfo, Transport};

    /// The counters of one connection. Dropping this value counts the connection as closed.
    pub(super) struct Counters {
        pub(super) received: Counter,
        pub(super) sent: Counter,
        closed: Counter,
    }

    impl Counters {
        pub(super) fn opened(source: &Source, connection: &ConnectionInfo) -> Self {
            let labels = labels(source, connection);
            counter!("istio_tcp_connections_opened_total", labels.clone()).increment(1);
            Self {
                received: counter!("istio_tcp_received_bytes_total", labels.clone()),
                sent: counter!("istio_tcp_sent_bytes_total", labels.clone()),
                closed: counter!("istio_tcp_connections_closed_total", labels),
            }
        }
    }

    impl Drop for Counters {
        fn drop(&mut self) {
            self.closed.increment(1);
        }
    }

    impl std::fmt::Debug for Counters {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Counters")
        }
    }

    /// The labels of a TCP connection (istio `pilot/pkg/model/telemetry.go` and the stats filter).
    fn labels(source: &Source, connection: &ConnectionInfo) -> Vec<Label> {
        // The labels are cloned for each counter: `Arc<str>` avoids copies of the text.
        let text = |value: &str| SharedString::from(Arc::<str>::from(value));
        let known = |value: Option<&str>| value.map_or(SharedString::const_str(UNKNOWN), text);
        let service = connection.service();
        // The host of a Kubernetes service is `name.namespace.svc.…`. Hosts of ServiceEntries have another form.
        let mut parts = service.unwrap_or_default().split('.');
        let (name, namespace, svc) = (parts.next(), parts.next(), parts.next());
        let kubernetes = svc == Some("svc");
        let workload = connection.workload();
        let (security, principal) = match connection.transport() {
            Transport::MutualTls => ("mutual_tls", connection.peer_name()),
            Transport::Plaintext | Transport::Tls => ("none", None),
        };
        let full_name = service.or(Some(PASSTHROUGH));
        vec![
            Label::new("reporter", "source"),
            Label::new("source_workload_namespace", text(&source.namespace)),
            Label::new("source_cluster", text(&source.cluster)),
            Label::new("source_principal", known(source.principal.as_deref())),
            Label::new("destination_workload", known(workload.map(|(name, _)| name))),
            Label::new("destination_workload_namespace", known(workload.map(|(_, namespace)| namespace))),
            Label::new("destination_principal", known(principal)),
            Label::new("destination_service", known(service)),
            Label::new("destination_service_name", known(if kubernetes { name } else { full_name })),
            Label::new("destination_service_namespace", known(namespace.filter(|_| kubernetes))),
            Label::new("destination_cluster", known(connection.workload_cluster())),
            Label::new("request_protocol", "tcp"),
            Label::new("response_flags", "-"),
            Label::new("connection_security_policy", security),
        ]
    }
}

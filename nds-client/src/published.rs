//! The published names and clusters.

use std::sync::Arc;

use crate::{
    metrics::{self, Gauge},
    resources::{cluster::Clusters, name_table::NameTable},
    watch::WatchSender,
};

/// The last valid name table and the last valid clusters. Each is replaced as a whole, and only by a different value.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) names: WatchSender<NameTable>,
    pub(crate) clusters: WatchSender<Option<Arc<Clusters>>>,
}

impl Published {
    pub(crate) fn new() -> Self {
        Self { names: WatchSender::with_first(NameTable::default()), clusters: WatchSender::with_first(None) }
    }

    /// Publishes a name table. Returns whether it differs from the previous one.
    pub(crate) fn replace_names(&self, table: NameTable) -> bool {
        let next = table.after(&self.names.load());
        let changed = next.is_some();
        if let Some(table) = next {
            tracing::debug!(
                names = table.len(),
                changed = table.changes().count(),
                "received the name table"
            );
            metrics::set_gauge(Gauge::Names, table.len());
            self.names.send(table);
        }
        changed
    }

    /// Publishes the clusters. Returns whether they differ from the previous ones.
    pub(crate) fn replace_clusters(&self, clusters: Clusters) -> bool {
        let changed = self.clusters.current().is_none_or(|known| !known.is_same(&clusters));
        if changed {
            tracing::debug!(clusters = clusters.len(), "received clusters");
            metrics::set_gauge(Gauge::Clusters, clusters.len());
            self.clusters.send(Some(Arc::new(clusters)));
        }
        changed
    }
}

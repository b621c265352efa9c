//! The names and clusters that istiod last sent, as readers see them.

use std::sync::Arc;

use crate::{
    metrics::{self, Known},
    resources::{cluster::Clusters, name_table::NameTable},
    watch::WatchSender,
};

/// The last good values. Each is replaced as a whole, and only by one that differs.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) names: WatchSender<NameTable>,
    pub(crate) clusters: WatchSender<Option<Arc<Clusters>>>,
}

impl Published {
    pub(crate) fn new() -> Self {
        Self { names: WatchSender::new(NameTable::default()), clusters: WatchSender::new(None) }
    }

    /// Publishes a name table. Returns whether it differs from the one before.
    pub(crate) fn replace_names(&self, table: NameTable) -> bool {
        let next = table.after(&self.names.load());
        let changed = next.is_some();
        if let Some(table) = next {
            tracing::debug!(names = table.len(), changed = table.changes().count(), "name table");
            metrics::known(Known::Names, table.len());
            self.names.send(table);
        }
        changed
    }

    /// Publishes the clusters. Returns whether they differ from those before.
    pub(crate) fn replace_clusters(&self, clusters: Clusters) -> bool {
        let changed = self.clusters.current().is_none_or(|known| !known.is_same(&clusters));
        if changed {
            tracing::debug!(clusters = clusters.len(), "clusters");
            metrics::known(Known::Clusters, clusters.len());
            self.clusters.send(Some(Arc::new(clusters)));
        }
        changed
    }
}

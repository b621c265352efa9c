//! All outbound clusters, each decoded on its first use.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use prost::Message as _;
use xds_proto::envoy::config::cluster::v3::Cluster as Wire;

use super::{Cluster, ClusterName, compact::Compact, decode};
use crate::resources::invalid::InvalidResource;

/// All outbound clusters, as istiod last pushed them.
///
/// Clusters are stored in a compact form. Each is decoded on its first use.
#[derive(Clone, Default)]
pub struct Clusters {
    /// The entries sorted by host, port and subset.
    sorted: Vec<Arc<ClusterEntry>>,
}

/// The templates of compact clusters. Each is stored once and shared by all clusters that need it.
#[derive(Debug, Default)]
pub(crate) struct Templates(HashSet<Arc<[u8]>>);

/// One cluster: its name, its compact form and, after its first use, its decoded form.
pub(crate) struct ClusterEntry {
    name: ClusterName,
    /// The compact form; `None` for a cluster that was created by the program.
    compact: Option<Compact>,
    decoded: OnceLock<Option<Arc<Cluster>>>,
}

impl Clusters {
    /// Returns the cluster of a service host, port and subset. The host is a lower-case fully qualified name without a
    /// trailing dot; the subset is empty for the whole service. Returns `None` if there is no such cluster.
    #[must_use]
    pub fn get(&self, host: &str, port: u16, subset: &str) -> Option<Arc<Cluster>> {
        let key = (host, port, subset);
        let at = self.sorted.binary_search_by(|entry| entry.key().cmp(&key)).ok()?;
        self.sorted[at].cluster()
    }

    /// Returns all clusters of a service host, sorted by port and subset.
    #[must_use]
    pub fn for_host(&self, host: &str) -> Vec<Arc<Cluster>> {
        self.entries_for(host).iter().filter_map(|entry| entry.cluster()).collect()
    }

    /// Returns the ports for which a service host has clusters, in ascending order. A cluster that cannot be decoded
    /// counts too.
    #[must_use]
    pub fn ports(&self, host: &str) -> Vec<u16> {
        let mut ports: Vec<_> = self.entries_for(host).iter().map(|entry| entry.name.port).collect();
        ports.dedup();
        ports
    }

    /// Returns whether the service host has a cluster.
    #[must_use]
    pub fn has_host(&self, host: &str) -> bool {
        !self.entries_for(host).is_empty()
    }

    /// Returns all clusters, sorted by host, port and subset. A cluster that was not used before is decoded for the
    /// iteration only and not stored.
    pub fn iter(&self) -> impl Iterator<Item = Arc<Cluster>> {
        self.sorted.iter().filter_map(|entry| match entry.decoded.get() {
            Some(decoded) => decoded.clone(),
            None => entry.decode(),
        })
    }

    /// Returns the number of clusters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Returns whether there are no clusters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Returns whether both values share the same entries. This is the case if `other` was created from this value by a
    /// change without an effect.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = |(one, other): (&Arc<ClusterEntry>, &Arc<ClusterEntry>)| Arc::ptr_eq(one, other);
        self.len() == other.len() && self.sorted.iter().zip(&other.sorted).all(same)
    }

    fn entries_for(&self, host: &str) -> &[Arc<ClusterEntry>] {
        let start = self.sorted.partition_point(|entry| &*entry.name.host < host);
        let count = self.sorted[start..].partition_point(|entry| entry.name.host == host);
        &self.sorted[start..start + count]
    }

    /// Returns the names of all clusters in istiod's form: `outbound|<port>|<subset>|<host>`.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.sorted.iter().map(|entry| entry.name.to_string())
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &ClusterEntry> {
        self.sorted.iter().map(|entry| &**entry)
    }

    /// Returns a copy of these clusters after a push: without those whose names `stays` rejects, and with the clusters
    /// in `changed` added. An added cluster replaces the cluster with the same name.
    pub(crate) fn changed(&self, changed: Vec<ClusterEntry>, stays: impl Fn(&str) -> bool) -> Self {
        let mut all: Vec<Arc<ClusterEntry>> = Vec::with_capacity(self.len() + changed.len());
        all.extend(self.sorted.iter().filter(|entry| stays(&entry.name.to_string())).cloned());
        all.extend(changed.into_iter().map(|entry| {
            // An unchanged entry is reused with its decoded cluster.
            let at = self.sorted.binary_search_by(|known| known.key().cmp(&entry.key())).ok();
            let known = at.map(|at| &self.sorted[at]).filter(|known| known.compact == entry.compact);
            known.map_or_else(|| Arc::new(entry), Arc::clone)
        }));
        all.into_iter().collect()
    }
}

impl Templates {
    /// Reads an `envoy.config.cluster.v3.Cluster` message. Returns `None` for a cluster that is not outbound to a
    /// service.
    pub(crate) fn read(&mut self, wire: Bytes) -> Result<Option<ClusterEntry>, InvalidResource> {
        let wire = Wire::decode(wire).map_err(InvalidResource::new)?;
        let Some(name) = decode::name(&wire) else { return Ok(None) };
        let mut compact = Compact::new(&name, wire).map_err(InvalidResource::new)?;
        match self.0.get(&compact.template) {
            Some(known) => compact.template = known.clone(),
            None => {
                self.0.insert(compact.template.clone());
            }
        }
        Ok(Some(ClusterEntry { name, compact: Some(compact), decoded: OnceLock::new() }))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Removes templates that no cluster uses.
    pub(crate) fn sweep(&mut self) {
        self.0.retain(|template| Arc::strong_count(template) > 1);
    }
}

impl ClusterEntry {
    fn key(&self) -> (&str, u16, &str) {
        (&self.name.host, self.name.port, &self.name.subset)
    }

    fn cluster(&self) -> Option<Arc<Cluster>> {
        self.decoded.get_or_init(|| self.decode()).clone()
    }

    /// Decodes the compact form. The result is `None` only without a compact form, because the message was valid when
    /// it was stored.
    fn decode(&self) -> Option<Arc<Cluster>> {
        let wire = self.compact.as_ref()?.expand(&self.name).ok()?;
        decode::decode(wire).ok().flatten().map(Arc::new)
    }

    /// Encodes the cluster as an `envoy.config.cluster.v3.Cluster` message, without fields that this client does not
    /// read. Returns `None` for a cluster that was created by the program.
    pub(crate) fn to_wire(&self) -> Option<Vec<u8>> {
        Some(self.compact.as_ref()?.expand(&self.name).ok()?.encode_to_vec())
    }
}

impl FromIterator<Arc<ClusterEntry>> for Clusters {
    /// The last of several clusters with the same name is used.
    fn from_iter<I: IntoIterator<Item = Arc<ClusterEntry>>>(entries: I) -> Self {
        let mut all: Vec<_> = entries.into_iter().collect();
        all.reverse();
        all.sort_by(|one, other| one.key().cmp(&other.key()));
        all.dedup_by(|one, other| one.key() == other.key());
        all.shrink_to_fit();
        Self { sorted: all }
    }
}

impl FromIterator<Arc<Cluster>> for Clusters {
    fn from_iter<I: IntoIterator<Item = Arc<Cluster>>>(clusters: I) -> Self {
        let entry = |cluster: Arc<Cluster>| ClusterEntry {
            name: cluster.name.clone(),
            compact: None,
            decoded: OnceLock::from(Some(cluster)),
        };
        clusters.into_iter().map(entry).map(Arc::new).collect()
    }
}

impl fmt::Debug for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sorted.iter().map(|entry| entry.name.to_string())).finish()
    }
}

impl fmt::Debug for ClusterEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClusterEntry").field(&self.name).finish()
    }
}

//! All clusters of a mesh, each made whole when it is asked for.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use prost::Message as _;
use xds_proto::envoy::config::cluster::v3::Cluster as Wire;

use super::{Cluster, ClusterName, compact::Compact, decode};
use crate::error::InvalidResource;

/// All outbound clusters that istiod last pushed.
///
/// They are kept in few bytes; one that is asked for is decoded then, once.
#[derive(Clone, Default)]
pub struct Clusters {
    /// By host, port and subset.
    sorted: Vec<Arc<ClusterEntry>>,
}

/// What several clusters share.
#[derive(Debug, Default)]
pub(crate) struct Templates(HashSet<Arc<[u8]>>);

/// One cluster.
pub(crate) struct ClusterEntry {
    name: ClusterName,
    /// `None` for one that was never on the wire.
    compact: Option<Compact>,
    decoded: OnceLock<Option<Arc<Cluster>>>,
}

impl Clusters {
    /// The cluster of this service host, port and subset. Hosts are lower-case fully qualified names without a
    /// trailing dot; the default subset is empty.
    #[must_use]
    pub fn get(&self, host: &str, port: u16, subset: &str) -> Option<Arc<Cluster>> {
        let key = (host, port, subset);
        let at = self.sorted.binary_search_by(|entry| entry.key().cmp(&key)).ok()?;
        self.sorted[at].cluster()
    }

    /// All clusters of a service host: its ports and subsets, in order.
    #[must_use]
    pub fn of_host(&self, host: &str) -> Vec<Arc<Cluster>> {
        self.entries_of(host).iter().filter_map(|entry| entry.cluster()).collect()
    }

    /// Whether there is a cluster of this service host.
    #[must_use]
    pub fn has_host(&self, host: &str) -> bool {
        !self.entries_of(host).is_empty()
    }

    /// All clusters, by host, port and subset. Those that nobody has asked for before are decoded for this and let go.
    pub fn iter(&self) -> impl Iterator<Item = Arc<Cluster>> {
        self.sorted.iter().filter_map(|entry| match entry.decoded.get() {
            Some(decoded) => decoded.clone(),
            None => entry.decode(),
        })
    }

    /// How many clusters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Whether the other was made of this one by a change that makes no difference.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = |(one, other): (&Arc<ClusterEntry>, &Arc<ClusterEntry>)| Arc::ptr_eq(one, other);
        self.len() == other.len() && self.sorted.iter().zip(&other.sorted).all(same)
    }

    fn entries_of(&self, host: &str) -> &[Arc<ClusterEntry>] {
        let start = self.sorted.partition_point(|entry| &*entry.name.host < host);
        let count = self.sorted[start..].partition_point(|entry| entry.name.host == host);
        &self.sorted[start..start + count]
    }

    /// The names of all, as istiod has them.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.sorted.iter().map(|entry| entry.name.to_string())
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &ClusterEntry> {
        self.sorted.iter().map(|entry| &**entry)
    }

    /// These without those that `stays` does not name, and with `changed` in place of what has their names.
    pub(crate) fn changed(&self, changed: Vec<ClusterEntry>, stays: impl Fn(&str) -> bool) -> Self {
        let mut all: Vec<Arc<ClusterEntry>> = Vec::with_capacity(self.len() + changed.len());
        all.extend(self.sorted.iter().filter(|entry| stays(&entry.name.to_string())).cloned());
        all.extend(changed.into_iter().map(|entry| {
            // One that says what it said before stays as it is, with what was made of it.
            let at = self.sorted.binary_search_by(|known| known.key().cmp(&entry.key())).ok();
            let known = at.map(|at| &self.sorted[at]).filter(|known| known.compact == entry.compact);
            known.map_or_else(|| Arc::new(entry), Arc::clone)
        }));
        all.into_iter().collect()
    }
}

impl Templates {
    /// Reads an `envoy.config.cluster.v3.Cluster` message. `None` for one that is no way to a service.
    pub(crate) fn read(&mut self, wire: Bytes) -> Result<Option<ClusterEntry>, InvalidResource> {
        let wire = Wire::decode(wire)?;
        let Some(name) = decode::name(&wire) else { return Ok(None) };
        let mut compact = Compact::of(&name, wire)?;
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

    /// Forgets those that no cluster has any more.
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

    /// What was read once can be read again.
    fn decode(&self) -> Option<Arc<Cluster>> {
        let wire = self.compact.as_ref()?.expand(&self.name).ok()?;
        decode::decode(wire).ok().flatten().map(Arc::new)
    }

    /// The message, but for what nobody here reads.
    pub(crate) fn to_wire(&self) -> Option<Vec<u8>> {
        Some(self.compact.as_ref()?.expand(&self.name).ok()?.encode_to_vec())
    }
}

impl FromIterator<Arc<ClusterEntry>> for Clusters {
    /// Of several with one name the last one counts.
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

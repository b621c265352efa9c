//! HTTP connections to hosts outside the mesh.

use std::sync::Arc;

use nds_client::resources::{cluster::ConnectionLimits as ConnectionLife, name_table::NameTable};
use parking_lot::Mutex;
use sidestep_util::bounded_map::BoundedMap;

use crate::{
    connection::ConnectionKey,
    http::HttpPools,
    target::{Host, Target},
};

/// The number of hosts per generation of [`Hosts::known`], a [`BoundedMap`].
const MAX_HOSTS: usize = 1024;

/// The hosts outside the mesh, as one cluster (Envoy: `PassthroughCluster`). If istiod adds a host to the mesh, new
/// requests to the host use its mesh cluster, and existing passthrough connections to it serve no further request.
#[derive(Debug)]
pub(crate) struct PassthroughCluster {
    http: HttpPools,
    hosts: Mutex<Hosts>,
}

#[derive(Debug)]
struct Hosts {
    known: BoundedMap<(Host, u16), KnownHost>,
    next_id: u64,
}

/// A host that is outside the mesh according to the name table `names`.
#[derive(Debug)]
struct KnownHost {
    id: u64,
    names: Arc<NameTable>,
}

impl PassthroughCluster {
    pub(crate) fn new() -> Self {
        let hosts = Hosts { known: BoundedMap::new(MAX_HOSTS), next_id: 0 };
        Self { http: HttpPools::new(ConnectionLife::default()), hosts: Mutex::new(hosts) }
    }

    pub(crate) fn http(&self) -> &HttpPools {
        &self.http
    }

    /// Returns the pool key of a target that is outside the mesh according to this name table. `None` if it is not
    /// known yet whether the target is outside the mesh. The caller must then resolve it first.
    pub(crate) fn key(&self, target: &Target, names: &Arc<NameTable>) -> Option<ConnectionKey> {
        let mut hosts = self.hosts.lock();
        let known = hosts.known.get(&(target.host().clone(), target.port()))?;
        Arc::ptr_eq(&known.names, names).then(|| key(known.id))
    }

    /// Records that a target is outside the mesh according to this name table, and returns its pool key.
    pub(crate) fn insert(&self, target: &Target, names: &Arc<NameTable>) -> ConnectionKey {
        let host = (target.host().clone(), target.port());
        let mut hosts = self.hosts.lock();
        let id = match hosts.known.get(&host) {
            Some(known) => known.id,
            None => {
                hosts.next_id += 1;
                hosts.next_id
            }
        };
        hosts.known.insert(host, KnownHost { id, names: names.clone() }, 1);
        key(id)
    }
}

/// Returns the connection key of a host outside the mesh. Its `socket` is `usize::MAX`, which no key of a mesh cluster
/// uses.
fn key(id: u64) -> ConnectionKey {
    ConnectionKey { host: id, socket: usize::MAX, tls: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_change_of_the_name_table_a_host_is_resolved_again_and_keeps_its_connections() {
        let (cluster, target) = (PassthroughCluster::new(), Target::new("api.example", 80).unwrap());
        let [before, after] = [(); 2].map(|()| Arc::new(NameTable::default()));
        assert_eq!(cluster.key(&target, &before), None);
        let key = cluster.insert(&target, &before);
        assert_eq!(cluster.key(&target, &before), Some(key));
        assert_eq!(cluster.key(&target, &after), None);
        assert_eq!(cluster.insert(&target, &after), key);
        assert_eq!(cluster.key(&target, &after), Some(key));
    }

    #[test]
    fn every_host_and_port_has_its_own_connections() {
        let (cluster, names) = (PassthroughCluster::new(), Arc::default());
        let keys = [("api.example", 80), ("api.example", 81), ("other.example", 80)]
            .map(|(host, port)| cluster.insert(&Target::new(host, port).unwrap(), &names));
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    }
}

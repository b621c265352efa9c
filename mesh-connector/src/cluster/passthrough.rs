//! HTTP connections to hosts outside of the mesh.

use std::sync::Arc;

use nds_client::resources::{cluster::ConnectionLimits as ConnectionLife, name_table::NameTable};
use parking_lot::Mutex;
use sidestep_util::bounded_map::BoundedMap;

use crate::{
    connection::ConnectionKey,
    http::HttpPools,
    target::{Host, Target},
};

/// How many hosts a generation of the known ones has.
const HOSTS: usize = 1024;

/// The hosts outside of the mesh, as one cluster (Envoy: the `PassthroughCluster`). A host that moves into the mesh leads
/// to another cluster, and its connections here serve no other request.
#[derive(Debug)]
pub(crate) struct PassthroughCluster {
    http: HttpPools,
    hosts: Mutex<Hosts>,
}

#[derive(Debug)]
struct Hosts {
    known: BoundedMap<(Host, u16), Known>,
    next_id: u64,
}

/// A host that is outside of the mesh by this name table.
#[derive(Debug)]
struct Known {
    id: u64,
    names: Arc<NameTable>,
}

impl PassthroughCluster {
    pub(crate) fn new() -> Self {
        let hosts = Hosts { known: BoundedMap::new(HOSTS), next_id: 0 };
        Self { http: HttpPools::new(ConnectionLife::default()), hosts: Mutex::new(hosts) }
    }

    pub(crate) fn http(&self) -> &HttpPools {
        &self.http
    }

    /// The connections that may serve a target. `None`: it has to be resolved first, because it may lead into the mesh by
    /// this name table.
    pub(crate) fn key(&self, target: &Target, names: &Arc<NameTable>) -> Option<ConnectionKey> {
        let mut hosts = self.hosts.lock();
        let known = hosts.known.get(&(target.host().clone(), target.port()))?;
        Arc::ptr_eq(&known.names, names).then(|| key(known.id))
    }

    /// A target is outside of the mesh by this name table.
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
        hosts.known.insert(host, Known { id, names: names.clone() }, 1);
        key(id)
    }
}

/// No cluster has so many transport sockets: connections of clusters have other keys.
fn key(id: u64) -> ConnectionKey {
    ConnectionKey { host: id, socket: usize::MAX, tls: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_resolved_anew_when_names_have_changed_and_its_connections_stay() {
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
    fn every_host_and_port_has_connections_of_its_own() {
        let (cluster, names) = (PassthroughCluster::new(), Arc::default());
        let keys = [("api.example", 80), ("api.example", 81), ("other.example", 80)]
            .map(|(host, port)| cluster.insert(&Target::new(host, port).unwrap(), &names));
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    }
}

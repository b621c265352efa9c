//! The input of a push: a mesh at one time, with the changes since earlier pushes.

use std::sync::Arc;

use xds_proto::envoy::config::cluster::v3::Cluster;
use xds_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
use xds_proto::istio::networking::nds::v1::NameTable;

use super::changes::Changes;
use crate::address_book::AddressBook;
use crate::model::{Mesh, Scope};
use crate::xds::{Proxy, World, cds, eds, nds};

/// A snapshot of the mesh. istiod calls it push context.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) book: AddressBook,
    pub(crate) metadata_exchange: bool,
    /// The version, `<time>/<number of the push>`, as in istiod.
    pub(crate) version: String,
    /// The changes since earlier pushes.
    pub(crate) changes: Changes,
    /// A counter that increases when a test requests an invalid name table.
    pub(crate) broken_names: u64,
}

impl Snapshot {
    fn world(&self) -> World<'_> {
        World { mesh: &self.mesh, book: &self.book, metadata_exchange: self.metadata_exchange }
    }

    pub(crate) fn scope_for(&self, proxy: &Proxy) -> Arc<Scope> {
        self.world().scope(proxy)
    }

    pub(crate) fn names_for(&self, proxy: &Proxy) -> NameTable {
        nds::table(self.world(), proxy)
    }

    pub(crate) fn clusters_for(&self, proxy: &Proxy) -> Vec<Cluster> {
        cds::clusters(self.world(), proxy)
    }

    pub(crate) fn endpoints_for(&self, proxy: &Proxy, cluster: &str) -> ClusterLoadAssignment {
        eds::assignment(self.world(), proxy, cluster)
    }
}

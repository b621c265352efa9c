//! What istiod pushes from: a mesh at one moment, with the counters that say which types must be sent anew.

use std::sync::Arc;

use xds_proto::envoy::config::cluster::v3::Cluster;
use xds_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
use xds_proto::istio::networking::nds::v1::NameTable;

use crate::address_book::AddressBook;
use crate::model::Mesh;
use crate::xds::{Proxy, World, cds, eds, nds};

/// A push context.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) book: AddressBook,
    pub(crate) metadata_exchange: bool,
    /// `<time>/<counter>`, as istiod writes versions.
    pub(crate) version: String,
    /// Moves with every change that istiod pushes names for, even if the table comes out the same (facts C.4).
    pub(crate) names: u64,
    /// Moves with changes after which istiod pushes everything to everyone: networks and gateways.
    pub(crate) forced: u64,
    /// Moves when a test wants a name table that does not decode.
    pub(crate) broken_names: u64,
}

impl Snapshot {
    fn world(&self) -> World<'_> {
        World { mesh: &self.mesh, book: &self.book, metadata_exchange: self.metadata_exchange }
    }

    pub(crate) fn names_for(&self, proxy: &Proxy) -> NameTable {
        nds::table(&self.mesh, proxy)
    }

    pub(crate) fn clusters_for(&self, proxy: &Proxy) -> Vec<Cluster> {
        cds::clusters(self.world(), proxy)
    }

    pub(crate) fn endpoints_for(&self, proxy: &Proxy, cluster: &str) -> ClusterLoadAssignment {
        eds::assignment(self.world(), proxy, cluster)
    }
}

//! The resources that istiod sends to a proxy: NDS, CDS and EDS. Building them is a pure function of a mesh and a
//! proxy.

pub(crate) mod cds;
mod circuit_breakers;
pub(crate) mod cluster_tls;
pub(crate) mod eds;
mod failover;
mod http_options;
mod load_balancing;
mod metadata;
pub(crate) mod name;
pub(crate) mod nds;
pub(crate) mod network;
mod outlier_detection;
pub(crate) mod policy;
pub(crate) mod proxy;
pub(crate) mod structs;

pub(crate) use proxy::Proxy;

use crate::address_book::AddressBook;
use std::sync::Arc;

use crate::model::{Mesh, Scope, Viewer};

/// The input of the functions that build resources.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World<'a> {
    pub(crate) mesh: &'a Mesh,
    pub(crate) book: &'a AddressBook,
    /// Whether istiod enables the metadata exchange filter, as it does by default (istio
    /// `pilot/pkg/networking/core/cluster_builder.go`).
    pub(crate) metadata_exchange: bool,
}

impl World<'_> {
    /// Returns the services visible to the proxy.
    pub(crate) fn scope(&self, proxy: &Proxy) -> Arc<Scope> {
        let viewer = if proxy.is_router { Viewer::Gateway } else { Viewer::Workload };
        self.mesh.scope(viewer, &proxy.namespace, &proxy.labels)
    }
}

//! What istiod tells a proxy: NDS, CDS and EDS, built per proxy. Pure: a mesh and a proxy in, messages out.

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

/// What the generators read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World<'a> {
    pub(crate) mesh: &'a Mesh,
    pub(crate) book: &'a AddressBook,
    /// Whether istiod runs with its metadata exchange filter, as it does by default (facts J.5).
    pub(crate) metadata_exchange: bool,
}

impl World<'_> {
    /// What the proxy may see.
    pub(crate) fn scope(&self, proxy: &Proxy) -> Arc<Scope> {
        let viewer = if proxy.is_router { Viewer::Gateway } else { Viewer::Workload };
        self.mesh.scope(viewer, &proxy.namespace, &proxy.labels)
    }
}

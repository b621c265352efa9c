//! The handle that programs hold.

use std::{sync::Arc, time::Duration};

use crate::{Clusters, Config, Endpoints, Error, Health, Identity, NameTable, Watched};

/// A process in the mesh: its identity, and what istiod says about names, clusters and endpoints, kept live.
///
/// Clones share one connection to istiod. Dropping the last one ends the tasks behind it.
#[derive(Clone, Debug)]
pub struct NdsClient {
    _p: Arc<()>,
}

#[allow(missing_docs, clippy::todo, clippy::missing_errors_doc, reason = "replaced soon")]
impl NdsClient {
    pub fn spawn(config: Config) -> Result<Self, Error> { let _ = config; todo!() }
    /// Waits for the identity and the first name table.
    pub async fn ready(&self) -> Result<(), Error> { todo!() }
    /// `spawn` and `ready`.
    pub async fn join(config: Config) -> Result<Self, Error> { let _ = config; todo!() }
    pub fn config(&self) -> &Config { todo!() }
    pub fn names(&self) -> &Watched<NameTable> { todo!() }
    /// `None` until the first certificate.
    pub fn identity(&self) -> &Watched<Option<Identity>> { todo!() }
    pub fn health(&self) -> &Watched<Health> { todo!() }
    /// All clusters. The first call subscribes to CDS and waits for the answer, at most `deadline`; later ones answer at once.
    pub async fn clusters(&self, deadline: Duration) -> Result<Arc<Clusters>, Error> { let _ = deadline; todo!() }
    /// The clusters if they are already there. Wait-free.
    pub fn try_clusters(&self) -> Option<Arc<Clusters>> { todo!() }
    /// The endpoints under an EDS name. First use subscribes and waits, at most `deadline`; later ones answer at once.
    pub async fn endpoints(&self, eds_name: &str, deadline: Duration) -> Result<Arc<Endpoints>, Error> { let _ = (eds_name, deadline); todo!() }
    pub async fn shutdown(&self) { todo!() }
}
